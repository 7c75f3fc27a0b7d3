//! Receives datagrams in batches (`recvmmsg`): one system call, buffers made once, no allocation a packet. Where the system
//! joins runs of equal datagrams (`UDP_GRO`) they come as one message and are taken apart in place. Sends them in batches
//! too, see [`Outbound`].
//!
//! This crate and `cpu` are the ones of the relay that need `unsafe`; everything it points the kernel at is owned by
//! [`Batch`] and lives as long as it, or lives until the call returns.

mod send;

use std::{
    io, mem,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    ops::Range,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
};

pub use send::{Outbound, Parts};

/// Messages taken by one call; each is a datagram, or a run of them where the socket is offloaded.
pub const BATCH: usize = 64;

/// Bytes kept of a datagram; longer ones arrive cut and are marked. RTP of cameras stays below 1,500; 10 KiB
/// is what other receivers allow.
pub const DATAGRAM_MAX: usize = 10 * 1024;

/// Room for a message: a run has up to 64 KiB. Pages that nothing was written to take no memory. The odd 64 keeps the slots
/// from sharing cache sets.
const SLOT: usize = 64 * 1024 + 64;

/// One control message with the size of a run's datagrams, in units that align it.
const CONTROL: usize = 4;

const NAME_SIZE: libc::socklen_t = mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t;

/// One datagram of the last batch.
#[derive(Debug, Clone, Copy)]
pub struct Datagram<'a> {
    /// The bytes.
    pub data: &'a [u8],
    /// It was longer than `DATAGRAM_MAX`.
    pub truncated: bool,
}

/// Asks the system to hand over runs of equal datagrams of one sender in one piece; false if it cannot, and nothing changes.
pub fn offload(socket: BorrowedFd<'_>) -> bool {
    let on: libc::c_int = 1;
    // SAFETY: the option is read from `on`, whose size is told, before the call returns.
    let done = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_UDP,
            libc::UDP_GRO,
            ptr::from_ref(&on).cast(),
            mem::size_of_val(&on) as libc::socklen_t,
        )
    };
    done == 0
}

/// The buffers of a batch.
pub struct Batch {
    buffers: Box<[u8]>,
    names: Box<[libc::sockaddr_storage; BATCH]>,
    _vectors: Box<[libc::iovec; BATCH]>,
    controls: Box<[[u64; CONTROL]; BATCH]>,
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
    /// Allocates the buffers, 4 MiB of which the system gives what is used.
    pub fn new() -> Self {
        let mut buffers = vec![0_u8; BATCH * SLOT].into_boxed_slice();
        // SAFETY: all-zero bytes are valid values of these plain C structures.
        let (mut names, mut vectors, mut headers) = unsafe {
            (
                Box::new(mem::zeroed::<[libc::sockaddr_storage; BATCH]>()),
                Box::new(mem::zeroed::<[libc::iovec; BATCH]>()),
                Box::new(mem::zeroed::<[libc::mmsghdr; BATCH]>()),
            )
        };
        let mut controls = Box::new([[0_u64; CONTROL]; BATCH]);
        for (slot, buffer) in buffers.chunks_exact_mut(SLOT).enumerate() {
            vectors[slot] = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: SLOT };
            let header = &mut headers[slot].msg_hdr;
            header.msg_namelen = NAME_SIZE;
            header.msg_name = ptr::from_mut(&mut names[slot]).cast();
            header.msg_iov = ptr::from_mut(&mut vectors[slot]);
            header.msg_iovlen = 1;
            header.msg_control = controls[slot].as_mut_ptr().cast();
            header.msg_controllen = mem::size_of_val(&controls[slot]) as _;
        }
        Self { buffers, names, _vectors: vectors, controls, headers, filled: 0 }
    }

    /// Takes what waits on `socket`, at most `BATCH` messages, without blocking; the number taken.
    ///
    /// `WouldBlock` if none waits; other errors are the socket's (an ICMP error of an earlier send, say).
    pub fn receive(&mut self, socket: BorrowedFd<'_>) -> io::Result<usize> {
        for header in &mut self.headers[..self.filled] {
            header.msg_hdr.msg_namelen = NAME_SIZE;
            header.msg_hdr.msg_flags = 0;
            header.msg_hdr.msg_controllen = mem::size_of::<[u64; CONTROL]>() as _;
        }
        self.filled = 0;
        // SAFETY: every header points to a name, a vector, a control buffer and a buffer that `self` owns and nobody reads
        // meanwhile.
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

    /// The datagrams of the last batch, oldest first; those without an internet address are left out.
    pub fn datagrams(&self) -> impl Iterator<Item = (SocketAddr, Datagram<'_>)> {
        self.bursts().flat_map(|burst| burst.datagrams().map(move |datagram| (burst.source, datagram)))
    }

    /// The last batch, cut where the sender changes: most of what is to be known of a datagram is that of the one before it.
    pub fn bursts(&self) -> impl Iterator<Item = Burst<'_>> {
        let mut begin = 0;
        std::iter::from_fn(move || {
            while begin < self.filled {
                let first = begin;
                let name = &self.names[first];
                begin += 1;
                while begin < self.filled && is_same(name, &self.names[begin]) {
                    begin += 1;
                }
                if let Some(source) = address(name) {
                    return Some(Burst { source, batch: self, messages: first..begin });
                }
            }
            None
        })
    }

    /// What one message has: its bytes, the size of its datagrams, and whether it was cut.
    fn message(&self, index: usize) -> (&[u8], usize, bool) {
        let header = &self.headers[index];
        let start = index * SLOT;
        let data = &self.buffers[start..start + (header.msg_len as usize).min(SLOT)];
        let size = segment_size(&self.controls[index], &header.msg_hdr).unwrap_or(data.len()).max(1);
        (data, size, header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0)
    }
}

