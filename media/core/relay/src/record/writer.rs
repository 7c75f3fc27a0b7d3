//! The thread that writes the files of all recordings. It comes by a few times a second and takes what waits: whoever
//! brings frames need not wake it.

use std::{
    collections::HashMap,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Condvar, Mutex, PoisonError, atomic::Ordering},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    closer::{Closer, Job},
    files::Files,
    meters::{Meters, count},
    queue::{End, Queue},
    recording::{Recording, Step, World},
};
use crate::{clock, table::lock};

/// The writer comes by this often.
const TURN: Duration = Duration::from_millis(200);

/// A disk that hangs is not waited for longer than this when the core closes; what it did not take can be salvaged.
const FAREWELL: Duration = Duration::from_secs(30);

#[derive(Default)]
struct Inbox {
    added: Vec<Recording>,
    awake: bool,
    closing: bool,
}

#[derive(Default)]
struct Shared {
    inbox: Mutex<Inbox>,
    bell: Condvar,
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    threads: [JoinHandle<()>; 2],
}

impl Writer {
    pub(crate) fn start(
        files: Arc<dyn Files>,
        meters: Arc<Meters>,
        queues: Arc<Mutex<HashMap<u64, Arc<Queue>>>>,
    ) -> io::Result<Self> {
        let shared: Arc<Shared> = Arc::default();
        let closer = Closer::start(Arc::clone(&files), Arc::clone(&meters))?;
        let (jobs, inbox) = (closer.jobs, Arc::clone(&shared));
        let thread = std::thread::Builder::new().name("record".to_owned()).spawn(move || {
            // The closer runs until it is gone: sending cannot fail.
            let close = |job: Job| drop(jobs.send(job));
            let world = World { files: &*files, meters: &meters, close: &close };
            run(&inbox, &world, &queues);
        })?;
        Ok(Self { shared, threads: [thread, closer.thread] })
    }

    pub(crate) fn add(&self, recording: Recording) {
        let mut inbox = lock(&self.shared.inbox);
        inbox.added.push(recording);
        inbox.awake = true;
        self.shared.bell.notify_one();
    }

    /// Lets the writer look at its recordings now.
    pub(crate) fn wake(&self) {
        lock(&self.shared.inbox).awake = true;
        self.shared.bell.notify_one();
    }

    /// Ends once every file is finished: all queues must have been ended.
    pub(crate) fn close(self) {
        lock(&self.shared.inbox).closing = true;
        self.wake();
        let end = clock::now() + FAREWELL;
        for thread in self.threads {
            while !thread.is_finished() && clock::now() < end {
                std::thread::sleep(Duration::from_millis(2));
            }
            if thread.is_finished() {
                // Its recordings' panics were caught; there is nothing else to tell.
                let _ = thread.join();
            }
        }
    }
}

fn run(shared: &Shared, world: &World<'_>, queues: &Mutex<HashMap<u64, Arc<Queue>>>) {
    let mut recordings = Vec::new();
    loop {
        let closing = wait(shared, &mut recordings, world.meters);
        let mut busy = true;
        while busy {
            busy = turn(clock::now(), &mut recordings, world, queues);
        }
        if closing && recordings.is_empty() {
            return;
        }
    }
}

/// Waits until it is time to write; whether the core closes.
fn wait(shared: &Shared, recordings: &mut Vec<Recording>, meters: &Meters) -> bool {
    let mut inbox = lock(&shared.inbox);
    while !inbox.awake && !inbox.closing {
        let (woken, timeout) = if recordings.is_empty() {
            (shared.bell.wait(inbox).unwrap_or_else(PoisonError::into_inner), false)
        } else {
            let (woken, timeout) =
                shared.bell.wait_timeout(inbox, TURN).unwrap_or_else(PoisonError::into_inner);
            (woken, timeout.timed_out())
        };
        inbox = woken;
        if timeout {
            break;
        }
    }
    inbox.awake = false;
    count(&meters.recordings, inbox.added.len() as u64);
    recordings.append(&mut inbox.added);
    inbox.closing
}

/// Lets every recording make a step; whether one has more to do. A panic costs one recording.
fn turn(
    now: Instant,
    recordings: &mut Vec<Recording>,
    world: &World<'_>,
    queues: &Mutex<HashMap<u64, Arc<Queue>>>,
) -> bool {
    let mut busy = false;
    recordings.retain_mut(|recording| {
        let step = catch_unwind(AssertUnwindSafe(|| recording.step(now, world)));
        busy |= matches!(step, Ok(Step::Busy));
        if matches!(step, Ok(Step::Busy | Step::Idle)) {
            return true;
        }
        if step.is_err() {
            recording.give_up(world);
        }
        if let Some(queue) = lock(queues).remove(&recording.id) {
            queue.end(End::Ended);
        }
        world.meters.recordings.fetch_sub(1, Ordering::Relaxed);
        false
    });
    busy
}

#[cfg(test)]
mod tests;
