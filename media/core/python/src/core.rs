use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use pyo3::{exceptions::PyValueError, prelude::*};
use relay::{
    Config, OpenReceiver, Outputs, PlayRights, RecordOrder, StreamOptions, TlsFiles, Transport,
    feed::OpenFeed,
    options,
    playback::{Control, OpenPlayback, PlayFile},
    pull::{OpenPull, Source},
    push::OpenPush,
    units::Subscribe,
};

use crate::{
    error,
    event::Event,
    files::KeyFrame,
    push::Push,
    send::{Sender, SenderStats, Wanted},
    stream::Stream,
    tap::Tap,
    units::{Feed, Subscription},
    viewer::Viewer,
};

/// `media._core.Core`.
#[pyclass(frozen, module = "media._core")]
pub struct Core(relay::Core);

/// `media._core.Receiver`.
#[pyclass(frozen, get_all, module = "media._core")]
pub struct Receiver {
    id: u64,
    port: u16,
}

#[pymethods]
impl Core {
    #[new]
    #[pyo3(signature = (
        *,
        rtp_host = "::",
        rtp_port_min = 30000,
        rtp_port_max = 39999,
        rtp_shared_port = 0,
        threads = 0,
        play_key,
        silence_ms = 5000,
        no_viewer_ms = 0,
        gop_bytes_max = 16_777_216,
        bandwidth_max_bps = 40_000_000,
        hls_segment_ms = 2000,
        merge_write_ms = 0,
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn new(
        py: Python<'_>,
        rtp_host: &str,
        rtp_port_min: u16,
        rtp_port_max: u16,
        rtp_shared_port: u16,
        threads: usize,
        play_key: Vec<u8>,
        silence_ms: u64,
        no_viewer_ms: u64,
        gop_bytes_max: usize,
        bandwidth_max_bps: u64,
        hls_segment_ms: u64,
        merge_write_ms: u64,
    ) -> PyResult<Self> {
        let config = Config {
            rtp_host: ip(rtp_host)?,
            rtp_port_min,
            rtp_port_max,
            rtp_shared_port,
            threads,
            play_key,
            silence: Duration::from_millis(silence_ms),
            no_viewer: (no_viewer_ms > 0).then(|| Duration::from_millis(no_viewer_ms)),
            gop_bytes_max,
            bandwidth_max_bps,
            hls_segment: Duration::from_millis(hls_segment_ms.clamp(200, 60_000)),
            merge_write: Duration::from_millis(merge_write_ms),
            ..Config::default()
        };
        py.detach(|| relay::Core::start(config)).map(Self).map_err(error)
    }

    fn close(&self, py: Python<'_>) {
        py.detach(|| self.0.close());
    }

    fn listen_http(&self, py: Python<'_>, host: &str, port: u16, upstream: &str) -> PyResult<u16> {
        py.detach(|| self.0.listen_http(host, port, upstream)).map_err(error)
    }

    fn listen_rtmp(&self, py: Python<'_>, host: &str, port: u16) -> PyResult<u16> {
        py.detach(|| self.0.listen_rtmp(host, port)).map_err(error)
    }

    #[pyo3(signature = (host, port, *, realm = None))]
    fn listen_rtsp(&self, py: Python<'_>, host: &str, port: u16, realm: Option<&str>) -> PyResult<u16> {
        py.detach(|| self.0.listen_rtsp(host, port, realm)).map_err(error)
    }

    #[pyo3(signature = (host, port, upstream, *, certificate, key))]
    fn listen_https(
        &self,
        py: Python<'_>,
        host: &str,
        port: u16,
        upstream: &str,
        certificate: PathBuf,
        key: PathBuf,
    ) -> PyResult<u16> {
        let files = TlsFiles { certificate, key };
        py.detach(|| self.0.listen_https(host, port, upstream, &files)).map_err(error)
    }

    #[pyo3(signature = (host, port, *, certificate, key))]
    fn listen_rtmps(
        &self,
        py: Python<'_>,
        host: &str,
        port: u16,
        certificate: PathBuf,
        key: PathBuf,
    ) -> PyResult<u16> {
        let files = TlsFiles { certificate, key };
        py.detach(|| self.0.listen_rtmps(host, port, &files)).map_err(error)
    }

