//! `ciphers` of a binding: how single values are encrypted between the gateway and the source.

use std::fmt;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use schemars::JsonSchema;
use serde::Deserialize;

use super::mounted::Where;
use super::sign::Origin;
use super::sign::format::Digits;
use super::{Compiler, Instance, note};
use crate::base::fault::did_you_mean;
use crate::model::yaml::{self, Spanned};

/// How single values are encrypted: fields name it as `cipher`, requests as `{key|NAME}`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CipherEntry {
    /// The block cipher.
    pub algorithm: Spanned<Algorithm>,
    /// How blocks hang together. Padding is always PKCS#7.
    pub mode: Spanned<Mode>,
    /// The key: `${NAME}`, or `${file:NAME}` for a mounted secret.
    pub key: Spanned<String>,
    /// What `key` and `iv` are written in.
    #[serde(default)]
    pub key_encoding: KeyEncoding,
    /// `cbc`: the initialization vector, written as `key` is; `prefixed`: another for each value, before its blocks.
    pub iv: Option<Spanned<String>>,
    /// What encrypted values are written in. Either case of hexadecimal digits is read.
    #[serde(default)]
    pub encoding: Digits,
}

/// A block cipher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum Algorithm {
    /// GB/T 32907-2016.
    #[serde(rename = "sm4")]
    Sm4,
    #[serde(rename = "aes-128")]
    Aes128,
    #[serde(rename = "aes-256")]
    Aes256,
}

/// How the blocks of a value hang together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    Cbc,
    /// Equal blocks are encrypted alike: for platforms that have nothing else.
    Ecb,
}

/// What a key is written in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyEncoding {
    #[default]
    Hex,
    Base64,
    /// Its characters are its bytes.
    Text,
}

/// A cipher with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cipher {
    pub name: Arc<str>,
    pub algorithm: Algorithm,
    pub iv: Iv,
    pub encoding: Digits,
    pub key: Bytes,
    written: KeyEncoding,
}

/// Where the initialization vector is from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Iv {
    /// ECB has none.
    None,
    Fixed([u8; 16]),
    Prefixed,
}

/// Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Bytes(Box<[u8]>);

impl Bytes {
    pub fn reveal(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Algorithm {
    fn key_length(self) -> usize {
        match self {
            Self::Sm4 | Self::Aes128 => 16,
            Self::Aes256 => 32,
        }
    }
}

impl KeyEncoding {
    fn bytes(self, text: &str) -> Option<Vec<u8>> {
        match self {
            Self::Text => Some(text.as_bytes().to_vec()),
            Self::Base64 => STANDARD.decode(text).ok(),
            Self::Hex => hex(text),
        }
    }
}

/// Bytes from hexadecimal digits of either case.
pub fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    };
    text.as_bytes().chunks(2).map(pair).collect()
}

impl Cipher {
    /// The same with another key; none: it is no key of this cipher.
    pub fn keyed(&self, key: &str) -> Option<Self> {
        let bytes = self.written.bytes(key).filter(|bytes| bytes.len() == self.algorithm.key_length())?;
        Some(Self { key: Bytes(bytes.into()), ..self.clone() })
    }
}

impl Compiler<'_> {
    pub(super) fn ciphers(&mut self, instance: Option<&Instance>, mounted: &mut Vec<(Where, Origin)>) -> Box<[Cipher]> {
        let mut all = Vec::new();
        for (name, entry) in &self.file.ciphers {
            let Some((cipher, origin)) = self.cipher(name, &entry.value, instance) else { continue };
            note(mounted, Where::Cipher(all.len()), origin);
            all.push(cipher);
        }
        all.into()
    }

    fn cipher(&mut self, name: &str, entry: &CipherEntry, instance: Option<&Instance>) -> Option<(Cipher, Origin)> {
        let mut fault = |at, message: String, hint: &str| self.faults.add(self.text, at, message, hint);
        let at = yaml::span(&entry.key);
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_')) {
            fault(at, format!("`{name}` is not a name of a cipher"), "letters, digits, `-` and `_`");
            return None;
        }
        let iv = match (entry.mode.value, &entry.iv) {
            (Mode::Ecb, None) => Iv::None,
            (Mode::Ecb, Some(iv)) => {
                fault(yaml::span(iv), "`ecb` has no initialization vector".to_owned(), "take `iv` out, or write `cbc`");
                return None;
            }
            (Mode::Cbc, None) => {
                let hint = "write `iv: prefixed` where each value begins with its own, or the one that all have";
                fault(yaml::span(&entry.mode), "`cbc` needs an initialization vector".to_owned(), hint);
                return None;
            }
            (Mode::Cbc, Some(iv)) if iv.value == "prefixed" => Iv::Prefixed,
            (Mode::Cbc, Some(iv)) => {
                let place = yaml::span(iv);
                let text = self.fill(&iv.value, place, instance)?;
                let bytes = entry.key_encoding.bytes(&text).and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
                match bytes {
                    Some(bytes) => Iv::Fixed(bytes),
                    None if is_placeholder(&text) => Iv::Fixed([0; 16]),
                    None => {
                        let message = "`iv` is not 16 bytes, written as `key_encoding` says".to_owned();
                        self.faults.add(self.text, place, message, "32 hexadecimal digits; or `prefixed`");
                        return None;
                    }
                }
            }
        };
        let found = self.found(&entry.key.value, at, instance)?;
        let algorithm = entry.algorithm.value;
        let without = Cipher {
            name: name.into(),
            algorithm,
            iv,
            encoding: entry.encoding,
            key: Bytes(Box::default()),
            written: entry.key_encoding,
        };
        let keyed = without.keyed(&found.text).or_else(|| is_placeholder(&found.text).then_some(without));
        if keyed.is_none() {
            let length = algorithm.key_length();
            let message = format!("the key is not {length} bytes, written as `key_encoding` says");
            let hint = format!("{} hexadecimal digits; or `key_encoding: base64`, or `text`", 2 * length);
            self.faults.add(self.text, at, message, hint);
        }
        keyed.map(|cipher| (cipher, found.origin))
    }
}

/// What stands for a variable that is not set.
fn is_placeholder(text: &str) -> bool {
    text.starts_with("-----BEGIN PLACEHOLDER")
}

/// The fault of a cipher that is not declared: its message and hint.
pub fn unknown<'k>(name: &str, known: impl IntoIterator<Item = &'k str>) -> (String, String) {
    let hint = did_you_mean(name, known, "declare it under `ciphers`");
    (format!("there is no cipher `{name}`"), hint)
}
