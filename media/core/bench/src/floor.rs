//! What cannot be undercut: receiving and writing alone.

use std::{
    io::{self, IoSlice, Read, Write},
    mem::MaybeUninit,
    net::{Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use datagram::Batch;
use rustix::event::{Timespec, epoll};

use crate::{program, wait_for_end};

/// Receives on `streams` ports and counts; with `offload`, runs come in one piece.
pub fn count(streams: u32, offload: bool) -> io::Result<()> {
    let sockets = (0..streams).map(|_| socket()).collect::<io::Result<Vec<_>>>()?;
    if offload && !sockets.iter().all(|socket| datagram::offload(socket.as_fd())) {
        return Err(io::Error::other("this system cannot join datagrams"));
    }
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    for (index, socket) in sockets.iter().enumerate() {
        epoll::add(&poll, socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
    }
    let ports = sockets.iter().map(|socket| Ok(socket.local_addr()?.port().to_string()));
    println!("{{\"ports\": [{}]}}", ports.collect::<io::Result<Vec<_>>>()?.join(", "));
    let over = at_end();
    let mut batch = Batch::new();
    let (mut packets, mut bytes) = (0_u64, 0_u64);
    let mut space = [MaybeUninit::<epoll::Event>::uninit(); 512];
    while !over.load(Ordering::Relaxed) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let (events, _) = epoll::wait(&poll, &mut space, Some(&timeout))?;
        for event in events {
            let socket = &sockets[{ event.data }.u64() as usize];
            // Without packets there is nothing in the batch.
            let _ = batch.receive(socket.as_fd());
            for (_, packet) in batch.datagrams() {
                packets += 1;
                bytes += packet.data.len() as u64;
            }
        }
    }
    println!("{{\"packets\": {packets}, \"bytes\": {bytes}}}");
    Ok(())
}

/// Reads `streams` connections in large pieces and counts.
pub fn count_tcp(streams: u32) -> io::Result<()> {
    let listeners = (0..streams)
        .map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
        .collect::<io::Result<Vec<TcpListener>>>()?;
    let ports = listeners.iter().map(|listener| Ok(listener.local_addr()?.port().to_string()));
    println!("{{\"ports\": [{}]}}", ports.collect::<io::Result<Vec<_>>>()?.join(", "));
    let over = at_end();
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut sockets = Vec::new();
    for (index, listener) in listeners.iter().enumerate() {
        let (socket, _) = listener.accept()?;
        socket.set_nonblocking(true)?;
        epoll::add(&poll, &socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        sockets.push(socket);
    }
    let mut bytes = 0_u64;
    let mut buffer = vec![0; 256 << 10];
    let mut space = [MaybeUninit::<epoll::Event>::uninit(); 512];
    while !over.load(Ordering::Relaxed) {
        let timeout = Timespec { tv_sec: 0, tv_nsec: 100_000_000 };
        let (events, _) = epoll::wait(&poll, &mut space, Some(&timeout))?;
        for event in events {
            match sockets[{ event.data }.u64() as usize].read(&mut buffer) {
                Ok(0) => epoll::delete(&poll, &sockets[{ event.data }.u64() as usize])?,
                Ok(size) => bytes += size as u64,
                Err(_) => {}
            }
        }
    }
    println!("{{\"bytes\": {bytes}}}");
    Ok(())
}

/// Writes the program's pictures to `viewers` connections: so many of them with one write.
pub fn write(viewers: u32, together: u32) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    println!("{{\"port\": {}}}", listener.local_addr()?.port());
    let mut sockets = (0..viewers).map(|_| accept(&listener)).collect::<io::Result<Vec<_>>>()?;
    let over = at_end();
    // Tag header, codec header and trailer of FLV around the picture.
    let pictures: Vec<_> =
        (0..program::GOP).map(|number| vec![1; program::picture_bytes(number) + 20]).collect();
    let interval = Duration::from_secs(1) / program::FPS;
    let began = Instant::now();
    let (mut bytes, mut short) = (0, 0);
    for number in 0.. {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let due = began + interval * number;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        if !(number + 1).is_multiple_of(together) {
            continue;
        }
        let some: Vec<IoSlice<'_>> = (number + 1 - together..=number)
            .map(|number| IoSlice::new(&pictures[(number % program::GOP) as usize]))
            .collect();
        let size = some.iter().map(|picture| picture.len()).sum();
        for socket in &mut sockets {
            let written = socket.write_vectored(&some).unwrap_or(0);
            bytes += written as u64;
            short += u64::from(written < size);
        }
    }
    println!("{{\"bytes\": {bytes}, \"short\": {short}}}");
    Ok(())
}

fn socket() -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket2::SockRef::from(&socket).set_recv_buffer_size(4 << 20)?;
    Ok(socket)
}

fn accept(listener: &TcpListener) -> io::Result<TcpStream> {
    let (mut socket, _) = listener.accept()?;
    let mut request = Vec::new();
    let mut byte = [0];
    while !request.ends_with(b"\r\n\r\n") && socket.read(&mut byte)? > 0 {
        request.extend(byte);
    }
    socket.set_nodelay(true)?;
    socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn at_end() -> Arc<AtomicBool> {
    let over = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&over);
    std::thread::spawn(move || {
        wait_for_end();
        flag.store(true, Ordering::Relaxed);
    });
    over
}
