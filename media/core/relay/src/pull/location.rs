//! Where a source is: its URL read, followed through redirects, and shown without what is secret. Pure.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use http::{HeaderValue, Uri};
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, utf8_percent_encode};

use super::{address::is_public, failure::Failure};

/// A longer URL is refused, as it came or as it is written.
const URL_MAX: usize = 8192;
const TOO_LONG: BadUrl = BadUrl("the URL is longer than 8,192 bytes");
/// What may not stand in a URL as it is; beyond it, what people paste is taken as it comes.
const UNSAFE: &AsciiSet = &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'`').add(b'{').add(b'}');

/// A URL that cannot be pulled; the text says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct BadUrl(pub(crate) &'static str);

/// What a URL begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Http,
    Https,
    Rtsp,
    Rtsps,
    Rtmp,
    Rtmps,
    Udp,
    /// Of no concern to us: a program of its own fetches it.
    Other,
}

impl Scheme {
    const ALL: [Self; 7] =
        [Self::Http, Self::Https, Self::Rtsp, Self::Rtsps, Self::Rtmp, Self::Rtmps, Self::Udp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
            Self::Rtsp => "rtsp",
            Self::Rtsps => "rtsps",
            Self::Rtmp => "rtmp",
            Self::Rtmps => "rtmps",
            Self::Udp => "udp",
            Self::Other => "",
        }
    }

    /// Whether TLS is asked for.
    pub(crate) fn is_secure(self) -> bool {
        matches!(self, Self::Https | Self::Rtsps | Self::Rtmps)
    }

    /// The port that need not be named.
    fn port(self) -> Option<u16> {
        match self {
            Self::Http => Some(80),
            Self::Https | Self::Rtmps => Some(443),
            Self::Rtsp => Some(554),
            Self::Rtsps => Some(322),
            Self::Rtmp => Some(1935),
            Self::Udp | Self::Other => None,
        }
    }

    /// Whether both are one protocol, with or without TLS.
    fn is_kin(self, other: Self) -> bool {
        self.name().trim_end_matches('s') == other.name().trim_end_matches('s')
    }
}

/// Where to connect, and what to ask for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Location {
    pub(crate) scheme: Scheme,
    /// A name, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    /// Path and query.
    pub(crate) target: String,
    /// What the URL's user and password make of `Authorization`.
    pub(crate) authorization: Option<HeaderValue>,
    /// The URL's user and password.
    pub(crate) user: Option<(String, String)>,
}

impl Location {
    /// Reads an absolute URL.
    pub(crate) fn parse(url: &str) -> Result<Self, BadUrl> {
        if url.len() > URL_MAX {
            return Err(TOO_LONG);
        }
        let url = url.split('#').next().unwrap_or_default().trim();
        let uri: Uri =
            utf8_percent_encode(url, UNSAFE).to_string().parse().map_err(|_| BadUrl("this is no URL"))?;
        let named = |scheme: &&Scheme| uri.scheme_str() == Some(scheme.name());
        let scheme = *Scheme::ALL.iter().find(named).ok_or(BadUrl(
            "the URL must begin with http://, https://, rtsp://, rtsps://, rtmp://, rtmps:// or udp://",
        ))?;
        let authority = uri.authority().ok_or(BadUrl("the URL has no host"))?;
        let host = host(authority.host()).ok_or(BadUrl("the URL has no usable host"))?;
        let port = match authority.port() {
            Some(port) => {
                port.as_str().parse().map_err(|_| BadUrl("the URL has no port between 1 and 65535"))?
            }
            // `host:` and a number beyond 65535 have no port for the library.
            None if authority
                .as_str()
                .rsplit(']')
                .next()
                .is_some_and(|tail| tail.rsplit('@').next().is_some_and(|tail| tail.contains(':'))) =>
            {
                return Err(BadUrl("the URL has no port between 1 and 65535"));
            }
            None => scheme.port().ok_or(BadUrl("the URL has no port between 1 and 65535"))?,
        };
        if port == 0 {
            return Err(BadUrl("the URL has no port between 1 and 65535"));
        }
        let user = authority.as_str().rsplit_once('@').map(|(user, _)| user);
        let target = uri.path_and_query().map_or("/", |target| target.as_str());
        let target = if target.starts_with('/') { target.to_owned() } else { format!("/{target}") };
        let (authorization, user) = (user.and_then(basic), user.map(credentials));
        let location = Self { scheme, host, port, target, authorization, user };
        if location.written_len() > URL_MAX {
            return Err(TOO_LONG); // with what had to be encoded
        }
        Ok(location)
    }

    /// The length of the URL that says the same, without user and password.
    fn written_len(&self) -> usize {
        self.scheme.name().len() + "://".len() + self.authority().len() + self.target.len()
    }

