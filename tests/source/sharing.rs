//! What callers share of a source's calls, counted at the source: lookups by key go out together, equal calls are made once, and
//! nobody gets, waits for or suffers from what is another's.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use futures::future::join_all;
use huxiang::base::code::ErrorCode;
use huxiang::base::pointer::Pointer;
use huxiang::model::binding::request::CallTemplate;
use huxiang::source::{CallContext, Connector, Fetch, Fetched, Offer, SourceError, Together};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::support::whole::Whole;
use crate::support::{compile, serve};

const CONTRACT: &str = r#"
type Query {
  household(id: ID!): Household
  households(division: String @finds(by: "name")): [Household!]
}
type Household @key(fields: "id") @class(name: "open", level: 1) { id: ID! name: String }
"#;

/// `SOURCE` stands for more keys of the source, `ENDPOINT` for more of the endpoint.
const BINDING: &str = r#"
source: civil
title: 民政局
base_url: ${CIVIL_URL}
limits: {retries_max: 0, in_flight_max: 1000, timeout_ms: 20000}
SOURCE
endpoints:
  facts:
    entity: Household
    establishes: true
    one: {get: "/one/{key}"}
    many: {post: /many, body: {ids: "{keys}"}, items: /rows, item_key: /id, batch_max: 100}
    fields: {name: /name}
queries:
  households:
    ask: {get: /list, query: {division: "{arg.division}"}, items: /rows}
    key_at: /id
    fields: {name: /name}
"#;

/// A call, as the source saw it.
#[derive(Debug, Clone)]
struct Seen {
    path: String,
    keys: Vec<String>,
    headers: HeaderMap,
}

/// A source that answers when the test lets it, and notes what it is asked.
#[derive(Clone)]
struct Source {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
    open: Arc<watch::Sender<bool>>,
    /// Calls that were not answered because who made them went away.
    dropped: Arc<Mutex<usize>>,
}

/// Counts a call that is dropped before its answer.
struct Answering(Option<Arc<Mutex<usize>>>);

impl Drop for Answering {
    fn drop(&mut self) {
        if let Some(dropped) = &self.0 {
            *dropped.lock().unwrap() += 1;
        }
    }
}

impl Source {
    async fn new() -> Self {
        let mut source = Self {
            url: String::new(),
            seen: Arc::default(),
            open: Arc::new(watch::Sender::new(true)),
            dropped: Arc::default(),
        };
        let (one, many, list, speaking) = (source.clone(), source.clone(), source.clone(), source.clone());
        let router = Router::new()
            .route(
                "/one/{key}",
                get(async move |Path(key): Path<String>, uri: Uri, headers: HeaderMap| {
                    one.answer(uri, vec![key], headers).await
                }),
            )
            .route(
                "/many",
                post(async move |uri: Uri, headers: HeaderMap, body: String| many.batch(uri, headers, &body).await),
            )
            .route("/graphql", post(async move |body: String| speaking.graphql(&body).await))
            .route(
                "/list",
                get(async move |uri: Uri, headers: HeaderMap| list.answer(uri, vec!["l".to_owned()], headers).await),
            );
        // It answers whatever the other does.
        let standby = Self { open: Arc::new(watch::Sender::new(true)), ..source.clone() };
        let router = router.route(
            "/standby/many",
            post(async move |uri: Uri, headers: HeaderMap, body: String| standby.batch(uri, headers, &body).await),
        );
        let standby = Self { open: Arc::new(watch::Sender::new(true)), ..source.clone() };
        let router = router.route(
            "/standby/one/{key}",
            get(async move |Path(key): Path<String>, uri: Uri, headers: HeaderMap| {
                standby.answer(uri, vec![key], headers).await
            }),
        );
        source.url = serve(router).await;
        source
    }

    async fn batch(&self, uri: Uri, headers: HeaderMap, body: &str) -> Response {
        let body: Value = serde_json::from_str(body).unwrap();
        let keys = body["ids"].as_array().unwrap().iter().map(|id| id.as_str().unwrap().to_owned());
        self.answer(uri, keys.collect(), headers).await
    }

