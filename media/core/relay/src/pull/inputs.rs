//! The inputs of one pulled stream: the one that feeds it, and those that stand by to take over at once.

use std::{
    collections::VecDeque,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::mpsc;
use wire::{media::Kind as TrackKind, splice::Splice, unpack::Output};

use super::{
    Puller,
    connect::Judge,
    input::{Input, Note},
    order::Order,
};
use crate::{
    clock,
    events::Kind,
    feed::{Closed, Feeder, Portion},
};

/// What a pull is told while it runs.
pub(super) enum Change {
    /// Another input feeds the stream from now on.
    Switch(Box<Order>),
    /// These are kept connected.
    StandBy(Vec<Order>),
}

/// What happens next.
enum Happening {
    Change(Option<Change>),
    /// The present input told something; `None` if its task broke.
    Fed(Option<Note>),
    /// One of those that stand by did.
    Standing(usize, Option<Note>),
}

/// Feeds a stream by one input at a time.
pub(super) struct Inputs {
    puller: Arc<Puller>,
    may: Judge,
    current: Input,
    standing: Vec<Input>,
    splice: Splice,
    /// What the last input left cannot be continued by pictures that refer to others.
    awaits_key: bool,
}

impl Inputs {
    pub(super) fn new(order: Order, puller: Arc<Puller>, may: Judge) -> Self {
        let current = Input::start(Arc::new(order), Arc::clone(&puller), may);
        Self { puller, may, current, standing: Vec::new(), splice: Splice::new(), awaits_key: false }
    }

    /// Feeds until the stream is closed, or the input's task broke.
    pub(super) async fn run(
        &mut self,
        feeder: &mut Feeder,
        changes: &mut mpsc::UnboundedReceiver<Change>,
    ) -> Closed {
        loop {
            let happening = poll_fn(|cx| self.poll(cx, changes)).await;
            let done = match happening {
                Happening::Change(Some(Change::Switch(order))) => self.switch(*order, feeder).await,
                Happening::Change(Some(Change::StandBy(orders))) => {
                    self.stand_by(orders);
                    Ok(())
                }
                Happening::Fed(Some(note)) => self.handle(note, feeder).await,
                Happening::Standing(at, Some(note)) => {
                    self.handle_standing(at, note, feeder);
                    Ok(())
                }
                Happening::Standing(at, None) => {
                    self.standing.remove(at);
                    Ok(())
                }
                Happening::Change(None) | Happening::Fed(None) => Err(Closed),
            };
            if let Err(closed) = done {
                return closed;
            }
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        changes: &mut mpsc::UnboundedReceiver<Change>,
    ) -> Poll<Happening> {
        if let Poll::Ready(change) = changes.poll_recv(cx) {
            return Poll::Ready(Happening::Change(change));
        }
        for (at, input) in self.standing.iter_mut().enumerate() {
            if let Poll::Ready(note) = input.poll_note(cx) {
                return Poll::Ready(Happening::Standing(at, note));
            }
        }
        self.current.poll_note(cx).map(Happening::Fed)
    }

    /// What the present input tells is the stream.
    async fn handle(&mut self, note: Note, feeder: &mut Feeder) -> Result<(), Closed> {
        self.current.notice(&note);
        match note {
            Note::Connecting => {
                self.splice.handle_seam();
                feeder.tell(Kind::Connecting, vec![("url", self.current.order.location.to_string())]);
            }
            Note::Connected(peer) => feeder.connected(peer),
            Note::CarriedBy(transport, payload) => feeder.carried_by(transport, payload),
            Note::Portion(portion, _credit) => self.feed(portion, feeder).await?,
            Note::Failed(was_connected, mut detail) => {
                let label = &self.current.order.label;
                if !label.is_empty() {
                    detail.push(("input", label.clone()));
                }
                if was_connected {
                    feeder.disconnected(detail);
                } else {
                    feeder.tell(Kind::ConnectFailed, detail);
                }
            }
        }
        Ok(())
    }

    async fn feed(&mut self, mut portion: Portion, feeder: &mut Feeder) -> Result<(), Closed> {
        let now = clock::now();
        portion.outputs.retain_mut(|output| {
            if let Output::Unit(unit) = output
                && unit.kind == TrackKind::Video
                && self.awaits_key
            {
                self.awaits_key = !unit.key;
                if !unit.key {
                    return false;
                }
            }
            self.splice.handle_output(now, output)
        });
        feeder.send(portion).await
    }

    fn handle_standing(&mut self, at: usize, note: Note, feeder: &Feeder) {
        let input = &mut self.standing[at];
        input.notice(&note);
        let named = || vec![("input", input.order.label.clone()), ("url", input.order.location.to_string())];
        match note {
            Note::Failed(_, detail) => {
                let detail = named().into_iter().chain(detail).collect();
                feeder.tell(Kind::StandbyFailed, detail);
            }
            Note::Portion(portion, _credit) => {
                // One that connects and stays mute could not take over.
                let brings = portion.outputs.iter().any(|output| matches!(output, Output::Unit(_)));
                if brings && !std::mem::replace(&mut input.ready, true) {
                    let peer = input.peer.map(|peer| ("peer", peer.to_string()));
                    feeder.tell(Kind::StandbyConnected, named().into_iter().chain(peer).collect());
                }
                input.kept.take(portion.outputs);
            }
            Note::Connecting | Note::Connected(_) | Note::CarriedBy(..) => {}
        }
    }

    /// Those that are asked for and run go on; others begin or end.
    fn stand_by(&mut self, orders: Vec<Order>) {
        let mut before = std::mem::take(&mut self.standing);
        for order in orders.into_iter().filter(|order| *order != *self.current.order) {
            let running = before.iter().position(|input| *input.order == order);
            let input = match running {
                Some(at) => before.swap_remove(at),
                None => Input::start(Arc::new(order), Arc::clone(&self.puller), self.may),
            };
            self.standing.push(input);
        }
    }

    /// Another input takes over: at once with what it kept, if it stood by, else as soon as it connects.
    async fn switch(&mut self, order: Order, feeder: &mut Feeder) -> Result<(), Closed> {
        let ready = self.standing.iter().position(|input| *input.order == order);
        let next = match ready {
            Some(at) => self.standing.remove(at),
            None => Input::start(Arc::new(order), Arc::clone(&self.puller), self.may),
        };
        let before = std::mem::replace(&mut self.current, next);
        if before.connected {
            let reason = "another input takes over".to_owned();
            feeder.disconnected(vec![
                ("reason", reason),
                ("cause", "switched".to_owned()),
                ("retry_ms", "0".to_owned()),
            ]);
        }
        drop(before);
        let input = &mut self.current;
        let detail = vec![
            ("input", input.order.label.clone()),
            ("url", input.order.location.to_string()),
            ("ready", u8::from(!input.kept.units.is_empty()).to_string()),
        ];
        feeder.tell(Kind::Switched, detail);
        self.splice.handle_seam();
        self.awaits_key = true;
        if input.connected {
            feeder.connected(input.peer);
        }
        if let Some((transport, payload)) = input.carrier {
            feeder.carried_by(transport, payload);
        }
        let kept = std::mem::take(&mut input.kept);
        if let Some(last) = kept.units.back() {
            // The newest picture is the present: what is older only leads up to it.
            self.splice.handle_seam_at(last.dts);
        }
        let outputs: VecDeque<_> = kept.units.into_iter().map(Output::Unit).collect();
        let outputs: Vec<_> = kept.tracks.map(Output::Tracks).into_iter().chain(outputs).collect();
        if outputs.is_empty() {
            return Ok(());
        }
        self.feed(Portion { outputs, ..Portion::default() }, feeder).await
    }
}
