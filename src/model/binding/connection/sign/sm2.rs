//! `sm2`: signatures of GB/T 32918.2-2016 over a declared text.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sm2::dsa::SigningKey;
use x509_parser::asn1_rs::{Any, FromDer, Sequence};
use x509_parser::pem::parse_x509_pem;

use super::super::cipher::hex;
use super::super::{Compiler, Instance};
use super::format::Sign;
use super::{By, Origin};
use crate::model::yaml::{self, Spanned};

/// Who signs, where nothing else is agreed upon (GM/T 0009-2012).
pub const ID_DEFAULT: &str = "1234567812345678";
/// Its length in bits stands in two bytes.
pub const ID_BYTES_MAX: usize = 8_191;

const PLACEHOLDER: &str = "-----BEGIN PLACEHOLDER-----";
const SCALAR: usize = 32;

impl Compiler<'_> {
    pub(super) fn sm2(&mut self, sign: &Sign) -> Option<By> {
        let user_id = sign.user_id.as_ref().map_or(ID_DEFAULT, |id| id.value.as_str());
        if user_id.is_empty() || user_id.len() > ID_BYTES_MAX {
            let at = sign.user_id.as_ref().map_or_else(|| yaml::span(&sign.scheme), yaml::span);
            let hint = format!("leave it out where the platform says nothing: it is {ID_DEFAULT} then");
            self.faults.add(self.text, at, "`user_id` is empty or too long", hint);
            return None;
        }
        let form = sign.form.as_ref().map(|form| form.value).unwrap_or_default();
        Some(By::Sm2 { user_id: user_id.to_owned(), form })
    }

    pub(super) fn sm2_key(&mut self, written: Option<&Spanned<String>>, instance: Option<&Instance>) -> Option<Origin> {
        let at = yaml::span(written?);
        let found = self.found(&written?.value, at, instance)?;
        if !found.text.starts_with(PLACEHOLDER) && signing_key(&found.text, ID_DEFAULT).is_none() {
            let hint = "PKCS#8 or SEC 1 in PEM (`openssl genpkey -algorithm SM2`), or 64 hexadecimal digits";
            self.faults.add(self.text, at, "`key` is no private key of SM2", hint);
            return None;
        }
        Some(found.origin)
    }
}

/// From PEM, from DER in base64, or from the scalar's hexadecimal digits.
pub fn signing_key(text: &str, id: &str) -> Option<SigningKey> {
    let text = text.trim();
    let scalar = if text.starts_with("-----BEGIN") {
        let (_, pem) = parse_x509_pem(text.as_bytes()).ok()?;
        scalar(&pem.contents)?
    } else if text.len() == 2 * SCALAR {
        hex(text)?
    } else {
        scalar(&STANDARD.decode(text).ok()?)?
    };
    SigningKey::from_slice(id, &scalar).ok()
}

/// The scalar of a private key: of RFC 5915 (`1, scalar, …`), by itself or inside of PKCS#8 (`0, algorithm, key`).
fn scalar(der: &[u8]) -> Option<Vec<u8>> {
    let parts = parts(der)?;
    match parts.as_slice() {
        [version, key, ..] if version.data == [1] => (key.data.len() == SCALAR).then(|| key.data.to_vec()),
        [version, algorithm, key, ..] if version.data == [0] && is_sm2(algorithm.data) => {
            let inner = self::parts(key.data)?;
            let [version, key, ..] = inner.as_slice() else { return None };
            (version.data == [1] && key.data.len() == SCALAR).then(|| key.data.to_vec())
        }
        _ => None,
    }
}

/// `id-ecPublicKey` (1.2.840.10045.2.1) on the curve of SM2 (1.2.156.10197.1.301).
fn is_sm2(algorithm: &[u8]) -> bool {
    const SM2: [u8; 19] = [
        0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x81, 0x1c, 0xcf, 0x55, 0x01, 0x82,
        0x2d,
    ];
    algorithm == SM2
}

fn parts(der: &[u8]) -> Option<Vec<Any<'_>>> {
    let (_, sequence) = Sequence::from_der(der).ok()?;
    let (mut rest, mut found) = (
        match sequence.content {
            std::borrow::Cow::Borrowed(bytes) => bytes,
            std::borrow::Cow::Owned(_) => return None,
        },
        Vec::new(),
    );
    while !rest.is_empty() {
        let (after, part) = Any::from_der(rest).ok()?;
        found.push(part);
        rest = after;
    }
    Some(found)
}
