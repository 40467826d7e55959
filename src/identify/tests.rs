use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Map, Value, json};

use super::*;
use crate::base::fault::{Faults, SourceText};
use crate::model::config::{GatewayConfig, Issuer, Networks, Pem};

/// A private key and its public key, PEM, made anew for every run.
type Pair = LazyLock<(String, String)>;

static ED: Pair = LazyLock::new(|| pair(&rcgen::PKCS_ED25519));
static EC: Pair = LazyLock::new(|| pair(&rcgen::PKCS_ECDSA_P256_SHA256));
static RSA: Pair = LazyLock::new(|| pair(&rcgen::PKCS_RSA_SHA256));

fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
    let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
    (key.serialize_pem(), key.public_key_pem())
}

fn config(algorithms: &str, keys: &[&str]) -> GatewayConfig {
    let names: Vec<String> = (0..keys.len()).map(|n| format!("'${{KEY{n}}}'")).collect();
    let text = format!(
        "listen: 127.0.0.1:1\nprincipal: {{claims: {{household: string, divisions: [string]}}}}\nissuers:\n  \
         - {{issuer: https://id, audience: huxiang, algorithms: [{algorithms}], keys: [{}], demo: true, \
         signing_key: '${{SIGN}}', claims: {{household: /about/hh}}}}\naudit: {{store: a, key: '{}'}}\n",
        names.join(", "),
        "k".repeat(32)
    );
    let variables = |name: &str| match name.strip_prefix("KEY") {
        Some(n) => keys.get(n.parse::<usize>().ok()?).map(|key| (*key).to_owned()),
        None => Some(ED.0.clone()),
    };
    let mut faults = Faults::default();
    let file = SourceText::new("gateway.yaml", text);
    GatewayConfig::parse(&file, Path::new("."), &variables, &mut faults)
        .unwrap_or_else(|| panic!("{}", faults.render()))
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

fn claims() -> Value {
    json!({"iss": "https://id", "aud": "huxiang", "sub": "zhang", "iat": now(), "exp": now() + 60, "roles": ["cadre"],
           "divisions": ["331122"], "about": {"hh": "3311"}, "secret": "not declared"})
}

fn with(change: Value) -> Value {
    let mut all = claims();
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            all.as_object_mut().unwrap().remove(name);
        } else {
            all[name] = value.clone();
        }
    }
    all
}

fn ed(claims: &Value) -> String {
    encode(&Header::new(Algorithm::EdDSA), claims, &EncodingKey::from_ed_pem(ED.0.as_bytes()).unwrap()).unwrap()
}

async fn ask(verifier: &Verifier, token: &str) -> Result<Option<Principal>, AuthError> {
    verifier.authenticate(Some(format!("Bearer {token}").as_bytes()), None).await
}

#[tokio::test]
async fn a_good_token_gives_the_principal_with_declared_claims_only() {
    let verifier = Verifier::load(&config("EdDSA", &[&ED.1])).unwrap();
    for _ in 0..2 {
        let principal = ask(&verifier, &ed(&claims())).await.unwrap().unwrap();
        assert_eq!((principal.id.as_str(), principal.roles), ("zhang", vec!["cadre".to_owned()]));
        assert_eq!(Value::Object(principal.claims), json!({"divisions": ["331122"], "household": "3311"}));
    }
    assert_eq!(verifier.authenticate(None, None).await.unwrap(), None);
}

#[tokio::test]
async fn an_empty_claim_claims_nothing() {
    let verifier = Verifier::load(&config("EdDSA", &[&ED.1])).unwrap();
    for (divisions, kept) in
        [(json!(null), json!([])), (json!([""]), json!([])), (json!(["331122", " ", ""]), json!(["331122"]))]
    {
        let mut claims = with(json!({"about": {"hh": ""}}));
        claims["divisions"] = divisions;
        let token = ed(&claims);
        let principal = ask(&verifier, &token).await.unwrap().unwrap();
        assert_eq!(Value::Object(principal.claims), json!({"divisions": kept}));
    }
}

#[tokio::test]
async fn each_accepted_algorithm_works_with_its_own_key_type() {
    let verifier = Verifier::load(&config("RS256, ES256, EdDSA", &[&ED.1, &EC.1, &RSA.1])).unwrap();
    let ec = EncodingKey::from_ec_pem(EC.0.as_bytes()).unwrap();
    let rsa = EncodingKey::from_rsa_pem(RSA.0.as_bytes()).unwrap();
    let es256 = encode(&Header::new(Algorithm::ES256), &claims(), &ec).unwrap();
    let rs256 = encode(&Header::new(Algorithm::RS256), &claims(), &rsa).unwrap();
    for token in [ed(&claims()), es256, rs256] {
        assert!(ask(&verifier, &token).await.unwrap().is_some());
    }
    let ps256 = encode(&Header::new(Algorithm::PS256), &claims(), &rsa).unwrap();
    assert_eq!(ask(&verifier, &ps256).await, Err(AuthError::Algorithm));
}

