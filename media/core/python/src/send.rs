use std::{net::IpAddr, time::Duration};

use pyo3::{exceptions::PyValueError, prelude::*};
use relay::{
    OpenSender, SendTransport,
    send::{Form, Payload, Selection},
};

/// `media._core.Sender`.
#[pyclass(frozen, get_all, module = "media._core")]
pub struct Sender {
    pub id: u64,
    pub port: u16,
}

/// `media._core.SenderStats`.
#[pyclass(frozen, get_all, module = "media._core")]
pub struct SenderStats {
    id: u64,
    receiver: u64,
    app: String,
    name: String,
    transport: &'static str,
    payload: &'static str,
    video: bool,
    audio: bool,
    ssrc: u32,
    port: u16,
    over: Option<u64>,
    peer: Option<String>,
    state: &'static str,
    since_ms: u64,
    packets: u64,
    bytes: u64,
    skips: u64,
    dropped: u64,
    heard_ms: Option<u64>,
}

impl From<relay::SenderStats> for SenderStats {
    fn from(stats: relay::SenderStats) -> Self {
        Self {
            id: stats.id,
            receiver: stats.receiver,
            app: stats.app,
            name: stats.name,
            transport: stats.transport,
            payload: stats.payload,
            video: stats.video,
            audio: stats.audio,
            ssrc: stats.ssrc,
            port: stats.port,
            over: stats.over,
            peer: stats.peer,
            state: stats.state,
            since_ms: stats.since_ms,
            packets: stats.packets,
            bytes: stats.bytes,
            skips: stats.skips,
            dropped: stats.dropped,
            heard_ms: stats.heard_ms,
        }
    }
}

/// What is asked for, in the words of Python.
pub(crate) struct Wanted<'a> {
    pub transport: &'a str,
    pub host: Option<IpAddr>,
    pub port: u16,
    pub ssrc: u32,
    pub payload: &'a str,
    pub payload_type: u8,
    pub local_port: u16,
    pub video: bool,
    pub audio: bool,
    pub report_timeout_ms: u64,
    pub wait_ms: u64,
    pub over: Option<u64>,
    pub rtcp: bool,
}

impl Wanted<'_> {
    pub(crate) fn read(self) -> PyResult<OpenSender> {
        let transports = [SendTransport::Udp, SendTransport::TcpActive, SendTransport::TcpPassive];
        let transport = transports.into_iter().find(|known| known.name() == self.transport);
        let payload = [Payload::Ps, Payload::Es].into_iter().find(|known| known.name() == self.payload);
        let unknown =
            |what: &str, name: &str| PyValueError::new_err(format!("{name:?} is no {what} of a sender"));
        Ok(OpenSender {
            transport: transport.ok_or_else(|| unknown("transport", self.transport))?,
            host: self.host,
            port: self.port,
            ssrc: self.ssrc,
            form: Form {
                payload: payload.ok_or_else(|| unknown("payload", self.payload))?,
                selection: Selection { video: self.video, audio: self.audio },
            },
            payload_type: self.payload_type,
            local_port: self.local_port,
            report_timeout: (self.report_timeout_ms > 0)
                .then(|| Duration::from_millis(self.report_timeout_ms)),
            wait: Duration::from_millis(self.wait_ms),
            over: self.over,
            rtcp: self.rtcp,
        })
    }
}
