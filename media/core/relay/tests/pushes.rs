//! RTMP from one core to another: streams that are pushed, and streams that are pulled.

mod support;

use std::net::SocketAddr;

use relay::{
    Config, EventKind, PlayRights,
    pull::{self, OpenPull},
    push::{OpenPush, PushState},
};
use support::{
    Relay,
    fed::GOP,
    feeding::{Source, accept, detail, feed, push, source, state, ticket, wanted},
    until,
};

#[test]
fn a_push_waits_for_its_stream_comes_back_after_a_refusal_and_ends_with_the_stream() {
    let (from, to) = (Relay::start(Config::default()), Relay::start(Config::default()));
    let port = to.core.listen_rtmp("127.0.0.1", 0).unwrap();
    let feeder = from.core.open_feed(&wanted("cam")).unwrap();
    let id = feeder.id();
    let push = push(&from, id, format!("rtmp://127.0.0.1:{port}/test/copy?key=secret"));
    until("a push that waits", || (state(&from, push) == Some(PushState::Waiting)).then_some(()));
    let running = Source(from.core.runtime().unwrap().spawn(feed(feeder)));

    let (first, path) = ticket(&to);
    assert_eq!(path, "test/copy?key=secret");
    to.core.refuse_publish(first, "not this key", false);
    let failed = from.wait_event(EventKind::PushFailed);
    assert_eq!((failed.receiver, detail(&failed, "cause")), (id, "refused"));
    assert!(detail(&failed, "reason").ends_with("NetStream.Publish.Denied: not this key"), "{failed:?}");
    assert!((750..=1000).contains(&detail(&failed, "retry_ms").parse::<u32>().unwrap()));

    let (second, _) = ticket(&to);
    let copy = accept(&to, second);
    let connected = from.wait_event(EventKind::PushConnected);
    assert_eq!(detail(&connected, "peer").parse::<SocketAddr>().unwrap().port(), port);
    let stats = to.wait_stats("copy", |stats| stats.received > 2 * GOP as u64 && stats.width == 352);
    assert!(stats.faults.is_empty(), "{:?}", stats.faults);
    let told = from.core.pushes().remove(0);
    assert_eq!(
        (told.state, told.url.as_str()),
        (PushState::Pushing, &*format!("rtmp://127.0.0.1:{port}/test/copy…"))
    );
    assert!(told.bytes_out > 70_000 && told.failures == 1, "{told:?}");
    assert!(from.core.stream("test", "cam").unwrap().unwrap().viewers.values().all(|count| *count == 0));

    to.core.close_receiver(copy).unwrap();
    let stopped = from.wait_event(EventKind::PushFailed);
    assert_eq!(detail(&stopped, "cause"), "stopped", "{stopped:?}");
    let (third, _) = ticket(&to);
    accept(&to, third);
    from.wait_event(EventKind::PushConnected);
    to.wait_stats("copy", |stats| stats.received > GOP as u64);
    drop(running);
    assert_eq!(detail(&from.wait_event(EventKind::PushEnded), "reason"), "the stream is over");
    to.wait_event(EventKind::Ended);
    assert!(from.core.pushes().is_empty());
    let metrics = from.core.metrics();
    let counts = ["relay_pushes", "relay_push_connections_total", "relay_push_failures_total"]
        .map(|name| metrics[name]);
    assert_eq!(counts.map(|count| count.to_string()), ["0", "2", "2"]);
    assert!(metrics["relay_push_bytes_sent_total"] > 70_000.0);
}

