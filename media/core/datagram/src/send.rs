//! Sends datagrams in batches: one system call for many (`sendmmsg`), and where the system can cut packets itself
//! (`UDP_SEGMENT`) one pass through its network code for a run of equal ones.

use std::{
    io, mem,
    net::SocketAddr,
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    sync::atomic::{AtomicBool, Ordering},
};

/// Packets handed to the system by one call.
const PACKETS: usize = 128;

/// Bytes of a run: what one UDP datagram could hold.
const RUN_BYTES: usize = 65_000;

/// Packets of a run that every kernel takes.
const RUN_PACKETS: usize = 64;

/// One control message with a number of 16 bits, in units that align it.
const CONTROL: usize = 4;

const NAME_V4: libc::socklen_t = mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;
const NAME_V6: libc::socklen_t = mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t;

/// A packet in two parts, so that a header of its own can stand before a payload that many receivers share.
pub type Parts<'a> = [&'a [u8]; 2];

/// How one socket, or several on the same way, are written to.
#[derive(Debug)]
pub struct Outbound {
    /// The system cuts runs of packets; it may turn out that it cannot.
    cuts: AtomicBool,
}

impl Default for Outbound {
    fn default() -> Self {
        Self { cuts: AtomicBool::new(true) }
    }
}

impl Outbound {
    /// Sends packets in order without blocking, to `to` or where the socket is connected to; the number that the system
    /// took. Fewer than asked means that it takes no more now; an error means that it took none of them.
    pub fn send(
        &self,
        socket: BorrowedFd<'_>,
        to: Option<SocketAddr>,
        packets: &[Parts<'_>],
    ) -> io::Result<usize> {
        let mut taken = 0;
        while taken < packets.len() {
            match self.send_some(socket, to, &packets[taken..]) {
                Ok(0) => break,
                Ok(more) => taken += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if self.may_be_cutting(&error) => self.cuts.store(false, Ordering::Relaxed),
                Err(error) if taken == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(taken)
    }

    /// Whether the error may mean that packets cannot be cut on this way: an old kernel, a device without checksums, a
    /// path that is narrower than our packets.
    fn may_be_cutting(&self, error: &io::Error) -> bool {
        let cannot = [libc::EINVAL, libc::EIO, libc::ENOPROTOOPT, libc::EMSGSIZE, libc::EOPNOTSUPP];
        self.cuts.load(Ordering::Relaxed) && error.raw_os_error().is_some_and(|code| cannot.contains(&code))
    }

    fn send_some(
        &self,
        socket: BorrowedFd<'_>,
        to: Option<SocketAddr>,
        packets: &[Parts<'_>],
    ) -> io::Result<usize> {
        let packets = &packets[..packets.len().min(PACKETS)];
        let (mut name, name_len) = to.map_or_else(empty_name, name);
        let mut vectors = [libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; PACKETS * 2];
        for (vector, part) in vectors.iter_mut().zip(packets.iter().flatten()) {
            *vector = libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.len() };
        }
        let mut control = [[0_u64; CONTROL]; PACKETS];
        // SAFETY: all-zero bytes are valid values of this plain C structure.
        let mut headers: [libc::mmsghdr; PACKETS] = unsafe { mem::zeroed() };
        let mut runs = [0; PACKETS];
        let (mut count, mut at) = (0, 0);
        let cuts = self.cuts.load(Ordering::Relaxed);
        while at < packets.len() {
            let run = if cuts { run(&packets[at..]) } else { 1 };
            let header = &mut headers[count].msg_hdr;
            header.msg_iov = ptr::from_mut(&mut vectors[at * 2]);
            header.msg_iovlen = (run * 2) as _;
            if name_len > 0 {
                header.msg_name = ptr::from_mut(&mut name).cast();
                header.msg_namelen = name_len;
            }
            if run > 1 {
                let size = size(&packets[at]) as u16;
                put_segment_size(header, &mut control[count], size);
            }
            runs[count] = run;
            count += 1;
            at += run;
        }
        // SAFETY: the first `count` headers point to a name, vectors, control messages and packets that live until the
        // call returns; the system only reads what the vectors point to.
        let sent = unsafe {
            libc::sendmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                count as libc::c_uint,
                libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
            )
        };
        let Ok(sent) = usize::try_from(sent) else {
            let error = io::Error::last_os_error();
            return if error.kind() == io::ErrorKind::WouldBlock { Ok(0) } else { Err(error) };
        };
        Ok(runs[..sent].iter().sum())
    }
}

fn size(packet: &Parts<'_>) -> usize {
    packet[0].len() + packet[1].len()
}

/// How many of the first packets can go as one: they are equally long, but for the last, which may be shorter.
fn run(packets: &[Parts<'_>]) -> usize {
    let Some(first) = packets.first().map(size).filter(|&first| first > 0) else { return 1 };
    let most = RUN_PACKETS.min(RUN_BYTES / first).max(1);
    let equal = packets.iter().take(most).take_while(|packet| size(packet) == first).count();
    let short = packets.get(equal).is_some_and(|last| size(last) > 0 && size(last) < first);
    equal + usize::from(short && equal < most)
}

/// Asks for packets of `size` bytes to be cut from the message.
fn put_segment_size(header: &mut libc::msghdr, control: &mut [u64; CONTROL], size: u16) {
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute; the buffer has room for one message of two bytes and is aligned for
    // its header, which CMSG_FIRSTHDR points to.
    unsafe {
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = libc::CMSG_SPACE(mem::size_of::<u16>() as libc::c_uint) as _;
        let message = libc::CMSG_FIRSTHDR(header);
        (*message).cmsg_level = libc::SOL_UDP;
        (*message).cmsg_type = libc::UDP_SEGMENT;
        (*message).cmsg_len = libc::CMSG_LEN(mem::size_of::<u16>() as libc::c_uint) as _;
        libc::CMSG_DATA(message).cast::<u16>().write_unaligned(size);
    }
}

fn empty_name() -> (libc::sockaddr_storage, libc::socklen_t) {
    // SAFETY: all-zero bytes are a valid value of this plain C structure.
    (unsafe { mem::zeroed() }, 0)
}

fn name(address: SocketAddr) -> (libc::sockaddr_storage, libc::socklen_t) {
    let (mut storage, _) = empty_name();
    let len = match address {
        SocketAddr::V4(address) => {
            // SAFETY: the storage is large and aligned enough for every address.
            let name = unsafe { &mut *ptr::from_mut(&mut storage).cast::<libc::sockaddr_in>() };
            name.sin_family = libc::AF_INET as libc::sa_family_t;
            name.sin_port = address.port().to_be();
            name.sin_addr.s_addr = u32::from(*address.ip()).to_be();
            NAME_V4
        }
        SocketAddr::V6(address) => {
            // SAFETY: as above.
            let name = unsafe { &mut *ptr::from_mut(&mut storage).cast::<libc::sockaddr_in6>() };
            name.sin6_family = libc::AF_INET6 as libc::sa_family_t;
            name.sin6_port = address.port().to_be();
            name.sin6_addr.s6_addr = address.ip().octets();
            name.sin6_scope_id = address.scope_id();
            NAME_V6
        }
    };
    (storage, len)
}

#[cfg(test)]
mod tests {
    use std::{net::UdpSocket, os::fd::AsFd, time::Duration};

    use super::*;

    fn pair(host: &str) -> (UdpSocket, UdpSocket) {
        let receiver = UdpSocket::bind((host, 0)).unwrap();
        receiver.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        (UdpSocket::bind((host, 0)).unwrap(), receiver)
    }

    fn receive(socket: &UdpSocket, count: usize) -> Vec<Vec<u8>> {
        let mut buffer = [0; 2000];
        (0..count)
            .map(|_| {
                let size = socket.recv(&mut buffer).unwrap();
                buffer[..size].to_vec()
            })
            .collect()
    }

    /// Packets of these sizes, each with its number in front.
    fn packets(sizes: &[usize]) -> Vec<Vec<u8>> {
        sizes.iter().zip(0_u8..).map(|(&size, number)| vec![number; size]).collect()
    }

    #[test]
    fn packets_arrive_as_they_were_given_cut_by_the_system_or_not() {
        for host in ["127.0.0.1", "::1"] {
            let (sender, receiver) = pair(host);
            let to = receiver.local_addr().unwrap();
            let sizes: Vec<usize> =
                [&[1400; 100][..], &[300, 1400, 1400, 1401, 12, 12, 5, 900, 1400, 700]].concat();
            let packets = packets(&sizes);
            let parts: Vec<Parts<'_>> = packets.iter().map(|packet| packet.split_at(5).into()).collect();
            for cuts in [true, false] {
                let outbound = Outbound { cuts: AtomicBool::new(cuts) };
                for (part, expected) in parts.chunks(30).zip(packets.chunks(30)) {
                    assert_eq!(outbound.send(sender.as_fd(), Some(to), part).unwrap(), part.len());
                    assert_eq!(receive(&receiver, part.len()), expected, "{host}, cut: {cuts}");
                }
            }
        }
    }

    #[test]
    fn a_connected_socket_needs_no_address_and_tells_of_refusal() {
        let (sender, receiver) = pair("127.0.0.1");
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let outbound = Outbound::default();
        let parts: [Parts<'_>; 3] = [[b"ab", b"c"], [b"de", b"f"], [b"g", b""]];
        assert_eq!(outbound.send(sender.as_fd(), None, &parts).unwrap(), 3);
        assert_eq!(receive(&receiver, 3), [&b"abc"[..], b"def", b"g"]);
        drop(receiver);
        let refused = (0..50).find_map(|_| {
            std::thread::sleep(Duration::from_millis(2));
            outbound.send(sender.as_fd(), None, &parts).err()
        });
        assert_eq!(refused.unwrap().kind(), io::ErrorKind::ConnectionRefused);
        assert!(outbound.cuts.load(Ordering::Relaxed));
    }

    #[test]
    fn a_run_has_one_size_but_for_its_end() {
        let of = |sizes: &[usize]| {
            let packets = packets(sizes);
            run(&packets.iter().map(|packet| [&packet[..], &[]]).collect::<Vec<_>>())
        };
        assert_eq!(of(&[10, 10, 10, 4, 4]), 4);
        assert_eq!(of(&[10, 11, 10]), 1);
        assert_eq!(of(&[10, 4, 10]), 2);
        assert_eq!(of(&[1400; 60]), 46);
        assert_eq!(of(&[100; 90]), 64);
        assert_eq!(of(&[7]), 1);
    }
}
