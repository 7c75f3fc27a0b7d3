//! Deviations of a stream, counted by name instead of failing. The names are part of the interface:
//! `docs/media.md` explains each.

/// One deviation seen in a stream's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A datagram that is no RTP packet (version, lengths).
    BadRtp,
    /// Packets never came (RFC 3550 §A.3); the frame they hit is lost.
    SequenceGap,
    /// The sender started new sequence numbers (RFC 3550 §A.1).
    SequenceRestart,
    /// Bytes of a TCP connection that no frame explains were skipped.
    FramingResync,
    /// A packet that does not belong into the stream's payload was dropped.
    ForeignPacket,
    /// The payload as a whole cannot be unpacked; the name says what it is.
    UnsupportedPayload(&'static str),
    /// A coding that the relay does not carry; the name says which.
    UnsupportedCodec(&'static str),
    /// Bytes up to the next pack header were skipped.
    Resync,
    /// `00 00 01 BA` without the body of a pack header.
    BarePackHeader,
    /// A pack began before the PES packet was full.
    PesTruncated,
    /// A PES packet went on past its stated length.
    PesLength,
    /// A PES header that contradicts the packet's length.
    BadPesHeader,
    /// A program stream map whose lengths do not fit.
    BadPsm,
    /// A program stream map with a wrong CRC-32; it is used all the same.
    PsmCrc,
    /// The program stream map names another coding than the elementary stream shows.
    PsmContradicts,
    /// Video came before any program stream map; the coding was guessed.
    PsmMissing,
    /// A second video or audio stream in the program; it is ignored.
    ExtraStream,
    /// A frame above the size limit was dropped.
    FrameTooBig,
    /// A frame that lost bytes was dropped.
    DamagedUnit,
    /// A good frame was dropped, for it cannot be decoded before the next key frame.
    KeyFrameAwaited,
    /// A key frame came before the parameter sets that it needs.
    ParameterSetsMissing,
    /// A parameter set that cannot be read, or states an absurd size.
    BadParameterSet,
    /// More of a frame came after it had been handed on.
    SplitUnit,
    /// An RTP payload that its format does not allow (RFC 6184, 7798, 3640).
    BadPayload,
    /// A video frame without any NAL unit.
    BadNal,
    /// AAC without ADTS headers and without a configuration; one was assumed.
    AacWithoutAdts,
    /// Audio bytes that are no ADTS frame were skipped.
    BadAdts,
    /// A frame without PTS in a stream that has them; its RTP timestamp was taken.
    TimestampMissing,
    /// A timestamp jumped by more than 10 s; the clock was re-based.
    TimestampJump,
    /// Timestamps stood still or ran backwards; arrival time replaced them.
    TimestampStill,
    /// RTP timestamps count milliseconds or 8 kHz instead of 90 kHz; they are scaled.
    TimestampUnit,
    /// An FLV tag, or an RTMP message, that is cut or contradicts itself.
    BadTag,
    /// A sequence header of FLV that cannot be read; the old one stays.
    BadSequenceHeader,
    /// Lengths of NAL units that do not add up to the frame.
    NalLengths,
    /// Start codes where lengths of NAL units belong; the frame is converted.
    StartCodes,
    /// A tag of FLV followed by another size than its own.
    BackPointer,
}

impl Fault {
    /// How many names there are.
    pub const COUNT: usize = 36;

    /// Every name, in the order of `index`.
    pub const NAMES: [&'static str; Self::COUNT] = [
        "bad_rtp",
        "sequence_gap",
        "sequence_restart",
        "framing_resync",
        "foreign_packet",
        "unsupported_payload",
        "unsupported_codec",
        "resync",
        "bare_pack_header",
        "pes_truncated",
        "pes_length",
        "bad_pes_header",
        "bad_psm",
        "psm_crc",
        "psm_contradicts",
        "psm_missing",
        "extra_stream",
        "frame_too_big",
        "damaged_unit",
        "key_frame_awaited",
        "parameter_sets_missing",
        "bad_parameter_set",
        "split_unit",
        "bad_payload",
        "bad_nal",
        "aac_without_adts",
        "bad_adts",
        "timestamp_missing",
        "timestamp_jump",
        "timestamp_still",
        "timestamp_unit",
        "bad_tag",
        "bad_sequence_header",
        "nal_lengths",
        "start_codes",
        "back_pointer",
    ];

    /// The stable name under which it is counted.
    pub fn name(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// What exactly, for the faults that name something (`IMKH`, `SVAC`).
    pub fn detail(self) -> Option<&'static str> {
        match self {
            Self::UnsupportedPayload(what) | Self::UnsupportedCodec(what) => Some(what),
            _ => None,
        }
    }

    fn index(self) -> usize {
        match self {
            Self::BadRtp => 0,
            Self::SequenceGap => 1,
            Self::SequenceRestart => 2,
            Self::FramingResync => 3,
            Self::ForeignPacket => 4,
            Self::UnsupportedPayload(_) => 5,
            Self::UnsupportedCodec(_) => 6,
            Self::Resync => 7,
            Self::BarePackHeader => 8,
            Self::PesTruncated => 9,
            Self::PesLength => 10,
            Self::BadPesHeader => 11,
            Self::BadPsm => 12,
            Self::PsmCrc => 13,
            Self::PsmContradicts => 14,
            Self::PsmMissing => 15,
            Self::ExtraStream => 16,
            Self::FrameTooBig => 17,
            Self::DamagedUnit => 18,
            Self::KeyFrameAwaited => 19,
            Self::ParameterSetsMissing => 20,
            Self::BadParameterSet => 21,
            Self::SplitUnit => 22,
            Self::BadPayload => 23,
            Self::BadNal => 24,
            Self::AacWithoutAdts => 25,
            Self::BadAdts => 26,
            Self::TimestampMissing => 27,
            Self::TimestampJump => 28,
            Self::TimestampStill => 29,
            Self::TimestampUnit => 30,
            Self::BadTag => 31,
            Self::BadSequenceHeader => 32,
            Self::NalLengths => 33,
            Self::StartCodes => 34,
            Self::BackPointer => 35,
        }
    }
}

/// One stream's faults by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultCounts([u64; Fault::COUNT]);

impl FaultCounts {
    /// Nothing counted.
    pub fn new() -> Self {
        Self([0; Fault::COUNT])
    }

    /// Counts one.
    pub fn count(&mut self, fault: Fault) {
        self.count_many(fault, 1);
    }

    /// Counts `number` of one kind.
    pub fn count_many(&mut self, fault: Fault, number: u64) {
        let slot = &mut self.0[fault.index()];
        *slot = slot.saturating_add(number);
    }

    /// How often `fault` was counted, whatever its detail.
    pub fn get(&self, fault: Fault) -> u64 {
        self.0[fault.index()]
    }

    /// Names and numbers of what happened at least once.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        Fault::NAMES.into_iter().zip(self.0).filter(|&(_, number)| number > 0)
    }
}

impl Default for FaultCounts {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_stand_under_stable_names() {
        let mut counts = FaultCounts::new();
        counts.count(Fault::TimestampStill);
        counts.count(Fault::UnsupportedPayload("DHAV"));
        counts.count(Fault::UnsupportedPayload("IMKH"));
        counts.count_many(Fault::BadRtp, 3);
        let seen: Vec<_> = counts.iter().collect();
        assert_eq!(seen, [("bad_rtp", 3), ("unsupported_payload", 2), ("timestamp_still", 1)]);
    }

    #[test]
    fn names_are_distinct() {
        let names: std::collections::HashSet<_> = Fault::NAMES.into_iter().collect();
        assert_eq!(names.len(), Fault::COUNT);
    }
}
