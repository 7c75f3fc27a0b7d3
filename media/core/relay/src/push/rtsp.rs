//! Pushes by RTSP: we announce and record, and the server gets the packets that all players get.

use std::{fmt, net::SocketAddr, sync::Arc, time::Instant};

use tokio::{runtime::Handle, time::timeout};
use wire::{
    media::{Kind, Tracks},
    rtsp::{ClientError, ClientEvent, Delivery, Goal, Muxer, Range, Selection, describe, track_formats},
};

use super::{Line, Ready, target::Target};
use crate::{
    clock,
    hub::form::Form,
    pull::{BadUrl, Failure, Judge, Location, Puller},
    rtmp::address::abbreviated,
    rtsp::{Datagrams, REDIRECTS_MAX, Talk, UdpPorts},
};

/// Tracks that a stream has at most.
const TRACKS_MAX: usize = 2;

/// The address of a stream that we publish, for people and logs; of a longer name only the beginning, for it may be a key.
pub(super) fn shown(location: &Location) -> Result<String, BadUrl> {
    let (path, query) = location.target.split_once('?').unwrap_or((&location.target, ""));
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    if path.trim_matches('/').is_empty() {
        return Err(BadUrl("the URL must name a stream"));
    }
    let kept = abbreviated(name);
    let secret = kept.len() < name.len() || !query.is_empty();
    let (scheme, server) = (location.scheme.name(), location.authority());
    Ok(format!("{scheme}://{server}{folder}/{kept}{}", if secret { "…" } else { "" }))
}

/// Connects to where `location` is, and has it record what it names; packets go on the connection, or as `datagrams`.
pub(super) async fn connect(
    puller: &Puller,
    may: Judge,
    location: &Location,
    tracks: &Arc<Tracks>,
    datagrams: bool,
) -> Result<Ready, Failure> {
    let ports = if datagrams { Some(open_ports(puller)?) } else { None };
    let mut location = location.clone();
    for _ in 0..=REDIRECTS_MAX {
        let reached = puller.reach(&location, may).await?;
        let goal = Goal::Record(describe(tracks, clock::wall_us(), Range::NOW));
        let mut talk = Talk::new(&location, reached, goal);
        let patience = puller.answer();
        let agreeing = agree(&mut talk, tracks, ports.as_ref());
        let ways = match timeout(patience, agreeing).await.map_err(|_| Failure::Slow(patience))?? {
            Agreed::Runs(ways) => ways,
            Agreed::Elsewhere(to) => {
                location = location.follow(&to).map_err(Failure::BadRedirect)?;
                continue;
            }
        };
        let datagrams = ports.map(|ports| exits(ports, talk.peer, &ways));
        let wire = talk.release().ok_or(Failure::HungUp)?;
        let peer = talk.peer;
        let mut target = RtspTarget { talk, described: Arc::clone(tracks), datagrams };
        // What the server said at once behind its yes was read with it.
        let answer = target.handle(&[])?.unwrap_or_default();
        return Ok(Ready { line: Line::new(wire, None), peer, answer, target: Box::new(target) });
    }
    Err(Failure::Redirects(REDIRECTS_MAX))
}

type Ports = [Arc<UdpPorts>; TRACKS_MAX];

/// Ports for packets and reports at the server, by track.
type Places = Vec<(usize, (u16, u16))>;

/// Two ports for each track: there are servers that tell tracks apart by them.
fn open_ports(puller: &Puller) -> Result<Ports, Failure> {
    let host = puller.host().ok_or(Failure::NoPort)?;
    let runtime = Handle::current();
    let open = || UdpPorts::open(host, &runtime).map(Arc::new).map_err(|_| Failure::NoPort);
    Ok([open()?, open()?])
}

enum Agreed {
    /// Where datagrams go, if it takes such.
    Runs(Places),
    Elsewhere(String),
}

/// Announces, sets all tracks up and has them recorded.
async fn agree(talk: &mut Talk, tracks: &Tracks, ports: Option<&Ports>) -> Result<Agreed, Failure> {
    let number = track_formats(tracks).len().min(TRACKS_MAX);
    if number == 0 {
        return Err(Failure::NothingToSend);
    }
    loop {
        while let Some(event) = talk.client.poll_event(clock::now())? {
            match event {
                ClientEvent::Described(_) => {
                    let wanted = (0..number).map(|track| (track, wanted(track, ports))).collect();
                    talk.client.set_up(wanted);
                }
                ClientEvent::Redirected(to) => return Ok(Agreed::Elsewhere(to)),
                ClientEvent::Running(ways) => return judge(&ways, ports.is_some()).map(Agreed::Runs),
                ClientEvent::Data(..) => {} // reports on what it did not get yet
            }
        }
        talk.flush().await?;
        talk.read().await?;
    }
}

