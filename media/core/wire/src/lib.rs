//! The formats of surveillance video, sans-IO: bytes and `now` in, values and bytes out.
//!
//! No socket, no clock, no runtime, no Python. Inputs come from the network and are never trusted:
//! every reader is bounded and returns its documented error, whatever it is fed.
//!
//! One vocabulary: `handle_*(now, input)` takes one thing in, `poll_*()` gives one out until it gives
//! nothing, `next_timeout()` says when to call `handle_timeout(now)`.
#![forbid(unsafe_code)]

pub mod amf;
pub mod avc;
mod bits;
pub mod chunk;
pub mod flv;
pub mod hevc;
pub mod media;
mod sample;
#[cfg(test)]
mod testing;
pub mod websocket;
