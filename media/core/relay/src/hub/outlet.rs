//! One output format of a stream: its muxer, the chunks it made, and the viewers that want them. It exists while somebody
//! watches.

use std::{sync::Arc, time::Instant};

use slab::Slab;
use wire::{
    flv::{FlvMuxer, FlvOptions},
    media::AccessUnit,
};

use super::{
    gop::{GopCache, begins},
    ring::{Entry, Ring},
    viewer::{Gone, Viewer, Written},
};

/// What happened to viewers in one step.
#[derive(Debug, Default)]
pub(crate) struct Step {
    pub(crate) written: Written,
    /// Viewers that are gone: their key and why.
    pub(crate) gone: Vec<(usize, Gone)>,
}

impl Step {
    fn note(&mut self, key: usize, result: Result<Written, Gone>) {
        match result {
            Ok(written) => {
                self.written.bytes += written.bytes;
                self.written.skips += written.skips;
            }
            Err(why) => self.gone.push((key, why)),
        }
    }
}

pub(crate) struct Outlet {
    muxer: FlvMuxer,
    ring: Ring,
    pub(crate) viewers: Slab<Viewer>,
}

impl Outlet {
    /// Makes the muxer and feeds it what the cache holds, so that the first viewer begins at once.
    pub(crate) fn new(options: FlvOptions, bytes_max: usize, cache: &GopCache) -> Self {
        let mut outlet =
            Self { muxer: FlvMuxer::new(options), ring: Ring::new(bytes_max), viewers: Slab::new() };
        cache.units().for_each(|unit| outlet.mux(unit));
        outlet
    }

    /// Muxes a unit and writes it to everybody who can take it.
    pub(crate) fn handle_unit(&mut self, now: Instant, unit: &AccessUnit, settled: bool) -> Step {
        self.mux(unit);
        let mut step = Step::default();
        for (key, viewer) in &mut self.viewers {
            if viewer.is_waiting() {
                Self::begin(&self.muxer, &self.ring, viewer, now, settled);
            }
            step.note(key, viewer.pump(now, &self.ring));
        }
        step
    }

    /// Takes a viewer in, who gets the cached GOP at once.
    pub(crate) fn add(&mut self, now: Instant, mut viewer: Viewer, settled: bool) -> (usize, Step) {
        Self::begin(&self.muxer, &self.ring, &mut viewer, now, settled);
        let result = viewer.pump(now, &self.ring);
        let key = self.viewers.insert(viewer);
        let mut step = Step::default();
        step.note(key, result);
        (key, step)
    }

    /// A viewer's socket is writable, or its client said something.
    pub(crate) fn handle_ready(
        &mut self,
        now: Instant,
        key: usize,
        readable: bool,
        scratch: &mut [u8],
    ) -> Step {
        let mut step = Step::default();
        let Some(viewer) = self.viewers.get_mut(key) else { return step };
        if readable && let Err(why) = viewer.read(scratch) {
            step.gone.push((key, why));
            return step;
        }
        viewer.unblock();
        step.note(key, viewer.pump(now, &self.ring));
        step
    }

    /// Finds viewers whose time is over.
    pub(crate) fn check(&self, now: Instant) -> Step {
        let gone = self.viewers.iter().filter_map(|(key, viewer)| Some((key, viewer.check(now).err()?)));
        Step { written: Written::default(), gone: gone.collect() }
    }

    fn mux(&mut self, unit: &AccessUnit) {
        if let Some(chunk) = self.muxer.write(unit) {
            let needed = if begins(unit) {
                self.viewers.iter().map(|(_, viewer)| viewer.needs()).min().unwrap_or(u64::MAX)
            } else {
                0
            };
            self.ring.push(Entry::new(chunk, begins(unit), unit.dts, Arc::clone(&unit.tracks)), needed);
        }
    }

    /// Starts a viewer at the last beginning. Sound alone is believed only once it is `settled` that no video comes.
    fn begin(muxer: &FlvMuxer, ring: &Ring, viewer: &mut Viewer, now: Instant, settled: bool) {
        let Some(number) = ring.beginning() else { return };
        if let Some(entry) = ring.get(number)
            && (settled || entry.tracks.video.is_some())
        {
            viewer.begin(now, number, muxer.head(&entry.tracks), Arc::clone(&entry.tracks));
        }
    }
}
