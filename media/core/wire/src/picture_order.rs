//! Where a picture stands among those shown, by its order count (H.264 §8.2.1.1, H.265 §8.3.1). Of several parameter sets
//! of a kind the last one counts.

use crate::{
    bits::{Bits, unescape},
    media::VideoCodec,
    nal::{self, NalKind, ParameterSet},
    parameter_sets::{h264, h265},
};

/// So many bytes of a slice hold its order count.
const HEAD: usize = 32;

/// A picture's place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Place {
    /// The count begins anew with it.
    pub(crate) first: bool,
    /// Rises in order of output, mostly by 1 or 2 a picture.
    pub(crate) order: i64,
}

/// A slice's part of the count.
#[derive(Debug, Clone, Copy)]
struct Low {
    first: bool,
    bits: u32,
    value: i64,
    /// Others are counted from it.
    reference: bool,
}

/// Follows the pictures of one stream, in order of decoding.
#[derive(Debug, Default)]
pub(crate) struct PictureOrder {
    h264: Option<h264::OrderFields>,
    h265: Option<h265::OrderFields>,
    slices: Option<(bool, u32)>, // of H.265
    last: i64,                   // the count of the last reference
}

impl PictureOrder {
    /// The place of the picture with these NAL units; `None` where it states none.
    pub(crate) fn handle_picture(&mut self, codec: VideoCodec, annex_b: &[u8]) -> Option<Place> {
        for span in nal::annex_b(annex_b) {
            let nal = &annex_b[span];
            match (nal::kind(codec, nal), codec) {
                (NalKind::Set(ParameterSet::Sequence), VideoCodec::H264) => {
                    self.h264 = h264::order_fields(nal);
                }
                (NalKind::Set(ParameterSet::Sequence), VideoCodec::H265) => {
                    self.h265 = h265::order_fields(nal);
                }
                (NalKind::Set(ParameterSet::Picture), VideoCodec::H265) => {
                    self.slices = h265::slice_fields(nal);
                }
                (NalKind::KeySlice | NalKind::Slice, _) => {
                    let low = if codec == VideoCodec::H264 { self.h264(nal) } else { self.h265(nal) };
                    return low.map(|low| self.count(low));
                }
                _ => {}
            }
        }
        None
    }

    /// The whole count: what is nearest to that of the last reference.
    fn count(&mut self, low: Low) -> Place {
        let period = 1 << low.bits;
        let last = if low.first { 0 } else { self.last };
        let delta = (low.value - last).rem_euclid(period);
        let order = last + if delta >= period / 2 { delta - period } else { delta };
        if low.reference {
            self.last = order;
        }
        Place { first: low.first, order }
    }

    /// The head of a slice (H.264 §7.3.3).
    fn h264(&self, nal: &[u8]) -> Option<Low> {
        let fields = self.h264?;
        let header = *nal.first()?;
        let first = header & 0x1F == 5;
        let bytes = unescape(&nal[1..], HEAD);
        let mut bits = Bits::new(&bytes);
        for _ in 0..3 {
            bits.ue()?; // first_mb_in_slice, slice_type, pic_parameter_set_id
        }
        bits.skip(if fields.planes { 2 } else { 0 })?;
        bits.skip(fields.frame_number_bits as usize)?;
        if !fields.frames_only && bits.flag()? {
            bits.skip(1)?; // bottom_field_flag
        }
        if first {
            bits.ue()?; // idr_pic_id
        }
        let value = i64::from(bits.read(fields.order_bits)?);
        Some(Low { first, bits: fields.order_bits, value, reference: header & 0x60 != 0 })
    }

