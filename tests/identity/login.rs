//! A portal's code for a token: the whole flow against an issuer of the test's own, and all that can be wrong with it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use huxiang::audit::{Entry, Kind, Reader, Search};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha512};

use crate::identity_support::issuer::{Key, clerk, now};
use crate::identity_support::{Files, Folder, World, client, has_name, load, serve_routes, world};

const BACK: &str = "https://portal.example/back";

/// What the issuer keeps of a code it has given.
struct Given {
    challenge: String,
    redirect_uri: String,
    nonce: String,
}

/// How the issuer misbehaves.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    Nonce,
    Audience,
    Client,
    Party,
    Expired,
    Hash,
    Key,
    OtherPerson,
    NoIdToken,
    Garbage,
    Huge,
    Error,
    Elsewhere,
}

struct Portal {
    url: String,
    key: Key,
    given: Mutex<HashMap<String, Given>>,
    fault: Mutex<Fault>,
    asked: Mutex<Vec<String>>,
}

fn form(text: &str) -> HashMap<String, String> {
    reqwest::Url::parse(&format!("http://x/?{text}")).unwrap().query_pairs().into_owned().collect()
}

impl Portal {
    async fn start() -> (Arc<Self>, tokio::task::JoinHandle<()>) {
        let portal = Arc::new(std::sync::OnceLock::<Arc<Self>>::new());
        let answering = Arc::clone(&portal);
        let routes = Router::new().fallback(move |uri: Uri, headers: HeaderMap, body: Bytes| {
            let portal = Arc::clone(answering.get().unwrap());
            async move {
                match uri.path() {
                    "/token" => portal.token(&headers, std::str::from_utf8(&body).unwrap()),
                    path => {
                        portal.asked.lock().unwrap().push(path.to_owned());
                        StatusCode::NOT_FOUND.into_response()
                    }
                }
            }
        });
        let (url, task) = serve_routes(routes).await;
        let made = Self {
            url,
            key: Key::new(Some("one")),
            given: Mutex::default(),
            fault: Mutex::new(Fault::None),
            asked: Mutex::default(),
        };
        let made = Arc::new(made);
        let _ = portal.set(Arc::clone(&made));
        (made, task)
    }

    /// What happens in the browser: the user agrees, and comes back with a code.
    fn authorize(&self, url: &str) -> String {
        let asked: HashMap<String, String> = reqwest::Url::parse(url).unwrap().query_pairs().into_owned().collect();
        assert_eq!((asked["response_type"].as_str(), asked["client_id"].as_str()), ("code", "huxiang-web"));
        assert_eq!((asked["code_challenge_method"].as_str(), asked["scope"].as_str()), ("S256", "openid roles"));
        let given = Given {
            challenge: asked["code_challenge"].clone(),
            redirect_uri: asked["redirect_uri"].clone(),
            nonce: asked["nonce"].clone(),
        };
        let code = format!("code-{}", &asked["state"][..20]);
        self.given.lock().unwrap().insert(code.clone(), given);
        code
    }

