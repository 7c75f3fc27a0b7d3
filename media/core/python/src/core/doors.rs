//! Ports that are open to others, and who is let in by them.

use std::path::PathBuf;

use pyo3::prelude::*;
use relay::{PlayRights, TlsFiles};

use super::Core;
use crate::error;

#[pymethods]
impl Core {
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

    fn answer_play(&self, py: Python<'_>, ticket: u64, allowed: bool) {
        py.detach(|| self.0.answer_play(ticket, allowed));
    }

    #[pyo3(signature = (app, name, expires, generation = 0))]
    fn sign(&self, app: &str, name: &str, expires: u64, generation: u64) -> String {
        self.0.sign(app, name, expires, generation)
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
}
