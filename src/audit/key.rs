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

/// The bytes of a digest.
pub(super) type Digest = [u8; 32];

/// The key that stands between the records and what they are about. Whoever has it can ask "who read this household?"
/// or "was this the answer?"; whoever has only the records cannot.
#[derive(Clone)]
pub struct SubjectKey(Arc<Keyed>);

/// The state after the key was taken in, where every digest begins: taking it in costs half a short digest. `None`: an
/// HMAC takes keys of any length, so this is never so; digests without a key could be guessed, and are left empty.
struct Keyed(Option<Hmac<Sha256>>);

impl std::fmt::Debug for SubjectKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SubjectKey")
    }
}

impl SubjectKey {
    pub fn new(key: Arc<[u8]>) -> Self {
        Self(Arc::new(Keyed(Hmac::new_from_slice(&key).ok())))
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
        let Keyed(Some(keyed)) = &*self.0 else { return String::new() };
        let mut mac = keyed.clone();
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
    let digit = |value: u8| value + if value < 10 { b'0' } else { b'a' - 10 };
    let mut text = vec![0; bytes.len() * 2];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 0xf)];
    }
    String::from_utf8(text).unwrap_or_default()
}

/// The bytes of what [`SubjectKey::subject`] gives; `None`: it does not.
pub(super) fn digest_of(text: &str) -> Option<Digest> {
    unhex(text)?.try_into().ok()
}

/// The bytes of a text of hexadecimal digits; `None`: it is none.
pub(super) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let (pairs, odd) = text.as_bytes().as_chunks::<2>();
    for [high, low] in pairs {
        bytes.push(digit(*high)? << 4 | digit(*low)?);
    }
    odd.is_empty().then_some(bytes)
}
