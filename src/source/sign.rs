//! Signing requests: a [`Seal`]'s texts are filled in and put where it says.

use std::collections::hash_map::RandomState;
use std::fmt::Write as _;
use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};

use aws_lc_rs::{digest, hmac as legacy};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use md5::Md5;
use sha2::{Digest, Sha256};
use sm2::dsa::signature::Signer as _;
use sm3::Sm3;

use super::failure::Failure;
use super::secret::Secrets;
use super::wire::{Outgoing, Plain};
use super::{charset, json};
use crate::base::code::ErrorCode;
use crate::egress::Unfit;
use crate::model::binding::connection::sign::format::{Digits, Hash, SignatureForm};
use crate::model::binding::connection::sign::sm2::signing_key;
use crate::model::binding::connection::sign::{
    By, Clock, Hole, Origin, Parameters, Piece, Seal, Secret, Signature, Text,
};
use crate::model::binding::format::Encoding;
use crate::model::binding::request::template::json_text;

/// A request that can be sent.
pub(crate) struct Sealed {
    pub uri: Uri,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Sealed {
    pub fn request(self, method: &Method) -> Request<Bytes> {
        let mut request = Request::new(self.body);
        *request.method_mut() = method.clone();
        *request.uri_mut() = self.uri;
        *request.headers_mut() = self.headers;
        request
    }
}

/// Adds what the seal says. The signature is over the request with everything else added.
pub(crate) fn seal(
    seal: &Seal,
    secrets: &Secrets,
    secret: Option<&Secret>,
    out: &Outgoing,
    mut headers: HeaderMap,
    encoding: Encoding,
) -> Result<Sealed, Failure> {
    let Plain { query, json, form } = out.plain.as_deref().cloned().unwrap_or_default();
    let mut making = Making {
        seal,
        secrets,
        app_key: secrets.read(&seal.app_key)?,
        secret,
        out,
        encoding,
        target: out.uri.path_and_query().map_or("/", PathAndQuery::as_str).to_owned(),
        query,
        json,
        form,
        body: out.body.clone(),
        timestamp: timestamp(&seal.timestamp),
        nonce: nonce(),
        signature: None,
    };
    making.add(false)?;
    if let Some(signature) = &seal.signature {
        making.signature = Some(making.sign(signature)?);
    }
    making.add(true)?;
    for (name, text) in &seal.headers {
        headers.insert(name, header(&making.filled(text)?)?);
    }
    let mut parts = out.uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(making.target).map_err(|_| Unfit)?);
    let uri = Uri::from_parts(parts).map_err(|_| Unfit)?;
    Ok(Sealed { uri, headers, body: making.body })
}

struct Making<'a> {
    seal: &'a Seal,
    secrets: &'a Secrets,
    app_key: Secret,
    secret: Option<&'a Secret>,
    out: &'a Outgoing,
    encoding: Encoding,
    /// Path and query.
    target: String,
    /// Not encoded.
    query: Vec<(String, String)>,
    json: Option<String>,
    /// Not encoded.
    form: Option<Vec<(String, String)>>,
    body: Bytes,
    timestamp: String,
    nonce: String,
    signature: Option<String>,
}

