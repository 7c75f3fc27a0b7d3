//! Where a stream goes besides its viewers at the doors: subscriptions, senders, pushes, taps, recordings, pictures.

use std::path::PathBuf;

use pyo3::{exceptions::PyValueError, prelude::*};
use relay::{RecordOrder, push::OpenPush, units::Subscribe};
use wire::file::Form;

use super::{Core, datagrams, ip};
use crate::{
    error,
    files::KeyFrame,
    push::Push,
    send::{Sender, SenderStats, Wanted},
    tap::Tap,
    units::Subscription,
};

#[pymethods]
impl Core {
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

    #[pyo3(signature = (receiver, *, packets = 4096))]
    fn tap(&self, py: Python<'_>, receiver: u64, packets: usize) -> PyResult<Tap> {
        py.detach(|| self.0.tap(receiver, packets)).map(Tap).map_err(error)
    }

    #[pyo3(signature = (receiver, *, directory, slice_ms, utc_offset_ms, tag, form = None))]
    #[expect(clippy::too_many_arguments, reason = "they are keywords in Python")]
    fn record(
        &self,
        py: Python<'_>,
        receiver: u64,
        directory: PathBuf,
        slice_ms: u64,
        utc_offset_ms: i64,
        tag: String,
        form: Option<&str>,
    ) -> PyResult<u64> {
        let form = match form {
            None => None,
            Some("flv") => Some(Form::Flv),
            Some("fmp4") => Some(Form::Fmp4),
            Some(other) => return Err(PyValueError::new_err(format!("{other:?} is neither flv nor fmp4"))),
        };
        let order = RecordOrder { directory, slice_ms, utc_offset_ms, form, tag };
        py.detach(|| self.0.record(receiver, order)).map_err(error)
    }

    fn stop_recording(&self, py: Python<'_>, recording: u64) {
        py.detach(|| self.0.stop_recording(recording));
    }

    fn key_frame(&self, py: Python<'_>, receiver: u64) -> PyResult<Option<KeyFrame>> {
        let found = py.detach(|| self.0.key_frame(receiver)).map_err(error)?;
        Ok(found.map(|found| KeyFrame::new(py, &found)))
    }
}
