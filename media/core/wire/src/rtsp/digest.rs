//! Who a client is: Digest (RFC 7616, and RFC 2069 without `qop`) and Basic (RFC 7617); challenges and answers, read and
//! written. Nonces are made by whoever asks.

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use md5::Md5;
use sha2::{Digest as _, Sha256};

/// Challenges of one answer that are looked at.
const CHALLENGES_MAX: usize = 8;

/// Parameters of one challenge or answer.
const PARAMETERS_MAX: usize = 24;

/// A longer value is refused.
const VALUE_MAX: usize = 1024;

/// How values are hashed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Algorithm {
    /// MD5, which is what nearly all cameras know.
    Md5,
    /// SHA-256.
    Sha256,
}

impl Algorithm {
    /// As it stands in challenges.
    pub fn name(self) -> &'static str {
        match self {
            Self::Md5 => "MD5",
            Self::Sha256 => "SHA-256",
        }
    }

    fn named(name: &str) -> Option<(Self, bool)> {
        let name = name.to_ascii_uppercase();
        let (plain, session) = name.strip_suffix("-SESS").map_or((name.as_str(), false), |name| (name, true));
        match plain {
            "MD5" => Some((Self::Md5, session)),
            "SHA-256" => Some((Self::Sha256, session)),
            _ => None,
        }
    }

    fn hash(self, text: &str) -> String {
        let bytes = match self {
            Self::Md5 => Md5::digest(text).to_vec(),
            Self::Sha256 => Sha256::digest(text).to_vec(),
        };
        bytes.iter().fold(String::new(), |mut text, byte| {
            // Writing into a String cannot fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }
}

/// What a server asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Challenge {
    /// Name and password as they are.
    Basic,
    /// A proof that the password is known.
    Digest {
        /// Whose names count.
        realm: String,
        /// What the proof is made for.
        nonce: String,
        /// To be sent back.
        opaque: Option<String>,
        /// How to hash.
        algorithm: Algorithm,
        /// `algorithm=…-sess` (RFC 7616 §3.4.2).
        session: bool,
        /// `qop=auth`.
        counted: bool,
        /// Only the nonce was too old.
        stale: bool,
    },
}

impl Challenge {
    /// The challenges of `WWW-Authenticate` headers that we can answer.
    pub fn parse<'a>(headers: impl Iterator<Item = &'a str>) -> Vec<Self> {
        let lists = headers.take(CHALLENGES_MAX).flat_map(schemes);
        lists
            .filter_map(|(scheme, parameters)| Self::read(&scheme, &parameters))
            .take(CHALLENGES_MAX)
            .collect()
    }

    fn read(scheme: &str, parameters: &[(String, String)]) -> Option<Self> {
        if scheme == "basic" {
            return Some(Self::Basic);
        }
        let take = |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value);
        let (algorithm, session) =
            take("algorithm").map_or(Some((Algorithm::Md5, false)), |name| Algorithm::named(name))?;
        let qop = take("qop").map(|qop| qop.split(',').any(|one| one.trim().eq_ignore_ascii_case("auth")));
        if qop == Some(false) {
            return None; // `auth-int` alone: nobody asks for it
        }
        Some(Self::Digest {
            realm: take("realm")?.clone(),
            nonce: take("nonce")?.clone(),
            opaque: take("opaque").cloned(),
            algorithm,
            session,
            counted: qop.is_some(),
            stale: take("stale").is_some_and(|stale| stale.eq_ignore_ascii_case("true")),
        })
    }

    /// The better the higher.
    fn strength(&self) -> u8 {
        match self {
            Self::Basic => 0,
            Self::Digest { algorithm: Algorithm::Md5, .. } => 1,
            Self::Digest { algorithm: Algorithm::Sha256, .. } => 2,
        }
    }
}

/// A client's name and password, and how the server wants them.
#[derive(Clone)]
pub struct Credentials {
    user: String,
    password: String,
    /// Random bits for `cnonce`.
    seed: u64,
    challenge: Option<Challenge>,
    count: u32,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Credentials").finish_non_exhaustive()
    }
}

