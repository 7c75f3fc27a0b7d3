//! NAL units of H.264 (ITU-T H.264 §7.3.1, annex B) and H.265 (ITU-T H.265 §7.3.1, annex B): finding them,
//! telling them apart, and putting lengths in place of start codes.

use std::ops::Range;

use bytes::{BufMut, BytesMut};

use crate::media::VideoCodec;

const START_CODE_LEN: usize = 3;

/// A kind of parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ParameterSet {
    /// Video (H.265).
    Video,
    /// Sequence.
    Sequence,
    /// Picture.
    Picture,
}

/// What a NAL unit is to the relay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NalKind {
    /// A slice of a picture at which decoding can start: IDR; in H.265 also CRA and BLA.
    KeySlice,
    /// A slice of any other picture.
    Slice,
    /// A parameter set.
    Set(ParameterSet),
    /// The mark before an access unit.
    Delimiter,
    /// Supplemental information before the picture.
    Supplement,
    /// Anything else.
    Other,
}

impl NalKind {
    /// Whether it is a slice of any picture.
    pub fn is_slice(self) -> bool {
        matches!(self, Self::KeySlice | Self::Slice)
    }
}

/// Tells what `nal` is, by its header alone.
pub fn kind(codec: VideoCodec, nal: &[u8]) -> NalKind {
    let Some(&header) = nal.first() else { return NalKind::Other };
    match codec {
        VideoCodec::H264 => match header & 0x1F {
            5 => NalKind::KeySlice,
            1..=4 => NalKind::Slice,
            6 => NalKind::Supplement,
            7 => NalKind::Set(ParameterSet::Sequence),
            8 => NalKind::Set(ParameterSet::Picture),
            9 => NalKind::Delimiter,
            _ => NalKind::Other,
        },
        VideoCodec::H265 => match header >> 1 & 0x3F {
            16..=21 => NalKind::KeySlice,
            0..=31 => NalKind::Slice,
            32 => NalKind::Set(ParameterSet::Video),
            33 => NalKind::Set(ParameterSet::Sequence),
            34 => NalKind::Set(ParameterSet::Picture),
            35 => NalKind::Delimiter,
            39 => NalKind::Supplement,
            _ => NalKind::Other,
        },
    }
}

/// Whether `nal`, coming after slices, begins another access unit (H.264 §7.4.1.2.3, H.265 §7.4.2.4.4).
/// A slice does if it holds the first block of its picture.
pub fn starts_access_unit(codec: VideoCodec, nal: &[u8]) -> bool {
    match kind(codec, nal) {
        NalKind::KeySlice | NalKind::Slice => {
            let header = if codec == VideoCodec::H264 { 1 } else { 2 };
            nal.get(header).is_some_and(|byte| byte & 0x80 != 0) // first_mb_in_slice 0, first_slice_segment 1
        }
        NalKind::Other => false,
        NalKind::Set(_) | NalKind::Delimiter | NalKind::Supplement => true,
    }
}

/// Whether `nal` is a slice that begins no picture. Where the coding is not known, only what can be nothing else is taken for
/// one: the headers of slices are odd in H.264 and even in H.265, but so is that of supplemental information in H.264.
pub fn continues_picture(codec: Option<VideoCodec>, nal: &[u8]) -> bool {
    match (codec, nal) {
        (Some(VideoCodec::H264) | None, &[header, first, ..]) if matches!(header & 0x9F, 1 | 5) => {
            first & 0x80 == 0
        }
        // TRAIL_N and TRAIL_R would be nothing, or a data partition, in H.264.
        (None, &[0x00 | 0x02, 1..=7, first, ..]) => first & 0x80 == 0,
        (Some(VideoCodec::H265), &[header, 1..=7, first, ..]) => {
            header & 0x81 == 0 && matches!(header >> 1, 0..=9 | 16..=21) && first & 0x80 == 0
        }
        _ => false,
    }
}

/// The coding that `nal` proves, if it is a parameter set that only one coding can have.
pub fn evidence(nal: &[u8]) -> Option<VideoCodec> {
    match *nal {
        [0x40 | 0x42 | 0x44, 0x01, _, ..] => Some(VideoCodec::H265), // VPS, SPS, PPS of layer 0
        [0x27 | 0x47 | 0x67, profile, _, level, ..]
            if matches!(profile, 44 | 66 | 77 | 83 | 86 | 88 | 100 | 110 | 118 | 122 | 128 | 138 | 244)
                && (9..=62).contains(&level) =>
        {
            Some(VideoCodec::H264)
        }
        _ => None,
    }
}

/// The NAL units of an Annex B stream, without start codes and without zeros behind them.
pub fn annex_b(data: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut codes = start_codes(data);
    let mut code = codes.next();
    std::iter::from_fn(move || {
        loop {
            let start = code? + START_CODE_LEN;
            code = codes.next();
            let end = without_zeros(data, start, code.unwrap_or(data.len()));
            if start < end {
                return Some(start..end);
            }
        }
    })
}

/// Where start codes begin: the two zeros just before a one.
fn start_codes(data: &[u8]) -> impl Iterator<Item = usize> + '_ {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let pair = cpu::zero_pair(data, from)?;
            let behind = pair + 2 + data[pair + 2..].iter().position(|&byte| byte != 0)?;
            from = behind + 1;
            if data[behind] == 1 {
                return Some(behind - 2);
            }
        }
    })
}

fn without_zeros(data: &[u8], start: usize, end: usize) -> usize {
    start + data[start..end].iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
}

