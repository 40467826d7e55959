//! Arbitrary queries, and arbitrary answers of departments of every protocol: nothing panics, and every answer is JSON
//! in the shape of a GraphQL response.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use huxiang::answer::{Gateway, GraphqlRequest};
use huxiang::base::fault::Faults;
use huxiang::identify::{Declared, Identity};
use huxiang::model::snapshot::{Folders, Snapshot};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use crate::temporary::Temporary;

/// What every department says, whatever it is asked.
type Said = Arc<Mutex<String>>;

async fn gateway(said: &Said) -> (Gateway, Temporary) {
    let say = |State(said): State<Said>| async move { said.lock().unwrap().clone() };
    let routes = Router::new().fallback(say).with_state(Arc::clone(said));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let folder = Temporary::new("fuzz");
    let variables = |name: &str| match name {
        "BLOG_URL" => Some(url.clone()),
        "HUXIANG_AUDIT" => Some(folder.join("audit.sqlite").display().to_string()),
        "AUDIT_KEY" => Some("k".repeat(32)),
        _ => None,
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/blog");
    let mut faults = Faults::default();
    let snapshot = Snapshot::load(&Folders::under(&root), &variables, &mut faults);
    (Gateway::start(snapshot.unwrap_or_else(|| panic!("{}", faults.render()))).await.unwrap(), folder)
}

/// Panics where the answer is none.
async fn ask(gateway: &Gateway, query: String) -> Value {
    let identity =
        Identity::new(None, IpAddr::V4(Ipv4Addr::LOCALHOST), vec!["anywhere".to_owned()], Declared::default());
    let request = GraphqlRequest { query: Some(query), ..GraphqlRequest::default() };
    let body = gateway.answer(identity, request, "r".to_owned(), None).await.body;
    let answer: Value = serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {body:?}"));
    let inside = answer["errors"].as_array().into_iter().flatten();
    for error in inside {
        // A panic inside is caught and answered so.
        assert_ne!(error["extensions"]["code"], "INTERNAL", "{answer:#}");
    }
    assert!(answer.get("data").is_some() || answer.get("errors").is_some(), "{answer:#}");
    answer
}

fn run<S: Strategy<Value = String>>(
    cases: u32,
    of: S,
    test: impl Fn(&tokio::runtime::Runtime, &Gateway, &Said, String),
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let said = Said::default();
    let (gateway, _folder) = runtime.block_on(gateway(&said));
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&of, |text| {
        test(&runtime, &gateway, &said, text);
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
}

/// JSON with the members that bindings look for.
fn answers() -> impl Strategy<Value = String> {
    let names = [
        "data",
        "id",
        "title",
        "users",
        "by",
        "names",
        "columns",
        "rows",
        "r",
        "a0",
        "_entities",
        "1",
        "n",
        "count",
        "userId",
        "errors",
        "path",
        "mood",
        "at",
        "cents",
        "sky",
        "bio",
        "post",
        "address",
        "city",
    ];
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
        Just(json!(1)),
        Just(json!("1")),
    ];
    let value = leaf.prop_recursive(5, 40, 6, move |inside| {
        prop_oneof![
            prop::collection::vec(inside.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((prop::sample::select(names.to_vec()), inside), 0..6).prop_map(|members| {
                Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
            }),
        ]
    });
    prop_oneof![8 => value.prop_map(|value| value.to_string()), 1 => "\\PC{0,40}", 1 => "[<>/a-z\"{}:,\\[\\]0-9]{0,40}"]
}

#[test]
fn whatever_departments_say_the_answer_is_json() {
    let one = "{ post(id: 1) { id title mood moodCode publishedOn price tags likes author { id name city bio weather posts { title } }
        comments { by on text } rating { stars votes words } mirrors { at state code copies } heat { level } } }";
    let lists =
        "{ posts(tag: \"a\") { id title likes author { name } } users { nodes { id name } pageInfo { endCursor } } }";
    run(120, answers(), |runtime, gateway, said, text| {
        *said.lock().unwrap() = text;
        for query in [one, lists] {
            runtime.block_on(ask(gateway, query.to_owned()));
        }
    });
}

#[test]
fn whatever_is_asked_the_answer_is_json() {
    let tokens = [
        "{",
        "}",
        "(",
        ")",
        "post",
        "posts",
        "user",
        "users",
        "id",
        ":",
        "1",
        "\"a\"",
        "title",
        "author",
        "posts",
        "nodes",
        "...",
        "on",
        "Post",
        "fragment",
        "F",
        "query",
        "$v",
        "Int",
        "!",
        "@skip",
        "if",
        "true",
        "__typename",
        "__schema",
        "types",
        "name",
        "[",
        "]",
        "first",
        "after",
        "\u{feff}",
        "#",
        "\n",
        "mutation",
    ];
    let of = prop_oneof![
        "\\PC{0,80}",
        prop::collection::vec(prop::sample::select(tokens.to_vec()), 0..30).prop_map(|tokens| tokens.join(" ")),
    ];
    run(400, of, |runtime, gateway, _, query| {
        runtime.block_on(ask(gateway, query));
    });
}
