//! The relay itself, on one shard.

use std::{io, net::Ipv4Addr, time::Duration};

use relay::{Config, Core, OpenReceiver, PlayRights, Transport};

use crate::wait_for_end;

/// Opens `streams` receivers and the front door.
pub fn run(streams: u32) -> io::Result<()> {
    let config = Config {
        rtp_host: Ipv4Addr::LOCALHOST.into(),
        rtp_port_min: 22_000,
        rtp_port_max: 30_000,
        threads: 1,
        ..Config::default()
    };
    let core = Core::start(config).map_err(io::Error::other)?;
    let mut ports = Vec::new();
    for number in 1..=streams {
        let opened = core.open_receiver(&OpenReceiver {
            app: "bench".to_owned(),
            name: number.to_string(),
            transport: Transport::Udp,
            shared: false,
            ssrc: Some(number),
            peer: Some(Ipv4Addr::LOCALHOST.into()),
            any_peer: false,
            hold: Duration::from_millis(200),
            rights: PlayRights { private: false, ..PlayRights::default() },
        });
        ports.push(opened.map_err(io::Error::other)?.port.to_string());
    }
    let http = core.listen_http("127.0.0.1", 0, "/nonexistent").map_err(io::Error::other)?;
    println!("{{\"ports\": [{}], \"http\": {http}}}", ports.join(", "));
    wait_for_end();
    let stats = core.streams().map_err(io::Error::other)?;
    let sum = |figure: fn(&relay::StreamStats) -> u64| stats.iter().map(figure).sum::<u64>();
    let faults: u64 = stats.iter().flat_map(|stats| stats.faults.values()).sum();
    println!(
        "{{\"packets\": {}, \"lost\": {}, \"bytes_out\": {}, \"faults\": {faults}, \"units\": {}, \"turns\": {}}}",
        sum(|stats| stats.received),
        sum(|stats| stats.lost),
        sum(|stats| stats.bytes_out),
        core.metrics()["relay_units_total"],
        core.metrics()["relay_loop_turns_total"],
    );
    Ok(())
}
