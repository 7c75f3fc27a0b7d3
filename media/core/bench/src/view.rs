//! Viewers that take everything and look at nothing.

use std::{
    io::{self, Read, Write},
    mem::MaybeUninit,
    net::{Ipv4Addr, TcpStream},
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::{
    event::{Timespec, epoll},
    net::{RecvFlags, recv},
};

/// Viewers read for so long before what they read counts.
const BEGINNING: Duration = Duration::from_secs(1);

/// Reads as `viewers` that `connect` to `port` for `seconds`.
pub fn run(
    seconds: u32,
    port: u16,
    viewers: u32,
    connect: impl Fn(u16, u32) -> io::Result<TcpStream>,
) -> io::Result<()> {
    let sockets = (0..viewers).map(|number| connect(port, number)).collect::<io::Result<Vec<_>>>()?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, socket) in sockets.iter().enumerate() {
        epoll::add(&poll, socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
    }
    // What was there before a viewer came is written at once, and costs less than what comes live.
    read(&poll, &sockets, BEGINNING)?;
    println!("{{\"connected\": {viewers}}}");
    let bytes = read(&poll, &sockets, Duration::from_secs(seconds.into()))?;
    let total: u64 = bytes.iter().sum();
    let least = bytes.iter().min().copied().unwrap_or(0);
    println!("{{\"bytes\": {total}, \"least\": {least}}}");
    Ok(())
}

/// Bytes that each viewer got for so long.
fn read(poll: &OwnedFd, sockets: &[TcpStream], long: Duration) -> io::Result<Vec<u64>> {
    let mut bytes = vec![0_u64; sockets.len()];
    let end = Instant::now() + long;
    let mut space = [MaybeUninit::<epoll::Event>::uninit(); 512];
    let mut buffer = vec![0_u8; 1 << 20];
    while Instant::now() < end {
        let timeout = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let (events, _) = epoll::wait(poll, &mut space, Some(&timeout))?;
        for event in events {
            let index = { event.data }.u64() as usize;
            // With TRUNC, TCP throws the bytes away instead of copying them.
            let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
            if let Ok((_, size)) = recv(&sockets[index], &mut buffer[..], flags) {
                bytes[index] += size as u64;
            }
        }
    }
    Ok(bytes)
}

/// A viewer of the first stream.
pub fn connect(port: u16, _: u32) -> io::Result<TcpStream> {
    connect_to(port, 1)
}

/// A viewer of a stream of its own.
pub fn connect_each(port: u16, number: u32) -> io::Result<TcpStream> {
    connect_to(port, number + 1)
}

/// A viewer of HTTP-FLV whose answer's head was read.
fn connect_to(port: u16, stream: u32) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.write_all(format!("GET /bench/{stream}.live.flv HTTP/1.1\r\nHost: bench\r\n\r\n").as_bytes())?;
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && socket.read(&mut byte)? > 0 {
        head.extend(byte);
    }
    if !head.starts_with(b"HTTP/1.1 200") {
        return Err(io::Error::other(String::from_utf8_lossy(&head).into_owned()));
    }
    Ok(socket)
}

/// A player of RTMP whose handshake is over.
pub fn connect_rtmp(port: u16, _: u32) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.write_all(&[&[3][..], &[0; 2 * 1536]].concat())?;
    socket.read_exact(&mut [0; 1 + 2 * 1536])?;
    let about = [&[3, 0, 3][..], b"app", &text("bench"), &[0, 0, 9]].concat();
    let connect = command(0, &[&text("connect"), &number(1), &about]);
    let create = command(0, &[&text("createStream"), &number(2), &[5]]);
    let play = command(1, &[&text("play"), &number(3), &[5], &text("1")]);
    socket.write_all(&[connect, create, play].concat())?;
    Ok(socket)
}

/// A command of less than 128 bytes, which one chunk holds (RTMP 1.0 §5.3).
fn command(stream: u8, values: &[&[u8]]) -> Vec<u8> {
    let payload = values.concat();
    [&[3, 0, 0, 0, 0, 0, payload.len() as u8, 20, stream, 0, 0, 0][..], &payload].concat()
}

fn text(text: &str) -> Vec<u8> {
    [&[2, 0, text.len() as u8], text.as_bytes()].concat()
}

fn number(number: u8) -> Vec<u8> {
    [&[0][..], &f64::from(number).to_be_bytes()].concat()
}
