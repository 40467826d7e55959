//! GraphQL over HTTP, over real listeners, with a gateway that only records what it was asked.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{self, Options, Running, token};

const GRAPHQL: &str = "application/graphql-response+json";

async fn post(running: &Running, body: &Value) -> (u16, Value) {
    let answer = running.post().body(body.to_string()).send().await.unwrap();
    (answer.status().as_u16(), serde_json::from_str(&answer.text().await.unwrap()).unwrap())
}

#[tokio::test]
async fn a_post_reaches_the_gateway_with_identity_and_everything_sent() {
    let running = Running::start(Options::default()).await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let answer = running
        .post()
        .header("authorization", format!("Bearer {}", token(&["cadre"])))
        .header("x-forwarded-for", "198.51.100.7, 203.0.113.9")
        .header("x-case", "JD-2026-001")
        .header("x-request-id", "from-proxy-1")
        .header("traceparent", format!("00-{trace}-00f067aa0ba902b7-01"))
        .body(r#"{"query":"{a}","operationName":"A","variables":{"id":"1"},"extensions":{"purpose":"help"}}"#)
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 200);
    let header = |name: &str| answer.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
    assert_eq!(header("content-type").as_deref(), Some("application/json; charset=utf-8"));
    assert_eq!(header("cache-control").as_deref(), Some("no-store"));
    assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"));
    assert_eq!(header("x-request-id").as_deref(), Some("from-proxy-1"));
    let seen = running.seen();
    let (identity, request, id, trace_out) = &seen[0];
    let principal = identity.principal.as_ref().unwrap();
    assert_eq!((principal.id.as_str(), principal.roles[0].as_str()), ("zhang", "cadre"));
    assert_eq!(
        (identity.address.to_string().as_str(), identity.networks.as_slice()),
        ("203.0.113.9", &["outside".to_owned()][..])
    );
    assert_eq!((identity.purpose.as_deref(), identity.case.as_deref()), (Some("help"), Some("JD-2026-001")));
    assert_eq!((request.query.as_deref(), request.operation_name.as_deref()), (Some("{a}"), Some("A")));
    assert_eq!(Value::Object(request.variables.clone()), json!({"id": "1"}));
    assert_eq!(id, "from-proxy-1");
    assert!(trace_out.as_ref().unwrap().contains(trace));
}

