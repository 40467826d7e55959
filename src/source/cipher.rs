//! Single values that are encrypted on the wire: SM4 (GB/T 32907-2016) and AES, in CBC and ECB with PKCS#7 padding.
//!
//! Why a value cannot be decrypted is told to nobody, operators included: that its padding is wrong would tell of the key.

use std::sync::Arc;

use aes::{Aes128, Aes256};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::consts::U16;
use cbc::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser, KeyInit, KeyIvInit,
};
use sm4::Sm4;

use super::failure::Failure;
use super::made::Ready;
use super::sign::written;
use super::{charset, json};
use crate::base::json::JsonValue;
use crate::base::pointer::Pointer;
use crate::model::binding::connection::Connection;
use crate::model::binding::connection::cipher::{Algorithm, Cipher, Iv, hex};
use crate::model::binding::connection::sign::format::Digits;
use crate::model::binding::conversion::UNDECIPHERED;
use crate::model::binding::request::template::{Sealing, Unfilled, json_text};

const BLOCK: usize = 16;
/// As Java, Python and browsers write it, with padding or without.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

impl Sealing for Ready {
    fn sealed(&self, cipher: &str, text: &str) -> Result<String, Unfilled> {
        let unfit = |why: &str| Unfilled::Unfit(format!("a value cannot be encrypted with `{cipher}`: {why}"));
        let cipher =
            named(cipher, &self.connection).ok_or_else(|| Unfilled::Unfit(format!("there is no cipher `{cipher}`")))?;
        let bytes = charset::encode(text.to_owned(), self.connection.encoding, false)
            .map_err(|_| unfit("it cannot be written in the source's charset"))?;
        encrypt(cipher, &bytes).ok_or_else(|| unfit("its key is not set"))
    }
}

fn named<'c>(name: &str, connection: &'c Connection) -> Option<&'c Cipher> {
    connection.ciphers.iter().find(|cipher| *cipher.name == *name)
}

/// Records with the values at these places decrypted; what cannot be is [`UNDECIPHERED`].
pub(crate) fn decrypted<K: Copy>(
    found: &[(K, JsonValue<'_>)],
    places: &[(Pointer, Arc<str>)],
    connection: &Connection,
) -> Result<json::Reread<K>, Failure> {
    let places: Vec<Place<'_>> = places.iter().map(|(at, cipher)| (at.segments(), &**cipher)).collect();
    let mut out = json::Rewritten::with_capacity(found.iter().map(|(_, record)| record.raw().len()).sum());
    for (key, record) in found {
        rewrite(*record, &places, connection, out.next(*key))?;
    }
    out.read()
}

/// What is left of the way to an encrypted value, and its cipher.
type Place<'p> = (&'p [Box<str>], &'p str);

fn rewrite(
    json: JsonValue<'_>,
    places: &[Place<'_>],
    connection: &Connection,
    out: &mut String,
) -> Result<(), Failure> {
    match json.raw().as_bytes().first() {
        _ if places.is_empty() => out.push_str(json.raw()),
        Some(b'{') => {
            out.push('{');
            for (n, (name, value)) in json.members().enumerate() {
                let name = name
                    .content()
                    .map_err(|_| Failure::bad("a name of the answer has an escape that is no character"))?;
                if n > 0 {
                    out.push(',');
                }
                json_text(&name, out);
                out.push(':');
                rewrite(value, &below(places, &name), connection, out)?;
            }
            out.push('}');
        }
        Some(b'[') => {
            out.push('[');
            for (n, element) in json.elements().enumerate() {
                if n > 0 {
                    out.push(',');
                }
                let index = n.to_string();
                let mut inside = below(places, &index);
                // Places in lists are left out, but where a pointer names one.
                inside.extend(places.iter().filter(|(way, _)| way.first().is_none_or(|name| !is_index(name))));
                rewrite(element, &inside, connection, out)?;
            }
            out.push(']');
        }
        _ => match places.iter().find(|(way, _)| way.is_empty()) {
            Some((_, cipher)) => value(json, cipher, connection, out)?,
            None => out.push_str(json.raw()),
        },
    }
    Ok(())
}

fn below<'p>(places: &[Place<'p>], name: &str) -> Vec<Place<'p>> {
    let inside = |(way, cipher): &Place<'p>| {
        let (first, rest) = way.split_first()?;
        (**first == *name).then_some((rest, *cipher))
    };
    places.iter().filter_map(inside).collect()
}

fn is_index(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit())
}

/// One value: what is null or blank stays so.
fn value(json: JsonValue<'_>, cipher: &str, connection: &Connection, out: &mut String) -> Result<(), Failure> {
    if json.is_null() {
        out.push_str(json.raw());
        return Ok(());
    }
    let text = if json.is_text() { Some(json::text(json)?) } else { None };
    if text.as_ref().is_some_and(|text| text.trim().is_empty()) {
        out.push_str(json.raw());
        return Ok(());
    }
    match text.and_then(|text| decrypted_text(&text, cipher, connection)) {
        Some(plain) => json_text(&plain, out),
        None => out.push_str(UNDECIPHERED),
    }
    Ok(())
}

