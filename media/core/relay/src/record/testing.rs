//! Small streams and a disk in memory, for the recorder's tests.

use std::sync::Arc;

use bytes::Bytes;
use wire::media::{AccessUnit, Kind, Ticks, Tracks, VideoCodec, VideoTrack};

/// The tracks of a stream without sound, one value for all.
pub(crate) fn tracks() -> Arc<Tracks> {
    static TRACKS: std::sync::OnceLock<Arc<Tracks>> = std::sync::OnceLock::new();
    Arc::clone(TRACKS.get_or_init(|| {
        let video = VideoTrack {
            codec: VideoCodec::H264,
            width: 352,
            height: 288,
            rate: None,
            vps: vec![],
            sps: vec![],
            pps: vec![],
        };
        Arc::new(Tracks { video: Some(video), audio: None })
    }))
}

/// A picture of `size` bytes.
pub(crate) fn picture(at_ms: i64, key: bool, size: usize) -> AccessUnit {
    let at = Ticks::from_millis(at_ms);
    let data = Bytes::from(vec![0; size]);
    AccessUnit { kind: Kind::Video, dts: at, pts: at, key, data, tracks: tracks() }
}
