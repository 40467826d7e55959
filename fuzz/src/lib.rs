//! What the fuzz targets do with their bytes. Each goes through a public door of the gateway, and fails where
//! something panics, hangs, answers what is no GraphQL response, or answers `INTERNAL` (a panic that was caught).
//!
//! The stores and folders they need are made under `FUZZ_DIR`, else the temporary folder: put it in memory.

mod drafts;
mod files;
mod world;

use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use huxiang::identify::Verifier;
use huxiang::model::rule::{ClaimType, Expression, Scope};
use serde_json::{Value, json};
use world::world;

/// Everything of a note, so that every answer of the departments is read by every conversion there is.
const WHOLE: &str = r#"{ note(id: "1") { id text on amount yes count mood words title price day
    lines(first: 2) { on text amount } marks { on text amount } } }"#;

/// Documents whose variables are fuzzed.
const DOCUMENTS: [&str; 4] = [
    "query ($id: ID!) { note(id: $id) { title } }",
    "query ($id: ID = \"1\", $from: Date, $first: Int) { note(id: $id) { lines(from: $from, first: $first) { on } } }",
    "query ($a: Boolean!, $b: Boolean = true) { note(id: \"1\") { text @skip(if: $a) ...F @include(if: $b) } } \
     fragment F on Note { on }",
    "query ($ids: [ID!]) { __typename @skip(if: false) note(id: \"1\") { id } }",
];

/// The text of an operation, through the one door.
pub fn operation(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    world().ask(text, &json!({}));
}

/// The variables of known documents: the first byte chooses.
pub fn variables(bytes: &[u8]) {
    let Some((first, rest)) = bytes.split_first() else { return };
    let Ok(variables) = serde_json::from_slice::<Value>(rest) else { return };
    let document = DOCUMENTS[usize::from(*first) % DOCUMENTS.len()];
    world().ask(document, &variables);
}

/// An `Authorization` header: as it comes, or a token with a good signature over whatever it claims.
pub fn token(bytes: &[u8]) {
    static VERIFIER: OnceLock<Verifier> = OnceLock::new();
    let verifier = VERIFIER
        .get_or_init(|| Verifier::load(&world().gateway.snapshot().config).expect("the issuer's key can be read"));
    let Some((first, rest)) = bytes.split_first() else { return };
    let header = match first % 4 {
        0 => rest.to_vec(),
        1 => [b"Bearer ", rest].concat(),
        2 => signed(br#"{"alg":"EdDSA","typ":"JWT"}"#, rest),
        _ => match rest.iter().position(|byte| *byte == 0) {
            Some(at) => signed(&rest[..at], &rest[at + 1..]),
            None => return,
        },
    };
    if let Ok(Some(principal)) = world().runtime.block_on(verifier.authenticate(Some(&header), None)) {
        assert!(first % 4 >= 2, "a token that nobody signed was accepted: {principal:?}");
    }
}

/// `NOW` and `SOON` in the claims are times that a good token has; seeds could not know them.
fn signed(header: &[u8], claims: &[u8]) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let claims = match std::str::from_utf8(claims) {
        Ok(text) => text.replace("NOW", &now.to_string()).replace("SOON", &(now + 600).to_string()).into_bytes(),
        Err(_) => claims.to_vec(),
    };
    let text = format!("{}.{}", URL_SAFE_NO_PAD.encode(header), URL_SAFE_NO_PAD.encode(claims));
    let signature = URL_SAFE_NO_PAD.encode(world().issuer.sign(text.as_bytes()));
    format!("Bearer {text}.{signature}").into_bytes()
}

/// A contract's SDL: the good contract's text is there before it, or not, by the first byte.
pub fn sdl(bytes: &[u8]) {
    files::load_with("schema/note.graphql", bytes);
}

/// A binding file.
pub fn binding(bytes: &[u8]) {
    files::load_with("resolvers/soap.yaml", bytes);
}

/// A rule: compiled against the contract, then run on entities that lack everything, have nulls, and have values.
pub fn rule(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let snapshot = world().gateway.snapshot();
    let claims = [("household", ClaimType::String), ("wards", ClaimType::StringList), ("level", ClaimType::Int)]
        .map(|(name, kind)| (name.to_owned(), kind))
        .into();
    let scope = Scope { entity_variable: "note", entity_type: "Note", principal: &claims, fields: &snapshot.contract, thresholds: None };
    let Ok(expression) = Expression::compile(text, &scope) else { return };
    let today = jiff::civil::date(2026, 11, 22);
    let full = json!({
        "id": "1", "text": "t", "on": "2026-03", "amount": "12.50", "yes": true, "count": 3, "mood": "GLAD",
        "lines": [{"on": "2026-03-01", "text": null, "amount": "1"}, {"on": null, "text": "x", "amount": "0.1"}],
        "words": ["a", "b"], "title": "\u{65e5}", "price": "99999999999999999999.99", "day": "2026-02-29", "marks": [],
    });
    let nulls: Value = full.as_object().into_iter().flatten().map(|(key, _)| (key.clone(), Value::Null)).collect();
    let principal = json!({"id": "p", "household": "1", "wards": ["1"], "level": i64::MAX});
    for entity in [json!({}), nulls, full] {
        for principal in [&principal, &json!({})] {
            let truth = expression.evaluate(&entity, principal, today);
            assert_eq!(truth, expression.evaluate(&entity, principal, today), "a rule decides alike twice");
        }
    }
}

/// What a SOAP source says: the body as it comes, in whatever encoding.
pub fn soap_answer(bytes: &[u8]) {
    world().say("/soap", bytes);
    world().ask(WHOLE, &json!({}));
}

/// What a REST source says.
pub fn json_answer(bytes: &[u8]) {
    world().say("/rest", bytes);
    world().ask(WHOLE, &json!({}));
}

/// GraphQL SDL that a draft is made from.
pub fn import_sdl(bytes: &[u8]) {
    drafts::draft("api.graphql", bytes);
}

/// WSDL that a draft is made from.
pub fn import_wsdl(bytes: &[u8]) {
    drafts::draft("service.wsdl", bytes);
}

/// A SQL schema that a draft is made from.
pub fn import_sql(bytes: &[u8]) {
    drafts::draft("schema.sql", bytes);
}