    fn token(&self, headers: &HeaderMap, body: &str) -> Response {
        let fault = *self.fault.lock().unwrap();
        let refused = |why: &str| {
            (StatusCode::BAD_REQUEST, Json(json!({"error": "invalid_grant", "error_description": why}))).into_response()
        };
        let basic = format!("Basic {}", STANDARD.encode("huxiang-web:se%20cret"));
        if headers.get("authorization").is_none_or(|value| value != basic.as_str()) {
            return StatusCode::UNAUTHORIZED.into_response();
        }
        let sent = form(body);
        // A code is good once, whatever comes of it.
        let Some(given) = self.given.lock().unwrap().remove(&sent["code"]) else { return refused("SECRET-OF-ISSUER") };
        let challenge = URL_SAFE_NO_PAD.encode(Sha256::digest(&sent["code_verifier"]));
        if challenge != given.challenge || sent["redirect_uri"] != given.redirect_uri {
            return refused("SECRET-OF-ISSUER");
        }
        match fault {
            Fault::Error => return (StatusCode::INTERNAL_SERVER_ERROR, "SECRET-OF-ISSUER").into_response(),
            Fault::Garbage => return "SECRET-OF-ISSUER".into_response(),
            Fault::Huge => return format!("{{\"id_token\": \"{}\"}}", "x".repeat(1 << 20)).into_response(),
            Fault::Elsewhere => {
                return (StatusCode::TEMPORARY_REDIRECT, [("location", "/elsewhere")]).into_response();
            }
            _ => {}
        }
        let access = self.key.sign(&clerk(json!({"iss": self.url, "sub": "zhang"})));
        let hashed = if fault == Fault::Hash { "another" } else { access.as_str() };
        let mut id_token = json!({
            "iss": self.url, "aud": "huxiang-web", "sub": "zhang", "iat": now(), "exp": now() + 60,
            "nonce": given.nonce, "at_hash": URL_SAFE_NO_PAD.encode(&Sha512::digest(hashed)[..32]),
        });
        match fault {
            Fault::Nonce => id_token["nonce"] = json!("another"),
            Fault::Audience => id_token["aud"] = json!("huxiang"),
            Fault::Client => id_token["aud"] = json!(["huxiang-web", "other"]),
            Fault::Party => id_token["azp"] = json!("other"),
            Fault::Expired => id_token["exp"] = json!(now() - 60),
            Fault::OtherPerson => id_token["sub"] = json!("li"),
            _ => {}
        }
        let stranger = Key::new(Some("one"));
        let signer = if fault == Fault::Key { &stranger } else { &self.key };
        let mut answer = json!({"access_token": access, "token_type": "Bearer", "id_token": signer.sign(&id_token)});
        if fault == Fault::NoIdToken {
            answer.as_object_mut().unwrap().remove("id_token");
        }
        Json(answer).into_response()
    }
}

fn login(portal: &str) -> String {
    format!(
        "login: {{name: portal, authorize_url: '{portal}/authorize', token_url: '{portal}/token', \
         client_id: huxiang-web, client_secret: '${{SECRET}}', redirect_uris: ['{BACK}'], scopes: [roles]}}"
    )
}

async fn start(portal: &Portal) -> World {
    start_at_rate(portal, 1_000).await
}

async fn start_at_rate(portal: &Portal, per_minute: u32) -> World {
    start_with(portal, per_minute, "").await
}

async fn start_with(portal: &Portal, per_minute: u32, more: &str) -> World {
    let gateway = format!(
        "issuers:\n  - {{issuer: '{}', audience: huxiang, algorithms: [EdDSA], keys: ['${{PUBLIC}}'], {}}}\n\
         rates: {{anonymous: {{requests_per_minute: {per_minute}}}}}\n{more}",
        portal.url,
        login(&portal.url)
    );
    let variables =
        [("PUBLIC".to_owned(), portal.key.public_pem()), ("SECRET".to_owned(), "se cret".to_owned())].into();
    world(Files { gateway, variables, ..Files::default() }).await
}

async fn post(world: &World, path: &str, body: &Value) -> (u16, Value) {
    let request = client().post(world.url(path)).header("content-type", "application/json").body(body.to_string());
    let answer = request.send().await.unwrap();
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    assert!(!text.contains("SECRET") && !text.contains("se cret"), "{text}");
    (status, serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}")))
}

/// Up to the code: what the frontend then sends.
async fn with_code(world: &World, portal: &Portal) -> Value {
    let (status, begun) = post(world, "/login/portal/start", &json!({"redirectUri": BACK})).await;
    assert_eq!(status, 200, "{begun}");
    let code = portal.authorize(begun["authorizeUrl"].as_str().unwrap());
    json!({"code": code, "codeVerifier": begun["codeVerifier"], "redirectUri": BACK, "nonce": begun["nonce"]})
}

