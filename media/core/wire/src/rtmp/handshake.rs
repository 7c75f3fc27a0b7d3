//! The server's handshake (§5.2): an echo, or with digests if the client's first message carries one.
//!
//! The form with digests is described nowhere officially; clients since Flash Player 9 send it, and some encoders refuse
//! a server that does not answer in kind. C1 then holds, at a place that four of its bytes point to, the HMAC-SHA256
//! of all its other bytes; S1 holds the server's, and S2 proves that the server saw C1's.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use thiserror::Error;

/// Size of C1, S1, C2 and S2.
pub(super) const SIZE: usize = 1536;
const DIGEST: usize = 32;
pub(super) const VERSION: u8 = 3;
/// What S1 says of the server's version where digests are used; a client takes 0 for the plain form.
const SERVER_VERSION: [u8; 4] = [4, 5, 0, 1];

pub(super) const PLAYER: &[u8] = b"Genuine Adobe Flash Player 001";
pub(super) const SERVER: &[u8] = b"Genuine Adobe Flash Media Server 001";
/// What follows either name in the long form of its key.
const KEY_TAIL: [u8; 32] = [
    0xF0, 0xEE, 0xC2, 0x4A, 0x80, 0x68, 0xBE, 0xE8, 0x2E, 0x00, 0xD0, 0xD1, 0x02, 0x9E, 0x7E, 0x57, 0x6E,
    0xEC, 0x5D, 0x2D, 0x29, 0x80, 0x6F, 0xAB, 0x93, 0xB8, 0xE6, 0x36, 0xCF, 0xEB, 0x31, 0xAE,
];
/// Where the four bytes stand that point to the digest; it lies among the 764 bytes that begin there.
const POINTERS: [usize; 2] = [772, 8];

/// The peer does not speak RTMP, or not a version that we do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("the handshake begins with {0:#04x} instead of version 3")]
pub struct HandshakeError(pub u8);

/// One connection's handshake, the server's side.
#[derive(Debug)]
pub struct Handshake {
    received: Vec<u8>,
    answered: bool,
    seed: u64,
}

impl Handshake {
    /// `seed` fills what should be random; it protects nothing.
    pub fn new(seed: u64) -> Self {
        Self { received: Vec::with_capacity(1 + 2 * SIZE), answered: false, seed }
    }

    /// Takes bytes; what is to be answered goes to `out`. How many bytes were used, once the handshake is over; what
    /// follows them are chunks.
    pub fn handle(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, HandshakeError> {
        let missing = (1 + 2 * SIZE - self.received.len()).min(data.len());
        self.received.extend_from_slice(&data[..missing]);
        match self.received.first() {
            None | Some(&VERSION) => {}
            Some(&other) => return Err(HandshakeError(other)),
        }
        if !self.answered && self.received.len() > SIZE {
            self.answered = true;
            let c1 = &self.received[1..=SIZE];
            out.push(VERSION);
            match own_digest(c1, PLAYER) {
                Some((scheme, digest)) => put_digests(out, self.seed, scheme, &digest),
                None => put_echo(out, self.seed, c1),
            }
        }
        // C2 proves nothing: many clients send anything.
        Ok((self.received.len() == 1 + 2 * SIZE).then_some(missing))
    }
}

fn put_echo(out: &mut Vec<u8>, seed: u64, c1: &[u8]) {
    out.extend_from_slice(&[0; 8]);
    out.extend(noise(seed).take(SIZE - 8));
    out.extend_from_slice(c1);
}

fn put_digests(out: &mut Vec<u8>, seed: u64, scheme: usize, client: &[u8; DIGEST]) {
    let mut s1 = [&[0; 4][..], &SERVER_VERSION].concat();
    s1.extend(noise(seed).take(SIZE - 8));
    put_digest(&mut s1, scheme, SERVER);
    out.extend_from_slice(&s1);
    let s2: Vec<u8> = noise(seed ^ u64::MAX).take(SIZE - DIGEST).collect();
    let proof = hmac(&hmac(&key(SERVER), &[client]), &[&s2]);
    out.extend_from_slice(&s2);
    out.extend_from_slice(&proof);
}

/// Puts a message's digest where the scheme wants it.
pub(super) fn put_digest(message: &mut [u8], scheme: usize, name: &[u8]) {
    let at = place(message, scheme);
    let digest = digest_of(message, at, name);
    message[at..at + DIGEST].copy_from_slice(&digest);
}

/// The digest of C1 or S1 and by which scheme it is placed, if it has one.
pub(super) fn own_digest(message: &[u8], name: &[u8]) -> Option<(usize, [u8; DIGEST])> {
    // Whoever does without says version 0 (§5.2.3).
    if message[4..8] == [0; 4] {
        return None;
    }
    (0..POINTERS.len()).find_map(|scheme| {
        let at = place(message, scheme);
        let digest = digest_of(message, at, name);
        (message[at..at + DIGEST] == digest).then_some((scheme, digest))
    })
}

/// The long form of a key.
pub(super) fn key(name: &[u8]) -> Vec<u8> {
    [name, &KEY_TAIL].concat()
}

/// Where the digest stands.
fn place(message: &[u8], scheme: usize) -> usize {
    let pointer = POINTERS[scheme];
    let sum: usize = message[pointer..pointer + 4].iter().map(|&byte| usize::from(byte)).sum();
    pointer + 4 + sum % (764 - 4 - DIGEST)
}

/// The digest of a message whose own stands, or is to stand, at `at`.
pub(super) fn digest_of(message: &[u8], at: usize, key: &[u8]) -> [u8; DIGEST] {
    hmac(key, &[&message[..at], &message[at + DIGEST..]])
}

pub(super) fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST] {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    parts.iter().fold(mac, Mac::chain_update).finalize().into_bytes().into()
}

