//! Streams whose units a task makes: the task holds a [`Feeder`], the stream's shard takes what it sends.
//!
//! What is on its way is bounded by bytes: `send` waits for credit, and for the stream's bandwidth, so a task that
//! reads a connection and feeds what it read slows its peer down instead of filling memory. Dropping the feeder ends
//! the stream; closing the stream from outside fails the next `send` and completes `closed`.

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    time::timeout,
};
use wire::unpack::Output;

use crate::{
    clock,
    config::{PlayRights, Transport},
    events::Kind,
    shard::inbox::{Command, Inbox},
};

/// Bytes of one stream that may be on their way to its shard. A larger portion goes alone.
const CREDIT: u32 = 4 << 20;

/// What may come at once, as time at the full rate: key frames arrive in bursts.
const BURST: Duration = Duration::from_secs(1);

/// What a fed stream is asked to be.
#[derive(Debug, Clone)]
pub struct OpenFeed {
    /// First part of the stream's name.
    pub app: String,
    /// Second part of the stream's name.
    pub name: String,
    /// How its media comes.
    pub transport: Transport,
    /// What carries the units, as snapshots tell it.
    pub payload: &'static str,
    /// Who may play.
    pub rights: PlayRights,
}

/// What a feeder sends at once: mostly the units of one message, in order.
#[derive(Debug, Default)]
pub struct Portion {
    /// Tracks, units and faults.
    pub outputs: Vec<Output>,
    /// Messages, tags or packets that they came in.
    pub messages: u32,
    /// Packets that never came.
    pub lost: u64,
    /// Bytes that came from the network for them.
    pub bytes: u64,
}

impl Portion {
    /// Bytes that it holds.
    fn size(&self) -> usize {
        let sizes = self.outputs.iter().map(|output| match output {
            Output::Unit(unit) => unit.data.len(),
            _ => 0,
        });
        sizes.sum()
    }
}

/// The stream is closed: nothing more is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream was closed")]
pub struct Closed;