#[tokio::test]
async fn a_code_becomes_a_token_that_queries_are_answered_for() {
    let (portal, _task) = Portal::start().await;
    let world = start(&portal).await;
    let sent = with_code(&world, &portal).await;
    let (status, done) = post(&world, "/login/portal/token", &sent).await;
    assert_eq!((status, done["tokenType"].as_str()), (200, Some("Bearer")), "{done}");
    assert!((500..=600).contains(&done["expiresInSeconds"].as_u64().unwrap()), "{done}");
    let (status, answer) = world.ask(&client(), done["token"].as_str().unwrap(), &[]).await;
    assert!(status == 200 && has_name(&answer), "{answer}");
    let (status, again) = post(&world, "/login/portal/token", &sent).await;
    assert_eq!(status, 403, "a code is good once: {again}");
    assert!(again["errors"][0]["message"].as_str().unwrap().contains("does not take this code"), "{again}");
}

#[tokio::test]
async fn what_the_frontend_sends_wrong_gets_no_token() {
    let (portal, _task) = Portal::start().await;
    let world = start(&portal).await;
    let other = "o".repeat(43);
    for (change, value, expected) in [
        ("codeVerifier", json!(other), 403),
        ("codeVerifier", json!("short"), 400),
        ("codeVerifier", json!(format!("{other} ")), 400),
        ("codeVerifier", json!("o".repeat(129)), 400),
        ("nonce", json!("another"), 403),
        ("nonce", json!(""), 400),
        ("nonce", json!(null), 400),
        ("redirectUri", json!("https://portal.example/back/"), 400),
        ("redirectUri", json!("https://evil.example/back"), 400),
        ("code", json!("guessed"), 403),
        ("code", json!("x".repeat(5_000)), 400),
        ("more", json!(1), 400),
    ] {
        let mut sent = with_code(&world, &portal).await;
        sent[change] = value;
        let (status, answer) = post(&world, "/login/portal/token", &sent).await;
        assert_eq!(status, expected, "{change}: {answer}");
        assert!(answer.get("token").is_none() && !answer.to_string().contains("guessed"), "{answer}");
    }
    let evil = post(&world, "/login/portal/start", &json!({"redirectUri": "https://evil.example"})).await;
    assert_eq!(evil.0, 400, "{evil:?}");
    assert_eq!(post(&world, "/login/other/start", &json!({"redirectUri": BACK})).await.0, 404);
    assert_eq!(post(&world, "/login/portal/other", &json!({})).await.0, 404);
}

#[tokio::test]
async fn what_the_issuer_answers_wrong_gets_no_token_and_is_not_told_on() {
    let (portal, _task) = Portal::start().await;
    let world = start(&portal).await;
    for (fault, expected) in [
        (Fault::Nonce, 403),
        (Fault::Audience, 403),
        (Fault::Client, 403),
        (Fault::Party, 403),
        (Fault::Expired, 403),
        (Fault::Hash, 403),
        (Fault::Key, 403),
        (Fault::OtherPerson, 403),
        (Fault::NoIdToken, 403),
        (Fault::Garbage, 403),
        (Fault::Huge, 503),
        (Fault::Error, 503),
        (Fault::Elsewhere, 503),
        (Fault::None, 200),
    ] {
        *portal.fault.lock().unwrap() = fault;
        let sent = with_code(&world, &portal).await;
        let (status, answer) = post(&world, "/login/portal/token", &sent).await;
        assert_eq!(status, expected, "{}: {answer}", fault as u8);
        assert_eq!(answer.get("token").is_some(), expected == 200, "{answer}");
        assert!(!answer.to_string().contains("127.0.0.1"), "{answer}");
    }
    assert!(portal.asked.lock().unwrap().is_empty(), "a redirect is not followed");
}

