//! The relay itself, on one shard.

use std::{collections::BTreeMap, io, net::Ipv4Addr, time::Duration};

use relay::{
    Config, Core, OpenReceiver, OpenSender, Opened, PlayRights, RecordOrder, SendTransport, Transport,
    send::{Form, Payload, Selection},
};

use crate::wait_for_end;

/// What the relay is to be.
pub struct Wanted {
    pub streams: u32,
    /// Streams come by TCP.
    pub tcp: bool,
    /// Viewers are written to so often; 0: at once.
    pub merge_ms: u32,
    /// The system may join datagrams.
    pub offload: bool,
    /// Each stream is recorded in a folder of its own.
    pub order: Option<RecordOrder>,
}

impl Wanted {
    pub fn new(streams: u32) -> Self {
        Self { streams, tcp: false, merge_ms: 0, offload: true, order: None }
    }
}

/// Opens the receivers, the front door and the RTMP port.
pub fn run(wanted: &Wanted) -> io::Result<()> {
    let core = start(wanted.merge_ms, wanted.offload)?;
    let mut ports = Vec::new();
    for number in 1..=wanted.streams {
        let opened = open(&core, number, if wanted.tcp { Transport::TcpPassive } else { Transport::Udp })?;
        ports.push(opened.port.to_string());
        if let Some(order) = &wanted.order {
            let directory = order.directory.join(number.to_string());
            std::fs::create_dir_all(&directory)?;
            core.record(opened.id, RecordOrder { directory, ..order.clone() }).map_err(io::Error::other)?;
        }
    }
    let http = core.listen_http("127.0.0.1", 0, "/nonexistent").map_err(io::Error::other)?;
    let rtmp = core.listen_rtmp("127.0.0.1", 0).map_err(io::Error::other)?;
    println!("{{\"ports\": [{}], \"http\": {http}, \"rtmp\": {rtmp}}}", ports.join(", "));
    wait_for_end();
    let stats = settled(&core)?;
    let sum = |figure: fn(&relay::StreamStats) -> u64| stats.iter().map(figure).sum::<u64>();
    let mut faults = BTreeMap::<&str, u64>::new();
    for (fault, count) in stats.iter().flat_map(|stats| &stats.faults) {
        *faults.entry(*fault).or_default() += count;
    }
    let (units, turns) = (core.metrics()["relay_units_total"], core.metrics()["relay_loop_turns_total"]);
    core.close();
    let metrics = core.metrics();
    println!(
        "{{\"packets\": {}, \"lost\": {}, \"rejected\": {}, \"duplicates\": {}, \"bytes_out\": {}, \"faults\": {faults:?}, \"units\": {units}, \"turns\": {turns}, \
         \"recorded_bytes\": {}, \"recorded_slices\": {}, \"unrecorded_frames\": {}, \"queue_bytes_max\": {}}}",
        sum(|stats| stats.received),
        sum(|stats| stats.lost),
        sum(|stats| stats.rejected),
        sum(|stats| stats.duplicates),
        sum(|stats| stats.bytes_out),
        metrics["relay_record_bytes_total"],
        metrics["relay_record_slices_total"],
        metrics["relay_record_frames_lost_total"],
        metrics["relay_record_queue_bytes_max"],
    );
    Ok(())
}

/// The figures of all streams when what waited in their sockets was taken: twice the same within 10 s.
fn settled(core: &Core) -> io::Result<Vec<relay::StreamStats>> {
    let received = |stats: &[relay::StreamStats]| stats.iter().map(|stats| stats.received).sum::<u64>();
    let mut last = core.streams();
    for _ in 0..50 {
        std::thread::sleep(Duration::from_millis(200));
        // It may be too busy to answer.
        let next = core.streams();
        if let (Ok(before), Ok(after)) = (&last, &next)
            && received(before) == received(after)
        {
            break;
        }
        last = next;
    }
    last.map_err(io::Error::other)
}

/// Opens one receiver and sends its stream to each of `targets` on loopback.
pub fn forward(targets: &[u32]) -> io::Result<()> {
    let core = start(0, true)?;
    let opened = open(&core, 1, Transport::Udp)?;
    for (ssrc, target) in (100..).zip(targets) {
        let wanted = OpenSender {
            transport: SendTransport::Udp,
            host: Some(Ipv4Addr::LOCALHOST.into()),
            port: *target as u16,
            ssrc,
            form: Form { payload: Payload::Ps, selection: Selection { video: true, audio: true } },
            payload_type: 96,
            local_port: 0,
            report_timeout: None,
            wait: Duration::ZERO,
            over: None,
            rtcp: false,
        };
        core.open_sender(opened.id, &wanted).map_err(io::Error::other)?;
    }
    println!("{{\"ports\": [{}]}}", opened.port);
    wait_for_end();
    let metrics = core.metrics();
    let (packets, skips) = (metrics["relay_sender_packets_total"], metrics["relay_sender_skips_total"]);
    core.close();
    println!("{{\"packets\": {packets}, \"skips\": {skips}}}");
    Ok(())
}

fn start(merge_ms: u32, receive_offload: bool) -> io::Result<Core> {
    let config = Config {
        rtp_host: Ipv4Addr::LOCALHOST.into(),
        rtp_port_min: 22_000,
        rtp_port_max: 30_000,
        threads: 1,
        merge_write: Duration::from_millis(merge_ms.into()),
        receive_offload,
        ..Config::default()
    };
    Core::start(config).map_err(io::Error::other)
}

/// The receiver of the stream with this number, which is its name and its SSRC.
fn open(core: &Core, number: u32, transport: Transport) -> io::Result<Opened> {
    let opened = core.open_receiver(&OpenReceiver {
        app: "bench".to_owned(),
        name: number.to_string(),
        transport,
        shared: false,
        ssrc: Some(number),
        peer: Some(Ipv4Addr::LOCALHOST.into()),
        any_peer: false,
        hold: Duration::from_millis(200),
        rights: PlayRights { private: false, ..PlayRights::default() },
    });
    opened.map_err(io::Error::other)
}
