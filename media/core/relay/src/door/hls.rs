//! What players of HLS fetch: playlists, at once or when they tell what is wanted of them, segments and parts.

use std::{sync::Arc, time::Duration};

use http::{Response, StatusCode, header};
use tokio::{sync::Semaphore, time::timeout};
use wire::hls::{Container, Window};

use super::{
    directory::Feed,
    media::UNKNOWN_STREAM,
    reply::{self, Body, Problem},
    route::Query,
};

/// How long a playlist waits for the first segment: longer than the longest takes, for cameras whose key frames are rare.
const PATIENCE: Duration = Duration::from_secs(14);
/// A segment's bytes never change; players that come back to it within so many seconds need not ask.
const SEGMENT_AGE_S: u32 = 60;
/// Requests that wait for what comes next, in the whole process; others are answered with what there is.
const WAITING_MAX: usize = 2048;

static WAITING: Semaphore = Semaphore::const_new(WAITING_MAX);

/// The playlist, once it tells of the segment and part that the query names, if it names any.
pub(super) async fn playlist(mut feed: Feed, query: &Query) -> Result<Response<Body>, Problem> {
    let first = feed.window.wait_for(|window| window.as_deref().is_some_and(Window::is_playable));
    let window: Option<Arc<Window>> = match timeout(PATIENCE, first).await {
        Ok(Ok(window)) => window.clone(),
        Ok(Err(_)) => return Err(UNKNOWN_STREAM),
        Err(_) => None,
    };
    let mut window = window.ok_or_else(no_segment_yet)?;
    if let Some(segment) = query.segment {
        if !window.may_wait_for(segment) {
            let message = "this segment is too far ahead";
            return Err(Problem::new(StatusCode::BAD_REQUEST, "segment_too_far_ahead", message));
        }
        window = later(&mut feed, window, |window| window.tells_of(segment, query.part)).await?;
    }
    let text = window.playlist(&query.repeated());
    feed.count_sent(text.len());
    Ok(reply::media("application/vnd.apple.mpegurl", 0, reply::full(text)))
}

/// A segment, an initialisation segment or a part; the part that comes next once it is there.
pub(super) async fn segment(
    mut feed: Feed,
    container: Container,
    file: &str,
) -> Result<Response<Body>, Problem> {
    let window = feed.window.borrow().clone();
    let mut data = window.as_ref().and_then(|window| window.resource(file));
    if let Some(window) = window.filter(|window| data.is_none() && window.is_next(file)) {
        data = later(&mut feed, window, |window| !window.is_next(file)).await?.resource(file);
    }
    let message = "this segment is not there any more";
    let data = data.ok_or(Problem::new(StatusCode::NOT_FOUND, "segment_not_found", message))?;
    feed.count_sent(data.len());
    Ok(reply::media(container.media_type(), SEGMENT_AGE_S, reply::full(data)))
}

/// The first window that is `good`, waited for at most three target durations; `now` if too many wait already.
async fn later(
    feed: &mut Feed,
    now: Arc<Window>,
    good: impl Fn(&Window) -> bool,
) -> Result<Arc<Window>, Problem> {
    if good(&now) {
        return Ok(now);
    }
    let Ok(_permit) = WAITING.try_acquire() else { return Ok(now) };
    let patience = Duration::from_secs(3 * now.target_s());
    let coming = feed.window.wait_for(|window| window.as_deref().is_some_and(&good));
    match timeout(patience, coming).await {
        Ok(Ok(window)) => window.clone().ok_or_else(no_segment_yet),
        Ok(Err(_)) => Err(UNKNOWN_STREAM),
        Err(_) => Err(no_segment_yet()),
    }
}

fn no_segment_yet() -> Problem {
    let message = "no segment is ready: the stream brings no key frames";
    let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "no_segment_yet", message);
    problem.with(header::RETRY_AFTER, "2")
}