    /// The head of a picture's first slice segment (H.265 §7.3.6.1).
    fn h265(&self, nal: &[u8]) -> Option<Low> {
        let (fields, (output_flag, extra_bits)) = (self.h265?, self.slices?);
        let &[header, layer, ref rest @ ..] = nal else { return None };
        let kind = header >> 1 & 0x3F;
        let first = (16..=20).contains(&kind); // BLA and IDR
        // Of the pictures below 16 the even ones are no reference, RADL and RASL (6 to 9) count as such (§8.3.1).
        let reference = layer & 7 == 1 && (kind >= 16 || (kind & 1 == 1 && kind < 6));
        let bytes = unescape(rest, HEAD);
        let mut bits = Bits::new(&bytes);
        bits.flag()?.then_some(())?; // first_slice_segment_in_pic_flag
        if (16..=23).contains(&kind) {
            bits.skip(1)?; // no_output_of_prior_pics_flag
        }
        bits.ue()?; // slice_pic_parameter_set_id
        bits.skip(extra_bits as usize)?;
        bits.ue()?; // slice_type
        bits.skip(usize::from(output_flag) + if fields.planes { 2 } else { 0 })?;
        let value = if matches!(kind, 19 | 20) { 0 } else { i64::from(bits.read(fields.order_bits)?) };
        Some(Low { first, bits: fields.order_bits, value, reference })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{H264_PPS, H264_SPS, H265_PPS, H265_SPS, H265_VPS};

    /// Bits as the two codings write them, most significant first.
    #[derive(Default)]
    struct Writer(Vec<bool>);

    impl Writer {
        fn put(mut self, count: u32, value: u32) -> Self {
            self.0.extend((0..count).rev().map(|bit| value >> bit & 1 == 1));
            self
        }

        fn ue(self, value: u32) -> Self {
            let len = (value + 1).ilog2();
            self.put(len, 0).put(len + 1, value + 1)
        }

        /// Behind `header`, and something behind it.
        fn nal(self, header: &[u8]) -> Vec<u8> {
            let bits = self.put(24, 0xFF_FFFF).0;
            let bytes =
                bits.chunks(8).map(|bits| bits.iter().fold(0, |byte, &bit| byte << 1 | u8::from(bit)));
            header.iter().copied().chain(bytes).collect()
        }
    }

    fn annex_b(nals: &[&[u8]]) -> Vec<u8> {
        nals.iter().flat_map(|nal| [&[0, 0, 0, 1][..], nal].concat()).collect()
    }

    fn orders(codec: VideoCodec, pictures: &[Vec<u8>]) -> Vec<Option<(bool, i64)>> {
        let mut order = PictureOrder::default();
        let place = |picture: &Vec<u8>| order.handle_picture(codec, picture);
        pictures.iter().map(place).map(|place| place.map(|place| (place.first, place.order))).collect()
    }

    #[test]
    fn counts_of_h264_are_unrolled_from_reference_to_reference() {
        let fields = h264::order_fields(H264_SPS).unwrap();
        assert!(fields.frames_only && !fields.planes);
        let period = 1 << fields.order_bits;
        let slice = |header: u8, count: i64| {
            let head = Writer::default().ue(0).ue(5).ue(0).put(fields.frame_number_bits, 1);
            let head = if header & 0x1F == 5 { head.ue(3) } else { head };
            head.put(fields.order_bits, count.rem_euclid(period) as u32).nal(&[header])
        };
        // References (41) come before the pictures (01) shown before them.
        let counts: Vec<i64> = (0..40).flat_map(|group| [6, 2, 4].map(|step| group * 6 + step)).collect();
        let mut pictures = vec![annex_b(&[H264_SPS, H264_PPS, &slice(0x65, 0)])];
        let header = |count: i64| if count % 6 == 0 { 0x41 } else { 0x01 };
        pictures.extend(counts.iter().map(|&count| annex_b(&[&slice(header(count), count)])));
        pictures.push(annex_b(&[&slice(0x65, 0)]));
        let mut wanted = vec![Some((true, 0))];
        wanted.extend(counts.iter().map(|&count| Some((false, count))));
        wanted.push(Some((true, 0)));
        assert_eq!(orders(VideoCodec::H264, &pictures), wanted);
    }

    #[test]
    fn counts_of_h265_are_unrolled_too() {
        let fields = h265::order_fields(H265_SPS).unwrap();
        let (output_flag, extra_bits) = h265::slice_fields(H265_PPS).unwrap();
        assert_eq!((output_flag, extra_bits), (false, 0));
        let slice = |kind: u8, count: i64| {
            let head = Writer::default().put(1, 1).ue(0).ue(1);
            head.put(fields.order_bits, count.rem_euclid(1 << fields.order_bits) as u32).nal(&[kind << 1, 1])
        };
        let first = Writer::default().put(1, 1).put(1, 0).ue(0).ue(2).nal(&[0x26, 1]);
        let counts: Vec<i64> = (0..200).flat_map(|group| [3, 1, 2].map(|step| group * 3 + step)).collect();
        let mut pictures = vec![annex_b(&[H265_VPS, H265_SPS, H265_PPS, &first])];
        let kind = |count: i64| u8::from(count % 3 == 0);
        pictures.extend(counts.iter().map(|&count| annex_b(&[&slice(kind(count), count)])));
        let mut wanted = vec![Some((true, 0))];
        wanted.extend(counts.iter().map(|&count| Some((false, count))));
        assert_eq!(orders(VideoCodec::H265, &pictures), wanted);
    }

    #[test]
    fn without_parameter_sets_or_whole_slices_nothing_is_told() {
        let cut = annex_b(&[H264_SPS, H264_PPS, &[0x65, 0x88]]);
        assert_eq!(orders(VideoCodec::H264, &[annex_b(&[&[0x41, 0x9A, 0, 0, 0]]), cut, vec![]]), [None; 3]);
    }
}
