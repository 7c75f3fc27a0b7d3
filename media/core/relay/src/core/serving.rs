//! The ports that the relay serves, who publishes, and streams that are fed or fetched.

use std::{
    cell::Cell,
    sync::{Arc, atomic::Ordering},
};

use tokio::runtime::{Builder, Handle};

use super::{Core, Opened, check_name};
use crate::{
    back::Back,
    clock,
    config::{PlayRights, Transport},
    desk::Desk,
    door::{Denied, Directory, Door, DoorOptions},
    error::Error,
    feed::{Feeder, OpenFeed},
    feeds::Feeds,
    hub::Order,
    options::Output,
    publishers::Decision,
    pull::{OpenPull, Pull, Source},
    rtmp, rtsp,
    shard::inbox::{Command, Open, Origin},
    table::{Entry, lock},
    tls::Terminator,
    units::{self, Subscribe, Subscription, UnitFeed, UnitTap},
};

impl Core {
    /// Opens the front door and returns its port: media from here, everything else from the HTTP/1.1 server on the Unix
    /// socket `upstream`.
    pub fn listen_http(&self, host: &str, port: u16, upstream: &str) -> Result<u16, Error> {
        self.open_door(host, port, upstream, None)
    }

    pub(super) fn open_door(
        &self,
        host: &str,
        port: u16,
        upstream: &str,
        tls: Option<Terminator>,
    ) -> Result<u16, Error> {
        self.check_open()?;
        let options = DoorOptions {
            host: host.to_owned(),
            port,
            upstream: upstream.into(),
            play_key: self.config.play_key.clone(),
            proxies: self.config.proxies.clone(),
        };
        let door = Door::open_secure(options, self.directory(), tls)
            .map_err(Error::io(format!("cannot open the HTTP port {port} on {host}")))?;
        let port = door.address().port();
        lock(&self.doors).push(door);
        Ok(port)
    }

    /// Opens an RTMP port and returns its number. Publishers are asked about with event `publish`.
    pub fn listen_rtmp(&self, host: &str, port: u16) -> Result<u16, Error> {
        self.open_rtmp(host, port, None)
    }

    pub(super) fn open_rtmp(&self, host: &str, port: u16, tls: Option<Terminator>) -> Result<u16, Error> {
        let shared = rtmp::Shared {
            directory: self.directory(),
            play_key: self.config.play_key.clone(),
            events: Arc::clone(&self.events),
            publishers: Arc::clone(&self.publishers),
        };
        let listener = rtmp::listen(&self.runtime()?, host, port, tls, shared)
            .map_err(Error::io(format!("cannot open the RTMP port {port} on {host}")))?;
        let port = listener.port();
        lock(&self.listeners).push(listener);
        Ok(port)
    }

    /// Opens an RTSP port and returns its number. Publishers are asked about with event `publish`. With a realm, clients
    /// that show nothing are asked who they are, by Digest.
    pub fn listen_rtsp(&self, host: &str, port: u16, realm: Option<&str>) -> Result<u16, Error> {
        self.open_rtsp(host, port, realm, None)
    }

    pub(super) fn open_rtsp(
        &self,
        host: &str,
        port: u16,
        realm: Option<&str>,
        tls: Option<Terminator>,
    ) -> Result<u16, Error> {
        let wanted = rtsp::Listen {
            directory: self.directory(),
            play_key: self.config.play_key.clone(),
            events: Arc::clone(&self.events),
            publishers: Arc::clone(&self.publishers),
            receiving: rtsp::Receiving { host: self.config.rtp_host, pool: Arc::clone(&self.ports) },
            realm: realm.map(str::to_owned),
        };
        let listener = rtsp::listen(&self.runtime()?, host, port, tls, wanted)
            .map_err(Error::io(format!("cannot open the RTSP port {port} on {host}")))?;
        let port = listener.port();
        lock(&self.listeners).push(listener);
        Ok(port)
    }

    /// Lets the publisher with this ticket publish the stream `app`/`name`; returns its id. If that cannot be opened, the
    /// publisher waits on.
    pub fn accept_publish(
        &self,
        ticket: u64,
        app: &str,
        name: &str,
        rights: PlayRights,
    ) -> Result<u64, Error> {
        let transport = self.publishers.transport(ticket).ok_or(Error::NoPublisher(ticket))?;
        let payload = if transport == Transport::Rtsp { "rtp" } else { "flv" };
        let (app, name) = (app.to_owned(), name.to_owned());
        let feeder = self.open_feed(&OpenFeed { app, name, transport, payload, rights })?;
        let receiver = feeder.id();
        if self.publishers.answer(ticket, Decision::Accepted(feeder)) {
            Ok(receiver)
        } else {
            Err(Error::NoPublisher(ticket))
        }
    }

    /// Sends the publisher with this ticket away; one that is gone is ignored. `unauthorized`: it may come again and prove who
    /// it is, where it can be asked.
    pub fn refuse_publish(&self, ticket: u64, reason: &str, unauthorized: bool) {
        self.publishers.answer(ticket, Decision::Refused { reason: reason.to_owned(), unauthorized });
    }

