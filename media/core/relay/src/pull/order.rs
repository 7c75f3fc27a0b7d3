//! What a pull is asked to fetch, checked as far as that goes without the network. Pure.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::location::{Location, Scheme};
use crate::error::Error;

/// Header fields that a pull may be given.
const HEADERS_MAX: usize = 32;
/// Fields that belong to the connection, and are not the caller's to set.
const OURS: [HeaderName; 8] = [
    header::HOST,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::TE,
    header::UPGRADE,
    header::EXPECT,
    header::ACCEPT_ENCODING,
];

/// An input as it is asked for.
#[derive(Debug, Clone, Default)]
pub struct Source {
    /// Where it is, with user and password if need be.
    pub url: String,
    /// Fields of the request, for this server only.
    pub headers: Vec<(String, String)>,
    /// RTP in datagrams instead of on the connection (RTSP).
    pub datagrams: bool,
    /// What events call it.
    pub label: String,
    /// A program and its arguments that writes the stream as a transport stream to its standard output, instead of
    /// fetching it ourselves; the URL is only told.
    pub command: Vec<String>,
}

/// What to ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) location: Location,
    /// Sent beside ours, to this server only.
    pub(super) headers: HeaderMap,
    /// RTP in datagrams instead of on the connection (RTSP).
    pub(super) datagrams: bool,
    /// What events call it.
    pub(super) label: String,
    /// The program that brings the stream, with its arguments; empty where we fetch it ourselves.
    pub(super) command: Vec<String>,
}

impl Order {
    pub(super) fn new(wanted: &Source, allow_private: bool) -> Result<Self, Error> {
        let Source { url, headers: fields, datagrams, label, command } = wanted;
        let label = label.clone();
        if !command.is_empty() {
            let (location, command) = (Location::of_program(url), command.clone());
            return Ok(Self { location, headers: HeaderMap::new(), datagrams: false, label, command });
        }
        let invalid = |error: &dyn std::fmt::Display| Error::Invalid(format!("cannot pull: {error}"));
        let location = Location::parse(url).map_err(|error| invalid(&error))?;
        location.check(allow_private).map_err(|error| invalid(&error))?;
        if location.scheme == Scheme::Udp {
            check_port(&location, allow_private).map_err(|error| invalid(&error))?;
        }
        let headers = headers(fields).map_err(|error| invalid(&error))?;
        Ok(Self { location, headers, datagrams: *datagrams, label, command: Vec::new() })
    }
}

/// Datagrams are not fetched but waited for, at a port of ours: not everybody may take one.
fn check_port(location: &Location, allow_private: bool) -> Result<(), &'static str> {
    if !allow_private {
        return Err("datagrams come from networks that are not public, which this stream may not use");
    }
    if location.address().is_none() {
        return Err("the host of a udp:// URL must be an address: a group, or one of ours");
    }
    if location.port < 1024 {
        return Err("datagrams are received at ports from 1024 on");
    }
    Ok(())
}

/// The caller's header fields.
fn headers(fields: &[(String, String)]) -> Result<HeaderMap, String> {
    if fields.len() > HEADERS_MAX {
        return Err(format!("more than {HEADERS_MAX} header fields"));
    }
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        let bad = |_| format!("{name:?} is no header field");
        let name_read =
            HeaderName::try_from(name.as_str()).map_err(|_| format!("{name:?} is no header field"))?;
        if OURS.contains(&name_read) || value.len() > 4096 {
            return Err(format!("the header field {name:?} cannot be set"));
        }
        let mut value = HeaderValue::try_from(value.as_str()).map_err(bad)?;
        value.set_sensitive(true);
        headers.append(name_read, value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(url: &str, headers: &[(&str, &str)]) -> Result<Order, Error> {
        let fields: Vec<_> =
            headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Order::new(&Source { url: url.to_owned(), headers: fields, ..Source::default() }, false)
    }

    #[test]
    fn ports_of_ours_are_only_for_those_who_may_use_private_networks() {
        let order = |url: &str, allow_private| {
            Order::new(&Source { url: url.to_owned(), ..Source::default() }, allow_private)
        };
        assert!(order("udp://239.1.1.1:5000", true).is_ok());
        assert!(order("udp://@0.0.0.0:5000?source=192.0.2.7", true).is_ok());
        for url in ["udp://239.1.1.1:5000", "udp://1.1.1.1:5000"] {
            assert!(order(url, false).is_err(), "{url}");
        }
        for url in ["udp://0.0.0.0:53", "udp://name:5000", "udp://0.0.0.0"] {
            assert!(order(url, true).is_err(), "{url}");
        }
    }

    #[test]
    fn what_can_be_refused_at_once_is() {
        assert!(order("http://example.org/cam.flv", &[("X-Key", "7"), ("Cookie", "a=b")]).is_ok());
        for url in
            ["http://127.0.0.1/", "http://[::ffff:10.0.0.1]/", "rtsps://[::1]/", "rtmp://169.254.169.254/x"]
        {
            let error = order(url, &[]).unwrap_err().to_string();
            assert!(error.contains("public"), "{url}: {error}");
        }
        for header in [("Host", "x"), ("transfer-encoding", "chunked"), ("a b", "c"), ("X", "a\r\nb")] {
            assert!(order("http://example.org/", &[header]).is_err(), "{header:?}");
        }
        assert!(order("http://example.org/", &[("X", "y"); 33]).is_err());
    }
}
