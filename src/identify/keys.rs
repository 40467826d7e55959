//! The keys of one issuer: PEM files, JWKS files, JWKS from a URL.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use reqwest::Url;
use sha2::{Digest, Sha256};

use crate::egress::{self, Client, Http};
use crate::model::binding::connection::TlsFiles;
use crate::model::binding::connection::sign::Secret;
use crate::model::config::egress::EgressConfig;
use crate::model::config::{Issuer, JwksFrom, JwksLimits, Pem, TokenAlgorithm};

/// Bytes of one JWKS document.
const JWKS_BYTES_MAX: usize = 256 << 10;
/// Usable keys of one JWKS document.
const JWKS_KEYS_MAX: usize = 64;
const FETCH_TIMEOUT: Duration = Duration::from_secs(3);
/// Bytes of a set's entity tag.
const ETAG_BYTES_MAX: usize = 256;
/// Bytes of a key's id, in a token as in a set.
pub const KEY_ID_BYTES_MAX: usize = 256;

/// One public key and the only algorithm it is used with.
pub struct Key {
    pub id: Option<String>,
    pub algorithm: TokenAlgorithm,
    pub key: DecodingKey,
    /// SHA-256 of what was read: the same key after it was fetched again is the same key.
    pub print: [u8; 32],
}

/// The keys cannot be had now: those fetched before are too old to count.
#[derive(Debug, PartialEq, Eq)]
pub struct Stale;

/// An issuer's keys; those from a URL change while running.
pub struct KeyRing {
    fixed: Vec<Arc<Key>>,
    remote: Option<Remote>,
}

struct Remote {
    url: Url,
    client: Client,
    limits: JwksLimits,
    fetched: RwLock<Fetched>,
    /// When it was last tried. Held while a fetch is under way: there is never more than one.
    tried: tokio::sync::Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Fetched {
    keys: Vec<Arc<Key>>,
    at: Option<Instant>,
    /// What the endpoint calls this very set.
    etag: Option<HeaderValue>,
    /// How long the endpoint says that it stays as it is.
    fresh_for: Option<Duration>,
}

/// What the endpoint answered.
enum Answered {
    Set {
        keys: Vec<Arc<Key>>,
        etag: Option<HeaderValue>,
        fresh_for: Option<Duration>,
    },
    /// The set is what it was.
    Same {
        fresh_for: Option<Duration>,
    },
}

impl KeyRing {
    /// Reads the issuer's files. The error says which key is not usable and why.
    pub fn load(issuer: &Issuer, egress: &Arc<EgressConfig>) -> Result<Self, String> {
        let mut fixed = Vec::new();
        for pem in &issuer.keys {
            fixed.push(Arc::new(from_pem(pem, &issuer.algorithms)?));
        }
        let mut remote = None;
        match &issuer.jwks {
            Some(JwksFrom::File(path)) => {
                let text = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
                fixed.extend(parse_jwks(&text).map_err(|e| format!("{}: {e}", path.display()))?);
            }
            Some(JwksFrom::Url(at)) => {
                remote = Some(Remote {
                    url: Url::parse(at).map_err(|e| format!("{at}: {e}"))?,
                    client: http(issuer, egress)?.to([at.as_str()])?,
                    limits: issuer.jwks_limits,
                    fetched: RwLock::default(),
                    tried: tokio::sync::Mutex::default(),
                });
            }
            None => {}
        }
        Ok(Self { fixed, remote })
    }

    /// Keys that a token with this algorithm and key id may be signed by: those with its id; without one, all of the
    /// algorithm. Keys that have no id themselves (PEM) are candidates for every token.
    pub fn candidates(&self, algorithm: TokenAlgorithm, id: Option<&str>) -> Result<Vec<Arc<Key>>, Stale> {
        let fetched = match &self.remote {
            Some(remote) => remote.in_force(),
            None => Ok(Vec::new()),
        };
        let stale = fetched.is_err();
        let mut found: Vec<Arc<Key>> = self.fixed.iter().cloned().chain(fetched.unwrap_or_default()).collect();
        found.retain(|key| key.algorithm == algorithm);
        if let Some(id) = id {
            let named = found.iter().any(|key| key.id.as_deref() == Some(id));
            found.retain(|key| if named { key.id.as_deref() == Some(id) } else { key.id.is_none() });
        }
        if found.is_empty() && stale { Err(Stale) } else { Ok(found) }
    }

