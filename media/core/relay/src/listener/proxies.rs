//! Proxies that are trusted: networks whose hosts pass on what others ask, and say who asked.

use std::net::{IpAddr, SocketAddr};

/// Networks of IPv4 and IPv6.
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<(IpAddr, u32)>);

impl Proxies {
    /// Reads networks such as `10.1.0.0/16`, `2001:db8::/64`, or a single address; `Err` with the text that is none.
    pub fn parse<T: AsRef<str>>(networks: impl IntoIterator<Item = T>) -> Result<Self, String> {
        networks
            .into_iter()
            .map(|text| read(text.as_ref()).ok_or_else(|| format!("{:?} is no network", text.as_ref())))
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Whether a trusted proxy has this address.
    pub(crate) fn has(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|&(network, prefix)| match (network, address) {
            (IpAddr::V4(network), IpAddr::V4(address)) => {
                equal(u128::from(network.to_bits()) << 96, u128::from(address.to_bits()) << 96, prefix)
            }
            (IpAddr::V6(network), IpAddr::V6(address)) => equal(network.to_bits(), address.to_bits(), prefix),
            _ => false,
        })
    }

    /// Who asked, if `peer` passed it on: each proxy adds the address that it saw behind those it was told
    /// (X-Forwarded-For), so what stands last and is no trusted proxy's was seen by one; what is before anybody may have
    /// written.
    pub(crate) fn client<'a>(&self, peer: IpAddr, told: impl DoubleEndedIterator<Item = &'a str>) -> IpAddr {
        let mut client = peer;
        let mut seen = told.flat_map(|line| line.split(',')).rev();
        while self.has(client) {
            let Some(before) = seen.next().and_then(address) else { break };
            client = before;
        }
        client.to_canonical()
    }
}

fn read(text: &str) -> Option<(IpAddr, u32)> {
    let (address, prefix) =
        text.split_once('/').map_or((text, None), |(address, rest)| (address, Some(rest)));
    let address: IpAddr = address.parse().ok()?;
    let bits = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(bits), |text| text.parse().ok())?;
    (prefix <= bits).then_some((address, prefix))
}

/// Whether the first `prefix` bits are the same.
fn equal(one: u128, other: u128, prefix: u32) -> bool {
    (one ^ other).checked_shr(128 - prefix).unwrap_or(0) == 0
}

/// Some proxies write the port too.
fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|found| found.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn networks_hold_their_addresses_and_no_others() {
        let proxies = Proxies::parse(["10.1.0.0/16", "2001:db8:1::/48", "192.0.2.7"]).unwrap();
        for inside in ["10.1.255.3", "::ffff:10.1.0.9", "2001:db8:1:ffff::1", "192.0.2.7"] {
            assert!(proxies.has(ip(inside)), "{inside}");
        }
        for outside in ["10.2.0.0", "2001:db8:2::1", "192.0.2.6", "::1", "a01::"] {
            assert!(!proxies.has(ip(outside)), "{outside}");
        }
        let all = Proxies::parse(["0.0.0.0/0"]).unwrap();
        assert!(all.has(ip("203.0.113.1")) && !all.has(ip("2001:db8::1")), "of its own family");
        assert!(!Proxies::default().has(ip("127.0.0.1")));
    }

    #[test]
    fn what_is_no_network_is_named() {
        for wrong in ["", "10.0.0.0/33", "10.0.0.0/-1", "::/129", "proxy.example.org", "10.0.0/8"] {
            assert_eq!(Proxies::parse([wrong]).unwrap_err(), format!("{wrong:?} is no network"));
        }
    }

    #[test]
    fn the_client_is_whom_the_first_trusted_proxy_saw() {
        let proxies = Proxies::parse(["10.1.0.0/16"]).unwrap();
        let client = |peer, told: &[&str]| proxies.client(ip(peer), told.iter().copied()).to_string();
        assert_eq!(client("203.0.113.9", &["1.2.3.4"]), "203.0.113.9", "who is not trusted may say anything");
        assert_eq!(client("10.1.0.1", &["203.0.113.9"]), "203.0.113.9");
        assert_eq!(
            client("::ffff:10.1.0.1", &["1.2.3.4, 203.0.113.9"]),
            "203.0.113.9",
            "the first was told by the client"
        );
        assert_eq!(
            client("10.1.0.1", &["1.2.3.4", "203.0.113.9,10.1.0.2"]),
            "203.0.113.9",
            "through two of ours"
        );
        assert_eq!(client("10.1.0.1", &["[2001:db8::5]:4711"]), "2001:db8::5");
        assert_eq!(client("10.1.0.1", &["203.0.113.9:80"]), "203.0.113.9");
        assert_eq!(
            client("10.1.0.1", &["1.2.3.4, unknown"]),
            "10.1.0.1",
            "what cannot be read is not skipped"
        );
        assert_eq!(client("10.1.0.1", &[]), "10.1.0.1");
        assert_eq!(client("10.1.0.1", &["10.1.0.3"]), "10.1.0.3", "a proxy asked by itself");
    }
}
