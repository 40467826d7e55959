//! The keys of one issuer: PEM files, JWKS files, JWKS from a URL.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};

use crate::model::config::{Issuer, JwksFrom, Pem, TokenAlgorithm};

/// Bytes of one JWKS document.
const JWKS_BYTES_MAX: usize = 1 << 20;
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// Keys are fetched again for an unknown `kid` at most this often.
const FETCH_PAUSE: Duration = Duration::from_secs(30);

/// One public key and the only algorithm it is used with.
pub struct Key {
    pub id: Option<String>,
    pub algorithm: TokenAlgorithm,
    pub key: DecodingKey,
}

/// An issuer's keys; those from a URL change while running.
pub struct KeyRing {
    fixed: Vec<Arc<Key>>,
    fetched: RwLock<Vec<Arc<Key>>>,
    url: Option<String>,
    last_fetch: tokio::sync::Mutex<Option<Instant>>,
}

impl KeyRing {
    /// Reads the issuer's files. The error says which key is not usable and why.
    pub fn load(issuer: &Issuer) -> Result<Self, String> {
        let mut fixed = Vec::new();
        for pem in &issuer.keys {
            fixed.push(Arc::new(from_pem(pem, &issuer.algorithms)?));
        }
        let mut url = None;
        match &issuer.jwks {
            Some(JwksFrom::File(path)) => {
                let text = std::fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
                fixed.extend(parse_jwks(&text).map_err(|e| format!("{}: {e}", path.display()))?);
            }
            Some(JwksFrom::Url(at)) => url = Some(at.clone()),
            None => {}
        }
        Ok(Self { fixed, fetched: RwLock::default(), url, last_fetch: tokio::sync::Mutex::default() })
    }

    /// Keys that a token with this algorithm and key id may be signed by. A key id that is known names the only
    /// candidate; keys without an id (PEM) are candidates for every token.
    pub fn candidates(&self, algorithm: TokenAlgorithm, id: Option<&str>) -> Vec<Arc<Key>> {
        let fetched = self.fetched.read().unwrap_or_else(PoisonError::into_inner);
        let usable: Vec<_> =
            self.fixed.iter().chain(fetched.iter()).filter(|key| key.algorithm == algorithm).cloned().collect();
        let Some(id) = id else { return usable };
        let named: Vec<_> = usable.iter().filter(|key| key.id.as_deref() == Some(id)).cloned().collect();
        if named.is_empty() { usable.into_iter().filter(|key| key.id.is_none()).collect() } else { named }
    }

    /// Whether an unknown key may be had by fetching again.
    pub fn is_fetched(&self) -> bool {
        self.url.is_some()
    }

    /// Fetches the keys anew, unless that was done just now (`force`: in any case). `Ok(true)`: they were replaced.
    pub async fn refresh(&self, force: bool) -> Result<bool, String> {
        let Some(url) = &self.url else { return Ok(false) };
        let mut last = self.last_fetch.lock().await;
        if !force && last.is_some_and(|at| at.elapsed() < FETCH_PAUSE) {
            return Ok(false);
        }
        *last = Some(Instant::now());
        let body = fetch(url).await.map_err(|e| format!("{url}: {e}"))?;
        let keys = parse_jwks(&body).map_err(|e| format!("{url}: {e}"))?;
        *self.fetched.write().unwrap_or_else(PoisonError::into_inner) = keys;
        Ok(true)
    }
}

async fn fetch(url: &str) -> Result<Vec<u8>, String> {
    let client = reqwest::Client::builder()
        .timeout(FETCH_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|e| e.to_string())?;
    let mut answer = client.get(url).send().await.map_err(|e| e.without_url().to_string())?;
    if !answer.status().is_success() {
        return Err(format!("answered {}", answer.status()));
    }
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(|e| e.without_url().to_string())? {
        if body.len() + chunk.len() > JWKS_BYTES_MAX {
            return Err(format!("the key set is larger than {JWKS_BYTES_MAX} bytes"));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
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
            return Ok(Key { id: None, algorithm, key });
        }
    }
    Err(format!("{pem:?} holds no public key for RS256, ES256 or EdDSA"))
}

/// Keys of other types or uses are passed over, as RFC 7517 asks; a set without a usable key is an error.
fn parse_jwks(text: &[u8]) -> Result<Vec<Arc<Key>>, String> {
    let set: JwkSet = serde_json::from_slice(text).map_err(|e| format!("not a JWKS: {e}"))?;
    let keys: Vec<_> = set.keys.iter().filter_map(from_jwk).map(Arc::new).collect();
    if keys.is_empty() { Err("the set holds no key for RS256, ES256 or EdDSA".to_owned()) } else { Ok(keys) }
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
    Some(Key { id: jwk.common.key_id.clone(), algorithm, key })
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
