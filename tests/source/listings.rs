//! Listings of a source where each county has a system of its own: one county after the other, and no other.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use serde_json::{Value, json};

use crate::support::serve;
use crate::support::whole::Whole;

const CONTRACT: &str = r#"
type Query {
  households(division: String! @finds(by: "name")): [Household!]
  pages(division: String @finds(by: "name"), first: Int = 2, after: String): HouseholdConnection! @list(firstMax: 10)
}
type Household @key(fields: "id") @class(name: "open", level: 1) { id: ID! name: String }
type HouseholdConnection @class(name: "open", level: 1) { edges: [Edge!]! nodes: [Household!]! pageInfo: PageInfo! }
type Edge @class(name: "open", level: 1) { cursor: String! node: Household! }
type PageInfo @class(name: "open", level: 1) { hasNextPage: Boolean! hasPreviousPage: Boolean! startCursor: String endCursor: String }
"#;

const COUNTIES: &str = "id,title,territory,from,until\n\
    a,A,331122,,\n\
    b,B,331123,,\n\
    c,C,331124 331125,,\n\
    d,D,3302,,\n\
    old,Old,331126,,2019-12-31\n";

const BINDING: &str = r#"
source: civil
title: 民政局
base_url: ${CIVIL_URL}/${instance.id}
instances: {file: counties.csv, by: territory}
limits: {retries_max: 0}
queries:
  households:
    ask:
      get: /list
      items: /rows
      pages: {cursor: after, next: /next}
    key_at: /id
    division: division
    fields: {name: /name}
  pages:
    ask: {get: /list, items: /rows, pages: {cursor: after, next: /next}}
    key_at: /id
    division: division
"#;

type Log = Arc<Mutex<Vec<String>>>;

/// County a has three households, b none, c two, d one; pages of two. A county that is `down` answers with an error.
async fn counties(down: &'static str) -> (String, Log) {
    let log = Log::default();
    let keep = Arc::clone(&log);
    let list =
        get(async move |Path(county): Path<String>, Query(asked): Query<BTreeMap<String, String>>| -> Response {
            let after = asked.get("after").cloned().unwrap_or_default();
            keep.lock().unwrap().push(format!("{county}{after}"));
            if county == down {
                return StatusCode::INTERNAL_SERVER_ERROR.into_response();
            }
            let all: usize = BTreeMap::from([("a", 3), ("b", 0), ("c", 2), ("d", 1), ("old", 9)])[&*county];
            let from = after.parse::<usize>().unwrap_or(0);
            let to = all.min(from + 2);
            let rows: Vec<Value> = (from..to).map(|n| json!({"id": format!("{county}{n}"), "name": county})).collect();
            let next = (to < all).then(|| to.to_string());
            json!({"rows": rows, "next": next}).to_string().into_response()
        });
    (serve(Router::new().route("/{county}/list", list)).await, log)
}

async fn whole(name: &str, down: &'static str) -> (Whole, Log) {
    let (url, log) = counties(down).await;
    let files = [("resolvers/civil.yaml", BINDING), ("resolvers/counties.csv", COUNTIES)];
    (Whole::new(&format!("listings-{name}"), "Household", CONTRACT, &files, &url).await, log)
}

fn taken(log: &Log) -> Vec<String> {
    std::mem::take(&mut log.lock().unwrap())
}

#[tokio::test]
async fn a_list_is_that_of_the_counties_that_cover_any_of_the_division_and_no_other_is_asked() {
    let (whole, log) = whole("list", "").await;
    let ids = |answer: &Value| -> Vec<String> {
        let all = answer["data"]["households"].as_array().unwrap_or_else(|| panic!("{answer}"));
        all.iter().map(|one| format!("{} {}", one["id"].as_str().unwrap(), one["name"].as_str().unwrap())).collect()
    };
    for (division, expected, asked) in [
        ("3311", &["a0 a", "a1 a", "a2 a", "c0 c", "c1 c"][..], &["a", "a2", "b", "c"][..]),
        ("331124101", &["c0 c", "c1 c"], &["c"]),
        ("331123", &[], &["b"]),
        ("33", &["a0 a", "a1 a", "a2 a", "c0 c", "c1 c", "d0 d"], &["a", "a2", "b", "c", "d"]),
    ] {
        let answer = whole.ask(&format!("{{ households(division: \"{division}\") {{ id name }} }}")).await;
        assert_eq!(ids(&answer), expected, "{division}");
        assert_eq!(taken(&log), asked, "{division}");
    }
    // Nobody covers it, or nobody any more: not an empty list.
    for division in ["44", "331126"] {
        let answer = whole.ask(&format!("{{ households(division: \"{division}\") {{ id }} }}")).await;
        assert_eq!(answer["data"]["households"], Value::Null, "{answer}");
        assert_eq!(answer["errors"][0]["extensions"]["code"], "OUTSIDE_TERRITORY", "{answer}");
        assert_eq!(taken(&log), [""; 0]);
    }
}

#[tokio::test]
async fn pages_go_from_county_to_county_and_go_on_where_their_cursor_says() {
    let (whole, log) = whole("pages", "").await;
    for first in 1..=6 {
        let (mut found, mut after, mut rounds) = (Vec::new(), String::new(), 0);
        loop {
            let query = format!(
                "{{ pages(division: \"3311\", first: {first}{after}) {{ nodes {{ id }} pageInfo {{ hasNextPage endCursor }} }} }}"
            );
            let answer = whole.ask(&query).await;
            let page = &answer["data"]["pages"];
            let nodes = page["nodes"].as_array().unwrap_or_else(|| panic!("{answer}"));
            assert!(nodes.len() <= first, "{answer}");
            found.extend(nodes.iter().map(|node| node["id"].as_str().unwrap().to_owned()));
            rounds += 1;
            if page["pageInfo"]["hasNextPage"] != true || rounds > 9 {
                break;
            }
            after = format!(", after: {}", page["pageInfo"]["endCursor"]);
        }
        assert_eq!(found, ["a0", "a1", "a2", "c0", "c1"], "{first} at once");
        let asked = taken(&log);
        assert!(asked.iter().all(|asked| !asked.starts_with('d') && !asked.starts_with("old")), "{asked:?}");
    }
    // The cursor names the county: those before it are not asked again.
    let query = "{ pages(division: \"3311\", first: 4) { nodes { id } pageInfo { endCursor } } }";
    let end = whole.ask(query).await["data"]["pages"]["pageInfo"]["endCursor"].clone();
    taken(&log);
    whole.ask(&format!("{{ pages(division: \"3311\", first: 4, after: {end}) {{ nodes {{ id }} }} }}")).await;
    assert_eq!(taken(&log), ["c"]);
}

#[tokio::test]
async fn a_county_that_does_not_answer_is_no_county_without_households() {
    let (whole, _) = whole("down", "b").await;
    let answer = whole.ask("{ households(division: \"3311\") { id } }").await;
    assert_eq!(answer["data"]["households"], Value::Null, "{answer}");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "SOURCE_ERROR", "{answer}");
    let answer = whole.ask("{ households(division: \"331124\") { id } }").await;
    assert_eq!(answer["data"]["households"][0]["id"], "c0", "{answer}");
}
