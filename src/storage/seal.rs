//! Secrets that Alyx's records hold ([`redact`]) as they lie on disk: sealed with the key of the data directory
//! (XChaCha20-Poly1305), so that a database or a backup without `secret.key` tells none.
//!
//! The nonce is made of what is sealed, by a key of its own: the same secret is sealed the same, so that texts can be
//! compared as they lie there. That two secrets are equal can be seen, and nothing else.

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce, aead::Aead};
use zeroize::Zeroizing;

use crate::alyx::redact;

const NONCE: usize = 24;
/// What a sealed body begins with; no frame of zstd does.
const BODY: &[u8] = b"alyx-proxy sealed\0";
/// What stands in the place of a secret within a text: a string, or a number.
const STRING: &str = "alyx-proxy sealed string ";
const NUMBER: &str = "alyx-proxy sealed number ";
/// What both begin with.
pub const MARK: &str = "alyx-proxy sealed ";

/// What seals and opens.
pub struct SecretSeal {
    cipher: XChaCha20Poly1305,
    nonces: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for SecretSeal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretSeal(…)")
    }
}

impl SecretSeal {
    /// With these two keys.
    pub fn new(key: &[u8; 32], nonces: [u8; 32]) -> Self {
        Self { cipher: XChaCha20Poly1305::new(key.into()), nonces: Zeroizing::new(nonces) }
    }

    /// One for tests.
    #[cfg(test)]
    pub(crate) fn of_tests() -> std::sync::Arc<Self> {
        std::sync::Arc::new(Self::new(&[1; 32], [2; 32]))
    }

    /// Nonce and sealed bytes; none where the cipher fails, which it does for nothing that fits into memory.
    fn sealed(&self, plain: &[u8]) -> Option<Vec<u8>> {
        let hash = blake3::keyed_hash(&self.nonces, plain);
        let nonce = XNonce::from_slice(&hash.as_bytes()[..NONCE]);
        let mut sealed = nonce.to_vec();
        sealed.extend(self.cipher.encrypt(nonce, plain).ok()?);
        Some(sealed)
    }

    fn opened(&self, sealed: &[u8]) -> Option<Vec<u8>> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE)?;
        self.cipher.decrypt(XNonce::from_slice(nonce), sealed).ok()
    }

    /// A body as it lies on disk.
    pub fn seal_body(&self, packed: &[u8]) -> Option<Vec<u8>> {
        Some([BODY, &self.sealed(packed)?].concat())
    }

    /// A body that may be sealed; none where it is, and not by this key.
    pub fn open_body<'b>(&self, stored: &'b [u8]) -> Option<Cow<'b, [u8]>> {
        match stored.strip_prefix(BODY) {
            Some(sealed) => self.opened(sealed).map(Cow::Owned),
            None => Some(Cow::Borrowed(stored)),
        }
    }

    /// Whether a body is sealed.
    pub fn is_sealed(stored: &[u8]) -> bool {
        stored.starts_with(BODY)
    }

    /// A text of JSON with its secrets sealed; everything else stays byte for byte. What is sealed already stays so.
    /// None where it is no JSON.
    pub fn seal_text(&self, text: &str) -> Option<String> {
        let seal = |secret: &str, is_number: bool| {
            if secret.is_empty() || secret.starts_with(MARK) {
                return None;
            }
            let sealed = BASE64_URL_SAFE_NO_PAD.encode(self.sealed(secret.as_bytes())?);
            Some(format!("{}{sealed}", if is_number { NUMBER } else { STRING }))
        };
        redact::replace(text, seal).ok()
    }

    /// A text with its secrets; none where one can't be opened: it was sealed with another key, or is no seal.
    pub fn open_text<'t>(&self, text: &'t str) -> Option<Cow<'t, str>> {
        if memchr::memmem::find(text.as_bytes(), MARK.as_bytes()).is_none() {
            return Some(Cow::Borrowed(text));
        }
        let mut opened = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find(MARK) {
            let end = at + rest[at..].find('"')?;
            let (before, seal) = (&rest[..at], &rest[at..end]);
            let is_number = seal.starts_with(NUMBER);
            let sealed = seal.strip_prefix(if is_number { NUMBER } else { STRING })?;
            let secret = self.opened(&BASE64_URL_SAFE_NO_PAD.decode(sealed).ok()?)?;
            // A number has no quotes.
            opened.push_str(if is_number { before.strip_suffix('"')? } else { before });
            opened.push_str(std::str::from_utf8(&secret).ok()?);
            rest = &rest[end + usize::from(is_number)..];
        }
        opened.push_str(rest);
        Some(Cow::Owned(opened))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_tells_nothing_and_comes_back_byte_for_byte() {
        let (seal, other) = (SecretSeal::new(&[1; 32], [2; 32]), SecretSeal::new(&[3; 32], [2; 32]));
        for text in [
            r#"{"name":"aws","json":{"bucket_name":"b","Access key ID": "AKIA","Secret access key":"x\"y\u00fc","pin":1}}"#,
            r#"{"a":{"\u004bEY":["x",7,{"b":"y"}, -1.50e3, true, null],"c":"z"},"d":NaN}"#,
            r#"{"count":2,"results":[{"json":{"token":"t"}},{"json":{"token":"t","key":""}}]}"#,
            r#"{"name":"none"}"#,
        ] {
            let sealed = seal.seal_text(text).unwrap();
            for secret in ["AKIA", "x\\\"y", "\"t\"", "1.50e3", "\"y\""] {
                assert!(!sealed.contains(secret), "{secret}: {sealed}");
            }
            assert_eq!(seal.open_text(&sealed).unwrap(), text);
            assert_eq!(seal.seal_text(text).unwrap(), sealed, "it can be compared");
            assert_eq!(seal.seal_text(&sealed).unwrap(), sealed, "once is enough");
            assert_eq!(other.open_text(&sealed).is_none(), sealed != text);
            serde_json::from_str::<serde_json::Value>(&sealed.replace("NaN", "0")).unwrap();
        }
        assert!(seal.open_text(r#"{"a":"alyx-proxy sealed by nobody"}"#).is_none());
        let body = seal.seal_body(b"body").unwrap();
        assert!(SecretSeal::is_sealed(&body) && !body.windows(4).any(|window| window == b"body"));
        assert_eq!(seal.open_body(&body).unwrap(), &b"body"[..]);
        assert_eq!(seal.open_body(b"plain").unwrap(), &b"plain"[..]);
        assert!(other.open_body(&body).is_none());
    }
}
