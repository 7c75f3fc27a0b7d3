//! Recordings as a stream: the files of one recording, one behind the other, fed at the pace of their times.
//!
//! A playback is a task that feeds its stream like any other source, so every output serves it. Where pictures stand on the
//! clock is told from the files' beginnings; between files that do not touch it jumps. Speeds other than 1 have no sound,
//! above 4 only key frames. Files are read on threads for work that blocks.

mod deck;
mod disk;
mod pace;
mod segment;
mod steering;

use std::{
    collections::HashMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    sync::mpsc,
    time::{timeout, timeout_at},
};
use wire::unpack::Output;

pub(crate) use self::steering::Standing;
use self::{
    deck::{Batch, Deck, Late},
    pace::Pace,
};
pub use self::{
    segment::{FileFacts, file_facts, init_segment, segment},
    steering::Steering,
};
use crate::{
    clock,
    config::PlayRights,
    error::Error,
    events::Kind,
    feed::{Closed, Feeder, Portion},
    table::lock,
};

/// What is due within this is sent together.
const TOGETHER: Duration = Duration::from_millis(5);
/// The position is told so often, and when something changes.
const TOLD_EVERY: Duration = Duration::from_secs(5);
/// And so often while what is to be played next is not there.
const TOLD_LATE: Duration = Duration::from_millis(500);
/// Players get so long for the last pictures.
const FAREWELL: Duration = Duration::from_millis(500);
/// What is not there yet is asked for again so often.
const AGAIN: Duration = Duration::from_millis(50);
/// Files of one playback: a week of the shortest slices.
const FILES_MAX: usize = 20_000;
/// Units without a picture or sound are asked for again, but no file has so many portions of nothing.
const EMPTY_MAX: usize = 64;

/// A file and when its first frame came, in milliseconds of the UNIX epoch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlayFile {
    /// Where it is; its ending tells its form.
    pub path: PathBuf,
    /// When its first frame came.
    pub start_ms: u64,
}

/// What a playback is asked to be.
#[derive(Debug, Clone)]
pub struct OpenPlayback {
    /// First part of the stream's name.
    pub app: String,
    /// Second part of the stream's name.
    pub name: String,
    /// In order of their beginnings.
    pub files: Vec<PlayFile>,
    /// Where to begin, in milliseconds of the UNIX epoch.
    pub position_ms: u64,
    /// Where to end; `None` is the end of the last file.
    pub end_ms: Option<u64>,
    /// How fast.
    pub speed: f64,
    /// Whether it waits before the first picture.
    pub paused: bool,
    /// Who may play.
    pub rights: PlayRights,
}

/// A wish of whoever watches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Control {
    /// Go on at the last key frame at or before this, in milliseconds of the UNIX epoch.
    Seek(u64),
    /// So many times as fast.
    Speed(f64),
    /// Delivered so many times as fast as its times say.
    Delivery(f64),
    /// Stand still, or go on.
    Pause(bool),
}

/// The slowest and the fastest.
pub(crate) const SPEEDS: std::ops::RangeInclusive<f64> = 0.25..=16.0;

/// The slowest and the fastest delivery: disks and players have a bound. Where pictures are shown faster than they came,
/// the fastest is less: see [`pace`].
pub(crate) const DELIVERIES: std::ops::RangeInclusive<f64> = 0.25..=4.0;

/// All playbacks of a core.
#[derive(Default)]
pub(crate) struct Playbacks(Mutex<HashMap<u64, Arc<Steering>>>);

impl Playbacks {
    /// A playback that is about to run: where its wishes come.
    pub(crate) fn enter(
        &self,
        receiver: u64,
        playback: &Playback,
    ) -> (Arc<Steering>, mpsc::Receiver<Control>) {
        let (steering, controls) = Steering::new(Standing {
            start_ms: playback.position_ms.max(playback.deck.start_ms()),
            position_ms: playback.position_ms,
            speed: playback.pace.speed(),
            delivery: playback.pace.delivery(),
            paused: playback.pace.is_paused(),
            ..Standing::default()
        });
        let steering = Arc::new(steering);
        lock(&self.0).insert(receiver, Arc::clone(&steering));
        (steering, controls)
    }

    /// The playback's wheel, if it is one.
    pub(crate) fn find(&self, receiver: u64) -> Option<Arc<Steering>> {
        lock(&self.0).get(&receiver).cloned()
    }

    /// Hands a wish on; an unknown playback, and one that has too many wishes to carry out, refuse it.
    pub(crate) fn control(&self, receiver: u64, control: Control) -> Result<(), Error> {
        self.find(receiver).ok_or(Error::UnknownReceiver(receiver))?.control(control).map(|_| ())
    }
}

fn check(name: &str, value: f64, all: &std::ops::RangeInclusive<f64>) -> Result<(), Error> {
    if all.contains(&value) {
        return Ok(());
    }
    Err(Error::Invalid(format!("{name} {value} is not in {} to {}", all.start(), all.end())))
}

