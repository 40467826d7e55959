//! A portal's code for a token: OpenID Connect Core 3.1, authorization code with PKCE (RFC 7636).
//!
//! Own code rather than a client crate: what such a crate adds (discovery, its own key sets, its own HTTP client) is
//! what must stay in one place here; the tokens are checked by [`Verifier`], as any other.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use http::{Method, Request, StatusCode};
use reqwest::Url;
use rustls::crypto::aws_lc_rs::default_provider;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256, Sha512};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::Principal;
use super::token::{AuthError, Verified, Verifier, now};
use crate::egress::{self, Client, Http};
use crate::model::config::TokenAlgorithm;
use crate::model::config::login::{LoginConfig, LoginToken};

const ANSWER_BYTES_MAX: usize = 64 << 10;
const TIMEOUT: Duration = Duration::from_secs(5);
/// Exchanges of one issuer under way at once.
const IN_FLIGHT_MAX: usize = 32;
/// Bytes of a code, a verifier or a nonce.
const TEXT_BYTES_MAX: usize = 2 << 10;

/// What a frontend asks to begin: where the browser is to come back to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LoginStart {
    pub redirect_uri: String,
}

/// Where the browser goes, and what the frontend keeps until it is back. Nothing of it is kept here.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginBegun {
    pub authorize_url: String,
    pub state: String,
    pub nonce: String,
    pub code_verifier: String,
}

/// What a frontend hands over when the browser is back.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct CodeExchange {
    pub code: String,
    pub code_verifier: String,
    pub redirect_uri: String,
    pub nonce: String,
}

/// A token that was checked as any other.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LoginDone {
    pub token: String,
    pub token_type: &'static str,
    pub expires_in_seconds: u64,
}

/// Why there is no token. The text is for the frontend and holds nothing of what the issuer said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LoginError {
    /// No issuer has a login of that name.
    Unknown,
    Request(&'static str),
    /// Too many exchanges are under way.
    Busy,
    /// The issuer cannot be reached, is too slow, or answers with an error of its own.
    Unavailable,
    /// The issuer does not take the code.
    Refused,
    /// What the issuer handed over is not acceptable; the frontend can only begin anew.
    Answer(&'static str),
    Token(AuthError),
}

impl std::fmt::Display for LoginError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("there is no such way to log in here"),
            Self::Request(what) => f.write_str(what),
            Self::Busy => f.write_str("too many are logging in at once; try again"),
            Self::Unavailable => f.write_str("the issuer cannot be asked now; try again later"),
            Self::Refused => f.write_str("the issuer does not take this code; begin anew"),
            Self::Answer(what) => write!(f, "the issuer's answer is not acceptable: {what}; begin anew"),
            Self::Token(error) => write!(f, "the issuer's token is not acceptable: {error}"),
        }
    }
}

impl std::error::Error for LoginError {}

impl LoginError {
    /// Whether the issuer was asked: what is told apart before is an error of the frontend's, and nobody's login.
    pub fn is_of_the_issuer(&self) -> bool {
        !matches!(self, Self::Unknown | Self::Request(_) | Self::Busy)
    }
}

/// One issuer's way to log in.
pub(super) struct Login {
    config: LoginConfig,
    token_url: Url,
    client: Client,
    in_flight: Semaphore,
}

/// What the token endpoint hands over (RFC 6749 section 5.1).
#[derive(Deserialize)]
struct Answer {
    access_token: Option<String>,
    id_token: Option<String>,
}

impl Login {
    /// The error says what in the settings is of no use.
    pub fn new(config: &LoginConfig, http: &Http) -> Result<Self, String> {
        Ok(Self {
            token_url: Url::parse(&config.token_url).map_err(|error| format!("login.token_url: {error}"))?,
            client: http.to([config.token_url.as_str()])?,
            in_flight: Semaphore::new(IN_FLIGHT_MAX),
            config: config.clone(),
        })
    }

    pub fn name(&self) -> &str {
        &self.config.name
    }

