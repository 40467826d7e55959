//! Checking bearer tokens (JWT, RFC 7519, RFC 8725).

mod claims;
mod revoke;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::Principal;
use super::binding::Binding;
use super::keys::{KEY_ID_BYTES_MAX, Key, KeyRing, Stale, accepted, http};
use super::login::Login;
use super::revocation::Revocations;
use crate::model::access::ClientCertificate;
use crate::model::config::{ClaimType, GatewayConfig, Issuer, TokenAlgorithm};
use claims::{actors, fits, pointer, roles, seconds, without_empty};
pub use revoke::{RevocationOrder, Revoked};

/// Bytes of one token; a longer one is refused unread.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Checked tokens kept, so at most 32 MiB.
const CACHE_TOKENS_MAX: u64 = 4_096;
/// A checked token that nobody shows for so long is forgotten.
const CACHE_IDLE: Duration = Duration::from_secs(600);
/// How far clocks may be apart.
const LEEWAY_SECONDS: u64 = 30;
/// After keys could not be fetched.
const RETRY_EVERY: Duration = Duration::from_secs(15);
/// Bytes of a token's `jti`.
const TOKEN_ID_BYTES_MAX: usize = 256;

/// Why a token is not accepted. The text is for the caller and names nothing the token does not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    /// The `Authorization` header is not `Bearer <token>`.
    NotBearer,
    Malformed,
    Algorithm,
    Issuer,
    Key,
    Signature,
    Expired,
    NotYetValid,
    Audience,
    /// The token is bound to a key or certificate that this connection has not shown.
    Binding,
    /// The token, its principal's tokens, or the key that signed it were revoked.
    Revoked,
    /// It is valid for longer than its issuer's tokens may be.
    TooLong,
    /// Keys or revocations cannot be had now, so nobody's token counts.
    Unavailable,
    /// A claim is missing or not of its declared type.
    Claim(String),
}

impl std::fmt::Display for AuthError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::NotBearer => "the Authorization header is not `Bearer <token>`",
            Self::Malformed => "the token is not a signed JWT",
            Self::Algorithm => "the token's algorithm is not accepted from its issuer",
            Self::Issuer => "the token's issuer is not accepted here",
            Self::Key => "the token's signing key is not known",
            Self::Signature => "the token's signature does not fit",
            Self::Expired => "the token has expired; get a new one",
            Self::NotYetValid => "the token is not valid yet",
            Self::Audience => "the token is for another audience",
            Self::Binding => "the token is bound to a client certificate that this connection does not have",
            Self::Revoked => "the token was revoked; get a new one",
            Self::TooLong => "the token is valid for longer than is accepted from its issuer",
            Self::Unavailable => "tokens cannot be checked now; try again later",
            Self::Claim(name) => return write!(f, "the token's claim `{name}` is missing or of the wrong type"),
        })
    }
}

impl std::error::Error for AuthError {}

struct KnownIssuer {
    config: Issuer,
    keys: KeyRing,
    login: Option<Login>,
}

/// Why no key fits.
struct Failed {
    error: AuthError,
    /// A key that was not fetched yet might.
    new_key: bool,
}

impl KnownIssuer {
    fn verify(
        &self,
        token: &str,
        algorithm: TokenAlgorithm,
        id: Option<&str>,
        audience: &str,
    ) -> Result<(Map<String, Value>, Arc<Key>), Failed> {
        let remote = self.keys.is_remote();
        let candidates = self.keys.candidates(algorithm, id);
        let candidates = candidates.map_err(|Stale| Failed { error: AuthError::Unavailable, new_key: true })?;
        let known = id.is_some_and(|id| candidates.iter().any(|key| key.id.as_deref() == Some(id)));
        let rules = validation(algorithm, &self.config.issuer, audience);
        let mut error = AuthError::Key;
        for candidate in candidates {
            match decode::<Map<String, Value>>(token, &candidate.key, &rules) {
                Ok(data) => return Ok((data.claims, candidate)),
                Err(failed) => error = explain(&failed),
            }
            // The signature fits, so no other key's will.
            if error != AuthError::Signature {
                return Err(Failed { error, new_key: false });
            }
        }
        Err(Failed { error, new_key: remote && !known })
    }

