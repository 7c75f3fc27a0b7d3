//! What happens to a stream's access units: they are cached since the last key frame, muxed once for each format in use,
//! and written to whoever watches.

pub(crate) mod form;
pub(crate) mod gop;
mod mute;
pub(crate) mod outlet;
pub(crate) mod rates;
pub(crate) mod ring;
pub(crate) mod viewer;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use datagram::Batch;
use wire::{
    hls::{Container, Segmenter, SegmenterOptions},
    media::{AccessUnit, Kind, Ticks, Tracks},
};

use self::{
    form::{Form, Protocol},
    gop::GopCache,
    mute::Mute,
    outlet::{Outlet, Step},
    rates::{Pictures, Rate},
    viewer::{Gone, Viewer},
};
use crate::{
    config::Config,
    door,
    feeds::{self, Feeds, Publisher},
    key_frame,
    metrics::Metrics,
    options::{Output, StreamOptions},
    record,
    send::{self, Senders},
    shard::turn::Turn,
    units::UnitTap,
    viewers::ViewerStats,
};

/// A stream that brought only sound for so long has no video.
const SETTLED: Duration = Duration::from_secs(1);

/// Bits of a viewer's key that number it within its outlet; the rest is the outlet.
const VIEWER_BITS: u32 = 26;

/// A question to a hub.
pub(crate) type Question = Box<dyn FnOnce(&mut Hub, Turn<'_>) + Send>;

/// What a hub is asked for.
pub(crate) enum Order {
    /// Segments of a container, from the cached GOP on.
    Segment(Container, Publisher),
    /// A recording.
    Record(record::Tap),
    /// Units for somebody outside.
    Subscribe(UnitTap),
    /// Something that is rarely asked; it answers by itself.
    Ask(Question),
    /// A sender of RTP, or the end of one.
    Send(send::Order),
    /// The newest key frame.
    KeyFrame(key_frame::Reply),
    /// Other options from now on.
    Options(Arc<StreamOptions>),
}

/// A segmenter and where its segments go.
struct Segments {
    segmenter: Segmenter,
    publisher: Publisher,
}

impl Segments {
    fn write(&mut self, unit: &AccessUnit) {
        if let Some(window) = self.segmenter.write(unit) {
            self.publisher.send_replace(Some(window));
        }
    }

    /// The stream is over: players find its last segment, and that nothing follows.
    fn end(&mut self) {
        if let Some(window) = self.segmenter.end() {
            self.publisher.send_replace(Some(window));
        }
    }
}

/// The units of one stream and those who watch them.
pub(crate) struct Hub {
    options: Arc<StreamOptions>,
    /// What may wait for viewers of one form, whatever is kept for those to come.
    bytes_max: usize,
    mute: Mute,
    /// HLS is asked for.
    segments_watched: bool,
    cache: GopCache,
    outlets: [Option<Box<Outlet>>; Form::COUNT],
    segmenters: [Option<Segments>; feeds::CONTAINERS.len()],
    recordings: Vec<record::Tap>,
    senders: Senders,
    /// The cached GOP is in no recording, and its source goes on: a recording may begin with it.
    recordable: bool,
    /// When the cached GOP began, in milliseconds of the UNIX epoch.
    key_ms: u64,
    subscriptions: Vec<UnitTap>,
    feeds_sent: u64,
    tracks: Arc<Tracks>,
    first_unit: Option<Instant>,
    pub(crate) video: Rate,
    pub(crate) audio: Rate,
    pub(crate) out: Rate,
    pub(crate) pictures: Pictures,
    pub(crate) bytes_out: u64,
}

impl Hub {
    /// `index` is the stream's number on its shard.
    pub(crate) fn new(config: &Config, index: usize) -> Self {
        Self {
            options: Arc::new(StreamOptions::of(config)),
            bytes_max: config.gop_bytes_max,
            mute: Mute::default(),
            segments_watched: false,
            cache: GopCache::new(config.gop_bytes_max),
            outlets: [const { None }; Form::COUNT],
            segmenters: [const { None }; feeds::CONTAINERS.len()],
            recordings: Vec::new(),
            senders: Senders::new(index),
            recordable: true,
            key_ms: 0,
            subscriptions: Vec::new(),
            feeds_sent: 0,
            tracks: Arc::default(),
            first_unit: None,
            video: Rate::default(),
            audio: Rate::default(),
            out: Rate::default(),
            pictures: Pictures::default(),
            bytes_out: 0,
        }
    }

    /// Takes the tracks of what follows; those that are to be described.
    pub(crate) fn set_tracks(&mut self, tracks: Arc<Tracks>) -> Arc<Tracks> {
        self.tracks = self.mute.tracks(tracks);
        Arc::clone(&self.tracks)
    }

    pub(crate) fn options(&self) -> &StreamOptions {
        &self.options
    }

    pub(crate) fn tracks(&self) -> &Tracks {
        &self.tracks
    }

    /// GOPs that were too large to keep.
    pub(crate) fn gop_overflows(&self) -> u64 {
        self.cache.overflows
    }

    /// Takes the next unit and sends it on; other tracks, if it is the first to be described so.
    pub(crate) fn handle_unit(&mut self, turn: Turn<'_>, unit: AccessUnit) -> Option<Arc<Tracks>> {
        if self.mute.is_idle() {
            self.send_on(turn, unit);
            return None;
        }
        let (unit, turned) = self.mute.pass(unit);
        let unit = unit?;
        if turned {
            self.tracks = Arc::clone(&unit.tracks);
        }
        self.send_on(turn, unit);
        turned.then(|| Arc::clone(&self.tracks))
    }

    /// Hands a unit to all who want it, and keeps it: who is sent nothing costs no reference to it.
    fn send_on(&mut self, turn: Turn<'_>, kept: AccessUnit) {
        let unit = &kept;
        let size = unit.data.len() as u64;
        match unit.kind {
            Kind::Video => {
                self.video.add(turn.second, size);
                self.pictures.add(turn.second, unit.dts, unit.key);
            }
            Kind::Audio => self.audio.add(turn.second, size),
        }
        self.first_unit.get_or_insert(turn.now);
        if gop::begins(unit) {
            self.key_ms = turn.wall_ms;
        }
        let settled = self.settled(turn.now);
        for number in 0..self.outlets.len() {
            if let Some(outlet) = &mut self.outlets[number] {
                let step = outlet.handle_unit(turn.now, unit, settled);
                self.finish(turn, number, step);
            }
        }
        for segments in self.segmenters.iter_mut().flatten() {
            segments.write(unit);
        }
        self.recordings.retain(|tap| tap.handle_unit(turn, unit));
        self.recordable = (self.recordable || gop::begins(unit)) && self.recordings.is_empty();
        if !self.subscriptions.is_empty() {
            self.pass_on(turn, unit);
        }
        let bytes = self.senders.handle_unit(turn, unit, settled);
        self.count_sent(turn, bytes);
        self.cache.push(kept);
    }

    fn pass_on(&mut self, turn: Turn<'_>, unit: &AccessUnit) {
        let mut bytes = 0;
        self.subscriptions.retain(|tap| tap.handle_unit(unit).inspect(|taken| bytes += taken).is_some());
        self.count_sent(turn, bytes);
    }

    /// Does what it is asked for.
    pub(crate) fn handle_order(&mut self, turn: Turn<'_>, order: Order) {
        match order {
            Order::Segment(container, publisher) => self.publish(turn, container, publisher),
            Order::Record(tap) => self.record(turn, tap),
            Order::KeyFrame(reply) => {
                let key = self.cache.units().next().filter(|unit| unit.kind == Kind::Video);
                // Whoever asked may have given up waiting.
                let _ = reply.try_send(key.map(|unit| (unit.clone(), self.key_ms)));
            }
            Order::Subscribe(mut tap) => {
                tap.from_gop &= self.options.from_gop || !tap.is_viewer();
                let bytes = tap.begin(self.cache.units());
                self.count_sent(turn, bytes);
                self.subscriptions.push(tap);
            }
            Order::Options(options) => self.set_options(turn, options),
            Order::Ask(question) => question(self, turn),
            Order::Send(order) => {
                let bytes = self.senders.handle_order(turn, order, &self.cache, self.bytes_max);
                self.count_sent(turn, bytes);
            }
        }
    }

    /// Takes a viewer in; the number that its readiness is to be told with, unless it is gone already.
    pub(crate) fn attach(&mut self, turn: Turn<'_>, wanted: door::Viewer) -> Option<u32> {
        let form = wanted.form;
        let number = form.number();
        let settled = self.settled(turn.now);
        let outlet = self.outlets[number].get_or_insert_with(|| {
            let mut outlet = Outlet::new(form, self.bytes_max, &self.cache, turn.wall_ms);
            outlet.set(&self.options, self.bytes_max);
            Box::new(outlet)
        });
        let viewer = Viewer::new(turn.now, wanted);
        let (key, step) = outlet.add(turn.now, viewer, settled);
        turn.metrics.viewers.add(1);
        let gone = !step.gone.is_empty();
        self.finish(turn, number, step);
        (!gone).then_some((number as u32) << VIEWER_BITS | key as u32)
    }

    /// What is chosen counts at once; what cannot change within a picture group, from the next one on.
    fn set_options(&mut self, turn: Turn<'_>, options: Arc<StreamOptions>) {
        self.options = options;
        self.bytes_max = turn.config.gop_bytes_max.max(self.options.gop_bytes_max);
        self.cache.set_bytes_max(self.options.gop_bytes_max);
        self.mute.set(!self.options.audio);
        if self.mute.is_wanted() {
            self.cache.forget_sound();
        }
        let (target, listed) = (self.segment_length(), self.options.hls_segments);
        for segments in self.segmenters.iter_mut().flatten() {
            segments.segmenter.change(target, listed);
        }
        self.subscriptions.retain(|tap| !tap.is_viewer() || self.options.outputs.has(Output::WebRtc));
        for number in 0..self.outlets.len() {
            let Some(outlet) = &mut self.outlets[number] else { continue };
            outlet.set(&self.options, self.bytes_max);
            if !self.options.outputs.has(outlet.output()) {
                let step = outlet.dismiss();
                self.finish(turn, number, step);
            }
        }
    }

    fn segment_length(&self) -> Ticks {
        Ticks::from_millis(self.options.hls_segment.as_millis() as i64)
    }

    /// Starts to cut segments of `container`, from the cached GOP on.
    fn publish(&mut self, turn: Turn<'_>, container: Container, publisher: Publisher) {
        let first_sequence = turn.wall_ms / 1000;
        let (target, listed) = (self.segment_length(), self.options.hls_segments);
        let newest = self.cache.units().last().map_or(0, |unit| unit.dts.as_millis());
        let epoch_ms = turn.wall_ms.cast_signed() - newest;
        let options = SegmenterOptions { container, target, listed, first_sequence, epoch_ms };
        let mut segments = Segments { segmenter: Segmenter::new(options), publisher };
        self.cache.units().for_each(|unit| segments.write(unit));
        self.segmenters[feeds::number(container)] = Some(segments);
    }

    /// Records from the cached GOP on, or else from the next key frame: also if an earlier recording has a part of the
    /// GOP, for no picture is to be in two files one behind the other.
    fn record(&mut self, turn: Turn<'_>, tap: record::Tap) {
        self.recordings.retain(|tap| !tap.is_over());
        if self.recordable || !self.recordings.is_empty() {
            tap.begin(turn, self.cache.units());
            self.recordable = false;
        }
        self.recordings.push(tap);
    }

    /// The source broke off: files end here, and what is cached is a thing of the past.
    pub(crate) fn handle_break(&mut self) {
        self.recordings.iter().for_each(record::Tap::handle_break);
        self.recordable = false;
    }

    /// The socket of a viewer, to watch it.
    pub(crate) fn viewer(&self, part: u32) -> Option<&Viewer> {
        let outlet = self.outlets.get((part >> VIEWER_BITS) as usize)?.as_ref()?;
        outlet.viewers.get((part & ((1 << VIEWER_BITS) - 1)) as usize)
    }

    /// A viewer's socket is ready.
    pub(crate) fn handle_viewer(&mut self, turn: Turn<'_>, part: u32, readable: bool, scratch: &mut [u8]) {
        let number = (part >> VIEWER_BITS) as usize;
        let key = (part & ((1 << VIEWER_BITS) - 1)) as usize;
        if let Some(Some(outlet)) = self.outlets.get_mut(number) {
            let step = outlet.handle_ready(turn.now, key, readable, scratch);
            self.finish(turn, number, step);
        }
    }

    /// Lets time pass; call about once a second.
    pub(crate) fn handle_tick(&mut self, turn: Turn<'_>, feeds: &Feeds) {
        self.recordings.retain(|tap| !tap.is_over());
        self.subscriptions.retain(|tap| !tap.is_over());
        let sent = feeds.bytes_out();
        let before = std::mem::replace(&mut self.feeds_sent, sent);
        self.count_sent(turn, sent - before);
        self.segments_watched = feeds.is_asked(turn.now);
        for container in feeds::CONTAINERS {
            let segmenter = &mut self.segmenters[feeds::number(container)];
            if segmenter.is_some() && !feeds.check(turn.now, container) {
                *segmenter = None;
            }
        }
        for number in 0..self.outlets.len() {
            if let Some(outlet) = &mut self.outlets[number] {
                let step = outlet.check(turn.now);
                self.finish(turn, number, step);
            }
        }
    }

    /// Closes every viewer, and ends every recording.
    pub(crate) fn close(&mut self, metrics: &Metrics) {
        let viewers = self.outlets.iter().flatten().map(|outlet| outlet.viewers.len() as u64).sum();
        metrics.viewers.sub(viewers);
        for outlet in self.outlets.iter_mut().flatten() {
            outlet.take_leave();
        }
        self.outlets = [const { None }; Form::COUNT];
        self.segmenters.iter_mut().flatten().for_each(Segments::end);
        self.recordings.clear();
        self.subscriptions.clear();
        self.senders.close(metrics);
    }

    /// Viewers of all live forms.
    pub(crate) fn list_viewers(&self) -> Vec<ViewerStats> {
        let viewers = self.outlets.iter().flatten().flat_map(|outlet| outlet.viewers.iter());
        let viewers = viewers.filter(|(_, viewer)| !viewer.is_push()).map(|(_, viewer)| viewer.stats());
        viewers.chain(self.subscriptions.iter().filter_map(UnitTap::stats)).collect()
    }

    /// Closes one viewer; false if it is not here.
    pub(crate) fn kick(&mut self, turn: Turn<'_>, viewer: u64) -> bool {
        let before = self.subscriptions.len();
        self.subscriptions.retain(|tap| !tap.is_of(viewer));
        if self.subscriptions.len() < before {
            return true;
        }
        for number in 0..self.outlets.len() {
            let step = self.outlets[number].as_mut().and_then(|outlet| outlet.kick(viewer));
            if let Some(step) = step {
                self.finish(turn, number, step);
                return true;
            }
        }
        false
    }

    /// How many viewers come by `protocol`.
    pub(crate) fn viewers(&self, protocol: Protocol) -> u32 {
        let viewers = self.outlets.iter().flatten().flat_map(|outlet| outlet.viewers.iter());
        viewers.filter(|(_, viewer)| viewer.protocol() == protocol && !viewer.is_push()).count() as u32
    }

    /// What those who are given units are counted as.
    pub(crate) fn subscribers(&self) -> impl Iterator<Item = &'static str> {
        self.subscriptions.iter().map(|tap| tap.protocol).filter(|protocol| !protocol.is_empty())
    }

    /// Whether somebody watches or records.
    pub(crate) fn is_watched(&self) -> bool {
        !self.recordings.is_empty()
            || self.senders.count() > 0
            || !self.subscriptions.is_empty()
            || self.outlets.iter().any(Option::is_some)
            || self.segments_watched
    }

    fn settled(&self, now: Instant) -> bool {
        self.first_unit.is_some_and(|first| now.saturating_duration_since(first) >= SETTLED)
    }

    /// A sender's socket is ready.
    pub(crate) fn handle_sender(
        &mut self,
        turn: Turn<'_>,
        part: u32,
        readable: bool,
        buffers: (&mut Batch, &mut [u8]),
    ) {
        let bytes = self.senders.handle_ready(turn, part, readable, buffers);
        self.count_sent(turn, bytes);
    }

    /// How many are sent the stream as RTP.
    pub(crate) fn senders(&self) -> u32 {
        self.senders.count() as u32
    }

    /// When to call `handle_timeout` even if nothing comes.
    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.senders.next_timeout()
    }

    /// Lets time pass for those who cannot wait for the next tick.
    pub(crate) fn handle_timeout(&mut self, turn: Turn<'_>) {
        let bytes = self.senders.handle_timeout(turn);
        self.count_sent(turn, bytes);
    }

    fn count_sent(&mut self, turn: Turn<'_>, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.bytes_out += bytes;
        self.out.add(turn.second, bytes);
        turn.metrics.bytes_out.add(bytes);
    }

    /// Counts what a step did, lets go who is gone, and the outlet with its last viewer.
    fn finish(&mut self, turn: Turn<'_>, number: usize, step: Step) {
        if step.written.bytes > 0 {
            self.count_sent(turn, step.written.bytes);
            turn.metrics.viewer_skips.add(step.written.skips);
        }
        let Some(outlet) = &mut self.outlets[number] else { return };
        for (key, why) in step.gone {
            if let Some(mut viewer) = outlet.viewers.try_remove(key) {
                viewer.part(why);
                turn.metrics.viewers.sub(1);
                turn.metrics.viewers_stalled.add(u64::from(why == Gone::Stalled));
            }
        }
        if outlet.viewers.is_empty() {
            self.outlets[number] = None;
        }
    }
}