impl Credentials {
    /// Nothing is sent before the server asks. `seed` is random.
    pub fn new(user: String, password: String, seed: u64) -> Self {
        Self { user, password, seed, challenge: None, count: 0 }
    }

    /// Takes what a refusal asks for: true if it is worth to ask again. A proof that was refused is refused again, unless
    /// its nonce was stale.
    pub fn handle_challenges<'a>(&mut self, headers: impl Iterator<Item = &'a str>) -> bool {
        let Some(best) = Challenge::parse(headers).into_iter().max_by_key(Challenge::strength) else {
            return false;
        };
        let again = match (&self.challenge, &best) {
            (None, _) => true,
            (Some(_), Challenge::Digest { stale: true, .. }) => self.count < u32::MAX,
            // Some cameras make a new nonce for each request and never say that the old one is stale.
            (Some(Challenge::Digest { nonce, .. }), Challenge::Digest { nonce: new, .. }) => {
                nonce != new && self.count > 1
            }
            _ => false,
        };
        (self.challenge, self.count) = (Some(best), 0);
        again
    }

    /// The Authorization header of a request; `None` while nobody asked.
    pub fn authorization(&mut self, method: &str, uri: &str) -> Option<String> {
        let challenge = self.challenge.clone()?;
        self.count = self.count.saturating_add(1);
        let Challenge::Digest { realm, nonce, opaque, algorithm, session, counted, .. } = challenge else {
            return Some(format!("Basic {}", STANDARD.encode(format!("{}:{}", self.user, self.password))));
        };
        let cnonce = format!("{:016x}", self.seed ^ u64::from(self.count).rotate_left(40));
        let mut proof = Proof {
            user: self.user.clone(),
            realm,
            nonce,
            uri: uri.to_owned(),
            algorithm,
            session,
            response: String::new(),
            counted: counted.then(|| (format!("{:08x}", self.count), cnonce.clone())),
        };
        if session && proof.counted.is_none() {
            proof.counted = Some((format!("{:08x}", self.count), cnonce)); // there is no session without it
        }
        proof.response = proof.expected(method, &self.password);
        Some(proof.write(opaque.as_deref()))
    }
}

/// A client's answer to a challenge of Digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    /// Who it is said to be.
    pub user: String,
    /// The realm that it was made for.
    pub realm: String,
    /// The nonce that it was made for.
    pub nonce: String,
    /// The URI that it was made for.
    pub uri: String,
    /// How it was hashed.
    pub algorithm: Algorithm,
    /// `-sess`.
    pub session: bool,
    /// The proof.
    pub response: String,
    /// `nc` and `cnonce`, with `qop=auth`.
    pub counted: Option<(String, String)>,
}

