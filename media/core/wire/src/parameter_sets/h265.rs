//! Sequence parameter sets of H.265 (ITU-T H.265 §7.3.2.2, §7.3.3, §7.3.7, §E.2.1).

use super::{SpsInfo, rate, skip_looks};
use crate::{
    bits::{Bits, unescape},
    nal::ParameterSet,
};

const BYTES_MAX: usize = 1024;

/// The set's id.
pub(super) fn id(set: ParameterSet, nal: &[u8]) -> Option<u32> {
    match set {
        ParameterSet::Video => Some(u32::from(nal.get(2)? >> 4)),
        ParameterSet::Picture => Bits::new(&unescape(nal.get(2..)?, 8)).ue(),
        ParameterSet::Sequence => {
            let bytes = unescape(nal.get(2..)?, 128);
            let mut bits = Bits::new(&bytes);
            bits.skip(4)?;
            let layers = bits.read(3)?;
            bits.skip(1)?;
            profile_tier_level(&mut bits, layers)?;
            bits.ue()
        }
    }
}

/// What must be known of a sequence to read the order count of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrderFields {
    pub(crate) planes: bool,
    /// Bits of the order count.
    pub(crate) order_bits: u32,
}

/// Reads it from a sequence parameter set.
pub(crate) fn order_fields(nal: &[u8]) -> Option<OrderFields> {
    let bytes = unescape(nal.get(2..)?, BYTES_MAX);
    let mut bits = Bits::new(&bytes);
    bits.skip(4)?;
    let layers = bits.read(3)?;
    bits.skip(1)?;
    profile_tier_level(&mut bits, layers)?;
    bits.ue()?; // sps_seq_parameter_set_id
    let chroma_format = bits.ue()?;
    let planes = chroma_format == 3 && bits.flag()?;
    size(&mut bits, chroma_format, planes)?;
    bits.ue()?;
    bits.ue()?; // bit depths
    let order_bits = bits.ue()?.checked_add(4)?; // log2_max_pic_order_cnt_lsb_minus4
    (order_bits <= 16).then_some(OrderFields { planes, order_bits })
}

/// What a picture parameter set states of the heads of slices: whether they have an output flag, and how many bits more.
pub(crate) fn slice_fields(nal: &[u8]) -> Option<(bool, u32)> {
    let bytes = unescape(nal.get(2..)?, 16);
    let mut bits = Bits::new(&bytes);
    bits.ue()?;
    bits.ue()?; // ids of the set and of its sequence
    bits.skip(1)?; // dependent_slice_segments_enabled_flag
    Some((bits.flag()?, bits.read(3)?))
}

pub(super) fn parse(nal: &[u8]) -> Option<SpsInfo> {
    let bytes = unescape(nal.get(2..)?, BYTES_MAX);
    let mut bits = Bits::new(&bytes);
    bits.skip(4)?; // sps_video_parameter_set_id
    let layers = bits.read(3)?; // sps_max_sub_layers_minus1
    bits.skip(1)?; // sps_temporal_id_nesting_flag
    let (profile, compatibility, level) = profile_tier_level(&mut bits, layers)?;
    (bits.ue()? < 16).then_some(())?; // sps_seq_parameter_set_id
    let chroma_format = bits.ue()?;
    let planes = chroma_format == 3 && bits.flag()?;
    let (width, height) = size(&mut bits, chroma_format, planes)?;
    let (luma_depth, chroma_depth) = (bits.ue()?.checked_add(8)?, bits.ue()?.checked_add(8)?);
    (chroma_format <= 3 && luma_depth <= 16 && chroma_depth <= 16).then_some(())?;
    let order = ordering(&mut bits, layers);
    let timing = order.and_then(|order| timing(&mut bits, order.bits));
    Some(SpsInfo {
        profile,
        compatibility,
        level,
        chroma_format: chroma_format as u8,
        luma_depth: luma_depth as u8,
        chroma_depth: chroma_depth as u8,
        width,
        height,
        rate: timing.and_then(|(scale, unit)| rate(scale, unit)),
        reorder: order.map(|order| order.reorder),
    })
}

/// Profile, compatibility flags and level (§7.3.3).
fn profile_tier_level(bits: &mut Bits, layers: u32) -> Option<(u8, u32, u8)> {
    bits.skip(3)?; // general_profile_space, general_tier_flag
    let profile = bits.read(5)? as u8;
    let compatibility = bits.read(32)?;
    bits.skip(48)?; // constraint flags
    let level = bits.read(8)? as u8;
    let mut present = 0;
    for _ in 0..layers {
        present += bits.read(1)? as usize * 88 + bits.read(1)? as usize * 8;
    }
    if layers > 0 {
        bits.skip(2 * (8 - layers as usize))?;
    }
    bits.skip(present)?;
    Some((profile, compatibility, level))
}

