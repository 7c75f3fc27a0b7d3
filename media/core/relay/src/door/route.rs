//! Which request is for media, and what it asks for. Pure: text in, values out.

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use wire::{
    flv::{FlvOptions, H265},
    fmp4_live::Fmp4Options,
    hls::Container,
    ts::Sound,
};

use super::directory::Form;

/// A request for a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// First part of the stream's name, decoded.
    pub app: String,
    /// Second part of the stream's name, decoded.
    pub name: String,
    /// What of the stream.
    pub target: Target,
}

/// What of a stream is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The live stream without end.
    Live(Format),
    /// The HLS playlist.
    Playlist(Container),
    /// A segment or initialisation segment by its file name.
    File(Container, String),
}

/// Formats of live streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// FLV.
    Flv,
    /// MPEG-TS.
    Ts,
    /// Fragmented MP4.
    Fmp4,
}

/// What the query says, as far as media routes care.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// When the signature ends, in UNIX seconds.
    pub expires: Option<u64>,
    /// The signature as it was sent.
    pub sign: Option<String>,
    /// A token that the application may know, decoded.
    pub token: Option<String>,
    /// The form of FLV.
    pub options: FlvOptions,
    /// H.265 in fragmented MP4 as `hev1`.
    pub hev1: bool,
    /// G.711 in MPEG-TS.
    pub g711: bool,
    /// Sound that is another coding shall be AAC.
    pub aac: bool,
    /// The playlist shall tell of this segment (Low-Latency HLS), and of this part of it.
    pub segment: Option<u64>,
    /// See `segment`.
    pub part: Option<u64>,
}

impl Route {
    /// Reads a path; `None` if it is no media route.
    ///
    /// `/{app}/{name}.live.flv|.ts|.mp4` · `/{app}/{name}/hls.m3u8` · `/{app}/{name}/hls.fmp4.m3u8` ·
    /// `/{app}/{name}/hls.ll.m3u8` · `/{app}/{name}/hls/{file}.ts` · `/{app}/{name}/hls.fmp4/{file}.m4s|.mp4` ·
    /// `/{app}/{name}/hls.ll/{file}.m4s|.mp4`
    pub fn parse(path: &str) -> Option<Self> {
        let parts: Vec<&str> = path.strip_prefix('/')?.splitn(5, '/').collect();
        let (name, target) = match parts.as_slice() {
            [_, file] => live(file)?,
            [_, name, "hls.m3u8"] => (*name, Target::Playlist(Container::Ts)),
            [_, name, "hls.fmp4.m3u8"] => (*name, Target::Playlist(Container::Fmp4)),
            [_, name, "hls.ll.m3u8"] => (*name, Target::Playlist(Container::LowLatency)),
            [_, name, "hls", file] if extension(file) == "ts" => {
                (*name, Target::File(Container::Ts, (*file).to_owned()))
            }
            [_, name, "hls.fmp4", file] if matches!(extension(file), "m4s" | "mp4") => {
                (*name, Target::File(Container::Fmp4, (*file).to_owned()))
            }
            [_, name, "hls.ll", file] if matches!(extension(file), "m4s" | "mp4") => {
                (*name, Target::File(Container::LowLatency, (*file).to_owned()))
            }
            _ => return None,
        };
        Some(Self { app: decode(parts[0])?, name: decode(name)?, target })
    }
}

impl Query {
    /// Reads a query; what is unknown or makes no sense is passed over.
    pub fn parse(query: &str) -> Self {
        let mut read = Self::default();
        for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match key {
                "expires" => read.expires = value.parse().ok(),
                "sign" => read.sign = decode(value),
                "token" => read.token = percent_decode_str(value).decode_utf8().ok().map(Into::into),
                "codec" if value == "12" => read.options.h265 = H265::Codec12,
                "codec" if value == "hev1" => read.hev1 = true,
                "_HLS_msn" => read.segment = value.parse().ok(),
                "_HLS_part" => read.part = value.parse().ok(),
                "g711" if value == "1" => read.g711 = true,
                "audio" if value == "0" => read.options.audio = false,
                "audio" if value == "aac" => read.aac = true,
                _ => {}
            }
        }
        read
    }

    /// The form of a live stream in this format.
    pub fn form(&self, format: Format) -> Form {
        match format {
            Format::Flv => Form::Flv(self.options),
            Format::Ts => Form::Ts(match (self.options.audio, self.g711) {
                (false, _) => Sound::Silent,
                (true, true) => Sound::All,
                (true, false) => Sound::Standard,
            }),
            Format::Fmp4 => Form::Fmp4(Fmp4Options { hev1: self.hev1, audio: self.options.audio }),
        }
    }

    /// What must be repeated in the addresses of segments: what gives the right to play, and the sound that is wanted;
    /// empty if there is nothing. It holds nothing but what a query may hold, whatever was sent.
    pub fn repeated(&self) -> String {
        let right = self.right();
        match (self.aac, right.is_empty()) {
            (false, _) => right,
            (true, true) => "audio=aac".to_owned(),
            (true, false) => format!("{right}&audio=aac"),
        }
    }

    fn right(&self) -> String {
        let is_plain =
            |text: &&String| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        match (self.expires, self.sign.as_ref().filter(is_plain)) {
            (Some(expires), Some(sign)) => format!("expires={expires}&sign={sign}"),
            _ => self.token.as_ref().map_or_else(String::new, |token| {
                format!("token={}", utf8_percent_encode(token, NON_ALPHANUMERIC))
            }),
        }
    }
}