    /// What a program of its own fetches from `url`: good to be shown, without what may be secret.
    pub(super) fn of_program(url: &str) -> Self {
        let (scheme, rest) = url.split_once("://").unwrap_or(("", url));
        let (rest, query) = split(rest);
        let (authority, path) = rest.split_once('/').map_or((rest, None), |(host, path)| (host, Some(path)));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let path = path.map(|path| format!("/{path}")).unwrap_or_default();
        let target = format!("{scheme}://{host}{path}{}", if query.is_some() { "?…" } else { "" });
        Self { scheme: Scheme::Other, host: String::new(), port: 0, target, authorization: None, user: None }
    }

    /// Where a redirect leads (RFC 3986 §5.2): `reference` is what stands in `Location`.
    pub(crate) fn follow(&self, reference: &str) -> Result<Self, BadUrl> {
        let reference = reference.trim();
        let scheme = self.scheme.name();
        let has_scheme = reference.split_once("://").is_some_and(|(scheme, _)| {
            !scheme.is_empty() && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric())
        });
        let url = if has_scheme {
            reference.to_owned()
        } else if let Some(rest) = reference.strip_prefix("//") {
            format!("{scheme}://{rest}")
        } else {
            let (path, _) = split(&self.target);
            let target = match reference.bytes().next() {
                None | Some(b'#') => self.target.clone(),
                Some(b'/') => tidy(reference),
                Some(b'?') => format!("{path}{reference}"),
                Some(_) => tidy(&format!("{}{reference}", &path[..=path.rfind('/').unwrap_or(0)])),
            };
            format!("{scheme}://{}{target}", self.authority())
        };
        let mut next = Self::parse(&url)?;
        if !next.scheme.is_kin(self.scheme) {
            return Err(BadUrl("a redirect leads to another protocol"));
        }
        if self.scheme.is_secure() && !next.scheme.is_secure() {
            return Err(BadUrl("a redirect leads from TLS to none"));
        }
        if next.authorization.is_none() && next.is_same_origin(self) {
            next.authorization.clone_from(&self.authorization);
            next.user.clone_from(&self.user);
        }
        Ok(next)
    }

    /// Whether both are on one server: only there may go what was meant for it.
    pub(crate) fn is_same_origin(&self, other: &Self) -> bool {
        (self.scheme, &self.host, self.port) == (other.scheme, &other.host, other.port)
    }

    /// Whether it may be connected to, as far as that can be told without resolving its name.
    pub(crate) fn check(&self, allow_private: bool) -> Result<(), Failure> {
        let address = self.address().map(|address| address.to_canonical());
        match address.filter(|address| !allow_private && !is_public(*address)) {
            Some(address) => Err(Failure::Forbidden(address.to_string())),
            None => Ok(()),
        }
    }

    /// The host if it is written as an address.
    pub(crate) fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// Host and port as they stand in `Host`.
    pub(crate) fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if Some(self.port) == self.scheme.port() { host } else { format!("{host}:{}", self.port) }
    }
}

/// For people and logs: neither user and password nor the query, where tokens stand.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.scheme == Scheme::Other {
            return f.write_str(&self.target);
        }
        let scheme = self.scheme.name();
        let (path, query) = split(&self.target);
        write!(f, "{scheme}://{}{path}{}", self.authority(), if query.is_some() { "?…" } else { "" })
    }
}

impl fmt::Debug for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Location({self})")
    }
}

/// A name in small letters, or an address without brackets.
fn host(written: &str) -> Option<String> {
    if let Some(address) = written.strip_prefix('[') {
        let address: Ipv6Addr = address.strip_suffix(']')?.parse().ok()?;
        return Some(address.to_string());
    }
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    ((1..256).contains(&written.len()) && written.bytes().all(is_plain)).then(|| written.to_ascii_lowercase())
}

fn split(target: &str) -> (&str, Option<&str>) {
    target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)))
}

