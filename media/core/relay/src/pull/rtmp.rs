//! Sources behind rtmp and rtmps: we are one of the server's players.

use std::{convert::Infallible, iter};

use tokio::time::timeout_at;
use wire::{
    flv_read::TagReader,
    rtmp::{Action, ClientEvent},
    unpack::Options,
};

use super::{
    attempt::{Attempt, Vigil},
    failure::Failure,
};
use crate::{
    clock,
    config::Transport,
    feed::Portion,
    rtmp::dial::{Call, Dialled, dial},
};

/// Bytes that brought nothing yet are told of at the latest when there are so many.
const PORTION: u64 = 64 << 10;

/// Fetches the stream until it fails.
pub(super) async fn run(attempt: &mut Attempt<'_>) -> Result<Infallible, Failure> {
    let location = &attempt.order.location;
    let Dialled { call, peer, said } =
        dial(attempt.puller(), attempt.judge(), location, Action::Play).await?;
    attempt.connected(peer);
    attempt.carried_by(Transport::Rtmp, "flv");
    flow(call, said, attempt).await
}

/// Plays until the server ends it; `said` came before.
async fn flow(
    mut call: Call,
    said: Vec<ClientEvent>,
    attempt: &mut Attempt<'_>,
) -> Result<Infallible, Failure> {
    let mut reader = TagReader::new(Options::default());
    let mut vigil = Vigil::new(attempt.patience);
    let mut portion = Portion::default();
    let mut events = said.into_iter();
    let mut failure = None;
    loop {
        loop {
            let event = match events.next() {
                Some(event) => event,
                None => match call.client.poll_event() {
                    Ok(Some(event)) => event,
                    Ok(None) => break,
                    Err(error) => {
                        failure = Some(Failure::Rtmp(error));
                        break;
                    }
                },
            };
            match event {
                ClientEvent::Media(tag) => {
                    portion.messages += 1;
                    reader.handle_tag(clock::now(), &tag);
                }
                ClientEvent::Announced { audio } => reader.expect_audio(audio),
                ClientEvent::Ended => failure = Some(Failure::Ended),
                ClientEvent::Started => {}
            }
        }
        portion.outputs.extend(iter::from_fn(|| reader.poll_output()));
        vigil.made(&portion.outputs);
        // Bytes in the middle of a message need not be told of one by one.
        if failure.is_some() || !portion.outputs.is_empty() || portion.bytes >= PORTION {
            attempt.send(std::mem::take(&mut portion)).await?;
            // Waiting for the stream to take it was not the server's silence.
            vigil.heard();
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        vigil.check()?;
        let due = reader.next_timeout().map_or(vigil.due(), |due| due.min(vigil.due()));
        let speaking = async {
            call.flush().await?;
            call.read().await
        };
        match timeout_at(due.into(), speaking).await {
            Ok(Ok(size)) => {
                vigil.heard();
                portion.bytes += size;
            }
            Ok(Err(failed)) => failure = Some(failed),
            Err(_) => reader.handle_timeout(clock::now()),
        }
    }
}
