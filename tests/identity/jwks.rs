//! Keys from a URL: rotation, a bounded number of fetches, endpoints that are down, slow or hostile.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::json;

use crate::identity_support::issuer::{JwksServer, Key, Reply, clerk};
use crate::identity_support::{Files, Folder, World, client, has_name, load, world};

async fn start(server: &JwksServer, more: &str) -> World {
    let gateway = format!(
        "issuers:\n  - {{issuer: 'https://id', audience: huxiang, algorithms: [EdDSA], jwks: '{}'{more}}}\n",
        server.url
    );
    world(Files { gateway, ..Files::default() }).await
}

async fn status(world: &World, token: &str) -> u16 {
    let (status, answer) = world.ask(&client(), token, &[]).await;
    assert_eq!(has_name(&answer), status == 200, "{answer}");
    status
}

fn token(key: &Key) -> String {
    key.sign(&clerk(json!({})))
}

#[tokio::test]
async fn a_new_key_counts_at_its_first_token_and_one_that_was_taken_away_counts_no_more() {
    let (old, new) = (Key::new(Some("old")), Key::new(Some("new")));
    let server = JwksServer::start(Reply::Keys(vec![old.jwk()])).await;
    let world = start(&server, ", jwks_pause_ms_min: 100").await;
    let first = token(&old);
    assert_eq!(status(&world, &first).await, 200);
    tokio::time::sleep(Duration::from_millis(150)).await;
    server.set(Reply::Keys(vec![new.jwk()]));
    assert_eq!(status(&world, &first).await, 200, "nobody has told the gateway yet");
    assert_eq!(status(&world, &token(&new)).await, 200, "a key id that is not known is fetched at once");
    assert_eq!(status(&world, &first).await, 401, "also a token that was checked before");
    assert_eq!(server.taken(), 2);
}

#[tokio::test]
async fn keys_without_ids_rotate_too() {
    let (old, new) = (Key::new(None), Key::new(None));
    let server = JwksServer::start(Reply::Keys(vec![old.jwk()])).await;
    let world = start(&server, ", jwks_pause_ms_min: 100").await;
    assert_eq!(status(&world, &token(&old)).await, 200);
    tokio::time::sleep(Duration::from_millis(150)).await;
    server.set(Reply::Keys(vec![new.jwk()]));
    assert_eq!(status(&world, &token(&new)).await, 200);
    assert_eq!(status(&world, &token(&old)).await, 401);
}

#[tokio::test]
async fn a_flood_of_unknown_keys_causes_one_fetch() {
    let key = Key::new(Some("one"));
    let server = JwksServer::start(Reply::Keys(vec![key.jwk()])).await;
    let world = start(&server, ", jwks_pause_ms_min: 2000").await;
    assert_eq!(server.taken(), 1, "at the start");
    tokio::time::sleep(Duration::from_millis(2_050)).await;
    let flood = (0..40).map(|n| token(&Key::new(Some(&format!("unknown-{n}")))));
    let flood: Vec<String> = flood.collect();
    let answers = join_all(flood.iter().map(|token| world.ask_plain(token))).await;
    assert!(answers.iter().all(|status| *status == 401), "{answers:?}");
    assert_eq!(server.taken(), 1);
    assert_eq!(status(&world, &token(&key)).await, 200);
}

#[tokio::test]
async fn a_wrong_signature_under_a_known_key_id_fetches_nothing() {
    let key = Key::new(Some("one"));
    let server = JwksServer::start(Reply::Keys(vec![key.jwk()])).await;
    let world = start(&server, ", jwks_pause_ms_min: 100").await;
    tokio::time::sleep(Duration::from_millis(150)).await;
    server.taken();
    assert_eq!(status(&world, &token(&Key::new(Some("one")))).await, 401);
    assert_eq!(server.taken(), 0);
}

