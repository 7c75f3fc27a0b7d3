//! One output format of a stream: its muxer, the chunks it made, and the viewers that want them. It exists while somebody
//! watches.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use slab::Slab;
use wire::{
    chunk::Chunk,
    flv::FlvMuxer,
    fmp4_live::LiveFmp4,
    media::{AccessUnit, Ticks},
    rtmp::RtmpMuxer,
    rtsp::{self, Selection, TrackStart},
    ts_live::LiveTs,
};

use super::{
    form::Form,
    gop::{GopCache, begins},
    ring::{Entry, Ring},
    viewer::{Gone, Viewer, Written},
};
use crate::options::{Output, StreamOptions};

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

enum Muxer {
    Flv(FlvMuxer),
    Rtmp(RtmpMuxer),
    Rtsp(Box<rtsp::Muxer>),
    Ts(Box<LiveTs>),
    Fmp4(Box<LiveFmp4>),
}

impl Muxer {
    /// `wall_ms` belongs to the newest unit of `cache`.
    fn new(form: Form, cache: &GopCache, wall_ms: u64) -> Self {
        match form {
            Form::Flv(options) => Self::Flv(FlvMuxer::new(options)),
            Form::Rtmp(options) => Self::Rtmp(RtmpMuxer::new(options)),
            Form::Ts(sound) => Self::Ts(Box::new(LiveTs::new(sound))),
            Form::Fmp4(options) => Self::Fmp4(Box::new(LiveFmp4::new(options))),
            Form::Rtsp(selection) => {
                let newest = cache.units().last().map_or(0, |unit| unit.dts.as_millis());
                let epoch_ms = wall_ms.cast_signed() - newest;
                // Unlike other streams' is enough: nothing is protected by it.
                let seed = wall_ms.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ std::ptr::from_ref(cache) as u64;
                Self::Rtsp(Box::new(rtsp::Muxer::new(rtsp::Beginning { seed, epoch_ms }, selection)))
            }
        }
    }

    /// What a viewer gets first that begins with `entry`.
    fn head(&self, entry: &Entry, viewer: &Viewer) -> Bytes {
        match self {
            Self::Flv(muxer) => muxer.head(&entry.tracks),
            Self::Rtmp(muxer) if viewer.is_push() => muxer.publish_head(&entry.tracks, entry.dts),
            Self::Rtmp(muxer) => muxer.head(&entry.tracks, entry.dts),
            Self::Fmp4(muxer) => muxer.head(&entry.tracks),
            Self::Rtsp(_) | Self::Ts(_) => Bytes::new(),
        }
    }

    fn write(&mut self, unit: &AccessUnit) -> Option<Chunk> {
        match self {
            Self::Flv(muxer) => muxer.write(unit),
            Self::Rtmp(muxer) => muxer.write(unit),
            Self::Rtsp(muxer) => muxer.write(unit),
            Self::Ts(muxer) => muxer.write(unit),
            Self::Fmp4(muxer) => muxer.write(unit),
        }
    }

    /// What the next packets of tracks are, where there are several.
    fn upcoming(&self, time: Ticks) -> Option<Arc<[TrackStart]>> {
        let Self::Rtsp(muxer) = self else { return None };
        Some(muxer.upcoming(time)).filter(|starts| starts.len() > 1).map(Into::into)
    }

    /// What ends the form's own stream, if it has such a thing.
    fn farewell(&self) -> Bytes {
        match self {
            Self::Rtsp(muxer) => muxer.farewell(),
            _ => Bytes::new(),
        }
    }
}

pub(crate) struct Outlet {
    form: Form,
    muxer: Muxer,
    ring: Ring,
    /// Viewers are written to no more often; what comes meanwhile goes with the next write.
    merge: Duration,
    merged: Option<Instant>,
    /// Viewers begin with what is kept since the last key frame; else with the next one.
    from_gop: bool,
    pub(crate) viewers: Slab<Viewer>,
}

impl Outlet {
    /// Makes the muxer and feeds it what the cache holds, so that the first viewer begins at once.
    pub(crate) fn new(form: Form, bytes_max: usize, cache: &GopCache, wall_ms: u64) -> Self {
        let muxer = Muxer::new(form, cache, wall_ms);
        let mut outlet = Self {
            form,
            muxer,
            ring: Ring::new(bytes_max),
            merge: Duration::ZERO,
            merged: None,
            from_gop: true,
            viewers: Slab::new(),
        };
        cache.units().for_each(|unit| outlet.mux(unit));
        outlet
    }

    /// What comes within `options.merge_write` is gathered into one write for each viewer: fewer system calls, so much
    /// delay. `bytes_max` may wait for them.
    pub(crate) fn set(&mut self, options: &StreamOptions, bytes_max: usize) {
        self.merge = options.merge_write;
        self.from_gop = options.from_gop;
        self.ring.set_bytes_max(bytes_max);
    }

