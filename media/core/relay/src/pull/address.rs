//! Which addresses a pull may go to: those of the public internet. Pure.
//!
//! Who names a source must not reach what only this machine or its network can: services on loopback, neighbours, the
//! metadata service of a cloud. The address that was judged is the one that is connected to, so what a name resolves to
//! the next time does not matter; nor does how the address was written.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Blocks of IPv4 that are no public unicast (IANA special-purpose registry), and how many bits of each count.
const V4: [([u8; 4], u32); 16] = [
    ([0, 0, 0, 0], 8),
    ([10, 0, 0, 0], 8),
    ([100, 64, 0, 0], 10), // carriers' networks; a cloud has its metadata at 100.100.100.200
    ([127, 0, 0, 0], 8),
    ([168, 63, 129, 16], 32), // a cloud's metadata
    ([169, 254, 0, 0], 16),   // link-local; most clouds' metadata
    ([172, 16, 0, 0], 12),
    ([192, 0, 0, 0], 24),
    ([192, 0, 2, 0], 24),
    ([192, 88, 99, 0], 24),
    ([192, 168, 0, 0], 16),
    ([198, 18, 0, 0], 15),
    ([198, 51, 100, 0], 24),
    ([203, 0, 113, 0], 24),
    ([224, 0, 0, 0], 4),
    ([240, 0, 0, 0], 4),
];

/// Whether `address` is one of the public internet.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    !V4.iter().any(|&(block, len)| (bits ^ u32::from_be_bytes(block)) >> (32 - len) == 0)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let [_, _, _, _, _, _, high, low] = segments;
    let embedded = Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low));
    match segments {
        // ::ffff:0:0/96 is IPv4; 64:ff9b::/96 is what a translator makes of IPv4 (RFC 6052).
        [0, 0, 0, 0, 0, 0xFFFF, ..] | [0x64, 0xFF9B, 0, 0, 0, 0, ..] => is_public_v4(embedded),
        [0x2001, second, ..] if second < 0x200 || second == 0xDB8 => false, // protocols' own, tunnels; examples
        [0x2002, ..] => false,                                              // a tunnel to any IPv4
        [0x3FFF, second, ..] if second < 0x1000 => false,                   // examples
        // 2000::/3 is all that was given out; the rest is local, multicast or reserved.
        [first, ..] => first >> 13 == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdicts(addresses: &[&str]) -> Vec<bool> {
        addresses.iter().map(|address| is_public(address.parse().unwrap())).collect()
    }

    #[test]
    fn what_is_special_is_refused_to_its_edges() {
        let special = [
            "0.0.0.0",
            "0.255.255.255",
            "10.0.0.1",
            "100.64.0.0",
            "100.100.100.200",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "203.0.113.9",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::ffff:169.254.169.254",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::1",
            "3fff::1",
            "4000::1",
        ];
        assert_eq!(verdicts(&special), [false; 41], "{special:?}");
    }

    #[test]
    fn what_is_public_is_let_through_up_to_the_edges() {
        let public = [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.17",
            "169.253.255.255",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700:4700::1111",
            "2001:4860:4860::8888",
            "::ffff:1.1.1.1",
            "64:ff9b::101:101",
        ];
        assert_eq!(verdicts(&public), [true; 21], "{public:?}");
    }
}