/// The name and format in a live stream's file name.
fn live(file: &str) -> Option<(&str, Target)> {
    let (name, extension) = file.rsplit_once(".live.")?;
    let format = match extension {
        "flv" => Format::Flv,
        "ts" => Format::Ts,
        "mp4" => Format::Fmp4,
        _ => return None,
    };
    Some((name, Target::Live(format)))
}

fn extension(file: &str) -> &str {
    file.rsplit_once('.').map_or("", |(_, extension)| extension)
}

/// One segment of a path: not empty, UTF-8, and without a slash of its own.
fn decode(text: &str) -> Option<String> {
    let text = percent_decode_str(text).decode_utf8().ok()?;
    (!text.is_empty() && !text.contains('/')).then(|| text.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(path: &str) -> Option<(String, String, Target)> {
        Route::parse(path).map(|route| (route.app, route.name, route.target))
    }

    fn expect(path: &str, app: &str, name: &str, target: Target) {
        assert_eq!(parsed(path), Some((app.into(), name.into(), target)), "{path}");
    }

    #[test]
    fn media_paths_are_told_from_all_others() {
        expect("/default/cam.1.live.flv", "default", "cam.1", Target::Live(Format::Flv));
        expect("/a/b.live.ts", "a", "b", Target::Live(Format::Ts));
        expect("/a/b.live.mp4", "a", "b", Target::Live(Format::Fmp4));
        expect("/a/b/hls.m3u8", "a", "b", Target::Playlist(Container::Ts));
        expect("/a/b/hls.fmp4.m3u8", "a", "b", Target::Playlist(Container::Fmp4));
        expect("/a/b/hls.ll.m3u8", "a", "b", Target::Playlist(Container::LowLatency));
        let file = Target::File(Container::LowLatency, "7.1.m4s".into());
        expect("/a/b/hls.ll/7.1.m4s", "a", "b", file);
        expect("/a/b/hls/7.ts", "a", "b", Target::File(Container::Ts, "7.ts".into()));
        let file = Target::File(Container::Fmp4, "init-7.mp4".into());
        expect("/a/b/hls.fmp4/init-7.mp4", "a", "b", file);
        expect("/%E9%97%A8/a%20b.live.flv", "门", "a b", Target::Live(Format::Flv));
        let others =
            ["", "*", "/", "/healthz", "/a/.live.flv", "//b.live.flv", "/a/b/c.live.flv", "/a/b/hls/7.m4s"];
        for other in others.into_iter().chain(["/a/%FF.live.flv", "/a%2Fb/c.live.flv", "/a/b/hls/c/7.ts"]) {
            assert_eq!(parsed(other), None, "{other}");
        }
    }

    #[test]
    fn a_query_is_read_and_its_signature_repeated() {
        let query = Query::parse("codec=12&x&expires=17&audio=0&sign=aB-_9&y=1");
        let options = FlvOptions { h265: H265::Codec12, audio: false };
        assert_eq!(
            query,
            Query { expires: Some(17), sign: Some("aB-_9".into()), options, ..Query::default() }
        );
        assert_eq!(query.right(), "expires=17&sign=aB-_9");
        assert_eq!(Query::parse("expires=-1&sign=&codec=13"), Query::default());
        assert_eq!(Query::parse("expires=17&sign=%22%0A").right(), "");
        let repeated = |query| Query::parse(query).repeated();
        assert_eq!(
            ["audio=aac&x=1", "audio=aac&expires=17&sign=aB", "expires=17&sign=aB", "audio=AAC"]
                .map(repeated),
            ["audio=aac", "expires=17&sign=aB&audio=aac", "expires=17&sign=aB", ""]
        );
        let query = Query::parse("_HLS_msn=17&_HLS_part=-1");
        assert_eq!((query.segment, query.part), (Some(17), None));
        let sound = |query| Query::parse(query).form(Format::Ts);
        assert_eq!(
            ["", "g711=1", "g711=1&audio=0"].map(sound),
            [Sound::Standard, Sound::All, Sound::Silent].map(Form::Ts)
        );
        let fmp4 = Query::parse("codec=hev1&audio=0").form(Format::Fmp4);
        assert_eq!(fmp4, Form::Fmp4(Fmp4Options { hev1: true, audio: false }));
        let query = Query::parse("token=a%2Bb%0A");
        assert_eq!((query.token.as_deref(), query.right().as_str()), (Some("a+b\n"), "token=a%2Bb%0A"));
    }
}
