//! The formats of surveillance video, sans-IO: bytes and `now` in, values and bytes out.
//!
//! No socket, no clock, no runtime, no Python. Inputs come from the network and are never trusted:
//! every reader is bounded and returns its documented error, whatever it is fed.
//!
//! One vocabulary: `handle_*(now, input)` takes one thing in, `poll_*()` gives one out until it gives
//! nothing, `next_timeout()` says when to call `handle_timeout(now)`.
#![forbid(unsafe_code)]

pub mod aac;
pub mod adts;
pub mod agent;
pub mod amf;
pub mod avc;
mod bits;
pub mod chunk;
mod endings;
mod es;
pub mod fault;
pub mod file;
pub mod flv;
mod flv_body;
pub mod flv_read;
pub mod fmp4;
pub mod fmp4_live;
pub mod fmp4_read;
mod frames;
mod habit;
pub mod hevc;
pub mod hls;
pub mod inspect;
pub mod media;
pub mod nal;
pub mod opus;
pub mod packetize;
pub mod parameter_sets;
mod payload;
mod picture_order;
pub mod playlist;
mod probe;
mod program;
pub mod ps;
pub mod ps_write;
pub mod raw;
pub mod reorder;
pub mod rfc4571;
pub mod rtcp;
pub mod rtmp;
pub mod rtp;
mod rtp_aac;
pub mod rtsp;
mod sample;
pub mod send;
mod sound;
pub mod splice;
#[cfg(test)]
mod testing;
pub mod timeline;
mod transport;
pub mod ts;
pub mod ts_live;
pub mod ts_read;
mod units;
pub mod unpack;
pub mod websocket;

#[cfg(test)]
pub(crate) mod test_clock {
    use std::{sync::OnceLock, time::Instant};

    /// The instant at which all tests begin.
    pub(crate) fn start() -> Instant {
        static START: OnceLock<Instant> = OnceLock::new();
        #[expect(clippy::disallowed_methods, reason = "instants cannot be made from numbers")]
        *START.get_or_init(Instant::now)
    }
}
