//! Readers of what sources say that are nobody's business outside, for the fuzz targets alone. What must hold of a URL is
//! checked here, where it can be seen.

use bytes::Bytes;
use wire::unpack::Output;

use super::{Location, hls::segments, udp::Datagrams};
use crate::rtmp::address::Address;

/// Reads a URL and where a redirect from it leads.
///
/// # Panics
/// If what was read is not what may be connected to, or a secret went where it may not.
pub fn url(url: &str, reference: &str) {
    let Ok(from) = Location::parse(url) else { return };
    check(&from);
    if let Ok(address) = Address::of(&from) {
        assert!(!address.shown().contains('?'));
    }
    let Ok(next) = from.follow(reference) else { return };
    check(&next);
    assert!(next.scheme.is_secure() || !from.scheme.is_secure(), "from TLS to none");
    let kept = next.is_same_origin(&from) || next.authorization.is_none() || reference.contains('@');
    assert!(kept, "a password went to another server");
    if let Ok(address) = Address::of(&from) {
        let _ = address.moved_to(&next);
    }
}

fn check(location: &Location) {
    assert!(location.port > 0 && !location.host.is_empty() && location.target.starts_with('/'));
    assert!(location.target.bytes().all(|byte| byte > b' ' && byte != 0x7F), "it would end a request's line");
    let again = format!("{}://{}{}", location.scheme.name(), location.authority(), location.target);
    let again = Location::parse(&again).expect("what is written can be read");
    assert!(again.is_same_origin(location) && again.target == location.target);
    let _ = location.check(false);
    if let Some((_, query)) = location.target.split_once('?').filter(|(_, query)| query.len() > 8) {
        assert!(!location.to_string().contains(&format!("?{query}")), "a query is shown");
    }
}

/// What an HLS list or a sender of datagrams brings, piece by piece.
#[derive(Default)]
pub struct Pieces {
    segments: segments::Segments,
    datagrams: Option<Datagrams>,
}

impl Pieces {
    /// Takes an initialisation section.
    pub fn handle_init(&mut self, data: &[u8]) {
        let _ = self.segments.handle_init(data);
    }

    /// Takes a segment, encrypted if a key is given: what is in it.
    ///
    /// # Panics
    /// If more comes out than went in.
    pub fn handle_segment(&mut self, data: &[u8], key: Option<[u8; 16]>) -> Vec<Output> {
        let plain = match key {
            Some(key) => segments::decrypt(data, key, [0; 16]).ok(),
            None => Some(Bytes::copy_from_slice(data)),
        };
        let Some(plain) = plain else { return vec![] };
        assert!(plain.len() <= data.len());
        self.segments.handle_segment(&plain).map(|(outputs, _)| outputs).unwrap_or_default()
    }

    /// Segments are missing, or what follows is another stream.
    pub fn handle_break(&mut self, restart: bool) {
        if restart {
            self.segments.handle_restart();
        } else {
            self.segments.handle_gap();
        }
    }

    /// Takes a datagram: what it completed.
    pub fn handle_datagram(&mut self, data: &[u8]) -> Vec<Output> {
        let datagrams = self.datagrams.get_or_insert_with(Datagrams::new);
        if datagrams.handle(data).is_err() {
            self.datagrams = None;
            return vec![];
        }
        datagrams.take().outputs
    }
}
