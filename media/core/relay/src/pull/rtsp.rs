//! Sources behind rtsp and rtsps: cameras and servers, their packets on the connection or, if asked for, as datagrams.

use std::{
    convert::Infallible,
    hash::{BuildHasher, RandomState},
    net::SocketAddr,
    time::Duration,
};

use tokio::time::{timeout, timeout_at};
use wire::{
    rtsp::{ClientEvent, Delivery, Description, Goal, Incoming},
    unpack::Options,
};

use super::{
    attempt::{Attempt, Vigil},
    failure::Failure,
    location::Location,
};
use crate::{
    clock,
    config::Transport,
    feed::Portion,
    rtsp::{HOLD, Pair, REDIRECTS_MAX, Talk, Way, Ways},
};

const BUFFER: usize = 64 << 10;

/// A session that runs.
struct Session {
    talk: Talk,
    ways: Ways,
    incoming: Incoming,
}

/// Fetches the stream until it fails.
pub(super) async fn run(attempt: &mut Attempt<'_>) -> Result<Infallible, Failure> {
    let mut session = begin(attempt).await?;
    attempt.connected(session.talk.peer);
    attempt.carried_by(Transport::Rtsp, "rtp");
    let Err(failure) = flow(&mut session, attempt).await;
    if matches!(failure, Failure::Ended | Failure::Lost(_)) {
        attempt.send(session.ways.glean(&mut session.incoming).await).await?;
    }
    Err(failure)
}

/// Follows redirects up to a session that runs.
async fn begin(attempt: &Attempt<'_>) -> Result<Session, Failure> {
    let mut location: Option<Location> = None;
    for _ in 0..=REDIRECTS_MAX {
        let at = location.as_ref().unwrap_or(&attempt.order.location);
        let talk = Talk::new(at, attempt.connect(at).await?, Goal::Play);
        let patience = attempt.patience.answer;
        let agreed = timeout(patience, agree(talk, attempt)).await.map_err(|_| Failure::Slow(patience))?;
        match agreed? {
            Agreed::Runs(session) => return Ok(*session),
            Agreed::Elsewhere(to) => location = Some(at.follow(&to).map_err(Failure::BadRedirect)?),
        }
    }
    Err(Failure::Redirects(REDIRECTS_MAX))
}

enum Agreed {
    Runs(Box<Session>),
    Elsewhere(String),
}

/// Describes, sets up and plays.
async fn agree(mut talk: Talk, attempt: &Attempt<'_>) -> Result<Agreed, Failure> {
    let (mut ways, mut pairs, mut incoming) = (Ways::default(), Vec::new(), None);
    let mut early = Vec::new();
    loop {
        while let Some(event) = talk.client.poll_event(clock::now())? {
            match (event, &mut incoming) {
                (ClientEvent::Described(description), _) => {
                    let (made, wanted) = choose(&description, attempt, talk.peer, &mut pairs)?;
                    incoming = Some(made);
                    talk.client.set_up(wanted);
                }
                (ClientEvent::Redirected(to), _) => return Ok(Agreed::Elsewhere(to)),
                (ClientEvent::Running(running), Some(_)) => {
                    for (track, delivery) in running {
                        let pair = pairs.iter().position(|(known, _)| *known == track);
                        let way = match (delivery, pair.map(|at| pairs.swap_remove(at))) {
                            (Delivery::Interleaved(channels), _) => {
                                let (packets, reports) = ways.channels(channels);
                                Way::Channels(packets, reports)
                            }
                            (Delivery::Udp { server, .. }, Some((_, pair))) => {
                                let ports = server.unwrap_or_default();
                                pair.punch(ports);
                                Way::Datagrams(Box::new(pair), ports.1)
                            }
                            (Delivery::Udp { .. }, None) => return Err(Failure::NoPort),
                        };
                        ways.set(track, way);
                    }
                    let Some(mut incoming) = incoming.take() else { return Err(Failure::NoTracks) };
                    for (channel, data) in early {
                        ways.take_channel(clock::now(), channel, data, &mut incoming);
                    }
                    return Ok(Agreed::Runs(Box::new(Session { talk, ways, incoming })));
                }
                // Some send before they answered PLAY.
                (ClientEvent::Data(channel, data), _) if early.len() < 1024 => early.push((channel, data)),
                _ => {}
            }
        }
        talk.flush().await?;
        talk.read().await?;
    }
}