    async fn keep_fresh(&self) {
        let Some(mut wait) = self.keys.refreshed_after() else { return };
        loop {
            tokio::time::sleep(wait).await;
            let fetched = self.keys.refresh(false).await;
            let after = self.keys.refreshed_after().unwrap_or(RETRY_EVERY);
            wait = match fetched {
                Ok(_) => after,
                Err(fault) => {
                    let issuer = self.config.issuer.as_str();
                    tracing::warn!(issuer, fault, "token keys could not be fetched; those fetched before stay a while");
                    after.min(RETRY_EVERY)
                }
            };
        }
    }
}

/// What is kept of a token whose signature and claims are good.
struct Checked {
    principal: Principal,
    binding: Binding,
    token_id: Option<String>,
    /// Seconds since 1970, as `expires`.
    issued: u64,
    expires: u64,
    /// Which of the issuers, and which of its keys: both are looked at anew for each request.
    issuer: usize,
    key: Arc<Key>,
}

/// A signature that fits, and what it stands under.
pub(super) struct Verified {
    pub claims: Map<String, Value>,
    issuer: usize,
    pub key: Arc<Key>,
}

/// Checks tokens against the configured issuers. Share one: it keeps the checked tokens.
pub struct Verifier {
    issuers: Vec<KnownIssuer>,
    claims: BTreeMap<String, ClaimType>,
    cache: moka::sync::Cache<Box<str>, Arc<Checked>>,
    revocations: Option<Revocations>,
}

impl Verifier {
    /// Reads the key files; keys behind URLs come with [`Self::refresh`]. The error names issuer and key.
    ///
    /// It knows of no revocations: what serves is made by [`Self::open`].
    pub fn load(config: &GatewayConfig) -> Result<Self, String> {
        let egress = Arc::new(config.egress.clone());
        let mut issuers = Vec::new();
        for issuer in &config.issuers {
            let keys = KeyRing::load(issuer, &egress).map_err(|e| format!("issuer {}: {e}", issuer.issuer))?;
            let login = match &issuer.login {
                Some(login) => {
                    let made = http(issuer, &egress).and_then(|http| Login::new(login, &http));
                    Some(made.map_err(|e| format!("issuer {}: {e}", issuer.issuer))?)
                }
                None => None,
            };
            issuers.push(KnownIssuer { config: issuer.clone(), keys, login });
        }
        let cache = moka::sync::Cache::builder().max_capacity(CACHE_TOKENS_MAX).time_to_idle(CACHE_IDLE).build();
        Ok(Self { issuers, claims: config.claims.clone(), cache, revocations: None })
    }

    /// As [`Self::load`], with the revocation list: opened, or made where there is none yet.
    pub async fn open(config: &GatewayConfig) -> Result<Self, String> {
        let revocations = Revocations::open(&config.revocations).await.map_err(|error| error.to_string())?;
        Ok(Self { revocations: Some(revocations), ..Self::load(config)? })
    }

    /// Fetches the key sets that come from URLs. Keys fetched before stay where a fetch fails; the faults are told.
    pub async fn refresh(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for issuer in &self.issuers {
            if let Err(fault) = issuer.keys.refresh(false).await {
                faults.push(format!("issuer {}: {fault}", issuer.config.issuer));
            }
        }
        faults
    }

    /// Keeps keys and the revocation list fresh, for ever; run it as a task of its own.
    pub async fn keep_fresh(self: Arc<Self>) {
        let keys = futures::future::join_all(self.issuers.iter().map(KnownIssuer::keep_fresh));
        let revocations = async {
            if let Some(list) = &self.revocations {
                list.keep_fresh().await;
            }
        };
        futures::future::join(keys, revocations).await;
    }