/// A path without `.` and `..` (RFC 3986 §5.2.4); its query stays.
fn tidy(target: &str) -> String {
    let (path, query) = split(target);
    let mut parts: Vec<&str> = vec![];
    for part in path.split('/').skip(1) {
        match part {
            "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        parts.push("");
    }
    let query = query.map_or_else(String::new, |query| format!("?{query}"));
    format!("/{}{query}", parts.join("/"))
}

/// User and password of the user part of a URL.
fn credentials(user: &str) -> (String, String) {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let decoded = |part| percent_decode_str(part).decode_utf8_lossy().into_owned();
    (decoded(user), decoded(password))
}

/// `Authorization: Basic` (RFC 7617) of the user part of a URL.
fn basic(user: &str) -> Option<HeaderValue> {
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    let mut pair: Vec<u8> = percent_decode_str(user).collect();
    pair.push(b':');
    pair.extend(percent_decode_str(password));
    let mut value = HeaderValue::try_from(format!("Basic {}", BASE64_STANDARD.encode(pair))).ok()?;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(url: &str) -> Location {
        Location::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"))
    }

    #[test]
    fn a_url_is_read_and_shown_without_its_secrets() {
        let location = at("https://me:p%40ss@Example.org:8443/live/cam.flv?token=secret#top");
        assert_eq!(
            (location.scheme, location.host.as_str(), location.port),
            (Scheme::Https, "example.org", 8443)
        );
        assert_eq!(location.target, "/live/cam.flv?token=secret");
        assert_eq!(location.authorization.as_ref().unwrap(), "Basic bWU6cEBzcw==");
        assert_eq!(location.user, Some(("me".to_owned(), "p@ss".to_owned())));
        let shown = format!("{location} {location:?}");
        assert!(shown.starts_with("https://example.org:8443/live/cam.flv?… "), "{shown}");
        assert!(!shown.contains("secret") && !shown.contains("me:"), "{shown}");
        let plain = at("http://[::1]");
        assert_eq!((plain.host.as_str(), plain.port, plain.target.as_str()), ("::1", 80, "/"));
        assert_eq!((plain.authority().as_str(), plain.address().is_some()), ("[::1]", true));
        assert_eq!(at("http://h/a b/门.flv").target, "/a%20b/%E9%97%A8.flv");
        assert_eq!(at("http://h?x=1").target, "/?x=1");
    }

    #[test]
    fn what_a_program_fetches_is_shown_without_its_secrets() {
        let shown = |url| Location::of_program(url).to_string();
        assert_eq!(shown("srt://me:secret@h:9000?passphrase=x"), "srt://h:9000?…");
        assert_eq!(shown("x265+rtsp://u@h/a/b"), "x265+rtsp://h/a/b");
    }

    #[test]
    fn what_cannot_be_pulled_is_refused() {
        for url in [
            "",
            "cam",
            "/cam.flv",
            "srt://h/a",
            "udp://h/",
            "file:///etc/passwd",
            "http://",
            "http:///x",
            "http://h:0/",
            "http://h:70000/",
            "http://h:/x",
            "http://a b/",
            "http://h\n/x y",
            "ftp://h/",
        ] {
            assert!(Location::parse(url).is_err(), "{url}");
        }
        let long =
            |before: &str, piece: &str, count| Location::parse(&format!("{before}{}", piece.repeat(count)));
        assert!(long("http://h/", "x", URL_MAX - 9).is_ok() && long("http://h/", "x", URL_MAX - 8).is_err());
        assert!(long("http://h/", "\0", 3000).is_err(), "each is written with three characters");
        assert!(long("http://h?", "x", URL_MAX - 9).is_err(), "it is written with a path");
    }

    #[test]
    fn redirects_are_relative_to_where_they_come_from() {
        let from = at("http://u:p@h:81/a/b/c?q=1");
        for (reference, target) in [
            ("d?z", "/a/b/d?z"),
            ("./d", "/a/b/d"),
            ("../d", "/a/d"),
            ("../../../../d", "/d"),
            ("..", "/a/"),
            ("/x/../y", "/y"),
            ("?n=2", "/a/b/c?n=2"),
            ("", "/a/b/c?q=1"),
            ("d?to=http://x/", "/a/b/d?to=http://x/"),
        ] {
            let next = from.follow(reference).unwrap();
            assert_eq!(
                (next.target.as_str(), next.port, &next.host),
                (target, 81, &from.host),
                "{reference}"
            );
            assert_eq!(next.authorization, from.authorization, "the same server may know");
        }
        let other = from.follow("//other/x").unwrap();
        assert_eq!((other.host.as_str(), other.port, other.authorization), ("other", 80, None));
        assert_eq!(from.follow("https://h:81/").unwrap().authorization, None);
        assert!(from.follow("gopher://h/").is_err());
        assert!(from.follow("rtsp://h/").is_err());
        assert_eq!(
            (at("rtsp://h/a").port, at("rtsps://h/a").port, at("rtmp://h/a/b").port),
            (554, 322, 1935)
        );
        let secure = at("https://h/a");
        assert!(secure.follow("http://h/a").is_err());
        assert!(secure.follow("//h2/a").unwrap().scheme.is_secure());
    }

    #[test]
    fn any_reference_is_refused_or_leads_to_one_host_and_shows_no_secret() {
        const PIECES: [&str; 16] = [
            "http://", "https://", "//", "/", "?", "#", "@", ":", "[", "]", "::1", "h", "..", "%0d%0a",
            "\u{95E8}", " ",
        ];
        let from = at("https://u:secret@h/a/b");
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..50_000 {
            let mut reference = String::new();
            for _ in 0..state % 7 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                reference.push_str(PIECES[(state >> 40) as usize % 16]);
            }
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let Ok(next) = from.follow(&reference) else { continue };
            assert!(next.scheme == Scheme::Https && !next.host.is_empty() && next.port > 0, "{reference}");
            assert!(!next.host.contains(['/', '@', '[', ' ']) && next.target.starts_with('/'), "{reference}");
            assert!(next.target.parse::<Uri>().is_ok(), "{reference}: {}", next.target);
            assert!(!next.to_string().contains("secret"), "{reference}");
            assert!(HeaderValue::try_from(next.authority()).is_ok(), "{reference}");
        }
    }
}
