//! Viewers that take everything and look at nothing.

use std::{
    io::{self, Read, Write},
    mem::MaybeUninit,
    net::{Ipv4Addr, TcpStream},
    time::{Duration, Instant},
};

use rustix::{
    event::{Timespec, epoll},
    net::{RecvFlags, recv},
};

/// Reads as `viewers` from the front door at `port` for `seconds`.
pub fn run(seconds: u32, port: u16, viewers: u32) -> io::Result<()> {
    let sockets = (0..viewers).map(|_| connect(port)).collect::<io::Result<Vec<_>>>()?;
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, socket) in sockets.iter().enumerate() {
        epoll::add(&poll, socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
    }
    println!("{{\"connected\": {viewers}}}");
    let mut bytes = vec![0_u64; sockets.len()];
    let end = Instant::now() + Duration::from_secs(seconds.into());
    let mut space = [MaybeUninit::<epoll::Event>::uninit(); 512];
    let mut buffer = vec![0_u8; 1 << 20];
    while Instant::now() < end {
        let timeout = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
        let (events, _) = epoll::wait(&poll, &mut space, Some(&timeout))?;
        for event in events {
            let index = { event.data }.u64() as usize;
            // With TRUNC, TCP throws the bytes away instead of copying them.
            let flags = RecvFlags::TRUNC | RecvFlags::DONTWAIT;
            if let Ok((_, size)) = recv(&sockets[index], &mut buffer[..], flags) {
                bytes[index] += size as u64;
            }
        }
    }
    let total: u64 = bytes.iter().sum();
    let least = bytes.iter().min().copied().unwrap_or(0);
    println!("{{\"bytes\": {total}, \"least\": {least}}}");
    Ok(())
}

fn connect(port: u16) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    socket.write_all(b"GET /bench/1.live.flv HTTP/1.1\r\nHost: bench\r\n\r\n")?;
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