    /// The principal behind an `Authorization` header; `None` where there is no header. A token that is bound to a
    /// certificate counts only with that one.
    pub async fn authenticate(
        &self,
        header: Option<&[u8]>,
        certificate: Option<&ClientCertificate>,
    ) -> Result<Option<Principal>, AuthError> {
        let Some(header) = header else { return Ok(None) };
        let text = std::str::from_utf8(header).map_err(|_| AuthError::NotBearer)?.trim();
        let (scheme, token) = text.split_once(' ').ok_or(AuthError::NotBearer)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(AuthError::NotBearer);
        }
        let checked = self.check(token.trim_start(), now()).await?;
        if checked.binding.holds(certificate) { Ok(Some(checked.principal.clone())) } else { Err(AuthError::Binding) }
    }

    /// Whether the token of an `Authorization` header was checked before and is kept: looking at it again costs nothing.
    pub fn knows(&self, header: &[u8]) -> bool {
        let token =
            std::str::from_utf8(header).ok().and_then(|text| text.trim().split_once(' ')).map(|(_, token)| token);
        token.is_some_and(|token| self.cache.contains_key(token.trim_start()))
    }

    async fn check(&self, token: &str, now: u64) -> Result<Arc<Checked>, AuthError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(AuthError::Malformed);
        }
        // The cache compares the whole token.
        let checked = match self.cache.get(token).filter(|checked| self.is_current(checked)) {
            Some(checked) => checked,
            None => {
                let verified = self.verify(token).await?;
                let checked = Arc::new(self.read(verified, now)?);
                self.cache.insert(token.into(), Arc::clone(&checked));
                checked
            }
        };
        if now > checked.expires.saturating_add(LEEWAY_SECONDS) {
            self.cache.invalidate(token);
            return Err(AuthError::Expired);
        }
        self.not_revoked(&checked)?;
        Ok(checked)
    }

    /// Whether the key that signed a checked token still counts.
    fn is_current(&self, checked: &Checked) -> bool {
        self.issuers.get(checked.issuer).is_some_and(|issuer| issuer.keys.holds(&checked.key.print))
    }

    async fn verify(&self, token: &str) -> Result<Verified, AuthError> {
        self.verify_for(token, None).await
    }

    /// The login of that name, and whose it is.
    pub(super) fn login_named(&self, name: &str) -> Option<(usize, &Login)> {
        let named = |(at, known): (usize, &'_ KnownIssuer)| {
            known.login.as_ref().is_some_and(|login| login.name() == name).then_some(at)
        };
        let at = self.issuers.iter().enumerate().find_map(named)?;
        Some((at, self.issuers.get(at)?.login.as_ref()?))
    }

    pub(super) fn issuer_name(&self, at: usize) -> &str {
        self.issuers.get(at).map_or("", |known| &known.config.issuer)
    }

    /// A token of this issuer, good in every respect: its `sub`, whose it is, and when it expires.
    pub(super) async fn checked_for(&self, token: &str, issuer: usize) -> Result<(String, Principal, u64), AuthError> {
        let checked = self.check(token, now()).await?;
        if checked.issuer != issuer {
            return Err(AuthError::Issuer);
        }
        // Its signature is good; `sub` may be another claim than the principal's id.
        let claims: Map<String, Value> =
            jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| AuthError::Malformed)?;
        let subject = claims.get("sub").and_then(Value::as_str).ok_or_else(|| AuthError::Claim("sub".to_owned()))?;
        Ok((subject.to_owned(), checked.principal.clone(), checked.expires))
    }

    /// Checks signature, issuer, audience and times. `only`: of this issuer, and for this audience instead of its own.
    pub(super) async fn verify_for(&self, token: &str, only: Option<(usize, &str)>) -> Result<Verified, AuthError> {
        let header = decode_header(token).map_err(|_| AuthError::Malformed)?;
        let algorithm = accepted(header.alg).ok_or(AuthError::Algorithm)?;
        let long = header.kid.as_ref().is_some_and(|id| id.len() > KEY_ID_BYTES_MAX);
        if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() || long {
            return Err(AuthError::Malformed);
        }
        // Unchecked, and used only to choose whose keys to check with; the check compares it again.
        let claims: Map<String, Value> =
            jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| AuthError::Malformed)?;
        let named = claims.get("iss").and_then(Value::as_str);
        let at = self.issuers.iter().position(|known| Some(known.config.issuer.as_str()) == named);
        let (at, issuer) = at.and_then(|at| Some((at, self.issuers.get(at)?))).ok_or(AuthError::Issuer)?;
        if only.is_some_and(|(of, _)| of != at) {
            return Err(AuthError::Issuer);
        }
        let audience = only.map_or(issuer.config.audience.as_str(), |(_, audience)| audience);
        if !issuer.config.algorithms.contains(&algorithm) {
            return Err(AuthError::Algorithm);
        }
        let mut tried = issuer.verify(token, algorithm, header.kid.as_deref(), audience);
        // The key may be a new one. A token cannot have keys fetched more often than the limits allow.
        if matches!(tried, Err(Failed { new_key: true, .. })) {
            match issuer.keys.refresh(true).await {
                // Also where another request has just fetched them.
                Ok(_) => tried = issuer.verify(token, algorithm, header.kid.as_deref(), audience),
                Err(fault) => tracing::warn!(issuer = issuer.config.issuer, fault, "token keys could not be fetched"),
            }
        }
        let (claims, key) = tried.map_err(|failed| failed.error)?;
        Ok(Verified { claims, issuer: at, key })
    }

    /// The principal of a token whose signature is good, if its claims are.
    fn read(&self, verified: Verified, now: u64) -> Result<Checked, AuthError> {
        let Verified { claims: token, issuer: at, key } = verified;
        let token = &token;
        let issuer = &self.issuers.get(at).ok_or(AuthError::Issuer)?.config;
        let read = |name: &str, standard: &str| {
            let place = issuer.claims.get(name).map_or(standard, String::as_str);
            if place.starts_with('/') { pointer(token, place) } else { token.get(place) }
        };
        let wrong = |name: &str| AuthError::Claim(name.to_owned());
        let id = read("id", "sub").and_then(Value::as_str).filter(|id| !id.is_empty()).ok_or_else(|| wrong("sub"))?;
        let roles = roles(read("roles", "roles")).ok_or_else(|| wrong("roles"))?;
        let mut claims = Map::new();
        for (name, kind) in &self.claims {
            match read(name, name) {
                // A list that is null names nobody and nothing; it is not a list that was left out.
                Some(Value::Null) if *kind == ClaimType::Texts => {
                    claims.insert(name.clone(), Value::Array(Vec::new()));
                }
                None | Some(Value::Null) => {}
                Some(value) if fits(value, *kind) => {
                    claims.extend(without_empty(value).map(|value| (name.clone(), value)));
                }
                Some(_) => return Err(wrong(name)),
            }
        }
        let expires = token.get("exp").and_then(seconds).ok_or_else(|| wrong("exp"))?;
        // Without it nobody knows how long it lives, nor for how long its revocation has to be kept.
        let issued = token.get("iat").and_then(seconds).ok_or_else(|| wrong("iat"))?;
        if issued > now.saturating_add(LEEWAY_SECONDS) {
            return Err(AuthError::NotYetValid);
        }
        if expires.saturating_sub(issued) > life_seconds_max(issuer) {
            return Err(AuthError::TooLong);
        }
        let token_id = match token.get("jti") {
            None => None,
            Some(Value::String(id)) if id.len() <= TOKEN_ID_BYTES_MAX => Some(id.clone()),
            Some(_) => return Err(wrong("jti")),
        };
        let actors = actors(token.get("act")).ok_or_else(|| wrong("act"))?;
        let principal = Principal { id: id.to_owned(), issuer: issuer.issuer.clone(), roles, actors, claims };
        Ok(Checked { principal, binding: Binding::of(token)?, token_id, issued, expires, issuer: at, key })
    }
}

