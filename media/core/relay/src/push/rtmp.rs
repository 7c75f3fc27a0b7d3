//! Pushes by RTMP: we publish, and the server gets the messages that all players get.

use wire::{
    flv::FlvOptions,
    media::Tracks,
    rtmp::{Action, Renumber, TargetEvent, TargetReader},
};

use super::{Line, Ready, target::Target};
use crate::{
    hub::form::Form,
    pull::{Failure, Judge, Location, Puller},
    rtmp::{
        address::Address,
        dial::{Dialled, dial},
    },
};

/// Connects to where `location` is, and publishes what it names.
pub(super) async fn connect(
    puller: &Puller,
    may: Judge,
    location: &Location,
    tracks: &Tracks,
) -> Result<Ready, Failure> {
    let options = Address::of(location).map_err(Failure::BadRedirect)?.options;
    if !options.carries(tracks) {
        return Err(Failure::NothingToSend);
    }
    let Dialled { mut call, peer, .. } = dial(puller, may, location, Action::Publish).await?;
    call.flush().await?;
    let (_, reader) = call.client.into_publisher();
    let stream = reader.stream();
    let mut target = RtmpTarget { reader, options };
    // What the server said at once behind its yes was read with it.
    let answer = target.handle(&[])?.unwrap_or_default();
    Ok(Ready { line: Line::new(call.line, Renumber::to(stream)), peer, answer, target: Box::new(target) })
}

#[derive(Debug)]
struct RtmpTarget {
    reader: TargetReader,
    options: FlvOptions,
}

impl Target for RtmpTarget {
    fn form(&self) -> Form {
        Form::Rtmp(self.options)
    }

    fn can_follow(&self, _: &Tracks) -> bool {
        true // a new sequence header says it all
    }

    fn handle(&mut self, data: &[u8]) -> Result<Option<Vec<u8>>, Failure> {
        match self.reader.handle(data) {
            Ok(None) => Ok(None),
            Ok(Some(TargetEvent::Answer(answer))) => Ok(Some(answer)),
            Ok(Some(TargetEvent::Stop(refusal))) => Err(Failure::Stopped(refusal)),
            Err(error) => Err(Failure::Rtmp(error.into())),
        }
    }

    fn farewell(&mut self) -> Vec<u8> {
        self.reader.farewell()
    }
}