/// What one sender's messages brought, one after the other.
pub struct Burst<'a> {
    /// Who sent it; IPv4 in its own form, also on a dual-stack socket.
    pub source: SocketAddr,
    batch: &'a Batch,
    messages: Range<usize>,
}

impl<'a> Burst<'a> {
    /// Its datagrams, oldest first.
    pub fn datagrams(&self) -> Datagrams<'a> {
        Datagrams { batch: self.batch, messages: self.messages.clone(), rest: None, size: 1, cut: false }
    }
}

/// The datagrams of a burst.
pub struct Datagrams<'a> {
    batch: &'a Batch,
    messages: Range<usize>,
    /// Of the message that is being taken apart.
    rest: Option<&'a [u8]>,
    size: usize,
    cut: bool,
}

impl<'a> Iterator for Datagrams<'a> {
    type Item = Datagram<'a>;

    #[inline]
    fn next(&mut self) -> Option<Datagram<'a>> {
        let rest = if let Some(rest) = self.rest.take() {
            rest
        } else {
            let rest;
            (rest, self.size, self.cut) = self.batch.message(self.messages.next()?);
            rest
        };
        // An empty message is a datagram, too; what is left of another one never is.
        let data = if rest.len() > self.size {
            let (data, rest) = rest.split_at(self.size);
            self.rest = Some(rest);
            data
        } else {
            rest
        };
        let kept = &data[..data.len().min(DATAGRAM_MAX)];
        Some(Datagram { data: kept, truncated: self.cut || kept.len() < data.len() })
    }
}

/// Whether two messages came from the same sender. It is asked for each message: the common case is compared as it stands.
fn is_same(one: &libc::sockaddr_storage, other: &libc::sockaddr_storage) -> bool {
    match (ipv4(one), ipv4(other)) {
        (Some(one), Some(other)) => {
            one.sin_port == other.sin_port && one.sin_addr.s_addr == other.sin_addr.s_addr
        }
        (None, None) => address(one) == address(other),
        _ => false,
    }
}

fn ipv4(storage: &libc::sockaddr_storage) -> Option<&libc::sockaddr_in> {
    // SAFETY: the family says that the storage, which is large and aligned enough, holds this structure.
    let name = || unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in>() };
    (libc::c_int::from(storage.ss_family) == libc::AF_INET).then(name)
}

/// How large the datagrams of a run are; `None` if the message is one datagram. Nothing else was asked for, so the first
/// control message, if there is one, tells it.
fn segment_size(control: &[u64; CONTROL], header: &libc::msghdr) -> Option<usize> {
    const NEEDED: usize = mem::size_of::<libc::cmsghdr>() + mem::size_of::<libc::c_int>();
    if header.msg_controllen < NEEDED as _ {
        return None;
    }
    // SAFETY: the buffer is aligned for a control message's header and larger than one with a number behind it; the system
    // has written at least that much.
    let (head, size) = unsafe {
        let head = control.as_ptr().cast::<libc::cmsghdr>();
        (&*head, libc::CMSG_DATA(head).cast::<libc::c_int>().read_unaligned())
    };
    let told = head.cmsg_level == libc::SOL_UDP && head.cmsg_type == libc::UDP_GRO;
    usize::try_from(size).ok().filter(|&size| told && size > 0)
}

