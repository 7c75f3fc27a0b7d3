//! The Transport header (RFC 2326 §12.39).

use std::fmt;

/// How packets of one track travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// In datagrams; ports for RTP and RTCP at the client, and at the server once it has chosen.
    Udp {
        /// `client_port`.
        client: (u16, u16),
        /// `server_port`.
        server: Option<(u16, u16)>,
    },
    /// On the connection, in channels for RTP and RTCP; `None` leaves the choice to the server.
    Interleaved(Option<(u8, u8)>),
}

/// One way that a client offers, or the one that a server chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transport {
    /// How packets travel.
    pub delivery: Delivery,
    /// `mode=record`: the client sends.
    pub record: bool,
    /// The sender's SSRC.
    pub ssrc: Option<u32>,
}

impl Transport {
    /// The ways in a header's value that we know, in the client's order; multicast and what is malformed is left out.
    pub fn parse(value: &str) -> Vec<Self> {
        split(value).filter_map(Self::parse_one).take(8).collect()
    }

    /// The way that an answer names, to somebody who asked for `wanted`: what it leaves out is as it was asked for.
    pub(super) fn answered(value: &str, wanted: &Delivery) -> Option<Delivery> {
        let found = split(value).next()?;
        let asked = match wanted {
            Delivery::Udp { client, .. } => format!(";client_port={}-{}", client.0, client.1),
            Delivery::Interleaved(_) => String::new(),
        };
        // Of two ports of one name the last one counts: the answer's own, if it has one.
        let (profile, rest) = found.split_once(';').unwrap_or((found, ""));
        Self::parse_one(&format!("{profile}{asked};{rest}")).map(|transport| transport.delivery)
    }

    fn parse_one(offer: &str) -> Option<Self> {
        let mut parts = offer.split(';').map(str::trim);
        let profile = parts.next()?.to_ascii_uppercase();
        let interleaved = match profile.as_str() {
            "RTP/AVP" | "RTP/AVP/UDP" => false,
            "RTP/AVP/TCP" => true,
            _ => return None,
        };
        let (mut record, mut ssrc, mut client, mut server, mut channels) = (false, None, None, None, None);
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, ""));
            let value = value.trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "multicast" => return None,
                "mode" => {
                    record = ["record", "receive"].iter().any(|mode| value.eq_ignore_ascii_case(mode));
                }
                "ssrc" => ssrc = u32::from_str_radix(value, 16).ok(),
                "client_port" => client = Some(pair::<u16>(value)?),
                "server_port" => server = Some(pair::<u16>(value)?),
                "interleaved" => channels = Some(pair::<u8>(value)?),
                _ => {}
            }
        }
        let delivery = if interleaved {
            Delivery::Interleaved(channels)
        } else {
            Delivery::Udp { client: client?, server }
        };
        Some(Self { delivery, record, ssrc })
    }
}

impl fmt::Display for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.delivery {
            Delivery::Udp { client, server } => {
                write!(out, "RTP/AVP;unicast;client_port={}-{}", client.0, client.1)?;
                if let Some(server) = server {
                    write!(out, ";server_port={}-{}", server.0, server.1)?;
                }
            }
            Delivery::Interleaved(channels) => {
                out.write_str("RTP/AVP/TCP;unicast")?;
                if let Some((rtp, rtcp)) = channels {
                    write!(out, ";interleaved={rtp}-{rtcp}")?;
                }
            }
        }
        if let Some(ssrc) = self.ssrc {
            write!(out, ";ssrc={ssrc:08X}")?;
        }
        if self.record { out.write_str(";mode=record") } else { Ok(()) }
    }
}

/// The offers of a list; a comma within quotation marks divides nothing.
fn split(value: &str) -> impl Iterator<Item = &str> {
    let mut quoted = false;
    value.split(move |letter| {
        quoted ^= letter == '"';
        letter == ',' && !quoted
    })
}

/// `6970-6971`; one number alone means itself and the next.
fn pair<N: std::str::FromStr + TryFrom<u32> + Into<u32> + Copy>(value: &str) -> Option<(N, N)> {
    let (first, second) = value.split_once('-').unwrap_or((value, ""));
    let first: N = first.trim().parse().ok()?;
    let second =
        if second.is_empty() { N::try_from(first.into() + 1).ok()? } else { second.trim().parse().ok()? };
    Some((first, second))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_players_and_encoders_send_is_read() {
        let udp = Transport::parse("RTP/AVP;unicast;client_port=6970-6971");
        assert_eq!(udp[0].delivery, Delivery::Udp { client: (6970, 6971), server: None });
        assert_eq!(udp[0].to_string(), "RTP/AVP;unicast;client_port=6970-6971");
        let tcp = Transport::parse("RTP/AVP/TCP;unicast;interleaved=2-3;mode=\"RECORD\";ssrc=00AB12CD");
        assert_eq!(tcp[0].delivery, Delivery::Interleaved(Some((2, 3))));
        assert_eq!((tcp[0].record, tcp[0].ssrc), (true, Some(0x00AB_12CD)));
        assert_eq!(tcp[0].to_string(), "RTP/AVP/TCP;unicast;interleaved=2-3;ssrc=00AB12CD;mode=record");
        let several = Transport::parse(
            "RTP/AVP;multicast;ttl=4,RTP/AVP/TCP;unicast;mode=\"PLAY,X\",rtp/avp/udp;client_port=5000",
        );
        let deliveries: Vec<_> = several.iter().map(|one| one.delivery).collect();
        assert_eq!(
            deliveries,
            [Delivery::Interleaved(None), Delivery::Udp { client: (5000, 5001), server: None }]
        );
    }

    #[test]
    fn what_cannot_be_used_is_left_out() {
        for value in [
            "",
            "RTP/SAVP;unicast;client_port=1-2",
            "RTP/AVP;unicast",
            "RTP/AVP;client_port=x",
            "RTP/AVP/TCP;interleaved=255",
            "RTP/AVP;client_port=65535",
            "RTP/AVP;client_port=70000-70001",
        ] {
            assert!(Transport::parse(value).is_empty(), "{value}");
        }
        assert_eq!(Transport::parse(&"RTP/AVP/TCP,".repeat(1000)).len(), 8);
    }
}
