//! A frame that is being put together.

use bytes::BytesMut;

use super::{Event, PROBE, UNPROVED};
use crate::{endings::Tail, media::VideoCodec, nal, ps::PesHeader, timeline::Stamp};

/// Clock of RTP timestamps for PS (RFC 2250 §3, GB/T 28181-2016 annex C).
pub(super) const CLOCK: u32 = 90_000;
/// A start code that begins a frame has at most so many bytes before its 1.
pub(super) const ZEROS_MAX: usize = 64;

/// What is there of a frame.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) data: BytesMut,
    pub(super) pts: Option<u64>,
    pub(super) dts: Option<u64>,
    pub(super) timestamp: u32,
    pub(super) packets: u32,
    pub(super) parts: u32, // PES packets
    pub(super) damaged: bool,
    pub(super) times: OtherTimes,
    /// A pack of another time began: the next PES packet of video should begin another frame.
    pub(super) over: bool,
    /// What was heard since.
    pub(super) sound: Vec<Event>,
    /// How the last packet that the frame was open at ended.
    pub(super) tail: Tail,
    /// A PES packet began here that may be another frame.
    pub(super) seam: Option<Seam>,
    /// What the NAL units before `looked` show.
    looked: usize,
    proved: Option<VideoCodec>,
    sliced: bool,
}

/// What RTP times other than its first one a frame has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OtherTimes {
    None,
    /// Another one came: packets are stamped when they are sent, or this was none of the frame's.
    Came,
    /// The frame's own came again behind it.
    Went,
    /// And then there was more of it than it said: what came between was none of it.
    Strange,
}

/// A place in a frame at which another one may begin: what comes behind shows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seam {
    pub(super) at: usize,
    pub(super) pts: Option<u64>,
    pub(super) dts: Option<u64>,
    pub(super) timestamp: u32,
    pub(super) tail: Tail, // of the packet before
    /// Its time is another one: only bytes in the middle of a picture can belong to the same frame.
    pub(super) apart: bool,
}

impl Open {
    pub(super) fn new(capacity: usize, header: &PesHeader, timestamp: u32) -> Self {
        Self {
            data: BytesMut::with_capacity(capacity),
            pts: header.pts,
            dts: header.dts,
            timestamp,
            packets: 0,
            parts: 1,
            damaged: false,
            times: OtherTimes::None,
            over: false,
            sound: Vec::new(),
            tail: Tail::default(),
            seam: None,
            looked: 0,
            proved: None,
            sliced: false,
        }
    }

    /// Whether more bytes of this RTP time change nothing but the frame's length.
    pub(super) fn is_plain(&self, timestamp: u32) -> bool {
        let told = self.tail.marker || self.tail.short || self.times != OtherTimes::None;
        self.timestamp == timestamp && !(self.damaged || self.over || told) && self.seam.is_none()
    }

    pub(super) fn stamp(&self) -> Stamp {
        match self.pts {
            Some(pts) => Stamp::Pes { pts, dts: self.dts },
            None => Stamp::Rtp { timestamp: self.timestamp, rate: CLOCK },
        }
    }

    /// Whether a PES packet of another time has begun, and the last bytes are most likely those of another frame.
    pub(super) fn is_apart(&self) -> bool {
        self.seam.is_some_and(|seam| seam.apart)
    }

    /// Bytes of the frame, without those of one that may have begun behind it.
    pub(super) fn len(&self) -> usize {
        let begun = self.seam.filter(|seam| seam.apart).map_or(0, |seam| seam.at);
        self.data.len() - begun
    }

    /// The frame that begins at `seam`, taken off this one.
    pub(super) fn split_off(&mut self, seam: Seam) -> Self {
        let header = PesHeader { stream_id: 0, pts: seam.pts, dts: seam.dts, len: None };
        let mut next = Self::new(0, &header, seam.timestamp);
        (next.data, next.packets) = (self.data.split_off(seam.at), 1);
        next
    }

    /// Looks at the NAL units before `end`, up to the first slice, and none twice; the coding that sets among them prove, else
    /// the one that is `known`.
    pub(super) fn coding(&mut self, known: Option<VideoCodec>, end: usize) -> Option<VideoCodec> {
        if !self.sliced && self.looked < end {
            let bytes = &self.data[self.looked..end];
            for nal in nal::annex_b(bytes).map(|span| &bytes[span]) {
                self.proved = nal::evidence(nal).or(self.proved);
                let codec = self.proved.or(known).unwrap_or(UNPROVED);
                self.sliced = nal::kind(codec, nal).is_slice();
                if self.sliced {
                    break;
                }
            }
            self.looked = end.saturating_sub(PROBE).max(self.looked); // a start code may go on behind the end
        }
        self.proved.or(known)
    }

    /// Whether a picture lies before `seam` and what stands behind it begins another one. Parameter sets of the frame prove
    /// its coding.
    pub(super) fn holds_two(&mut self, known: Option<VideoCodec>, seam: Seam) -> bool {
        let behind = &self.data[seam.at..];
        let behind = &behind[..behind.len().min(ZEROS_MAX)];
        let Some(first) = nal::annex_b(behind).next().filter(|span| span.start <= 4) else { return false };
        let mut head = [0; PROBE];
        let len = first.len().min(PROBE);
        head[..len].copy_from_slice(&behind[first][..len]);
        let codec = self.coding(known, seam.at).unwrap_or(UNPROVED);
        self.sliced && nal::starts_access_unit(codec, &head[..len])
    }
}

/// Whether `data` begins with a slice from the middle of its picture.
pub(super) fn begins_inside(codec: Option<VideoCodec>, data: &[u8]) -> bool {
    let zeros = data.iter().take(ZEROS_MAX).take_while(|&&byte| byte == 0).count();
    matches!(data.get(zeros..), Some([1, nal @ ..]) if zeros >= 2 && nal::continues_picture(codec, nal))
}

/// Whether `data` begins with a start code, or is too short to tell.
pub(crate) fn begins_with_code(data: &[u8]) -> bool {
    let zeros = data.iter().take(ZEROS_MAX).take_while(|&&byte| byte == 0).count();
    data.get(zeros).map_or(zeros == data.len(), |&byte| zeros >= 2 && byte == 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{H264_PPS, H264_SPS, H265_PPS, H265_SPS, H265_VPS};

    #[test]
    fn what_is_looked_at_bit_by_bit_shows_the_same_as_at_once() {
        let header = PesHeader { stream_id: 0xE0, pts: None, dts: None, len: None };
        let sets: [(_, &[&[u8]]); 2] = [
            (VideoCodec::H264, &[&[0x09, 0xF0], H264_SPS, H264_PPS, &[0x65, 0x88]]),
            (VideoCodec::H265, &[&[0x46, 1, 0x50], H265_VPS, H265_SPS, H265_PPS, &[0x26, 1, 0xAF]]),
        ];
        for (codec, nals) in sets {
            let bytes: Vec<u8> = nals.iter().flat_map(|nal| [&[0, 0, 0, 1][..], nal].concat()).collect();
            let sets = bytes.len() - nals.last().unwrap().len();
            for step in 1..bytes.len() {
                let mut frame = Open::new(64, &header, 0);
                frame.data.extend_from_slice(&bytes);
                for end in (0..sets).step_by(step).chain([sets]) {
                    frame.coding(None, end);
                    assert!(!frame.sliced && frame.looked + PROBE >= end, "{codec:?}, {end} by {step}");
                }
                assert_eq!((frame.coding(None, bytes.len()), frame.sliced), (Some(codec), true));
            }
        }
    }
}
