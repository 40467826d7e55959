//! What browsers send for pages: the gateway's own, listed sites', and everybody else's. Over real listeners.

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};

use crate::support::{Options, Running};

const PORTAL: &str = "https://portal.example";
const QUERY: &str = r#"{"query":"{a}"}"#;

async fn listing(credentials: bool) -> Running {
    Running::start(Options { origins: vec![PORTAL], credentials, get_queries: true, ..Options::default() }).await
}

async fn off() -> Running {
    Running::start(Options { get_queries: true, ..Options::default() }).await
}

fn preflight(running: &Running, path: &str, origin: &str) -> RequestBuilder {
    let request = running.client.request(Method::OPTIONS, running.url(path)).header("origin", origin);
    request
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-purpose")
}

async fn sent(request: RequestBuilder) -> Response {
    request.send().await.unwrap()
}

fn allowed(response: &Response) -> Option<&str> {
    response.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap())
}

fn words(response: &Response, name: &str) -> Vec<String> {
    let text = response.headers().get(name).map_or("", |value| value.to_str().unwrap());
    text.split(',').map(|word| word.trim().to_ascii_lowercase()).collect()
}

#[tokio::test]
async fn a_listed_sites_page_asks_first_and_then_reads_the_answer() {
    let running = listing(false).await;
    let answer = sent(preflight(&running, "/graphql", PORTAL)).await;
    assert_eq!((answer.status().as_u16(), allowed(&answer)), (204, Some(PORTAL)));
    assert!(words(&answer, "access-control-allow-methods").contains(&"post".to_owned()));
    for header in ["authorization", "content-type", "x-purpose", "x-case", "x-requested-with"] {
        assert!(words(&answer, "access-control-allow-headers").contains(&header.to_owned()), "{header}");
    }
    assert_eq!(answer.headers()["access-control-max-age"], "600");
    assert!(answer.headers().get("access-control-allow-credentials").is_none());
    let answer = sent(running.post().header("origin", PORTAL).header("sec-fetch-site", "cross-site").body(QUERY)).await;
    assert_eq!((answer.status().as_u16(), allowed(&answer)), (200, Some(PORTAL)));
    assert!(words(&answer, "vary").contains(&"origin".to_owned()));
    assert!(words(&answer, "access-control-expose-headers").contains(&"retry-after".to_owned()));
    // What is refused can be read, too.
    for (body, authorization, expected) in [("{", "", 400), (QUERY, "Bearer a.b.c", 401)] {
        let request = running.post().header("origin", PORTAL).body(body);
        let request = if authorization.is_empty() { request } else { request.header("authorization", authorization) };
        let answer = sent(request).await;
        assert_eq!((answer.status().as_u16(), allowed(&answer)), (expected, Some(PORTAL)));
    }
    let with = listing(true).await;
    let answer = sent(preflight(&with, "/graphql", PORTAL)).await;
    assert_eq!(answer.headers()["access-control-allow-credentials"], "true");
    assert_eq!(allowed(&answer), Some(PORTAL), "an origin, never a wildcard");
}

#[tokio::test]
async fn other_sites_pages_are_refused_and_told_nothing() {
    for running in [listing(true).await, off().await] {
        for origin in [
            "https://evil.example",
            "https://portal.example.evil.example",
            "https://portal.example:8443",
            "http://portal.example",
            "https://PORTAL.example.",
            "null",
            "",
        ] {
            for request in [
                preflight(&running, "/graphql", origin),
                running.post().header("origin", origin).body(QUERY),
                running
                    .client
                    .get(running.url("/graphql?query={a}"))
                    .header("origin", origin)
                    .header("x-requested-with", "x"),
            ] {
                let answer = sent(request).await;
                assert_eq!((answer.status().as_u16(), allowed(&answer)), (403, None), "{origin}");
                assert!(answer.headers().get("access-control-allow-headers").is_none());
            }
        }
        // A request without an origin that the browser says is another site's.
        for site in ["cross-site", "same-site", "nonsense"] {
            let get = running.client.get(running.url("/graphql?query={a}")).header("content-type", "application/json");
            assert_eq!(sent(get.header("sec-fetch-site", site)).await.status(), 403, "{site}");
        }
        let twice = running.post().header("origin", PORTAL).header("origin", "https://evil.example").body(QUERY);
        assert_eq!(sent(twice).await.status(), 403);
        assert!(running.seen().is_empty());
    }
}

