//! One client's connection up to the moment that it plays: what it asks is answered here, and what it wants is looked up.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use percent_encoding::percent_decode_str;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};
use wire::{
    media::Tracks,
    rtsp::{
        Delivery, Description, Event, ReaderError, Selection, Server, Target, Transport, Wish, describe,
        digest::Proof, track_formats,
    },
};

use super::{
    Counters, Datagrams, RtspPlayer, Shared,
    control::{self, Run},
    guard::{Guard, Unproven},
    publish::{self, Publisher},
};
use crate::{
    clock,
    core::check_name,
    door::{
        Form, Framing, Seat, Viewer,
        rights::{self, Claim, Refusal},
        route::Query,
    },
    listener::Place,
    options::Output,
    proof::Shown,
};

/// A client that says nothing for so long before it plays is closed.
const IDLE: Duration = Duration::from_secs(15);

/// The whole way from connecting to playing may take so long.
const BEGINNING: Duration = Duration::from_secs(60);

/// The client must take what it is sent within so long.
const WRITING: Duration = Duration::from_secs(10);

/// A stream that has just begun is waited for so long before it is described.
const TRACKS: Duration = Duration::from_secs(10);

/// How long the application may think about a token.
const TOKEN_PATIENCE: Duration = Duration::from_secs(5);

const BUFFER: usize = 8 << 10;

/// A longer query is refused.
const QUERY_MAX: usize = 8192;

/// Why a connection ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum End {
    #[error("closed by the peer")]
    Closed,
    #[error("too slow")]
    Slow,
    #[error("the publisher ended the stream")]
    Finished,
    #[error("closed by the gateway")]
    Thrown,
    #[error("nothing came for {0} s")]
    Idle(u64),
    #[error("broken protocol: {0}")]
    Protocol(#[from] ReaderError),
    #[error("{0}")]
    Io(#[from] io::Error),
}

impl End {
    /// A word that does not change.
    pub(super) fn cause(&self) -> &'static str {
        match self {
            Self::Closed => "ended",
            Self::Finished => "finished",
            Self::Thrown => "closed",
            Self::Idle(_) => "silent",
            Self::Slow => "stalled",
            Self::Protocol(_) => "not_rtsp",
            Self::Io(_) => "broken",
        }
    }
}

/// A stream that a client was let in to, and what it set up of it.
struct Session {
    app: String,
    name: String,
    /// The stream that is given: of this name, or beside it.
    played: String,
    tracks: Arc<Tracks>,
    set_up: [Option<Delivery>; 2],
}

pub(super) struct Connection<'a> {
    pub(super) shared: &'a Shared,
    pub(super) stream: TcpStream,
    pub(super) peer: SocketAddr,
    pub(super) server: Server,
    session: Option<Session>,
    publisher: Option<Publisher>,
    guard: Option<Guard>,
    /// A proof was as good as its nonce, which was not: the client is to prove it again.
    stale: bool,
}

/// Serves a connection until it closes, or the player's socket is handed to its stream.
pub(super) async fn serve(
    shared: &Shared,
    counters: &Counters,
    stream: TcpStream,
    (peer, place): (SocketAddr, Place),
) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    let id = shared.session_id(peer);
    let guard = shared.core.realm.as_ref().map(|realm| Guard::new(realm, &shared.core.play_key, &id));
    let server = Server::new(id);
    let (session, publisher) = (None, None);
    let connection = Connection { shared, stream, peer, server, session, publisher, guard, stale: false };
    let begun = timeout(BEGINNING, connection.run(counters)).await;
    // Publishers are as many as the application accepts.
    drop(place);
    match begun {
        Ok(Ok(Some((connection, publisher)))) => publish::carry(connection, publisher).await,
        Ok(Err(End::Slow | End::Protocol(_))) | Err(_) => {
            counters.broken.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Ok(None) | Err(_)) => {}
    }
}