impl Proof {
    /// Reads an Authorization header; `None` if it is none of Digest, or lacks something.
    pub fn parse(header: &str) -> Option<Self> {
        let (scheme, parameters) = schemes(header).into_iter().next()?;
        if scheme != "digest" {
            return None;
        }
        let take =
            |name: &str| parameters.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone());
        let (algorithm, session) =
            take("algorithm").map_or(Some((Algorithm::Md5, false)), |name| Algorithm::named(&name))?;
        let counted = match take("qop") {
            None => None,
            Some(qop) if qop.eq_ignore_ascii_case("auth") => Some((take("nc")?, take("cnonce")?)),
            Some(_) => return None,
        };
        let (user, realm, nonce) = (take("username")?, take("realm")?, take("nonce")?);
        let (uri, response) = (take("uri")?, take("response")?.to_ascii_lowercase());
        Some(Self { user, realm, nonce, uri, algorithm, session, response, counted })
    }

    /// What the response should be (RFC 7616 §3.4.1).
    pub fn expected(&self, method: &str, password: &str) -> String {
        let hash = |text: String| self.algorithm.hash(&text);
        let mut first = hash(format!("{}:{}:{password}", self.user, self.realm));
        if let (true, Some((_, cnonce))) = (self.session, &self.counted) {
            first = hash(format!("{first}:{}:{cnonce}", self.nonce));
        }
        let second = hash(format!("{method}:{}", self.uri));
        match &self.counted {
            Some((count, cnonce)) => hash(format!("{first}:{}:{count}:{cnonce}:auth:{second}", self.nonce)),
            None => hash(format!("{first}:{}:{second}", self.nonce)),
        }
    }

    fn write(&self, opaque: Option<&str>) -> String {
        let mut out = format!(
            "Digest username={}, realm={}, nonce={}, uri={}, response=\"{}\"",
            quoted(&self.user),
            quoted(&self.realm),
            quoted(&self.nonce),
            quoted(&self.uri),
            self.response
        );
        // Old cameras stumble over an algorithm that they did not name: MD5 goes without.
        if self.algorithm != Algorithm::Md5 || self.session {
            let _ = write!(
                out,
                ", algorithm={}{}",
                self.algorithm.name(),
                if self.session { "-sess" } else { "" }
            );
        }
        if let Some((count, cnonce)) = &self.counted {
            let _ = write!(out, ", qop=auth, nc={count}, cnonce=\"{cnonce}\"");
        }
        if let Some(opaque) = opaque {
            let _ = write!(out, ", opaque={}", quoted(opaque));
        }
        out
    }
}

/// The challenge that asks for a proof.
pub fn challenge(realm: &str, nonce: &str, algorithm: Algorithm, stale: bool) -> String {
    let (realm, nonce, stale) = (quoted(realm), quoted(nonce), if stale { ", stale=true" } else { "" });
    format!("Digest realm={realm}, nonce={nonce}, algorithm={}, qop=\"auth\"{stale}", algorithm.name())
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for letter in text.chars().filter(|letter| !letter.is_control()) {
        if matches!(letter, '"' | '\\') {
            out.push('\\');
        }
        out.push(letter);
    }
    out.push('"');
    out
}

/// Schemes in small letters, each with its parameters, their names in small letters too. A list may have several.
fn schemes(header: &str) -> Vec<(String, Vec<(String, String)>)> {
    let mut found: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for part in parts(header) {
        let mut part = part.trim();
        let (word, rest) = part.split_once(char::is_whitespace).unwrap_or((part, ""));
        let scheme = word.to_ascii_lowercase();
        if matches!(scheme.as_str(), "basic" | "digest") && found.len() < CHALLENGES_MAX {
            found.push((scheme, Vec::new()));
            part = rest.trim();
        }
        let (Some((_, parameters)), Some((name, value))) = (found.last_mut(), part.split_once('=')) else {
            continue;
        };
        if parameters.len() < PARAMETERS_MAX && value.len() <= VALUE_MAX {
            parameters.push((name.trim().to_ascii_lowercase(), unquoted(value.trim())));
        }
    }
    found
}