#[tokio::test]
async fn an_issuer_that_is_down_costs_nothing_but_the_login() {
    let (portal, task) = Portal::start().await;
    let world = start(&portal).await;
    let sent = with_code(&world, &portal).await;
    task.abort();
    let _ = task.await;
    let (status, answer) = post(&world, "/login/portal/token", &sent).await;
    assert_eq!((status, &answer["errors"][0]["extensions"]["code"]), (503, &json!("AUTHENTICATION_UNAVAILABLE")));
    let token = portal.key.sign(&clerk(json!({"iss": portal.url})));
    assert_eq!(world.ask_plain(&token).await, 200);
}

#[tokio::test]
async fn logging_in_passes_the_same_door_as_asking() {
    let (portal, _task) = Portal::start().await;
    let world = start_at_rate(&portal, 30).await;
    let url = world.url("/login/portal/token");
    let send = |kind: &'static str, body: String| client().post(&url).header("content-type", kind).body(body).send();
    assert_eq!(send("text/plain", "{}".to_owned()).await.unwrap().status(), 415);
    assert_eq!(send("application/x-www-form-urlencoded", "code=a".to_owned()).await.unwrap().status(), 415);
    let large = format!("{{\"code\": \"{}\"}}", "x".repeat(1 << 20));
    assert_eq!(send("application/json", large).await.unwrap().status(), 413);
    assert_eq!(client().get(&url).send().await.unwrap().status(), 405);
    let foreign =
        client().post(&url).header("content-type", "application/json").header("origin", "https://evil.example");
    assert_eq!(foreign.body("{}").send().await.unwrap().status(), 403);
    let mut statuses = Vec::new();
    for _ in 0..60 {
        statuses.push(send("application/json", "{}".to_owned()).await.unwrap().status().as_u16());
    }
    assert!(statuses.contains(&429), "{statuses:?}");
}

#[tokio::test]
async fn refused_logins_are_summed_up_with_other_refusals() {
    let (portal, _task) = Portal::start().await;
    let world = start_with(&portal, 1_000, "limits: {refusals_every_ms: 1000}\n").await;
    let mut sent = with_code(&world, &portal).await;
    sent["code"] = json!("guessed");
    for _ in 0..3 {
        assert_eq!(post(&world, "/login/portal/token", &sent).await.0, 403);
    }
    assert_eq!(post(&world, "/login/other/start", &json!({"redirectUri": BACK})).await.0, 404);
    let reader = Reader::new(&world.snapshot.config.audit.store);
    let search = Search { kinds: vec![Kind::Refusals], first: 10, ..Search::default() };
    let told = |entries: &[Entry], status: &str| -> u64 {
        entries.iter().filter_map(|entry| entry.record.details.get(status)?.as_u64()).sum()
    };
    let mut found = Vec::new();
    for _ in 0..200 {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        found = reader.search(&search).await.unwrap().entries;
        if told(&found, "404") == 1 {
            break;
        }
    }
    assert_eq!((told(&found, "403"), told(&found, "404")), (3, 1), "{found:?}");
    assert!(!format!("{found:?}").contains("guessed"));
}