#[tokio::test]
async fn no_token_is_a_visitor_and_a_bad_token_is_refused() {
    let running = Running::start(Options::default()).await;
    assert_eq!(post(&running, &json!({"query": "{a}"})).await.0, 200);
    assert_eq!(running.seen()[0].0.principal, None);
    assert_eq!(running.seen()[0].0.networks, ["local"]);
    for authorization in ["Bearer a.b.c", "Basic x", &format!("Bearer {}x", token(&["cadre"]))] {
        for accept in [GRAPHQL, "application/json"] {
            let request = running.post().header("accept", accept).header("authorization", authorization);
            let answer = request.body(r#"{"query":"{a}"}"#).send().await.unwrap();
            assert_eq!(answer.status(), 401, "{authorization}");
            assert!(answer.headers()["www-authenticate"].to_str().unwrap().starts_with("Bearer "));
            let body: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
            assert_eq!(body["errors"][0]["extensions"]["code"], "UNAUTHENTICATED");
        }
    }
    assert_eq!(running.seen().len(), 1, "the gateway was not asked");
}

#[tokio::test]
async fn malformed_requests_are_refused_before_the_gateway() {
    let running = Running::start(Options::default()).await;
    for body in [
        "",
        "{",
        "[]",
        r#"[{"query":"{a}"}]"#,
        "7",
        "{}",
        r#"{"query":7}"#,
        r#"{"query":"{a}","variables":[]}"#,
        r#"{"query":"{a}","operationName":1}"#,
        r#"{"query":"{a}","extensions":"x"}"#,
        r#"{"query":"{a}","documentId":"x"}"#,
        r#"{"documentId":"unknown"}"#,
        r#"{"query":"{a}","query":"{b}"}"#,
        r#"{"query":"{a}","variables":{},"variables":{"a":1}}"#,
    ] {
        let answer = running.post().body(body).send().await.unwrap();
        assert_eq!(answer.status(), 400, "{body}");
        let text: Value = serde_json::from_str(&answer.text().await.unwrap()).unwrap();
        assert_eq!(text["errors"][0]["extensions"]["code"], "BAD_REQUEST", "{body}");
        assert!(text.get("data").is_none());
    }
    for name in ["X-Purpose", "X-Case"] {
        let twice = running.post().header(name, "help").header(name, "supervision").body(r#"{"query":"{a}"}"#);
        assert_eq!(twice.send().await.unwrap().status(), 400, "{name}");
    }
    let deep = format!("{}{}", r#"{"query":"{a}","variables":"#.to_owned() + &"{\"a\":".repeat(8_000), "1");
    assert_eq!(running.post().body(deep).send().await.unwrap().status(), 400);
    assert!(running.seen().is_empty());
}

#[tokio::test]
async fn media_types_methods_and_sizes_have_their_status() {
    let running = Running::start(Options::default()).await;
    let body = r#"{"query":"{a}"}"#;
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=gbk", "application/graphql"]
    {
        let request = running.client.post(running.url("/graphql")).header("content-type", kind);
        assert_eq!(request.body(body).send().await.unwrap().status(), 415, "{kind}");
    }
    let request = running.client.post(running.url("/graphql")).body(body);
    assert_eq!(request.send().await.unwrap().status(), 415, "no content type");
    assert_eq!(running.post().header("accept", "text/html").body(body).send().await.unwrap().status(), 406);
    for method in ["GET", "PUT", "DELETE", "HEAD"] {
        let request = running.client.request(method.parse().unwrap(), running.url("/graphql?query={a}"));
        let answer = request.header("accept", GRAPHQL).send().await.unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()),
            (405, "POST, OPTIONS"),
            "{method}"
        );
    }
    let large = format!(r#"{{"query":"{}"}}"#, "x".repeat(70_000));
    assert_eq!(running.post().body(large.clone()).send().await.unwrap().status(), 413);
    assert_eq!(running.raw_chunked(&large).await, 413, "a body without length is cut off as well");
    assert_eq!(running.client.get(running.url("/nothing")).send().await.unwrap().status(), 404);
    assert!(running.seen().is_empty());
}

#[tokio::test]
async fn status_codes_follow_the_media_type() {
    let running = Running::start(Options::default()).await;
    for (query, graphql, json) in [
        ("{a}", 200, 200),
        ("PARSE_FAILED", 400, 200),
        ("VALIDATION_FAILED", 400, 200),
        ("LIMIT_EXCEEDED", 400, 200),
        ("UNAUTHENTICATED", 401, 401),
        ("FORBIDDEN", 403, 200),
        ("AUDIT_UNAVAILABLE", 503, 503),
        ("DEADLINE_EXCEEDED", 504, 200),
        ("PANIC", 500, 500),
    ] {
        for (accept, expected) in [(GRAPHQL, graphql), ("application/json", json)] {
            let body = json!({ "query": query }).to_string();
            let answer = running.post().header("accept", accept).body(body).send().await.unwrap();
            assert!(answer.headers()["content-type"].to_str().unwrap().starts_with(accept));
            assert_eq!(answer.status().as_u16(), expected, "{query} as {accept}");
        }
    }
}

#[tokio::test]
async fn get_takes_queries_only_where_configured_and_never_mutations() {
    let running = Running::start(Options { get_queries: true, ..Options::default() }).await;
    let get = |query: &str| running.client.get(running.url(&format!("/graphql?{query}")));
    let answer =
        get("query=%7Ba%7D&variables=%7B%22x%22%3A1%7D").header("x-requested-with", "test").send().await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(running.seen()[0].1.variables["x"], 1);
    let bare = get("query=%7Ba%7D").send().await.unwrap();
    assert_eq!(bare.status(), 400, "nothing shows that a browser asked first");
    for mutation in ["query=mutation%7Ba%7D", "query=query+A%7Ba%7D+mutation+B%7Bb%7D&operationName=B"] {
        let answer = get(mutation).header("x-requested-with", "test").send().await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers()["allow"].to_str().unwrap()), (405, "POST"));
    }
    for bad in ["", "query=%7Ba%7D&query=x", "query=%7Ba%7D&variables=x"] {
        assert_eq!(get(bad).header("x-requested-with", "test").send().await.unwrap().status(), 400, "{bad}");
    }
    assert_eq!(running.seen().len(), 1);
}