    #[pyo3(signature = (host, port, *, certificate, key, realm = None))]
    fn listen_rtsps(
        &self,
        py: Python<'_>,
        host: &str,
        port: u16,
        certificate: PathBuf,
        key: PathBuf,
        realm: Option<&str>,
    ) -> PyResult<u16> {
        let files = TlsFiles { certificate, key };
        py.detach(|| self.0.listen_rtsps(host, port, realm, &files)).map_err(error)
    }

    #[pyo3(signature = (ticket, app, name, *, private = true, generation = 0, viewers_max = 0))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn accept_publish(
        &self,
        py: Python<'_>,
        ticket: u64,
        app: &str,
        name: &str,
        private: bool,
        generation: u64,
        viewers_max: u32,
    ) -> PyResult<u64> {
        let rights = PlayRights { private, generation, viewers_max };
        py.detach(|| self.0.accept_publish(ticket, app, name, rights)).map_err(error)
    }

    #[pyo3(signature = (ticket, reason, *, unauthorized = false))]
    fn refuse_publish(&self, py: Python<'_>, ticket: u64, reason: &str, unauthorized: bool) {
        py.detach(|| self.0.refuse_publish(ticket, reason, unauthorized));
    }

    fn event_fd(&self) -> i32 {
        self.0.event_fd()
    }

    #[pyo3(signature = (limit = 1000))]
    fn poll_events(&self, py: Python<'_>, limit: usize) -> Vec<Event> {
        py.detach(|| self.0.poll_events(limit)).into_iter().map(Event).collect()
    }

    #[pyo3(signature = (
        app, name, *, transport, shared = false, ssrc = None, peer = None, any_peer = false, hold_ms = 200,
        private = true, generation = 0, viewers_max = 0,
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn open_receiver(
        &self,
        py: Python<'_>,
        app: String,
        name: String,
        transport: &str,
        shared: bool,
        ssrc: Option<u32>,
        peer: Option<&str>,
        any_peer: bool,
        hold_ms: u64,
        private: bool,
        generation: u64,
        viewers_max: u32,
    ) -> PyResult<Receiver> {
        let wanted = OpenReceiver {
            app,
            name,
            transport: transport_named(transport)?,
            shared,
            ssrc,
            peer: peer.map(ip).transpose()?,
            any_peer,
            hold: Duration::from_millis(hold_ms),
            rights: PlayRights { private, generation, viewers_max },
        };
        let opened = py.detach(|| self.0.open_receiver(&wanted)).map_err(error)?;
        Ok(Receiver { id: opened.id, port: opened.port })
    }

    #[pyo3(
        signature = (
            app, name, url, *, private = true, generation = 0, viewers_max = 0, allow_private = false,
            headers = Vec::new(), transport = "tcp", command = Vec::new(),
            label = String::new(),
        ),
        text_signature = "($self, app, name, url, *, private=True, generation=0, viewers_max=0, \
            allow_private=False, headers=(), transport='tcp', command=(), label='')"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn open_pull(
        &self,
        py: Python<'_>,
        app: String,
        name: String,
        url: String,
        private: bool,
        generation: u64,
        viewers_max: u32,
        allow_private: bool,
        headers: Vec<(String, String)>,
        transport: &str,
        command: Vec<String>,
        label: String,
    ) -> PyResult<Receiver> {
        let rights = PlayRights { private, generation, viewers_max };
        let source = source(url, headers, transport, command, label)?;
        let wanted = OpenPull { app, name, source, rights, allow_private };
        let opened = py.detach(|| self.0.open_pull(&wanted)).map_err(error)?;
        Ok(Receiver { id: opened.id, port: opened.port })
    }

    #[pyo3(signature = (app, name, *, transport, private = true, generation = 0, viewers_max = 0))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn open_feed(
        &self,
        py: Python<'_>,
        app: String,
        name: String,
        transport: &str,
        private: bool,
        generation: u64,
        viewers_max: u32,
    ) -> PyResult<Feed> {
        let transport = named(&[Transport::Whip, Transport::Derived], transport)?;
        let rights = PlayRights { private, generation, viewers_max };
        let wanted = OpenFeed { app, name, transport, payload: "units", rights };
        py.detach(|| self.0.open_unit_feed(&wanted)).map(Feed).map_err(error)
    }

    #[pyo3(signature = (
        receiver, *, video = true, audio = true, from_gop = true, queue_bytes = 8_388_608, protocol = "",
        peer = None, agent = "",
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn subscribe(
        &self,
        py: Python<'_>,
        receiver: u64,
        video: bool,
        audio: bool,
        from_gop: bool,
        queue_bytes: usize,
        protocol: &str,
        peer: Option<&str>,
        agent: &str,
    ) -> PyResult<Subscription> {
        let protocol = ["", "whep"]
            .into_iter()
            .find(|known| *known == protocol)
            .ok_or_else(|| PyValueError::new_err(format!("viewers do not come by {protocol:?}")))?;
        let (peer, agent) = (peer.map(ip).transpose()?, wire::agent::agent(agent));
        let wanted = Subscribe { video, audio, from_gop, bytes_max: queue_bytes, protocol, peer, agent };
        py.detach(|| self.0.subscribe(receiver, wanted)).map(Subscription).map_err(error)
    }

    #[pyo3(signature = (
        receiver, *, transport = "udp", host = None, port = 0, ssrc, payload = "ps", payload_type = 96, local_port = 0,
        video = true, audio = true, report_timeout_ms = 0, wait_ms = 30000, over = None, rtcp = false,
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn open_sender(
        &self,
        py: Python<'_>,
        receiver: u64,
        transport: &str,
        host: Option<&str>,
        port: u16,
        ssrc: u32,
        payload: &str,
        payload_type: u8,
        local_port: u16,
        video: bool,
        audio: bool,
        report_timeout_ms: u64,
        wait_ms: u64,
        over: Option<u64>,
        rtcp: bool,
    ) -> PyResult<Sender> {
        let host = host.map(ip).transpose()?;
        let wanted = Wanted {
            transport,
            host,
            port,
            ssrc,
            payload,
            payload_type,
            local_port,
            video,
            audio,
            report_timeout_ms,
            wait_ms,
            over,
            rtcp,
        }
        .read()?;
        let opened = py.detach(|| self.0.open_sender(receiver, &wanted)).map_err(error)?;
        Ok(Sender { id: opened.id, port: opened.port })
    }

    fn close_sender(&self, py: Python<'_>, sender: u64) -> PyResult<()> {
        py.detach(|| self.0.close_sender(sender)).map_err(error)
    }

    fn senders(&self, py: Python<'_>) -> PyResult<Vec<SenderStats>> {
        let senders = py.detach(|| self.0.senders()).map_err(error)?;
        Ok(senders.into_iter().map(SenderStats::from).collect())
    }

    #[pyo3(
        signature = (receiver, url, *, headers = Vec::new(), transport = "tcp", command = Vec::new(), label = String::new()),
        text_signature = "($self, receiver, url, *, headers=(), transport='tcp', command=(), label='')"
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn switch_pull(
        &self,
        py: Python<'_>,
        receiver: u64,
        url: String,
        headers: Vec<(String, String)>,
        transport: &str,
        command: Vec<String>,
        label: String,
    ) -> PyResult<()> {
        let source = source(url, headers, transport, command, label)?;
        py.detach(|| self.0.switch_pull(receiver, &source)).map_err(error)
    }

    fn standby_pull(&self, py: Python<'_>, receiver: u64, inputs: Vec<StandbyInput>) -> PyResult<()> {
        let sources: PyResult<Vec<_>> = inputs
            .into_iter()
            .map(|(label, url, headers, transport, command)| source(url, headers, &transport, command, label))
            .collect();
        let sources = sources?;
        py.detach(|| self.0.standby_pull(receiver, &sources)).map_err(error)
    }

    fn connect(&self, py: Python<'_>, receiver: u64, host: &str, port: u16) -> PyResult<()> {
        let to = SocketAddr::new(ip(host)?, port);
        py.detach(|| self.0.connect(receiver, to)).map_err(error)
    }

    #[pyo3(
        signature = (receiver, *, ssrc = None, peer = None, payloads = Vec::new()),
        text_signature = "($self, receiver, *, ssrc=None, peer=None, payloads=())"
    )]
    fn expect(
        &self,
        py: Python<'_>,
        receiver: u64,
        ssrc: Option<u32>,
        peer: Option<&str>,
        payloads: Vec<(u8, String)>,
    ) -> PyResult<()> {
        let peer = peer.map(ip).transpose()?;
        py.detach(|| self.0.expect(receiver, ssrc, peer, payloads)).map_err(error)
    }

    fn close_receiver(&self, py: Python<'_>, receiver: u64) -> PyResult<()> {
        py.detach(|| self.0.close_receiver(receiver)).map_err(error)
    }

    #[pyo3(
        signature = (receiver, url, *, allow_private = false, transport = "tcp"),
        text_signature = "($self, receiver, url, *, allow_private=False, transport='tcp')"
    )]
    fn open_push(
        &self,
        py: Python<'_>,
        receiver: u64,
        url: String,
        allow_private: bool,
        transport: &str,
    ) -> PyResult<u64> {
        let wanted = OpenPush { receiver, url, allow_private, datagrams: datagrams(transport)? };
        py.detach(|| self.0.open_push(&wanted)).map_err(error)
    }

    fn close_push(&self, py: Python<'_>, push: u64) {
        py.detach(|| self.0.close_push(push));
    }

    fn pushes(&self, py: Python<'_>) -> Vec<Push> {
        py.detach(|| self.0.pushes()).into_iter().map(Push).collect()
    }

    fn set_private(&self, app: &str, name: &str, private: bool) {
        self.0.set_private(app, name, private);
    }

    fn set_generation(&self, app: &str, name: &str, generation: u64) {
        self.0.set_generation(app, name, generation);
    }

    fn set_viewers_max(&self, app: &str, name: &str, viewers_max: u32) {
        self.0.set_viewers_max(app, name, viewers_max);
    }

    #[pyo3(signature = (
        receiver,
        *,
        forms = None,
        audio = None,
        gop_bytes_max = None,
        from_gop = None,
        no_viewer_ms = None,
        hls_segment_ms = None,
        hls_segments = None,
        hls_always = None,
        merge_write_ms = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn set_options(
        &self,
        receiver: u64,
        forms: Option<Vec<String>>,
        audio: Option<bool>,
        gop_bytes_max: Option<usize>,
        from_gop: Option<bool>,
        no_viewer_ms: Option<u64>,
        hls_segment_ms: Option<u64>,
        hls_segments: Option<usize>,
        hls_always: Option<Vec<String>>,
        merge_write_ms: Option<u64>,
    ) -> PyResult<()> {
        let defaults = self.0.default_options();
        let millis = |chosen: Option<u64>, or: Duration| chosen.map_or(or, Duration::from_millis);
        let outputs = forms.map(|names| Outputs::named(names.iter().map(String::as_str))).transpose();
        let always = hls_always.map(|names| names.iter().map(|name| options::container(name)).collect());
        let chosen = StreamOptions {
            outputs: outputs.map_err(error)?.unwrap_or(defaults.outputs),
            audio: audio.unwrap_or(defaults.audio),
            gop_bytes_max: gop_bytes_max.unwrap_or(defaults.gop_bytes_max),
            from_gop: from_gop.unwrap_or(defaults.from_gop),
            no_viewer: match no_viewer_ms {
                Some(after) => (after > 0).then(|| Duration::from_millis(after)),
                None => defaults.no_viewer,
            },
            hls_segment: millis(hls_segment_ms, defaults.hls_segment),
            hls_segments: hls_segments.unwrap_or(defaults.hls_segments),
            hls_always: always.transpose().map_err(error)?.unwrap_or(defaults.hls_always),
            merge_write: millis(merge_write_ms, defaults.merge_write),
        };
        self.0.set_options(receiver, &chosen).map_err(error)
    }

    fn answer_play(&self, py: Python<'_>, ticket: u64, allowed: bool) {
        py.detach(|| self.0.answer_play(ticket, allowed));
    }

    #[pyo3(signature = (app, name, expires, generation = 0))]
    fn sign(&self, app: &str, name: &str, expires: u64, generation: u64) -> String {
        self.0.sign(app, name, expires, generation)
    }

    fn streams(&self, py: Python<'_>) -> PyResult<Vec<Stream>> {
        let streams = py.detach(|| self.0.streams()).map_err(error)?;
        Ok(streams.into_iter().map(Stream::from).collect())
    }

    fn stream(&self, py: Python<'_>, app: &str, name: &str) -> PyResult<Option<Stream>> {
        let stream = py.detach(|| self.0.stream(app, name)).map_err(error)?;
        Ok(stream.map(Stream::from))
    }

    fn viewers(&self, py: Python<'_>, app: &str, name: &str) -> PyResult<Vec<Viewer>> {
        let viewers = py.detach(|| self.0.viewers(app, name)).map_err(error)?;
        Ok(viewers.into_iter().map(Viewer::from).collect())
    }

    fn kick(&self, py: Python<'_>, viewer: u64) -> PyResult<bool> {
        py.detach(|| self.0.kick(viewer)).map_err(error)
    }

    fn stream_count(&self) -> usize {
        self.0.stream_count()
    }

    #[pyo3(signature = (receiver, *, packets = 4096))]
    fn tap(&self, py: Python<'_>, receiver: u64, packets: usize) -> PyResult<Tap> {
        py.detach(|| self.0.tap(receiver, packets)).map(Tap).map_err(error)
    }

    #[pyo3(signature = (receiver, *, directory, slice_ms, utc_offset_ms, tag))]
    fn record(
        &self,
        py: Python<'_>,
        receiver: u64,
        directory: PathBuf,
        slice_ms: u64,
        utc_offset_ms: i64,
        tag: String,
    ) -> PyResult<u64> {
        let order = RecordOrder { directory, slice_ms, utc_offset_ms, tag };
        py.detach(|| self.0.record(receiver, order)).map_err(error)
    }

    fn stop_recording(&self, py: Python<'_>, recording: u64) {
        py.detach(|| self.0.stop_recording(recording));
    }

    #[pyo3(
        signature = (
            app, name, files, *, position_ms = 0, end_ms = None, speed = 1.0, paused = false, private = true,
            generation = 0, viewers_max = 0,
        ),
    )]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn open_playback(
        &self,
        py: Python<'_>,
        app: String,
        name: String,
        files: Vec<(PathBuf, u64)>,
        position_ms: u64,
        end_ms: Option<u64>,
        speed: f64,
        paused: bool,
        private: bool,
        generation: u64,
        viewers_max: u32,
    ) -> PyResult<Receiver> {
        let files = files.into_iter().map(|(path, start_ms)| PlayFile { path, start_ms }).collect();
        let rights = PlayRights { private, generation, viewers_max };
        let wanted = OpenPlayback { app, name, files, position_ms, end_ms, speed, paused, rights };
        let opened = py.detach(|| self.0.open_playback(&wanted)).map_err(error)?;
        Ok(Receiver { id: opened.id, port: opened.port })
    }

    fn playback_seek(&self, receiver: u64, position_ms: u64) -> PyResult<()> {
        self.0.control_playback(receiver, Control::Seek(position_ms)).map_err(error)
    }

    fn playback_speed(&self, receiver: u64, speed: f64) -> PyResult<()> {
        self.0.control_playback(receiver, Control::Speed(speed)).map_err(error)
    }

    fn playback_pause(&self, receiver: u64, paused: bool) -> PyResult<()> {
        self.0.control_playback(receiver, Control::Pause(paused)).map_err(error)
    }

    fn key_frame(&self, py: Python<'_>, receiver: u64) -> PyResult<Option<KeyFrame>> {
        let found = py.detach(|| self.0.key_frame(receiver)).map_err(error)?;
        Ok(found.map(|found| KeyFrame::new(py, &found)))
    }

    fn metrics(&self, py: Python<'_>) -> BTreeMap<&'static str, f64> {
        py.detach(|| self.0.metrics())
    }
}

