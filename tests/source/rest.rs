//! REST sources: templates, envelopes, lists, pages, columns, keys.

use std::collections::HashMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{OriginalUri, Path, Query};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use huxiang::base::code::ErrorCode;
use serde_json::{Value, json};

use crate::support::{Asked, compile, record, records, serve};

fn binding(head: &str, request: &str) -> String {
    format!(
        "source: test\ntitle: Test\nbase_url: ${{URL}}\n{head}\nendpoints:\n  e:\n    entity: Household\n    {request}\n"
    )
}

#[tokio::test]
async fn one_record_is_read_out_of_its_envelope_with_every_digit() {
    let router = Router::new().route(
        "/h/{id}",
        get(async |Path(id): Path<String>| format!(r#"{{"code":0,"data":{{"id":"{id}","n":331122101348000001.50}}}}"#)),
    );
    let url = serve(router).await;
    let asked = Asked::new(
        &binding("envelope: {ok: {at: /code, is: 0}, data: /data, message: /msg}", "one: {get: \"/h/{key}\"}"),
        &url,
    );
    let found = asked.one("a/b ?", &[]).await.unwrap();
    assert_eq!(found, [record(0, r#"{"id":"a/b ?","n":331122101348000001.50}"#)]);
    assert_eq!(asked.connector.counted().requests, 1);
}

#[tokio::test]
async fn a_broken_envelope_no_record_and_an_error_are_three_different_things() {
    let router = Router::new().route(
        "/{case}",
        get(async |Path(case): Path<String>| match case.as_str() {
            "null" => (StatusCode::OK, r#"{"ok":true,"data":null}"#),
            "absent" => (StatusCode::OK, r#"{"ok":false,"why":"none"}"#),
            "error" => (StatusCode::OK, r#"{"ok":false,"msg":"no 331122101348000001 for error"}"#),
            "broken" => (StatusCode::OK, r#"{"hello":1}"#),
            "nodata" => (StatusCode::OK, r#"{"ok":true}"#),
            "500" => (StatusCode::INTERNAL_SERVER_ERROR, r#"{"msg":"down for repair"}"#),
            "302" => (StatusCode::FOUND, ""),
            _ => (StatusCode::NOT_FOUND, "nothing here"),
        }),
    );
    let url = serve(router).await;
    let envelope = "envelope: {ok: {at: /ok, is: true}, absent: {at: /why, is: none}, data: /data, message: /msg}";
    let asked = Asked::new(&binding(envelope, "one: {get: \"/{key}\"}"), &url);
    for case in ["null", "absent", "404"] {
        assert_eq!(asked.one(case, &[]).await.unwrap(), [], "{case}");
    }
    let error = asked.one("error", &[]).await.unwrap_err();
    assert_eq!((error.code, error.detail.as_str()), (ErrorCode::SourceError, "the source says it failed"));
    assert_eq!(asked.one("broken", &[]).await.unwrap_err().code, ErrorCode::SourceBadAnswer);
    assert_eq!(asked.one("nodata", &[]).await.unwrap_err().code, ErrorCode::SourceBadAnswer);
    let error = asked.one("500", &[]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::SourceError);
    assert_eq!(error.detail, "the source answered with HTTP status 500");
    assert_eq!(error.said.as_deref(), Some("down for repair"));
    assert_eq!(asked.one("302", &[]).await.unwrap_err().code, ErrorCode::SourceError);
}

#[tokio::test]
async fn a_batch_gives_each_key_its_records_and_ignores_keys_not_asked_for() {
    let router = Router::new().route(
        "/batch",
        post(async |body: Bytes| {
            let body: Value = serde_json::from_slice(&body).unwrap();
            assert_eq!(body, json!({"ids": ["1", "22", "3"], "n": 5, "on": body["on"]}));
            assert_eq!(body["on"].as_str().unwrap().len(), 10);
            r#"{"list":[{"k":22,"v":"a"},{"k":"1","v":"b"},{"k":"99","v":"c"},{"k":"22","v":"d"},{"k":"3","v":"gone"}]}"#
        }),
    );
    let url = serve(router).await;
    let many = "many: {post: /batch, body: {ids: \"{keys}\", n: 5, on: \"{today}\"}, items: /list, item_key: /k, \
                only: {at: /v, not: gone}, batch_max: 3}";
    let asked = Asked::new(&binding("", many), &url);
    let found = asked.many(&["1", "22", "3"], &[]).await.unwrap();
    let expected =
        [record(1, r#"{"k":22,"v":"a"}"#), record(0, r#"{"k":"1","v":"b"}"#), record(1, r#"{"k":"22","v":"d"}"#)];
    assert_eq!(found, expected);
    assert_eq!(asked.many(&["1", "2", "3", "4"], &[]).await.unwrap_err().code, ErrorCode::Internal);
    assert_eq!(asked.many(&[], &[]).await.unwrap(), []);
}

#[tokio::test]
async fn keys_go_into_queries_repeated_or_joined_and_numbers_stay_numbers() {
    let router = Router::new()
        .route("/repeat", get(async |uri: OriginalUri| format!(r#"{{"k":"x","q":"{}"}}"#, uri.0.query().unwrap())))
        .route("/number", post(async |body: String| body));
    let url = serve(router).await;
    let asked = Asked::new(
        &binding("", "one: {get: /repeat, query: {id: \"{keys}\", j: \"{keys:,}\", f: \"a='{key}'\"}}"),
        &url,
    );
    let found = asked.one("o'x&", &[]).await.unwrap();
    let expected = r#"{"k":"x","q":"f=a%3D%27o%27%27x%26%27&id=o%27x%26&j=o%27x%26"}"#;
    assert_eq!(found, [record(0, expected)]);
    let asked = Asked::new(&binding("", "one: {post: /number, body: {id: \"{key#}\", all: [\"{key}\", null]}}"), &url);
    let found = asked.one("331122101348000001", &[]).await.unwrap();
    assert_eq!(found, [record(0, r#"{"id":331122101348000001,"all":["331122101348000001",null]}"#)]);
    assert_eq!(asked.one("12a", &[]).await.unwrap_err().code, ErrorCode::ValueInvalid);
}

#[tokio::test]
async fn a_key_cannot_leave_its_place_in_a_path() {
    let url = serve(Router::new().fallback(async || "{}")).await;
    let asked = Asked::new(&binding("", "one: {get: \"/h/{key}\"}"), &url);
    for key in ["", ".", ".."] {
        assert_eq!(asked.one(key, &[]).await.unwrap_err().code, ErrorCode::ValueInvalid);
    }
    assert_eq!(asked.connector.counted().requests, 0);
}

#[tokio::test]
async fn records_under_their_keys_and_rows_without_names_are_read() {
    let router = Router::new()
        .route("/by-key", get(async || r#"{"d":{"b":[{"v":1},{"v":2}],"a":{"v":3},"z":{"v":4}}}"#))
        .route("/rows", get(async || r#"{"cols":["id","n\"m"],"rows":[["a",1.10],["b",null],["a","x"]]}"#))
        .route("/wide", get(async || r#"{"cols":["id"],"rows":[["a",1]]}"#));
    let url = serve(router).await;
    let many = "many: {get: /by-key, query: {k: \"{keys:,}\"}, items: /d, items_by_key: true}";
    let asked = Asked::new(&binding("", many), &url);
    let found = asked.many(&["a", "b", "c"], &[]).await.unwrap();
    assert_eq!(found, [record(1, r#"{"v":1}"#), record(1, r#"{"v":2}"#), record(0, r#"{"v":3}"#)]);
    let rows = |path: &str| {
        format!("many: {{get: {path}, query: {{k: \"{{keys:,}}\"}}, items: /rows, columns: /cols, item_key: /id}}")
    };
    let asked = Asked::new(&binding("", &rows("/rows")), &url);
    let found = asked.many(&["a", "b"], &[]).await.unwrap();
    let expected = [
        record(0, r#"{"id":"a","n\"m":1.10}"#),
        record(1, r#"{"id":"b","n\"m":null}"#),
        record(0, r#"{"id":"a","n\"m":"x"}"#),
    ];
    assert_eq!(found, expected);
    let asked = Asked::new(&binding("", &rows("/wide")), &url);
    assert_eq!(asked.many(&["a"], &[]).await.unwrap_err().code, ErrorCode::SourceBadAnswer);
}

#[tokio::test]
async fn a_missing_list_is_empty_only_where_the_envelope_tells_a_good_answer() {
    let url = serve(Router::new().route("/b", get(async || r#"{"type":"Bundle","total":0}"#))).await;
    let request = "one: {get: /b, query: {p: \"{key}\"}, items: /entry}";
    let strict = Asked::new(&binding("", request), &url);
    let error = strict.one("x", &[]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::SourceBadAnswer);
    assert!(error.detail.contains("envelope.ok"));
    let told = Asked::new(&binding("envelope: {ok: {at: /type, is: Bundle}}", request), &url);
    assert_eq!(told.one("x", &[]).await.unwrap(), []);
}

fn paged() -> Router {
    async fn cursor(Query(q): Query<HashMap<String, String>>) -> String {
        assert_eq!(q["size"], "2");
        match q.get("after").map(String::as_str) {
            None => r#"{"list":[{"n":1},{"n":2}],"next":"c 2"}"#.to_owned(),
            Some("c 2") => r#"{"list":[{"n":3},{"n":4}],"next":"c3"}"#.to_owned(),
            _ => r#"{"list":[{"n":5}],"next":""}"#.to_owned(),
        }
    }
    async fn number(body: Bytes) -> String {
        let body: Value = serde_json::from_slice(&body).unwrap();
        let page = body["page"].as_u64().unwrap();
        let list: Vec<Value> = (page * 2 - 1..=(page * 2).min(5)).map(|n| json!({ "n": n })).collect();
        json!({ "list": list }).to_string()
    }
    let stuck = async || r#"{"list":[{"n":1}],"next":"same"}"#;
    Router::new().route("/cursor", get(cursor)).route("/number", post(number)).route("/stuck", get(stuck))
}

#[tokio::test]
async fn pages_are_followed_to_their_end_or_fetched_one_by_one() {
    let url = serve(paged()).await;
    let cursor =
        "one: {get: /cursor, items: /list, pages: {cursor: after, next: /next, size_parameter: size, size: 2}}";
    let number = "one: {post: /number, body: {d: \"{key}\"}, items: /list, pages: {number: page, size: 2}}";
    for request in [cursor, number] {
        let asked = Asked::new(&binding("", request), &url);
        let template = asked.one.as_ref().unwrap();
        let all = asked.fetch(template, &["x"], &[], None).await.unwrap();
        let numbers: Vec<String> = records(&all).into_iter().map(|(_, json)| json).collect();
        assert_eq!(numbers, [r#"{"n":1}"#, r#"{"n":2}"#, r#"{"n":3}"#, r#"{"n":4}"#, r#"{"n":5}"#]);
        assert_eq!((all.calls, all.next), (3, None));
        let mut at = Some(huxiang::source::PageAt::First);
        let mut sizes = Vec::new();
        while let Some(page) = at {
            let fetched = asked.fetch(template, &["x"], &[], Some(page)).await.unwrap();
            sizes.push(fetched.records.len());
            at = fetched.next;
        }
        assert_eq!(sizes, [2, 2, 1]);
    }
}

#[tokio::test]
async fn pages_stop_at_the_cap_and_say_so_and_a_stuck_cursor_is_an_error() {
    let url = serve(paged()).await;
    let capped = "one: {post: /number, body: {d: x}, items: /list, pages: {number: page, size: 2, pages_max: 2}}";
    let asked = Asked::new(&binding("", capped), &url);
    let fetched = asked.fetch(asked.one.as_ref().unwrap(), &[], &[], None).await.unwrap();
    assert_eq!(fetched.records.len(), 4);
    assert_eq!(fetched.next, Some(huxiang::source::PageAt::Number(3)));
    let stuck = Asked::new(&binding("", "one: {get: /stuck, items: /list, pages: {cursor: after, next: /next}}"), &url);
    assert_eq!(stuck.one("x", &[]).await.unwrap_err().code, ErrorCode::SourceBadAnswer);
}

/// A source that copies what it was asked with into the next page's address.
#[tokio::test]
async fn a_linked_page_is_signed_anew_and_stays_at_its_host() {
    async fn linked(uri: OriginalUri, headers: axum::http::HeaderMap) -> axum::response::Response {
        let query = uri.0.query().unwrap().to_owned();
        assert_eq!(query.matches("key=s3cret").count(), 1, "{query}");
        let n = query.split("page=").nth(1).map_or(1, |page| page.split('&').next().unwrap().parse().unwrap());
        let host = headers["host"].to_str().unwrap().to_owned();
        let next = match uri.0.path() {
            "/all" if n < 3 => format!("<http://{host}/all?{}&page={}>; rel=\"next\"", "key=s3cret&at=a%2Fb", n + 1),
            "/away" => "<http://localhost:1/all>; rel=next".to_owned(),
            "/secure" => format!("<https://{host}/all>; rel=next"),
            "/user" => format!("<http://u:p@{host}/all>; rel=next"),
            "/none" => "<http://>; rel=next".to_owned(),
            "/again" => format!("<http://{host}/again?{}>; rel=next", query.replace("key=s3cret", "")),
            _ => "</all>; rel=prev".to_owned(),
        };
        ([("link", next)], format!("[{{\"n\":{n}}}]")).into_response()
    }
    let url = serve(Router::new().fallback(linked)).await;
    let head = "sign: {scheme: api-key, query: key, key: s3cret}";
    let asked = |path: &str| {
        let request = format!("one: {{get: {path}, query: {{at: \"{{key}}\"}}, items: \"\", pages: {{link: header}}}}");
        Asked::new(&binding(head, &request), &url)
    };
    let all = asked("/all");
    let expected = [1, 2, 3].map(|n| record(0, &format!("{{\"n\":{n}}}")));
    assert_eq!(all.one("a/b", &[]).await.unwrap(), expected);
    let template = all.one.as_ref().unwrap();
    let mut at = Some(huxiang::source::PageAt::First);
    let mut pages = 0;
    while let Some(page) = at {
        at = all.fetch(template, &["a/b"], &[], Some(page)).await.unwrap().next;
        assert!(!format!("{at:?}").contains("s3cret"), "a page's address keeps no key");
        pages += 1;
    }
    assert_eq!(pages, 3);
    for path in ["/away", "/secure", "/user", "/none", "/again"] {
        let refused = asked(path);
        assert_eq!(refused.one("a", &[]).await.unwrap_err().code, ErrorCode::SourceBadAnswer, "{path}");
        assert!(refused.connector.counted().requests <= 2, "{path}");
    }
    let elsewhere = huxiang::source::PageAt::Link("http://localhost:1/all".to_owned());
    let error = all.fetch(template, &["a"], &[], Some(elsewhere)).await.unwrap_err();
    assert_eq!((error.code, error.calls), (ErrorCode::SourceBadAnswer, 0));
}

#[tokio::test]
async fn rest_xml_is_read_like_json_and_a_list_of_one_is_a_list() {
    let router = Router::new().route(
        "/{case}",
        get(async |Path(case): Path<String>| match case.as_str() {
            "two" => "<?xml version=\"1.0\"?><r xmlns:p='urn:p'><p:l><i id=\"7\">a &amp; b</i><i id='8'/></p:l></r>",
            "one" => "<r><l><i>x</i></l></r>",
            "empty" => "<r><l/></r>",
            _ => "<r/>",
        }),
    );
    let url = serve(router).await;
    let asked = Asked::new(&binding("format: xml", "one: {get: \"/{key}\", items: /r/l/i}"), &url);
    let two = asked.one("two", &[]).await.unwrap();
    assert_eq!(two, [record(0, r##"{"@id":"7","#text":"a & b"}"##), record(0, r#"{"@id":"8"}"#)]);
    assert_eq!(asked.one("one", &[]).await.unwrap(), [record(0, r#""x""#)]);
    assert_eq!(asked.one("empty", &[]).await.unwrap(), []);
    assert_eq!(asked.one("none", &[]).await.unwrap(), []);
}

#[test]
fn every_fault_of_a_request_is_found_with_its_place() {
    let yaml = binding(
        "headers: {X-Key: \"${MISSING}\"}\nenvelope: {ok: {at: code, is: 0}}",
        "one: {get: \"h/{key}?a=1\", body: {a: 1}, view: v}\n    many: {post: /b, body: {id: \"{key}\"}}",
    );
    let Err(faults) = compile(&yaml, "http://127.0.0.1:1") else { panic!("it has faults") };
    for expected in [
        "the variable `${MISSING}` is not defined",
        "`code` is not a JSON Pointer",
        "has parameters",
        "does not start with `/`",
        "a `get` has no body",
        "`view` means nothing to a source with protocol rest",
        "`many` does not ask with all keys",
        "`many` does not say which key a record belongs to",
        "resolvers/test.yaml:4:",
    ] {
        assert!(faults.contains(expected), "{expected} is not in\n{faults}");
    }
}