    /// Whether a key is one of these now: it was not taken away, and what was fetched is not too old.
    pub fn holds(&self, print: &[u8; 32]) -> bool {
        let remote = || self.remote.as_ref().and_then(|remote| remote.in_force().ok()).unwrap_or_default();
        self.fixed.iter().any(|key| key.print == *print) || remote().iter().any(|key| key.print == *print)
    }

    /// Where keys come from a URL: after how long they are fetched again. As soon as the endpoint says that they may be
    /// others, within the configured bounds.
    pub fn refreshed_after(&self) -> Option<Duration> {
        let remote = self.remote.as_ref()?;
        let refresh = Duration::from_millis(remote.limits.refresh_ms);
        let pause = Duration::from_millis(remote.limits.pause_ms_min);
        let fresh_for = remote.fetched.read().unwrap_or_else(PoisonError::into_inner).fresh_for;
        Some(fresh_for.map_or(refresh, |fresh_for| fresh_for.max(pause).min(refresh)))
    }

    /// Whether keys come from a URL.
    pub fn is_remote(&self) -> bool {
        self.remote.is_some()
    }

    /// Fetches the keys anew; for a token whose key is not known (`asked`) not more often than the limits allow. Who
    /// comes while a fetch is under way waits for that one. `Ok(true)`: they were fetched.
    pub async fn refresh(&self, asked: bool) -> Result<bool, String> {
        let Some(remote) = &self.remote else { return Ok(false) };
        let pause = Duration::from_millis(remote.limits.pause_ms_min);
        let came = Instant::now();
        let mut tried = remote.tried.lock().await;
        if asked && tried.is_some_and(|at| at > came || at.elapsed() < pause) {
            return Ok(false);
        }
        let fetching = tokio::time::timeout(FETCH_TIMEOUT, remote.fetch());
        *tried = Some(came);
        let ended = fetching.await;
        *tried = Some(Instant::now());
        let answered = match ended {
            Ok(fetched) => fetched.map_err(|e| format!("{}: {e}", remote.url))?,
            Err(_) => return Err(format!("{}: no answer within {} s", remote.url, FETCH_TIMEOUT.as_secs())),
        };
        let mut fetched = remote.fetched.write().unwrap_or_else(PoisonError::into_inner);
        let at = Some(Instant::now());
        match answered {
            Answered::Set { keys, etag, fresh_for } => *fetched = Fetched { keys, at, etag, fresh_for },
            Answered::Same { fresh_for } => (fetched.at, fetched.fresh_for) = (at, fresh_for),
        }
        Ok(true)
    }
}

impl Remote {
    fn in_force(&self) -> Result<Vec<Arc<Key>>, Stale> {
        let fetched = self.fetched.read().unwrap_or_else(PoisonError::into_inner);
        let stale_max = Duration::from_millis(self.limits.stale_ms_max);
        if fetched.at.is_some_and(|at| at.elapsed() <= stale_max) { Ok(fetched.keys.clone()) } else { Err(Stale) }
    }

    async fn fetch(&self) -> Result<Answered, String> {
        let request = egress::request(Method::GET, &self.url).map_err(|e| e.to_string())?;
        let known = self.fetched.read().unwrap_or_else(PoisonError::into_inner).etag.clone();
        let request = match &known {
            Some(etag) => request.header(header::IF_NONE_MATCH, etag.clone()),
            None => request,
        };
        let request = request.body(Bytes::new()).map_err(|e| e.to_string())?;
        let answer = self.client.send(request).await.map_err(|e| e.to_string())?;
        let fresh_for = fresh_for(answer.headers());
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_MODIFIED if known.is_some() => return Ok(Answered::Same { fresh_for }),
            status => return Err(format!("answered {status}; redirects are not followed")),
        }
        let etag = answer.headers().get(header::ETAG).filter(|etag| etag.len() <= ETAG_BYTES_MAX).cloned();
        let (_, set) = answer.bytes(JWKS_BYTES_MAX).await.map_err(|e| e.to_string())?;
        let keys = parse_jwks(&set)?;
        Ok(Answered::Set { keys, etag, fresh_for })
    }
}

