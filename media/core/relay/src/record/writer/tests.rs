//! The writer with its threads, on a disk in memory that hangs or breaks.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, atomic::Ordering},
    time::{Duration, Instant},
};

use wire::media::VideoCodec;

use super::Writer;
use crate::{
    events::{EventQueue, Kind as EventKind},
    record::{
        calendar::Calendar,
        meters::Meters,
        queue::{BYTES_MAX, Queue, Tap},
        recording::Recording,
        teller::Teller,
        testing::{self, Disk, Source, number, units_in},
    },
    table::lock,
};

/// A writer with its threads, on a disk in memory.
struct Running {
    disk: Disk,
    events: Arc<EventQueue>,
    meters: Arc<Meters>,
    writer: Writer,
    queues: Arc<Mutex<HashMap<u64, Arc<Queue>>>>,
}

impl Running {
    fn new() -> Self {
        let (disk, meters) = (Disk::default(), Arc::<Meters>::default());
        let queues = Arc::default();
        let writer = Writer::start(Arc::new(disk.clone()), Arc::clone(&meters), Arc::clone(&queues)).unwrap();
        Self { disk, events: Arc::new(EventQueue::new().unwrap()), meters, writer, queues }
    }

    fn record(&self, id: u64) -> Tap {
        let teller = Arc::new(Teller::new(Arc::clone(&self.events), &testing::entry(), id, String::new()));
        let queue = Arc::new(Queue::new(Arc::clone(&self.meters)));
        let calendar = Calendar { slice_ms: 60_000, utc_offset_ms: 0 };
        let directory = format!("/{id}").into();
        lock(&self.queues).insert(id, Arc::clone(&queue));
        self.writer.add(Recording::new(
            id,
            directory,
            None,
            calendar,
            Arc::clone(&queue),
            Arc::clone(&teller),
        ));
        Tap::new(queue, teller)
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "what must not take long is measured")]
fn a_disk_that_hangs_costs_frames_and_never_the_shards_time() {
    let (running, mut source) = (Running::new(), Source::new(VideoCodec::H264, false));
    let tap = running.record(1);
    running.disk.set_stuck(true);
    let mut longest = Duration::ZERO;
    let big = bytes::Bytes::from(vec![0; 100_000]);
    for n in 0..1000 {
        let mut arrived = source.picture(n * 40, n % 50 == 0);
        arrived.unit.data = [&arrived.unit.data[..], &big].concat().into();
        let before = Instant::now();
        assert!(tap.put(arrived));
        longest = longest.max(before.elapsed());
    }
    assert!(longest < Duration::from_millis(500), "{longest:?}");
    assert!(
        running.events.poll(10, 0).iter().any(|event| event.kind == EventKind::RecordFailed),
        "it is told at once"
    );
    running.disk.set_stuck(false);
    drop(tap);
    running.writer.close();
    let events = running.events.poll(100, 0);
    let slice = events.iter().find(|event| event.kind == EventKind::Slice).unwrap();
    let slice: BTreeMap<_, _> = slice.detail.iter().cloned().collect();
    assert_eq!(number(&slice, "lost") + number(&slice, "frames"), 1000);
    assert!(number(&slice, "lost") > 500);
    let Meters { queue_max, queued, recordings, .. } = &*running.meters;
    assert!(queue_max.load(Ordering::Relaxed) <= BYTES_MAX as u64);
    assert_eq!((recordings.load(Ordering::Relaxed), queued.load(Ordering::Relaxed)), (0, 0));
    assert_eq!(units_in(&running.disk.files()[0].1)[..10], (0..10).collect::<Vec<_>>());
}

#[test]
fn a_panic_costs_one_recording() {
    let (running, mut source) = (Running::new(), Source::new(VideoCodec::H264, false));
    let (victim, other) = (running.record(1), running.record(2));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    running.disk.set_panics(true);
    assert!(victim.put(source.picture(0, true)));
    running.writer.wake();
    let gone = || lock(&running.queues).contains_key(&1);
    while gone() {
        std::thread::sleep(Duration::from_millis(1));
    }
    running.disk.set_panics(false);
    std::panic::set_hook(hook);
    assert!(victim.is_over());
    assert!(other.put(source.picture(40, true)));
    drop(other);
    running.writer.close();
    let kinds: Vec<_> = running.events.poll(10, 0).iter().map(|event| event.kind).collect();
    let ended = EventKind::RecordEnded;
    assert_eq!(kinds, [EventKind::RecordFailed, ended, EventKind::Slice, ended]);
}
