//! What a pull is asked to fetch, checked as far as that goes without the network. Pure.

use http::{HeaderMap, HeaderName, HeaderValue, header};

use super::{address, failure::Failure, location::Location};
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

/// What to ask for.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) location: Location,
    /// Sent beside ours, to this server only.
    pub(super) headers: HeaderMap,
    /// RTP in datagrams instead of on the connection (RTSP).
    #[allow(dead_code, reason = "only RTSP asks")]
    pub(super) datagrams: bool,
}

impl Order {
    pub(super) fn new(
        url: &str,
        fields: &[(String, String)],
        datagrams: bool,
        allow_private: bool,
    ) -> Result<Self, Error> {
        let invalid = |error: &dyn std::fmt::Display| Error::Invalid(format!("cannot pull: {error}"));
        let location = Location::parse(url).map_err(|error| invalid(&error))?;
        let address = location.address().map(|address| address.to_canonical());
        if let Some(address) = address.filter(|address| !allow_private && !address::is_public(*address)) {
            return Err(invalid(&Failure::Forbidden(address.to_string())));
        }
        let headers = headers(fields).map_err(|error| invalid(&error))?;
        Ok(Self { location, headers, datagrams })
    }
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
        Order::new(url, &fields, false, false)
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