/// A playback that can be begun.
pub(crate) struct Playback {
    deck: Deck,
    pace: Pace,
    position_ms: u64,
    /// Where it is about to go on, and whose wish that is: how many wait for it.
    sought: Option<(u64, u64)>,
    told: Option<Instant>,
}

/// What became of reading.
enum Reading {
    More,
    Late,
    End,
}

impl Playback {
    /// Checks what can be checked without the disk.
    pub(crate) fn new(wanted: &OpenPlayback) -> Result<Self, Error> {
        check("speed", wanted.speed, &SPEEDS)?;
        if wanted.files.is_empty() || wanted.files.len() > FILES_MAX {
            return Err(Error::Invalid(format!("a playback has 1 to {FILES_MAX} files")));
        }
        if !wanted.files.is_sorted_by_key(|file| file.start_ms) {
            return Err(Error::Invalid("the files are not in order".to_owned()));
        }
        let deck = Deck::new(wanted.files.clone(), wanted.end_ms)
            .ok_or_else(|| Error::Invalid("a file is neither .flv nor .mp4".to_owned()))?;
        let pace = Pace::new(wanted.speed, wanted.paused);
        Ok(Self {
            deck,
            pace,
            position_ms: wanted.position_ms,
            sought: Some((wanted.position_ms, 0)),
            told: None,
        })
    }

    /// Feeds the stream to the end of the files, or until it is closed.
    pub(crate) async fn run(
        mut self,
        playbacks: Arc<Playbacks>,
        (steering, mut controls): (Arc<Steering>, mpsc::Receiver<Control>),
        mut feeder: Feeder,
    ) {
        let (reason, cause) = match self.play(&mut feeder, &steering, &mut controls).await {
            Ok(()) => {
                let _ = feeder.unless_closed(tokio::time::sleep(FAREWELL)).await;
                ("end", "complete")
            }
            Err(Closed) => ("closed", "closed"),
        };
        lock(&playbacks.0).remove(&feeder.id());
        feeder.close(reason, cause);
    }