impl<'a> Connection<'a> {
    /// Up to a PLAY or the end, or up to a RECORD: then with what is recorded.
    async fn run(mut self, counters: &Counters) -> Result<Option<(Connection<'a>, Publisher)>, End> {
        let mut buffer = vec![0; BUFFER];
        loop {
            while let Some(event) = self.server.poll_event()? {
                match event {
                    Event::Describe(target, authorization) => {
                        self.describe(counters, &target, authorization.as_deref()).await;
                    }
                    Event::SetUp { target, track, offers, authorization } => {
                        if let Some(publisher) = &mut self.publisher {
                            let receiving = self.shared.clear.then_some(&self.shared.core.receiving);
                            match publisher.set_up(receiving, self.peer.ip(), track, &offers) {
                                Ok(chosen) => self.server.set_up(&chosen),
                                Err(status) => self.refuse(counters, status),
                            }
                        } else {
                            let authorization = authorization.as_deref();
                            self.set_up(counters, &target, track, &offers, authorization).await;
                        }
                    }
                    Event::Play(wish) => match self.seat().and_then(|seat| Ok((seat, self.begin(&wish)?))) {
                        Ok((seat, run)) => return self.play(seat, run).await.map(|()| None),
                        Err(status) => self.refuse(counters, status),
                    },
                    Event::Pause | Event::Get(_) => self.refuse(counters, 455),
                    Event::Announce(target, description, authorization) => {
                        self.announce(counters, &target, description, authorization.as_deref()).await;
                    }
                    Event::Record => match self.publisher.take() {
                        Some(publisher) if publisher.is_set_up() => return Ok(Some((self, publisher))),
                        publisher => {
                            self.publisher = publisher;
                            self.refuse(counters, 455);
                        }
                    },
                    Event::Data(..) => {}
                    Event::Ended => {
                        self.flush().await?;
                        return Ok(None);
                    }
                }
            }
            self.flush().await?;
            let size = timeout(IDLE, self.stream.read(&mut buffer)).await.map_err(|_| End::Slow)??;
            if size == 0 {
                return Err(End::Closed);
            }
            self.server.handle(&buffer[..size]);
        }
    }

    fn refuse(&mut self, counters: &Counters, status: u16) {
        counters.denied.fetch_add(1, Ordering::Relaxed);
        self.server.refuse(status);
    }

    /// Refuses what was asked without a right to it: a client that may prove who it is, is asked to.
    fn challenge(&mut self, counters: &Counters, proved: bool) {
        let Some(guard) = &mut self.guard else { return self.refuse(counters, 403) };
        // Every client is asked once: only one that answered wrongly was denied something.
        if proved {
            if !guard.refuse() {
                return self.refuse(counters, 403);
            }
            counters.denied.fetch_add(1, Ordering::Relaxed);
        }
        let challenges = guard.challenges(clock::wall_ms() / 1000, std::mem::take(&mut self.stale));
        self.server.challenge(&challenges);
    }

    /// What the header proves, as far as can be told here.
    fn proof(&mut self, target: &Target, authorization: Option<&str>) -> Option<Proof> {
        match self.guard.as_mut()?.check(clock::wall_ms() / 1000, authorization?, target) {
            Ok(proof) => Some(proof),
            Err(unproven) => {
                self.stale = unproven == Unproven::Stale;
                None
            }
        }
    }

    async fn announce(
        &mut self,
        counters: &Counters,
        target: &Target,
        description: Description,
        authorization: Option<&str>,
    ) {
        let proof = self.proof(target, authorization);
        let shown = proof.as_ref().map(|proof| Shown { proof, method: "ANNOUNCE" });
        let challenged = proof.is_none() && self.guard.is_some();
        let refusal = match named(target) {
            None => 404,
            Some((app, name)) => {
                let applicant = (app.as_str(), name.as_str(), target.query.as_str());
                match Publisher::admit(
                    &self.shared.core,
                    self.peer,
                    applicant,
                    (shown, challenged),
                    description,
                )
                .await
                {
                    Ok(publisher) => {
                        self.publisher = Some(publisher);
                        return self.server.accept();
                    }
                    Err(401) => return self.challenge(counters, proof.is_some()),
                    Err(status) => status,
                }
            }
        };
        self.refuse(counters, refusal);
    }