    /// Opens a stream that the returned feeder feeds; it must be used on [`Core::runtime`].
    pub fn open_feed(&self, wanted: &OpenFeed) -> Result<Feeder, Error> {
        self.check_open()?;
        check_name(&wanted.app)?;
        check_name(&wanted.name)?;
        let entry = self.table.insert((&wanted.app, &wanted.name), None, |place| {
            Ok(Entry {
                id: place.id,
                app: wanted.app.as_str().into(),
                name: wanted.name.as_str().into(),
                transport: wanted.transport,
                shared: false,
                port: 0,
                shard: place.shard,
                rights: wanted.rights.into(),
                opened_ms: clock::wall_ms(),
                feeds: Feeds::default(),
                back: Back::default(),
            })
        })?;
        let inbox = self.read_shards().get(entry.shard).map(|shard| Arc::clone(&shard.inbox));
        let inbox = inbox.ok_or(Error::Closed)?;
        let (feeder, intake) = Feeder::new(entry.id, Arc::clone(&inbox), self.config.bandwidth_max_bps);
        let origin = Origin::Feed { payload: wanted.payload, intake };
        inbox.push(Command::Open(Box::new(Open { entry, origin })));
        Ok(feeder)
    }

    /// Opens a stream that the returned feed feeds.
    pub fn open_unit_feed(&self, wanted: &OpenFeed) -> Result<UnitFeed, Error> {
        let runtime = self.runtime()?;
        let feeder = self.open_feed(wanted)?;
        let (feed, intake) = UnitFeed::new(feeder.id());
        runtime.spawn(units::carry(intake, feeder));
        Ok(feed)
    }

    /// A stream's units from now on, or from its cached GOP on.
    pub fn subscribe(&self, receiver: u64, wanted: Subscribe) -> Result<Subscription, Error> {
        self.check_open()?;
        let entry = self.table.by_id(receiver)?;
        let seat = if wanted.protocol.is_empty() {
            None
        } else {
            let seat = entry.feeds.seat(Output::WebRtc, entry.rights.get().viewers_max);
            Some(seat.map_err(|denied| {
                let (app, name) = (entry.app.to_string(), entry.name.to_string());
                if denied == Denied::Forbidden {
                    return Error::FormNotAllowed(app, name);
                }
                self.admission.full.fetch_add(1, Ordering::Relaxed);
                Error::TooManyViewers(app, name)
            })?)
        };
        let queue = units::Queue::new(wanted.wanted(), wanted.bytes_max);
        let queue = Arc::new(queue.map_err(Error::io("cannot make a queue of units"))?);
        let Subscribe { protocol, from_gop, peer, agent, .. } = wanted;
        let taken = Cell::default();
        let tap = UnitTap { queue: Arc::clone(&queue), protocol, peer, agent, from_gop, seat, taken };
        self.send(entry.shard, Command::Hub { receiver, order: Order::Subscribe(tap) })?;
        Ok(Subscription::new(queue))
    }

    /// Opens a stream that is fetched from a server for as long as it is open.
    pub fn open_pull(&self, wanted: &OpenPull) -> Result<Opened, Error> {
        let pull = Pull::new(wanted)?;
        let runtime = self.runtime()?;
        let feeder = self.open_feed(&OpenFeed {
            app: wanted.app.clone(),
            name: wanted.name.clone(),
            transport: pull.transport(),
            payload: "",
            rights: wanted.rights,
        })?;
        let id = feeder.id();
        runtime.spawn(pull.run(Arc::clone(&self.puller), feeder));
        Ok(Opened { id, port: 0 })
    }

    /// Lets another input feed a pulled stream from now on; its viewers stay.
    pub fn switch_pull(&self, receiver: u64, source: &Source) -> Result<(), Error> {
        self.check_open()?;
        self.table.by_id(receiver)?;
        self.puller.switch(receiver, source)
    }

    /// Keeps inputs of a pulled stream connected that do not feed it, so that they can take over at once.
    pub fn standby_pull(&self, receiver: u64, sources: &[Source]) -> Result<(), Error> {
        self.check_open()?;
        self.table.by_id(receiver)?;
        self.puller.stand_by(receiver, sources)
    }

    /// Runs the tasks that feed streams; started with the first of them.
    pub fn runtime(&self) -> Result<Handle, Error> {
        self.check_open()?;
        let mut runtime = lock(&self.runtime);
        if runtime.is_none() {
            let built =
                Builder::new_multi_thread().worker_threads(2).thread_name("relay-feed").enable_all().build();
            *runtime = Some(built.map_err(Error::io("cannot start the threads that feed streams"))?);
        }
        runtime.as_ref().map(|runtime| runtime.handle().clone()).ok_or(Error::Closed)
    }

    /// The streams as a front door sees them.
    pub fn directory(&self) -> Arc<dyn Directory> {
        let inboxes = self.read_shards().iter().map(|shard| Arc::clone(&shard.inbox)).collect();
        let (table, events) = (Arc::clone(&self.table), Arc::clone(&self.events));
        Arc::new(Desk {
            table,
            inboxes,
            events,
            admission: Arc::clone(&self.admission),
            playbacks: Arc::clone(&self.playbacks),
        })
    }
}