fn address(storage: &libc::sockaddr_storage) -> Option<SocketAddr> {
    if let Some(name) = ipv4(storage) {
        let ip = Ipv4Addr::from(u32::from_be(name.sin_addr.s_addr));
        return Some(SocketAddr::new(IpAddr::V4(ip), u16::from_be(name.sin_port)));
    }
    if libc::c_int::from(storage.ss_family) != libc::AF_INET6 {
        return None;
    }
    // SAFETY: as in `ipv4`.
    let name = unsafe { &*ptr::from_ref(storage).cast::<libc::sockaddr_in6>() };
    let ip = Ipv6Addr::from(name.sin6_addr.s6_addr).to_canonical();
    Some(SocketAddr::new(ip, u16::from_be(name.sin6_port)))
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd};

    use super::*;

    fn received(batch: &mut Batch, socket: &UdpSocket) -> Vec<Vec<u8>> {
        batch.receive(socket.as_fd()).unwrap();
        batch.datagrams().map(|(_, datagram)| datagram.data.to_vec()).collect()
    }

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
            let all: Vec<_> = batch.datagrams().collect();
            assert_eq!(
                (all.len(), all[0].1.data, all[63].1.data),
                (BATCH, &[round, 0][..], &[round, 63][..])
            );
            assert_eq!(all[63].0, sender.local_addr().unwrap());
            let rest = received(&mut batch, &receiver);
            assert_eq!((rest.len(), &rest[5][..]), (6, &[round, 69][..]));
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
        let all: Vec<_> = batch.datagrams().collect();
        assert_eq!((all[0].0, all[0].1.truncated), (sender.local_addr().unwrap(), true));
        assert_eq!(all[0].1.data.len(), DATAGRAM_MAX);
        assert!(all[1].1.data.is_empty() && !all[1].1.truncated);
        assert_eq!(all.len(), 2);
    }

    #[test]
    fn is_cut_where_the_sender_changes() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let receiver = UdpSocket::bind(host).unwrap();
            let senders = [0, 1].map(|_| UdpSocket::bind(host).unwrap());
            let order = [0, 0, 1, 0, 1, 1, 1];
            for (number, &sender) in (0_u8..).zip(&order) {
                senders[sender].send_to(&[number], receiver.local_addr().unwrap()).unwrap();
            }
            let mut batch = Batch::new();
            batch.receive(receiver.as_fd()).unwrap();
            let seen: Vec<(SocketAddr, Vec<u8>)> = batch
                .bursts()
                .map(|burst| (burst.source, burst.datagrams().map(|datagram| datagram.data[0]).collect()))
                .collect();
            let [one, other] = senders.map(|sender| sender.local_addr().unwrap());
            assert_eq!(seen, [(one, vec![0, 1]), (other, vec![2]), (one, vec![3]), (other, vec![4, 5, 6])]);
        }
    }

    #[test]
    fn a_run_that_came_in_one_piece_is_taken_apart() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let receiver = UdpSocket::bind(host).unwrap();
            let sender = UdpSocket::bind(host).unwrap();
            sender.connect(receiver.local_addr().unwrap()).unwrap();
            assert!(offload(receiver.as_fd()), "Linux 5.0 and later can");
            let packets: Vec<Vec<u8>> =
                (0..50_u8).map(|number| vec![number; if number == 49 { 7 } else { 1200 }]).collect();
            let parts: Vec<Parts<'_>> = packets.iter().map(|packet| [&packet[..2], &packet[2..]]).collect();
            let mut batch = Batch::new();
            assert_eq!(Outbound::default().send(sender.as_fd(), None, &parts).unwrap(), packets.len());
            assert_eq!(received(&mut batch, &receiver), packets);
            assert!(batch.filled < packets.len(), "in fewer messages than datagrams");
            // What comes alone is told alone, also in a slot that had a run.
            sender.send(&[1; 3000]).unwrap();
            sender.send(b"").unwrap();
            assert_eq!(received(&mut batch, &receiver), [vec![1; 3000], vec![]]);
        }
    }
}