/// The parts between commas that stand in no quotation.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    let (mut within, mut escaped) = (false, false);
    text.split(move |letter| {
        if std::mem::take(&mut escaped) {
            return false;
        }
        escaped = within && letter == '\\';
        within ^= letter == '"';
        letter == ',' && !within
    })
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else { return value.to_owned() };
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let mut escaped = false;
    inner
        .chars()
        .filter(|letter| {
            escaped = !escaped && *letter == '\\';
            !escaped
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_examples_come_out() {
        // RFC 7616 §3.9.1.
        let header = |algorithm: &str| {
            format!(
                "Digest realm=\"http-auth@example.org\", qop=\"auth, auth-int\", algorithm={algorithm}, \
                 nonce=\"7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v\", opaque=\"FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS\""
            )
        };
        let expected = [
            ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
            ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ];
        for (algorithm, response) in expected {
            let [Challenge::Digest { realm, nonce, algorithm, counted, .. }] =
                &Challenge::parse([header(algorithm).as_str()].into_iter())[..]
            else {
                panic!("{algorithm}")
            };
            assert!(counted);
            let counted =
                Some(("00000001".to_owned(), "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ".to_owned()));
            let proof = Proof {
                user: "Mufasa".into(),
                realm: realm.clone(),
                nonce: nonce.clone(),
                uri: "/dir/index.html".into(),
                algorithm: *algorithm,
                session: false,
                response: String::new(),
                counted,
            };
            assert_eq!(proof.expected("GET", "Circle of Life"), response);
        }
        let old = "Digest realm=\"testrealm@host.com\", nonce=\"dcd98b7102dd2f0e8b11d0f600bfb0c093\"";
        let mut credentials = Credentials::new("Mufasa".into(), "Circle Of Life".into(), 1);
        assert!(credentials.handle_challenges([old].into_iter()));
        let answer = credentials.authorization("GET", "/dir/index.html").unwrap();
        assert!(answer.contains("response=\"670fd8c2df070c60b045671b8b24ff02\""), "{answer}");
        assert!(!answer.contains("qop") && !answer.contains("algorithm"));
    }

    #[test]
    fn the_strongest_challenge_is_answered_and_what_is_written_is_read() {
        let lists = [
            "Basic realm=\"x\"",
            "Digest realm=\"a, \\\"b\\\"\", nonce=n1, algorithm=MD5, qop=\"auth\", Digest realm=\"c\", nonce=\"n2\", algorithm=SHA-256-sess, qop=auth",
            "Negotiate abc",
        ];
        let found = Challenge::parse(lists.into_iter());
        assert_eq!(found.len(), 3);
        assert!(
            matches!(&found[1], Challenge::Digest { realm, nonce, .. } if realm == "a, \"b\"" && nonce == "n1")
        );
        let mut credentials = Credentials::new("me".into(), "p".into(), 7);
        assert_eq!(credentials.authorization("PLAY", "u"), None);
        assert!(credentials.handle_challenges(lists.into_iter()));
        let written = credentials.authorization("PLAY", "rtsp://h/\"x").unwrap();
        let proof = Proof::parse(&written).unwrap();
        assert_eq!(
            (proof.algorithm, proof.session, proof.uri.as_str()),
            (Algorithm::Sha256, true, "rtsp://h/\"x")
        );
        assert_eq!(proof.response, proof.expected("PLAY", "p"));
        assert_ne!(proof.response, proof.expected("PLAY", "q"));
        assert_ne!(proof.response, proof.expected("SETUP", "p"));
        let ours = challenge("gate \"way\"", "abc", Algorithm::Sha256, true);
        let [Challenge::Digest { realm, stale: true, counted: true, .. }] =
            &Challenge::parse([ours.as_str()].into_iter())[..]
        else {
            panic!()
        };
        assert_eq!(realm, "gate \"way\"");
    }

    #[test]
    fn a_wrong_password_is_not_tried_for_ever_and_a_stale_nonce_is() {
        let digest = |nonce: &str, more: &str| format!("Digest realm=\"r\", nonce=\"{nonce}\"{more}");
        let mut credentials = Credentials::new("me".into(), "p".into(), 7);
        assert!(credentials.handle_challenges([digest("1", "").as_str()].into_iter()));
        credentials.authorization("DESCRIBE", "u");
        assert!(credentials.handle_challenges([digest("2", ", stale=TRUE").as_str()].into_iter()));
        credentials.authorization("DESCRIBE", "u");
        assert!(!credentials.handle_challenges([digest("3", "").as_str()].into_iter()), "refused as it is");
        credentials.authorization("DESCRIBE", "u");
        credentials.authorization("SETUP", "u");
        assert!(
            credentials.handle_challenges([digest("4", "").as_str()].into_iter()),
            "it was good for one request"
        );
        assert!(!credentials.handle_challenges(["Negotiate"].into_iter()));
        for odd in [
            "",
            "Digest",
            "Basic eA==",
            "Digest username=\"",
            "Digest username=a,realm=b,nonce=c,uri=d,response=e,qop=auth",
        ] {
            assert_eq!(Proof::parse(odd), None, "{odd}");
        }
    }
}