#[tokio::test]
async fn without_a_list_no_other_site_may_ask_and_nothing_is_said_of_origins() {
    let running = off().await;
    let answer = sent(preflight(&running, "/graphql", PORTAL)).await;
    assert_eq!((answer.status().as_u16(), allowed(&answer)), (403, None));
    let answer = sent(running.post().body(QUERY)).await;
    assert_eq!(answer.status(), 200);
    assert!(allowed(&answer).is_none() && answer.headers().get("vary").is_none());
}

#[tokio::test]
async fn the_gateways_own_pages_and_programs_ask_as_ever() {
    let running = off().await;
    let own = format!("http://{}", running.address);
    for headers in [
        vec![],
        vec![("origin", own.as_str())],
        vec![("origin", own.as_str()), ("sec-fetch-site", "same-origin")],
        // A front that ends TLS changes the host; the browser knows better.
        vec![("origin", "https://gateway.example"), ("sec-fetch-site", "same-origin")],
        vec![("sec-fetch-site", "none")],
    ] {
        let request = headers.iter().fold(running.post(), |request, (name, value)| request.header(*name, *value));
        assert_eq!(sent(request.body(QUERY)).await.status(), 200, "{headers:?}");
    }
}

#[tokio::test]
async fn a_form_or_a_fetch_without_preflight_cannot_ask() {
    let running = listing(true).await;
    // What a page can send to any site without the browser asking first.
    let simple = ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""];
    for kind in simple {
        for origin in [None, Some(PORTAL)] {
            let request = running.client.post(running.url("/graphql")).body(QUERY);
            let request = if kind.is_empty() { request } else { request.header("content-type", kind) };
            let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
            assert_eq!(sent(request).await.status(), 415, "{kind}");
        }
    }
    for (name, value) in [
        ("accept", "application/graphql-response+json"),
        ("accept-language", "zh"),
        ("content-type", "text/plain"),
        ("content-language", "zh"),
        ("range", "bytes=0-1"),
        ("dnt", "1"),
    ] {
        let get = running.client.get(running.url("/graphql?query={a}")).header(name, value);
        assert_eq!(sent(get).await.status(), 400, "a GET with {name}: {value} alone");
    }
    assert!(running.seen().is_empty());
    for (name, value) in [("x-requested-with", "fetch"), ("content-type", "application/json")] {
        let get = running.client.get(running.url("/graphql?query={a}")).header(name, value);
        assert_eq!(sent(get).await.status(), 200, "{name}");
    }
}

#[tokio::test]
async fn options_and_head_say_what_there_is() {
    let running = off().await;
    let answer = sent(running.client.request(Method::OPTIONS, running.url("/graphql"))).await;
    assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (204, "GET, POST, OPTIONS"));
    let head = |path: &str| running.client.head(running.url(path)).header("x-requested-with", "x");
    assert_eq!(sent(head("/graphql?query={a}")).await.status(), 405, "nothing is asked for an answer nobody reads");
    let live = sent(head("/health/live")).await;
    assert_eq!((live.status().as_u16(), live.text().await.unwrap().as_str()), (200, ""));
    assert_eq!(sent(running.client.post(running.url("/health/live"))).await.status(), 405);
    assert!(running.seen().is_empty());
}

