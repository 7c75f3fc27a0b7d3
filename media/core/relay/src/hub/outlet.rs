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
    media::AccessUnit,
    rtmp::RtmpMuxer,
    rtsp::{self, Selection},
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
        found.take_leave(&self.muxer.farewell());
        Some(Step { written: Written::default(), gone: vec![(key, Gone::Left)] })
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

    /// Finds viewers whose time is over. What was gathered goes out, should no unit come any more.
    pub(crate) fn check(&mut self, now: Instant) -> Step {
        let due = !self.merge.is_zero() && self.is_due(now);
        let mut step = Step::default();
        for (key, viewer) in &mut self.viewers {
            let written = if due { viewer.pump(now, &self.ring) } else { Ok(Written::default()) };
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
            self.ring.push(Entry::new(chunk, begins, unit.dts, Arc::clone(&unit.tracks)), needed);
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
            // Datagrams of a whole GOP at once would be lost on the way: their viewers begin with the next key frame.
            && (from_gop && !viewer.takes_datagrams() || viewer.is_push() || number + 1 == ring.end())
        {
            viewer.begin(now, number, muxer.head(entry, viewer), Arc::clone(&entry.tracks));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::{Read, Write},
        net::{TcpListener, TcpStream},
        time::Duration,
    };

    use bytes::Bytes;
    use wire::{
        flv::FlvOptions,
        media::{Kind, Ticks, Tracks, VideoCodec, VideoTrack},
    };

    use super::*;
    use crate::{
        clock,
        config::Config,
        door::{self, Framing, Seat},
    };

    const GOP: u8 = 10;

    fn pair() -> (TcpStream, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        server.set_nonblocking(true).unwrap();
        socket2::SockRef::from(&server).set_send_buffer_size(16 * 1024).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (server, client)
    }

    fn tracks() -> Arc<Tracks> {
        let sps = Bytes::from_static(&[0x67, 0x42, 0x00, 0x1F, 0xE9]);
        let pps = Bytes::from_static(&[0x68, 0xCE, 0x3C, 0x80]);
        let video = VideoTrack {
            codec: VideoCodec::H264,
            width: 320,
            height: 192,
            rate: None,
            vps: vec![],
            sps: vec![sps],
            pps: vec![pps],
        };
        Arc::new(Tracks { video: Some(video), audio: None })
    }

    /// Picture `number` of 25 a second: every tenth is a key frame, and each says its number in every byte.
    fn picture(tracks: &Arc<Tracks>, number: u8, size: usize) -> AccessUnit {
        let mut data = (size as u32).to_be_bytes().to_vec();
        data.resize(4 + size, number);
        AccessUnit {
            kind: Kind::Video,
            dts: Ticks(i64::from(number) * 3600),
            pts: Ticks(i64::from(number) * 3600),
            key: number.is_multiple_of(GOP),
            data: data.into(),
            tracks: Arc::clone(tracks),
        }
    }

    fn outlet() -> Outlet {
        Outlet::new(Form::Flv(FlvOptions::default()), 4 << 20, &GopCache::new(4 << 20), 0)
    }

    /// The numbers of the pictures in an FLV stream, and whether each is a key frame.
    fn read_pictures(flv: &[u8]) -> Vec<(u8, bool)> {
        let mut rest = &flv[13..];
        let mut pictures = Vec::new();
        while rest.len() >= 11 {
            let size = usize::from(rest[1]) << 16 | usize::from(rest[2]) << 8 | usize::from(rest[3]);
            let Some(body) = rest.get(11..11 + size) else { break };
            if rest[0] == 9 && body[1] == 1 {
                pictures.push((body[body.len() - 1], body[0] >> 4 == 1));
            }
            rest = &rest[11 + size + 4..];
        }
        pictures
    }

    fn viewer(now: Instant, socket: TcpStream, framing: Framing) -> Viewer {
        let peer = socket.peer_addr().unwrap();
        let (form, seat) = (Form::Flv(FlvOptions::default()), Seat::new(&Arc::default()));
        Viewer::new(now, door::Viewer { socket, peer, form, framing, seat, agent: String::new() })
    }

    #[test]
    fn a_slow_viewer_goes_on_at_a_key_frame_and_memory_is_bounded() {
        let (server, mut client) = pair();
        let (mut outlet, tracks, start) = (outlet(), tracks(), clock::now());
        let mut skips = 0;
        outlet.handle_unit(start, &picture(&tracks, 0, 50_000), true);
        let (key, _) = outlet.add(start, viewer(start, server, Framing::Plain), true);
        for number in 1..250 {
            let now = start + Duration::from_millis(40) * u32::from(number);
            let step = outlet.handle_unit(now, &picture(&tracks, number, 50_000), true);
            assert!(step.gone.is_empty());
            skips += step.written.skips;
        }
        // All that time it has read nothing. Now it reads, and gets whole pictures only.
        let reader = std::thread::spawn(move || {
            let mut flv = Vec::new();
            // The end is a time-out or a close: both are fine.
            let _ = client.read_to_end(&mut flv);
            flv
        });
        let late = start + Duration::from_secs(10);
        for _ in 0..200 {
            let step = outlet.handle_ready(late, key, false, &mut [0; 64]);
            skips += step.written.skips;
            std::thread::sleep(Duration::from_millis(2));
        }
        assert_eq!(skips, 1, "it was moved once, to the newest key frame");
        drop(outlet);
        let pictures = read_pictures(&reader.join().unwrap());
        let jumps: Vec<_> = pictures.windows(2).filter(|pair| pair[1].0 != pair[0].0 + 1).collect();
        assert_eq!(jumps.len(), 1, "{pictures:?}");
        assert_eq!(jumps[0][1], (240, true));
        assert_eq!(pictures.last(), Some(&(249, false)));
    }

    #[test]
    fn what_is_merged_goes_out_together_and_a_newcomer_begins_at_once() {
        let ((server, client), (other, newcomer)) = (pair(), pair());
        let (mut outlet, tracks, start) = (outlet(), tracks(), clock::now());
        let merge_write = Duration::from_millis(300);
        outlet.set(&StreamOptions { merge_write, ..StreamOptions::of(&Config::default()) }, 4 << 20);
        let at = |ms: u64| start + Duration::from_millis(ms);
        let waits = |mut socket: &TcpStream| {
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            socket.read(&mut [0; 1 << 14]).unwrap_or(0)
        };
        outlet.handle_unit(at(0), &picture(&tracks, 0, 100), true);
        outlet.add(at(10), viewer(start, server, Framing::Plain), true);
        assert!(waits(&client) > 100, "who comes gets the cached pictures at once");
        for number in 1..=7 {
            outlet.handle_unit(at(u64::from(number) * 40), &picture(&tracks, number, 100), true);
        }
        assert_eq!(waits(&client), 0, "less than 300 ms have gone by");
        outlet.add(at(290), viewer(start, other, Framing::Plain), true);
        assert!(waits(&newcomer) > 8 * 100);
        outlet.handle_unit(at(320), &picture(&tracks, 8, 100), true);
        assert!(waits(&client) > 8 * 100, "all of them with one write");
        outlet.handle_unit(at(360), &picture(&tracks, 11, 100), true);
        assert_eq!(waits(&client), 0);
        assert!(outlet.check(at(700)).written.bytes > 200, "the source fell silent");
    }

    #[test]
    fn a_viewer_that_takes_nothing_is_closed() {
        let (server, _client) = pair();
        let (mut outlet, tracks, start) = (outlet(), tracks(), clock::now());
        outlet.add(start, viewer(start, server, Framing::Plain), true);
        for number in 0..100 {
            outlet.handle_unit(start, &picture(&tracks, number, 100_000), true);
        }
        assert!(outlet.check(start + Duration::from_secs(9)).gone.is_empty());
        assert_eq!(outlet.check(start + Duration::from_secs(10)).gone, [(0, Gone::Stalled)]);
    }

    #[test]
    fn a_viewer_of_nothing_is_closed_later() {
        let (server, _client) = pair();
        let (mut outlet, start) = (outlet(), clock::now());
        outlet.add(start, viewer(start, server, Framing::Plain), true);
        assert!(outlet.check(start + Duration::from_secs(29)).gone.is_empty());
        assert_eq!(outlet.check(start + Duration::from_secs(30)).gone, [(0, Gone::Stalled)]);
    }

    #[test]
    fn a_websocket_viewer_gets_frames_and_answers_to_pings() {
        let (server, mut client) = pair();
        let (mut outlet, tracks, start) = (outlet(), tracks(), clock::now());
        outlet.handle_unit(start, &picture(&tracks, 0, 1000), true);
        let (key, _) = outlet.add(start, viewer(start, server, Framing::WebSocket), true);
        let mut head = [0; 4];
        client.read_exact(&mut head).unwrap();
        assert_eq!((head[0], head[1]), (0x82, 126));
        let mut flv = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
        client.read_exact(&mut flv).unwrap();
        assert!(flv.starts_with(b"FLV\x01\x01"));
        client.read_exact(&mut head).unwrap();
        let mut chunk = vec![0; usize::from(u16::from_be_bytes([head[2], head[3]]))];
        client.read_exact(&mut chunk).unwrap();
        assert_eq!(chunk[0], 9);
        client.write_all(&[0x89, 0x82, 0, 0, 0, 0, b'h', b'i']).unwrap();
        client.write_all(&[0x88, 0x80, 0, 0, 0, 0]).unwrap();
        std::thread::sleep(Duration::from_millis(50));
        let step = outlet.handle_ready(start, key, true, &mut [0; 64]);
        assert_eq!(step.gone, [(key, Gone::Left)]);
        let mut answer = [0; 2];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [0x88, 0], "the answer to Close replaces the one to Ping");
    }

    #[test]
    fn who_slept_through_a_change_of_size_is_closed() {
        let (server, mut client) = pair();
        let (mut outlet, old, start) = (outlet(), tracks(), clock::now());
        outlet.handle_unit(start, &picture(&old, 0, 200_000), true);
        let (key, _) = outlet.add(start, viewer(start, server, Framing::Plain), true);
        let mut other = (*old).clone();
        other.video.as_mut().unwrap().width = 640;
        let new = Arc::new(other);
        for number in 10..100 {
            assert!(outlet.handle_unit(start, &picture(&new, number, 200_000), true).gone.is_empty());
        }
        let reader = std::thread::spawn(move || client.read_to_end(&mut Vec::new()));
        let gone = (0..1000).find_map(|_| {
            std::thread::sleep(Duration::from_millis(2));
            outlet.handle_ready(start, key, false, &mut [0; 64]).gone.pop()
        });
        assert_eq!(gone, Some((key, Gone::Stalled)));
        drop(outlet);
        reader.join().unwrap().unwrap();
    }
}
