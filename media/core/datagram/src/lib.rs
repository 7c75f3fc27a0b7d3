//! Receives datagrams in batches (`recvmmsg`): one system call, buffers made once, no allocation a packet. Sends them in
//! batches too, see [`Outbound`].
//!
//! This is the one crate of the relay that needs `unsafe`; everything it points the kernel at is owned by
//! [`Batch`] and lives as long as it, or lives until the call returns.

mod send;

use std::{
    io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

pub use send::{Outbound, Parts};

/// Datagrams taken by one call.
pub const BATCH: usize = 64;

/// Bytes kept of a datagram; longer ones arrive cut and are marked. RTP of cameras stays below 1,500; 10 KiB
/// is what other receivers allow. The odd 64 keeps the slots from sharing cache sets.
pub const DATAGRAM_MAX: usize = 10 * 1024 + 64;

const NAME_SIZE: libc::socklen_t = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;

/// One datagram of the last batch.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// The bytes.
    pub data: &'a [u8],
    /// Who sent it; IPv4 in its own form, also on a dual-stack socket.
    pub source: SocketAddr,
    /// It was longer than `DATAGRAM_MAX`.
    pub truncated: bool,
}

/// The buffers of a batch.
pub struct Batch {
    buffers: Box<[u8]>,
    names: Box<[libc::sockaddr_storage; BATCH]>,
    _vectors: Box<[libc::iovec; BATCH]>,
    headers: Box<[libc::mmsghdr; BATCH]>,
    filled: usize,
}

// SAFETY: the raw pointers in `_vectors` and `headers` point only into the boxes of the same value, whose
// contents do not move with it.
unsafe impl Send for Batch {}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

impl Batch {
    /// Allocates the buffers, `BATCH` × `DATAGRAM_MAX` bytes.
    pub fn new() -> Self {
        let mut buffers = vec![0_u8; BATCH * DATAGRAM_MAX].into_boxed_slice();
        // SAFETY: all-zero bytes are valid values of these plain C structures.
        let (mut names, mut vectors, mut headers) = unsafe {
            (
                Box::new(mem::zeroed::<[libc::sockaddr_storage; BATCH]>()),
                Box::new(mem::zeroed::<[libc::iovec; BATCH]>()),
                Box::new(mem::zeroed::<[libc::mmsghdr; BATCH]>()),
            )
        };
        for (slot, buffer) in buffers.chunks_exact_mut(DATAGRAM_MAX).enumerate() {
            vectors[slot] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: DATAGRAM_MAX };
            let header = &mut headers[slot].msg_hdr;
            header.msg_namelen = NAME_SIZE;
            header.msg_name = ptr::from_mut(&mut names[slot]).cast();
            header.msg_iov = ptr::from_mut(&mut vectors[slot]);
            header.msg_iovlen = 1;
        }
        Self { buffers, names, _vectors: vectors, headers, filled: 0 }
    }

    /// Takes what waits on `socket`, at most `BATCH` datagrams, without blocking; the number taken.
    ///
    /// `WouldBlock` if none waits; other errors are the socket's (an ICMP error of an earlier send, say).
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        for header in &mut self.headers[..self.filled] {
            header.msg_hdr.msg_namelen = NAME_SIZE;
            header.msg_hdr.msg_flags = 0;
        }
        self.filled = 0;
        // SAFETY: every header points to a name, a vector and a buffer that `self` owns and nobody reads meanwhile.
        let taken = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                self.headers.as_mut_ptr(),
                BATCH as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        self.filled = usize::try_from(taken).map_err(|_| io::Error::last_os_error())?;
        Ok(self.filled)
    }

    /// A datagram of the last batch, oldest first; `None` past its end or if it has no internet address.
    pub fn get(&self, index: usize) -> Option<Datagram<'_>> {
        let header = self.headers[..self.filled].get(index)?;
        let length = (header.msg_len as usize).min(DATAGRAM_MAX);
        let start = index * DATAGRAM_MAX;
        Some(Datagram {
            data: &self.buffers[start..start + length],
            source: address(&self.names[index])?,
            truncated: header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0,
        })
    }
}

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    match libc::c_int::from(storage.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says that the storage, which is large and aligned enough, holds this structure.
            let name = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
            let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
            Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(name.sin_port)))
        }
        libc::AF_INET6 => {
            // SAFETY: as above.
            let name = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
            let ip = Ipv6Addr::from(name.sin6_addr.s6_addr).to_canonical();
            Some(SocketAddr::new(ip, u16::from_be(name.sin6_port)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use super::*;

    #[test]
    fn takes_what_waits_in_order_with_its_source() {
        let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let mut batch = Batch::new();
        assert_eq!(batch.receive(receiver.as_fd()).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        for round in 0..3_u8 {
            for number in 0..70_u8 {
                sender.send(&[round, number]).unwrap();
            }
            assert_eq!(batch.receive(receiver.as_fd()).unwrap(), BATCH);
            assert_eq!(batch.get(0).unwrap().data, [round, 0]);
            assert_eq!(batch.get(63).unwrap().data, [round, 63]);
            assert_eq!(batch.get(63).unwrap().source, sender.local_addr().unwrap());
            assert_eq!(batch.receive(receiver.as_fd()).unwrap(), 6);
            assert_eq!(batch.get(5).unwrap().data, [round, 69]);
            assert!(batch.get(6).is_none());
        }
    }

    #[test]
    fn shows_ipv4_as_ipv4_and_marks_what_was_cut() {
        let receiver = UdpSocket::bind("[::]:0").unwrap();
        let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
        let port = receiver.local_addr().unwrap().port();
        sender.send_to(&vec![7; DATAGRAM_MAX + 1], ("127.0.0.1", port)).unwrap();
        sender.send_to(b"", ("127.0.0.1", port)).unwrap();
        let mut batch = Batch::new();
        assert_eq!(batch.receive(receiver.as_fd()).unwrap(), 2);
        let first = batch.get(0).unwrap();
        assert_eq!((first.source, first.truncated), (sender.local_addr().unwrap(), true));
        assert_eq!(first.data.len(), DATAGRAM_MAX);
        let second = batch.get(1).unwrap();
        assert!(second.data.is_empty() && !second.truncated);
    }
}
