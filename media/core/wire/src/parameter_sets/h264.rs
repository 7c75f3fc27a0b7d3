//! Sequence parameter sets of H.264 (ITU-T H.264 §7.3.2.1.1, §E.1.1).

use super::{SpsInfo, rate, skip_looks};
use crate::{
    bits::{Bits, unescape},
    nal::ParameterSet,
};

const BYTES_MAX: usize = 1024;
/// `profile_idc` of a profile without B slices (§A.2.1).
const BASELINE: u8 = 66;

/// The sequence or picture parameter set's id.
pub(super) fn id(set: ParameterSet, nal: &[u8]) -> Option<u32> {
    let start = if set == ParameterSet::Sequence { 4 } else { 1 };
    Bits::new(&unescape(nal.get(start..)?, 8)).ue()
}

/// What a sequence parameter set states up to the order of pictures.
struct Head {
    profile: u8,
    constraints: u8,
    level: u8,
    chroma_format: u32,
    planes: bool,
    depths: (u32, u32),
    frame_number_bits: u32,
    order: Order,
}

/// `pic_order_cnt_type`: how the order of pictures is told.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Slices state so many bits of an order count.
    Count(u32),
    /// It follows from a cycle that the set states.
    Cycle,
    /// Pictures are shown as they are decoded.
    AsDecoded,
}

/// The head of a set without its NAL header and emulation prevention; `bits` stand behind its first three bytes.
fn head(bytes: &[u8], bits: &mut Bits) -> Option<Head> {
    let &[profile, constraints, level, ..] = bytes else { return None };
    (bits.ue()? < 32).then_some(())?; // seq_parameter_set_id
    let (mut chroma_format, mut planes, mut depths) = (1, false, (8, 8));
    if matches!(profile, 100 | 110 | 122 | 244 | 44 | 83 | 86 | 118 | 128 | 138 | 139 | 134 | 135) {
        chroma_format = bits.ue()?;
        if chroma_format == 3 {
            planes = bits.flag()?;
        }
        depths = (bits.ue()?.checked_add(8)?, bits.ue()?.checked_add(8)?);
        bits.skip(1)?; // qpprime_y_zero_transform_bypass_flag
        if bits.flag()? {
            scaling_matrices(bits, if chroma_format == 3 { 12 } else { 8 })?;
        }
    }
    (chroma_format <= 3 && depths.0 <= 14 && depths.1 <= 14).then_some(())?;
    let frame_number_bits = bits.ue()?.checked_add(4)?; // log2_max_frame_num_minus4
    let order = order(bits)?;
    Some(Head { profile, constraints, level, chroma_format, planes, depths, frame_number_bits, order })
}

/// What must be known to read the order count of a slice.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OrderFields {
    pub(crate) planes: bool,
    pub(crate) frame_number_bits: u32,
    pub(crate) frames_only: bool,
    /// Bits of the order count.
    pub(crate) order_bits: u32,
}

/// Reads it from a sequence parameter set; `None` if slices state no order count (`pic_order_cnt_type` 1 and 2).
pub(crate) fn order_fields(nal: &[u8]) -> Option<OrderFields> {
    let bytes = unescape(nal.get(1..)?, BYTES_MAX);
    let mut bits = Bits::new(bytes.get(3..)?);
    let Head { planes, frame_number_bits, order: Order::Count(order_bits), .. } = head(&bytes, &mut bits)?
    else {
        return None;
    };
    (frame_number_bits <= 16 && (1..=16).contains(&order_bits)).then_some(())?;
    Some(OrderFields { planes, frame_number_bits, frames_only: frames_flag(&mut bits)?, order_bits })
}

/// Whether pictures are never fields, as a sequence parameter set states it.
pub(crate) fn frames_only(nal: &[u8]) -> Option<bool> {
    let bytes = unescape(nal.get(1..)?, BYTES_MAX);
    let mut bits = Bits::new(bytes.get(3..)?);
    head(&bytes, &mut bits)?;
    frames_flag(&mut bits)
}

/// `frame_mbs_only_flag`; `bits` stand behind the head.
fn frames_flag(bits: &mut Bits) -> Option<bool> {
    bits.ue()?; // max_num_ref_frames
    bits.skip(1)?; // gaps_in_frame_num_value_allowed_flag
    bits.ue()?;
    bits.ue()?; // width and height
    bits.flag()
}

pub(super) fn parse(nal: &[u8]) -> Option<SpsInfo> {
    let bytes = unescape(nal.get(1..)?, BYTES_MAX);
    let mut bits = Bits::new(bytes.get(3..)?);
    let head = head(&bytes, &mut bits)?;
    bits.ue()?; // max_num_ref_frames
    bits.skip(1)?; // gaps_in_frame_num_value_allowed_flag
    let (width, height) = size(&mut bits, head.chroma_format, head.planes)?;
    let mut vui = Vui::default();
    if bits.flag()? {
        vui.read(&mut bits); // as far as it goes
    }
    let in_order = head.order == Order::AsDecoded || head.profile == BASELINE;
    Some(SpsInfo {
        profile: head.profile,
        compatibility: u32::from(head.constraints),
        level: head.level,
        chroma_format: head.chroma_format as u8,
        luma_depth: head.depths.0 as u8,
        chroma_depth: head.depths.1 as u8,
        width,
        height,
        rate: vui.timing.and_then(|(scale, unit)| rate(scale, unit)),
        reorder: if in_order { Some(0) } else { vui.reorder },
    })
}

