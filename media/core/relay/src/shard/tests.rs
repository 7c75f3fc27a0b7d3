//! A shard's work, stepped by hand.

use super::*;
use crate::{
    back::Back,
    config::{PlayRights, Transport},
    feeds::Feeds,
    ingest::{Expected, Sockets},
    table::Entry,
};

/// The first second of a shard.
fn begun() -> Moment {
    Moment { now: clock::now(), second: 0, wall_ms: clock::wall_ms() }
}

fn open(work: &mut Work, name: &str) -> u64 {
    let table = Arc::clone(&work.surroundings.table);
    let entry = table.insert(("app", name), None, |place| {
        Ok(Entry {
            id: place.id,
            app: "app".into(),
            name: name.into(),
            transport: Transport::TcpActive,
            shared: false,
            port: 0,
            shard: place.shard,
            rights: PlayRights::default().into(),
            opened_ms: 0,
            feeds: Feeds::default(),
            back: Back::default(),
        })
    });
    let entry = entry.unwrap();
    let receiver = entry.id;
    let (sockets, expected) = (Sockets::default(), Expected::default());
    let origin = Origin::Packets { sockets, lease: None, expected, hold: Duration::from_millis(200) };
    let open = Open { entry, origin };
    work.open(begun(), open);
    receiver
}

#[test]
fn a_panic_costs_one_stream() {
    let surroundings = Surroundings {
        config: Arc::default(),
        events: Arc::new(EventQueue::new().unwrap()),
        table: Arc::new(Table::new(1)),
    };
    let mut work = Work::new(surroundings, None).unwrap();
    let (victim, other) = (open(&mut work, "victim"), open(&mut work, "other"));
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| ()));
    work.step_by_id(begun(), victim, |_, _| panic!("a bug"));
    std::panic::set_hook(hook);
    assert_eq!(work.streams.len(), 1);
    assert!(work.surroundings.table.by_id(victim).is_err() && work.by_id.contains_key(&other));
    let events = work.surroundings.events.poll(10, 0);
    assert_eq!(
        events.iter().map(|event| (event.kind, event.receiver)).collect::<Vec<_>>(),
        [(Kind::Failed, victim)]
    );
    let mut ran = false;
    work.step_by_id(begun(), other, |_, _| ran = true);
    assert!(ran);
}
