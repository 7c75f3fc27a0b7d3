use std::sync::Arc;

use super::*;
use crate::{
    media::{AccessUnit, Ticks, Tracks},
    rtsp::{Beginning, Muxer, Selection, describe, interleaved},
    test_clock::start,
    testing,
};

const HOLD: Duration = Duration::from_millis(200);

/// Pictures every 40 ms and sound beside them.
fn units(tracks: &Arc<Tracks>, count: i64) -> Vec<AccessUnit> {
    let mut units = Vec::new();
    for n in 0..count {
        if tracks.video.is_some() {
            units.push(testing::video(tracks, n * 40, n * 40, n % 10 == 0));
        }
        if tracks.audio.is_some() {
            units.push(testing::audio(tracks, n * 40, 320));
        }
    }
    units
}

/// The packets of units, each with the time it leaves at, its channel and its bytes.
fn packets(units: &[AccessUnit], seed: u64) -> Vec<(Instant, u8, Bytes)> {
    let beginning = Beginning { seed, epoch_ms: 1_700_000_000_000 };
    let mut muxer = Muxer::new(beginning, Selection { video: true, audio: true });
    let mut out = Vec::new();
    for unit in units {
        let now = start() + Duration::from_millis(unit.dts.as_millis().unsigned_abs());
        let chunk = muxer.write(unit).map(|chunk| chunk.to_bytes()).unwrap_or_default();
        out.extend(interleaved(&chunk).map(|(channel, packet)| (now, channel, packet)));
    }
    out
}

fn incoming(tracks: &Tracks, hold: Duration) -> Incoming {
    let description = Description::parse(describe(tracks, 1, crate::rtsp::Range::NOW).as_bytes()).unwrap();
    Incoming::new(&description, Options::default(), hold, 9)
}

fn feed(incoming: &mut Incoming, packets: &[(Instant, u8, Bytes)]) -> (Vec<AccessUnit>, Vec<Fault>) {
    let (mut units, mut faults) = (Vec::new(), Vec::new());
    let mut take = |incoming: &mut Incoming| {
        while let Some(output) = incoming.poll_output() {
            match output {
                Output::Unit(unit) => units.push(unit),
                Output::Fault(fault) => faults.push(fault),
                Output::Tracks(_) | Output::Payload(_) => {}
            }
        }
    };
    for (now, channel, packet) in packets {
        let number = usize::from(channel / 2);
        if channel.is_multiple_of(2) {
            incoming.handle_rtp(*now, number, packet.clone());
        } else {
            incoming.handle_rtcp(*now, number, packet);
        }
        take(incoming);
    }
    let end = packets.last().unwrap().0 + Duration::from_secs(2);
    incoming.handle_timeout(end);
    take(incoming);
    (units, faults)
}

fn of(units: &[AccessUnit], kind: Kind) -> Vec<(Bytes, Ticks, bool)> {
    let of_kind = units.iter().filter(|unit| unit.kind == kind);
    of_kind.map(|unit| (unit.data.clone(), unit.dts, unit.key)).collect()
}

#[test]
fn what_is_sent_comes_out_with_its_times() {
    let codings = [
        (VideoCodec::H264, Some(AudioCodec::Aac)),
        (VideoCodec::H264, Some(AudioCodec::G711A)),
        (VideoCodec::H265, Some(AudioCodec::G711U)),
        (VideoCodec::H265, None),
    ];
    for (video, audio) in codings {
        let tracks = Arc::new(testing::tracks(video, audio));
        let sent = units(&tracks, 60);
        for hold in [Duration::ZERO, HOLD] {
            let mut incoming = incoming(&tracks, hold);
            let (seen, faults) = feed(&mut incoming, &packets(&sent, 0xFEDC_BA98_7654_3210));
            assert_eq!(faults, [], "{video:?} {audio:?}");
            // The last picture may wait for the one behind it.
            let (went, came) = (of(&sent, Kind::Video), of(&seen, Kind::Video));
            assert!(came.len() >= went.len() - 1, "{video:?} {audio:?}: {}", came.len());
            assert_eq!(came[..], went[..came.len()]);
            let (went, came) = (of(&sent, Kind::Audio), of(&seen, Kind::Audio));
            // Sound before the first picture is done is not kept.
            let skipped = went.len() - came.len();
            assert!(skipped <= 1);
            // Pictures are shown later by the reordering that their parameter sets allow, and sound with them.
            let first = seen.iter().find(|unit| unit.kind == Kind::Video).unwrap();
            let lead = first.pts - first.dts;
            for (sent, got) in went[skipped..].iter().zip(&came) {
                assert_eq!((&sent.0, sent.2), (&got.0, got.2));
                let apart = sent.1 + lead - got.1;
                assert!(apart.0.abs() <= 11, "in step with the picture: {:?} {:?}", sent.1, got.1);
            }
            assert_eq!(seen.first().map(|unit| (*unit.tracks).clone()), Some((*tracks).clone()));
        }
    }
}

