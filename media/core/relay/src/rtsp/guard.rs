//! Who a client of one connection is: challenges by Digest, and what of its answers can be judged without knowing passwords.
//! No socket, no clock.
//!
//! A nonce says when it was made and for which connection, under an HMAC, so none is remembered but the last one of this
//! connection with the highest count it was used with. One that is too old, or of another connection, is stale: the client
//! asks again without asking its user.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use wire::rtsp::{
    Target,
    digest::{Algorithm, Proof, challenge},
};

/// Seconds that a nonce is good for.
const LIFE_S: u64 = 300;

/// Proofs of one connection that may be refused; then it is not asked again.
const REFUSALS_MAX: u8 = 3;

/// Bytes of a nonce: its time, its connection, its HMAC.
const TIME: usize = 8;
const CONNECTION: usize = 8;
const SEAL: usize = 16;

/// What asks a connection's client who it is.
pub(super) struct Guard {
    realm: String,
    key: Vec<u8>,
    connection: [u8; CONNECTION],
    made: u64,
    /// The last nonce, and the highest count it was used with.
    last: Option<(String, u32)>,
    refused: u8,
}

/// Why a proof is not worth asking about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unproven {
    /// Only its nonce is not this connection's last one, or too old.
    Stale,
    /// It is none, or of another realm, stream or server, or was used before.
    Wrong,
}

impl Guard {
    /// `key` is secret; `connection` is the id of its session, which nobody else has.
    pub(super) fn new(realm: &str, key: &[u8], connection: &str) -> Self {
        let mut made = Self {
            realm: realm.to_owned(),
            key: key.to_vec(),
            connection: [0; CONNECTION],
            made: 0,
            last: None,
            refused: 0,
        };
        let tag = made.seal(connection.as_bytes());
        made.connection.copy_from_slice(&tag[..CONNECTION]);
        made
    }

    /// What the client is asked. Both algorithms, the better one first (RFC 7616 §3.7): of those who know but one, most take
    /// the last.
    pub(super) fn challenges(&mut self, now_s: u64, stale: bool) -> [String; 2] {
        self.made += 1;
        // The number keeps nonces of one second apart.
        let nonce = self.nonce(now_s << 16 | self.made & 0xFFFF);
        let challenges = [Algorithm::Sha256, Algorithm::Md5]
            .map(|algorithm| challenge(&self.realm, &nonce, algorithm, stale));
        self.last = Some((nonce, 0));
        challenges
    }

    /// The proof that an Authorization header brings for `target`, if its nonce is good and was not used like this before.
    /// Whether the password is right, others know.
    pub(super) fn check(&mut self, now_s: u64, header: &str, target: &Target) -> Result<Proof, Unproven> {
        let proof = Proof::parse(header).ok_or(Unproven::Wrong)?;
        let meant = Target::parse(&proof.uri).ok_or(Unproven::Wrong)?;
        if proof.realm != self.realm || (&meant.app, &meant.name) != (&target.app, &target.name) {
            return Err(Unproven::Wrong);
        }
        let made_s = self.made_at(&proof.nonce).ok_or(Unproven::Wrong)?;
        let Some((_, used)) = self.last.as_mut().filter(|(nonce, _)| *nonce == proof.nonce) else {
            return Err(Unproven::Stale);
        };
        if now_s.saturating_sub(made_s) > LIFE_S {
            return Err(Unproven::Stale);
        }
        if let Some((count, _)) = &proof.counted {
            let count = u32::from_str_radix(count, 16).map_err(|_| Unproven::Wrong)?;
            if count <= *used {
                return Err(Unproven::Wrong);
            }
            *used = count;
        }
        Ok(proof)
    }

    /// Notes that a proof was refused; whether the client may try again.
    pub(super) fn refuse(&mut self) -> bool {
        self.refused = self.refused.saturating_add(1);
        self.refused < REFUSALS_MAX
    }