#[tokio::test]
async fn fetched_keys_outlive_a_fault_of_the_endpoint_for_a_bounded_time() {
    let (key, new) = (Key::new(Some("one")), Key::new(Some("two")));
    let server = JwksServer::start(Reply::Keys(vec![key.jwk()])).await;
    let world = start(&server, ", jwks_pause_ms_min: 100, jwks_stale_ms_max: 8000").await;
    let fetched = Instant::now();
    let good = token(&key);
    assert_eq!(status(&world, &good).await, 200);
    let other = JwksServer::start(Reply::Keys(vec![new.jwk()])).await;
    for broken in [
        Reply::Text(500, "down".to_owned()),
        Reply::Text(200, "garbage".to_owned()),
        Reply::Text(200, "{\"keys\": []}".to_owned()),
        Reply::Text(200, format!("{{\"keys\": {}1{}}}", "[".repeat(200), "]".repeat(200))),
        Reply::Text(204, String::new()),
        Reply::Keys((0..100).map(|n| Key::new(Some(&format!("{n}"))).jwk()).chain([new.jwk()]).collect()),
        Reply::Elsewhere(other.url.clone()),
        Reply::Huge,
    ] {
        server.set(broken);
        tokio::time::sleep(Duration::from_millis(110)).await;
        assert_eq!(status(&world, &token(&new)).await, 401, "the set is not taken");
        assert_eq!(status(&world, &good).await, 200, "the keys fetched before stay");
    }
    assert_eq!(other.taken(), 0, "a redirect is not followed");
    assert_eq!(server.taken(), 9, "each was asked for");
    tokio::time::sleep(Duration::from_millis(8_100).saturating_sub(fetched.elapsed())).await;
    let (told, answer) = world.ask(&client(), &good, &[]).await;
    assert_eq!((told, &answer["errors"][0]["extensions"]["code"]), (503, &json!("AUTHENTICATION_UNAVAILABLE")));
    assert!(!answer.to_string().contains("127.0.0.1"), "{answer}");
    server.set(Reply::Keys(vec![key.jwk()]));
    tokio::time::sleep(Duration::from_millis(110)).await;
    assert_eq!(status(&world, &good).await, 200, "and they count again once they can be fetched");
}

#[tokio::test]
async fn a_slow_endpoint_holds_up_only_tokens_with_new_keys_and_those_not_for_long() {
    let key = Key::new(Some("one"));
    let server = JwksServer::start(Reply::Keys(vec![key.jwk()])).await;
    let world = start(&server, ", jwks_pause_ms_min: 100").await;
    tokio::time::sleep(Duration::from_millis(110)).await;
    server.set(Reply::Never);
    let unknown = token(&Key::new(Some("unknown")));
    let began = Instant::now();
    let waiting = join_all((0..5).map(|_| world.ask_plain(&unknown)));
    let meanwhile = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let asked = Instant::now();
        assert_eq!(status(&world, &token(&key)).await, 200);
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    };
    let (answers, ()) = futures::future::join(waiting, meanwhile).await;
    assert!(answers.iter().all(|status| *status == 401), "{answers:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "they waited for one fetch: {:?}", began.elapsed());
}