#[tokio::test]
async fn trusted_documents_are_taken_by_get_and_post_and_checked_at_start() {
    let (query, mutation) = ("query A { a }", "mutation B { b }");
    let running = Running::start(Options { documents: vec![query, mutation], ..Options::default() }).await;
    let id = support::sha256(query);
    let url = running.url(&format!("/graphql?documentId={id}"));
    assert_eq!(running.client.get(&url).header("x-requested-with", "test").send().await.unwrap().status(), 200);
    assert_eq!(post(&running, &json!({ "documentId": id })).await.0, 200);
    for seen in running.seen() {
        assert_eq!((seen.1.query.as_deref(), seen.1.document_id.as_deref()), (Some(query), Some(id.as_str())));
    }
    let id = support::sha256(mutation);
    let url = running.url(&format!("/graphql?documentId={id}"));
    assert_eq!(running.client.get(&url).header("x-requested-with", "test").send().await.unwrap().status(), 405);
    let url = running.url("/graphql?query=%7Ba%7D");
    assert_eq!(running.client.get(&url).header("x-requested-with", "test").send().await.unwrap().status(), 405);
}

#[tokio::test]
async fn a_caller_cannot_choose_its_request_id_and_a_proxy_that_forwards_nonsense_is_refused() {
    let running = Running::start(Options { no_proxies: true, ..Options::default() }).await;
    let request = running.post().header("x-request-id", "chosen-by-me").header("x-forwarded-for", "10.0.0.1");
    let answer = request.body(r#"{"query":"{a}"}"#).send().await.unwrap();
    let id = answer.headers()["x-request-id"].to_str().unwrap();
    assert!(id.len() == 32 && id != "chosen-by-me");
    assert_eq!(running.seen()[0].0.address.to_string(), "127.0.0.1");
    let behind = Running::start(Options::default()).await;
    let request = behind.post().header("x-forwarded-for", "unknown").body(r#"{"query":"{a}"}"#);
    assert_eq!(request.send().await.unwrap().status(), 400);
    let request = behind.post().header("x-purpose", "one").body(r#"{"query":"{a}","extensions":{"purpose":"two"}}"#);
    assert_eq!(request.send().await.unwrap().status(), 400);
}

#[tokio::test]
async fn health_tells_alive_from_ready() {
    let running = Running::start(Options::default()).await;
    assert_eq!(running.client.get(running.url("/health/live")).send().await.unwrap().status(), 200);
    assert_eq!(running.client.get(running.url("/health/ready")).send().await.unwrap().status(), 200);
    running.gateway.set_ready(false);
    assert_eq!(running.client.get(running.url("/health/ready")).send().await.unwrap().status(), 503);
    assert_eq!(running.client.get(running.url("/health/live")).send().await.unwrap().status(), 200);
}

#[tokio::test]
async fn graphiql_comes_whole_from_the_gateway_and_only_where_configured() {
    let off = Running::start(Options::default()).await;
    assert_eq!(off.client.get(off.url("/graphiql")).send().await.unwrap().status(), 404);
    let on = Running::start(Options { graphiql: true, ..Options::default() }).await;
    let page = on.client.get(on.url("/graphiql")).send().await.unwrap();
    assert!(page.headers()["content-security-policy"].to_str().unwrap().contains("default-src 'none'"));
    let html = page.text().await.unwrap();
    assert!(!html.contains("http://") && !html.contains("https://"), "no address elsewhere");
    let names = html.split('"').filter(|part| part.starts_with("graphiql/"));
    let mut count = 0;
    for name in names {
        let file = on.client.get(on.url(&format!("/{name}"))).send().await.unwrap();
        assert_eq!(file.status(), 200, "{name}");
        let kind = file.headers()["content-type"].to_str().unwrap();
        assert!(kind.starts_with(if name.ends_with(".js") { "text/javascript" } else { "text/css" }), "{name}");
        count += 1;
    }
    assert_eq!(count, 6);
    assert_eq!(on.client.get(on.url("/graphiql/..%2f..%2fCargo.toml")).send().await.unwrap().status(), 404);
}

#[tokio::test]
async fn an_engine_that_never_ends_is_given_up() {
    let running = Running::start(Options { request_timeout_ms: 1, ..Options::default() }).await;
    let request = running.post().header("accept", GRAPHQL).timeout(Duration::from_secs(20));
    let answer = request.body(r#"{"query":"SLEEP 60000"}"#).send().await.unwrap();
    assert_eq!(answer.status(), 504);
}