/// Label, URL, header fields, transport, command.
type StandbyInput = (String, String, Vec<(String, String)>, String, Vec<String>);

fn source(
    url: String,
    headers: Vec<(String, String)>,
    transport: &str,
    command: Vec<String>,
    label: String,
) -> PyResult<Source> {
    let datagrams = datagrams(transport)?;
    Ok(Source { url, headers, datagrams, label, command })
}

fn ip(text: &str) -> PyResult<IpAddr> {
    text.parse().map_err(|_| PyValueError::new_err(format!("{text:?} is no IP address")))
}

/// Whether RTP is to come in datagrams.
fn datagrams(transport: &str) -> PyResult<bool> {
    match transport {
        "tcp" => Ok(false),
        "udp" => Ok(true),
        _ => Err(PyValueError::new_err(format!("{transport:?} is neither tcp nor udp"))),
    }
}

fn transport_named(name: &str) -> PyResult<Transport> {
    named(&[Transport::Udp, Transport::TcpPassive, Transport::TcpActive], name)
}

fn named(transports: &[Transport], name: &str) -> PyResult<Transport> {
    transports
        .iter()
        .copied()
        .find(|transport| transport.name() == name)
        .ok_or_else(|| PyValueError::new_err(format!("{name:?} is no transport")))
}