    /// What its viewers see the stream as.
    pub(crate) fn output(&self) -> Output {
        self.form.output()
    }

    /// Whether those who watch are written to now.
    fn is_due(&mut self, now: Instant) -> bool {
        if self.merge.is_zero() {
            return true;
        }
        let due = self.merged.is_none_or(|merged| now.saturating_duration_since(merged) >= self.merge);
        if due {
            self.merged = Some(now);
        }
        due
    }

    /// Muxes a unit and writes it to everybody who can take it.
    pub(crate) fn handle_unit(&mut self, now: Instant, unit: &AccessUnit, settled: bool) -> Step {
        self.mux(unit);
        let due = self.is_due(now);
        let mut step = Step::default();
        for (key, viewer) in &mut self.viewers {
            let waited = viewer.is_waiting();
            if waited {
                Self::begin(&self.muxer, &self.ring, viewer, now, (settled, self.from_gop));
            }
            // Datagrams that were gathered would be lost in a burst.
            if due || waited || viewer.takes_datagrams() {
                step.note(key, viewer.pump(now, &self.ring));
            }
        }
        step
    }

    /// Takes a viewer in, who gets the cached GOP at once.
    pub(crate) fn add(&mut self, now: Instant, mut viewer: Viewer, settled: bool) -> (usize, Step) {
        Self::begin(&self.muxer, &self.ring, &mut viewer, now, (settled, self.from_gop));
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

    /// Tells every viewer that the stream is over.
    pub(crate) fn take_leave(&mut self) {
        let goodbye = self.muxer.farewell();
        self.viewers.iter_mut().for_each(|(_, viewer)| viewer.take_leave(&goodbye));
    }

    /// Tells this viewer to leave, if it is here.
    pub(crate) fn kick(&mut self, viewer: u64) -> Option<Step> {
        let (key, found) = self.viewers.iter_mut().find(|(_, found)| found.is(viewer))?;
        let gone = found.dismiss(&self.muxer.farewell());
        let gone = if gone { vec![(key, Gone::Left)] } else { Vec::new() };
        Some(Step { written: Written::default(), gone })
    }

    /// Tells every viewer to leave; pushes to other servers are none.
    pub(crate) fn dismiss(&mut self) -> Step {
        let goodbye = self.muxer.farewell();
        let viewers = self.viewers.iter_mut().filter(|(_, viewer)| !viewer.is_push());
        let gone = viewers.map(|(key, viewer)| {
            viewer.take_leave(&goodbye);
            (key, Gone::Left)
        });
        Step { written: Written::default(), gone: gone.collect() }
    }

    /// Finds viewers whose time is over. What was gathered goes out, should no unit come any more, and servers that we
    /// push to hear that we are there.
    pub(crate) fn check(&mut self, now: Instant) -> Step {
        let due = !self.merge.is_zero() && self.is_due(now);
        let mut step = Step::default();
        for (key, viewer) in &mut self.viewers {
            let written = match viewer.keep(now) {
                Ok(owes) if due || owes || viewer.is_overdue(now) => viewer.pump(now, &self.ring),
                kept => kept.map(|_| Written::default()),
            };
            step.note(key, written.and_then(|written| viewer.check(now).map(|()| written)));
        }
        step
    }

    /// Whether its viewers want no pictures, though there may be some.
    fn is_sound_alone(&self) -> bool {
        self.form == Form::Rtsp(Selection { video: false, audio: true })
    }

    fn mux(&mut self, unit: &AccessUnit) {
        if let Some(chunk) = self.muxer.write(unit) {
            let begins = begins(unit) || self.is_sound_alone();
            let needed = if begins {
                self.viewers.iter().map(|(_, viewer)| viewer.needs()).min().unwrap_or(u64::MAX)
            } else {
                0
            };
            let mut entry = Entry::new(chunk, begins, unit.dts, Arc::clone(&unit.tracks));
            entry.upcoming = begins.then(|| self.muxer.upcoming(unit.dts)).flatten();
            self.ring.push(entry, needed);
        }
    }

    /// Starts a viewer at the last beginning. Sound alone is believed only once it is `settled` that no video comes.
    fn begin(
        muxer: &Muxer,
        ring: &Ring,
        viewer: &mut Viewer,
        now: Instant,
        (settled, from_gop): (bool, bool),
    ) {
        let Some(number) = ring.beginning() else { return };
        if let Some(entry) = ring.get(number)
            && (settled || entry.tracks.video.is_some())
            && viewer.may_begin(entry.dts)
            // Datagrams of a whole GOP at once would be lost on the way: their viewers begin with the next key frame.
            && ((from_gop || viewer.is_push()) && !viewer.takes_datagrams() || number + 1 == ring.end())
        {
            viewer.begin(now, number, muxer.head(entry, viewer), Arc::clone(&entry.tracks));
        }
    }
}

#[cfg(test)]
mod tests;