/// The tracks that are set up, and how.
fn choose(
    description: &Description,
    attempt: &Attempt<'_>,
    peer: SocketAddr,
    pairs: &mut Vec<(usize, Pair)>,
) -> Result<(Incoming, Vec<(usize, Delivery)>), Failure> {
    let datagrams = attempt.order.datagrams;
    let hold = if datagrams { HOLD } else { Duration::ZERO };
    let ssrc = RandomState::new().hash_one(0) as u32;
    let incoming = Incoming::new(description, Options::default(), hold, ssrc);
    let mut wanted = Vec::new();
    for (number, track) in (0_u8..).zip(incoming.tracks()) {
        let delivery = if datagrams {
            let receiving = attempt.receiving().ok_or(Failure::NoPort)?;
            let pair = Pair::open(receiving, peer.ip().to_canonical()).map_err(|_| Failure::NoPort)?;
            let client = pair.numbers();
            pairs.push((track, pair));
            Delivery::Udp { client, server: None }
        } else {
            Delivery::Interleaved(Some((number * 2, number * 2 + 1)))
        };
        wanted.push((track, delivery));
    }
    if wanted.is_empty() { Err(Failure::NoTracks) } else { Ok((incoming, wanted)) }
}

/// Reads a session to its end.
async fn flow(session: &mut Session, attempt: &mut Attempt<'_>) -> Result<Infallible, Failure> {
    let Session { talk, ways, incoming } = session;
    let mut vigil = Vigil::new(attempt.patience);
    let mut datagrams = vec![0; if ways.are_datagrams() { BUFFER } else { 0 }];
    loop {
        let now = clock::now();
        let mut portion = Portion::default();
        while let Some(event) = talk.client.poll_event(now)? {
            match event {
                ClientEvent::Data(channel, data) => {
                    portion.messages += 1;
                    portion.bytes += 4 + data.len() as u64;
                    ways.take_channel(now, channel, data, incoming);
                }
                // It is asked again from the beginning, and told where then.
                ClientEvent::Redirected(_) => return Err(Failure::Ended),
                ClientEvent::Described(_) | ClientEvent::Running(_) => {}
            }
        }
        let (packets, bytes) = ways.take(now, &mut datagrams, incoming);
        portion.messages += packets;
        portion.bytes += bytes;
        if portion.messages > 0 {
            vigil.heard();
        }
        incoming.handle_timeout(now);
        talk.client.handle_timeout(now);
        portion.outputs.extend(std::iter::from_fn(|| incoming.poll_output()));
        portion.lost = incoming.take_lost();
        vigil.made(&portion.outputs);
        if portion.bytes > 0 || !portion.outputs.is_empty() {
            let before = clock::now();
            attempt.send(portion).await?;
            if clock::now() > before + Duration::from_millis(100) {
                vigil.heard(); // waiting for the stream to take it was not the server's silence
            }
        }
        vigil.check()?;
        let mut reports = Vec::new();
        ways.report(incoming, &mut reports);
        talk.say(&reports).await?;
        let timeouts = [incoming.next_timeout(), talk.client.next_timeout(), Some(vigil.due())];
        let due = timeouts.into_iter().flatten().min().unwrap_or(now);
        let Some(wire) = &mut talk.wire else { return Err(Failure::Ended) };
        match timeout_at(due.into(), ways.hear(wire, &mut talk.buffer)).await {
            Ok(Ok(Some(0))) => return Err(Failure::Ended),
            Ok(Ok(Some(size))) => talk.client.handle(&talk.buffer[..size]),
            Ok(Err(error)) => return Err(Failure::Lost(error)),
            Ok(Ok(None)) | Err(_) => {}
        }
    }
}
