//! Proofs by Digest as questions to the application carry them: only it knows passwords.

use std::fmt::Write;

use wire::rtsp::digest::Proof;

/// What somebody who names itself shows, with the method of its request.
#[derive(Debug, Clone, Copy)]
pub struct Shown<'a> {
    /// The answer to our challenge; its nonce is good.
    pub proof: &'a Proof,
    /// What was asked with it.
    pub method: &'static str,
}

impl Shown<'_> {
    /// What an event tells of it.
    pub(crate) fn detail(&self) -> Vec<(&'static str, String)> {
        let Proof { user, realm, nonce, uri, algorithm, session, response, counted } = self.proof;
        let algorithm = format!("{}{}", algorithm.name(), if *session { "-sess" } else { "" });
        let mut detail = vec![
            ("user", user.clone()),
            ("realm", realm.clone()),
            ("nonce", nonce.clone()),
            ("uri", uri.clone()),
            ("method", self.method.to_owned()),
            ("algorithm", algorithm),
            ("response", response.clone()),
        ];
        if let Some((count, cnonce)) = counted {
            detail.extend([("qop", "auth".to_owned()), ("nc", count.clone()), ("cnonce", cnonce.clone())]);
        }
        detail
    }

    /// The same text for the same proof alone.
    pub(crate) fn subject(&self) -> String {
        self.detail().into_iter().fold(String::new(), |mut text, (name, value)| {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{name} {} {value}", value.len());
            text
        })
    }
}
