//! At a gateway of another contract, which answers badly now and then: what the program does by itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router, routing};
use serde_json::{Value, json};

use super::{cells, finished};
use crate::temporary::Temporary;

/// What `farms` holds. None of it is a formula.
const NAMES: [&str; 7] =
    ["=HYPERLINK(\"http://x\",\"y\")", "+1", "-2", "@SUM(A1)", "\tx", "\rx", "plain, with \"marks\"\nand lines"];

/// What goes wrong, by the number of the request for farms.
#[derive(Clone, Copy, PartialEq)]
enum Ill {
    /// The first breaks off, the second is refused: try again in a second.
    BusyAtFirst,
    AlwaysBusy,
    /// Pages come no further.
    Stuck,
}

struct Farms {
    ill: Ill,
    asked: AtomicUsize,
}

fn required(name: &str) -> Value {
    json!({"kind": "NON_NULL", "name": null, "ofType": {"kind": "SCALAR", "name": name, "ofType": null}})
}

fn scalar(name: &str) -> Value {
    json!({"kind": "SCALAR", "name": name, "ofType": null})
}

async fn answer(State(farms): State<Arc<Farms>>, headers: HeaderMap, Json(body): Json<Value>) -> Response {
    assert_eq!(headers["authorization"], "Bearer a.b.c");
    let query = body["query"].as_str().unwrap();
    if query.contains("__schema") {
        let args = json!([
            {"name": "region", "type": required("ID")}, {"name": "first", "type": scalar("Int")},
            {"name": "after", "type": scalar("String")}, {"name": "where", "type": {"kind": "INPUT_OBJECT", "name": "FarmFilter"}},
            {"name": "verdict", "type": {"kind": "ENUM", "name": "ScanVerdict"}},
        ]);
        let fields =
            json!([{"name": "farms", "args": args, "type": {"kind": "OBJECT", "name": "Farms", "ofType": null}}]);
        return Json(json!({"data": {"__schema": {"queryType": {"fields": fields}}}})).into_response();
    }
    let asked = farms.asked.fetch_add(1, Ordering::SeqCst);
    if farms.ill == Ill::BusyAtFirst && asked == 0 {
        let cut = futures::stream::iter([Ok("{"), Err(std::io::Error::other("gone"))]);
        return Body::from_stream(cut).into_response();
    }
    if farms.ill == Ill::AlwaysBusy || farms.ill == Ill::BusyAtFirst && asked < 2 {
        let busy = json!({"errors": [{"message": "too many", "extensions": {"code": "OVERLOADED"}}]});
        let wait = if farms.ill == Ill::AlwaysBusy { "0" } else { "1" };
        return (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", wait)], Json(busy)).into_response();
    }
    assert_eq!(body["variables"]["region"], "7");
    let after: usize = body["variables"]["after"].as_str().map_or(0, |after| after.parse().unwrap());
    let first = usize::try_from(body["variables"]["first"].as_u64().unwrap()).unwrap();
    let to = if farms.ill == Ill::Stuck { after } else { NAMES.len().min(after + first) };
    let edges: Vec<Value> = (after..to).map(|at| json!({"missing": null, "node": {"name": NAMES[at]}})).collect();
    let more = to < NAMES.len();
    let ended = if farms.ill == Ill::Stuck { "TIME" } else { "PAGE_FULL" };
    let coverage = json!({"candidates": edges.len(), "evaluated": edges.len(), "matched": edges.len(), "undetermined": 0,
        "whole": !more, "ended": if more { ended } else { "LISTED" }, "missing": [], "plan": []});
    let end = (to > 0).then(|| to.to_string());
    let farms = json!({"edges": edges, "pageInfo": {"hasNextPage": more, "endCursor": end}, "coverage": coverage});
    Json(json!({"data": {"farms": farms}, "extensions": {"requestId": format!("r{asked}")}})).into_response()
}

/// A gateway of farms; how often it is asked for them is counted.
async fn farms(ill: Ill) -> (String, Arc<Farms>) {
    let farms = Arc::new(Farms { ill, asked: AtomicUsize::new(0) });
    let app = Router::new().route("/graphql", routing::post(answer)).with_state(Arc::clone(&farms));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    (url, farms)
}

fn command(url: &str, further: &[&str]) -> std::process::Command {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_huxiang"));
    command.args(["scan", "--gateway", url, "--division", "7", "--show", "name"]).args(further);
    command.env("HUXIANG_TOKEN", "a.b.c");
    command
}

#[tokio::test]
async fn no_cell_is_a_formula_and_a_busy_gateway_is_asked_again() {
    let (url, farms) = farms(Ill::BusyAtFirst).await;
    let folder = Temporary::new("scan-farms");
    let path = folder.join("farms.csv");
    let began = std::time::Instant::now();
    let done = finished(command(&url, &["--page", "2", "--csv", &path.display().to_string()])).await.ends_with(0);
    assert!(began.elapsed().as_secs() >= 2, "a second, and as long as `Retry-After` says");
    assert!(done.err.contains("asking again in 1 s"), "{}", done.err);
    assert_eq!(farms.asked.load(Ordering::SeqCst), 6, "two in vain, and four pages of two");
    let rows = cells(&std::fs::read_to_string(path).unwrap());
    let names: Vec<&str> = rows[2..rows.len() - 1].iter().map(|row| row[0].as_str()).collect();
    let expected: Vec<String> = NAMES
        .iter()
        .map(|name| if name.starts_with("plain") { (*name).to_owned() } else { format!("'{name}") })
        .collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn what_stays_busy_or_comes_no_further_is_given_up() {
    let (url, busy) = farms(Ill::AlwaysBusy).await;
    let done = finished(command(&url, &["--quiet"])).await.ends_with(1);
    assert!(done.err.contains("too many (OVERLOADED)"), "{}", done.err);
    assert_eq!(busy.asked.load(Ordering::SeqCst), 6, "five further tries");
}

#[tokio::test]
async fn a_page_that_comes_no_further_is_asked_for_only_so_often() {
    let (url, stuck) = farms(Ill::Stuck).await;
    let folder = Temporary::new("scan-stuck");
    let path = folder.join("farms.jsonl");
    let arguments = ["--quiet", "--jsonl", &path.display().to_string()].map(str::to_owned);
    let mut child = command(&url, &arguments.each_ref().map(String::as_str)).spawn().unwrap();
    while stuck.asked.load(Ordering::SeqCst) == 0 {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // It waits longer each time: here it is enough that it goes on asking, and does not run hot.
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    let asked = stuck.asked.load(Ordering::SeqCst);
    assert!((1..=3).contains(&asked), "{asked}");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(folder.join("farms.jsonl.resume").exists(), "it can be gone on with");
}

#[tokio::test]
async fn an_address_where_nobody_ever_was_is_told_at_once() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let done = finished(command(&url, &[])).await.ends_with(1);
    assert!(done.err.contains("cannot be reached") && done.err.contains("--gateway URL"), "{}", done.err);
    assert!(!done.err.contains("asking again"), "{}", done.err);
}
