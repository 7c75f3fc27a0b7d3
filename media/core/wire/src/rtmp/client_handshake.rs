//! The client's handshake (§5.2), with digests in C1 as clients since Flash Player 9 send them: a server that does not
//! know them takes their bytes for noise and echoes C1; one that answers in kind may insist on its own in C2.

use super::handshake::{
    HandshakeError, PLAYER, SERVER, SIZE, VERSION, hmac, key, noise, own_digest, put_digest,
};

/// What C1 says of our version; servers take 0 for the form without digests.
const CLIENT_VERSION: [u8; 4] = [9, 0, 124, 2];
/// By which scheme our digest is placed; all servers know both.
const SCHEME: usize = 1;
const DIGEST: usize = 32;

/// One connection's handshake, the client's side.
#[derive(Debug)]
pub struct ClientHandshake {
    received: Vec<u8>,
    c1: Option<Vec<u8>>,
    seed: u64,
}

impl ClientHandshake {
    /// A handshake whose C0 and C1 go to `out`. `seed` fills what should be random; it protects nothing.
    pub fn new(seed: u64, out: &mut Vec<u8>) -> Self {
        let mut c1 = [&[0; 4][..], &CLIENT_VERSION].concat();
        c1.extend(noise(seed).take(SIZE - 8));
        put_digest(&mut c1, SCHEME, PLAYER);
        out.push(VERSION);
        out.extend_from_slice(&c1);
        Self { received: Vec::with_capacity(1 + 2 * SIZE), c1: Some(c1), seed }
    }

    /// Takes bytes; what is to be said goes to `out`. How many bytes were used, once the handshake is over; what
    /// follows them are chunks.
    pub fn handle(&mut self, data: &[u8], out: &mut Vec<u8>) -> Result<Option<usize>, HandshakeError> {
        let missing = (1 + 2 * SIZE - self.received.len()).min(data.len());
        self.received.extend_from_slice(&data[..missing]);
        match self.received.first() {
            None | Some(&VERSION) => {}
            Some(&other) => return Err(HandshakeError(other)),
        }
        if self.received.len() > SIZE && self.c1.take().is_some() {
            // Some servers send S2 only behind C2, which needs S1 alone.
            let s1 = &self.received[1..=SIZE];
            match own_digest(s1, SERVER) {
                Some((_, digest)) => self.put_proof(&digest, out),
                None => out.extend_from_slice(s1),
            }
        }
        // S2 proves nothing: many servers send anything.
        Ok((self.received.len() == 1 + 2 * SIZE).then_some(missing))
    }

    /// C2 that shows that the server's digest was seen.
    fn put_proof(&self, digest: &[u8; DIGEST], out: &mut Vec<u8>) {
        let c2: Vec<u8> = noise(self.seed ^ u64::MAX).take(SIZE - DIGEST).collect();
        let proof = hmac(&hmac(&key(PLAYER), &[digest]), &[&c2]);
        out.extend_from_slice(&c2);
        out.extend_from_slice(&proof);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rtmp::handshake::{Handshake, digest_of};

    #[test]
    fn our_server_takes_it_for_one_with_digests_and_both_are_done() {
        let (mut sent, mut answer) = (Vec::new(), Vec::new());
        let mut client = ClientHandshake::new(7, &mut sent);
        let mut server = Handshake::new(9);
        assert_eq!(sent.len(), 1 + SIZE);
        assert_eq!(server.handle(&sent, &mut answer), Ok(None));
        assert_ne!(answer[1 + SIZE..], sent[1..], "an answer in kind is no echo");
        let mut c2 = Vec::new();
        for (at, byte) in answer.iter().enumerate() {
            let done = client.handle(&[*byte], &mut c2).unwrap();
            assert_eq!(done, (at + 1 == answer.len()).then_some(1), "{at}");
            assert_eq!(c2.len(), if at < SIZE { 0 } else { SIZE }, "C2 follows S1 at once");
        }
        assert_eq!(server.handle(&[&c2[..], b"rest"].concat(), &mut Vec::new()), Ok(Some(SIZE)));
        let (_, digest) = own_digest(&answer[1..=SIZE], SERVER).unwrap();
        let proof = hmac(&hmac(&key(PLAYER), &[&digest]), &[&c2[..SIZE - DIGEST]]);
        assert_eq!(c2[SIZE - DIGEST..], proof);
    }

    #[test]
    fn a_plain_server_gets_its_bytes_back() {
        let (mut out, s1) = (Vec::new(), [&[0, 0, 0, 9, 0, 0, 0, 0], &[0xCD; SIZE - 8][..]].concat());
        let mut client = ClientHandshake::new(7, &mut Vec::new());
        let all = [&[3], &s1[..], &[1; SIZE], b"rest"].concat();
        assert_eq!(client.handle(&all, &mut out), Ok(Some(1 + 2 * SIZE)));
        assert_eq!(out, s1);
    }

    #[test]
    fn our_digest_stands_where_both_sides_look() {
        let mut sent = Vec::new();
        ClientHandshake::new(7, &mut sent);
        let (scheme, digest) = own_digest(&sent[1..], PLAYER).unwrap();
        assert_eq!((scheme, sent[5..9] == CLIENT_VERSION), (SCHEME, true));
        let at = sent.windows(DIGEST).position(|bytes| bytes == digest).unwrap() - 1;
        assert_eq!(digest_of(&sent[1..], at, PLAYER), digest);
    }

    #[test]
    fn what_is_no_rtmp_is_refused_at_its_first_byte() {
        let mut client = ClientHandshake::new(1, &mut Vec::new());
        assert_eq!(client.handle(b"HTTP/1.1 400", &mut Vec::new()), Err(HandshakeError(b'H')));
    }
}