#[test]
fn datagrams_out_of_order_are_put_in_order_and_lost_ones_cost_their_picture() {
    let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
    let sent = units(&tracks, 60);
    let mut mixed = packets(&sent, 5);
    for pair in mixed.chunks_exact_mut(5) {
        let (first, last) = (pair[0].0, pair[4].0);
        pair.swap(1, 4);
        (pair[1].0, pair[4].0) = (first, last);
    }
    let (seen, faults) = feed(&mut incoming(&tracks, HOLD), &mixed);
    assert_eq!((faults, of(&seen, Kind::Video).len() >= 59), (vec![], true));
    // A picture in the middle of a group is one packet here.
    let mut at = 0;
    let lossy: Vec<_> = packets(&sent, 5)
        .into_iter()
        .filter(|(_, channel, _)| {
            at += usize::from(*channel == 0);
            *channel != 0 || at != 26
        })
        .collect();
    let (seen, faults) = feed(&mut incoming(&tracks, HOLD), &lossy);
    assert!(faults.contains(&Fault::SequenceGap) && faults.contains(&Fault::KeyFrameAwaited), "{faults:?}");
    let missing = 60 - of(&seen, Kind::Video).len();
    assert!((5..=11).contains(&missing), "up to the next key frame: {missing}");
}

#[test]
fn what_waits_for_a_lost_datagram_is_read_at_the_end() {
    let tracks = Arc::new(testing::tracks(VideoCodec::H264, Some(AudioCodec::G711A)));
    let sound: Vec<_> =
        packets(&units(&tracks, 60), 5).into_iter().filter(|(_, channel, _)| *channel == 2).collect();
    let mut incoming = incoming(&tracks, HOLD);
    let last = sound.last().unwrap().0;
    for (number, (now, _, packet)) in sound.iter().enumerate().filter(|(number, _)| *number != 55) {
        incoming.handle_rtp(if number > 55 { last } else { *now }, 1, packet.clone());
    }
    let count = |incoming: &mut Incoming| {
        let outputs = std::iter::from_fn(|| incoming.poll_output());
        outputs.filter(|output| matches!(output, Output::Unit(_))).count()
    };
    let before = count(&mut incoming);
    incoming.finish(last);
    assert_eq!(count(&mut incoming), sound.len() - 56, "behind {before}");
    incoming.finish(last);
    assert_eq!(count(&mut incoming), 0);
}

#[test]
fn senders_are_told_what_came() {
    let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
    let mut incoming = incoming(&tracks, Duration::ZERO);
    let sent = packets(&units(&tracks, 60), 5);
    feed(&mut incoming, &sent);
    let (number, report) = incoming.poll_report().expect("a report is due");
    let seen: Vec<_> = rtcp::messages(&report).collect();
    assert_eq!((number, seen[0]), (0, Message::ReceiverReport { ssrc: 9 }));
    assert_eq!(report[8..12], sent[0].2[4..8], "about their source");
    assert!(incoming.next_timeout().is_some());
}

#[test]
fn strangers_do_not_count_unless_they_stay() {
    let tracks = Arc::new(testing::tracks(VideoCodec::H264, None));
    let sent = units(&tracks, 40);
    let mut packets: Vec<_> = packets(&sent, 5);
    let strange = |ssrc: u32, packet: &Bytes| {
        let mut bytes = packet.to_vec();
        bytes[8..12].copy_from_slice(&ssrc.to_be_bytes());
        Bytes::from(bytes)
    };
    let one = (packets[20].0, 0, strange(1, &packets[20].2));
    packets.insert(21, one);
    let (seen, faults) = feed(&mut incoming(&tracks, Duration::ZERO), &packets);
    assert_eq!((of(&seen, Kind::Video).len() >= 39, faults), (true, vec![Fault::ForeignPacket]));
    for packet in &mut packets[30..] {
        packet.2 = strange(7, &packet.2);
    }
    let (seen, faults) = feed(&mut incoming(&tracks, Duration::ZERO), &packets);
    assert!(faults.contains(&Fault::SequenceGap), "{faults:?}");
    assert!(of(&seen, Kind::Video).last().unwrap().1.as_millis() >= 1480, "the new source goes on");
}

#[test]
fn what_cannot_be_read_is_named_and_left_out() {
    let text = "m=audio 0 RTP/AVP 97\na=rtpmap:97 L16/8000/2\nm=video 0 RTP/AVP 26\n\
        m=video 0 RTP/AVP 98\na=rtpmap:98 H265/90000\nm=video 0 RTP/AVP 99\na=rtpmap:99 H264/90000\n\
        m=audio 0 RTP/AVP 0\n";
    let description = Description::parse(text.as_bytes()).unwrap();
    let mut incoming = Incoming::new(&description, Options::default(), HOLD, 1);
    let tracks: Vec<_> = incoming.tracks().collect();
    assert_eq!(tracks, [2, 4], "the first of each kind that can be read");
    let mut named = Vec::new();
    while let Some(Output::Fault(fault)) = incoming.poll_output() {
        named.push(fault);
    }
    assert_eq!(named, [Fault::UnsupportedCodec("L16"), Fault::UnsupportedCodec("video")]);
    let none = Description::parse(b"m=video 0 RTP/AVP 26\n").unwrap();
    assert_eq!(Incoming::new(&none, Options::default(), HOLD, 1).tracks().count(), 0);
}