#[tokio::test]
async fn each_login_is_on_record_with_whose_it_is_and_each_code_that_got_no_token() {
    let (portal, _task) = Portal::start().await;
    let world = start(&portal).await;
    let logins = async || {
        let found = Reader::new(&world.snapshot.config.audit.store).after(0, 100).await.unwrap();
        let logins = found.into_iter().filter(|entry| entry.record.kind == Kind::Login);
        logins.map(|entry| serde_json::to_value(entry.record).unwrap()).collect::<Vec<_>>()
    };
    let sent = with_code(&world, &portal).await;
    assert_eq!(logins().await, Vec::<Value>::new(), "where nobody handed over a code there is no login");
    let (status, done) = post(&world, "/login/portal/token", &sent).await;
    assert_eq!(status, 200, "{done}");
    // Once more, with a code that is used up; and one that never comes to the issuer.
    assert_eq!(post(&world, "/login/portal/token", &sent).await.0, 403);
    assert_eq!(post(&world, "/login/portal/token", &json!({"code": "x"})).await.0, 400);
    *portal.fault.lock().unwrap() = Fault::Error;
    let late = with_code(&world, &portal).await;
    assert_eq!(post(&world, "/login/portal/token", &late).await.0, 503);
    let logins = logins().await;
    assert_eq!(logins.len(), 3, "{logins:#?}");
    assert_eq!((&logins[0]["who"]["id"], &logins[0]["who"]["issuer"]), (&json!("zhang"), &json!(portal.url)));
    assert_eq!((&logins[0]["roles"], &logins[0]["outcome"]), (&json!(["clerk"]), &json!("ANSWERED")));
    for (login, error) in logins[1..].iter().zip(["UNAUTHENTICATED", "AUTHENTICATION_UNAVAILABLE"]) {
        assert_eq!((&login["who"], &login["outcome"]), (&Value::Null, &json!("REJECTED")), "{login}");
        assert_eq!(login["errors"], json!([error]));
    }
    for login in &logins {
        assert_eq!((&login["address"], &login["details"]["issuer"]), (&json!("127.0.0.1"), &json!(portal.url)));
        for secret in [&sent["code"], &sent["codeVerifier"], &sent["nonce"], &done["token"]] {
            assert!(!login.to_string().contains(secret.as_str().unwrap()), "{login}");
        }
    }
}

#[tokio::test]
async fn without_its_record_nobody_is_logged_in() {
    let (portal, _task) = Portal::start().await;
    let world = start(&portal).await;
    let sent = with_code(&world, &portal).await;
    let store = &world.snapshot.config.audit.store;
    std::fs::rename(store, store.with_extension("away")).unwrap();
    let (status, answer) = post(&world, "/login/portal/token", &sent).await;
    assert_eq!((status, &answer["errors"][0]["extensions"]["code"]), (503, &json!("AUDIT_UNAVAILABLE")), "{answer}");
    assert!(answer.get("token").is_none(), "{answer}");
}

#[test]
fn the_settings_of_a_login_are_checked_at_load() {
    let issuer = |login: &str| {
        format!(
            "egress: {{hosts: [id.example, farms.example]}}\nissuers:\n  - {{issuer: 'https://id', audience: huxiang, algorithms: [EdDSA], \
                 jwks: 'https://id.example/jwks', login: {{{login}}}}}\n"
        )
    };
    let good = "name: portal, authorize_url: 'https://login.example/a', token_url: 'https://id.example/t', client_id: a, \
                redirect_uris: ['https://portal.example/back']";
    for (from, to, told) in [
        ("", "", ""),
        ("name: portal", "name: My Portal", "this is no name for a way to log in"),
        ("https://id.example/t", "http://id.example/t", "must not travel in the clear"),
        ("https://id.example/t", "https://other.example/t", "not among those"),
        ("https://login.example/a", "http://login.example/a", "must not travel in the clear"),
        ("['https://portal.example/back']", "[]", "no `redirect_uris`"),
        ("https://portal.example/back", "http://portal.example/back", "must not be sent back"),
        ("https://portal.example/back", "https://*.example/back", "must not be sent back"),
        ("https://portal.example/back", "https://portal.example/#x", "must not be sent back"),
        ("https://portal.example/back", "javascript:alert(1)", "must not be sent back"),
        ("client_id: a", "client_id: a, scopes: ['a b']", "this is no scope"),
        ("client_id: a", "client_id: a, secret: b", "unknown key `secret`"),
        ("client_id: a", "client_id: a, client_secret: '${NOT_SET}'", "`NOT_SET` is not set"),
    ] {
        let gateway = issuer(&good.replacen(from, to, 1));
        let variables = [("FARMS_URL".to_owned(), "http://farms.example".to_owned())].into();
        let loaded = load(&Folder::new(), &Files { gateway, variables, ..Files::default() });
        match loaded {
            Ok(_) => assert_eq!(told, "", "{to}"),
            Err(faults) => assert!(!told.is_empty() && faults.contains(told), "{to}: {faults}"),
        }
    }
}