    async fn describe(&mut self, counters: &Counters, target: &Target, authorization: Option<&str>) {
        let proof = self.proof(target, authorization);
        let shown = proof.as_ref().map(|proof| Shown { proof, method: "DESCRIBE" });
        match self.admit(target, shown).await {
            Ok(session) => {
                let number = clock::wall_us();
                let playback = self.shared.core.directory.playback(&session.app, &session.name);
                let description = describe(&session.tracks, number, control::whole(playback.as_ref()));
                self.session = Some(session);
                self.server.describe(&description);
            }
            Err(401) => self.challenge(counters, proof.is_some()),
            Err(status) => self.refuse(counters, status),
        }
    }

    /// The stream that is meant, if the client may play it; 401 if it might, could it prove who it is.
    async fn admit(&self, target: &Target, proof: Option<Shown<'_>>) -> Result<Session, u16> {
        let (app, name) = named(target).ok_or(404_u16)?;
        let query = Query::parse(&target.query);
        let directory = self.shared.core.directory.as_ref();
        let claim = Claim {
            app: &app,
            name: &name,
            peer: self.peer,
            protocol: "rtsp",
            query: &query,
            token: None,
            proof,
            again: false,
        };
        let now_s = clock::wall_ms() / 1000;
        let played = rights::admit(directory, &self.shared.core.play_key, &claim, now_s, TOKEN_PATIENCE)
            .await
            .map_err(status)?;
        let mut tracks = directory.tracks(&app, &played).ok_or(404_u16)?;
        // A stream that ends meanwhile is not there; one without a key frame cannot be described yet.
        let tracks = timeout(TRACKS, tracks.wait_for(Option::is_some)).await.map_err(|_| 503_u16)?;
        let tracks = tracks.map_err(|_| 404_u16)?.clone().ok_or(503_u16)?;
        Ok(Session { app, name, played, tracks, set_up: [None; 2] })
    }

    async fn set_up(
        &mut self,
        counters: &Counters,
        target: &Target,
        track: usize,
        offers: &[Transport],
        authorization: Option<&str>,
    ) {
        // Some players set up what they knew before, and describe nothing.
        if self.session.is_none() {
            let proof = self.proof(target, authorization);
            let shown = proof.as_ref().map(|proof| Shown { proof, method: "SETUP" });
            match self.admit(target, shown).await {
                Ok(session) => self.session = Some(session),
                Err(401) => return self.challenge(counters, proof.is_some()),
                Err(status) => return self.refuse(counters, status),
            }
        }
        match self.choose(target, track, offers) {
            Ok(chosen) => self.server.set_up(&chosen),
            Err(status) => self.refuse(counters, status),
        }
    }

    /// The first way of sending the track that we can serve. All tracks go one way.
    fn choose(&mut self, target: &Target, track: usize, offers: &[Transport]) -> Result<Transport, u16> {
        let ports = self.shared.ports.as_ref();
        let session = self.session.as_mut().ok_or(455_u16)?;
        let (app, name) = named(target).ok_or(404_u16)?;
        if (&app, &name) != (&session.app, &session.name) || track >= track_formats(&session.tracks).len() {
            return Err(404);
        }
        let interleaved = |delivery: &Delivery| matches!(delivery, Delivery::Interleaved(_));
        let before = session.set_up.iter().flatten().next().map(interleaved);
        let fits = |offer: &&Transport| {
            let known = before.is_none_or(|before| before == interleaved(&offer.delivery));
            !offer.record && known && (interleaved(&offer.delivery) || ports.is_some())
        };
        let offer = offers.iter().find(fits).ok_or(461_u16)?;
        let delivery = match offer.delivery {
            Delivery::Udp { client, .. } => {
                Delivery::Udp { client, server: ports.map(|ports| ports.numbers()) }
            }
            // Every player of a stream shares its bytes, and so its channels.
            Delivery::Interleaved(_) => {
                let channel = track as u8 * 2;
                Delivery::Interleaved(Some((channel, channel + 1)))
            }
        };
        session.set_up[track] = Some(delivery);
        Ok(Transport { delivery, record: false, ssrc: None })
    }