/// What a shard hears of a feeder.
pub(crate) enum News {
    /// Units, with the credit that they use up until they are handled.
    Portion(Portion, OwnedSemaphorePermit),
    /// The connection that carries the stream stands; its other end, if it has an address.
    Connected(Option<SocketAddr>),
    /// What carries the stream from now on, as snapshots tell it.
    CarriedBy(Transport, &'static str),
    /// It ended; what else there is to say.
    Disconnected(Vec<(&'static str, String)>),
    /// An event of the source's own.
    Told(Kind, Vec<(&'static str, String)>),
    /// The stream is over; why, as a sentence and as a word.
    Ended(String, &'static str),
}

/// The shard's end: while it lives, the stream does.
pub(crate) struct Intake {
    credit: Arc<Semaphore>,
    _alive: watch::Sender<()>,
}

impl Drop for Intake {
    fn drop(&mut self) {
        self.credit.close();
    }
}

/// Feeds one stream; see the module. The stream ends with it.
pub struct Feeder {
    receiver: u64,
    inbox: Arc<Inbox>,
    credit: Arc<Semaphore>,
    alive: watch::Receiver<()>,
    pace: Pace,
    reason: Option<(String, &'static str)>,
}

impl Feeder {
    /// A feeder of stream `receiver`, which lives on the shard behind `inbox`, and the end to hand to it.
    pub(crate) fn new(receiver: u64, inbox: Arc<Inbox>, bits_per_second: u64) -> (Self, Intake) {
        let credit = Arc::new(Semaphore::new(CREDIT as usize));
        let (sender, alive) = watch::channel(());
        let pace = Pace::new(clock::now(), bits_per_second);
        let intake = Intake { credit: Arc::clone(&credit), _alive: sender };
        (Self { receiver, inbox, credit, alive, pace, reason: None }, intake)
    }

    /// The stream's id.
    pub fn id(&self) -> u64 {
        self.receiver
    }

    /// Hands a portion to the stream; waits while too much is on its way, or the stream is above its bandwidth.
    pub async fn send(&mut self, portion: Portion) -> Result<(), Closed> {
        let bytes = portion.bytes;
        let size = u32::try_from(portion.size()).unwrap_or(CREDIT).clamp(1, CREDIT);
        let credit = Arc::clone(&self.credit).acquire_many_owned(size).await.map_err(|_| Closed)?;
        self.push(News::Portion(portion, credit));
        let rest = self.pace.spend(clock::now(), bytes);
        if !rest.is_zero() && timeout(rest, self.closed()).await.is_ok() {
            return Err(Closed);
        }
        Ok(())
    }

    /// What carries the stream stands: event `connected`. It has a peer unless it is a program.
    pub fn connected(&self, peer: impl Into<Option<SocketAddr>>) {
        self.push(News::Connected(peer.into()));
    }

    /// What carries the stream turned out, or is another thing from now on.
    pub fn carried_by(&self, transport: Transport, payload: &'static str) {
        self.push(News::CarriedBy(transport, payload));
    }

    /// That connection ended, and the source goes on: event `disconnected`, with `detail` behind the peer.
    pub fn disconnected(&self, detail: Vec<(&'static str, String)>) {
        self.push(News::Disconnected(detail));
    }

    /// Raises an event of the source's own, in order with what the stream raises.
    pub fn tell(&self, kind: Kind, detail: Vec<(&'static str, String)>) {
        self.push(News::Told(kind, detail));
    }

    /// Completes when the stream was closed from outside.
    pub fn closed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut alive = self.alive.clone();
        async move {
            // Nothing is ever sent: it changes by ending.
            let _ = alive.changed().await;
        }
    }

    /// Does `work`, unless the stream is closed from outside before it is done.
    pub async fn unless_closed<T>(&self, work: impl Future<Output = T>) -> Result<T, Closed> {
        let (mut work, mut closed) = (pin!(work), pin!(self.closed()));
        poll_fn(|cx| match work.as_mut().poll(cx) {
            Poll::Ready(done) => Poll::Ready(Ok(done)),
            Poll::Pending => closed.as_mut().poll(cx).map(|()| Err(Closed)),
        })
        .await
    }

    /// Ends the stream: events `disconnected`, if a connection stood, and `ended`. `cause` is a word that does not change.
    pub fn close(mut self, reason: impl Into<String>, cause: &'static str) {
        self.reason = Some((reason.into(), cause));
    }

    fn push(&self, news: News) {
        self.inbox.push(Command::Feed { receiver: self.receiver, news });
    }
}

impl Drop for Feeder {
    fn drop(&mut self) {
        let gone = || ("the source is gone".to_owned(), "source_gone");
        let (reason, cause) = self.reason.take().unwrap_or_else(gone);
        self.push(News::Ended(reason, cause));
    }
}

/// The bandwidth of one source: each byte takes its time, and a source that was slow may catch up for a moment.
struct Pace {
    nanos_per_byte: u64,
    paid_until: Instant,
}

impl Pace {
    fn new(now: Instant, bits_per_second: u64) -> Self {
        Self { nanos_per_byte: 8_000_000_000 / bits_per_second.max(1), paid_until: now }
    }

    /// Takes `bytes` that came; how long to rest before the next ones.
    fn spend(&mut self, now: Instant, bytes: u64) -> Duration {
        let cost = Duration::from_nanos(bytes.saturating_mul(self.nanos_per_byte));
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        self.paid_until = self.paid_until.max(earliest) + cost;
        self.paid_until.saturating_duration_since(now)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use wire::media::{AccessUnit, Kind as TrackKind, Ticks};

    use super::*;

    fn portion(size: usize) -> Portion {
        let data = Bytes::from(vec![0; size]);
        let (kind, dts) = (TrackKind::Audio, Ticks(0));
        let unit = AccessUnit { kind, dts, pts: dts, key: true, data, tracks: Arc::default() };
        Portion { outputs: vec![Output::Unit(unit)], messages: 1, ..Portion::default() }
    }

    #[test]
    fn a_flood_waits_for_credit_and_a_closed_stream_takes_nothing() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let inbox = Arc::new(Inbox::new().unwrap());
            let (mut feeder, intake) = Feeder::new(1, Arc::clone(&inbox), u64::MAX);
            let moment = Duration::from_millis(20);
            for _ in 0..4 {
                feeder.send(portion(1 << 20)).await.unwrap();
            }
            assert!(timeout(moment, feeder.send(portion(1))).await.is_err(), "4 MiB are on their way");
            drop(inbox.take());
            feeder.send(portion(64 << 20)).await.expect("a large one goes alone");
            assert!(timeout(moment, feeder.send(portion(1))).await.is_err());
            assert!(timeout(moment, feeder.closed()).await.is_err());
            drop(intake);
            feeder.closed().await;
            assert_eq!(feeder.send(portion(1)).await, Err(Closed));
            feeder.close("enough", "closed");
            let last = inbox.take().pop_back();
            assert!(
                matches!(last, Some(Command::Feed { news: News::Ended(reason, "closed"), .. }) if reason == "enough")
            );
        });
    }

    #[test]
    fn a_source_may_burst_for_a_second_and_then_keeps_its_rate() {
        let mut now = clock::now() + Duration::from_mins(1);
        let mut pace = Pace::new(now, 8_000_000);
        now += Duration::from_secs(5);
        assert_eq!(pace.spend(now, 1_000_000), Duration::ZERO, "a second's worth at once");
        assert_eq!(pace.spend(now, 500_000), Duration::from_millis(500));
        now += Duration::from_millis(500);
        assert_eq!(pace.spend(now, 0), Duration::ZERO);
        assert_eq!(
            pace.spend(now, 8_000_000),
            Duration::from_secs(8),
            "what came has come: it is rested for"
        );
    }
}