/// Bytes that look random (xorshift64).
pub(super) fn noise(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed | 1;
    std::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(c1: &[u8], cut: usize) -> (Vec<u8>, Option<usize>) {
        let all = [&[3], c1, &[7; SIZE], b"rest"].concat();
        let (mut handshake, mut out) = (Handshake::new(17), Vec::new());
        let first = handshake.handle(&all[..cut], &mut out).unwrap();
        let used = first.or_else(|| handshake.handle(&all[cut..], &mut out).unwrap().map(|used| used + cut));
        (out, used)
    }

    #[test]
    fn a_plain_client_gets_its_bytes_back() {
        let c1 = [&[0, 0, 0, 9, 0, 0, 0, 0], &[0xAB; SIZE - 8][..]].concat();
        for cut in [0, 1, 700, SIZE, SIZE + 1, SIZE + 2, 2 * SIZE + 1, 2 * SIZE + 3] {
            let (out, used) = answer(&c1, cut);
            assert_eq!((out.len(), out[0], used), (1 + 2 * SIZE, 3, Some(1 + 2 * SIZE)), "{cut}");
            assert_eq!(out[1 + SIZE..], c1);
            assert_eq!(out[1..9], [0; 8]);
        }
    }

    #[test]
    fn a_client_with_a_digest_gets_one_by_the_same_scheme() {
        for scheme in [0, 1] {
            let mut c1: Vec<u8> =
                [0, 0, 0, 0, 9, 0, 124, 2].into_iter().chain(noise(5).take(SIZE - 8)).collect();
            put_digest(&mut c1, scheme, PLAYER);
            let (_, digest) = own_digest(&c1, PLAYER).unwrap();
            let (out, _) = answer(&c1, 100);
            let (s1, s2) = out[1..].split_at(SIZE);
            let server = place(s1, scheme);
            assert_eq!(s1[server..server + DIGEST], digest_of(s1, server, SERVER));
            assert_eq!(s1[4..8], SERVER_VERSION);
            let key = hmac(&key(SERVER), &[&digest]);
            assert_eq!(s2[SIZE - DIGEST..], hmac(&key, &[&s2[..SIZE - DIGEST]]));
        }
    }

    #[test]
    fn a_version_without_a_right_digest_is_echoed() {
        let c1 = [&[0, 0, 0, 0, 9, 0, 124, 2], &[1; SIZE - 8][..]].concat();
        assert_eq!(answer(&c1, 0).0[1 + SIZE..], c1);
    }

    #[test]
    fn what_is_no_rtmp_is_refused_at_its_first_byte() {
        let mut handshake = Handshake::new(1);
        assert_eq!(handshake.handle(b"", &mut Vec::new()), Ok(None));
        assert_eq!(handshake.handle(b"GET / HTTP/1.1", &mut Vec::new()), Err(HandshakeError(b'G')));
        assert_eq!(Handshake::new(1).handle(&[6], &mut Vec::new()), Err(HandshakeError(6)), "RTMPE");
    }
}
