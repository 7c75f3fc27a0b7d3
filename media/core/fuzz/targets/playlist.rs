//! An HLS playlist: read or refused, what was read keeps its bounds, and the follower never asks for one segment twice.
#![no_main]

use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

use libfuzzer_sys::fuzz_target;
use wire::playlist::{self, Follower, Next, Playlist};

fuzz_target!(|data: &[u8]| {
    let Ok(read) = playlist::parse(data) else { return };
    #[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
    let now = Instant::now();
    match read {
        Playlist::Master(variants) => assert!(playlist::best(&variants).is_some()),
        Playlist::Media(media) => {
            assert!(media.segments.iter().all(|segment| segment.duration <= media.target));
            let (count, ended) = (media.segments.len(), media.ended);
            let mut follower = Follower::new();
            let mut seen = HashSet::new();
            for round in 0..3 {
                follower.handle_list(now + Duration::from_millis(round), media.clone());
                loop {
                    match follower.poll(now) {
                        Next::Segment { number, .. } => {
                            assert!(seen.insert(number) || media.sequence > u64::MAX - 100_001)
                        }
                        Next::End => break assert!(ended),
                        Next::Refresh(_) | Next::Stale(_) => break assert!(!ended),
                    }
                }
            }
            assert!(seen.len() <= count);
        }
    }
});
