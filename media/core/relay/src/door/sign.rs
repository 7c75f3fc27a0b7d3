//! Signed play addresses: whoever holds one may play one stream until it expires.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::route::Query;

/// Why a signature does not let its bearer in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// There is none.
    Missing,
    /// Its time is over.
    Expired,
    /// It was not made by us for this stream and time.
    Wrong,
}

/// The query that lets its bearer play `app`/`name` until `expires` (UNIX seconds), as long as `generation` lasts.
pub fn sign(key: &[u8], app: &str, name: &str, expires: u64, generation: u64) -> String {
    let tag = mac(key, app, name, expires, generation).finalize().into_bytes();
    format!("expires={expires}&sign={}", BASE64_URL_SAFE_NO_PAD.encode(tag))
}

/// Whether `query` lets its bearer play the stream of `generation` at `now_s` (UNIX seconds). The comparison takes the same time
/// wherever the signatures differ.
pub fn verify(
    key: &[u8],
    app: &str,
    name: &str,
    generation: u64,
    query: &Query,
    now_s: u64,
) -> Result<(), Refusal> {
    let (Some(expires), Some(sign)) = (query.expires, &query.sign) else { return Err(Refusal::Missing) };
    let tag = BASE64_URL_SAFE_NO_PAD.decode(sign).map_err(|_| Refusal::Wrong)?;
    mac(key, app, name, expires, generation).verify_slice(&tag).map_err(|_| Refusal::Wrong)?;
    if now_s < expires { Ok(()) } else { Err(Refusal::Expired) }
}

/// A keyed hash of `app/name:expires`, and of `app/name:expires/generation` once addresses were revoked. Neither name
/// holds a slash, so no two streams and generations share a text.
fn mac(key: &[u8], app: &str, name: &str, expires: u64, generation: u64) -> Hmac<Sha256> {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    let mac = mac.chain_update(format!("{app}/{name}:{expires}"));
    if generation == 0 { mac } else { mac.chain_update(format!("/{generation}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(query: &str, name: &str, now_s: u64) -> Result<(), Refusal> {
        verify(b"key", "default", name, 0, &Query::parse(query), now_s)
    }

    #[test]
    fn a_signature_holds_for_one_stream_until_its_time() {
        let query = sign(b"key", "default", "cam", 1000, 0);
        // printf default/cam:1000 | openssl dgst -sha256 -hmac key -binary | base64
        assert_eq!(query, "expires=1000&sign=Ax5ogycezx_EbmWB7re-SCJ6XSl66IYuJoC0NR-9O5Q");
        assert_eq!(verdict(&query, "cam", 999), Ok(()));
        assert_eq!(verdict(&query, "cam", 1000), Err(Refusal::Expired));
        assert_eq!(verdict(&query, "cam2", 999), Err(Refusal::Wrong));
        assert_eq!(verdict(&query.replace("1000", "2000"), "cam", 999), Err(Refusal::Wrong));
        assert_eq!(verdict("expires=1000", "cam", 999), Err(Refusal::Missing));
        assert_eq!(verdict("expires=1000&sign=a", "cam", 999), Err(Refusal::Wrong));
        let short = &query[..query.len() - 4];
        assert_eq!(verdict(short, "cam", 999), Err(Refusal::Wrong));
    }

    #[test]
    fn a_signature_holds_for_one_generation() {
        let signed = [0, 1, 2].map(|generation| sign(b"key", "default", "cam", 1000, generation));
        for (generation, query) in signed.iter().enumerate() {
            for asked in 0..3 {
                let verdict = verify(b"key", "default", "cam", asked as u64, &Query::parse(query), 999);
                assert_eq!(verdict.is_ok(), asked == generation, "{asked} {generation}");
            }
        }
        // printf default/cam:1000/1 | openssl dgst -sha256 -hmac key -binary | base64
        assert_eq!(signed[1], "expires=1000&sign=JpR7wXTR3iFsnNKm-p2h4UbjmLre_y4yv2CsW_fDsqo");
    }
}