#[tokio::test]
async fn shared_secrets_and_no_signature_are_refused_even_with_the_public_key_as_secret() {
    let verifier = Verifier::load(&config("RS256, EdDSA", &[&ED.1, &RSA.1])).unwrap();
    for secret in [ED.1.as_bytes(), RSA.1.as_bytes(), b""] {
        let token = encode(&Header::new(Algorithm::HS256), &claims(), &EncodingKey::from_secret(secret)).unwrap();
        assert_eq!(ask(&verifier, &token).await, Err(AuthError::Algorithm));
    }
    for alg in ["none", "None", "NONE"] {
        let none = format!("{}.{}.", B64.encode(format!("{{\"alg\":\"{alg}\"}}")), B64.encode(claims().to_string()));
        assert_eq!(ask(&verifier, &none).await, Err(AuthError::Malformed));
    }
}

#[tokio::test]
async fn an_algorithm_the_issuer_does_not_list_is_refused() {
    let verifier = Verifier::load(&config("RS256", &[&RSA.1])).unwrap();
    assert_eq!(ask(&verifier, &ed(&claims())).await, Err(AuthError::Algorithm));
    assert!(Verifier::load(&config("RS256", &[&ED.1])).is_err());
}

#[tokio::test]
async fn wrong_claims_are_refused_each_with_its_reason() {
    let verifier = Verifier::load(&config("EdDSA", &[&ED.1])).unwrap();
    let claim = |name: &str| AuthError::Claim(name.to_owned());
    for (change, reason) in [
        (json!({"exp": now() - 31}), AuthError::Expired),
        (json!({"nbf": now() + 40}), AuthError::NotYetValid),
        (json!({"aud": "other"}), AuthError::Audience),
        (json!({"iss": "https://other"}), AuthError::Issuer),
        (json!({"exp": null}), claim("exp")),
        (json!({"iat": null}), claim("iat")),
        (json!({"iat": -1}), claim("iat")),
        (json!({"iat": now() + 40}), AuthError::NotYetValid),
        (json!({"aud": null}), claim("aud")),
        (json!({"sub": null}), claim("sub")),
        (json!({"sub": ""}), claim("sub")),
        (json!({"divisions": "331122"}), claim("divisions")),
        (json!({"roles": [1]}), claim("roles")),
    ] {
        assert_eq!(ask(&verifier, &ed(&with(change.clone()))).await.unwrap_err(), reason, "{change}");
    }
    assert!(
        ask(&verifier, &ed(&with(json!({"exp": now() - 20, "nbf": now() + 20, "aud": ["x", "huxiang"]}))))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_changed_token_does_not_pass_for_a_checked_one() {
    let verifier = Verifier::load(&config("EdDSA", &[&ED.1])).unwrap();
    let token = ed(&claims());
    assert!(ask(&verifier, &token).await.is_ok());
    let other = ed(&with(json!({"roles": ["supervisor"]})));
    let (head, signature) = token.rsplit_once('.').unwrap();
    let (other_head, _) = other.rsplit_once('.').unwrap();
    assert_eq!(ask(&verifier, &format!("{other_head}.{signature}")).await, Err(AuthError::Signature));
    for bad in [head.to_owned(), "a.b.c".to_owned(), "x".repeat(9_000)] {
        assert_eq!(ask(&verifier, &bad).await, Err(AuthError::Malformed), "{bad}");
    }
    for header in ["Basic abc", "Bearer", token.as_str()] {
        assert_eq!(verifier.authenticate(Some(header.as_bytes()), None).await, Err(AuthError::NotBearer), "{header}");
    }
}

#[tokio::test]
async fn a_cached_token_expires_all_the_same() {
    let verifier = Verifier::load(&config("EdDSA", &[&ED.1])).unwrap();
    let token = ed(&with(json!({"exp": now() - 29})));
    assert!(ask(&verifier, &token).await.is_ok());
    tokio::time::sleep(Duration::from_millis(2_100)).await;
    assert_eq!(ask(&verifier, &token).await, Err(AuthError::Expired));
}

#[tokio::test]
async fn a_key_set_is_searched_by_key_id() {
    let der: String = ED.1.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(der).unwrap();
    let jwk =
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "one", "use": "sig", "x": B64.encode(&der[der.len() - 32..])});
    let set = json!({"keys": [jwk, {"kty": "oct", "k": "AAAA"}]});
    let path = std::env::temp_dir().join(format!("huxiang-jwks-{}.json", std::process::id()));
    std::fs::write(&path, set.to_string()).unwrap();
    let mut config = config("EdDSA", &[&ED.1]);
    let issuer: &mut Issuer = &mut config.issuers[0];
    issuer.keys.clear();
    issuer.jwks = Some(crate::model::config::JwksFrom::File(path.clone()));
    let verifier = Verifier::load(&config).unwrap();
    std::fs::remove_file(path).unwrap();
    let key = EncodingKey::from_ed_pem(ED.0.as_bytes()).unwrap();
    for (kid, accepted) in [(None, true), (Some("one"), true), (Some("two"), false)] {
        let header = Header { kid: kid.map(str::to_owned), ..Header::new(Algorithm::EdDSA) };
        let token = encode(&header, &claims(), &key).unwrap();
        assert_eq!(ask(&verifier, &token).await.is_ok(), accepted, "{kid:?}");
    }
}

