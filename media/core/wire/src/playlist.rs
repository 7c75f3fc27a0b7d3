//! Reads HLS playlists (RFC 8216), leniently: what is unknown is passed over, what is missing is taken for usual.

mod follow;

use std::{sync::Arc, time::Duration};

pub use self::follow::{Follower, Next};

/// More segments or variants in one list are refused.
const ENTRIES_MAX: usize = 100_000;
/// A longer address is refused.
const URI_MAX: usize = 8192;
/// A segment is at most so long; what claims more is wrong.
const DURATION_MAX_MS: u64 = 600_000;

/// Why a text is no playlist that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlaylistError {
    /// It is no text, or does not begin with `#EXTM3U`.
    #[error("it does not begin with #EXTM3U")]
    NoPlaylist,
    /// A line that cannot be read; the line, from 1.
    #[error("line {0} cannot be read")]
    BadLine(usize),
    /// It is longer than any that is used.
    #[error("it has more than {ENTRIES_MAX} entries")]
    TooLong,
    /// There is neither a segment nor a variant, and no more will come.
    #[error("it is empty")]
    Empty,
}

/// What a playlist is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Playlist {
    /// A list of playlists, the same content in each (§4.3.4).
    Master(Vec<Variant>),
    /// A list of segments (§4.3.3).
    Media(Media),
}

/// One of several forms of the content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variant {
    /// Where its playlist is, relative to this one.
    pub uri: String,
    /// Bits per second at the most.
    pub bandwidth: u64,
    /// Codings, as far as they are told.
    pub codecs: Option<String>,
}

/// A list of segments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Media {
    /// The longest segment, about.
    pub target: Duration,
    /// The number of the first segment.
    pub sequence: u64,
    /// Nothing is added any more.
    pub ended: bool,
    /// In the order of time.
    pub segments: Vec<Segment>,
}

/// A part of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// Where it is, relative to the playlist.
    pub uri: String,
    /// How long it plays.
    pub duration: Duration,
    /// The first byte of the resource, and how many; all of it without.
    pub range: Option<(u64, u64)>,
    /// Clock, tracks or form differ from those of the segment before.
    pub discontinuity: bool,
    /// It is known to be missing.
    pub gap: bool,
    /// What must be read before it (fMP4).
    pub map: Option<Arc<Map>>,
    /// How it is encrypted.
    pub key: Option<Arc<Key>>,
}

/// What a player must read before a segment (§4.3.2.5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    /// Where it is, relative to the playlist.
    pub uri: String,
    /// The first byte of the resource, and how many.
    pub range: Option<(u64, u64)>,
}

/// How segments are encrypted (§4.3.2.4).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Whole segments, with AES-128 in CBC mode and padding.
    Aes128 {
        /// Where the 16 bytes of the key are, relative to the playlist.
        uri: String,
        /// The vector; without one it is the segment's number.
        iv: Option<[u8; 16]>,
    },
    /// In a way that is not read.
    Other,
}

/// Reads a playlist.
pub fn parse(data: &[u8]) -> Result<Playlist, PlaylistError> {
    let text = std::str::from_utf8(data).map_err(|_| PlaylistError::NoPlaylist)?;
    let text = text.trim_start_matches('\u{FEFF}');
    let mut lines = text.lines().map(str::trim).enumerate();
    if lines.next().is_none_or(|(_, first)| !first.starts_with("#EXTM3U")) {
        return Err(PlaylistError::NoPlaylist);
    }
    let mut draft = Draft::default();
    for (number, line) in lines {
        draft.handle_line(line).ok_or(PlaylistError::BadLine(number + 1))?;
        if draft.segments.len() > ENTRIES_MAX || draft.variants.len() > ENTRIES_MAX {
            return Err(PlaylistError::TooLong);
        }
    }
    draft.finish()
}

/// A playlist of which some lines were read.
#[derive(Default)]
struct Draft {
    variants: Vec<Variant>,
    variant: Option<(u64, Option<String>)>,
    segments: Vec<Segment>,
    sequence: u64,
    target: Option<Duration>,
    ended: bool,
    duration: Option<Duration>,
    range: Option<(Option<u64>, u64)>,
    discontinuity: bool,
    gap: bool,
    map: Option<Arc<Map>>,
    key: Option<Arc<Key>>,
}

