//! `sign` of a binding as it is written. One flat mapping, so that faults stand at the key they are about; which keys
//! belong to which scheme is for [`super::compile`].

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::model::binding::format::Test;
use crate::model::yaml::Spanned;

/// Texts may hold `${NAME}`: secrets never stand in the file.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sign {
    /// How requests are signed; it decides which of the other keys there are.
    pub scheme: Spanned<Scheme>,
    /// `api-key`, `hmac-header`: the header's name.
    pub header: Option<Spanned<String>>,
    /// `api-key`: the query parameter's name.
    pub query: Option<Spanned<String>>,
    /// `api-key`: what is sent. `delegation`: the private key, Ed25519 or P-256, as PEM (PKCS#8). `sm2`: the private key, as
    /// PEM (PKCS#8, SEC 1) or hexadecimal digits.
    pub key: Option<Spanned<String>>,
    /// `bearer`: what is sent.
    pub token: Option<Spanned<String>>,
    /// `basic`: the user.
    pub user: Option<Spanned<String>>,
    /// `basic`: the password.
    pub password: Option<Spanned<String>>,
    /// `oauth2`: where tokens are given; absolute, or a path below `base_url`.
    pub token_url: Option<Spanned<String>>,
    /// `oauth2`: the client.
    pub client_id: Option<Spanned<String>>,
    /// `oauth2`: the client's secret.
    pub client_secret: Option<Spanned<String>>,
    /// `oauth2`: the scope that is asked for.
    pub scope: Option<Spanned<String>>,
    /// `oauth2`: how the client says who it is; absent: `client_secret_basic`.
    pub client_auth: Option<Spanned<ClientAuth>>,
    /// What is computed: `sm3`, `sha256`, `sha1`, `md5`.
    pub hash: Option<Spanned<Hash>>,
    /// Who signs, as the platform knows the gateway.
    pub app_key: Option<Spanned<String>>,
    /// `hmac-header`, `delegation`: which key signs.
    pub key_id: Option<Spanned<String>>,
    /// `delegation`: who signs: `iss`.
    pub issuer: Option<Spanned<String>>,
    /// `delegation`: whom the token is for: `aud`.
    pub audience: Option<Spanned<String>>,
    /// `delegation`: as whom the gateway acts for the caller: `act.sub`; absent: `issuer`.
    pub actor: Option<Spanned<String>>,
    /// `delegation`: a role of this gateway, and which role it is at the source. Others are not passed on.
    #[serde(default)]
    pub roles: BTreeMap<String, Spanned<String>>,
    /// `delegation`: claims of the caller (`principal.claims` of gateway.yaml) that are passed on.
    #[serde(default)]
    pub claims: Vec<Spanned<String>>,
    /// What is signed with: `${NAME}`, or `${file:NAME}` for a mounted secret.
    pub secret: Option<Spanned<String>>,
    /// `sm2`: as whom the gateway signs (`ID_A`), as the platform knows it.
    pub user_id: Option<Spanned<String>>,
    /// `sm2`: how the two numbers of a signature hang together.
    pub form: Option<Spanned<SignatureForm>>,
    /// `hmac`, `digest`, `sm2`: what is signed, with placeholders.
    pub text: Option<Spanned<String>>,
    /// `hmac`: the key, where it is more than `{secret}`.
    pub hmac_key: Option<Spanned<String>>,
    /// How the signature's bytes are written.
    pub encoding: Option<Spanned<Digits>>,
    /// `s`, `ms`, or a pattern at +08:00.
    pub timestamp: Option<Spanned<String>>,
    /// What `{body_digest}` is.
    pub body_digest: Option<Spanned<BodyDigest>>,
    /// How `{query}` and `{parameters}` are written.
    pub parameters: Option<Spanned<Parameters>>,
    /// Where signature, timestamp and the rest go.
    pub send: Option<Spanned<Send>>,
    /// Instead of the secret: where one is fetched that is good for a while.
    pub session: Option<Box<Spanned<Session>>>,
}

/// A call that gives a secret, or a token. Exactly one of `get` and `post`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Where it is fetched, with GET: absolute, or a path below `base_url`.
    pub get: Option<Spanned<String>>,
    /// As `get`, with POST.
    pub post: Option<Spanned<String>>,
    /// Its query parameters.
    #[serde(default)]
    pub query: BTreeMap<String, Spanned<String>>,
    /// Members of its JSON body.
    #[serde(default)]
    pub body: BTreeMap<String, Spanned<String>>,
    /// Instead of `body`: parameters of a body as forms have it (`application/x-www-form-urlencoded`).
    pub form: Option<Spanned<BTreeMap<String, Spanned<String>>>>,
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

/// How requests are signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
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
    /// GB/T 32918.2-2016 with SM3, over a declared text.
    Sm2,
    /// A token for each call, in the caller's name (RFC 8693: delegation): the source applies its own rules to the caller.
    Delegation,
}

/// How an OAuth 2.0 client says who it is (RFC 6749 section 2.3.1), by the names that RFC 7591 gives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientAuth {
    /// In the header `Authorization`, as HTTP Basic.
    #[default]
    ClientSecretBasic,
    /// As `client_id` and `client_secret` in the form.
    ClientSecretPost,
}

/// A digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Hash {
    Md5,
    Sha1,
    Sha256,
    Sm3,
}

/// How the two numbers of a signature hang together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureForm {
    /// One after the other, of 32 bytes each.
    #[default]
    Raw,
    /// ASN.1, as GM/T 0009-2012 has it.
    Der,
}

/// How bytes are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Digits {
    #[default]
    Hex,
    HexUpper,
    Base64,
}

/// A digest of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BodyDigest {
    /// What is computed.
    pub hash: Hash,
    /// How its bytes are written.
    #[serde(default)]
    pub encoding: Digits,
}

/// How `{query}` and `{parameters}` are written.
#[derive(Debug, Deserialize, JsonSchema)]
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
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Send {
    /// Headers: names and texts.
    pub headers: BTreeMap<String, Spanned<String>>,
    /// Query parameters: names and texts.
    pub query: BTreeMap<String, Spanned<String>>,
    /// Members of a JSON body (`{timestamp#}` is a number), or parameters of a form.
    pub body: BTreeMap<String, Spanned<String>>,
}
