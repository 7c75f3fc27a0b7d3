//! What a frame's memory is.

use super::*;

/// Frames of so many PES packets of 9,000 bytes each; what was reserved for the last of them.
fn reserved(frames: &mut Frames, parts: [usize; 3]) -> usize {
    for (parts, time) in parts.into_iter().zip(1_u32..) {
        frames.begin_packet(time);
        frames.pack();
        for part in 0..parts {
            let pts = (part == 0).then_some(u64::from(time));
            frames.pes(&PesHeader { stream_id: 0xE0, pts, dts: None, len: Some(9000) });
            frames.data(&[1; 9000]);
            frames.pes_end(true);
        }
    }
    frames.finish_video();
    let last = std::iter::from_fn(|| frames.poll_event()).last();
    let Some(Event::Frame(Frame { data, .. })) = last else { panic!("{last:?}") };
    assert_eq!(data.len(), parts[2] * 9000);
    data.capacity()
}

#[test]
fn a_frame_of_one_pes_packet_takes_no_more_than_its_bytes() {
    assert_eq!(reserved(&mut Frames::of_aligned(1 << 20), [1, 1, 1]), 9000);
    assert_eq!(reserved(&mut Frames::of_aligned(1 << 20), [2, 2, 2]), 22_500, "a quarter above the last one");
    assert_eq!(reserved(&mut Frames::of_aligned(1 << 20), [2, 2, 1]), 22_500);
}