impl Draft {
    fn handle_line(&mut self, line: &str) -> Option<()> {
        if line.is_empty() {
            return Some(());
        }
        let Some(tag) = line.strip_prefix('#') else { return self.handle_uri(line) };
        let (name, value) = tag.split_once(':').unwrap_or((tag, ""));
        match name {
            "EXTINF" => self.duration = Some(seconds(value.split(',').next()?)?),
            "EXT-X-TARGETDURATION" => self.target = Some(seconds(value)?),
            "EXT-X-MEDIA-SEQUENCE" => self.sequence = value.trim().parse().ok()?,
            "EXT-X-ENDLIST" => self.ended = true,
            "EXT-X-DISCONTINUITY" => self.discontinuity = true,
            "EXT-X-GAP" => self.gap = true,
            "EXT-X-BYTERANGE" => self.range = Some(byte_range(value)?),
            "EXT-X-MAP" => self.map = Some(Arc::new(map(value)?)),
            "EXT-X-KEY" if attribute(value, "METHOD")? == "NONE" => self.key = None,
            "EXT-X-KEY" => self.key = Some(Arc::new(key(value)?)),
            "EXT-X-STREAM-INF" => {
                let bandwidth = attribute(value, "BANDWIDTH").and_then(|value| value.parse().ok());
                self.variant =
                    Some((bandwidth.unwrap_or(0), attribute(value, "CODECS").map(ToOwned::to_owned)));
            }
            _ => {}
        }
        Some(())
    }

    fn handle_uri(&mut self, uri: &str) -> Option<()> {
        let uri = (uri.len() <= URI_MAX).then(|| uri.to_owned())?;
        if let Some((bandwidth, codecs)) = self.variant.take() {
            self.variants.push(Variant { uri, bandwidth, codecs });
            return Some(());
        }
        // Without a beginning it follows the range before, of the same resource (§4.3.2.2).
        let place =
            |(begin, len): (Option<u64>, u64)| (begin.or_else(|| self.behind(&uri)).unwrap_or(0), len);
        let range = self.range.map(place);
        self.range = None;
        self.segments.push(Segment {
            uri,
            duration: self.duration.take().unwrap_or_default(),
            range,
            discontinuity: std::mem::take(&mut self.discontinuity),
            gap: std::mem::take(&mut self.gap),
            map: self.map.clone(),
            key: self.key.clone(),
        });
        Some(())
    }

    fn behind(&self, uri: &str) -> Option<u64> {
        let last = self.segments.last().filter(|last| last.uri == uri)?;
        let (begin, len) = last.range?;
        begin.checked_add(len)
    }

    fn finish(self) -> Result<Playlist, PlaylistError> {
        if !self.variants.is_empty() {
            return Ok(Playlist::Master(self.variants));
        }
        if self.segments.is_empty() && self.ended {
            return Err(PlaylistError::Empty);
        }
        let longest = self.segments.iter().map(|segment| segment.duration).max().unwrap_or_default();
        let target = self.target.unwrap_or_default().max(longest).max(Duration::from_millis(100));
        let Self { sequence, ended, segments, .. } = self;
        Ok(Playlist::Media(Media { target, sequence, ended, segments }))
    }
}

/// The variant to take: of those whose codings may be carried, the one with the most bits.
pub fn best(variants: &[Variant]) -> Option<&Variant> {
    let carried = |variant: &&Variant| {
        variant.codecs.as_deref().is_none_or(|codecs| {
            codecs.split(',').any(|codec| {
                let codec = codec.trim();
                ["avc1", "avc3", "hvc1", "hev1"].iter().any(|known| codec.starts_with(known))
            })
        })
    };
    let all = || variants.iter();
    all()
        .filter(carried)
        .max_by_key(|variant| variant.bandwidth)
        .or_else(|| all().max_by_key(|v| v.bandwidth))
}

fn seconds(value: &str) -> Option<Duration> {
    let seconds: f64 = value.trim().parse().ok()?;
    let millis = seconds * 1000.0;
    #[expect(clippy::cast_sign_loss, reason = "it was compared")]
    (millis >= 0.0).then(|| Duration::from_millis((millis.round() as u64).min(DURATION_MAX_MS)))
}

/// `length[@begin]`
fn byte_range(value: &str) -> Option<(Option<u64>, u64)> {
    let (len, begin) = value.split_once('@').map_or((value, None), |(len, begin)| (len, Some(begin)));
    let begin = match begin {
        Some(begin) => Some(begin.trim().parse().ok()?),
        None => None,
    };
    Some((begin, len.trim().parse().ok().filter(|&len| len > 0)?))
}

fn map(value: &str) -> Option<Map> {
    let uri = attribute(value, "URI").filter(|uri| uri.len() <= URI_MAX)?.to_owned();
    let range = match attribute(value, "BYTERANGE") {
        Some(range) => {
            let (begin, len) = byte_range(range)?;
            Some((begin.unwrap_or(0), len))
        }
        None => None,
    };
    Some(Map { uri, range })
}

fn key(value: &str) -> Option<Key> {
    let identity = attribute(value, "KEYFORMAT").is_none_or(|format| format == "identity");
    Some(match attribute(value, "METHOD")? {
        "AES-128" if identity => {
            let uri = attribute(value, "URI").filter(|uri| uri.len() <= URI_MAX)?.to_owned();
            let iv = match attribute(value, "IV") {
                Some(iv) => Some(vector(iv)?),
                None => None,
            };
            Key::Aes128 { uri, iv }
        }
        _ => Key::Other,
    })
}

/// A hexadecimal number of up to 128 bits.
fn vector(value: &str) -> Option<[u8; 16]> {
    let digits = value.strip_prefix("0x").or_else(|| value.strip_prefix("0X"))?;
    u128::from_str_radix(digits, 16).ok().map(u128::to_be_bytes)
}

