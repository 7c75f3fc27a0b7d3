//! `?audio=aac`: who asks for it is given the stream beside the one that it names, whose sound is AAC.
//!
//! The application makes it when it is asked for first; rights were judged on the stream itself by then.

use std::time::Duration;

use tokio::time::timeout;
use wire::media::AudioCodec;

use super::{
    directory::{Answer, Directory},
    rights::{Claim, Refusal},
};

/// Behind a stream's name: the same with its sound as AAC. The application calls it so, too.
const BESIDE: &str = "~aac";
/// How long the tracks of a stream that has just begun are waited for.
const TRACKS: Duration = Duration::from_secs(10);

/// The name of the stream to give: that of the stream beside, made if there is none, or the one that was named, if its
/// sound needs nothing done.
pub(super) async fn as_aac(
    directory: &dyn Directory,
    claim: &Claim<'_>,
    patience: Duration,
) -> Result<String, Refusal> {
    let Claim { app, name, peer, protocol, .. } = *claim;
    let beside = format!("{name}{BESIDE}");
    if directory.tracks(app, &beside).is_some() {
        return Ok(beside);
    }
    let Some(mut tracks) = directory.tracks(app, name) else {
        // It has ended: who played it by HLS is told so where it played.
        let played = if directory.access(app, &beside).is_some() { beside } else { name.to_owned() };
        return Ok(played);
    };
    let codec = match timeout(TRACKS, tracks.wait_for(Option::is_some)).await {
        Ok(Ok(tracks)) => tracks.as_ref().and_then(|tracks| tracks.audio.as_ref()).map(|audio| audio.codec),
        Ok(Err(_)) => return Err(Refusal::UnknownStream),
        Err(_) => return Err(Refusal::SoundUnavailable),
    };
    if codec.is_none_or(|codec| codec == AudioCodec::Aac) {
        return Ok(name.to_owned());
    }
    let made = match directory.ask_for_aac(app, name, peer, protocol) {
        Answer::Known(made) => made,
        Answer::Unknown => return Err(Refusal::UnknownStream),
        Answer::Busy => return Err(Refusal::Busy),
        Answer::Later(answer) => matches!(timeout(patience, answer).await, Ok(Ok(true))),
    };
    // What was made may have ended again.
    if made && directory.tracks(app, &beside).is_some() { Ok(beside) } else { Err(Refusal::SoundUnavailable) }
}