/// `max-age` of Cache-Control, less the answer's age.
fn fresh_for(headers: &HeaderMap) -> Option<Duration> {
    let values = headers.get_all(header::CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    let max_age = values.flat_map(|value| value.split(',')).find_map(|directive| {
        let (name, value) = directive.trim().split_once('=')?;
        name.eq_ignore_ascii_case("max-age").then(|| value.trim().trim_matches('"').parse::<u64>().ok())?
    })?;
    let age = headers.get(header::AGE).and_then(|age| age.to_str().ok()?.parse::<u64>().ok());
    Some(Duration::from_secs(max_age.saturating_sub(age.unwrap_or(0))))
}

/// Connections to the issuer's own hosts.
pub(super) fn http(issuer: &Issuer, egress: &Arc<EgressConfig>) -> Result<Http, String> {
    let mut tls = TlsFiles::default();
    if let Some(ca) = &issuer.ca {
        let pem = ca.read().map_err(|e| e.to_string())?;
        tls.ca = Some(Secret::new(String::from_utf8(pem).map_err(|_| "`ca` is not PEM".to_owned())?));
    }
    Http::new(&tls, egress)
}

/// A PEM public key is used with the listed algorithm of its own type.
fn from_pem(pem: &Pem, algorithms: &[TokenAlgorithm]) -> Result<Key, String> {
    let bytes = pem.read().map_err(|e| e.to_string())?;
    type Reader = fn(&[u8]) -> jsonwebtoken::errors::Result<DecodingKey>;
    let readers: [(TokenAlgorithm, Reader); 3] = [
        (TokenAlgorithm::Rs256, DecodingKey::from_rsa_pem),
        (TokenAlgorithm::Es256, DecodingKey::from_ec_pem),
        (TokenAlgorithm::EdDsa, DecodingKey::from_ed_pem),
    ];
    for (algorithm, reader) in readers {
        if let Ok(key) = reader(&bytes) {
            if !algorithms.contains(&algorithm) {
                return Err(format!("{pem:?} is a key for {algorithm:?}, which the issuer does not list"));
            }
            return Ok(Key { id: None, algorithm, key, print: Sha256::digest(&bytes).into() });
        }
    }
    Err(format!("{pem:?} holds no public key for RS256, ES256 or EdDSA"))
}

/// Keys of other types or uses are passed over, as RFC 7517 asks; a set without a usable key is an error.
fn parse_jwks(text: &[u8]) -> Result<Vec<Arc<Key>>, String> {
    let set: JwkSet = serde_json::from_slice(text).map_err(|e| format!("not a JWKS: {e}"))?;
    let keys: Vec<_> = set.keys.iter().filter_map(from_jwk).take(JWKS_KEYS_MAX + 1).map(Arc::new).collect();
    match keys.len() {
        0 => Err("the set holds no key for RS256, ES256 or EdDSA".to_owned()),
        1..=JWKS_KEYS_MAX => Ok(keys),
        _ => Err(format!("the set holds more than {JWKS_KEYS_MAX} keys")),
    }
}

fn from_jwk(jwk: &Jwk) -> Option<Key> {
    if !matches!(jwk.common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return None;
    }
    let algorithm = match &jwk.algorithm {
        AlgorithmParameters::RSA(_) => TokenAlgorithm::Rs256,
        AlgorithmParameters::EllipticCurve(ec) if ec.curve == EllipticCurve::P256 => TokenAlgorithm::Es256,
        AlgorithmParameters::OctetKeyPair(pair) if pair.curve == EllipticCurve::Ed25519 => TokenAlgorithm::EdDsa,
        _ => return None,
    };
    if jwk.common.key_algorithm.is_some_and(|named| named.to_string() != algorithm_name(algorithm)) {
        return None;
    }
    let key = DecodingKey::from_jwk(jwk).ok()?;
    let id = jwk.common.key_id.clone();
    if id.as_ref().is_some_and(|id| id.len() > KEY_ID_BYTES_MAX) {
        return None;
    }
    let print = Sha256::digest(serde_json::to_vec(jwk).ok()?).into();
    Some(Key { id, algorithm, key, print })
}

/// As in a token's header.
pub fn algorithm_name(algorithm: TokenAlgorithm) -> &'static str {
    match algorithm {
        TokenAlgorithm::Rs256 => "RS256",
        TokenAlgorithm::Es256 => "ES256",
        TokenAlgorithm::EdDsa => "EdDSA",
    }
}

/// The allow-list: what is not in it is refused before any key is looked at.
pub fn accepted(algorithm: Algorithm) -> Option<TokenAlgorithm> {
    match algorithm {
        Algorithm::RS256 => Some(TokenAlgorithm::Rs256),
        Algorithm::ES256 => Some(TokenAlgorithm::Es256),
        Algorithm::EdDSA => Some(TokenAlgorithm::EdDsa),
        _ => None,
    }
}
