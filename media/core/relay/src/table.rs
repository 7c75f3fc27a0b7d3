//! Which streams there are, by name and by receiver, and the shard that each lives on.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering},
    },
};

use crate::{
    back::Back,
    clock,
    config::{PlayRights, Transport},
    error::Error,
    events::{Event, Kind},
    feeds::Feeds,
    lately::Lately,
    ports::PortPool,
};

/// A port that a receiver uses; it goes back into the pool, to rest there, when this is dropped.
pub(crate) struct Lease {
    pool: Arc<Mutex<PortPool>>,
    pub(crate) port: u16,
}

impl Lease {
    pub(crate) fn new(pool: &Arc<Mutex<PortPool>>) -> Option<Self> {
        let port = lock(pool).take(clock::now())?;
        Some(Self { pool: Arc::clone(pool), port })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        lock(&self.pool).release(clock::now(), self.port);
    }
}

/// What everybody may know of a stream.
pub(crate) struct Entry {
    pub(crate) id: u64,
    pub(crate) app: Arc<str>,
    pub(crate) name: Arc<str>,
    pub(crate) transport: Transport,
    pub(crate) shared: bool,
    pub(crate) port: u16,
    pub(crate) shard: usize,
    pub(crate) rights: Rights,
    pub(crate) opened_ms: u64,
    pub(crate) feeds: Feeds,
    pub(crate) back: Back,
}

impl Entry {
    /// What happened to the stream, at `at_ms` of the UNIX epoch.
    pub(crate) fn event(&self, kind: Kind, at_ms: u64, detail: Vec<(&'static str, String)>) -> Event {
        Event::new(kind, self.id, Arc::clone(&self.app), Arc::clone(&self.name), at_ms, detail)
    }
}

/// Who may play a stream now; changed at any time, for viewers to come.
pub(crate) struct Rights {
    pub(crate) private: AtomicBool,
    pub(crate) generation: AtomicU64,
    pub(crate) viewers_max: AtomicU32,
}

impl From<PlayRights> for Rights {
    fn from(rights: PlayRights) -> Self {
        let PlayRights { private, generation, viewers_max } = rights;
        Self { private: private.into(), generation: generation.into(), viewers_max: viewers_max.into() }
    }
}

impl Rights {
    pub(crate) fn get(&self) -> PlayRights {
        PlayRights {
            private: self.private.load(Ordering::Relaxed),
            generation: self.generation.load(Ordering::Relaxed),
            viewers_max: self.viewers_max.load(Ordering::Relaxed),
        }
    }
}

#[derive(Default)]
struct Streams {
    by_name: HashMap<String, Arc<Entry>>,
    by_id: HashMap<u64, Arc<Entry>>,
    /// Who waits for which SSRC on the shared port.
    ssrcs: HashMap<u32, u64>,
    load: Vec<usize>,
    next_id: u64,
    lately: Lately,
}

/// All streams of a core.
pub(crate) struct Table {
    streams: RwLock<Streams>,
}

/// A place that was reserved: what the entry is made of.
pub(crate) struct Place {
    pub(crate) id: u64,
    pub(crate) shard: usize,
}

impl Table {
    pub(crate) fn new(shards: usize) -> Self {
        Self { streams: RwLock::new(Streams { load: vec![0; shards], next_id: 1, ..Streams::default() }) }
    }

    /// Enters a stream that `make` builds for the place it is given, on the shard with the fewest.
    pub(crate) fn insert(
        &self,
        (app, name): (&str, &str),
        shared_ssrc: Option<u32>,
        make: impl FnOnce(Place) -> Result<Entry, Error>,
    ) -> Result<Arc<Entry>, Error> {
        let mut streams = self.write();
        let key = key(app, name);
        if streams.by_name.contains_key(&key) {
            return Err(Error::StreamExists(app.to_owned(), name.to_owned()));
        }
        if let Some(ssrc) = shared_ssrc.filter(|ssrc| streams.ssrcs.contains_key(ssrc)) {
            return Err(Error::SsrcTaken(ssrc));
        }
        let fewest = streams.load.iter().enumerate().min_by_key(|(_, load)| **load);
        // The shared port belongs to the first shard, and its streams with it.
        let shard = if shared_ssrc.is_some() { 0 } else { fewest.map_or(0, |(shard, _)| shard) };
        let entry = Arc::new(make(Place { id: streams.next_id, shard })?);
        streams.next_id += 1;
        streams.load[shard] += 1;
        streams.lately.forget(clock::now(), &key);
        streams.by_name.insert(key, Arc::clone(&entry));
        streams.by_id.insert(entry.id, Arc::clone(&entry));
        if let Some(ssrc) = shared_ssrc {
            streams.ssrcs.insert(ssrc, entry.id);
        }
        Ok(entry)
    }

