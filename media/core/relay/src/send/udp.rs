//! A target that takes datagrams: packets from one port, reports from the one above it (RFC 3550 §11).

use std::{
    io,
    net::{IpAddr, SocketAddr, UdpSocket},
    os::fd::AsFd,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use datagram::{Batch, Outbound, Parts};
use wire::{
    rtcp,
    send::{HEAD, Source, packets},
};

use super::{
    group::{Group, Position},
    pace::Pacer,
    reports::Reports,
};
use crate::{back::Line, ingest::canonical, reason::Reason, shard::turn::Turn};

/// A target that refuses for so long is given up, and one that did not for so long is no longer thought to.
const REFUSING: Duration = Duration::from_secs(10);
const FORGIVEN: Duration = Duration::from_secs(3);

/// Packets handed to the system at once.
const AT_ONCE: usize = 64;

/// Batches of what the target says, in a turn.
const READS: usize = 4;

/// What one round of sending did.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

pub(crate) struct Udp {
    rtp: Line<UdpSocket>,
    /// There is none where a shared port is sent from.
    rtcp: Option<Line<UdpSocket>>,
    /// Where to, if the socket is not connected there.
    to: Option<SocketAddr>,
    /// Where reports go.
    reports_to: SocketAddr,
    target: IpAddr,
    outbound: Outbound,
    pacer: Pacer,
    reports: Reports,
    /// The first and the last refusal in a row.
    refused: Option<(Instant, Instant)>,
    /// When the target last reported, or when it was begun to be sent to.
    heard: Instant,
    patience: Option<Duration>,
}

impl Udp {
    /// `to` as the sockets write it. `patience`: so long may the target report nothing.
    pub(crate) fn new(
        now: Instant,
        (rtp, reports): (UdpSocket, UdpSocket),
        to: SocketAddr,
        ssrc: u32,
        patience: Option<Duration>,
    ) -> io::Result<Self> {
        // So that nobody else's packets come, and the system tells of a port that nobody listens on.
        rtp.connect(to)?;
        let (rtp, reports) = (Line::Own(Arc::new(rtp)), Line::Own(Arc::new(reports)));
        Ok(Self { patience, ..Self::build(now, (rtp, Some(reports)), to, ssrc) })
    }

    /// One that sends from a receiver's sockets, and leaves reading them to it.
    pub(crate) fn over(
        now: Instant,
        (rtp, reports): (Weak<UdpSocket>, Option<Weak<UdpSocket>>),
        to: SocketAddr,
        ssrc: u32,
    ) -> Self {
        let udp = Self::build(now, (Line::Lent(rtp), reports.map(Line::Lent)), to, ssrc);
        Self { to: Some(to), ..udp }
    }

    fn build(
        now: Instant,
        (rtp, reports): (Line<UdpSocket>, Option<Line<UdpSocket>>),
        to: SocketAddr,
        ssrc: u32,
    ) -> Self {
        Self {
            rtp,
            rtcp: reports,
            to: None,
            reports_to: SocketAddr::new(to.ip(), to.port().wrapping_add(1)),
            target: to.ip().to_canonical(),
            outbound: Outbound::default(),
            pacer: Pacer::default(),
            reports: Reports::new(ssrc),
            refused: None,
            heard: now,
            patience: None,
        }
    }

    /// The sockets, to watch them.
    pub(crate) fn sockets(&self) -> impl Iterator<Item = Arc<UdpSocket>> {
        [self.rtp.get(), self.rtcp.as_ref().and_then(Line::get)].into_iter().flatten()
    }

    /// Sends what may leave now of what follows `position`; why the target is given up, if it is.
    pub(crate) fn pump(
        &mut self,
        turn: Turn<'_>,
        group: &Group,
        position: &mut Position,
        source: &mut Source,
    ) -> Result<Sent, Reason> {
        let waiting = group.waiting(*position);
        let allowed = self.pacer.allow(turn.now, waiting, group.spread());
        let mut allowed = if allowed == waiting { usize::MAX } else { allowed };
        let mut sent = Sent::default();
        let Some(rtp) = self.rtp.get() else { return Err(Reason::PortGone) };
        while allowed > 0 {
            let asked = allowed.min(AT_ONCE);
            let (taken, offered) = self.send((&rtp, turn.now), group, position, source, asked, &mut sent)?;
            allowed -= taken.min(allowed);
            if taken < offered {
                self.pacer.hold(turn.now);
                break;
            }
            if offered < asked {
                break;
            }
        }
        if sent.packets > 0
            && let Some(report) = self.reports.due((turn.now, turn.wall_ms * 1000), group.moment, source)
        {
            self.report(&report);
        }
        Ok(sent)
    }

    /// Sends at most `most` packets; how many went, of how many.
    fn send(
        &mut self,
        (rtp, now): (&UdpSocket, Instant),
        group: &Group,
        position: &mut Position,
        source: &mut Source,
        most: usize,
        sent: &mut Sent,
    ) -> Result<(usize, usize), Reason> {
        let mut heads = [[0; HEAD]; AT_ONCE];
        let mut payloads: [&[u8]; AT_ONCE] = [&[]; AT_ONCE];
        let mut ends = [*position; AT_ONCE];
        let mut offered = 0;
        let mut at = *position;
        'ring: while let Some(entry) = group.ring.get(at.number) {
            for packet in packets(&entry.chunk.head, at.at) {
                if offered == most {
                    break 'ring;
                }
                heads[offered] = source.head(&packet);
                payloads[offered] = packet.payload;
                if packet.is_main(group.form) {
                    self.reports.note();
                }
                at.at += packet.framed_len();
                ends[offered] = at;
                offered += 1;
            }
            at = Position { number: at.number + 1, at: 0 };
            if offered > 0 {
                ends[offered - 1] = at;
            } else {
                *position = at;
            }
        }
        let mut parts: [Parts<'_>; AT_ONCE] = [[&[], &[]]; AT_ONCE];
        for ((parts, head), payload) in parts.iter_mut().zip(&heads).zip(&payloads[..offered]) {
            *parts = [&head[2..], payload];
        }
        let parts = &parts[..offered];
        let taken = match self.outbound.send(rtp.as_fd(), self.to, parts) {
            // The system reports a refusal of something earlier, once; what was to be sent now was not.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.refuse(now)?;
                self.outbound.send(rtp.as_fd(), self.to, parts)
            }
            result => result,
        };
        let Ok(taken) = taken else {
            // No way there at the moment: as lost as what a network loses. Their numbers stay used.
            *position = at;
            return Ok((offered, offered));
        };
        let untaken = &payloads[taken..offered];
        source.take_back(untaken.len(), untaken.iter().map(|payload| payload.len()).sum());
        if taken > 0 {
            *position = ends[taken - 1];
        }
        sent.packets += taken as u64;
        let payload: usize = payloads[..taken].iter().map(|payload| payload.len()).sum();
        sent.bytes += (payload + taken * (HEAD - 2)) as u64;
        Ok((taken, offered))
    }

    fn refuse(&mut self, now: Instant) -> Result<(), Reason> {
        let first = match self.refused {
            Some((first, last)) if now.saturating_duration_since(last) < FORGIVEN => first,
            _ => now,
        };
        self.refused = Some((first, now));
        let long = now.saturating_duration_since(first) >= REFUSING;
        if long { Err(Reason::Refused) } else { Ok(()) }
    }

    /// Reads what the target says; whether it said anything.
    pub(crate) fn listen(&mut self, turn: Turn<'_>, batch: &mut Batch) -> bool {
        let mut heard = false;
        for socket in self.sockets() {
            for _ in 0..READS {
                if batch.receive(socket.as_fd()).is_err() {
                    break;
                }
                heard |= batch.datagrams().any(|(source, said)| {
                    canonical(source).ip() == self.target && rtcp::messages(said.data).next().is_some()
                });
            }
        }
        if heard {
            self.heard = turn.now;
        }
        heard
    }

    /// Why the target is given up because of time, if it is.
    pub(crate) fn check(&self, now: Instant) -> Result<(), Reason> {
        let quiet = now.saturating_duration_since(self.heard);
        if self.patience.is_some_and(|patience| quiet >= patience) {
            return Err(Reason::Unreported);
        }
        Ok(())
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.pacer.next_timeout()
    }

    /// Tells the target that nothing more comes.
    pub(crate) fn take_leave(&self) {
        if let Some(goodbye) = self.reports.goodbye() {
            self.report(&goodbye);
        }
    }

    /// A report that is lost is followed by others, and whoever does not hear the last one notices the silence.
    fn report(&self, report: &[u8]) {
        if let Some(socket) = self.rtcp.as_ref().and_then(Line::get) {
            let _ = socket.send_to(report, self.reports_to);
        }
    }
}
