//! Finishes files on a thread of its own: waiting until a disk has everything may take seconds, and recordings go on.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{Receiver, SyncSender, sync_channel},
    },
    thread::JoinHandle,
};

use super::{
    files::{self, Files, OpenFile},
    meters::{Meters, count},
    teller::{Reason, SliceFacts, Teller},
};

/// Files that may wait to be finished; then the writer waits too.
const WAITING_MAX: usize = 4096;

/// What is to be done, in the order it came.
pub(crate) enum Job {
    /// Finish a file.
    Finish(Finish),
    /// Tell that a recording is over, when its last file was told of; so many frames are in none.
    End { teller: Arc<Teller>, reason: Reason, lost: u64 },
}

/// A file that nothing more is written to.
pub(crate) struct Finish {
    pub(crate) file: Box<dyn OpenFile>,
    pub(crate) part: PathBuf,
    pub(crate) work: Work,
    pub(crate) teller: Arc<Teller>,
}

pub(crate) enum Work {
    /// It has frames: give it its head and its name.
    Publish { head: Vec<u8>, facts: Box<SliceFacts> },
    /// It has none.
    Remove,
}

pub(crate) struct Closer {
    pub(crate) jobs: SyncSender<Job>,
    pub(crate) thread: JoinHandle<()>,
}

impl Closer {
    pub(crate) fn start(files: Arc<dyn Files>, meters: Arc<Meters>) -> io::Result<Self> {
        let (jobs, waiting) = sync_channel(WAITING_MAX);
        let thread = std::thread::Builder::new()
            .name("record-close".to_owned())
            .spawn(move || run(&*files, &meters, &waiting))?;
        Ok(Self { jobs, thread })
    }
}

fn run(files: &dyn Files, meters: &Meters, waiting: &Receiver<Job>) {
    for job in waiting {
        close(files, meters, job);
    }
}

/// Does one job.
pub(crate) fn close(files: &dyn Files, meters: &Meters, job: Job) {
    match job {
        Job::Finish(file) => finish(files, meters, file),
        Job::End { teller, reason, lost } => teller.ended(reason, lost),
    }
}

/// Finishes one file and tells of it.
fn finish(files: &dyn Files, meters: &Meters, mut job: Finish) {
    let result = match &mut job.work {
        Work::Remove => files.remove(&job.part).map(|()| None),
        Work::Publish { head, facts } => publish(files, &mut *job.file, &job.part, head, facts).map(Some),
    };
    match (result, job.work) {
        (Ok(Some(path)), Work::Publish { facts, .. }) => {
            count(&meters.slices, 1);
            job.teller.slice(&path, &facts);
        }
        (Ok(_), _) => {}
        (Err(error), work) => {
            count(&meters.failures, 1);
            let Work::Publish { facts, .. } = work else { return };
            let mut lost = facts.lost;
            // What is on the disk stays there, to be salvaged; but its directory may be gone.
            if !files.exists(&job.part) {
                count(&meters.lost, facts.frames);
                lost += facts.frames;
            }
            job.teller.failed(format!("cannot finish {}: {error}", job.part.display()), lost);
        }
    }
}

fn publish(
    files: &dyn Files,
    file: &mut dyn OpenFile,
    part: &std::path::Path,
    head: &[u8],
    facts: &mut SliceFacts,
) -> io::Result<PathBuf> {
    if facts.reason == Reason::Failed {
        // A write may have stopped in the middle.
        file.truncate(facts.bytes)?;
    }
    file.rewrite(head)?;
    file.sync()?;
    files::publish(files, part, &mut facts.name)
}