#[tokio::test]
async fn minted_tokens_are_accepted_and_only_a_demo_issuer_mints() {
    let config = config("EdDSA", &[&ED.1]);
    let verifier = Verifier::load(&config).unwrap();
    let mut issuer = config.issuers[0].clone();
    let claims = json!({"about": {"hh": "3311"}}).as_object().unwrap().clone();
    let token = mint(&issuer, "li", &["household".to_owned()], &claims, Duration::from_secs(60)).unwrap();
    assert_eq!(ask(&verifier, &token).await.unwrap().unwrap().claims["household"], "3311");
    issuer.demo = false;
    assert!(matches!(mint(&issuer, "li", &[], &claims, Duration::from_secs(60)), Err(MintError::NotDemo)));
    issuer.demo = true;
    issuer.signing_key = Some(Pem::Text(RSA.0.as_str().into()));
    assert!(matches!(mint(&issuer, "li", &[], &claims, Duration::from_secs(60)), Err(MintError::Key(_))));
}

#[test]
fn forwarded_addresses_count_only_from_listed_proxies() {
    let networks =
        Networks { named: BTreeMap::new(), proxies: vec!["10.0.0.0/24".parse().unwrap(), "::1/128".parse().unwrap()] };
    let address = |peer: &str, headers: &[&str]| {
        caller_address(peer.parse().unwrap(), headers.iter().map(|h| h.as_bytes()), &networks).map(|a| a.to_string())
    };
    for (peer, headers, expected) in [
        ("192.0.2.1", &["203.0.113.9"][..], "192.0.2.1"),
        ("10.0.0.1", &["203.0.113.9"][..], "203.0.113.9"),
        ("10.0.0.1", &["1.1.1.1, 203.0.113.9, 10.0.0.7"][..], "203.0.113.9"),
        ("10.0.0.1", &["1.1.1.1", "203.0.113.9:4711"][..], "203.0.113.9"),
        ("::ffff:10.0.0.1", &["[2001:db8::1]"][..], "2001:db8::1"),
        ("10.0.0.1", &["rubbish, 203.0.113.9"][..], "203.0.113.9"),
        ("10.0.0.1", &[][..], "10.0.0.1"),
        ("::1", &["10.0.0.5"][..], "10.0.0.5"),
    ] {
        assert_eq!(address(peer, headers).as_deref(), Ok(expected), "{peer} {headers:?}");
    }
    assert_eq!(address("10.0.0.1", &["203.0.113.9, unknown"]), Err(ForwardedError));
}

fn from(extensions: &Map<String, Value>, headers: &[(&str, &'static [u8])]) -> Result<Declared, String> {
    Declared::from(extensions, |name| headers.iter().find(|(known, _)| *known == name).map(|(_, value)| *value))
}

#[test]
fn a_reason_says_why_and_names_nobody_by_number() {
    let reason = |text: &str| from(json!({"breakGlass": text}).as_object().unwrap(), &[]);
    assert_eq!(reason("台风夜间转移，需要联系电话").unwrap().break_glass.unwrap(), "台风夜间转移，需要联系电话");
    assert!(reason("flood of 2026").is_ok());
    let named = ["331122199001011230 is missing", "call 13912345678", "家庭33112210134800", "x", "a\nb c d"];
    for text in named {
        assert!(reason(text).is_err(), "{text}");
    }
    assert!(reason(&"长".repeat(401)).is_err());
}

#[test]
fn purpose_and_case_come_from_extensions_or_headers_but_not_two_different_ones() {
    let extensions = json!({"purpose": "help"}).as_object().unwrap().clone();
    let declared = from(&extensions, &[("x-purpose", b"help"), ("x-case", b"JD-2026-001")]).unwrap();
    assert_eq!((declared.purpose.as_deref(), declared.case.as_deref()), (Some("help"), Some("JD-2026-001")));
    assert!(from(&extensions, &[("x-purpose", b"other")]).is_err());
    assert!(from(&json!({"case": 7}).as_object().unwrap().clone(), &[]).is_err());
    assert!(from(&Map::new(), &[("x-purpose", &[b'x'; 200])]).is_err());
    assert_eq!(from(&Map::new(), &[]), Ok(Declared::default()));
}
