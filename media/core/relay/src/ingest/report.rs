//! A stream's figures, gathered when somebody asks.

use std::collections::BTreeMap;

use wire::media::{AudioCodec, Tracks, VideoCodec};

use super::{Source, Stream};
use crate::{hub::form::Protocol, shard::turn::Turn, stats::StreamStats};

impl Stream {
    /// A snapshot, with what `source` knows.
    pub(crate) fn stats(&mut self, source: &Source, turn: Turn<'_>) -> StreamStats {
        let tracks = self.hub.tracks();
        let (video, audio) = (tracks.video.clone(), tracks.audio.clone());
        let mut stats = StreamStats {
            app: self.entry.app.to_string(),
            name: self.entry.name.to_string(),
            receiver: self.entry.id,
            transport: self.entry.transport,
            port: self.entry.port,
            peer: None,
            ssrc: None,
            payload: None,
            private: self.entry.rights.get().private,
            opened_ms: self.entry.opened_ms,
            first_packet_ms: self.firsts.packet_ms,
            first_key_frame_ms: self.firsts.key_frame_ms,
            video_codec: video.as_ref().map(|track| video_name(track.codec)),
            width: video.as_ref().map_or(0, |track| track.width),
            height: video.as_ref().map_or(0, |track| track.height),
            fps: self.hub.pictures.fps(turn.second),
            gop: self.hub.pictures.gop(),
            audio_codec: audio.as_ref().map(|track| audio_name(track.codec)),
            sample_rate: audio.as_ref().map_or(0, |track| track.sample_rate),
            channels: audio.as_ref().map_or(0, |track| track.channels),
            expected: 0,
            received: 0,
            lost: 0,
            reordered: 0,
            duplicates: 0,
            rejected: 0,
            jitter_ms: 0.0,
            bytes_in: self.bytes_in,
            bytes_out: self.hub.bytes_out,
            rate_in_bps: self.rate_in.bps(turn.second),
            rate_out_bps: self.hub.out.bps(turn.second),
            rate_video_bps: self.hub.video.bps(turn.second),
            rate_audio_bps: self.hub.audio.bps(turn.second),
            viewers: self.viewers(),
            faults: self.all_faults(),
        };
        match source {
            Source::Receiver(receiver) => receiver.fill(&mut stats),
            Source::Fed(fed) => fed.fill(&mut stats),
        }
        stats
    }

    fn viewers(&self) -> BTreeMap<&'static str, u32> {
        let live = Protocol::ALL.map(|protocol| (protocol.name(), self.hub.viewers(protocol)));
        let others = [("hls", self.entry.feeds.players()), ("whep", 0), ("gb28181", self.hub.senders())];
        let mut viewers: BTreeMap<_, _> = live.into_iter().chain(others).collect();
        for protocol in self.hub.subscribers() {
            *viewers.entry(protocol).or_default() += 1;
        }
        viewers
    }

    fn all_faults(&self) -> BTreeMap<&'static str, u64> {
        let own = [("gop_too_big", self.hub.gop_overflows())];
        self.faults.iter().chain(own.into_iter().filter(|(_, count)| *count > 0)).collect()
    }
}

/// Codecs and size, as events tell them.
pub(super) fn describe(tracks: &Tracks) -> Vec<(&'static str, String)> {
    let mut detail = Vec::new();
    if let Some(video) = &tracks.video {
        detail.push(("video", video_name(video.codec).to_owned()));
        detail.push(("width", video.width.to_string()));
        detail.push(("height", video.height.to_string()));
    }
    if let Some(audio) = &tracks.audio {
        detail.push(("audio", audio_name(audio.codec).to_owned()));
        detail.push(("sample_rate", audio.sample_rate.to_string()));
    }
    detail
}

fn video_name(codec: VideoCodec) -> &'static str {
    match codec {
        VideoCodec::H264 => "H264",
        VideoCodec::H265 => "H265",
    }
}

fn audio_name(codec: AudioCodec) -> &'static str {
    match codec {
        AudioCodec::G711A => "PCMA",
        AudioCodec::G711U => "PCMU",
        AudioCodec::Aac => "AAC",
        AudioCodec::Opus => "OPUS",
    }
}
