//! What brings a stream: receive ports, pulls, feeds of units, playbacks of files.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use pyo3::{exceptions::PyValueError, prelude::*};
use relay::{
    OpenReceiver, PlayRights, Transport,
    feed::OpenFeed,
    playback::{Control, OpenPlayback, PlayFile},
    pull::{OpenPull, Source},
};

use super::{Core, datagrams, ip};
use crate::{error, units::Feed};

/// `media._core.Receiver`.
#[pyclass(frozen, get_all, module = "media._core")]
pub struct Receiver {
    id: u64,
    port: u16,
}

#[pymethods]
impl Core {
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

    fn connect(&self, py: Python<'_>, receiver: u64, host: &str, port: u16) -> PyResult<()> {
        let to = SocketAddr::new(ip(host)?, port);
        py.detach(|| self.0.connect(receiver, to)).map_err(error)
    }

    fn close_receiver(&self, py: Python<'_>, receiver: u64) -> PyResult<()> {
        py.detach(|| self.0.close_receiver(receiver)).map_err(error)
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
