//! The cameras: one stream to each port, its pictures spread evenly among those of the others.

use std::{
    io::{self, IoSlice},
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    time::{Duration, Instant},
};

use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use crate::program;

struct Camera {
    socket: UdpSocket,
    sequence: u16,
    sent: u64,
    refused: u64,
}

/// Sends for `seconds` to each of `ports` on loopback; a port's stream has the SSRC of its position, from 1 on.
pub fn run(seconds: u32, ports: &[u32]) -> io::Result<()> {
    let mut cameras = ports.iter().map(|port| camera(*port as u16)).collect::<io::Result<Vec<_>>>()?;
    let mut packs = program::packs();
    let pictures = u64::from(seconds * program::FPS);
    let interval = Duration::from_secs(1) / program::FPS;
    let began = Instant::now();
    let mut late = Duration::ZERO;
    for number in 0..pictures {
        let count = packs.len() as u64;
        let pack = &mut packs[(number % count) as usize];
        program::stamp(pack, number);
        for index in 0..cameras.len() {
            let share = interval * index as u32 / cameras.len() as u32;
            let due = began + interval * number as u32 + share;
            let now = Instant::now();
            if let Some(early) = due.checked_duration_since(now) {
                // A sleep of less than the timer's slack is not worth a system call.
                if early > Duration::from_micros(100) {
                    std::thread::sleep(early);
                }
            } else {
                late = late.max(now - due);
            }
            cameras[index].send(pack, index as u32 + 1, number)?;
        }
    }
    let sent: u64 = cameras.iter().map(|camera| camera.sent).sum();
    let refused: u64 = cameras.iter().map(|camera| camera.refused).sum();
    println!("{{\"sent\": {sent}, \"refused\": {refused}, \"latest_ms\": {}}}", late.as_millis());
    Ok(())
}

fn camera(port: u16) -> io::Result<Camera> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.connect(SocketAddr::from((Ipv4Addr::LOCALHOST, port)))?;
    socket2::SockRef::from(&socket).set_send_buffer_size(1 << 20)?;
    Ok(Camera { socket, sequence: 0, sent: 0, refused: 0 })
}

impl Camera {
    fn send(&mut self, pack: &[u8], ssrc: u32, number: u64) -> io::Result<()> {
        let timestamp = (number * 90_000 / u64::from(program::FPS)) as u32;
        let packets: Vec<_> = program::packets(pack, ssrc, self.sequence, timestamp).collect();
        self.sequence = self.sequence.wrapping_add(packets.len() as u16);
        for some in packets.chunks(64) {
            let slices: Vec<_> =
                some.iter().map(|(head, body)| [IoSlice::new(head), IoSlice::new(body)]).collect();
            let mut controls: Vec<_> = some.iter().map(|_| SendAncillaryBuffer::default()).collect();
            let mut messages: Vec<_> = slices
                .iter()
                .zip(&mut controls)
                .map(|(slices, control)| MMsgHdr::new(slices, control))
                .collect();
            let taken = sendmmsg(&self.socket, &mut messages, SendFlags::empty())?;
            self.sent += taken as u64;
            self.refused += (some.len() - taken) as u64;
        }
        Ok(())
    }
}