fn wanted(track: usize, ports: Option<&Ports>) -> Delivery {
    match ports {
        Some(ports) => Delivery::Udp { client: ports[track].numbers(), server: None },
        None => Delivery::Interleaved(Some(channels(track))),
    }
}

/// Channels in which the stream's packets are for everybody.
fn channels(track: usize) -> (u8, u8) {
    let first = track as u8 * 2; // there are two tracks
    (first, first + 1)
}

/// The ports that were agreed on; a server that wants other channels cannot be served, for the packets are shared.
fn judge(ways: &[(usize, Delivery)], datagrams: bool) -> Result<Places, Failure> {
    let mut ports = Vec::new();
    for &(track, delivery) in ways {
        match delivery {
            Delivery::Interleaved(chosen) if !datagrams && chosen == Some(channels(track)) => {}
            Delivery::Udp { server: Some(server), .. } if datagrams => ports.push((track, server)),
            _ => return Err(Failure::Rtsp(ClientError::Transport)),
        }
    }
    Ok(ports)
}

/// Datagrams go to the address of the server itself only, whatever it says.
fn exits(ports: Ports, peer: SocketAddr, ways: &[(usize, (u16, u16))]) -> Datagrams {
    let mut to = [None; TRACKS_MAX * 2];
    for &(track, (packets, reports)) in ways.iter().filter(|(track, _)| *track < TRACKS_MAX) {
        to[track * 2] = Some(ports[track].reach(SocketAddr::new(peer.ip(), packets)));
        to[track * 2 + 1] = Some(ports[track].reach(SocketAddr::new(peer.ip(), reports)));
    }
    Datagrams { ports, to }
}

struct RtspTarget {
    /// Without its connection, which the stream's shard has.
    talk: Talk,
    described: Arc<Tracks>,
    datagrams: Option<Datagrams>,
}

impl fmt::Debug for RtspTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RtspTarget").field("peer", &self.talk.peer).finish_non_exhaustive()
    }
}

impl RtspTarget {
    fn output(&mut self) -> Option<Vec<u8>> {
        Some(self.talk.client.take_output()).filter(|out| !out.is_empty())
    }
}

impl Target for RtspTarget {
    fn form(&self) -> Form {
        let has = |kind| track_formats(&self.described).iter().any(|format| format.kind == kind);
        Form::Rtsp(Selection { video: has(Kind::Video), audio: has(Kind::Audio) })
    }

    fn can_follow(&self, tracks: &Tracks) -> bool {
        std::ptr::eq(Arc::as_ptr(&self.described), tracks) || Muxer::can_follow(&self.described, tracks)
    }

    fn handle(&mut self, data: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        self.talk.client.handle(data);
        while let Some(event) = self.talk.client.poll_event(clock::now())? {
            // It is asked again from the beginning, and told where then.
            if let ClientEvent::Redirected(_) = event {
                return Err(Failure::Ended);
            }
        }
        Ok(self.output())
    }

    fn handle_timeout(&mut self, now: Instant) -> Option<Vec<u8>> {
        self.talk.client.handle_timeout(now);
        self.output()
    }

    fn datagrams(&self) -> Option<&Datagrams> {
        self.datagrams.as_ref()
    }

    fn farewell(&mut self) -> Vec<u8> {
        self.talk.client.tear_down();
        self.talk.client.take_output()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_not_shown() {
        let shown = |url: &str| shown(&Location::parse(url).unwrap());
        assert_eq!(shown("rtsp://me:secret@h/live/cam").unwrap(), "rtsp://h/live/cam");
        assert_eq!(shown("rtsp://h:8554/live/cam?key=secret").unwrap(), "rtsp://h:8554/live/cam…");
        assert_eq!(shown("rtsps://h/abcd-efgh-1234").unwrap(), "rtsps://h/abcd…");
        assert!(shown("rtsp://h/?x").is_err());
    }

    #[test]
    fn a_server_that_wants_other_channels_cannot_be_served() {
        let ours = |track| (track, Delivery::Interleaved(Some(channels(track))));
        assert_eq!(judge(&[ours(0), ours(1)], false).unwrap(), []);
        let client = (5000, 5001);
        let there = (0, Delivery::Udp { client, server: Some((6000, 6001)) });
        assert_eq!(judge(&[there], true).unwrap(), [(0, (6000, 6001))]);
        for (way, datagrams) in [
            ((0, Delivery::Interleaved(Some((2, 3)))), false),
            ((0, Delivery::Interleaved(None)), false),
            ((0, Delivery::Udp { client, server: None }), true),
            (ours(0), true),
            (there, false),
        ] {
            assert_eq!(judge(&[way], datagrams).unwrap_err().cause(), "not_rtsp");
        }
    }
}
