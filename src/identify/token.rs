//! Checking bearer tokens (JWT, RFC 7519, RFC 8725).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use serde_json::{Map, Value};

use super::Principal;
use super::keys::{KeyRing, accepted};
use crate::model::access::ClientCertificate;
use crate::model::config::{ClaimType, GatewayConfig, Issuer, TokenAlgorithm};

/// Bytes of one token; a longer one is refused unread.
const TOKEN_BYTES_MAX: usize = 8 << 10;
/// Checked tokens kept, so at most 32 MiB.
const CACHE_TOKENS_MAX: u64 = 4_096;
/// A checked token is checked anew after this long in any case, so that a withdrawn key stops counting.
const CACHE_TIME: Duration = Duration::from_secs(300);
/// How far clocks may be apart.
const LEEWAY_SECONDS: u64 = 30;
const REFRESH_EVERY: Duration = Duration::from_secs(300);
const ROLES_MAX: usize = 64;

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
            Self::Claim(name) => return write!(f, "the token's claim `{name}` is missing or of the wrong type"),
        })
    }
}

impl std::error::Error for AuthError {}

/// What a token's `cnf` asks of the connection (RFC 7800, RFC 8705).
enum Binding {
    None,
    /// SHA-256 of the client certificate, base64url.
    Certificate(String),
}

impl Binding {
    /// A way of confirmation that is not known here could not be checked, so the token is refused.
    fn of(token: &Map<String, Value>) -> Result<Self, AuthError> {
        match token.get("cnf") {
            None => Ok(Self::None),
            Some(Value::Object(cnf)) if cnf.len() == 1 => match cnf.get("x5t#S256") {
                Some(Value::String(thumbprint)) => Ok(Self::Certificate(thumbprint.clone())),
                _ => Err(AuthError::Binding),
            },
            Some(_) => Err(AuthError::Binding),
        }
    }

    fn holds(&self, shown: Option<&ClientCertificate>) -> bool {
        match self {
            Self::None => true,
            Self::Certificate(thumbprint) => shown.is_some_and(|shown| shown.thumbprint == *thumbprint),
        }
    }
}

struct KnownIssuer {
    config: Issuer,
    keys: KeyRing,
}

struct Checked {
    principal: Principal,
    binding: Binding,
    /// Seconds since 1970.
    expires: u64,
}

/// Checks tokens against the configured issuers. Share one: it keeps the checked tokens.
pub struct Verifier {
    issuers: Vec<KnownIssuer>,
    claims: BTreeMap<String, ClaimType>,
    cache: moka::sync::Cache<Box<str>, Arc<Checked>>,
}

impl Verifier {
    /// Reads the key files; keys behind URLs come with [`Self::refresh`]. The error names issuer and key.
    pub fn load(config: &GatewayConfig) -> Result<Self, String> {
        let mut issuers = Vec::new();
        for issuer in &config.issuers {
            let keys = KeyRing::load(issuer).map_err(|e| format!("issuer {}: {e}", issuer.issuer))?;
            issuers.push(KnownIssuer { config: issuer.clone(), keys });
        }
        let cache = moka::sync::Cache::builder().max_capacity(CACHE_TOKENS_MAX).time_to_live(CACHE_TIME).build();
        Ok(Self { issuers, claims: config.claims.clone(), cache })
    }

    /// Fetches the key sets that come from URLs. Keys fetched before stay where a fetch fails; the faults are told.
    pub async fn refresh(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for issuer in &self.issuers {
            match issuer.keys.refresh(true).await {
                Ok(true) => self.cache.invalidate_all(),
                Ok(false) => {}
                Err(fault) => faults.push(format!("issuer {}: {fault}", issuer.config.issuer)),
            }
        }
        faults
    }

    /// Refreshes for ever; run it as a task of its own.
    pub async fn keep_fresh(self: Arc<Self>) {
        if !self.issuers.iter().any(|issuer| issuer.keys.is_fetched()) {
            return;
        }
        loop {
            tokio::time::sleep(REFRESH_EVERY).await;
            for fault in self.refresh().await {
                tracing::warn!(fault, "token keys could not be fetched; the ones fetched before stay");
            }
        }
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
        if let Some(checked) = self.cache.get(token) {
            if now <= checked.expires.saturating_add(LEEWAY_SECONDS) {
                return Ok(checked);
            }
            self.cache.invalidate(token);
            return Err(AuthError::Expired);
        }
        let (claims, issuer) = self.verify(token).await?;
        let checked = Arc::new(self.principal(&claims, issuer)?);
        self.cache.insert(token.into(), Arc::clone(&checked));
        Ok(checked)
    }