/// From its `iat` to its `exp`.
fn life_seconds_max(issuer: &Issuer) -> u64 {
    issuer.token_minutes_max.saturating_mul(60).saturating_add(LEEWAY_SECONDS)
}

fn validation(algorithm: TokenAlgorithm, issuer: &str, audience: &str) -> Validation {
    let mut rules = Validation::new(match algorithm {
        TokenAlgorithm::Rs256 => Algorithm::RS256,
        TokenAlgorithm::Es256 => Algorithm::ES256,
        TokenAlgorithm::EdDsa => Algorithm::EdDSA,
    });
    rules.leeway = LEEWAY_SECONDS;
    rules.validate_nbf = true;
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    rules.set_audience(&[audience]);
    rules.set_issuer(&[issuer]);
    rules
}

fn explain(error: &jsonwebtoken::errors::Error) -> AuthError {
    use jsonwebtoken::errors::ErrorKind;
    match error.kind() {
        ErrorKind::ExpiredSignature => AuthError::Expired,
        ErrorKind::ImmatureSignature => AuthError::NotYetValid,
        ErrorKind::InvalidAudience => AuthError::Audience,
        ErrorKind::InvalidIssuer => AuthError::Issuer,
        ErrorKind::InvalidAlgorithm => AuthError::Algorithm,
        ErrorKind::MissingRequiredClaim(name) => AuthError::Claim(name.clone()),
        ErrorKind::InvalidClaimFormat(name) => AuthError::Claim(name.clone()),
        ErrorKind::Json(_) | ErrorKind::Base64(_) | ErrorKind::Utf8(_) | ErrorKind::InvalidToken => {
            AuthError::Malformed
        }
        _ => AuthError::Signature,
    }
}

pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
