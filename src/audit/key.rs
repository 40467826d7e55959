//! What stands in the records instead of what would tell something: digests under the audit key.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// What a digest begins with that stands where a text would.
const DIGEST: &str = "hmac:";
/// Longest name of an operation that is recorded.
const NAME_CHARS_MAX: usize = 128;
/// So many digits in a row may be an id, or the beginning of one.
const ID_DIGITS_MIN: usize = 6;

/// The key that stands between the records and what they are about. Whoever has it can ask "who read this household?"
/// or "was this the answer?"; whoever has only the records cannot.
#[derive(Clone)]
pub struct SubjectKey(Arc<[u8]>);

impl std::fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubjectKey")
    }
}

impl SubjectKey {
    pub fn new(key: Arc<[u8]>) -> Self {
        Self(key)
    }

    /// HMAC-SHA256 of entity type and id, hex. The same id gives the same text, so that one household's readers
    /// can be found by whoever has the key.
    pub fn subject(&self, entity: &str, id: &str) -> String {
        self.digest(&[entity.as_bytes(), b"\0", id.as_bytes()])
    }

    /// Of the bytes that were sent as an answer: proves what was shown, without keeping it.
    pub fn answer(&self, body: &[u8]) -> String {
        self.digest(&[b"\0answer\0", body])
    }

    /// Of the text of a document: callers may write ids into it.
    pub fn document(&self, text: &str) -> String {
        self.digest(&[b"\0document\0", text.as_bytes()])
    }

    /// Of one argument of an operation, as JSON: conditions and ids.
    pub fn argument(&self, name: &str, json: &str) -> String {
        self.digest(&[b"\0argument\0", name.as_bytes(), b"\0", json.as_bytes()])
    }

    /// A name that callers choose, no longer than it takes to recognise it, and not where it could be somebody's id.
    pub fn name(&self, name: &str) -> String {
        let is_digit = |c: char| c.is_ascii_digit();
        if name.split(|c| !is_digit(c)).any(|digits| digits.len() >= ID_DIGITS_MIN) {
            return self.argument("", name);
        }
        name.chars().take(NAME_CHARS_MAX).collect()
    }

    /// What stands in place of a text that nobody here agreed on: it may be anything. Told from texts by
    /// [`is_digest`].
    pub fn stranger(&self, what: &str, text: &str) -> String {
        format!("{DIGEST}{}", self.argument(what, text))
    }

    /// Names of entities do not begin with a zero byte, so the kinds of digest do not meet.
    fn digest(&self, parts: &[&[u8]]) -> String {
        // An HMAC takes a key of any length; without one the digest would be guessable, so it is left empty.
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.0) else { return String::new() };
        for part in parts {
            mac.update(part);
        }
        hex(&mac.finalize().into_bytes())
    }
}

/// Whether a recorded text is a digest, in place of one that is not recorded.
pub fn is_digest(recorded: &str) -> bool {
    recorded.starts_with(DIGEST)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// The bytes of a text of hexadecimal digits; `None`: it is none.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> =
        text.chars().map(|c| c.to_digit(16).and_then(|digit| u8::try_from(digit).ok())).collect();
    let digits = digits.filter(|digits| digits.len().is_multiple_of(2))?;
    Some(digits.chunks(2).map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit)).collect())
}
