//! A publisher: asked about, then read, its tags made into units and fed to its stream.

use std::{convert::Infallible, sync::atomic::Ordering, time::Duration};

use tokio::time::timeout;
use wire::{
    flv_read::TagReader,
    rtmp::{Event, Target},
    unpack::Options,
};

use super::{
    Counters, Shared,
    connection::{Connection, End, named},
};
use crate::{
    clock,
    config::Transport,
    feed::{Feeder, Portion},
    publishers::{Applicant, Decision},
};

/// A publisher that sends nothing for so long is closed.
const IDLE: Duration = Duration::from_secs(30);

const BAD_NAME: &str = "NetStream.Publish.BadName";
const DENIED: &str = "NetStream.Publish.Denied";

/// Serves a publisher to its end.
pub(super) async fn publish(
    shared: &Shared,
    counters: &Counters,
    mut connection: Connection,
    target: &Target,
) {
    let refusal = match named(target) {
        Err(reason) => (BAD_NAME, reason),
        Ok((app, name)) => {
            let (app, name, query, peer) = (&app, &name, &target.query, connection.peer);
            let (transport, proof, challenged) = (Transport::Rtmp, None, false);
            let applicant = Applicant { app, name, query, peer, transport, proof, challenged };
            match shared.publishers.decide(&shared.events, applicant).await {
                Decision::Accepted(feeder) => return carry(connection, feeder).await,
                Decision::Refused { reason, .. } => (DENIED, reason),
            }
        }
    };
    counters.denied.fetch_add(1, Ordering::Relaxed);
    connection.server.refuse_publish(refusal.0, &refusal.1);
    connection.part().await;
}

/// Feeds the stream until either end closes.
async fn carry(mut connection: Connection, mut feeder: Feeder) {
    connection.place = None;
    feeder.connected(connection.peer);
    connection.server.accept_publish();
    connection.widen();
    let Err(end) = feed(&mut connection, &mut feeder).await;
    feeder.close(end.to_string(), end.cause());
    if let End::Thrown = end {
        connection.server.end_publish("the gateway closed the stream");
    }
    connection.part().await;
}

async fn feed(connection: &mut Connection, feeder: &mut Feeder) -> Result<Infallible, End> {
    let mut reader = TagReader::new(Options::default());
    let mut heard = clock::now();
    let mut bytes = 0;
    loop {
        let now = clock::now();
        let mut portion = Portion { bytes: std::mem::take(&mut bytes), ..Portion::default() };
        let mut finished = false;
        while let Some(event) = connection.server.poll_event()? {
            match event {
                Event::Media(tag) => {
                    portion.messages += 1;
                    reader.handle_tag(now, &tag);
                }
                Event::Announced { audio } => reader.expect_audio(audio),
                Event::Ended => finished = true,
                Event::Publish(_) | Event::Play(_) => {}
            }
        }
        portion.outputs.extend(std::iter::from_fn(|| reader.poll_output()));
        if portion.bytes > 0 || !portion.outputs.is_empty() {
            feeder.send(portion).await.map_err(|_| End::Thrown)?;
        }
        if finished {
            return Err(End::Finished);
        }
        match connection.flush().await {
            // A publisher that left may have said so: reading tells.
            Ok(()) | Err(End::Io(_)) => {}
            Err(end) => return Err(end),
        }
        let patience = (heard + IDLE).saturating_duration_since(now);
        let due =
            reader.next_timeout().map_or(patience, |due| due.saturating_duration_since(now).min(patience));
        match feeder.unless_closed(timeout(due, connection.read())).await.map_err(|_| End::Thrown)? {
            Ok(read) => {
                bytes = read? as u64;
                heard = clock::now();
            }
            Err(_) if clock::now().saturating_duration_since(heard) >= IDLE => {
                return Err(End::Idle(IDLE.as_secs()));
            }
            Err(_) => reader.handle_timeout(clock::now()),
        }
    }
}
