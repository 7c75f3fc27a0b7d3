//! The ports that speak TLS.

use std::{path::PathBuf, sync::Arc};

use super::Core;
use crate::{
    error::Error,
    tls::{self, Inside, Terminator},
};

/// PEM files of a TLS port.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// The certificate and those that prove it, own one first.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

impl Core {
    /// Opens the front door for HTTPS and returns its port, as [`Core::listen_http`] does.
    pub fn listen_https(
        &self,
        host: &str,
        port: u16,
        upstream: &str,
        files: &TlsFiles,
    ) -> Result<u16, Error> {
        let tls = self.terminator(files, Inside::Http)?;
        self.open_door(host, port, upstream, Some(tls))
    }

    /// Opens an RTMPS port and returns its number, as [`Core::listen_rtmp`] does.
    pub fn listen_rtmps(&self, host: &str, port: u16, files: &TlsFiles) -> Result<u16, Error> {
        let tls = self.terminator(files, Inside::Other)?;
        self.open_rtmp(host, port, Some(tls))
    }

    /// Opens an RTSPS port and returns its number, as [`Core::listen_rtsp`] does. Nothing leaves it in datagrams.
    pub fn listen_rtsps(
        &self,
        host: &str,
        port: u16,
        realm: Option<&str>,
        files: &TlsFiles,
    ) -> Result<u16, Error> {
        let tls = self.terminator(files, Inside::Other)?;
        self.open_rtsp(host, port, realm, Some(tls))
    }

    /// What ends TLS with these files, which are watched from now on.
    fn terminator(&self, files: &TlsFiles, inside: Inside) -> Result<Terminator, Error> {
        let runtime = self.runtime()?;
        let unusable = |reason| Error::Invalid(format!("TLS cannot be spoken: {reason}"));
        let (identity, is_new) = self.identities.get(&files.certificate, &files.key).map_err(unusable)?;
        if is_new {
            runtime.spawn(tls::watch(Arc::downgrade(&identity), Arc::clone(&self.events)));
        }
        Terminator::new(identity, inside, Arc::clone(&self.tls_counters)).map_err(unusable)
    }
}