    fn redirect_uri(&self, uri: &str) -> Result<(), LoginError> {
        let listed = self.config.redirect_uris.iter().any(|known| known == uri);
        if listed { Ok(()) } else { Err(LoginError::Request("`redirectUri` is not one that the operator lists")) }
    }

    fn begin(&self, start: &LoginStart) -> Result<LoginBegun, LoginError> {
        self.redirect_uri(&start.redirect_uri)?;
        let (state, nonce, code_verifier) = (random()?, random()?, random()?);
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(code_verifier.as_bytes()));
        let mut url = Url::parse(&self.config.authorize_url).map_err(|_| LoginError::Unavailable)?;
        url.query_pairs_mut()
            .append_pair("response_type", "code")
            .append_pair("client_id", &self.config.client_id)
            .append_pair("redirect_uri", &start.redirect_uri)
            .append_pair("scope", &self.config.scopes.join(" "))
            .append_pair("state", &state)
            .append_pair("nonce", &nonce)
            .append_pair("code_challenge", &challenge)
            .append_pair("code_challenge_method", "S256");
        Ok(LoginBegun { authorize_url: url.into(), state, nonce, code_verifier })
    }

    async fn ask(&self, exchange: &CodeExchange) -> Result<Answer, LoginError> {
        let _turn = self.in_flight.try_acquire().map_err(|_| LoginError::Busy)?;
        let mut form = form_urlencoded(&[
            ("grant_type", "authorization_code"),
            ("code", &exchange.code),
            ("redirect_uri", &exchange.redirect_uri),
            ("code_verifier", &exchange.code_verifier),
        ]);
        let mut request = egress::request(Method::POST, &self.token_url)
            .map_err(|_| LoginError::Unavailable)?
            .header(ACCEPT, HeaderValue::from_static("application/json"))
            .header(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        match &self.config.client_secret {
            Some(secret) => {
                // RFC 6749 section 2.3.1: both are form-encoded before they are joined.
                let pair = format!("{}:{}", encoded(&self.config.client_id), encoded(secret.reveal()));
                request = request.header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(pair)));
            }
            None => form.push_str(&format!("&client_id={}", encoded(&self.config.client_id))),
        }
        let request = request.body(form.into()).map_err(|_| LoginError::Unavailable)?;
        timeout(TIMEOUT, self.answer(request)).await.unwrap_or(Err(LoginError::Unavailable))
    }

    async fn answer(&self, request: Request<Bytes>) -> Result<Answer, LoginError> {
        let answer = self.client.send(request).await.map_err(|_| LoginError::Unavailable)?;
        match answer.status() {
            StatusCode::OK => {}
            // RFC 6749 section 5.2. What is said there is for the operator of the issuer, not for the frontend.
            StatusCode::BAD_REQUEST => return Err(LoginError::Refused),
            status => {
                tracing::warn!(login = self.config.name, status = status.as_u16(), "a code could not be exchanged");
                return Err(LoginError::Unavailable);
            }
        }
        let (_, bytes) = answer.bytes(ANSWER_BYTES_MAX).await.map_err(|_| LoginError::Unavailable)?;
        serde_json::from_slice(&bytes).map_err(|_| LoginError::Answer("it is not as RFC 6749 has it"))
    }
}

impl Verifier {
    /// A new state, nonce and code verifier, and where to send the browser with them.
    pub fn begin_login(&self, name: &str, start: &LoginStart) -> Result<LoginBegun, LoginError> {
        self.login_named(name).ok_or(LoginError::Unknown)?.1.begin(start)
    }