pub(crate) fn decrypted_text(text: &str, cipher: &str, connection: &Connection) -> Option<String> {
    let bytes = decrypt(named(cipher, connection)?, text)?;
    charset::decode(bytes.into(), connection.encoding, None, false).ok()
}

fn encrypt(cipher: &Cipher, plain: &[u8]) -> Option<String> {
    let (key, mut out) = (cipher.key.reveal(), Vec::new());
    let iv = match &cipher.iv {
        Iv::None => None,
        Iv::Fixed(iv) => Some(*iv),
        Iv::Prefixed => {
            let mut iv = [0; BLOCK];
            rand::fill(&mut iv).ok()?;
            out.extend_from_slice(&iv);
            Some(iv)
        }
    };
    out.extend(match cipher.algorithm {
        Algorithm::Sm4 => encrypted::<Sm4>(key, iv, plain)?,
        Algorithm::Aes128 => encrypted::<Aes128>(key, iv, plain)?,
        Algorithm::Aes256 => encrypted::<Aes256>(key, iv, plain)?,
    });
    Some(written(&out, cipher.encoding))
}

fn decrypt(cipher: &Cipher, text: &str) -> Option<Vec<u8>> {
    let text: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    let bytes = match cipher.encoding {
        Digits::Base64 => BASE64.decode(text.replace('-', "+").replace('_', "/")).ok()?,
        Digits::Hex | Digits::HexUpper => hex(&text)?,
    };
    let (iv, blocks): (Option<[u8; BLOCK]>, &[u8]) = match &cipher.iv {
        Iv::None => (None, &bytes),
        Iv::Fixed(iv) => (Some(*iv), &bytes),
        Iv::Prefixed => {
            let (iv, blocks) = bytes.split_first_chunk::<BLOCK>()?;
            (Some(*iv), blocks)
        }
    };
    let key = cipher.key.reveal();
    match cipher.algorithm {
        Algorithm::Sm4 => plain::<Sm4>(key, iv, blocks),
        Algorithm::Aes128 => plain::<Aes128>(key, iv, blocks),
        Algorithm::Aes256 => plain::<Aes256>(key, iv, blocks),
    }
}

fn encrypted<C>(key: &[u8], iv: Option<[u8; BLOCK]>, plain: &[u8]) -> Option<Vec<u8>>
where
    C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit,
{
    Some(match iv {
        Some(iv) => cbc::Encryptor::<C>::new_from_slices(key, &iv).ok()?.encrypt_padded_vec::<Pkcs7>(plain),
        None => ecb::Encryptor::<C>::new_from_slice(key).ok()?.encrypt_padded_vec::<Pkcs7>(plain),
    })
}

fn plain<C>(key: &[u8], iv: Option<[u8; BLOCK]>, blocks: &[u8]) -> Option<Vec<u8>>
where
    C: BlockCipherDecrypt + BlockSizeUser<BlockSize = U16> + KeyInit,
{
    match iv {
        Some(iv) => cbc::Decryptor::<C>::new_from_slices(key, &iv).ok()?.decrypt_padded_vec::<Pkcs7>(blocks).ok(),
        None => ecb::Decryptor::<C>::new_from_slice(key).ok()?.decrypt_padded_vec::<Pkcs7>(blocks).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GB/T 32907-2016, A.1; FIPS 197, C.1 and C.3.
    #[test]
    fn the_examples_of_the_standards_are_encrypted_as_they_say() {
        let key = hex("0123456789abcdeffedcba9876543210").unwrap();
        let block = |bytes: Vec<u8>| written(&bytes[..BLOCK], Digits::Hex);
        assert_eq!(block(encrypted::<Sm4>(&key, None, &key).unwrap()), "681edf34d206965e86b3e94f536e4246");
        let (text, long) = (hex("00112233445566778899aabbccddeeff").unwrap(), (0..32).collect::<Vec<u8>>());
        let aes = block(encrypted::<Aes128>(&long[..16], None, &text).unwrap());
        assert_eq!(aes, "69c4e0d86a7b0430d8cdb78070b4c55a");
        assert_eq!(block(encrypted::<Aes256>(&long, None, &text).unwrap()), "8ea2b7ca516745bfeafc49904b496089");
    }

    #[test]
    fn whatever_is_wrong_with_a_value_it_is_the_same_nothing() {
        let key = [7; 16];
        let whole = encrypted::<Sm4>(&key, Some([1; 16]), b"text of more than a block").unwrap();
        assert_eq!(plain::<Sm4>(&key, Some([1; 16]), &whole).unwrap(), b"text of more than a block");
        for broken in [&whole[..31], &whole[1..], &[], &[0; 16]] {
            assert_eq!(plain::<Sm4>(&key, Some([1; 16]), broken), None);
        }
        assert_eq!(plain::<Sm4>(&[8; 16], Some([1; 16]), &whole), None);
    }
}
