//! What stands in the records instead of what would tell something: digests under the audit key.

use std::sync::Arc;

use hmac::{Hmac, KeyInit, Mac};
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use sha2::Sha256;

/// What a digest begins with that stands where a text would.
const DIGEST: &str = "hmac:";
/// Longest name of an operation that is recorded.
const NAME_CHARS_MAX: usize = 128;
/// So many digits in a row may be an id, or the beginning of one.
const ID_DIGITS_MIN: usize = 6;

/// A household or person as they stand in the records, or whatever a request named in place of one: a keyed digest, written
/// as its hexadecimal digits. From [`SubjectKey::subject`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubjectDigest([u8; 32]);

impl SubjectDigest {
    /// From its 64 digits; `None`: they are none.
    pub fn parse(text: &str) -> Option<Self> {
        Some(Self(unhex(text)?.try_into().ok()?))
    }

    /// Enough of it to tell it from others: nobody without the key can choose two that are alike in this.
    pub fn short(&self) -> u64 {
        self.0.first_chunk().map_or(0, |first| u64::from_be_bytes(*first))
    }
}

impl std::fmt::Display for SubjectDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

impl std::fmt::Debug for SubjectDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self}")
    }
}

impl Serialize for SubjectDigest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 64];
        write_hex(&self.0, &mut text);
        serializer.serialize_str(str::from_utf8(&text).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for SubjectDigest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Digits;
        impl Visitor<'_> for Digits {
            type Value = SubjectDigest;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("64 hexadecimal digits")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<SubjectDigest, E> {
                SubjectDigest::parse(text).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Digits)
    }
}

impl From<SubjectDigest> for Value {
    fn from(subject: SubjectDigest) -> Self {
        Self::String(subject.to_string())
    }
}

/// The key that stands between the records and what they are about. Whoever has it can ask "who read this household?"
/// or "was this the answer?"; whoever has only the records cannot.
#[derive(Clone)]
pub struct SubjectKey(Arc<Keyed>);

/// The state after the key was taken in, where every digest begins: taking it in costs half a short digest. `None`: an
/// HMAC takes keys of any length, so this is never so; digests without a key could be guessed, and are zeros.
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

    /// HMAC-SHA256 of entity type and id. The same id gives the same digest, so that one household's readers can be found
    /// by whoever has the key.
    pub fn subject(&self, entity: &str, id: &str) -> SubjectDigest {
        SubjectDigest(self.mac(&[entity.as_bytes(), b"\0", id.as_bytes()]))
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

    fn digest(&self, parts: &[&[u8]]) -> String {
        hex(&self.mac(parts))
    }

    /// Names of entities do not begin with a zero byte, so the kinds of digest do not meet.
    fn mac(&self, parts: &[&[u8]]) -> [u8; 32] {
        let Keyed(Some(keyed)) = &*self.0 else { return [0; 32] };
        let mut mac = keyed.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// Whether a recorded text is a digest, in place of one that is not recorded.
pub fn is_digest(recorded: &str) -> bool {
    recorded.starts_with(DIGEST)
}

pub(super) fn hex(bytes: &[u8]) -> String {
    let mut text = vec![0; bytes.len() * 2];
    write_hex(bytes, &mut text);
    String::from_utf8(text).unwrap_or_default()
}

/// Two digits for each byte, as far as there is room.
fn write_hex(bytes: &[u8], text: &mut [u8]) {
    let digit = |value: u8| value + if value < 10 { b'0' } else { b'a' - 10 };
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 0xf)];
    }
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