/// `seq_scaling_matrix` (§7.3.2.1.1.1).
fn scaling_matrices(bits: &mut Bits, lists: usize) -> Option<()> {
    for list in 0..lists {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8, 8);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.se()?).rem_euclid(256);
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

/// `pic_order_cnt_type` and what depends on it.
fn order(bits: &mut Bits) -> Option<Order> {
    match bits.ue()? {
        0 => Some(Order::Count(bits.ue()?.checked_add(4)?)), // log2_max_pic_order_cnt_lsb_minus4
        1 => {
            bits.skip(1)?;
            bits.se()?;
            bits.se()?;
            let cycle = bits.ue()?;
            (cycle <= 255).then_some(())?;
            (0..cycle).try_for_each(|_| bits.se().map(drop))?;
            Some(Order::Cycle)
        }
        2 => Some(Order::AsDecoded),
        _ => None,
    }
}

/// Width and height with cropping (§7.4.2.1.1); 0 for a picture that is cropped away.
fn size(bits: &mut Bits, chroma_format: u32, planes: bool) -> Option<(u32, u32)> {
    let width = bits.ue()?.checked_add(1)?.checked_mul(16)?;
    let units = bits.ue()?.checked_add(1)?.checked_mul(16)?;
    let frames_only = bits.flag()?;
    let fields = if frames_only { 1 } else { 2 };
    let height = units.checked_mul(fields)?;
    if !frames_only {
        bits.skip(1)?; // mb_adaptive_frame_field_flag
    }
    bits.skip(1)?; // direct_8x8_inference_flag
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
    let cut_y = top.checked_add(bottom)?.checked_mul(unit_y * fields)?;
    Some((width.saturating_sub(cut_x), height.saturating_sub(cut_y)))
}

/// What is read of the VUI (§E.1.1).
#[derive(Default)]
struct Vui {
    /// Ticks per second and ticks per frame (a frame has two ticks, §E.2.1).
    timing: Option<(u32, u32)>,
    /// `max_num_reorder_frames`.
    reorder: Option<u32>,
}

impl Vui {
    /// Reads up to the restrictions; `None` if it is cut, with what was read kept.
    fn read(&mut self, bits: &mut Bits) -> Option<()> {
        skip_looks(bits)?;
        if bits.flag()? {
            let (unit, scale) = (bits.read(32)?, bits.read(32)?);
            self.timing = unit.checked_mul(2).map(|unit| (scale, unit));
            bits.skip(1)?; // fixed_frame_rate_flag
        }
        let mut buffered = false;
        for _ in 0..2 {
            if bits.flag()? {
                buffered = true;
                buffering(bits)?;
            }
        }
        bits.skip(usize::from(buffered) + 1)?; // low_delay_hrd_flag, pic_struct_present_flag
        if bits.flag()? {
            bits.skip(1)?; // motion_vectors_over_pic_boundaries_flag
            for _ in 0..4 {
                bits.ue()?; // limits of sizes and vectors
            }
            self.reorder = Some(bits.ue()?);
        }
        Some(())
    }
}

/// `hrd_parameters` (§E.1.2).
fn buffering(bits: &mut Bits) -> Option<()> {
    let count = bits.ue()?;
    (count < 32).then_some(())?;
    bits.skip(8)?; // scales
    for _ in 0..=count {
        bits.ue()?;
        bits.ue()?;
        bits.skip(1)?;
    }
    bits.skip(20) // lengths of delays
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{H264_PPS, H264_SPS};

    #[test]
    fn size_rate_and_profile_of_a_high_profile_set() {
        let info = parse(H264_SPS).unwrap();
        assert_eq!((info.width, info.height, info.rate), (352, 288, Some((25, 1))));
        assert_eq!((info.profile, info.compatibility, info.level), (100, 0, 13));
        assert_eq!(info.reorder, Some(2));
        assert_eq!((info.chroma_format, info.luma_depth, info.chroma_depth), (1, 8, 8));
        assert_eq!(
            (id(ParameterSet::Sequence, H264_SPS), id(ParameterSet::Picture, H264_PPS)),
            (Some(0), Some(0))
        );
    }

    #[test]
    fn cropping_makes_1080_lines_of_1088() {
        // Baseline, level 4.0, 120 by 68 macroblocks, 4 rows of chroma pairs cropped at the bottom.
        let nal = [0x67, 0x42, 0x00, 0x28, 0xF4, 0x03, 0xC0, 0x11, 0x3F, 0x2A];
        let info = parse(&nal).unwrap();
        assert_eq!((info.width, info.height), (1920, 1080));
    }

    #[test]
    fn a_cut_set_is_none() {
        for len in 0..10 {
            assert_eq!(parse(&H264_SPS[..len]), None, "{len}");
        }
    }
}
