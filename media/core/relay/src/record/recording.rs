//! One recording: which unit goes to which file, and what happens when there is none.

use std::{
    io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use wire::{
    file::Form,
    media::{Kind, Ticks},
};

use super::{
    calendar::Calendar,
    closer::Job,
    files::Files,
    meters::{Meters, count},
    queue::{Arrived, End, Queue},
    slice::{Remains, Slice, sound_duration},
    teller::{Reason, Teller},
};
use crate::hub::gop::begins;

/// Bytes taken from a queue at once; then it is the next recording's turn.
const BATCH_BYTES: usize = 1024 * 1024;

/// After a failure the disk is left alone so long, and twice as long after each further one.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// Sound further behind the picture than this does not decide where a file's time begins.
const SOUND_BEHIND_MAX: Ticks = Ticks::from_millis(1000);

/// What a recording writes with.
pub(crate) struct World<'a> {
    pub(crate) files: &'a dyn Files,
    pub(crate) meters: &'a Meters,
    /// Takes files that are to be finished.
    pub(crate) close: &'a dyn Fn(Job),
}

/// How a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// All that waited was taken.
    Idle,
    /// More waits.
    Busy,
    /// The recording is over.
    Over,
}

pub(crate) struct Recording {
    pub(crate) id: u64,
    directory: PathBuf,
    form: Option<Form>,
    calendar: Calendar,
    queue: Arc<Queue>,
    teller: Arc<Teller>,
    slice: Option<Slice>,
    /// Something came that one can begin with: from here on every frame counts.
    begun: bool,
    /// Frames in no file, since the last one that was told of.
    lost: u64,
    retry_at: Option<Instant>,
    retry: Duration,
    /// When the next sound is due, on the stream's clock.
    sound_due: Option<Ticks>,
}

impl Recording {
    pub(crate) fn new(
        id: u64,
        directory: PathBuf,
        form: Option<Form>,
        calendar: Calendar,
        queue: Arc<Queue>,
        teller: Arc<Teller>,
    ) -> Self {
        Self {
            id,
            directory,
            form,
            calendar,
            queue,
            teller,
            slice: None,
            begun: false,
            lost: 0,
            retry_at: None,
            retry: RETRY_MIN,
            sound_due: None,
        }
    }

    /// Takes what waits, and lets time pass.
    pub(crate) fn step(&mut self, now: Instant, world: &World<'_>) -> Step {
        let batch = self.queue.take(BATCH_BYTES);
        self.sound_due = batch.earliest.or(self.sound_due);
        for arrived in &batch.units {
            self.handle_unit(now, arrived, world);
        }
        if batch.broken {
            self.handle_break(now, world);
        }
        if let Some((end, lost)) = batch.end {
            self.lose(lost, world.meters);
            self.end(now, end, world);
            return Step::Over;
        }
        self.handle_timeout(now, world);
        if batch.more { Step::Busy } else { Step::Idle }
    }

    fn handle_unit(&mut self, now: Instant, arrived: &Arrived, world: &World<'_>) {
        if arrived.after_break {
            self.handle_break(now, world);
        }
        self.lose(arrived.lost_before, world.meters);
        if begins(&arrived.unit) {
            self.begun = true;
            let reason = self.slice.as_ref().and_then(|slice| slice.ends_before(arrived));
            let remains = match reason {
                Some(reason) => self.finish(now, reason, Some(arrived.unit.dts), world),
                None => Remains::default(),
            };
            if self.slice.is_none() {
                self.open(now, arrived, &remains, world);
                return self.note_sound(arrived);
            }
        }
        if self.slice.is_some() {
            self.push(now, arrived, world);
        } else if self.begun {
            self.lose(1, world.meters);
        }
        self.note_sound(arrived);
    }

    /// Begins a file with `first`, unless the disk is to be left alone.
    fn open(&mut self, now: Instant, first: &Arrived, remains: &Remains, world: &World<'_>) {
        let frames = 1 + remains.held.len() as u64;
        if self.retry_at.is_some_and(|at| now < at) {
            return self.lose(frames, world.meters);
        }
        let base = self.base(first, &remains.held);
        let form = Form::wished(self.form, &first.unit.tracks);
        let (files, directory) = (world.files, &self.directory);
        match Slice::create(files, directory, form, self.calendar, first, base, remains.wall_ms) {
            Ok(slice) => {
                self.slice = Some(slice);
                self.push(now, first, world);
                for arrived in &remains.held {
                    self.push(now, arrived, world);
                }
            }
            Err(error) => {
                self.lose(frames, world.meters);
                let what = format!("cannot begin a file in {}: {error}", self.directory.display());
                self.back_off(now, what, world);
            }
        }
    }

