//! Who may play: a public stream everybody, a private one the bearer of a signed address, or of a token that the
//! application knows, or who proves to be a user that it knows.

use std::{net::SocketAddr, time::Duration};

use tokio::time::timeout;

use super::{
    directory::{Access, Answer, Credential, Denied, Directory, Question},
    route::Query,
    sign, sound,
};
use crate::proof::Shown;

/// A longer token is refused unasked.
const TOKEN_MAX: usize = 8192;

/// What somebody who wants to play shows.
#[derive(Debug, Clone, Copy)]
pub struct Claim<'a> {
    /// First part of the stream's name.
    pub app: &'a str,
    /// Second part of the stream's name.
    pub name: &'a str,
    /// Where the viewer is.
    pub peer: SocketAddr,
    /// How it wants to play: `http-flv`, `ws-flv`, `hls`, `rtmp`.
    pub protocol: &'static str,
    /// The query of its address.
    pub query: &'a Query,
    /// The token that it sent beside its address; else the query's counts.
    pub token: Option<&'a str>,
    /// Who it proved to be, if it did; a token counts more.
    pub proof: Option<Shown<'a>>,
    /// It asks again with every segment: an answer may be some seconds old.
    pub again: bool,
}

/// Why somebody may not play, or not now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such stream.
    UnknownStream,
    /// The stream is private, and neither a signature nor a token was shown.
    SignatureMissing,
    /// The signature's time is over.
    SignatureExpired,
    /// The signature is of another stream, time or generation.
    SignatureWrong,
    /// The application refused the token.
    TokenRefused,
    /// The application refused the proof.
    ProofRefused,
    /// The application did not say in time whether the token is good.
    TokenUnchecked,
    /// Too many tokens are being checked now.
    Busy,
    /// The stream has all the viewers it may have.
    TooManyViewers,
    /// The viewer was sent away a moment ago.
    Kicked,
    /// The stream is not given out in this form.
    FormNotAllowed,
    /// The sound cannot be made into AAC, or not now.
    SoundUnavailable,
}

impl Refusal {
    /// A word for programs.
    pub fn code(self) -> &'static str {
        match self {
            Self::UnknownStream => "stream_not_found",
            Self::SignatureMissing => "signature_missing",
            Self::SignatureExpired => "signature_expired",
            Self::SignatureWrong => "signature_wrong",
            Self::TokenRefused => "token_refused",
            Self::ProofRefused => "proof_refused",
            Self::TokenUnchecked => "token_unchecked",
            Self::Busy => "busy",
            Self::TooManyViewers => "too_many_viewers",
            Self::Kicked => "viewer_kicked",
            Self::FormNotAllowed => "form_not_allowed",
            Self::SoundUnavailable => "sound_unavailable",
        }
    }

    /// A sentence for people.
    pub fn message(self) -> &'static str {
        match self {
            Self::UnknownStream => "there is no such stream at the moment",
            Self::SignatureMissing => {
                "this stream is private: its address must be signed, or a token be shown"
            }
            Self::SignatureExpired => "the signature of this address has expired",
            Self::SignatureWrong => "the signature does not belong to this address, or was revoked",
            Self::TokenRefused => "this token does not let its bearer play this stream",
            Self::ProofRefused => "this user may not play this stream, or the password is wrong",
            Self::TokenUnchecked => "the token could not be checked in time",
            Self::Busy => "too many tokens are being checked now",
            Self::TooManyViewers => "the stream has as many viewers as it may have",
            Self::Kicked => "this viewer was sent away",
            Self::FormNotAllowed => "the stream is not given out in this form: its options say so",
            Self::SoundUnavailable => "the sound of the stream cannot be made into AAC now",
        }
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Gone => Self::UnknownStream,
            Denied::Full => Self::TooManyViewers,
            Denied::Kicked => Self::Kicked,
            Denied::Forbidden => Self::FormNotAllowed,
        }
    }
}

impl From<sign::Refusal> for Refusal {
    fn from(refusal: sign::Refusal) -> Self {
        match refusal {
            sign::Refusal::Missing => Self::SignatureMissing,
            sign::Refusal::Expired => Self::SignatureExpired,
            sign::Refusal::Wrong => Self::SignatureWrong,
        }
    }
}

/// The name of the stream that `claim`'s viewer is given, if it has the right to play at `now_s` (UNIX seconds): the one
/// that it names, or the one beside it with AAC; waits for the application at most `patience` for each answer.
/// A place among the viewers is another matter: see [`Directory::seat`].
pub async fn admit(
    directory: &dyn Directory,
    key: &[u8],
    claim: &Claim<'_>,
    now_s: u64,
    patience: Duration,
) -> Result<String, Refusal> {
    judge(directory, key, claim, now_s, patience).await?;
    if claim.query.aac { sound::as_aac(directory, claim, patience).await } else { Ok(claim.name.to_owned()) }
}

/// Whether the claim is good.
async fn judge(
    directory: &dyn Directory,
    key: &[u8],
    claim: &Claim<'_>,
    now_s: u64,
    patience: Duration,
) -> Result<(), Refusal> {
    let Claim { app, name, peer, protocol, query, again, .. } = *claim;
    let generation = match directory.access(app, name).ok_or(Refusal::UnknownStream)? {
        Access::Public => return Ok(()),
        Access::Private { generation } => generation,
    };
    let Err(refusal) = sign::verify(key, app, name, generation, query, now_s) else { return Ok(()) };
    let token = claim.token.or(query.token.as_deref()).filter(|token| !token.is_empty());
    let (credential, refused) = match (token, claim.proof) {
        (Some(token), _) if token.len() > TOKEN_MAX => return Err(Refusal::TokenRefused),
        (Some(token), _) => (Credential::Token(token), Refusal::TokenRefused),
        (None, Some(proof)) => (Credential::Proof(proof), Refusal::ProofRefused),
        (None, None) => return Err(refusal.into()),
    };
    let question = Question { app, name, peer, protocol, credential, again };
    let allowed = match directory.ask(&question) {
        Answer::Known(allowed) => allowed,
        Answer::Unknown => return Err(Refusal::UnknownStream),
        Answer::Busy => return Err(Refusal::Busy),
        Answer::Later(answer) => match timeout(patience, answer).await {
            Ok(Ok(allowed)) => allowed,
            Ok(Err(_)) | Err(_) => return Err(Refusal::TokenUnchecked),
        },
    };
    if allowed { Ok(()) } else { Err(refused) }
}