impl Making<'_> {
    /// Adds parameters and members: those that hold the signature, or all others.
    fn add(&mut self, signature: bool) -> Result<(), Failure> {
        let now = |text: &Text| text.has(Hole::Signature) == signature;
        for (name, text) in self.seal.query.iter().filter(|(_, text)| now(text)) {
            let value = self.filled(text)?;
            self.target.push(if self.target.contains('?') { '&' } else { '?' });
            charset::percent(name, self.encoding, &mut self.target)?;
            self.target.push('=');
            charset::percent(&value, self.encoding, &mut self.target)?;
            self.query.push((name.clone(), value));
        }
        let mut members = self.seal.body.iter().filter(|member| now(&member.text)).peekable();
        if members.peek().is_none() {
            return Ok(());
        }
        if let Some(mut form) = self.form.take() {
            for member in members {
                form.push((member.name.clone(), self.filled(&member.text)?));
            }
            self.body = charset::parameters(&form, self.encoding)?.into();
            self.form = Some(form);
            return Ok(());
        }
        let whole = self.json.as_deref().and_then(|json| json.trim_end().strip_suffix('}'));
        let Some(mut text) = whole.map(str::to_owned) else {
            let why =
                "the signature goes into the body (`sign.send.body`), and the request has no JSON object and no form";
            return Err(Failure::new(ErrorCode::Internal, why));
        };
        for member in members {
            if !text.trim_end().ends_with('{') {
                text.push(',');
            }
            json_text(&member.name, &mut text);
            text.push(':');
            let value = self.filled(&member.text)?;
            let digits = member.number && !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            if digits {
                text.push_str(&value);
            } else {
                json_text(&value, &mut text);
            }
        }
        text.push('}');
        self.body = charset::encode(text.clone(), self.encoding, false)?.into();
        self.json = Some(text);
        Ok(())
    }

    fn sign(&self, signature: &Signature) -> Result<String, Failure> {
        let mut text = Vec::new();
        self.fill(&signature.text, &mut text)?;
        let bytes = match &signature.by {
            By::Digest(by) => hash(*by, &text),
            By::Hmac(by, key) => {
                let mut filled = Vec::new();
                self.fill(key, &mut filled)?;
                hmac(*by, &filled, &text)?
            }
            By::Sm2 { user_id, form } => sm2(self.secret, user_id, *form, &text)?,
        };
        Ok(written(&bytes, signature.encoding))
    }

    fn filled(&self, text: &Text) -> Result<String, Failure> {
        let mut bytes = Vec::new();
        self.fill(text, &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| Failure::new(ErrorCode::Internal, "what is sent is not UTF-8"))
    }

    fn fill(&self, text: &Text, out: &mut Vec<u8>) -> Result<(), Failure> {
        for piece in &text.0 {
            match piece {
                Piece::Literal(Origin::Text(literal)) => out.extend_from_slice(literal.reveal().as_bytes()),
                Piece::Literal(literal) => out.extend_from_slice(self.secrets.read(literal)?.reveal().as_bytes()),
                Piece::Hole(hole) => self.fill_hole(*hole, out)?,
            }
        }
        Ok(())
    }

    fn fill_hole(&self, hole: Hole, out: &mut Vec<u8>) -> Result<(), Failure> {
        let missing = || Failure::new(ErrorCode::Internal, "the source has no secret to sign with");
        let secret = || self.secret.map(Secret::reveal).ok_or_else(missing);
        let mut put = |text: &str| out.extend_from_slice(text.as_bytes());
        match hole {
            Hole::Method => put(self.out.method.as_str()),
            Hole::Path => put(self.target.split('?').next().unwrap_or_default()),
            Hole::Target => put(&self.target),
            Hole::Query => out.extend(self.sorted(self.query.clone())?),
            Hole::Parameters => out.extend(self.parameters()?),
            Hole::Body => out.extend_from_slice(&self.body),
            Hole::BodyDigest => {
                put(&written(&hash(self.seal.body_digest.hash, &self.body), self.seal.body_digest.encoding));
            }
            Hole::Timestamp => put(&self.timestamp),
            Hole::Nonce => put(&self.nonce),
            Hole::AppKey => put(self.app_key.reveal()),
            Hole::Secret => put(secret()?),
            Hole::Signature => put(self.signature.as_deref().unwrap_or_default()),
            Hole::Basic => put(&STANDARD.encode(format!("{}:{}", self.app_key.reveal(), secret()?))),
        }
        Ok(())
    }

    /// Query parameters, those of a form, top-level members of a JSON body, and what is sorted among them.
    fn parameters(&self) -> Result<Vec<u8>, Failure> {
        let mut all = self.query.clone();
        all.extend(self.form.iter().flatten().cloned());
        if let Some(body) = self.json.as_deref().filter(|body| body.starts_with('{')) {
            let body = json::read(body.to_owned())?;
            for (name, value) in body.root().members() {
                let name = name
                    .content()
                    .map_err(|_| Failure::bad("a name of the body has an escape that is no character"))?;
                all.push((name.into_owned(), json::text(value)?.into_owned()));
            }
        }
        for (name, text) in &self.seal.parameters.also {
            all.push((name.clone(), self.filled(text)?));
        }
        self.sorted(all)
    }

    /// By name, then value; in the source's charset, as they are sent.
    fn sorted(&self, mut all: Vec<(String, String)>) -> Result<Vec<u8>, Failure> {
        let Parameters { pair, join, encoded, skip_empty, .. } = &self.seal.parameters;
        all.sort();
        let mut text = String::new();
        for (name, value) in all.iter().filter(|(_, value)| !(*skip_empty && value.is_empty())) {
            if !text.is_empty() {
                text.push_str(join);
            }
            if *encoded {
                charset::percent(name, self.encoding, &mut text)?;
                text.push_str(pair);
                charset::percent(value, self.encoding, &mut text)?;
            } else {
                let _ = write!(text, "{name}{pair}{value}");
            }
        }
        charset::encode(text, self.encoding, false)
    }
}

