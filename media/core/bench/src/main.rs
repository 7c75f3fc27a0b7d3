//! The programs that `tests/bench/relay.py` runs against each other, each on a core of its own:
//!
//! ```text
//! count STREAMS        the floor of ingest: recvmmsg, count, nothing else
//! count-offload STREAMS   the same where runs of packets come in one piece
//! count-tcp STREAMS    the floor of ingest by TCP: read, count
//! record STREAMS SLICE_MS DIRECTORY   the relay, which records each of its streams
//! relay STREAMS        the relay with so many receivers and its front door
//! relay-single STREAMS   the same where datagrams come one by one, whatever the sender joined
//! relay-tcp STREAMS    the same by TCP
//! relay-merged STREAMS MS   the same; viewers are written to so often
//! forward PORT…        the relay with one receiver, whose stream it sends on to each port
//! send SECONDS PORT…   one paced 4 Mbit/s program stream over RTP to each port
//! send-offload SECONDS PORT…   the same, a frame's packets in one piece
//! send-tcp SECONDS PORT…   the same by TCP (RFC 4571)
//! write VIEWERS        the floor of fan-out: the same bytes, one write a frame and viewer
//! write-merged VIEWERS FRAMES   one write for so many frames
//! view SECONDS PORT VIEWERS   viewers of HTTP-FLV that read and forget
//! view-each SECONDS PORT STREAMS   one viewer of each stream
//! play SECONDS PORT VIEWERS   the same by RTMP
//! ```
//!
//! Each prints a line of JSON when it is ready and one when its standard input ends (or its time is over).
#![expect(clippy::disallowed_methods, reason = "measuring needs the clock")]

mod floor;
mod program;
mod relayed;
mod send;
mod view;

use std::{io::Read, process::ExitCode};

use relay::RecordOrder;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let numbers: Vec<u32> = arguments.iter().skip(1).filter_map(|text| text.parse().ok()).collect();
    let done = match (arguments.first().map(String::as_str), &numbers[..]) {
        (Some("forward"), targets) => relayed::forward(targets),
        (Some("count"), [streams]) => floor::count(*streams, false),
        (Some("count-offload"), [streams]) => floor::count(*streams, true),
        (Some("count-tcp"), [streams]) => floor::count_tcp(*streams),
        (Some("record"), [streams, slice_ms, ..]) => {
            relayed::run(&relayed::Wanted { order: Some(order(*slice_ms)), ..relayed::Wanted::new(*streams) })
        }
        (Some("relay"), [streams]) => relayed::run(&relayed::Wanted::new(*streams)),
        (Some("relay-single"), [streams]) => {
            relayed::run(&relayed::Wanted { offload: false, ..relayed::Wanted::new(*streams) })
        }
        (Some("relay-tcp"), [streams]) => {
            relayed::run(&relayed::Wanted { tcp: true, ..relayed::Wanted::new(*streams) })
        }
        (Some("relay-merged"), [streams, merge_ms]) => {
            relayed::run(&relayed::Wanted { merge_ms: *merge_ms, ..relayed::Wanted::new(*streams) })
        }
        (Some("send"), [seconds, ports @ ..]) => send::run(*seconds, ports, send::datagrams),
        (Some("send-offload"), [seconds, ports @ ..]) => send::run(*seconds, ports, send::runs),
        (Some("send-tcp"), [seconds, ports @ ..]) => send::run(*seconds, ports, send::connection),
        (Some("write"), [viewers]) => floor::write(*viewers, 1),
        (Some("write-merged"), [viewers, frames]) => floor::write(*viewers, (*frames).max(1)),
        (Some("view-each"), [seconds, port, streams]) => {
            view::run(*seconds, *port as u16, *streams, view::connect_each)
        }
        (Some("view"), [seconds, port, viewers]) => {
            view::run(*seconds, *port as u16, *viewers, view::connect)
        }
        (Some("play"), [seconds, port, viewers]) => {
            view::run(*seconds, *port as u16, *viewers, view::connect_rtmp)
        }
        _ => {
            eprintln!("usage: see the head of media/core/bench/src/main.rs");
            return ExitCode::FAILURE;
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// What each stream's recording is asked to be; the directory is the last argument.
fn order(slice_ms: u32) -> RecordOrder {
    let directory = std::env::args_os().next_back().unwrap_or_default().into();
    RecordOrder { directory, slice_ms: slice_ms.into(), utc_offset_ms: 0, form: None, tag: String::new() }
}

/// Waits until whoever runs us closes our standard input.
fn wait_for_end() {
    let _ = std::io::stdin().read(&mut [0]);
}