    /// A key tells what becomes of the call that it is in.
    async fn answer(&self, uri: Uri, keys: Vec<String>, headers: HeaderMap) -> Response {
        let path = uri.path_and_query().unwrap().as_str().to_owned();
        self.seen.lock().unwrap().push(Seen { path: path.clone(), keys: keys.clone(), headers });
        let mut answering = Answering(Some(Arc::clone(&self.dropped)));
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
        let is_there = |kind: &str| keys.iter().any(|key| key.starts_with(kind));
        if is_there("hanging") {
            std::future::pending::<()>().await;
        }
        answering.0 = None;
        if is_there("refused") {
            return (StatusCode::BAD_REQUEST, "{}").into_response();
        }
        if is_there("overloaded") {
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
        if is_there("failing") {
            return StatusCode::INTERNAL_SERVER_ERROR.into_response();
        }
        if is_there("busy") {
            return StatusCode::TOO_MANY_REQUESTS.into_response();
        }
        if is_there("broken") {
            return "{".into_response();
        }
        if is_there("large") {
            return format!("\"{}\"", "x".repeat(9 << 20)).into_response();
        }
        let record = |key: &String| match key.strip_prefix("unkeyed") {
            Some(_) => json!({"name": "nobody"}),
            // Written otherwise than it was asked for.
            None if key.starts_with("cased") => json!({"id": key.to_uppercase(), "name": format!("of {key}")}),
            None => json!({"id": key, "name": format!("of {key}")}),
        };
        // Two writings of one key have one record.
        let is_there_twice = |key: &String| key == "007" && keys.contains(&"7".to_owned());
        let there = keys.iter().filter(|key| !key.starts_with("none") && !is_there_twice(key));
        let records: Vec<Value> = there.map(record).collect();
        if path.contains("/one/") {
            return match records.first() {
                Some(record) => record.to_string().into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            };
        }
        // And one that nobody asked for.
        let more = path.ends_with("/many").then(|| json!({"id": "other", "name": "another's"}));
        json!({"rows": records.into_iter().rev().chain(more).collect::<Vec<_>>()}).to_string().into_response()
    }

    /// One who may not be asked of is an error of the whole answer.
    async fn graphql(&self, body: &str) -> String {
        let body: Value = serde_json::from_str(body).unwrap();
        let (path, asked) = (body["query"].as_str().unwrap().to_owned(), &body["variables"]["k"]);
        let single = [asked.clone()];
        let ids = asked.as_array().map_or(&single[..], Vec::as_slice);
        let keys: Vec<String> = ids.iter().map(|id| id.as_str().unwrap().to_owned()).collect();
        self.seen.lock().unwrap().push(Seen { path, keys: keys.clone(), headers: HeaderMap::new() });
        self.open.subscribe().wait_for(|open| *open).await.unwrap();
        if keys.iter().any(|key| key == "denied") {
            let error = json!({"message": "no", "path": ["r"], "extensions": {"code": "FORBIDDEN"}});
            return json!({"data": {"r": null}, "errors": [error]}).to_string();
        }
        let all: Vec<Value> = keys.iter().map(|key| json!({"id": key, "name": format!("of {key}")})).collect();
        json!({"data": {"r": if asked.is_array() { Value::from(all) } else { all[0].clone() }}}).to_string()
    }

    fn close(&self) {
        self.open.send_replace(false);
    }

    fn open(&self) {
        self.open.send_replace(true);
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    fn paths(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| seen.path).collect()
    }

    /// Waits until it was asked so often.
    async fn was_asked(&self, times: usize) {
        until(|| self.seen().len() >= times).await;
    }

    async fn gateway(&self, name: &str, more: &str) -> Whole {
        self.gateway_of(name, more, |binding| binding).await
    }

    async fn gateway_of(&self, name: &str, more: &str, edit: impl FnOnce(String) -> String) -> Whole {
        let binding = edit(BINDING.replace("SOURCE", more));
        let files = [("resolvers/civil.yaml", binding.as_str())];
        Whole::new(&format!("sharing-{name}"), "Household", CONTRACT, &files, &self.url).await
    }
}

async fn until(is_so: impl Fn() -> bool) {
    for _ in 0..2_000 {
        if is_so() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("it does not come");
}

fn of(key: &str) -> String {
    format!("{{ household(id: \"{key}\") {{ name }} }}")
}

/// Each asked by a caller of its own, at the same time.
async fn asked(whole: &Whole, keys: &[String]) -> Vec<Value> {
    let ask = async |key: &String| whole.ask_as(&format!("clerk of {key}"), &of(key)).await;
    join_all(keys.iter().map(ask)).await
}

fn keys(kind: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{kind}{n}")).collect()
}

#[tokio::test]
async fn a_hundred_callers_at_once_make_a_tenth_of_the_calls_and_each_gets_its_own() {
    let keys = keys("k", 100);
    let mut calls = Vec::new();
    for (name, more) in [("gathered", "authority: gateway"), ("default", ""), ("apart", "authority: caller")] {
        let source = Source::new().await;
        let whole = source.gateway(name, more).await;
        for (answer, key) in asked(&whole, &keys).await.iter().zip(&keys) {
            assert_eq!(answer["data"], json!({"household": {"name": format!("of {key}")}}), "{name}: {answer}");
        }
        let seen = source.seen();
        let all: Vec<&String> = seen.iter().flat_map(|seen| &seen.keys).collect();
        assert_eq!(all.len(), 100, "{name}: each is asked for once");
        assert_eq!(all.into_iter().collect::<BTreeSet<_>>().len(), 100, "{name}");
        // Who was answered by another's call is counted, too.
        let shared = format!("huxiang_source_shared_reads_total{{source=\"civil\"}} {}\n", 100 - seen.len());
        assert!(whole.metrics().contains(&shared), "{name}: {shared}{}", whole.metrics());
        calls.push(seen.len());
    }
    assert_eq!(calls[2], 100, "in their callers' names, calls are never merged");
    assert!(calls[0] <= 10 && calls[1] <= 10, "{calls:?}");
}

#[tokio::test]
async fn a_request_alone_waits_for_nobody_and_not_for_itself() {
    let source = Source::new().await;
    let shared = Asked::new(&source, "");
    source.close();
    let release = async {
        source.was_asked(3).await;
        source.open();
    };
    let own = |key| shared.ask_for(7, key, &[], Duration::from_secs(20));
    let _ = futures::join!(own("a"), own("b"), own("c"), release);
    let mut paths = source.paths();
    paths.sort();
    assert_eq!(paths, ["/one/a", "/one/b", "/one/c"], "none waited until it could go with another");
    // What gathers waits for a millisecond at least.
    let mut quickest = [Duration::MAX; 2];
    for _ in 0..50 {
        let began = Instant::now();
        let (found, together) = shared.lookup("k").await;
        quickest[0] = quickest[0].min(began.elapsed());
        assert_eq!((found.unwrap().records.len(), together), (1, None));
        let began = Instant::now();
        shared.alone("k").await.unwrap();
        quickest[1] = quickest[1].min(began.elapsed());
    }
    assert!(quickest[0] < quickest[1] + Duration::from_micros(900), "{quickest:?}");
}

#[tokio::test]
async fn what_comes_while_a_call_is_under_way_goes_out_together_and_does_not_wait_for_its_end() {
    let source = Source::new().await;
    let asked = Asked::new(&source, "");
    // Two ask for the same one, and one for somebody who is not there.
    let (first, others) = asked.beside_a(&source, &["b", "c", "b", "none"]).await;
    assert_eq!((name(&first).as_deref(), first.1), (Some("of a"), None));
    let names: Vec<Option<String>> = others.iter().map(name).collect();
    assert_eq!(names, [Some("of b"), Some("of c"), Some("of b"), None].map(|name| name.map(str::to_owned)));
    assert!(others[3].0.as_ref().unwrap().records.is_empty(), "no record is no error");
    // The source told of somebody who was not asked for: that might have been `none`, written otherwise.
    let together: Vec<Option<Together>> = others.iter().map(|(_, together)| *together).collect();
    assert_eq!(together[..3], [Some(Together::Gathered); 3]);
    assert_eq!(together[3], Some(Together::Apart));
    assert_eq!(source.paths(), ["/one/a", "/many", "/one/none"]);
    let keys = &source.seen()[1].keys;
    assert_eq!(
        (keys.len(), keys.iter().collect::<BTreeSet<_>>().len()),
        (3, 3),
        "a key that two ask for goes out once"
    );
}

#[tokio::test]
async fn what_one_asks_for_does_not_spoil_the_answers_of_others() {
    for (kind, code) in [
        ("refused", Some(ErrorCode::SourceError)),
        ("broken", Some(ErrorCode::SourceBadAnswer)),
        ("large", Some(ErrorCode::SourceBadAnswer)),
        ("failing", Some(ErrorCode::SourceError)),
        // Alone, it is asked in a way that needs no key in the record.
        ("unkeyed", None),
    ] {
        let source = Source::new().await;
        let asked = Asked::new(&source, "");
        let (_, others) = asked.beside_a(&source, &["b", kind, "c"]).await;
        assert_eq!((name(&others[0]).as_deref(), others[0].1), (Some("of b"), Some(Together::Apart)), "{kind}");
        assert_eq!((name(&others[2]).as_deref(), others[2].1), (Some("of c"), Some(Together::Apart)), "{kind}");
        assert_eq!(others[1].0.as_ref().err().map(|error| error.code), code, "{kind}");
        let mut paths = source.paths();
        paths[2..].sort();
        let alone = format!("/one/{kind}");
        let mut expected = vec!["/one/a", "/many", "/one/b", "/one/c", &alone];
        expected[2..].sort();
        assert_eq!(paths, expected, "each is asked by itself once");
    }
}

#[tokio::test]
async fn a_source_that_says_it_is_busy_is_not_asked_again_for_each() {
    let source = Source::new().await;
    let asked = Asked::new(&source, "");
    let (_, others) = asked.beside_a(&source, &["b", "busy", "c"]).await;
    for (found, _) in &others {
        assert_eq!(found.as_ref().err().map(|error| error.code), Some(ErrorCode::SourceBusy));
    }
    assert_eq!(source.paths(), ["/one/a", "/many"]);
}

#[tokio::test]
async fn two_writings_of_one_key_are_each_answered_as_alone() {
    let source = Source::new().await;
    let asked = Asked::new(&source, "");
    let (_, others) = asked.beside_a(&source, &["7", "007"]).await;
    assert_eq!((name(&others[0]).as_deref(), others[0].1), (Some("of 7"), Some(Together::Gathered)));
    assert_eq!((name(&others[1]).as_deref(), others[1].1), (Some("of 007"), Some(Together::Apart)));
}

#[tokio::test]
async fn a_key_that_the_source_writes_otherwise_is_answered_beside_others_as_alone() {
    let source = Source::new().await;
    let asked = Asked::new(&source, "");
    let (_, others) = asked.beside_a(&source, &["b", "cased", "c"]).await;
    assert_eq!((name(&others[0]).as_deref(), others[0].1), (Some("of b"), Some(Together::Gathered)));
    assert_eq!((name(&others[1]).as_deref(), others[1].1), (Some("of cased"), Some(Together::Apart)));
    assert_eq!((name(&others[2]).as_deref(), others[2].1), (Some("of c"), Some(Together::Gathered)));
    assert_eq!(source.paths(), ["/one/a", "/many", "/one/cased"]);
}

#[tokio::test]
async fn a_source_that_does_not_answer_is_not_asked_again_for_each() {
    let source = Source::new().await;
    let asked = Asked::new(&source, "limits: {retries_max: 0, timeout_ms: 300}");
    source.close();
    let keys = ["a", "b", "hanging", "c"];
    let found = join_all(keys.iter().map(|key| asked.lookup(key))).await;
    for (found, together) in &found {
        assert_eq!(found.as_ref().unwrap_err().code, ErrorCode::SourceTimeout);
        assert_ne!(*together, Some(Together::Apart));
    }
    assert_eq!(source.paths(), ["/one/a", "/many"]);
}

#[tokio::test]
async fn a_key_for_which_the_source_hangs_or_refuses_costs_others_no_try_again_and_again_and_they_gather_on() {
    for (kind, code) in [("hanging", ErrorCode::SourceTimeout), ("refused", ErrorCode::SourceError)] {
        let source = Source::new().await;
        let asked = Asked::new(&source, "limits: {retries_max: 0, timeout_ms: 1000}");
        let _ = asked.beside_a(&source, &["b", kind, "c"]).await;
        let batches = || source.paths().iter().filter(|path| *path == "/many").count();
        assert_eq!(batches(), 1);
        for round in 1..=3 {
            let keys = ["d", "e", kind, "f", "b", "g"];
            let found = join_all(keys.iter().map(|key| asked.lookup(key))).await;
            for (found, key) in found.iter().zip(keys) {
                if key == kind {
                    assert_eq!(found.0.as_ref().err().map(|error| error.code), Some(code), "{kind}");
                    continue;
                }
                let alone = ["d", "b"].contains(&key);
                let together = (!alone).then_some(Together::Gathered);
                assert_eq!((name(found), found.1), (Some(format!("of {key}")), together), "{kind} {key}");
            }
            assert_eq!(batches(), 1 + round, "all others gather on");
        }
        let batch = |keys: &[String]| keys.len() > 1 && keys.iter().any(|key| key == kind || key == "b");
        let of_them = source.seen().iter().filter(|seen| batch(&seen.keys)).count();
        assert_eq!(of_them, 1, "the keys of that batch go out by themselves");
        if kind == "refused" {
            // After a while these gather as before.
            tokio::time::sleep(Duration::from_millis(10_050)).await;
            source.close();
            let release = async {
                source.was_asked(source.seen().len() + 2).await;
                source.open();
            };
            let keys = ["k", "b", "c", "d"];
            let (found, ()) = futures::join!(join_all(keys.iter().map(|key| asked.lookup(key))), release);
            assert!(found.iter().skip(1).all(|found| found.1 == Some(Together::Gathered)), "{found:?}");
            assert_eq!(batches(), 5);
        }
    }
}

#[tokio::test]
async fn where_the_source_says_that_it_is_busy_lookups_gather_on() {
    let source = Source::new().await;
    let asked = Asked::new(&source, "");
    for times in 1..=2 {
        let round = join_all(["a", "busy", "c"].iter().map(|key| asked.lookup(key)));
        assert_eq!(round.await[1].0.as_ref().err().map(|error| error.code), Some(ErrorCode::SourceBusy));
        assert_eq!(source.paths().iter().filter(|path| *path == "/many").count(), times);
    }
}

#[tokio::test]
async fn a_source_that_has_too_much_to_do_is_not_asked_more_often_for_it() {
    for (kind, asked_again) in [("overloaded", false), ("failing", true)] {
        let source = Source::new().await;
        let asked = Asked::new(&source, "");
        let (_, others) = asked.beside_a(&source, &["b", kind, "c"]).await;
        assert_eq!(others[1].0.as_ref().err().map(|error| error.code), Some(ErrorCode::SourceError));
        for other in [&others[0], &others[2]] {
            // A server may err for the sake of one key.
            assert_eq!((other.0.is_ok(), other.1 == Some(Together::Apart)), (asked_again, asked_again), "{kind}");
        }
        assert_eq!(source.seen().len(), if asked_again { 5 } else { 2 }, "{kind}");
        source.seen.lock().unwrap().clear();
        let (_, others) = asked.beside_a(&source, &["b", "c", "d"]).await;
        assert!(others.iter().all(|found| found.0.is_ok() && found.1 == Some(Together::Gathered)), "{kind}");
        assert_eq!(source.paths(), ["/one/a", "/many"], "{kind}");
    }
}

#[tokio::test]
async fn where_there_is_no_session_lookups_gather_on_and_are_not_asked_again_for_each() {
    let source = Source::new().await;
    let fetched = Arc::new(Mutex::new(0));
    let count = Arc::clone(&fetched);
    let token = async move || {
        *count.lock().unwrap() += 1;
        tokio::time::sleep(Duration::from_millis(100)).await;
        match *count.lock().unwrap() {
            1 => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
            _ => r#"{"access_token":"t","token_type":"Bearer","expires_in":3600}"#.into_response(),
        }
    };
    let tokens = serve(Router::new().route("/token", post(token))).await;
    let sign = format!("sign: {{scheme: oauth2, token_url: \"{tokens}/token\", client_id: id, client_secret: s}}");
    let asked = Asked::new(&source, &sign);
    let keys = ["a", "b", "c", "d"];
    let found = join_all(keys.iter().map(|key| asked.lookup(key))).await;
    assert!(found.iter().all(|found| found.0.is_err() && found.1 != Some(Together::Apart)), "{found:?}");
    assert_eq!((source.seen().len(), *fetched.lock().unwrap()), (0, 1));
    tokio::time::sleep(Duration::from_millis(700)).await;
    let (_, others) = asked.beside_a(&source, &keys[1..]).await;
    assert!(others.iter().all(|found| found.0.is_ok() && found.1 == Some(Together::Gathered)), "{others:?}");
    assert_eq!(source.paths(), ["/one/a", "/many"]);
}

#[tokio::test]
async fn the_same_request_of_all_is_one_call_where_the_binding_says_so_and_nothing_is_kept() {
    let query = |division: &str| format!("{{ households(division: \"{division}\") {{ id name }} }}");
    for (more, expected) in [("shares_calls: true", 1), ("", 30), ("shares_calls: false", 30)] {
        let source = Source::new().await;
        let whole = source.gateway(&format!("joined-{expected}-{}", more.len()), more).await;
        source.close();
        let release = async {
            source.was_asked(expected).await;
            // Long enough for all to come; who comes later asks anew.
            tokio::time::sleep(Duration::from_millis(if expected == 1 { 1_000 } else { 0 })).await;
            source.open();
        };
        let ask = async |n: usize| whole.ask_as(&format!("clerk {n}"), &query("33")).await;
        let (answers, ()) = futures::join!(join_all((0..30).map(ask)), release);
        for answer in answers {
            assert_eq!(answer["data"], json!({"households": [{"id": "l", "name": "of l"}]}), "{answer}");
        }
        assert_eq!(source.seen().len(), expected, "{more}");
        whole.ask(&query("33")).await;
        assert_eq!(source.seen().len(), expected + 1, "what has ended is not kept");
    }
    let source = Source::new().await;
    let whole = source.gateway("joined-not", "shares_calls: true").await;
    source.close();
    let release = async {
        source.was_asked(2).await;
        source.open();
    };
    let ask = async |division| whole.ask(&query(division)).await;
    let _ = futures::join!(ask("33"), ask("3311"), release);
    assert_eq!(source.paths().len(), 2, "what differs in anything is another call");
}

#[tokio::test]
async fn a_quota_counts_what_each_caller_caused_however_many_calls_were_made() {
    let quota = "quota: [{role: clerk, per: principal, calls_per_minute: 1}]\nshares_calls: true";
    let source = Source::new().await;
    let whole = source.gateway("quota", quota).await;
    source.close();
    let query = "{ households(division: \"33\") { id name } }";
    let release = async {
        source.was_asked(1).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        source.open();
    };
    let (first, second, ()) = futures::join!(whole.ask_as("a", query), whole.ask_as("b", query), release);
    assert_eq!((&first["errors"], &second["errors"]), (&Value::Null, &Value::Null));
    assert_eq!(source.seen().len(), 1);
    for caller in ["a", "b"] {
        let again = whole.ask_as(caller, query).await;
        assert_eq!(again["errors"][0]["extensions"]["code"], "QUOTA_EXCEEDED", "{caller}: {again}");
    }
    assert_eq!(source.seen().len(), 1);
}

#[tokio::test]
async fn a_full_batch_goes_out_and_the_next_gathers_behind_it() {
    let source = Source::new().await;
    let binding = BINDING.replace("${CIVIL_URL}", "${URL}").replace("SOURCE", "").replace("max: 100}", "max: 4}");
    let asked = Asked::of(&binding, &source);
    let keys = keys("k", 10);
    let keys: Vec<&str> = keys.iter().map(String::as_str).collect();
    let (_, others) = asked.beside_a(&source, &keys).await;
    for (found, key) in others.iter().zip(&keys) {
        assert_eq!(name(found), Some(format!("of {key}")));
    }
    let counts: Vec<usize> = source.seen().iter().map(|seen| seen.keys.len()).collect();
    assert_eq!(counts.iter().sum::<usize>(), 11);
    assert_eq!((counts[0], counts.len(), counts.iter().max()), (1, 4, Some(&4)), "{counts:?}");
}

#[tokio::test]
async fn what_was_read_in_one_call_stands_in_the_record_of_each_who_read_it() {
    let source = Source::new().await;
    let whole = source.gateway("records", "").await;
    let keys = keys("k", 5);
    asked(&whole, &keys).await;
    assert!(source.seen().len() < 5);
    let records = whole.records().await;
    let told = |at: &str| records.iter().map(|record| record.pointer(at).unwrap().to_string()).collect::<BTreeSet<_>>();
    assert_eq!((records.len(), told("/who/id").len()), (5, 5), "{records:?}");
    // Each names its own subject, and the call that it caused.
    assert_eq!(told("/access/0/subjects").len(), 5, "{records:?}");
    assert!(records.iter().all(|record| record["access"][0]["subjects"].as_array().unwrap().len() == 1), "{records:?}");
    let called = json!([{"source": "civil", "calls": 1, "outcomes": {"OK": 1}}]).to_string();
    assert_eq!(told("/sources"), [called].into());
}

#[tokio::test]
async fn where_a_shared_call_is_not_answered_each_is_answered_by_the_fallback() {
    let fallback = "    fallback:\n      base_url: ${CIVIL_URL}/standby\n    fields:";
    let source = Source::new().await;
    let edit =
        |binding: String| binding.replace("timeout_ms: 20000", "timeout_ms: 300").replacen("    fields:", fallback, 1);
    let whole = source.gateway_of("fallback", "", edit).await;
    source.close();
    let keys = keys("k", 10);
    for (answer, key) in asked(&whole, &keys).await.iter().zip(&keys) {
        assert_eq!(answer["data"]["household"]["name"], format!("of {key}"), "{answer}");
    }
    let paths = source.paths();
    assert!(paths.len() <= 6 && paths.iter().any(|path| path == "/standby/many"), "{paths:?}");
}

#[tokio::test]
async fn calls_in_callers_names_are_each_their_own_and_cannot_be_made_to_be_shared() {
    let source = Source::new().await;
    let whole = source.gateway("callers", "authority: caller").await;
    source.close();
    let release = async {
        source.was_asked(3).await;
        source.open();
    };
    let ask = async |caller| whole.ask_as(caller, &of("k")).await;
    let _ = futures::join!(ask("a"), ask("b"), ask("c"), release);
    let told: BTreeSet<String> =
        source.seen().iter().map(|seen| seen.headers["x-principal"].to_str().unwrap().to_owned()).collect();
    assert_eq!(told, ["a", "b", "c"].map(str::to_owned).into());
}

type Found = (Result<Fetched, SourceError>, Option<Together>);

/// A connector, asked without the gateway around it.
struct Asked {
    connector: Arc<Connector>,
    one: Arc<CallTemplate>,
    many: Arc<CallTemplate>,
    wanted: Arc<[Pointer]>,
}

impl Asked {
    /// `limits` stands in place of the binding's, with what else is of the source.
    fn new(source: &Source, more: &str) -> Self {
        let binding = BINDING.replace("${CIVIL_URL}", "${URL}").replace("SOURCE", "");
        let binding = match more.contains("limits:") {
            true => {
                binding.lines().filter(|line| !line.starts_with("limits:")).map(|line| format!("{line}\n")).collect()
            }
            false => binding,
        };
        Self::of(&format!("{binding}{more}\n"), source)
    }

    fn of(binding: &str, source: &Source) -> Self {
        let asked = compile(binding, &source.url).unwrap_or_else(|faults| panic!("{faults}"));
        let [one, many] = [asked.one, asked.many].map(|template| Arc::new(template.unwrap()));
        Self { connector: Arc::new(asked.connector), one, many, wanted: Arc::default() }
    }

    fn wanting(&self, wanted: &[&str]) -> Self {
        let [one, many] = [&self.one, &self.many].map(Arc::clone);
        let wanted = wanted.iter().map(|at| Pointer::parse(at).unwrap()).collect();
        Self { connector: Arc::clone(&self.connector), one, many, wanted }
    }

    /// As another snapshot has it.
    fn again(&self) -> Self {
        let [one, many] = [&self.one, &self.many].map(|template| Arc::new(CallTemplate::clone(template)));
        Self { connector: Arc::clone(&self.connector), one, many, wanted: Arc::clone(&self.wanted) }
    }

    async fn ask(&self, key: &str, inputs: &[(Arc<str>, String)], within: Duration) -> Found {
        static ASKERS: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(100);
        self.ask_for(ASKERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed), key, inputs, within).await
    }

    async fn ask_for(&self, asker: usize, key: &str, inputs: &[(Arc<str>, String)], within: Duration) -> Found {
        let keys = [key.into()];
        let deadline = tokio::time::Instant::now() + within;
        let context = CallContext { request_id: format!("r{asker}"), ..CallContext::default() };
        let (template, batch, wanted) = (&self.one, Some(&self.many), &self.wanted);
        let fetch = Fetch { template, keys: &keys, inputs, wanted, deadline, context: &context, page: None };
        let inputs = inputs.into();
        let offer = Offer { template, batch, inputs: &inputs, wanted, asker };
        self.connector.fetch_together(&fetch, &offer).await
    }

    async fn lookup(&self, key: &str) -> Found {
        self.ask(key, &[], Duration::from_secs(20)).await
    }

    /// Asks for `a`, which is not answered before the others have gone out, and for them at the same moment.
    async fn beside_a(&self, source: &Source, keys: &[&str]) -> (Found, Vec<Found>) {
        source.close();
        let others = async {
            source.was_asked(1).await;
            let release = async {
                source.was_asked(2).await;
                tokio::time::sleep(Duration::from_millis(50)).await;
                source.open();
            };
            futures::join!(join_all(keys.iter().map(|key| self.lookup(key))), release).0
        };
        futures::join!(self.lookup("a"), others)
    }

    async fn alone(&self, key: &str) -> Result<Fetched, SourceError> {
        let keys = [key.into()];
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        let context = CallContext::default();
        let (inputs, wanted) = (&[], &[]);
        let fetch = Fetch { template: &self.one, keys: &keys, inputs, wanted, deadline, context: &context, page: None };
        self.connector.fetch(fetch).await
    }
}

/// What was found of a key, and the name in its record.
fn name(found: &Found) -> Option<String> {
    let record = found.0.as_ref().ok()?.records.first()?;
    let record: Value = serde_json::from_str(record.json.raw()).unwrap();
    record["name"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn each_waits_to_its_own_deadline_and_the_first_ones_does_not_end_the_call_for_others() {
    let source = Source::new().await;
    let asked = Asked::new(&source, "shares_calls: true");
    source.close();
    let short = async {
        let began = Instant::now();
        let found = asked.ask("k", &[], Duration::from_millis(800)).await;
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
        // Only now is there an answer.
        source.open();
        found
    };
    let long = async {
        source.was_asked(1).await;
        asked.lookup("k").await
    };
    let (short, long) = futures::join!(short, long);
    assert_eq!(short.0.unwrap_err().code, ErrorCode::SourceTimeout);
    assert_eq!((name(&long).as_deref(), long.1), (Some("of k"), Some(Together::Joined)));
    assert_eq!(source.paths(), ["/one/k"]);
    let counted = asked.connector.counted();
    assert_eq!(
        (counted.calls, counted.requests, counted.answered),
        (1, 1, 1),
        "the source's own count is of real calls"
    );
}

#[tokio::test]
async fn who_goes_away_takes_the_call_from_nobody_and_the_last_one_ends_it() {
    let source = Source::new().await;
    let asked = Arc::new(Asked::new(&source, "shares_calls: true"));
    source.close();
    let begin = |key: &'static str| {
        let asked = Arc::clone(&asked);
        tokio::spawn(async move { asked.lookup(key).await })
    };
    let first = begin("k");
    source.was_asked(1).await;
    let second = begin("k");
    tokio::time::sleep(Duration::from_millis(200)).await;
    first.abort();
    tokio::time::sleep(Duration::from_millis(50)).await;
    source.open();
    assert_eq!(name(&second.await.unwrap()).as_deref(), Some("of k"));
    assert_eq!((source.seen().len(), *source.dropped.lock().unwrap()), (1, 0));

    source.close();
    let both = [begin("k"), begin("k")];
    source.was_asked(2).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    both.iter().for_each(tokio::task::JoinHandle::abort);
    until(|| *source.dropped.lock().unwrap() == 1).await;
    until(|| asked.connector.counted().under_way == 0).await;
    assert_eq!(asked.connector.counted().given_up, 1);
    // What was given up is nothing that could still be joined.
    source.open();
    assert_eq!(name(&asked.lookup("k").await).as_deref(), Some("of k"));
    assert_eq!(source.seen().len(), 3);
}

#[tokio::test]
async fn those_who_gather_and_go_away_take_nothing_from_the_others() {
    let source = Source::new().await;
    let asked = Arc::new(Asked::new(&source, ""));
    source.close();
    let begin = |key: &'static str| {
        let asked = Arc::clone(&asked);
        tokio::spawn(async move { asked.lookup(key).await })
    };
    let first = begin("a");
    source.was_asked(1).await;
    let (second, third) = (begin("b"), begin("c"));
    source.was_asked(2).await;
    first.abort();
    second.abort();
    tokio::time::sleep(Duration::from_millis(50)).await;
    source.open();
    let third = third.await.unwrap();
    assert_eq!((name(&third).as_deref(), third.1), (Some("of c"), Some(Together::Gathered)));
    assert_eq!(source.paths(), ["/one/a", "/many"]);
    until(|| asked.connector.counted().under_way == 0).await;
    // The lane is as it was: one alone goes at once, by itself.
    assert_eq!(asked.lookup("d").await.1, None);
    assert_eq!(source.paths()[2..], ["/one/d"]);
}

#[tokio::test]
async fn a_call_all_of_whose_callers_waited_in_vain_counts_against_the_source() {
    let source = Source::new().await;
    let limits = "limits: {timeout_ms: 2000, retries_max: 0, breaker: {failures_min: 1, open_ms: 60000}}";
    let asked = Asked::new(&source, &format!("{limits}\nshares_calls: true"));
    source.close();
    let patient = || asked.ask("k", &[], Duration::from_millis(1_200));
    let (first, second) = futures::join!(patient(), patient());
    assert_eq!(first.0.unwrap_err().code, ErrorCode::SourceTimeout);
    assert_eq!(second.0.unwrap_err().code, ErrorCode::SourceTimeout);
    until(|| asked.connector.counted().under_way == 0).await;
    assert_eq!(asked.connector.counted().failed, [(ErrorCode::SourceTimeout, 1)]);
    assert_eq!(asked.lookup("k").await.0.unwrap_err().code, ErrorCode::SourceSuspended);
    assert_eq!(source.seen().len(), 1);
}

#[tokio::test]
async fn a_session_that_is_not_had_in_time_is_told_as_that_and_not_as_a_busy_source() {
    let router = Router::new().route("/token", post(async || std::future::pending::<String>().await));
    let source = Source { url: serve(router).await, ..Source::new().await };
    let sign = "sign: {scheme: oauth2, token_url: /token, client_id: id, client_secret: s}";
    let asked = Asked::new(&source, &format!("{sign}\nshares_calls: true"));
    let patient = || asked.ask("k", &[], Duration::from_millis(400));
    let (first, second) = futures::join!(patient(), patient());
    for error in [first.0.unwrap_err(), second.0.unwrap_err()] {
        assert_eq!(error.code, ErrorCode::SourceTimeout);
        assert!(error.detail.contains("session"), "{}", error.detail);
    }
    until(|| asked.connector.counted().under_way == 0).await;
    assert_eq!(asked.connector.counted().failed, [(ErrorCode::SourceTimeout, 1)]);
}

#[tokio::test]
async fn requests_of_two_snapshots_and_with_other_inputs_never_meet() {
    let source = Source::new().await;
    for more in ["", "shares_calls: true"] {
        source.seen.lock().unwrap().clear();
        let asked = Asked::new(&source, more);
        let reloaded = asked.again();
        source.close();
        let inputs: [(Arc<str>, String); 1] = [("name".into(), "x".to_owned())];
        let within = Duration::from_secs(20);
        let release = async {
            source.was_asked(3).await;
            source.open();
        };
        let (a, b, c, ()) =
            futures::join!(asked.lookup("k"), reloaded.lookup("k"), asked.ask("k", &inputs, within), release);
        for found in [&a, &b, &c] {
            assert_eq!((name(found).as_deref(), found.1), (Some("of k"), None), "{more}");
        }
        assert_eq!(source.paths(), ["/one/k"; 3], "{more}");
    }
}

const GRAPHQL: &str = r#"
source: civil
title: 民政局
protocol: graphql
base_url: ${URL}/graphql
errors: {refused: {at: /extensions/code, is: FORBIDDEN}}
endpoints:
  facts:
    entity: Household
    one: {field: household, argument: {name: id, type: "ID!"}}
    many: {field: households, argument: {name: ids, type: "[ID!]!"}, item_key: /id, batch_max: 100}
    fields: {name: /name}
"#;

#[tokio::test]
async fn what_a_source_says_against_one_key_or_of_all_is_said_to_each_of_its_own_keys_alone() {
    let source = Source::new().await;
    let asked = Asked::of(GRAPHQL, &source).wanting(&["/name"]);
    let other = asked.wanting(&["/name", "/city"]);
    source.close();
    let gathering = async {
        source.was_asked(1).await;
        let release = async {
            source.was_asked(3).await;
            source.open();
        };
        let lookups = [asked.lookup("b"), asked.lookup("denied"), asked.lookup("c"), other.lookup("d")];
        futures::join!(join_all(lookups), release).0
    };
    let (first, found) = futures::join!(asked.lookup("a"), gathering);
    assert_eq!(name(&first).as_deref(), Some("of a"));
    assert_eq!((name(&found[0]).as_deref(), found[0].1), (Some("of b"), Some(Together::Apart)));
    assert_eq!((name(&found[2]).as_deref(), found[2].1), (Some("of c"), Some(Together::Apart)));
    let denied = found[1].0.as_ref().unwrap();
    assert_eq!((&denied.refused[..], denied.records.len()), (&[0][..], 0));
    let seen = source.seen();
    let together: Vec<BTreeSet<&str>> =
        seen.iter().map(|seen| seen.keys.iter().map(String::as_str).collect()).collect();
    assert!(together.contains(&BTreeSet::from(["b", "c", "denied"])), "{together:?}");
    // Another field is another request: nobody is asked for what it was not permitted.
    assert_eq!((name(&found[3]).as_deref(), found[3].1), (Some("of d"), None));
    let with_city: Vec<&Vec<String>> =
        seen.iter().filter(|seen| seen.path.contains("city")).map(|seen| &seen.keys).collect();
    assert_eq!(with_city, [&["d".to_owned()]]);
}