    async fn verify(&self, token: &str) -> Result<(Map<String, Value>, &Issuer), AuthError> {
        let header = decode_header(token).map_err(|_| AuthError::Malformed)?;
        let algorithm = accepted(header.alg).ok_or(AuthError::Algorithm)?;
        if header.crit.is_some() || header.enc.is_some() || header.zip.is_some() {
            return Err(AuthError::Malformed);
        }
        // Unchecked, and used only to choose whose keys to check with; the check compares it again.
        let claims: Map<String, Value> =
            jsonwebtoken::dangerous::insecure_decode_claims(token).map_err(|_| AuthError::Malformed)?;
        let named = claims.get("iss").and_then(Value::as_str);
        let issuer = self.issuers.iter().find(|known| Some(known.config.issuer.as_str()) == named);
        let issuer = issuer.ok_or(AuthError::Issuer)?;
        if !issuer.config.algorithms.contains(&algorithm) {
            return Err(AuthError::Algorithm);
        }
        let id = header.kid.as_deref();
        let mut candidates = issuer.keys.candidates(algorithm, id);
        if candidates.is_empty() && issuer.keys.is_fetched() {
            match issuer.keys.refresh(false).await {
                Ok(true) => self.cache.invalidate_all(),
                Ok(false) => {}
                Err(fault) => tracing::warn!(issuer = issuer.config.issuer, fault, "token keys could not be fetched"),
            }
            candidates = issuer.keys.candidates(algorithm, id);
        }
        let rules = validation(algorithm, &issuer.config);
        let mut last = AuthError::Key;
        for candidate in candidates {
            match decode::<Map<String, Value>>(token, &candidate.key, &rules) {
                Ok(data) => return Ok((data.claims, &issuer.config)),
                Err(error) => last = explain(&error),
            }
            if last != AuthError::Signature {
                break;
            }
        }
        Err(last)
    }

    fn principal(&self, token: &Map<String, Value>, issuer: &Issuer) -> Result<Checked, AuthError> {
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
        let principal = Principal { id: id.to_owned(), issuer: issuer.issuer.clone(), roles, claims };
        Ok(Checked { principal, binding: Binding::of(token)?, expires })
    }
}

fn validation(algorithm: TokenAlgorithm, issuer: &Issuer) -> Validation {
    let mut rules = Validation::new(match algorithm {
        TokenAlgorithm::Rs256 => Algorithm::RS256,
        TokenAlgorithm::Es256 => Algorithm::ES256,
        TokenAlgorithm::EdDsa => Algorithm::EdDSA,
    });
    rules.leeway = LEEWAY_SECONDS;
    rules.validate_nbf = true;
    rules.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    rules.set_audience(&[&issuer.audience]);
    rules.set_issuer(&[&issuer.issuer]);
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

/// A list of texts, or one text with roles between blanks (as OAuth scopes are written). No claim: no roles.
fn roles(value: Option<&Value>) -> Option<Vec<String>> {
    let roles: Vec<String> = match value {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => text.split_whitespace().map(str::to_owned).collect(),
        Some(Value::Array(list)) => list.iter().map(|v| v.as_str().map(str::to_owned)).collect::<Option<_>>()?,
        Some(_) => return None,
    };
    (roles.len() <= ROLES_MAX).then_some(roles)
}

fn fits(value: &Value, kind: ClaimType) -> bool {
    match kind {
        ClaimType::Text => value.is_string(),
        ClaimType::Int => value.is_i64(),
        ClaimType::Bool => value.is_boolean(),
        ClaimType::Texts => value.as_array().is_some_and(|list| list.iter().all(Value::is_string)),
    }
}

/// An empty text claims nothing: as the prefix of a division it would stand for all of them, and as an id it would be
/// equal to another that is empty.
fn without_empty(value: &Value) -> Option<Value> {
    let empty = |value: &Value| value.as_str().is_some_and(|text| text.trim().is_empty());
    match value {
        Value::Array(list) => Some(Value::Array(list.iter().filter(|value| !empty(value)).cloned().collect())),
        value => (!empty(value)).then(|| value.clone()),
    }
}

fn pointer<'a>(token: &'a Map<String, Value>, pointer: &str) -> Option<&'a Value> {
    let parsed = crate::base::pointer::Pointer::parse(pointer).ok()?;
    let (first, rest) = parsed.segments().split_first()?;
    rest.iter().try_fold(token.get(first.as_ref())?, |value, segment| value.get(segment.as_ref()))
}

/// NumericDate (RFC 7519), fractions cut.
fn seconds(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_f64().filter(|n| *n >= 0.0 && *n < 1e15).map(|n| n as u64))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
