//! How a player runs: PLAY with a part and a speed, and PAUSE (RFC 2326 §10.5, §10.6). On a playback they steer it, for all
//! who watch it; on a live stream they begin and stop what this player is sent.

use std::{
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, Instant},
};

use wire::{
    media::Ticks,
    rtsp::{Moment, Played, Range, Wish},
};

use crate::playback::{Control, DELIVERIES, SPEEDS, Standing, Steering};

/// PLAY is answered with the first packet, or after so long without.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a player is sent at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    Running,
    Paused,
    /// It runs when the playback has done so many wishes; `afresh`: with the picture that was sought.
    Begins {
        done: u64,
        afresh: bool,
        since: Instant,
        answered: bool,
    },
}

/// One player's state.
#[derive(Debug)]
pub(crate) struct Run {
    /// `None`: the stream is live.
    playback: Option<Arc<Steering>>,
    flow: Flow,
    /// It asked by the clock, and is told so.
    by_clock: bool,
    /// It asked how fast it is delivered, and is told so.
    by_speed: bool,
}

impl Run {
    pub(crate) fn new(playback: Option<Arc<Steering>>) -> Self {
        Self { playback, flow: Flow::Running, by_clock: false, by_speed: false }
    }

    pub(crate) fn is_playback(&self) -> bool {
        self.playback.is_some()
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.flow == Flow::Paused
    }

    pub(crate) fn is_running(&self) -> bool {
        self.flow == Flow::Running
    }

    /// Whether what it was sent so far has no sequel.
    pub(crate) fn begins_afresh(&self) -> bool {
        matches!(self.flow, Flow::Begins { afresh: true, .. })
    }

    /// Whether it may begin with what goes out at `time`.
    pub(crate) fn may_begin(&self, time: Ticks) -> bool {
        match self.flow {
            Flow::Running => true,
            Flow::Paused => false,
            Flow::Begins { afresh, .. } => {
                self.is_done() && (!afresh || self.standing().is_none_or(|standing| time >= standing.sought))
            }
        }
    }

    /// Whether the playback did what was wished.
    pub(crate) fn is_done(&self) -> bool {
        let Flow::Begins { done, .. } = self.flow else { return true };
        self.standing().is_none_or(|standing| standing.done >= done)
    }

    /// Whether PLAY is to be answered without a packet.
    pub(crate) fn is_overdue(&self, now: Instant) -> bool {
        matches!(self.flow, Flow::Begins { since, answered: false, .. } if now.saturating_duration_since(since) >= PATIENCE)
    }

    /// PLAY. It runs at once, or begins soon; the status if it cannot. `joins`: it is the first one on its connection.
    pub(crate) fn play(&mut self, now: Instant, wish: &Wish, joins: bool) -> Result<(), u16> {
        self.by_speed = wish.speed.is_some();
        let Some(playback) = &self.playback else {
            if self.is_paused() {
                self.begin(now, 0, false);
            }
            return Ok(());
        };
        let standing = playback.standing();
        let seek = target(&standing, wish, joins)?;
        // Players name no scale and no speed when they mean the normal ones.
        let normal = (seek.is_some() && !joins).then_some(1.0);
        let speed = wish.scale.map(|scale| supported(scale, &SPEEDS)).or(normal);
        let delivery = wish.speed.map(|speed| supported(speed, &DELIVERIES)).or(normal);
        let differs =
            |wanted: Option<f64>, now: f64| wanted.filter(|wanted| (wanted - now).abs() > f64::EPSILON);
        // What others wished may still be to come: where it stands tells nothing then.
        let settled = playback.is_settled();
        let keeps = settled && wish.speed.is_none();
        let delivery = delivery.filter(|_| !keeps || differs(delivery, standing.delivery).is_some());
        let changes = !settled || delivery.is_some() || differs(speed, standing.speed).is_some();
        if !joins && self.is_running() && seek.is_none() && !changes && !standing.paused {
            return Ok(());
        }
        let wishes = [
            speed.map(Control::Speed),
            delivery.map(Control::Delivery),
            seek.map(Control::Seek),
            Some(Control::Pause(false)), // whatever others wished meanwhile
        ];
        let mut done = 0;
        for control in wishes.into_iter().flatten() {
            done = playback.control(control).map_err(|_| 503_u16)?;
        }
        self.by_clock = matches!(wish.range.and_then(|range| range.start), Some(Moment::Clock(_)));
        self.begin(now, done, seek.is_some());
        Ok(())
    }