#[tokio::test]
async fn a_set_that_has_not_changed_is_not_sent_again_and_counts_as_fetched() {
    let (old, new) = (Key::new(Some("old")), Key::new(Some("new")));
    let server = JwksServer::start(Reply::Tagged(vec![old.jwk()], "\"one\"", "public")).await;
    let world = start(&server, ", jwks_pause_ms_min: 100, jwks_stale_ms_max: 3000, jwks_refresh_ms: 1000").await;
    let good = token(&old);
    let began = Instant::now();
    // Longer than fetched keys count.
    while began.elapsed() < Duration::from_millis(4_500) {
        assert_eq!(status(&world, &good).await, 200);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let (asked, unchanged) = (server.taken(), server.unchanged());
    assert!(unchanged >= 3 && asked == unchanged + 1, "{asked} {unchanged}");
    server.set(Reply::Tagged(vec![new.jwk()], "\"two\"", "public"));
    assert_eq!(status(&world, &token(&new)).await, 200);
    assert_eq!(status(&world, &good).await, 401);
    assert_eq!(server.unchanged(), 0);
}

/// A set is fetched again as soon as its endpoint says that it may be another one; within the configured bounds.
#[tokio::test]
async fn how_long_a_set_stays_as_it_is_the_endpoint_says_within_bounds() {
    let cases = [
        // Sooner than configured: one that was taken away counts no more.
        ("public, Max-Age=1", 60_000, 2, 3),
        // Not more often than configured.
        ("max-age=0", 60_000, 2, 4),
        // And not more rarely: keys that were taken away must not count for a year.
        ("max-age=31536000", 1_000, 2, 3),
        ("max-age=soon", 60_000, 0, 0),
        ("no-cache", 60_000, 0, 0),
    ];
    join_all(cases.into_iter().map(|(control, refresh_ms, least, most)| async move {
        let key = Key::new(Some("one"));
        let server = JwksServer::start(Reply::Tagged(vec![key.jwk()], "\"one\"", control)).await;
        let limits = format!(", jwks_pause_ms_min: 1000, jwks_refresh_ms: {refresh_ms}");
        let world = start(&server, &limits).await;
        assert_eq!((status(&world, &token(&key)).await, server.taken()), (200, 1), "{control}");
        tokio::time::sleep(Duration::from_millis(3_300)).await;
        let again = server.taken();
        assert!((least..=most).contains(&again), "{control}: {again}");
    }))
    .await;
}

#[tokio::test]
async fn that_nothing_has_changed_is_no_answer_where_nothing_was_known() {
    let key = Key::new(Some("one"));
    let server = JwksServer::start(Reply::Text(304, String::new())).await;
    let world = start(&server, ", jwks_pause_ms_min: 100").await;
    assert_eq!(world.ask_plain(&token(&key)).await, 503);
}

#[tokio::test]
async fn a_gateway_that_never_had_the_keys_takes_no_token_and_serves_visitors() {
    let key = Key::new(Some("one"));
    let server = JwksServer::start(Reply::Text(503, String::new())).await;
    let world = start(&server, ", jwks_pause_ms_min: 100").await;
    assert_eq!(world.ask_plain(&token(&key)).await, 503);
    assert_eq!(world.ask_plain("").await, 200);
    server.set(Reply::Keys(vec![key.jwk()]));
    tokio::time::sleep(Duration::from_millis(110)).await;
    assert_eq!(status(&world, &token(&key)).await, 200);
}

#[tokio::test]
async fn keys_that_share_an_id_are_each_used_with_their_own_algorithm_only() {
    let (one, two) = (Key::new(Some("same")), Key::new(Some("same")));
    let mut of_hmac = json!({"kty": "oct", "kid": "same", "alg": "HS256"});
    of_hmac["k"] = one.jwk()["x"].clone();
    let mut for_encryption = Key::new(Some("enc")).jwk();
    for_encryption["use"] = json!("enc");
    let mut named_wrong = Key::new(Some("wrong")).jwk();
    named_wrong["alg"] = json!("RS256");
    let server = JwksServer::start(Reply::Keys(vec![one.jwk(), of_hmac, two.jwk(), for_encryption, named_wrong])).await;
    let world = start(&server, "").await;
    assert_eq!(status(&world, &token(&one)).await, 200);
    assert_eq!(status(&world, &token(&two)).await, 200);
    let secret = jsonwebtoken::EncodingKey::from_base64_secret(one.jwk()["x"].as_str().unwrap());
    let header = jsonwebtoken::Header { kid: Some("same".to_owned()), ..jsonwebtoken::Header::default() };
    if let Ok(secret) = secret {
        let forged = jsonwebtoken::encode(&header, &clerk(json!({})), &secret).unwrap();
        assert_eq!(status(&world, &forged).await, 401);
    }
    assert_eq!(status(&world, &token(&Key::new(Some("enc")))).await, 401);
}

#[tokio::test]
async fn a_key_id_is_a_name_and_nothing_else() {
    let key = Key::new(Some("one"));
    let server = JwksServer::start(Reply::Keys(vec![key.jwk()])).await;
    let world = start(&server, "").await;
    let stranger = Key::new(None);
    for kid in ["../../etc/passwd", "' OR 1=1 --", "http://127.0.0.1:1/jwks", "", "ONE", "one\0", "*"] {
        let header = jsonwebtoken::Header {
            kid: Some(kid.to_owned()),
            jku: Some("http://127.0.0.1:1/jwks".to_owned()),
            jwk: serde_json::from_value(stranger.jwk()).ok(),
            ..jsonwebtoken::Header::new(jsonwebtoken::Algorithm::EdDSA)
        };
        let pem = stranger.private_pem();
        let signing = jsonwebtoken::EncodingKey::from_ed_pem(pem.as_bytes()).unwrap();
        let forged = jsonwebtoken::encode(&header, &clerk(json!({})), &signing).unwrap();
        assert_eq!(status(&world, &forged).await, 401, "{kid}");
    }
    let long = Key::new(Some(&"k".repeat(300)));
    assert_eq!(status(&world, &token(&long)).await, 401);
}

#[test]
fn keys_are_not_fetched_in_the_clear_nor_from_hosts_that_are_not_let_be_connected_to() {
    for (url, egress, told) in [
        ("http://id.example/jwks", "", "must not travel in the clear"),
        ("http://localhost.example:80/jwks", "", "must not travel in the clear"),
        ("ftp://id.example/jwks", "", "must not travel in the clear"),
        ("https:///jwks?", "egress: {hosts: [other.example]}\n", "not among those"),
        ("https://id.example/jwks", "egress: {hosts: [other.example, '*.id.example']}\n", "not among those"),
        ("https://169.254.169.254/jwks", "", "does not let be connected to"),
        ("https://user:secret@id.example/jwks", "", "no name and no password"),
    ] {
        let gateway = format!(
            "{egress}issuers:\n  - {{issuer: 'https://id', audience: huxiang, algorithms: [EdDSA], jwks: '{url}'}}\n"
        );
        let variables = [("FARMS_URL".to_owned(), "http://other.example".to_owned())].into();
        let faults = load(&Folder::new(), &Files { gateway, variables, ..Files::default() }).unwrap_err();
        assert!(faults.contains(told), "{url}: {faults}");
    }
}
