//! RTP packets in any order: statistics add up, and reordering gives each number once and in order.
#![no_main]

use std::time::{Duration, Instant};

use libfuzzer_sys::fuzz_target;
use wire::{
    reorder::{Output, Reorder},
    rtp::{Packet, Statistics, is_rtcp},
};

fuzz_target!(|packets: Vec<(u16, Vec<u8>)>| {
    #[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
    let mut now = Instant::now();
    let mut statistics = Statistics::new(90_000);
    let mut reorder = Reorder::new(Duration::from_millis(50), 32);
    let mut next = None;
    for (passed_ms, data) in packets {
        now += Duration::from_millis(u64::from(passed_ms >> 6));
        let _ = is_rtcp(&data);
        let Ok(packet) = Packet::parse(&data) else { continue };
        assert!(packet.payload.len() + 12 <= data.len());
        statistics.handle_packet(now, &packet);
        assert_eq!(statistics.expected(), statistics.received() + statistics.lost());
        statistics.take_fraction_lost();
        if reorder.pass(packet.seq) {
            next = Some(packet.seq.wrapping_add(1));
            continue;
        }
        reorder.handle_packet(now, packet.seq, packet.seq);
        while let Some(output) = reorder.poll_output(now) {
            match output {
                Output::Packet(seq) => {
                    assert_eq!(seq, next.unwrap_or(seq));
                    next = Some(seq.wrapping_add(1));
                }
                Output::Lost(lost) => {
                    assert!(lost > 0 && lost < 3000);
                    next = next.map(|seq: u16| seq.wrapping_add(lost as u16));
                }
                Output::Restarted => next = None,
            }
        }
        assert!(reorder.next_timeout().is_none_or(|due| due > now));
    }
});