    fn push(&mut self, now: Instant, arrived: &Arrived, world: &World<'_>) {
        let Some(slice) = &mut self.slice else { return self.lose(1, world.meters) };
        match slice.push(world.meters, arrived) {
            Ok(lost) => self.lose(lost, world.meters),
            Err(error) => self.fail(now, &error, world),
        }
    }

    /// Where the times of a file that begins with `first` count from. Sound mostly runs a little behind the picture:
    /// what comes next of it may be older than the key frame, and must not fall before zero.
    fn base(&self, first: &Arrived, held: &[Arrived]) -> Ticks {
        let key = first.unit.dts;
        let sound = self.sound_due.filter(|due| *due < key && key - *due < SOUND_BEHIND_MAX);
        let held = held.first().map(|arrived| arrived.unit.dts);
        [sound, held].into_iter().flatten().fold(key, Ticks::min)
    }

    fn note_sound(&mut self, arrived: &Arrived) {
        let unit = &arrived.unit;
        if unit.kind == Kind::Audio
            && let Some(track) = &unit.tracks.audio
        {
            self.sound_due = Some(unit.dts + sound_duration(track, unit));
        }
    }

    /// The source broke off: who knows when it comes back, and with what clock. The file need not wait for that.
    fn handle_break(&mut self, now: Instant, world: &World<'_>) {
        let remains = self.finish(now, Reason::Broken, None, world);
        self.lose(remains.held.len() as u64, world.meters);
        self.sound_due = None;
    }

    fn handle_timeout(&mut self, now: Instant, world: &World<'_>) {
        let Some(slice) = &mut self.slice else { return };
        if slice.is_idle(now) {
            let remains = self.finish(now, Reason::Cut, None, world);
            return self.lose(remains.held.len() as u64, world.meters);
        }
        if let Err(error) = slice.handle_timeout(now, world.meters) {
            self.fail(now, &error, world);
        }
    }

    /// Writes the rest of the open file and has it finished.
    fn finish(&mut self, now: Instant, reason: Reason, end: Option<Ticks>, world: &World<'_>) -> Remains {
        let Some(slice) = &mut self.slice else { return Remains::default() };
        if let Err(error) = slice.finish(world.meters, end) {
            self.fail(now, &error, world);
            return Remains::default();
        }
        self.retry = RETRY_MIN;
        self.retry_at = None;
        self.close(reason, world)
    }

    /// The disk failed: what is whole on it is kept, and the next key frame after a while begins another file.
    fn fail(&mut self, now: Instant, error: &io::Error, world: &World<'_>) {
        let Some(slice) = &self.slice else { return };
        self.lose(slice.unsafe_frames(), world.meters);
        let what = format!("cannot write in {}: {error}", self.directory.display());
        self.back_off(now, what, world);
        let remains = self.close(Reason::Failed, world);
        self.lose(remains.held.len() as u64, world.meters);
    }

    fn close(&mut self, reason: Reason, world: &World<'_>) -> Remains {
        let Some(slice) = self.slice.take() else { return Remains::default() };
        // Without a frame on the disk there will be no word of this file, and the loss is told of with the next one.
        let lost = if slice.has_frames() { std::mem::take(&mut self.lost) } else { 0 };
        let (job, remains) = slice.into_job(reason, lost, &self.teller);
        (world.close)(Job::Finish(job));
        remains
    }

    fn back_off(&mut self, now: Instant, what: String, world: &World<'_>) {
        count(&world.meters.failures, 1);
        self.teller.failed(what, self.lost);
        self.retry_at = Some(now + self.retry);
        self.retry = (self.retry * 2).min(RETRY_MAX);
    }

    fn lose(&mut self, frames: u64, meters: &Meters) {
        self.lost += frames;
        count(&meters.lost, frames);
    }

    /// Our own code failed; the open file is left to be salvaged.
    pub(crate) fn give_up(&mut self, world: &World<'_>) {
        count(&world.meters.failures, 1);
        self.teller.failed("internal error: the recording was given up".to_owned(), self.lost);
        self.tell_end(Reason::Failed, world);
    }

    fn tell_end(&self, reason: Reason, world: &World<'_>) {
        (world.close)(Job::End { teller: Arc::clone(&self.teller), reason, lost: self.lost });
    }

    /// Nothing more comes.
    fn end(&mut self, now: Instant, end: End, world: &World<'_>) {
        let reason = match end {
            End::Stopped => Reason::Stopped,
            End::Ended => Reason::Ended,
        };
        let remains = self.finish(now, reason, None, world);
        self.lose(remains.held.len() as u64, world.meters);
        self.tell_end(reason, world);
    }
}