/// Turns an Annex B stream into NAL units behind 4-byte lengths: in place if all start codes have 4 bytes, else
/// with one copy. Bytes before the first start code are dropped. `spans` is scratch space.
pub fn into_length_prefixed(mut data: BytesMut, spans: &mut Vec<Range<usize>>) -> BytesMut {
    spans.clear();
    spans.extend(annex_b(&data));
    let mut end = 0;
    let in_place = spans.iter().all(|span| span.start - std::mem::replace(&mut end, span.end) == 4);
    if in_place {
        data.truncate(end);
        for span in spans.iter() {
            data[span.start - 4..span.start].copy_from_slice(&(span.len() as u32).to_be_bytes());
        }
        return data;
    }
    let mut out = BytesMut::with_capacity(spans.iter().map(|span| span.len() + 4).sum());
    for span in spans.iter() {
        out.put_u32(span.len() as u32);
        out.put_slice(&data[span.clone()]);
    }
    out
}

/// The NAL units of an access unit; ends silently at a length that does not fit.
pub fn length_prefixed(mut data: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    std::iter::from_fn(move || {
        let (len, rest) = data.split_first_chunk::<4>()?;
        let len = u32::from_be_bytes(*len) as usize;
        let nal = rest.get(..len)?;
        data = &rest[len..];
        Some(nal)
    })
}

/// Whether these are NAL units with their lengths, and nothing else.
pub fn is_length_prefixed(data: &[u8]) -> bool {
    !data.is_empty() && length_prefixed(data).map(|nal| nal.len() + 4).sum::<usize>() == data.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(data: &[u8]) -> Vec<Vec<u8>> {
        let out = into_length_prefixed(BytesMut::from(data), &mut Vec::new());
        assert_eq!(length_prefixed(&out).map(|nal| nal.len() + 4).sum::<usize>(), out.len());
        length_prefixed(&out).map(<[u8]>::to_vec).collect()
    }

    #[test]
    fn start_codes_of_three_and_four_bytes_and_zeros_behind_are_cut() {
        let wanted = [vec![0x67, 1], vec![0x68], vec![0x65, 0, 0, 3, 1]];
        assert_eq!(convert(b"\0\0\0\x01\x67\x01\0\0\0\x01\x68\0\0\0\x01\x65\0\0\x03\x01"), wanted);
        assert_eq!(convert(b"\0\0\x01\x67\x01\0\0\x01\x68\0\0\x01\x65\0\0\x03\x01"), wanted);
        assert_eq!(
            convert(b"\xFF\0\0\x01\x67\x01\0\0\0\0\0\x01\x68\0\0\0\x01\x65\0\0\x03\x01\0\0\0"),
            wanted
        );
        assert!(convert(b"").is_empty());
        assert!(convert(b"\0\0\x01\0\0\0\x01").is_empty());
    }

    #[test]
    fn lengths_go_into_the_same_memory() {
        let data = BytesMut::from(&b"\0\0\0\x01\x67\x01\0\0\0\x01\x68\x02\0"[..]);
        let place = data.as_ptr();
        let out = into_length_prefixed(data, &mut Vec::new());
        assert_eq!(out.as_ptr(), place);
        assert_eq!(&out[..], b"\0\0\0\x02\x67\x01\0\0\0\x02\x68\x02");
    }

    #[test]
    fn parameter_sets_prove_the_coding() {
        assert_eq!(evidence(&[0x67, 100, 0, 31]), Some(VideoCodec::H264));
        assert_eq!(evidence(&[0x42, 1, 1]), Some(VideoCodec::H265));
        for nal in [&[0x65, 0x88, 0x80, 0][..], &[0x26, 1, 0xAF], &[0x41, 0x9A, 1], &[0x67], &[]] {
            assert_eq!(evidence(nal), None);
        }
    }

    #[test]
    fn slices_in_the_middle_of_a_picture_continue_it() {
        const H264: Option<VideoCodec> = Some(VideoCodec::H264);
        const H265: Option<VideoCodec> = Some(VideoCodec::H265);
        for nal in [&[0x41, 0x40][..], &[0x65, 0x7F], &[0x01, 0]] {
            assert_eq!([H264, H265, None].map(|codec| continues_picture(codec, nal)), [true, false, true]);
        }
        for nal in [&[0x02, 1, 0x40][..], &[0x00, 2, 0x7F]] {
            assert_eq!([H264, H265, None].map(|codec| continues_picture(codec, nal)), [false, true, true]);
        }
        assert!(continues_picture(H265, &[0x26, 1, 0]));
        for nal in
            [&[0x41, 0x88][..], &[0x65], &[0x67, 0, 1], &[0x02, 1, 0x80], &[0x02, 1], &[0x40, 1, 0], &[]]
        {
            assert!([H264, H265, None].iter().all(|&codec| !continues_picture(codec, nal)), "{nal:?}");
        }
    }

    #[test]
    fn supplemental_information_continues_no_picture() {
        for nal in [[0x06, 1, 4], [0x06, 5, 0x2F], [0x06, 4, 0x47], [0x06, 6, 1]] {
            for codec in [Some(VideoCodec::H264), None] {
                assert!(!continues_picture(codec, &nal), "{nal:?}");
            }
        }
        for codec in [Some(VideoCodec::H265), None] {
            assert!(!continues_picture(codec, &[0x4E, 1, 5]));
        }
    }

    #[test]
    fn first_slices_and_what_precedes_them_start_an_access_unit() {
        for (nal, starts) in
            [(&[0x65, 0x88][..], true), (&[0x65, 0x40], false), (&[0x67, 1], true), (&[12], false)]
        {
            assert_eq!(starts_access_unit(VideoCodec::H264, nal), starts, "{nal:?}");
        }
        for (nal, starts) in [(&[0x02, 1, 0x80][..], true), (&[0x02, 1, 0x40], false), (&[0x40, 1, 0], true)]
        {
            assert_eq!(starts_access_unit(VideoCodec::H265, nal), starts, "{nal:?}");
        }
    }
}
