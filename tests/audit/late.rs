//! What comes too late: the records say what was sent, and what was not.

use std::path::Path;
use std::time::Duration;

use departments::Options;
use huxiang::identify::mint;
use serde_json::{Map, Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Executor, SqliteConnection};

use crate::support::served::Served;
use crate::support::{HOUSEHOLD, records, world_edited};

/// Keeps everybody else from writing to a store until it is dropped.
async fn locked(store: &Path) -> SqliteConnection {
    let mut connection = SqliteConnectOptions::new().filename(store).connect().await.unwrap();
    connection.execute("BEGIN IMMEDIATE").await.unwrap();
    connection
}

async fn served(request_timeout_ms: u64) -> Served {
    let options = Options { latency: false, ..Options::default() };
    Served::start(
        world_edited(options, |snapshot| snapshot.config.limits.request_timeout_ms = request_timeout_ms).await,
    )
    .await
}

fn code(answer: &Value) -> Option<&str> {
    answer["errors"][0]["extensions"]["code"].as_str()
}

/// The records of a request by its id and of what became of it, once there are so many, or no more come. What was done to
/// approvals meanwhile is on record under the same id, and is none of them.
async fn of(served: &Served, id: &Value, count: usize) -> Vec<Value> {
    let mut found = Vec::new();
    for _ in 0..100 {
        found = records(&served.world.folder).await;
        found.retain(|record| {
            record["request_id"] == *id && (record["kind"] == "REQUEST" || record["kind"] == "OUTCOME")
        });
        if found.len() >= count {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_caller_was_told_that_it_took_too_long_the_record_says_so_and_what_came_later_that_it_was_not_sent() {
    let served = served(2_300).await;
    let issuer = &served.world.gateway.snapshot().config.issuers[0];
    let claims = Map::from_iter([("divisions".to_owned(), json!(["331122"]))]);
    let roles = ["duty-officer".to_owned()];
    let token = mint(issuer, "duty-1", &roles, &claims, Duration::from_secs(600)).unwrap();
    let body = json!({
        "query": "query($id: ID!) { household(id: $id) { registry { phone } } }",
        "variables": { "id": HOUSEHOLD },
        "extensions": { "purpose": "emergency", "breakGlass": "台风来袭，连夜转移" },
    });
    let ask = || {
        let request = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = request
            .post(format!("http://{}/graphql", served.address))
            .header("content-type", "application/json")
            .bearer_auth(&token)
            .body(body.to_string());
        async move { serde_json::from_slice::<Value>(&request.send().await.unwrap().bytes().await.unwrap()).unwrap() }
    };
    let sent = ask().await;
    assert!(sent["data"]["household"]["registry"]["phone"].is_string(), "{sent}");
    // Each that wants the store waits for 3 s and fails; the third begins after 6 s, is given up after 7.3 s (the request's
    // time, and 5 s) and gets the store a second later. SQLite waits longer than it says where the machine is busy.
    let lock = locked(&served.world.folder.join("approvals.sqlite")).await;
    let freed = async {
        tokio::time::sleep(Duration::from_millis(8_300)).await;
        drop(lock);
    };
    let (first, second, third, ()) = tokio::join!(ask(), ask(), ask(), freed);
    let late: Vec<&Value> =
        [&first, &second, &third].into_iter().filter(|answer| code(answer) == Some("DEADLINE_EXCEEDED")).collect();
    assert_eq!(late.len(), 1, "{first} {second} {third}");
    let found = of(&served, &late[0]["extensions"]["requestId"], 2).await;
    let requests: Vec<&Value> = found.iter().filter(|record| record["kind"] == "REQUEST").collect();
    assert_eq!(requests.len(), 1, "{found:#?}");
    assert_eq!((&requests[0]["outcome"], &requests[0]["errors"]), (&json!("REJECTED"), &json!(["DEADLINE_EXCEEDED"])));
    assert!(requests[0]["answer"].is_string() && requests[0]["document"].is_string(), "{found:#?}");
    let after = found.iter().find(|record| record["kind"] == "OUTCOME").expect("what came later is on record too");
    assert_eq!(after["outcome"], "REJECTED");
    assert!(after["of"].is_i64() && after.get("answer").is_none(), "{after}");
    assert_eq!(after["access"][0]["unanswered"], json!(["4"]), "read by the gateway, shown to nobody: {after}");
    assert_eq!(after["access"][0]["read"], json!([]), "{after}");
    assert!(after["sources"].as_array().is_some_and(|sources| !sources.is_empty()), "{after}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_that_comes_to_disk_after_its_request_was_refused_for_want_of_it_is_taken_back() {
    let served = served(10_000).await;
    let lock = locked(&served.world.folder.join("audit.sqlite")).await;
    let query = "query($id: ID!) { household(id: $id) { registry { phone } } }";
    let variables = json!({ "id": HOUSEHOLD });
    // The writer tries for 3 s at a time, so it comes to the second when that has waited for a while.
    let second = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        served.ask(query, variables.clone()).await.1
    };
    let freed = async {
        tokio::time::sleep(Duration::from_millis(5_750)).await;
        drop(lock);
    };
    let (first, second, ()) = tokio::join!(served.ask(query, variables.clone()), second, freed);
    for answer in [&first.1, &second] {
        assert_eq!(code(answer), Some("AUDIT_UNAVAILABLE"), "{answer}");
        let found = of(&served, &answer["errors"][0]["extensions"]["requestId"], 2).await;
        if let Some(last) = found.last() {
            assert_eq!((&last["outcome"], &last["kind"]), (&json!("REJECTED"), &json!("OUTCOME")), "{found:#?}");
            assert!(last["of"].is_i64(), "{last}");
        }
    }
    let (status, answer) = served.ask(query, variables.clone()).await;
    assert_eq!((status, answer.get("errors")), (200, None), "{answer}");
}
