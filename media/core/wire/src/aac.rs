//! AAC: ADTS headers and AudioSpecificConfig (ISO/IEC 14496-3 §1.A.2, §1.6.2.1).

/// Samples of one raw frame.
pub const FRAME_SAMPLES: u32 = 1024;

/// Samples per second by index (ISO/IEC 14496-3 table 1.18).
pub(crate) const RATES: [u32; 13] =
    [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8_000, 7_350];

/// What a decoder must know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Audio object type: 2 is AAC LC.
    pub object_type: u8,
    /// Samples per second.
    pub sample_rate: u32,
    /// Channel configuration, 1..=7.
    pub channels: u8,
}

impl Config {
    /// What is assumed of AAC that states nothing: LC, 16 kHz, mono (practice of cameras).
    pub const ASSUMED: Self = Self { object_type: 2, sample_rate: 16_000, channels: 1 };

    /// The AudioSpecificConfig.
    pub fn to_bytes(self) -> Vec<u8> {
        let object = self.object_type & 0x1F;
        let channels = self.channels & 0xF;
        if let Some(index) = RATES.iter().position(|&rate| rate == self.sample_rate) {
            let index = index as u8;
            return vec![object << 3 | index >> 1, index << 7 | channels << 3];
        }
        let rate = u64::from(self.sample_rate & 0xFF_FFFF);
        let bits = u64::from(object) << 35 | 15 << 31 | rate << 7 | u64::from(channels) << 3;
        bits.to_be_bytes()[3..].to_vec()
    }

    /// Reads an AudioSpecificConfig; `None` if it is cut, or of a form that surveillance does not use.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let bits = bytes.iter().take(5).fold(0_u64, |bits, &byte| bits << 8 | u64::from(byte));
        let have = bytes.len().min(5) * 8;
        let field = |at: usize, len: usize| {
            (at + len <= have).then(|| (bits >> (have - at - len)) as u32 & ((1 << len) - 1))
        };
        let object_type = field(0, 5)? as u8;
        let (sample_rate, at) = match field(5, 4)? {
            15 => (field(9, 24)?, 33),
            index => (*RATES.get(index as usize)?, 9),
        };
        let channels = field(at, 4)? as u8;
        let usable = (1..=30).contains(&object_type) && (1..=7).contains(&channels) && sample_rate > 0;
        usable.then_some(Self { object_type, sample_rate, channels })
    }
}

/// The header of an ADTS frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Adts {
    /// What the frame is coded with.
    pub config: Config,
    /// Bytes of the header, 7 or 9 (with CRC).
    pub header_len: usize,
    /// Bytes of the frame, header included.
    pub frame_len: usize,
}

/// Bytes of a header without CRC.
pub const ADTS_LEN: usize = 7;

impl Adts {
    /// Reads the header that begins `data`; `None` if there is none.
    pub fn parse(data: &[u8]) -> Option<Self> {
        let &[0xFF, sync, a, b, c, d, ..] = data else { return None };
        if sync & 0xF6 != 0xF0 || data.len() < ADTS_LEN {
            return None;
        }
        let header_len = if sync & 1 == 0 { 9 } else { 7 };
        let frame_len = usize::from(b & 3) << 11 | usize::from(c) << 3 | usize::from(d >> 5);
        let sample_rate = *RATES.get(usize::from(a >> 2 & 0xF))?;
        let channels = (a & 1) << 2 | b >> 6;
        let config = Config { object_type: (a >> 6) + 1, sample_rate, channels: channels.max(1) };
        (frame_len > header_len).then_some(Self { config, header_len, frame_len })
    }

    /// Whether `data` is ADTS beyond chance: frames end where the next begins, or where the data ends.
    pub fn fits(data: &[u8]) -> bool {
        let Some(first) = Self::parse(data) else { return false };
        match data.get(first.frame_len..) {
            None => false,
            Some([]) => true,
            Some(rest) => Self::parse(rest).is_some_and(|next| next.config == first.config),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// LC, 16 kHz, mono, no CRC.
    pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
        let len = payload.len() + 7;
        let header =
            [0xFF, 0xF1, 0x60, 0x40 | (len >> 11) as u8, (len >> 3) as u8, (len << 5) as u8 | 0x1F, 0xFC];
        [&header, payload].concat()
    }

    #[test]
    fn a_header_states_coding_and_length() {
        let adts = Adts::parse(&frame(&[1; 100])).unwrap();
        assert_eq!(adts.config, Config::ASSUMED);
        assert_eq!((adts.header_len, adts.frame_len), (7, 107));
        assert_eq!(Adts::parse(&frame(&[])), None);
        assert_eq!(Adts::parse(&[0xFF, 0xF1, 0x60]), None);
    }

    #[test]
    fn adts_is_told_from_chance() {
        let one = frame(&[1; 100]);
        assert!(Adts::fits(&one));
        assert!(Adts::fits(&[one.clone(), one.clone()].concat()));
        assert!(!Adts::fits(&one[..90]));
        assert!(!Adts::fits(&[&one[..], &[0xD5; 53]].concat()));
    }

    #[test]
    fn configurations_read_back() {
        for sample_rate in RATES.into_iter().chain([12_345]) {
            for channels in 1..=7 {
                let config = Config { object_type: 2, sample_rate, channels };
                assert_eq!(Config::parse(&config.to_bytes()), Some(config));
            }
        }
        assert_eq!(Config::ASSUMED.to_bytes(), [0x14, 0x08]);
        assert_eq!(Config::parse(&[0x14]), None);
        assert_eq!(Config::parse(&[]), None);
    }
}
