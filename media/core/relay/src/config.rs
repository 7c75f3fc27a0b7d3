//! How a core is set up, and what a receiver is asked to be.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use crate::listener::Proxies;

/// Settings of a whole core.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where receivers listen; `::` means every address of both families.
    pub rtp_host: IpAddr,
    /// First port of the receivers' range.
    pub rtp_port_min: u16,
    /// Last port of the receivers' range.
    pub rtp_port_max: u16,
    /// The port that many streams share, told apart by SSRC; 0 means none.
    pub rtp_shared_port: u16,
    /// Shards; 0 means one a core of the machine.
    pub threads: usize,
    /// Signs play addresses.
    pub play_key: Vec<u8>,
    /// A receiver without a packet for so long is silent.
    pub silence: Duration,
    /// A stream nobody watched for so long is told of; `None` means never.
    pub no_viewer: Option<Duration>,
    /// Bytes of units that a stream keeps for its next viewer.
    pub gop_bytes_max: usize,
    /// How long segments of HLS are, if key frames allow.
    pub hls_segment: Duration,
    /// What one receiver may bring in, in bits per second; what is beyond it is dropped.
    pub bandwidth_max_bps: u64,
    /// What comes within so long goes to a viewer with one write; zero: everything at once.
    pub merge_write: Duration,
    /// Datagrams that the system joined are taken in one piece, where it can join them.
    pub receive_offload: bool,
    /// Who passes on what others ask the front door.
    pub proxies: Proxies,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            rtp_host: IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            rtp_port_min: 30_000,
            rtp_port_max: 39_999,
            rtp_shared_port: 0,
            threads: 0,
            play_key: Vec::new(),
            silence: Duration::from_secs(5),
            no_viewer: None,
            gop_bytes_max: 16 * 1024 * 1024,
            hls_segment: Duration::from_secs(2),
            bandwidth_max_bps: 40_000_000,
            merge_write: Duration::ZERO,
            receive_offload: true,
            proxies: Proxies::default(),
        }
    }
}

/// How the media comes (GB/T 28181-2016 Annex L for RTP over TCP).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams to our port.
    Udp,
    /// The device connects to us.
    TcpPassive,
    /// We connect to the device.
    TcpActive,
    /// By RTMP, from a server or a publisher.
    Rtmp,
    /// We read FLV from an HTTP server.
    HttpFlv,
    /// We read a transport stream from an HTTP server.
    HttpTs,
    /// We read playlists and segments from an HTTP server.
    Hls,
    /// By RTSP, from a server or a publisher.
    Rtsp,
    /// A transport stream in datagrams to our port.
    UdpTs,
    /// A program of its own brings it.
    Child,
    /// A browser publishes by WHIP.
    Whip,
    /// The process itself makes it of another stream.
    Derived,
    /// From recordings.
    Playback,
}

impl Transport {
    /// The name used outside.
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "udp",
            Self::TcpPassive => "tcp_passive",
            Self::TcpActive => "tcp_active",
            Self::Rtmp => "rtmp",
            Self::HttpFlv => "http-flv",
            Self::HttpTs => "http-ts",
            Self::Hls => "hls",
            Self::Rtsp => "rtsp",
            Self::UdpTs => "udp-ts",
            Self::Child => "child",
            Self::Whip => "whip",
            Self::Derived => "derived",
            Self::Playback => "playback",
        }
    }
}

/// What a receiver is asked to be.
#[derive(Debug, Clone)]
pub struct OpenReceiver {
    /// First part of the stream's name.
    pub app: String,
    /// Second part of the stream's name.
    pub name: String,
    /// How the media comes.
    pub transport: Transport,
    /// Use the shared port instead of one of its own.
    pub shared: bool,
    /// The SSRC that was asked for.
    pub ssrc: Option<u32>,
    /// Where the media should come from.
    pub peer: Option<IpAddr>,
    /// Take the media from any address that shows the right SSRC.
    pub any_peer: bool,
    /// Longest wait for a missing packet.
    pub hold: Duration,
    /// Who may play.
    pub rights: PlayRights,
}

/// Who may play a stream, and how many at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayRights {
    /// Play addresses must be signed, or a token be shown.
    pub private: bool,
    /// Addresses signed under another generation are refused.
    pub generation: u64,
    /// Viewers at once, in whatever form; 0 means any number.
    pub viewers_max: u32,
}

impl Default for PlayRights {
    fn default() -> Self {
        Self { private: true, generation: 0, viewers_max: 0 }
    }
}
