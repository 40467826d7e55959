//! GraphQL sources: arguments, aliases, federation entities, selection sets, partial errors.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, routing::post};
use huxiang::base::code::ErrorCode;
use huxiang::source::PageAt;
use serde_json::{Value, json};

use crate::support::{Asked, record, records, serve};

fn binding(request: &str) -> String {
    format!(
        "source: test\ntitle: Test\nprotocol: graphql\nbase_url: ${{URL}}\nendpoints:\n  e:\n    entity: Household\n    \
         {request}\n"
    )
}

/// Answers always the same; gives what it was asked.
async fn asked(request: &str, answer: Value) -> (Asked, Arc<Mutex<Vec<Value>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&seen);
    let router = Router::new().route(
        "/",
        post(async move |Json(body): Json<Value>| {
            log.lock().unwrap().push(body);
            Json(answer)
        }),
    );
    (Asked::new(&binding(request), &serve(router).await), seen)
}

#[tokio::test]
async fn only_wanted_fields_and_the_key_are_named() {
    let request = "many: {field: students, argument: {name: ids, type: \"[String!]!\"}, item_key: /id}";
    let answer = json!({"data": {"r": [{"id": "b", "name": "x"}, {"id": "b", "name": "y"}]}});
    let (asked, seen) = asked(request, answer).await;
    assert!(asked.many.as_ref().unwrap().selects_fields());
    let found = asked.many(&["a", "b\""], &["/name", "/school/0/name", "/school/grade"]).await.unwrap();
    assert_eq!(found, []);
    let found = asked.many(&["a", "b"], &[]).await.unwrap();
    assert_eq!(found, [record(1, r#"{"id":"b","name":"x"}"#), record(1, r#"{"id":"b","name":"y"}"#)]);
    let seen = seen.lock().unwrap();
    assert_eq!(seen[0]["query"], "query($k:[String!]!){r:students(ids:$k){id name school{grade name}}}");
    assert_eq!(seen[0]["variables"], json!({"k": ["a", "b\""]}));
    assert_eq!(seen[1]["query"], "query($k:[String!]!){r:students(ids:$k){id}}");
}

#[tokio::test]
async fn one_key_is_asked_by_an_argument_and_null_is_no_record() {
    let request = "one: {field: student, argument: {name: id, type: \"Int!\"}}";
    let (asked, seen) = asked(request, json!({"data": {"r": null}})).await;
    assert_eq!(asked.one("42", &["/name"]).await.unwrap(), []);
    assert_eq!(
        seen.lock().unwrap()[0],
        json!({"query": "query($k:Int!){r:student(id:$k){name}}", "variables": {"k": 42}})
    );
}

#[tokio::test]
async fn aliases_ask_once_a_key_and_one_keys_error_is_not_anothers() {
    let request = "many: {field: pupil, argument: {name: id, type: ID!}, aliases: true}";
    let answer = json!({"data": {"a0": {"n": 1}, "a1": null, "a2": [{"n": 2}, {"n": 3}], "a3": null},
        "errors": [{"message": "no", "path": ["a1"]}]});
    let (asked, seen) = asked(request, answer).await;
    let fetched = asked.fetch(asked.many.as_ref().unwrap(), &["p", "q", "r", "s"], &["/n"], None).await.unwrap();
    assert_eq!(records(&fetched), [record(0, r#"{"n":1}"#), record(2, r#"{"n":2}"#), record(2, r#"{"n":3}"#)]);
    assert_eq!(fetched.failed, [1]);
    let query = "query($k0:ID! $k1:ID! $k2:ID! $k3:ID!){a0:pupil(id:$k0){n} a1:pupil(id:$k1){n} \
                 a2:pupil(id:$k2){n} a3:pupil(id:$k3){n}}";
    assert_eq!(seen.lock().unwrap()[0]["query"], query);
}

#[tokio::test]
async fn federation_entities_answer_in_the_order_of_their_keys() {
    let request = "many: {entities: {typename: Household, key: id}}";
    let answer = json!({"data": {"_entities": [null, {"id": "q", "cadre": {"name": "x"}}, null]},
        "errors": [{"message": "boom", "path": ["_entities", 2, "cadre"]}]});
    let (asked, seen) = asked(request, answer).await;
    let fetched = asked.fetch(asked.many.as_ref().unwrap(), &["p", "q", "r"], &["/cadre/name"], None).await.unwrap();
    assert_eq!(records(&fetched), [record(1, r#"{"id":"q","cadre":{"name":"x"}}"#)]);
    assert_eq!(fetched.failed, [2]);
    let seen = seen.lock().unwrap();
    let query = "query($r:[_Any!]!){_entities(representations:$r){... on Household{cadre{name} id}}}";
    assert_eq!(seen[0]["query"], query);
    assert_eq!(seen[0]["variables"]["r"][2], json!({"__typename": "Household", "id": "r"}));
}

#[tokio::test]
async fn an_entity_in_anothers_place_is_not_taken_for_it() {
    let request = "many: {entities: {typename: Household, key: id}}";
    let answer = json!({"data": {"_entities": [{"id": "q", "n": 2}, {"id": "p", "n": 1}]}});
    let (swapped, _) = asked(request, answer).await;
    let error = swapped.many(&["p", "q"], &["/n"]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::SourceBadAnswer);
    assert!(!error.detail.contains(['p', 'q']) || error.detail.contains("another key"), "{}", error.detail);
}

#[tokio::test]
async fn errors_without_a_key_and_short_lists_fail_as_a_whole() {
    let request = "many: {entities: {typename: Household, key: id}}";
    let (one, _) = asked(request, json!({"errors": [{"message": "bad household 33112210134"}]})).await;
    let error = one.many(&["p"], &["/n"]).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::SourceError);
    assert_eq!(error.detail, "the source answered with errors");
    assert_eq!(error.said.as_deref(), Some("bad household …"));
    let (short, _) = asked(request, json!({"data": {"_entities": []}})).await;
    assert_eq!(short.many(&["p"], &["/n"]).await.unwrap_err().code, ErrorCode::SourceBadAnswer);
    let (none, _) = asked(request, json!({"hello": 1})).await;
    assert_eq!(none.many(&["p"], &["/n"]).await.unwrap_err().code, ErrorCode::SourceBadAnswer);
}

#[tokio::test]
async fn a_listing_is_paged_by_arguments() {
    let request = "one: {field: projects, items: /nodes, pages: {cursor: after, next: /page/end, size_parameter: first, \
                   size: 2}}";
    let answer = json!({"data": {"r": {"nodes": [{"id": 1}], "page": {"end": "c"}}}});
    let (asked, seen) = asked(request, answer).await;
    let template = asked.one.as_ref().unwrap();
    let fetched = asked.fetch(template, &[], &["/id"], Some(PageAt::Cursor("b\"".into()))).await.unwrap();
    assert_eq!(fetched.next, Some(PageAt::Cursor("c".into())));
    let query = r#"query{r:projects(first:2 after:"b\""){nodes{id} page{end}}}"#;
    assert_eq!(seen.lock().unwrap()[0]["query"], query);
}