    /// The first stream that is `wanted`.
    pub(crate) fn find(&self, wanted: impl Fn(&Entry) -> bool) -> Option<Arc<Entry>> {
        self.read().by_id.values().find(|entry| wanted(entry)).cloned()
    }

    /// Forgets a stream.
    pub(crate) fn remove(&self, receiver: u64) -> Option<Arc<Entry>> {
        let mut streams = self.write();
        let entry = streams.by_id.remove(&receiver)?;
        let key = key(&entry.app, &entry.name);
        streams.by_name.remove(&key);
        entry.back.close();
        streams.lately.keep(clock::now(), key, Arc::clone(&entry));
        streams.ssrcs.retain(|_, waiting| *waiting != receiver);
        streams.load[entry.shard] -= 1;
        Some(entry)
    }

    /// Gives a receiver of the shared port another SSRC.
    pub(crate) fn change_ssrc(&self, receiver: u64, ssrc: u32) -> Result<(), Error> {
        let mut streams = self.write();
        if streams.ssrcs.get(&ssrc).is_some_and(|other| *other != receiver) {
            return Err(Error::SsrcTaken(ssrc));
        }
        streams.ssrcs.retain(|_, waiting| *waiting != receiver);
        streams.ssrcs.insert(ssrc, receiver);
        Ok(())
    }

    pub(crate) fn by_name(&self, app: &str, name: &str) -> Option<Arc<Entry>> {
        self.read().by_name.get(&key(app, name)).cloned()
    }

    /// The stream of this name, or the one that ended a moment ago while somebody played it by HLS.
    pub(crate) fn lately(&self, app: &str, name: &str) -> Option<Arc<Entry>> {
        let (streams, key) = (self.read(), key(app, name));
        streams.by_name.get(&key).cloned().or_else(|| streams.lately.get(clock::now(), &key))
    }

    pub(crate) fn by_id(&self, receiver: u64) -> Result<Arc<Entry>, Error> {
        self.read().by_id.get(&receiver).cloned().ok_or(Error::UnknownReceiver(receiver))
    }

    pub(crate) fn len(&self) -> usize {
        self.read().by_id.len()
    }

    fn read(&self) -> RwLockReadGuard<'_, Streams> {
        self.streams.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Streams> {
        self.streams.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lock whose last holder panicked is taken all the same: what these guard is whole after each statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Neither part can contain the separator: `Core` refuses slashes in names.
fn key(app: &str, name: &str) -> String {
    format!("{app}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn insert(table: &Table, name: &str, ssrc: Option<u32>) -> Result<Arc<Entry>, Error> {
        table.insert(("app", name), ssrc, |place| {
            Ok(Entry {
                id: place.id,
                app: "app".into(),
                name: name.into(),
                transport: Transport::Udp,
                shared: ssrc.is_some(),
                port: 0,
                shard: place.shard,
                rights: PlayRights::default().into(),
                opened_ms: 0,
                feeds: Feeds::default(),
                back: Back::default(),
            })
        })
    }

    #[test]
    fn spreads_streams_over_the_shards_and_finds_them() {
        let table = Table::new(2);
        let shards: Vec<_> =
            ["a", "b", "c", "d"].map(|name| insert(&table, name, None).unwrap().shard).into();
        assert_eq!(shards, [0, 1, 0, 1]);
        let first = table.by_name("app", "a").unwrap();
        assert_eq!(table.by_id(first.id).unwrap().name, first.name);
        assert!(matches!(insert(&table, "a", None), Err(Error::StreamExists(..))));
        table.remove(first.id);
        assert!(table.by_name("app", "a").is_none() && table.remove(first.id).is_none());
        assert!(matches!(table.by_id(first.id), Err(Error::UnknownReceiver(_))));
        assert_eq!(insert(&table, "a", None).unwrap().shard, 0);
        assert_eq!(table.len(), 4);
    }

    #[test]
    fn one_ssrc_of_the_shared_port_belongs_to_one_stream() {
        let table = Table::new(2);
        let first = insert(&table, "a", Some(1)).unwrap();
        let second = insert(&table, "b", Some(2)).unwrap();
        assert_eq!((first.shard, second.shard), (0, 0));
        assert!(matches!(insert(&table, "c", Some(1)), Err(Error::SsrcTaken(1))));
        assert!(matches!(table.change_ssrc(second.id, 1), Err(Error::SsrcTaken(1))));
        table.change_ssrc(first.id, 3).unwrap();
        table.change_ssrc(second.id, 1).unwrap();
        table.remove(second.id);
        insert(&table, "c", Some(1)).unwrap();
    }
}