    fn begin(&mut self, now: Instant, done: u64, afresh: bool) {
        self.flow = Flow::Begins { done, afresh, since: now, answered: false };
    }

    /// PAUSE: where it stands; the status if it cannot.
    pub(crate) fn pause(&mut self) -> Result<Option<Range>, u16> {
        if let Some(playback) = &self.playback {
            playback.control(Control::Pause(true)).map_err(|_| 503_u16)?;
        }
        self.flow = Flow::Paused;
        Ok(self
            .standing()
            .map(|standing| Range { start: Some(self.moment(&standing, standing.position_ms)), end: None }))
    }

    /// What is sent from `time` on, or from where it stands.
    pub(crate) fn played(&self, time: Option<Ticks>) -> Played {
        let Some(standing) = self.standing() else {
            return Played { range: Range::NOW, scale: 1.0, speed: self.by_speed.then_some(1.0) };
        };
        let position_ms = time.map_or(standing.position_ms, |time| standing.position(time));
        let start = Some(self.moment(&standing, position_ms));
        let end = standing.end_ms.map(|end_ms| self.moment(&standing, end_ms));
        let speed = self.by_speed.then_some(standing.delivery);
        Played { range: Range { start, end }, scale: standing.speed, speed }
    }

    /// The first packet is there, or nothing came for too long: true if PLAY is still to be answered.
    pub(crate) fn set_begun(&mut self, with_packet: bool) -> bool {
        let Flow::Begins { answered, .. } = &mut self.flow else { return false };
        let due = !std::mem::replace(answered, true);
        if with_packet {
            self.flow = Flow::Running;
        }
        due
    }

    /// The values of parameters, one a line; the status if there is no such parameter (§10.8).
    pub(crate) fn tell(&self, names: &[String]) -> Result<String, u16> {
        let played = self.played(None);
        let line = |name: &String| {
            let value = match name.as_str() {
                "position" => played.range.start.map(|start| start.to_string()),
                "scale" => Some(played.scale.to_string()),
                "speed" => Some(self.standing().map_or(1.0, |standing| standing.delivery).to_string()),
                _ => None,
            };
            value.map(|value| format!("{name}: {value}\r\n")).ok_or(451)
        };
        names.iter().map(line).collect()
    }

    fn standing(&self) -> Option<Standing> {
        self.playback.as_ref().map(|playback| playback.standing())
    }

    fn moment(&self, standing: &Standing, position_ms: u64) -> Moment {
        if self.by_clock {
            return Moment::Clock(position_ms);
        }
        Moment::Npt(position_ms.saturating_sub(standing.start_ms))
    }
}

/// The whole of a stream, as it is described.
pub(crate) fn whole(playback: Option<&Arc<Steering>>) -> Range {
    let Some(playback) = playback else { return Range::NOW };
    let Standing { start_ms, end_ms, .. } = playback.standing();
    let length = |end_ms: u64| Moment::Npt(end_ms.saturating_sub(start_ms));
    Range { start: Some(Moment::Npt(0)), end: end_ms.map(length) }
}