    async fn play(
        &mut self,
        feeder: &mut Feeder,
        steering: &Steering,
        controls: &mut mpsc::Receiver<Control>,
    ) -> Result<(), Closed> {
        self.measure(feeder, steering).await?;
        let mut empty = 0;
        loop {
            if self.sought.is_some() && !self.arrive(feeder, steering).await? {
                // Who fetches what lies there must know of it.
                let now = clock::now();
                if self.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_LATE) {
                    self.tell(feeder, now);
                }
                self.hear_for(AGAIN, feeder, steering, controls).await?;
                continue;
            }
            let now = clock::now();
            let Some(due) = self.pace.due(now) else {
                if self.pace.is_paused() && self.pace.has_units() {
                    let control = feeder.unless_closed(controls.recv()).await?.ok_or(Closed)?;
                    self.handle(feeder, steering, control).await?;
                    continue;
                }
                match self.go(feeder, None).await? {
                    Reading::More if empty < EMPTY_MAX => empty += 1,
                    Reading::More | Reading::End => {
                        self.tell(feeder, now);
                        return Ok(());
                    }
                    Reading::Late => self.hear_for(AGAIN, feeder, steering, controls).await?,
                }
                continue;
            };
            empty = 0;
            let wait = timeout_at(due.into(), controls.recv());
            if let Ok(control) = feeder.unless_closed(wait).await? {
                self.handle(feeder, steering, control.ok_or(Closed)?).await?;
                continue;
            }
            let now = clock::now();
            let portion = self.pace.take(now + TOGETHER);
            self.stand(steering);
            self.send(feeder, portion).await?;
            self.position_ms = self.pace.position_ms().unwrap_or(self.position_ms);
            if self.told.is_none_or(|told| now.saturating_duration_since(told) >= TOLD_EVERY) {
                self.tell(feeder, now);
            }
        }
    }

    async fn send(&self, feeder: &mut Feeder, outputs: Vec<Output>) -> Result<(), Closed> {
        let units = outputs.iter().filter_map(|output| match output {
            Output::Unit(unit) => Some(unit.data.len() as u64),
            _ => None,
        });
        let (messages, bytes) = units.fold((0, 0), |(count, sum), size| (count + 1, sum + size));
        feeder.send(Portion { outputs, messages, bytes, ..Portion::default() }).await
    }

    /// Finds out where the last file ends.
    async fn measure(&mut self, feeder: &Feeder, steering: &Steering) -> Result<(), Closed> {
        let deck = std::mem::take(&mut self.deck);
        let work = tokio::task::spawn_blocking(move || (deck.end_ms(), deck));
        // It fails if reading panicked: then the playback is over.
        let (end_ms, deck) = feeder.unless_closed(work).await?.map_err(|_| Closed)?;
        self.deck = deck;
        steering.update(|standing| standing.end_ms = end_ms.filter(|end_ms| *end_ms > standing.start_ms));
        Ok(())
    }

    /// Tells those who steer where it stands.
    fn stand(&mut self, steering: &Steering) {
        let next = self.pace.next_out_position();
        let (speed, delivery, paused) = (self.pace.speed(), self.pace.delivery(), self.pace.is_paused());
        steering.update(|standing| {
            (standing.speed, standing.delivery, standing.paused) = (speed, delivery, paused);
            if let Some((at, position_ms)) = next {
                (standing.at, standing.position_ms) = (at, position_ms);
            }
        });
    }

    async fn handle(
        &mut self,
        feeder: &mut Feeder,
        steering: &Steering,
        control: Control,
    ) -> Result<(), Closed> {
        match control {
            Control::Seek(position_ms) => {
                // It is carried out once what lies there is there; an earlier one is carried out by it.
                let waiting = self.sought.map_or(0, |(_, waiting)| waiting);
                self.jump(position_ms, waiting + 1);
                return Ok(());
            }
            Control::Speed(speed) => {
                let thinned = self.pace.set_speed(speed);
                // What was read may lack pictures, or have those that are not wanted.
                if thinned && self.sought.is_none() {
                    self.jump(self.position_ms, 0);
                    self.arrive(feeder, steering).await?;
                }
            }
            Control::Delivery(delivery) => self.pace.set_delivery(delivery),
            Control::Pause(paused) => self.pace.set_paused(paused),
        }
        self.stand(steering);
        steering.update(|standing| standing.done += 1);
        self.tell(feeder, clock::now());
        Ok(())
    }

    fn jump(&mut self, position_ms: u64, waiting: u64) {
        self.position_ms = position_ms;
        self.pace.handle_jump();
        self.sought = Some((position_ms, waiting));
    }

    /// Goes where it is sought, if what lies there is there; false if it is not yet.
    async fn arrive(&mut self, feeder: &mut Feeder, steering: &Steering) -> Result<bool, Closed> {
        let Some((position_ms, waiting)) = self.sought else { return Ok(true) };
        if matches!(self.go(feeder, Some(position_ms)).await?, Reading::Late) {
            return Ok(false);
        }
        self.sought = None;
        // Who is told of the tracks can come though nothing moves yet.
        let tracks = self.pace.announce();
        self.send(feeder, tracks).await?;
        self.stand(steering);
        if waiting > 0 {
            self.position_ms = self.pace.next_position_ms().unwrap_or(position_ms);
            steering.update(|standing| {
                standing.done += waiting;
                standing.sought = standing.at;
            });
            self.tell(feeder, clock::now());
        }
        Ok(true)
    }

    /// Carries wishes out while something else is waited for.
    async fn hear_for(
        &mut self,
        time: Duration,
        feeder: &mut Feeder,
        steering: &Steering,
        controls: &mut mpsc::Receiver<Control>,
    ) -> Result<(), Closed> {
        if let Ok(control) = feeder.unless_closed(timeout(time, controls.recv())).await? {
            self.handle(feeder, steering, control.ok_or(Closed)?).await?;
        }
        Ok(())
    }

    /// Reads on, or from another position.
    async fn go(&mut self, feeder: &Feeder, position_ms: Option<u64>) -> Result<Reading, Closed> {
        let keys_only = self.pace.keys_only();
        let mut deck = std::mem::take(&mut self.deck);
        let work = tokio::task::spawn_blocking(move || {
            let batch = match position_ms {
                Some(position_ms) => deck.seek(position_ms, keys_only),
                None => deck.next(keys_only),
            };
            (deck, batch)
        });
        // It fails if reading panicked: then the playback is over.
        let (deck, batch) = feeder.unless_closed(work).await?.map_err(|_| Closed)?;
        self.deck = deck;
        for problem in self.deck.take_problems() {
            feeder.tell(
                Kind::PlaybackPosition,
                vec![("position_ms", self.position_ms.to_string()), ("problem", problem)],
            );
        }
        let Batch { start_ms, fresh, duration, units } = match batch {
            Ok(Some(batch)) => batch,
            Ok(None) => return Ok(Reading::End),
            Err(Late) => return Ok(Reading::Late),
        };
        self.pace.handle_units(start_ms, fresh, duration, units);
        Ok(Reading::More)
    }

    fn tell(&mut self, feeder: &Feeder, now: Instant) {
        self.told = Some(now);
        feeder.tell(
            Kind::PlaybackPosition,
            vec![
                ("position_ms", self.position_ms.to_string()),
                ("speed", self.pace.speed().to_string()),
                ("delivery", self.pace.delivery().to_string()),
                ("paused", u8::from(self.pace.is_paused()).to_string()),
            ],
        );
    }
}