    /// A place among the viewers, once something is set up.
    fn seat(&self) -> Result<Seat, u16> {
        let session = self.session.as_ref().ok_or(455_u16)?;
        if session.set_up.iter().all(Option::is_none) {
            return Err(455);
        }
        self.shared
            .core
            .directory
            .seat(&session.app, &session.played, Output::Rtsp)
            .map_err(|denied| status(denied.into()))
    }

    /// Begins what the first PLAY asks for.
    fn begin(&self, wish: &Wish) -> Result<Run, u16> {
        let session = self.session.as_ref().ok_or(455_u16)?;
        let mut run = Run::new(self.shared.core.directory.playback(&session.app, &session.name));
        run.play(clock::now(), wish, true)?;
        Ok(run)
    }

    /// Hands the player to its stream, which answers where a first packet is waited for.
    async fn play(mut self, seat: Seat, run: Run) -> Result<(), End> {
        if run.is_running() {
            self.server.play(run.played(None), &[]);
        }
        self.flush().await?;
        let Some(session) = self.session.take() else { return Ok(()) };
        let formats = track_formats(&session.tracks);
        let wanted = |kind| {
            formats
                .iter()
                .zip(&session.set_up)
                .any(|(format, set_up)| format.kind == kind && set_up.is_some())
        };
        let selection =
            Selection { video: wanted(wire::media::Kind::Video), audio: wanted(wire::media::Kind::Audio) };
        let agent = self.server.agent().to_owned();
        let player = RtspPlayer {
            datagrams: self.datagrams(&session),
            server: self.server,
            described: session.tracks,
            selection,
            run,
            unheard: 0,
        };
        let viewer = Viewer {
            socket: self.stream.into_std()?,
            peer: self.peer,
            form: Form::Rtsp(player.selection),
            framing: Framing::Rtsp(Box::new(player)),
            seat,
            agent,
        };
        self.shared.core.directory.attach(&session.app, &session.played, viewer);
        Ok(())
    }

    /// Where datagrams go, if they do. Only ever to the address that the connection comes from: nobody else is flooded.
    fn datagrams(&self, session: &Session) -> Option<Datagrams> {
        let ports = self.shared.ports.as_ref()?;
        let mut to = [None; 4];
        for (track, delivery) in session.set_up.iter().enumerate() {
            match delivery {
                Some(Delivery::Udp { client, .. }) => {
                    to[track * 2] = Some(ports.reach(SocketAddr::new(self.peer.ip(), client.0)));
                    to[track * 2 + 1] = Some(ports.reach(SocketAddr::new(self.peer.ip(), client.1)));
                }
                Some(Delivery::Interleaved(_)) => return None,
                None => {}
            }
        }
        Some(Datagrams { ports: [Arc::clone(ports), Arc::clone(ports)], to })
    }

    pub(super) async fn flush(&mut self) -> Result<(), End> {
        self.say(&[]).await
    }

    /// Sends the answers that are due, and `more`.
    pub(super) async fn say(&mut self, more: &[u8]) -> Result<(), End> {
        let mut out = self.server.take_output();
        out.extend(more);
        if out.is_empty() {
            return Ok(());
        }
        Ok(timeout(WRITING, self.stream.write_all(&out)).await.map_err(|_| End::Slow)??)
    }
}

/// App and name of the stream that is meant.
fn named(target: &Target) -> Option<(String, String)> {
    let decoded = |text: &str| {
        let text = percent_decode_str(text).decode_utf8().ok()?;
        check_name(&text).ok()?;
        Some(text.into_owned())
    };
    (target.query.len() <= QUERY_MAX && !target.query.chars().any(char::is_control)).then_some(())?;
    Some((decoded(&target.app)?, decoded(&target.name)?))
}

/// The status that tells a refusal.
fn status(refusal: Refusal) -> u16 {
    match refusal {
        Refusal::UnknownStream => 404,
        Refusal::SignatureMissing | Refusal::ProofRefused => 401,
        Refusal::SignatureExpired
        | Refusal::SignatureWrong
        | Refusal::TokenRefused
        | Refusal::Kicked
        | Refusal::FormNotAllowed => 403,
        Refusal::TooManyViewers => 453,
        Refusal::TokenUnchecked | Refusal::Busy | Refusal::SoundUnavailable => 503,
    }
}