/// Where it is to go on, if elsewhere, in milliseconds of the UNIX epoch; 457 if that is nowhere in it.
fn target(standing: &Standing, wish: &Wish, joins: bool) -> Result<Option<u64>, u16> {
    let Some(Range { start, end }) = wish.range else { return Ok(None) };
    let position = |moment: Moment| match moment {
        Moment::Now => None,
        Moment::Npt(ms) => Some(standing.start_ms.saturating_add(ms)),
        Moment::Clock(ms) => Some(ms),
    };
    let (from, to) = (start.and_then(position), end.and_then(position));
    let end_ms = standing.end_ms.unwrap_or(u64::MAX);
    if from.is_some_and(|from| from < standing.start_ms || from >= end_ms)
        || to.is_some_and(|to| to <= from.unwrap_or(standing.start_ms))
    {
        return Err(457);
    }
    // Players begin from 0 whether they are asked to or not: who joins does not turn back the others.
    Ok(from.filter(|_| !(joins && start == Some(Moment::Npt(0)))))
}

/// The nearest speed that there is; nothing runs backwards.
fn supported(wanted: f64, all: &RangeInclusive<f64>) -> f64 {
    if wanted <= 0.0 { 1.0 } else { wanted.clamp(*all.start(), *all.end()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    const STANDING: Standing = Standing {
        done: 0,
        sought: Ticks(0),
        at: Ticks(0),
        position_ms: 12_000,
        speed: 2.0,
        delivery: 1.0,
        paused: false,
        start_ms: 10_000,
        end_ms: Some(70_000),
    };

    fn wish(range: &str, scale: Option<f64>) -> Wish {
        Wish { range: (!range.is_empty()).then(|| Range::parse(range).unwrap()), scale, speed: None }
    }

    #[test]
    fn parts_are_found_in_the_playback() {
        let found = |range: &str, joins| target(&STANDING, &wish(range, None), joins);
        assert_eq!(found("npt=12.5-", false), Ok(Some(22_500)));
        assert_eq!(found("clock=19700101T000030Z-", true), Ok(Some(30_000)));
        assert_eq!((found("npt=0-", true), found("npt=0-", false)), (Ok(None), Ok(Some(10_000))));
        assert_eq!(
            (found("", false), found("npt=now-", false), found("npt=-5", false)),
            (Ok(None), Ok(None), Ok(None))
        );
        for wrong in ["npt=60-", "npt=20-20", "npt=20-10", "clock=19700101T000009Z-", "npt=9999999999-"] {
            assert_eq!(found(wrong, false), Err(457), "{wrong}");
        }
    }

    #[test]
    fn speeds_that_there_are_not_become_the_nearest() {
        let found = [0.01, 0.5, 99.0, -2.0, 0.0].map(|scale| supported(scale, &SPEEDS).to_string());
        assert_eq!(found, ["0.25", "0.5", "16", "1", "1"]);
    }

    #[test]
    fn what_is_wished_is_steered_and_told() {
        let now = clock::now();
        let (steering, mut controls) = Steering::with(STANDING);
        let steering = Arc::new(steering);
        let mut run = Run::new(Some(Arc::clone(&steering)));
        assert_eq!(run.play(now, &wish("npt=0-", None), true), Ok(()));
        assert_eq!(
            controls.try_recv(),
            Ok(Control::Pause(false)),
            "who joins changes neither place nor speed"
        );
        assert!(!run.is_done());
        assert_eq!(run.play(now, &wish("npt=20-", None), false), Ok(()));
        let taken: Vec<_> = std::iter::from_fn(|| controls.try_recv().ok()).collect();
        let all = [
            Control::Speed(1.0),
            Control::Delivery(1.0), // another one might be on its way
            Control::Seek(30_000),
            Control::Pause(false),
        ];
        assert_eq!(taken, all);
        let sought = Ticks::from_millis(5000);
        steering.change(Standing {
            done: 5,
            sought,
            at: sought,
            position_ms: 29_000,
            speed: 1.0,
            ..STANDING
        });
        assert!(run.is_done() && run.begins_afresh() && run.may_begin(sought));
        assert!(!run.may_begin(Ticks::from_millis(4999)), "that is from before");
        assert!(run.set_begun(true) && run.is_running());
        assert_eq!(run.played(Some(sought)).range.to_string(), "npt=19.000-60.000");
        assert_eq!(
            run.tell(&["position".into(), "scale".into()]),
            Ok("position: 19.000\r\nscale: 1\r\n".into())
        );
        assert_eq!(run.tell(&["colour".into()]), Err(451));
        assert_eq!(run.play(now, &wish("", None), false), Ok(()));
        assert!(run.is_running() && controls.try_recv().is_err(), "nothing changes");
        assert_eq!(run.pause().unwrap().unwrap().to_string(), "npt=19.000-");
        assert!(run.is_paused() && !run.may_begin(sought));
        run.play(now, &wish("", None), false).unwrap();
        assert!(!run.begins_afresh() && !run.is_overdue(now) && run.is_overdue(now + PATIENCE));
        assert!(run.set_begun(false) && !run.set_begun(true), "answered once");
    }

    #[test]
    fn a_speed_of_delivery_is_kept_apart_from_the_scale_and_told_to_who_asked() {
        let now = clock::now();
        let (steering, mut controls) = Steering::with(STANDING);
        let steering = Arc::new(steering);
        let mut run = Run::new(Some(Arc::clone(&steering)));
        let fast = Wish { speed: Some(99.0), ..Wish::default() };
        assert_eq!(run.play(now, &fast, true), Ok(()));
        let mut taken = || std::iter::from_fn(|| controls.try_recv().ok()).collect::<Vec<_>>();
        assert_eq!(taken(), [Control::Delivery(4.0), Control::Pause(false)]);
        steering.change(Standing { done: 2, delivery: 4.0, ..STANDING });
        assert_eq!((run.played(None).scale, run.played(None).speed), (2.0, Some(4.0)));
        assert_eq!(run.tell(&["speed".into()]), Ok("speed: 4\r\n".into()));
        run.set_begun(true);
        assert_eq!(run.play(now, &wish("npt=20-", Some(2.0)), false), Ok(()));
        assert!(
            taken().contains(&Control::Delivery(1.0)),
            "a part without a speed is wanted at the normal one"
        );
        assert_eq!(run.played(None).speed, None);
    }

    #[test]
    fn the_last_wish_counts_though_an_earlier_one_is_still_to_be_carried_out() {
        let now = clock::now();
        let (steering, mut controls) = Steering::with(STANDING);
        let steering = Arc::new(steering);
        let mut players = [(); 2].map(|()| Run::new(Some(Arc::clone(&steering))));
        let wishes = [(4.0, 8.0), (1.0, 2.0)];
        for (run, (speed, scale)) in players.iter_mut().zip(wishes) {
            let wish = Wish { speed: Some(speed), scale: Some(scale), ..Wish::default() };
            assert_eq!(run.play(now, &wish, false), Ok(()));
            let taken: Vec<_> = std::iter::from_fn(|| controls.try_recv().ok()).collect();
            assert_eq!(taken, [Control::Speed(scale), Control::Delivery(speed), Control::Pause(false)]);
        }
        // One that names the scale alone, which stands as it is wished so far.
        steering.change(Standing { done: 5, ..STANDING });
        players[1].set_begun(true);
        assert_eq!(players[1].play(now, &wish("", Some(2.0)), false), Ok(()));
        assert!(controls.try_recv().is_ok_and(|control| control == Control::Speed(2.0)));
    }

    #[test]
    fn a_live_stream_stops_and_goes_on_for_one_player() {
        let mut run = Run::new(None);
        run.play(clock::now(), &wish("npt=7-", Some(3.0)), true).unwrap();
        assert!(run.is_running());
        assert_eq!(run.played(None), Played { range: Range::NOW, scale: 1.0, speed: None });
        run.play(clock::now(), &Wish { speed: Some(2.0), ..Wish::default() }, false).unwrap();
        assert_eq!(run.played(None).speed, Some(1.0), "a camera delivers no faster");
        assert_eq!(run.pause(), Ok(None));
        assert!(!run.may_begin(Ticks(0)));
        run.play(clock::now(), &wish("", None), false).unwrap();
        assert!(run.may_begin(Ticks(0)) && !run.begins_afresh());
    }
}
