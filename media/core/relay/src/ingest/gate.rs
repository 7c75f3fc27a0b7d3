//! Whose packets a receiver takes: the source and the SSRC are learnt from the first right one and pinned. No socket,
//! no clock. The threat is a stranger who sends into an open port; see docs/media.md, "Who may send".

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, Instant},
};

/// After so much silence the pinned IP may come from another port (a NAT forgot, a device restarted its socket).
pub(super) const REPIN_AFTER: Duration = Duration::from_secs(2);

/// What was agreed in signalling.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Expected {
    /// The SSRC offered or answered.
    pub(crate) ssrc: Option<u32>,
    /// Where the media should come from.
    pub(crate) peer: Option<IpAddr>,
    /// The address does not matter if the SSRC is right.
    pub(crate) any_peer: bool,
    /// The port is shared: the SSRC must be right always.
    pub(crate) shared: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// From the pinned source.
    Pass,
    /// The first right one, or the pinned source on another port: the source is pinned now.
    Pinned {
        /// The SSRC that was asked for, if the packet shows another.
        mismatch: Option<u32>,
    },
    /// From a stranger, or with a foreign SSRC.
    Reject,
}

#[derive(Debug, Clone, Copy)]
struct Pin {
    source: SocketAddr,
    ssrc: u32,
    heard: Instant,
}

/// The rule of one receiver.
pub(crate) struct Gate {
    pub(crate) expected: Expected,
    pin: Option<Pin>,
}

impl Gate {
    pub(crate) fn new(expected: Expected) -> Self {
        Self { expected, pin: None }
    }

    /// Judges a packet of `source` with `ssrc`.
    pub(crate) fn handle_packet(&mut self, now: Instant, source: SocketAddr, ssrc: u32) -> Verdict {
        let Some(pin) = &mut self.pin else { return self.begin(now, source, ssrc) };
        if pin.ssrc == ssrc && pin.source == source {
            pin.heard = now;
            return Verdict::Pass;
        }
        let same = pin.ssrc == ssrc && pin.source.ip() == source.ip();
        if same && now.saturating_duration_since(pin.heard) >= REPIN_AFTER {
            *pin = Pin { source, ssrc, heard: now };
            return Verdict::Pinned { mismatch: None };
        }
        Verdict::Reject
    }

    fn begin(&mut self, now: Instant, source: SocketAddr, ssrc: u32) -> Verdict {
        if !self.may_begin(source.ip(), ssrc) {
            return Verdict::Reject;
        }
        self.pin = Some(Pin { source, ssrc, heard: now });
        Verdict::Pinned { mismatch: self.expected.ssrc.filter(|expected| *expected != ssrc) }
    }

    /// Whether a connection of `ip` may be the stream's.
    pub(crate) fn may_connect(&self, ip: IpAddr) -> bool {
        self.expected.any_peer || self.expected.peer.is_none_or(|peer| peer == ip)
    }

    /// Forgets the source: the connection it came by is gone.
    pub(crate) fn unpin(&mut self) {
        self.pin = None;
    }

    /// The SSRC to be seen in packets of `source`, if it is the pinned one.
    pub(crate) fn ssrc_of(&self, source: SocketAddr) -> Option<u32> {
        self.pin.filter(|pin| pin.source == source).map(|pin| pin.ssrc)
    }

    /// The pinned source sent something.
    pub(crate) fn hear(&mut self, now: Instant) {
        if let Some(pin) = &mut self.pin {
            pin.heard = now;
        }
    }

    pub(crate) fn source(&self) -> Option<SocketAddr> {
        self.pin.map(|pin| pin.source)
    }

    pub(crate) fn ssrc(&self) -> Option<u32> {
        self.pin.map(|pin| pin.ssrc)
    }

    /// A dedicated port with a known peer takes any SSRC of that peer: some devices (Dahua) send 0 whatever was
    /// asked. Everywhere else the SSRC must be right, as far as one is known.
    fn may_begin(&self, ip: IpAddr, ssrc: u32) -> bool {
        let Expected { ssrc: expected, peer, any_peer, shared } = self.expected;
        let right_ssrc = expected.is_none_or(|expected| expected == ssrc);
        match peer {
            Some(peer) if peer == ip => right_ssrc || !shared,
            Some(_) if !any_peer => false,
            _ => right_ssrc,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const DEVICE: &str = "192.0.2.7:15060";
    const MOVED: &str = "192.0.2.7:15062";
    const STRANGER: &str = "198.51.100.9:15060";
    const SSRC: u32 = 0x06DA_C2C1;

    fn gate(any_peer: bool, shared: bool) -> Gate {
        let peer = Some("192.0.2.7".parse().unwrap());
        Gate::new(Expected { ssrc: Some(SSRC), peer, any_peer, shared })
    }

    fn at(address: &str) -> SocketAddr {
        address.parse().unwrap()
    }

    #[test]
    fn pins_the_peer_whatever_its_ssrc_on_a_port_of_its_own() {
        let now = clock::now();
        let mut gate = gate(false, false);
        assert_eq!(gate.handle_packet(now, at(STRANGER), SSRC), Verdict::Reject);
        assert_eq!(gate.handle_packet(now, at(DEVICE), 0), Verdict::Pinned { mismatch: Some(SSRC) });
        assert_eq!(gate.handle_packet(now, at(DEVICE), 0), Verdict::Pass);
        assert_eq!(gate.handle_packet(now, at(DEVICE), SSRC), Verdict::Reject, "a second SSRC");
        assert_eq!((gate.source(), gate.ssrc()), (Some(at(DEVICE)), Some(0)));
    }

    #[test]
    fn follows_the_same_address_to_another_port_only_after_silence() {
        let now = clock::now();
        let mut gate = gate(false, false);
        gate.handle_packet(now, at(DEVICE), SSRC);
        let soon = now + Duration::from_millis(1999);
        assert_eq!(gate.handle_packet(soon, at(MOVED), SSRC), Verdict::Reject);
        let later = now + REPIN_AFTER;
        assert_eq!(gate.handle_packet(later, at(STRANGER), SSRC), Verdict::Reject);
        assert_eq!(gate.handle_packet(later, at(MOVED), SSRC + 1), Verdict::Reject);
        assert_eq!(gate.handle_packet(later, at(MOVED), SSRC), Verdict::Pinned { mismatch: None });
        assert_eq!(gate.handle_packet(later, at(DEVICE), SSRC), Verdict::Reject);
    }

    #[test]
    fn any_peer_and_a_shared_port_demand_the_right_ssrc() {
        let now = clock::now();
        let mut any = gate(true, false);
        assert_eq!(any.handle_packet(now, at(STRANGER), 1), Verdict::Reject);
        assert_eq!(any.handle_packet(now, at(STRANGER), SSRC), Verdict::Pinned { mismatch: None });
        let mut shared = gate(false, true);
        assert_eq!(shared.handle_packet(now, at(DEVICE), 1), Verdict::Reject);
        assert_eq!(shared.handle_packet(now, at(STRANGER), SSRC), Verdict::Reject);
        assert_eq!(shared.handle_packet(now, at(DEVICE), SSRC), Verdict::Pinned { mismatch: None });
    }

    #[test]
    fn without_a_known_peer_the_ssrc_decides() {
        let now = clock::now();
        let mut gate = Gate::new(Expected { ssrc: Some(SSRC), ..Expected::default() });
        assert_eq!(gate.handle_packet(now, at(STRANGER), 1), Verdict::Reject);
        assert_eq!(gate.handle_packet(now, at(STRANGER), SSRC), Verdict::Pinned { mismatch: None });
    }
}