#[test]
fn a_push_is_closed_at_any_time_and_leaves_nothing() {
    let (from, to) = (Relay::start(Config::default()), Relay::start(Config::default()));
    let port = to.core.listen_rtmp("127.0.0.1", 0).unwrap();
    let (id, _source) = source(&from, "cam");
    let idle = push(&from, id, format!("rtmp://127.0.0.1:{port}/test/idle"));
    ticket(&to);
    from.core.close_push(idle);
    assert_eq!(detail(&from.wait_event(EventKind::PushEnded), "reason"), "closed");
    let open = push(&from, id, format!("rtmp://127.0.0.1:{port}/test/copy"));
    accept(&to, ticket(&to).0);
    to.wait_stats("copy", |stats| stats.received > GOP as u64);
    from.core.close_push(open);
    from.core.close_push(open);
    assert_eq!(detail(&from.wait_event(EventKind::PushEnded), "reason"), "closed");
    to.wait_event(EventKind::Ended);
    until("the viewer to go", || (from.core.metrics()["relay_viewers"] < 0.5).then_some(()));
}

#[test]
fn what_cannot_be_pushed_is_refused_or_told() {
    let from = Relay::start(Config::default());
    let (id, _source) = source(&from, "cam");
    let refused = |receiver: u64, url: &str, datagrams: bool| {
        let wanted = OpenPush { receiver, url: url.to_owned(), allow_private: false, datagrams };
        from.core.open_push(&wanted).unwrap_err().to_string()
    };
    for url in ["rtmp://127.0.0.1/live/cam", "rtmp://[::ffff:10.0.0.1]/live/cam"] {
        assert!(refused(id, url, false).contains("public"), "{url}");
    }
    for url in [
        "rtmp://example.org/live",
        "http://example.org/live/cam",
        "live/cam",
        "rtmp://example.org:0/live/cam",
    ] {
        refused(id, url, false);
    }
    assert!(refused(id, "rtmp://example.org/live/cam", true).contains("datagrams"));
    assert!(refused(id + 1, "rtmp://example.org/live/cam", false).contains("no receiver"));
    let (socket, port) = support::free_port();
    push(&from, id, format!("rtmp://127.0.0.1:{port}/live/cam"));
    drop(socket);
    assert_eq!(detail(&from.wait_event(EventKind::PushFailed), "cause"), "connection_refused");
}

#[test]
fn a_stream_is_pulled_and_fetched_again_when_its_server_lost_it() {
    let (from, to) = (Relay::start(Config::default()), Relay::start(Config::default()));
    let port = from.core.listen_rtmp("127.0.0.1", 0).unwrap();
    let (_, running) = source(&from, "cam");
    from.wait_event(EventKind::FirstKeyFrame);
    let pull = OpenPull {
        app: "test".to_owned(),
        name: "copy".to_owned(),
        source: pull::Source {
            url: format!("rtmp://127.0.0.1:{port}/test/cam?audio=1"),
            ..pull::Source::default()
        },
        rights: PlayRights::default(),
        allow_private: true,
    };
    let nameless = pull::Source { url: format!("rtmp://127.0.0.1:{port}/test"), ..pull::Source::default() };
    let refused = OpenPull { source: nameless, ..pull.clone() };
    assert!(to.core.open_pull(&refused).is_err(), "no stream is named");
    let id = to.core.open_pull(&pull).unwrap().id;
    assert_eq!(to.wait_event(EventKind::Connected).receiver, id);
    let stats = to.wait_stats("copy", |stats| stats.received > 2 * GOP as u64);
    assert_eq!((stats.transport.name(), stats.payload, stats.width), ("rtmp", Some("flv"), 352));
    assert!(stats.faults.is_empty(), "{:?}", stats.faults);
    drop(running);
    let lost = to.wait_event(EventKind::Disconnected);
    assert_eq!(detail(&lost, "cause"), "ended", "{lost:?}");
    let again = to.wait_event(EventKind::ConnectFailed);
    assert_eq!(detail(&again, "cause"), "refused", "{again:?}");
    assert!(detail(&again, "reason").contains("NetStream.Play.StreamNotFound"), "{again:?}");
    let (_, _running) = source(&from, "cam");
    to.wait_event(EventKind::Connected);
    to.wait_event(EventKind::Resumed);
}