pub(crate) fn basic(user: &str, password: &str) -> Result<HeaderValue, Failure> {
    header(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

pub(crate) fn header(value: &str) -> Result<HeaderValue, Failure> {
    let mut value = HeaderValue::from_bytes(value.as_bytes())
        .map_err(|_| Failure::new(ErrorCode::ValueInvalid, "a header's value cannot be sent"))?;
    value.set_sensitive(true);
    Ok(value)
}

fn hmac(hash: Hash, key: &[u8], text: &[u8]) -> Result<Vec<u8>, Failure> {
    fn mac<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Option<Vec<u8>> {
        let mut mac = <M as KeyInit>::new_from_slice(key).ok()?;
        mac.update(text);
        Some(mac.finalize().into_bytes().to_vec())
    }
    let made = match hash {
        Hash::Sm3 => mac::<Hmac<Sm3>>(key, text),
        Hash::Sha256 => mac::<Hmac<Sha256>>(key, text),
        Hash::Md5 => mac::<Hmac<Md5>>(key, text),
        Hash::Sha1 => {
            let key = legacy::Key::new(legacy::HMAC_SHA1_FOR_LEGACY_USE_ONLY, key);
            Some(legacy::sign(&key, text).as_ref().to_vec())
        }
    };
    made.ok_or_else(|| Failure::new(ErrorCode::Internal, "the signing key is of no use"))
}

fn sm2(key: Option<&Secret>, user_id: &str, form: SignatureForm, text: &[u8]) -> Result<Vec<u8>, Failure> {
    let useless = || Failure::new(ErrorCode::Internal, "the signing key is no private key of SM2 (sign.key)");
    let key = key.and_then(|key| signing_key(key.reveal(), user_id)).ok_or_else(useless)?;
    let signature = key.try_sign(text).map_err(|_| useless())?;
    let (r, s) = (signature.r_bytes(), signature.s_bytes());
    Ok(match form {
        SignatureForm::Raw => [r, s].concat(),
        SignatureForm::Der => {
            let inside = [integer(&r), integer(&s)].concat();
            // Two numbers of at most 33 bytes: a length of one byte.
            [&[0x30, u8::try_from(inside.len()).unwrap_or_default()], inside.as_slice()].concat()
        }
    })
}

/// A positive INTEGER of ASN.1, of fewer than 128 bytes.
fn integer(big_endian: &[u8]) -> Vec<u8> {
    let first = big_endian.iter().position(|byte| *byte != 0).unwrap_or(big_endian.len());
    let digits = big_endian.get(first..).unwrap_or_default();
    let zero = digits.first().is_none_or(|byte| *byte >= 0x80);
    let length = u8::try_from(digits.len() + usize::from(zero)).unwrap_or_default();
    let mut out = vec![0x02, length];
    out.extend(zero.then_some(0));
    out.extend_from_slice(digits);
    out
}

fn hash(hash: Hash, text: &[u8]) -> Vec<u8> {
    match hash {
        Hash::Md5 => Md5::digest(text).to_vec(),
        Hash::Sha1 => digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, text).as_ref().to_vec(),
        Hash::Sha256 => Sha256::digest(text).to_vec(),
        Hash::Sm3 => Sm3::digest(text).to_vec(),
    }
}

pub(crate) fn written(bytes: &[u8], digits: Digits) -> String {
    let mut out = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        let _ = match digits {
            Digits::Hex => write!(out, "{byte:02x}"),
            Digits::HexUpper => write!(out, "{byte:02X}"),
            Digits::Base64 => return STANDARD.encode(bytes),
        };
    }
    out
}

fn timestamp(clock: &Clock) -> String {
    let now = jiff::Timestamp::now();
    match clock {
        Clock::Seconds => now.as_second().to_string(),
        Clock::Milliseconds => now.as_millisecond().to_string(),
        Clock::Pattern(pattern) => {
            now.to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8))).strftime(pattern).to_string()
        }
    }
}

/// 32 hex digits that do not come again; nobody needs to be unable to guess them.
pub(crate) fn nonce() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    // Each RandomState has keys of its own.
    let mut hasher = RandomState::new().build_hasher();
    hasher.write_u64(count);
    format!("{:016x}{count:016x}", hasher.finish())
}