    fn nonce(&self, moment: u64) -> String {
        let mut bytes = moment.to_be_bytes().to_vec();
        bytes.extend(self.connection);
        let seal = self.seal(&bytes);
        bytes.extend(&seal[..SEAL]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// When one of our nonces was made, for whatever connection.
    fn made_at(&self, nonce: &str) -> Option<u64> {
        let bytes = URL_SAFE_NO_PAD.decode(nonce).ok()?;
        let (body, seal) = bytes.split_at_checked(TIME + CONNECTION)?;
        let mut mac = self.mac()?;
        mac.update(body);
        (seal.len() == SEAL).then_some(())?;
        mac.verify_truncated_left(seal).ok()?;
        Some(u64::from_be_bytes(body[..TIME].try_into().ok()?) >> 16)
    }

    fn seal(&self, bytes: &[u8]) -> Vec<u8> {
        let Some(mut mac) = self.mac() else { return vec![0; SEAL] };
        mac.update(bytes);
        mac.finalize().into_bytes().to_vec()
    }

    /// HMAC takes keys of any length.
    fn mac(&self) -> Option<Hmac<Sha256>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(b"rtsp nonce ");
        Some(mac)
    }
}

#[cfg(test)]
mod tests {
    use wire::rtsp::Credentials;

    use super::*;

    const URI: &str = "rtsp://host:8554/app/gate?audio=0";

    fn guard(connection: &str) -> Guard {
        Guard::new("video", b"key", connection)
    }

    fn gate() -> Target {
        Target::parse(URI).unwrap()
    }

    /// A client that was challenged.
    fn client(challenges: &[String]) -> Credentials {
        let mut client = Credentials::new("AK1".into(), "secret".into(), 7);
        assert!(client.handle_challenges(challenges.iter().map(String::as_str)));
        client
    }

    #[test]
    fn an_answer_counts_once_and_for_its_stream_alone() {
        let mut guard = guard("a");
        let mut client = client(&guard.challenges(1000, false));
        let answer = client.authorization("DESCRIBE", URI).unwrap();
        let proof = guard.check(1000 + LIFE_S, &answer, &gate()).unwrap();
        assert_eq!((proof.user.as_str(), proof.algorithm), ("AK1", Algorithm::Sha256));
        assert_eq!(proof.response, proof.expected("DESCRIBE", "secret"));
        assert_eq!(guard.check(1000, &answer, &gate()), Err(Unproven::Wrong), "the same count again");
        let next = client.authorization("DESCRIBE", URI).unwrap();
        let other = Target::parse("rtsp://host/app/yard").unwrap();
        assert_eq!(guard.check(1000, &next, &other), Err(Unproven::Wrong));
        assert!(guard.check(1000, &next, &gate()).is_ok());
    }

    #[test]
    fn an_old_nonce_and_one_of_another_connection_are_stale() {
        let mut first = guard("a");
        let mut client = client(&first.challenges(1000, false));
        let answer = client.authorization("DESCRIBE", URI).unwrap();
        assert_eq!(first.check(1001 + LIFE_S, &answer, &gate()), Err(Unproven::Stale));
        assert_eq!(guard("b").check(1000, &answer, &gate()), Err(Unproven::Stale));
        let renewed = first.challenges(1000, true);
        assert!(renewed.iter().all(|challenge| challenge.ends_with(", stale=true")), "{renewed:?}");
        assert_eq!(first.check(1000, &answer, &gate()), Err(Unproven::Stale), "only the last one counts");
    }

    #[test]
    fn one_changed_letter_makes_a_nonce_nobodys() {
        let mut guard = guard("a");
        guard.challenges(1000, false);
        let (nonce, _) = guard.last.clone().unwrap();
        let answer = |nonce: &str| {
            format!("Digest username=u, realm=video, nonce=\"{nonce}\", uri=\"{URI}\", response=r")
        };
        assert!(guard.check(1000, &answer(&nonce), &gate()).is_ok());
        for at in 0..nonce.len() {
            let mut forged = nonce.clone();
            let letter = if nonce.as_bytes()[at] == b'A' { "B" } else { "A" };
            forged.replace_range(at..=at, letter);
            // The last letter has bits that mean nothing, and are refused.
            assert_eq!(guard.check(1000, &answer(&forged), &gate()), Err(Unproven::Wrong), "{at}");
        }
        for header in [
            "Basic dTpw".to_owned(),
            answer(&nonce).replace("video", "elsewhere"),
            answer(&nonce).replace("gate", "yard"),
            answer(""),
            answer("AAAA"),
            String::new(),
        ] {
            assert_eq!(guard.check(1000, &header, &gate()), Err(Unproven::Wrong), "{header}");
        }
    }

    #[test]
    fn a_connection_may_guess_three_times() {
        let mut guard = guard("a");
        assert_eq!(
            [guard.refuse(), guard.refuse(), guard.refuse(), guard.refuse()],
            [true, true, false, false]
        );
    }
}