#[tokio::test]
async fn every_answer_has_the_headers_that_keep_browsers_careful_and_no_banner() {
    let running = Running::start(Options { graphiql: true, ..Options::default() }).await;
    let requests = [
        (running.post().body(QUERY), 200),
        (running.post().body("{"), 400),
        (running.client.get(running.url("/health/live")), 200),
        (running.client.get(running.url("/nothing")), 404),
        (running.client.get(running.url("/graphiql")), 200),
        (running.client.put(running.url("/graphql")), 405),
    ];
    for (request, status) in requests {
        let answer = sent(request).await;
        let url = answer.url().path().to_owned();
        assert_eq!(answer.status(), status, "{url}");
        for (name, value) in [
            ("cache-control", "no-store"),
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("x-frame-options", "DENY"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(answer.headers()[name], value, "{url}");
        }
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{url}: {policy}");
        for name in ["server", "x-powered-by", "etag", "last-modified", "accept-ranges", "strict-transport-security"] {
            assert!(answer.headers().get(name).is_none(), "{url}: {name}");
        }
    }
    let conditional = running.post().header("if-none-match", "*").header("range", "bytes=0-3").body(QUERY);
    let answer = sent(conditional).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.text().await.unwrap(), r#"{"data":{"a":1}}"#, "whole, whatever part was asked for");
}

#[tokio::test]
async fn compressed_bodies_are_refused_and_told_so() {
    let running = off().await;
    for coding in ["gzip", "br", "deflate", "identity, gzip", "zstd"] {
        let answer = sent(running.post().header("content-encoding", coding).body(QUERY)).await;
        assert_eq!(
            (answer.status().as_u16(), &answer.headers()["accept-encoding"]),
            (415, &"identity".parse().unwrap())
        );
        let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert!(body["errors"][0]["message"].as_str().unwrap().contains("compressed"), "{coding}");
    }
    assert_eq!(sent(running.post().header("content-encoding", "identity").body(QUERY)).await.status(), 200);
}

#[tokio::test]
async fn batches_are_taken_where_they_are_on_each_operation_for_itself() {
    let off = off().await;
    assert_eq!(sent(off.post().body(format!("[{QUERY}]"))).await.status(), 400);
    let running = Running::start(Options { batch_max: 3, ..Options::default() }).await;
    let body = json!([
        { "query": "one", "extensions": { "purpose": "help" } },
        { "query": "VALIDATION_FAILED" },
        { "query": "PANIC" },
    ]);
    let answer = sent(running.post().body(body.to_string())).await;
    assert_eq!(answer.status(), 200);
    let answers: Vec<Value> = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
    assert_eq!((answers.len(), &answers[0]["data"]["a"]), (3, &json!(1)));
    assert_eq!(answers[2]["errors"][0]["extensions"]["code"], "INTERNAL", "one that fails costs itself");
    let seen = running.seen();
    let mut ids: Vec<&str> = seen.iter().map(|(_, _, id, _)| id.as_str()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 3, "each has an id of its own");
    let purposes: Vec<Option<&str>> = seen.iter().map(|(who, ..)| who.purpose.as_deref()).collect();
    assert_eq!(purposes, [Some("help"), None, None], "what one declares is not the others'");
    assert!(seen.iter().all(|(_, request, ..)| request.others == 2));
    for wrong in [
        "[]",
        "[1]",
        "[[]]",
        r#"[{"query":"{a}"},{}]"#,
        r#"[{"query":"{a}"},{"query":"a","query":"b"}]"#,
        &format!("[{}]", [QUERY; 4].join(",")),
        &format!("[{QUERY}"),
    ] {
        let answer = sent(running.post().body(wrong.to_owned())).await;
        assert_eq!(answer.status(), 400, "{wrong}");
    }
    assert_eq!(running.seen().len(), 3);
}

#[tokio::test]
async fn a_batch_is_counted_as_what_it_holds() {
    use huxiang::model::config::rates::{Rate, Rates};
    let anonymous = Rate { requests_per_minute: Some(4), upstream_calls_per_minute: None };
    let rates = Rates { anonymous, ..Rates::default() };
    let running = Running::start(Options { batch_max: 3, rates, ..Options::default() }).await;
    let batch = |n: usize| running.post().body(format!("[{}]", vec![QUERY; n].join(",")));
    assert_eq!(sent(batch(3)).await.status(), 200);
    assert_eq!(sent(batch(2)).await.status(), 429);
    assert_eq!(running.seen().len(), 3);
}
