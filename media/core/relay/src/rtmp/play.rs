//! A player: let in or sent away, then handed to its stream.

use std::{sync::atomic::Ordering, time::Duration};

use tokio::{io::AsyncWriteExt, time::timeout};
use wire::rtmp::Target;

use super::{
    Counters, Shared,
    connection::{Connection, WRITING, named},
};
use crate::{
    clock,
    door::{
        Form, Framing, Seat, Viewer,
        rights::{self, Claim, Refusal},
        route::Query,
    },
    options::Output,
};

/// How long the application may take to judge a token.
const TOKEN_PATIENCE: Duration = Duration::from_secs(5);

const NOT_FOUND: &str = "NetStream.Play.StreamNotFound";
const FAILED: &str = "NetStream.Play.Failed";

/// Serves a player until its socket belongs to the stream.
pub(super) async fn play(shared: &Shared, counters: &Counters, mut connection: Connection, target: &Target) {
    let query = Query::parse(&target.query);
    let admitted = match named(target) {
        Ok((app, name)) => match admit(shared, &connection, &app, &name, &query).await {
            Ok((played, seat)) => Ok((app, played, seat)),
            Err(Refusal::UnknownStream) => Err((NOT_FOUND, Refusal::UnknownStream.message().to_owned())),
            Err(refusal) => Err((FAILED, refusal.message().to_owned())),
        },
        Err(reason) => Err((NOT_FOUND, reason)),
    };
    let (app, name, seat) = match admitted {
        Ok(stream) => stream,
        Err((code, reason)) => {
            counters.denied.fetch_add(1, Ordering::Relaxed);
            connection.server.refuse_play(code, &reason);
            return connection.part().await;
        }
    };
    let Connection { mut stream, server, peer, .. } = connection;
    let agent = server.agent().to_owned();
    let (answer, reader) = server.start_play();
    let written = timeout(WRITING, stream.write_all(&answer)).await;
    // A player that goes away while it is answered is no news.
    if let (Ok(Ok(())), Ok(socket)) = (written, stream.into_std()) {
        let framing = Framing::Rtmp(Box::new(reader));
        let viewer = Viewer { socket, peer, form: Form::Rtmp(query.options), framing, seat, agent };
        shared.directory.attach(&app, &name, viewer);
    }
}

/// The stream that the player is given, and a place among its viewers, if it may have one.
async fn admit(
    shared: &Shared,
    connection: &Connection,
    app: &str,
    name: &str,
    query: &Query,
) -> Result<(String, Seat), Refusal> {
    let directory = shared.directory.as_ref();
    let peer = connection.peer;
    let claim = Claim { app, name, peer, protocol: "rtmp", query, token: None, proof: None, again: false };
    let now_s = clock::wall_ms() / 1000;
    let played = rights::admit(directory, &shared.play_key, &claim, now_s, TOKEN_PATIENCE).await?;
    let seat = directory.seat(app, &played, Output::Rtmp)?;
    Ok((played, seat))
}