/// Width and height inside the conformance window; 0 for a picture that is cropped away.
fn size(bits: &mut Bits, chroma_format: u32, planes: bool) -> Option<(u32, u32)> {
    let (width, height) = (bits.ue()?, bits.ue()?);
    if !bits.flag()? {
        return Some((width, height));
    }
    let (unit_x, unit_y) = match chroma_format {
        1 if !planes => (2, 2),
        2 => (2, 1),
        _ => (1, 1),
    };
    let (left, right, top, bottom) = (bits.ue()?, bits.ue()?, bits.ue()?, bits.ue()?);
    let cut_x = left.checked_add(right)?.checked_mul(unit_x)?;
    let cut_y = top.checked_add(bottom)?.checked_mul(unit_y)?;
    Some((width.saturating_sub(cut_x), height.saturating_sub(cut_y)))
}

/// What the set states of the order of pictures.
#[derive(Clone, Copy)]
struct Ordering {
    /// Bits of the order count.
    bits: u32,
    /// `sps_max_num_reorder_pics` of the highest sub-layer.
    reorder: u32,
}

/// From behind the bit depths as far as the buffering of sub-layers.
fn ordering(bits: &mut Bits, layers: u32) -> Option<Ordering> {
    let order_bits = bits.ue()?.checked_add(4)?; // log2_max_pic_order_cnt_lsb_minus4
    (order_bits <= 16).then_some(())?;
    let mut reorder = 0;
    for _ in 0..if bits.flag()? { layers + 1 } else { 1 } {
        bits.ue()?; // sps_max_dec_pic_buffering_minus1
        reorder = bits.ue()?;
        bits.ue()?; // sps_max_latency_increase_plus1
    }
    Some(Ordering { bits: order_bits, reorder })
}

/// From behind the buffering of sub-layers as far as the VUI's timing: ticks per second and ticks per picture.
fn timing(bits: &mut Bits, order_bits: u32) -> Option<(u32, u32)> {
    for _ in 0..6 {
        bits.ue()?; // block sizes and transform depths
    }
    if bits.flag()? && bits.flag()? {
        scaling_lists(bits)?;
    }
    bits.skip(2)?; // amp_enabled_flag, sample_adaptive_offset_enabled_flag
    if bits.flag()? {
        bits.skip(8)?; // pcm bit depths
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
    }
    short_term_sets(bits)?;
    if bits.flag()? {
        let count = bits.ue()?;
        (count <= 32).then_some(())?;
        bits.skip(count as usize * (order_bits as usize + 1))?;
    }
    bits.skip(2)?; // sps_temporal_mvp_enabled_flag, strong_intra_smoothing_enabled_flag
    if bits.flag()? { vui_timing(bits) } else { None }
}

/// `scaling_list_data` (§7.3.4).
fn scaling_lists(bits: &mut Bits) -> Option<()> {
    for size in 0..4_u32 {
        for _ in 0..if size == 3 { 2 } else { 6 } {
            if !bits.flag()? {
                bits.ue()?; // copied from another list
                continue;
            }
            if size > 1 {
                bits.se()?;
            }
            for _ in 0..64.min(1 << (4 + 2 * size)) {
                bits.se()?;
            }
        }
    }
    Some(())
}

/// `st_ref_pic_set` of all indexes (§7.3.7).
fn short_term_sets(bits: &mut Bits) -> Option<()> {
    let count = bits.ue()?;
    (count <= 64).then_some(())?;
    let mut pictures = 0_u32; // NumDeltaPocs of the set before
    for index in 0..count {
        if index > 0 && bits.flag()? {
            bits.skip(1)?; // delta_rps_sign
            bits.ue()?;
            let mut kept = 0;
            for _ in 0..=pictures {
                if bits.flag()? || bits.flag()? {
                    kept += 1; // used, or not used but kept
                }
            }
            pictures = kept;
        } else {
            let (negative, positive) = (bits.ue()?, bits.ue()?);
            (negative <= 16 && positive <= 16).then_some(())?;
            pictures = negative + positive;
            for _ in 0..pictures {
                bits.ue()?;
                bits.skip(1)?;
            }
        }
    }
    Some(())
}

fn vui_timing(bits: &mut Bits) -> Option<(u32, u32)> {
    skip_looks(bits)?;
    bits.skip(3)?; // neutral_chroma, field_seq, frame_field_info
    if bits.flag()? {
        for _ in 0..4 {
            bits.ue()?; // default display window
        }
    }
    if !bits.flag()? {
        return None;
    }
    let (unit, scale) = (bits.read(32)?, bits.read(32)?);
    Some((scale, unit))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{H265_PPS, H265_SPS, H265_VPS};

    #[test]
    fn size_rate_and_profile_of_a_main_profile_set() {
        let info = parse(H265_SPS).unwrap();
        assert_eq!((info.width, info.height, info.rate), (352, 288, Some((25, 1))));
        assert_eq!((info.profile, info.level, info.compatibility >> 24), (1, 60, 0x60));
        assert_eq!(info.reorder, Some(2));
        assert_eq!((info.chroma_format, info.luma_depth, info.chroma_depth), (1, 8, 8));
    }

    #[test]
    fn ids_are_found() {
        assert_eq!(id(ParameterSet::Video, H265_VPS), Some(0));
        assert_eq!(id(ParameterSet::Sequence, H265_SPS), Some(0));
        assert_eq!(id(ParameterSet::Picture, H265_PPS), Some(0));
    }

    #[test]
    fn a_cut_set_is_none() {
        for len in 0..18 {
            assert_eq!(parse(&H265_SPS[..len]), None, "{len}");
        }
    }
}