    /// Exchanges a code at the issuer, and checks what comes back: the ID token against client and nonce, and the token
    /// that is handed on as any other. With whose it is.
    pub async fn exchange_code(
        &self,
        name: &str,
        exchange: &CodeExchange,
    ) -> Result<(LoginDone, Principal), LoginError> {
        let (issuer, login) = self.login_named(name).ok_or(LoginError::Unknown)?;
        check(exchange)?;
        login.redirect_uri(&exchange.redirect_uri)?;
        let answer = login.ask(exchange).await?;
        let id_token = answer.id_token.ok_or(LoginError::Answer("it has no `id_token`"))?;
        let client_id = &login.config.client_id;
        let verified = self.verify_for(&id_token, Some((issuer, client_id))).await.map_err(LoginError::Token)?;
        check_id_token(&verified, client_id, &exchange.nonce, answer.access_token.as_deref())?;
        let token = match login.config.token {
            LoginToken::IdToken => id_token,
            LoginToken::AccessToken => answer.access_token.ok_or(LoginError::Answer("it has no `access_token`"))?,
        };
        let (subject, principal, expires) = self.checked_for(&token, issuer).await.map_err(LoginError::Token)?;
        if verified.claims.get("sub").and_then(Value::as_str) != Some(subject.as_str()) {
            return Err(LoginError::Answer("its two tokens are of different people"));
        }
        let done = LoginDone { token, token_type: "Bearer", expires_in_seconds: expires.saturating_sub(now()) };
        Ok((done, principal))
    }

    /// Whose login it is.
    pub fn login_issuer(&self, name: &str) -> Option<&str> {
        Some(self.issuer_name(self.login_named(name)?.0))
    }
}

/// What can be wrong before anybody is asked.
fn check(exchange: &CodeExchange) -> Result<(), LoginError> {
    let short = |text: &str| !text.is_empty() && text.len() <= TEXT_BYTES_MAX;
    let unreserved = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    if !short(&exchange.code) || !short(&exchange.nonce) {
        return Err(LoginError::Request("`code` and `nonce` must be given, and not be long"));
    }
    let verifier = &exchange.code_verifier;
    if !(43..=128).contains(&verifier.len()) || !verifier.chars().all(unreserved) {
        return Err(LoginError::Request("`codeVerifier` must have 43 to 128 letters, digits, `-`, `.`, `_` and `~`"));
    }
    Ok(())
}

/// OpenID Connect Core 3.1.3.7, beyond what every token has to have.
fn check_id_token(
    token: &Verified,
    client_id: &str,
    nonce: &str,
    access_token: Option<&str>,
) -> Result<(), LoginError> {
    let text = |name: &str| token.claims.get(name).and_then(Value::as_str);
    if text("nonce") != Some(nonce) {
        return Err(LoginError::Answer("the nonce is another"));
    }
    let several = token.claims.get("aud").and_then(Value::as_array).is_some_and(|all| all.len() > 1);
    if (several || token.claims.contains_key("azp")) && text("azp") != Some(client_id) {
        return Err(LoginError::Answer("the ID token was made for another client"));
    }
    let issued = token.claims.get("iat").and_then(Value::as_u64);
    if issued.is_none_or(|at| at > now().saturating_add(60)) {
        return Err(LoginError::Answer("the ID token does not say when it was issued"));
    }
    match (token.claims.get("at_hash"), access_token) {
        (None, _) | (_, None) => Ok(()),
        (Some(said), Some(access_token)) if said.as_str() == Some(&half_hash(token.key.algorithm, access_token)) => {
            Ok(())
        }
        _ => Err(LoginError::Answer("the access token is not the one that the ID token names")),
    }
}

/// The left half of the hash that goes with the signature's algorithm.
fn half_hash(algorithm: TokenAlgorithm, access_token: &str) -> String {
    let hash = match algorithm {
        TokenAlgorithm::Rs256 | TokenAlgorithm::Es256 => Sha256::digest(access_token).to_vec(),
        TokenAlgorithm::EdDsa => Sha512::digest(access_token).to_vec(),
    };
    URL_SAFE_NO_PAD.encode(hash.get(..hash.len() / 2).unwrap_or_default())
}

/// 256 random bits, base64url; where the system gives none, nobody can log in.
fn random() -> Result<String, LoginError> {
    let mut bytes = [0; 32];
    default_provider().secure_random.fill(&mut bytes).map_err(|_| LoginError::Unavailable)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

fn form_urlencoded(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<String> = pairs.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    pairs.join("&")
}

/// Percent-encoded but for RFC 3986's unreserved characters.
fn encoded(text: &str) -> String {
    use std::fmt::Write as _;
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
        out
    })
}