/// The value of an attribute (§4.2), without its quotes.
fn attribute<'a>(list: &'a str, wanted: &str) -> Option<&'a str> {
    let mut rest = list;
    while !rest.is_empty() {
        let (name, behind) = rest.split_once('=')?;
        let (value, next) = match behind.strip_prefix('"') {
            Some(quoted) => {
                let (value, next) = quoted.split_once('"')?;
                (value, next.split_once(',').map_or("", |(_, next)| next))
            }
            None => behind.split_once(',').unwrap_or((behind, "")),
        };
        if name.trim() == wanted {
            return Some(value.trim());
        }
        rest = next;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn media(text: &str) -> Media {
        match parse(text.as_bytes()) {
            Ok(Playlist::Media(media)) => media,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn segments_have_their_number_length_range_map_and_key() {
        let list = media(
            "#EXTM3U\r\n#EXT-X-VERSION:7\r\n#EXT-X-TARGETDURATION:4\r\n#EXT-X-MEDIA-SEQUENCE:17\r\n\
             #EXT-X-MAP:URI=\"init, 1.mp4\",BYTERANGE=\"700@0\"\r\n\
             #EXTINF:3.96,title, with comma\r\n#EXT-X-BYTERANGE:1000@700\r\nall.m4s\r\n\
             #EXT-X-KEY:METHOD=AES-128,URI=\"key?a=1,2\",IV=0x0a\r\n\
             #EXTINF:4\r\n#EXT-X-BYTERANGE:500\r\nall.m4s\r\n\
             #EXT-X-KEY:METHOD=NONE\r\n#EXT-X-DISCONTINUITY\r\n#EXT-X-GAP\r\n#EXTINF:2.5,\r\nhttp://h/b.ts?x=y\r\n",
        );
        assert_eq!((list.sequence, list.ended, list.target), (17, false, Duration::from_secs(4)));
        let [first, second, third] = list.segments.try_into().unwrap();
        assert_eq!((first.duration.as_millis(), first.range), (3960, Some((700, 1000))));
        assert_eq!(first.map.as_deref(), Some(&Map { uri: "init, 1.mp4".into(), range: Some((0, 700)) }));
        assert_eq!((second.range, first.key), (Some((1700, 500)), None));
        let mut iv = [0; 16];
        iv[15] = 10;
        assert_eq!(second.key.as_deref(), Some(&Key::Aes128 { uri: "key?a=1,2".into(), iv: Some(iv) }));
        assert_eq!((third.key, third.discontinuity, third.gap, third.range), (None, true, true, None));
        assert_eq!(third.uri, "http://h/b.ts?x=y");
    }

    #[test]
    fn the_best_variant_that_can_be_carried_is_taken() {
        let text = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=100,CODECS=\"avc1.64001f,mp4a.40.2\"\nlow\n\
                    #EXT-X-STREAM-INF:CODECS=\"hvc1.1.6.L93.B0\",BANDWIDTH=900\nhigh\n\
                    #EXT-X-STREAM-INF:BANDWIDTH=5000,CODECS=\"av01.0\"\nav1\n";
        let Ok(Playlist::Master(variants)) = parse(text.as_bytes()) else { panic!() };
        assert_eq!(best(&variants).unwrap().uri, "high");
        assert_eq!(best(&variants[2..]).unwrap().uri, "av1", "better than none");
        assert_eq!(best(&[]), None);
    }

    #[test]
    fn what_is_no_playlist_is_refused_with_the_line() {
        assert_eq!(parse(b"<html>"), Err(PlaylistError::NoPlaylist));
        assert_eq!(parse(b"#EXTM3U\n\xFF"), Err(PlaylistError::NoPlaylist));
        assert_eq!(parse(b"#EXTM3U\n\n#EXTINF:x,\na"), Err(PlaylistError::BadLine(3)));
        assert_eq!(parse(b"#EXTM3U\n#EXT-X-KEY:METHOD=AES-128"), Err(PlaylistError::BadLine(2)));
        assert_eq!(parse(b"#EXTM3U\n#EXT-X-ENDLIST"), Err(PlaylistError::Empty));
        assert!(media("#EXTM3U\n").segments.is_empty(), "it may be filled later");
        let long = format!("#EXTM3U\n{}", "a\n".repeat(ENTRIES_MAX + 1));
        assert_eq!(parse(long.as_bytes()), Err(PlaylistError::TooLong));
        assert_eq!(media("#EXTM3U\n#EXTINF:1e300,\na").segments[0].duration.as_millis(), 600_000);
    }

    #[test]
    fn other_ways_to_encrypt_are_told_apart() {
        let list = media("#EXTM3U\n#EXT-X-KEY:METHOD=SAMPLE-AES,URI=\"skd://x\"\n#EXTINF:1,\na\n");
        assert_eq!(list.segments[0].key.as_deref(), Some(&Key::Other));
    }
}
