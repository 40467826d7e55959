//! `sign` of a binding as it is written. One flat mapping, so that faults stand at the key they are about; which keys
//! belong to which scheme is for [`super::compile`].

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_saphyr::Spanned;

use crate::model::binding::format::Test;

/// Texts may hold `${NAME}`: secrets never stand in the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    pub scheme: Spanned<Scheme>,
    /// `api-key`, `hmac-header`: the header's name.
    pub header: Option<Spanned<String>>,
    /// `api-key`: the query parameter's name.
    pub query: Option<Spanned<String>>,
    /// `api-key`: what is sent.
    pub key: Option<Spanned<String>>,
    /// `bearer`: what is sent.
    pub token: Option<Spanned<String>>,
    pub user: Option<Spanned<String>>,
    pub password: Option<Spanned<String>>,
    pub token_url: Option<Spanned<String>>,
    pub client_id: Option<Spanned<String>>,
    pub client_secret: Option<Spanned<String>>,
    pub scope: Option<Spanned<String>>,
    pub hash: Option<Spanned<Hash>>,
    pub app_key: Option<Spanned<String>>,
    pub key_id: Option<Spanned<String>>,
    pub secret: Option<Spanned<String>>,
    /// `hmac`, `digest`: what is signed, with placeholders.
    pub text: Option<Spanned<String>>,
    /// `hmac`: the key, where it is more than `{secret}`.
    pub hmac_key: Option<Spanned<String>>,
    pub encoding: Option<Spanned<Digits>>,
    /// `s`, `ms`, or a pattern at +08:00.
    pub timestamp: Option<Spanned<String>>,
    pub body_digest: Option<Spanned<BodyDigest>>,
    pub parameters: Option<Spanned<Parameters>>,
    pub send: Option<Spanned<Send>>,
    /// Instead of the secret: where one is fetched that is good for a while.
    pub session: Option<Box<Spanned<Session>>>,
}

/// A call that gives a secret, or a token. Exactly one of `get` and `post`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    pub get: Option<Spanned<String>>,
    pub post: Option<Spanned<String>>,
    #[serde(default)]
    pub query: BTreeMap<String, Spanned<String>>,
    /// Members of its JSON body.
    #[serde(default)]
    pub body: BTreeMap<String, Spanned<String>>,
    /// How this call itself is signed.
    pub sign: Option<Sign>,
    /// Where the answer holds the secret.
    pub secret_at: Spanned<String>,
    /// Where it says how many seconds the secret is good for …
    pub life_at: Option<Spanned<String>>,
    /// … and how many, where it does not.
    pub life_s: Option<Spanned<u64>>,
    /// Where this holds of an answer to any other call, the secret is no longer good.
    pub renew_on: Option<Test>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    ApiKey,
    Bearer,
    Basic,
    Oauth2,
    Hmac,
    Digest,
    /// `hmac` over the sorted parameters, in four headers.
    HmacParams,
    /// `hmac` over method, path, timestamp and the body's digest, in one header.
    HmacHeader,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hash {
    Md5,
    Sha1,
    Sha256,
    Sm3,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Digits {
    #[default]
    Hex,
    HexUpper,
    Base64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BodyDigest {
    pub hash: Hash,
    #[serde(default)]
    pub encoding: Digits,
}

/// How `{query}` and `{parameters}` are written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Parameters {
    /// Between name and value.
    pub pair: String,
    /// Between parameters.
    pub join: String,
    /// Names and values percent-encoded (RFC 3986).
    pub encoded: bool,
    /// Parameters without a value are left out.
    pub skip_empty: bool,
    /// What is sorted among them though it is sent elsewhere.
    pub also: BTreeMap<String, Spanned<String>>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self { pair: "=".to_owned(), join: "&".to_owned(), encoded: false, skip_empty: false, also: BTreeMap::new() }
    }
}

/// Where what goes: names and texts with placeholders.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Send {
    pub headers: BTreeMap<String, Spanned<String>>,
    pub query: BTreeMap<String, Spanned<String>>,
    /// Members of a JSON body; `{timestamp#}` is a number.
    pub body: BTreeMap<String, Spanned<String>>,
}
