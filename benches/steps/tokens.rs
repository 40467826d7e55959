//! Looking at a token: the first time its signature is checked, later it is found.

use criterion::{BatchSize, Criterion};
use huxiang::base::fault::Faults;
use huxiang::identify::Verifier;
use huxiang::model::config::GatewayConfig;
use huxiang::model::snapshot::{Folders, Snapshot};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};

use crate::gateway::{Files, Gateway};
use crate::{Folder, from, runtime};

/// A gateway's configuration that trusts a key of this algorithm, and a token signed with it.
fn signed(name: &str, folder: &Folder) -> (GatewayConfig, String) {
    let (pair, algorithm) = match name {
        "RS256" => (KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048), Algorithm::RS256),
        "ES256" => (KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256), Algorithm::ES256),
        _ => (KeyPair::generate_for(&PKCS_ED25519), Algorithm::EdDSA),
    };
    let pair = pair.expect("a key pair");
    let pem = pair.serialize_pem();
    let key = match algorithm {
        Algorithm::RS256 => EncodingKey::from_rsa_pem(pem.as_bytes()),
        Algorithm::ES256 => EncodingKey::from_ec_pem(pem.as_bytes()),
        _ => EncodingKey::from_ed_pem(pem.as_bytes()),
    };
    let claims = serde_json::json!({
        "iss": "https://bench.invalid", "aud": "bench", "sub": "caller-1", "roles": ["worker"],
        "iat": jiff::Timestamp::now().as_second(), "exp": jiff::Timestamp::now().as_second() + 86_400,
    });
    let token = jsonwebtoken::encode(&Header::new(algorithm), &claims, &key.expect("the key signs")).expect("a token");
    let root = folder.0.join(name);
    let files = Gateway::new(&from(), root.clone(), Files::Departments).expect("the files are written");
    let path = root.join("config/gateway.yaml");
    let config = std::fs::read_to_string(&path).expect("the file").replace("[EdDSA]", &format!("[{name}]"));
    std::fs::write(&path, config).expect("the file is written");
    let mut variables = files.variables(0, 0);
    for (known, value) in &mut variables {
        if *known == "PUBLIC_KEY" {
            *value = pair.public_key_pem();
        }
    }
    let variable = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
    let mut faults = Faults::default();
    let snapshot = Snapshot::load(&Folders::under(&root), &variable, &mut faults);
    (snapshot.unwrap_or_else(|| panic!("{}", faults.render())).config, format!("Bearer {token}"))
}

pub fn first(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = Folder::new("first");
    let mut group = criterion.benchmark_group("token, first check");
    for name in ["RS256", "ES256", "EdDSA"] {
        let (config, token) = signed(name, &folder);
        group.bench_function(name, |bench| {
            // Who has checked nothing yet.
            let new = || Verifier::load(&config).expect("a verifier");
            let check = |verifier: Verifier| {
                let principal = runtime.block_on(verifier.authenticate(Some(token.as_bytes()), None));
                assert!(principal.expect("the token is good").is_some());
                verifier
            };
            bench.iter_batched(new, check, BatchSize::SmallInput);
        });
    }
}

pub fn seen(criterion: &mut Criterion) {
    let runtime = runtime();
    let folder = Folder::new("seen");
    let (config, token) = signed("EdDSA", &folder);
    let verifier = Verifier::load(&config).expect("a verifier");
    criterion.bench_function("token, seen", |bench| {
        bench
            .iter(|| runtime.block_on(verifier.authenticate(Some(token.as_bytes()), None)).expect("the token is good"));
    });
}
