//! The gateway over an unrelated contract: `examples/posts`, as the README tells it, over a service of that shape.

use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path as UrlPath, RawQuery, State};
use axum::http::StatusCode;
use axum::routing::get;
use huxiang::answer::{Gateway, GraphqlRequest, Outcome};
use huxiang::base::fault::Faults;
use huxiang::identify::{Declared, Identity};
use huxiang::model::snapshot::{Folders, Snapshot};
use serde_json::{Value, json};

use crate::temporary::Temporary;

/// What the service was asked, as path and query.
type Log = Arc<Mutex<Vec<String>>>;

struct Served {
    gateway: Gateway,
    log: Log,
    service: tokio::task::JoinHandle<()>,
    /// Holds the audit store.
    _folder: Temporary,
}

fn user(id: u32) -> Value {
    json!({"id": id, "name": format!("User {id}"), "email": format!("u{id}@example.org"), "address": {"city": "Gwenborough"}})
}

async fn users(State(log): State<Log>) -> String {
    log.lock().unwrap().push("/users".to_owned());
    Value::from((1..=3).map(user).collect::<Vec<_>>()).to_string()
}

async fn one_user(State(log): State<Log>, UrlPath(id): UrlPath<String>) -> Result<String, (StatusCode, &'static str)> {
    log.lock().unwrap().push(format!("/users/{id}"));
    match id.parse() {
        Ok(id @ 1..=3) => Ok(user(id).to_string()),
        _ => Err((StatusCode::NOT_FOUND, "{}")),
    }
}

async fn posts(State(log): State<Log>, RawQuery(query): RawQuery) -> String {
    let query = query.unwrap_or_default();
    log.lock().unwrap().push(format!("/posts?{query}"));
    let asked: Vec<u32> = query.split('&').filter_map(|pair| pair.strip_prefix("userId=")?.parse().ok()).collect();
    // The third has none.
    let written = asked.iter().filter(|id| **id < 3).flat_map(|id| {
        (1..=2)
            .map(move |n| json!({"userId": id, "id": id * 10 + n, "title": format!("Post {n} of {id}"), "body": "…"}))
    });
    Value::from(written.collect::<Vec<_>>()).to_string()
}

async fn served(name: &str) -> Served {
    let log = Log::default();
    let routes = Router::new()
        .route("/users", get(users))
        .route("/users/{id}", get(one_user))
        .route("/posts", get(posts))
        .with_state(Arc::clone(&log));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let service = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let folder = Temporary::new(&format!("posts-{name}"));
    let store = folder.join("audit.sqlite").to_string_lossy().into_owned();
    let variables = |variable: &str| match variable {
        "PLACEHOLDER_URL" => Some(url.clone()),
        "HUXIANG_AUDIT" => Some(store.clone()),
        "AUDIT_KEY" => Some("k".repeat(32)),
        _ => None,
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/posts");
    let mut faults = Faults::default();
    let snapshot = Snapshot::load(&Folders::under(&root), &variables, &mut faults);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", faults.render()));
    Served { gateway: Gateway::start(snapshot).await.unwrap(), log, service, _folder: folder }
}

impl Served {
    /// As a visitor of the network asks.
    async fn ask_from(&self, network: &str, query: &str) -> Value {
        let identity =
            Identity::new(None, IpAddr::V4(Ipv4Addr::LOCALHOST), vec![network.to_owned()], Declared::default());
        let request = GraphqlRequest { query: Some(query.to_owned()), ..GraphqlRequest::default() };
        let answer = self.gateway.answer(identity, request, "request-1".to_owned(), None).await;
        assert_eq!(answer.status, Outcome::Ok, "{}", String::from_utf8_lossy(&answer.body));
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn ask(&self, query: &str) -> Value {
        self.ask_from("local", query).await
    }

    fn asked(&self) -> Vec<String> {
        let mut log = self.log.lock().unwrap();
        let mut asked = std::mem::take(&mut *log);
        asked.sort();
        asked
    }
}

#[tokio::test]
async fn another_contract_is_served() {
    let served = served("whole").await;
    let answer = served.ask("{ user(id: 1) { id name city posts { title } } }").await;
    assert_eq!(
        answer["data"],
        json!({"user": {"id": "1", "name": "User 1", "city": "Gwenborough",
            "posts": [{"title": "Post 1 of 1"}, {"title": "Post 2 of 1"}]}}),
        "{answer}"
    );
    assert_eq!(answer.get("errors"), None, "{answer}");
    assert_eq!(served.asked(), ["/posts?userId=1", "/users/1"]);
}

#[tokio::test]
async fn a_listing_asks_for_all_posts_in_one_call() {
    let served = served("listing").await;
    let answer = served.ask("{ users { name posts { title } } }").await;
    let users = answer["data"]["users"].as_array().unwrap_or_else(|| panic!("{answer}"));
    assert_eq!(users.len(), 3, "{answer}");
    assert_eq!(users[1]["posts"][0]["title"], "Post 1 of 2", "{answer}");
    let asked = served.asked();
    assert_eq!(asked.iter().filter(|call| call.starts_with("/posts")).count(), 1, "{asked:?}");
}

#[tokio::test]
async fn where_the_contract_allows_no_null_a_failed_listing_leaves_no_data() {
    let served = served("down").await;
    served.service.abort();
    let answer = served.ask("{ users { name } __typename }").await;
    assert_eq!((&answer["data"], answer["errors"].as_array().map(Vec::len)), (&Value::Null, Some(1)), "{answer}");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "SOURCE_UNREACHABLE", "{answer}");
    let nullable = served.ask("{ user(id: 1) { name } __typename }").await;
    assert_eq!(nullable["data"]["__typename"], "Query", "{nullable}");
}

#[tokio::test]
async fn who_does_not_exist_is_null() {
    let served = served("absent").await;
    let answer = served.ask("{ user(id: 9) { name } }").await;
    assert_eq!(answer["data"], json!({"user": null}), "{answer}");
}

#[tokio::test]
async fn what_no_role_gives_is_forbidden_and_never_asked() {
    let served = served("refused").await;
    let answer = served.ask("{ user(id: 1) { name email } }").await;
    assert_eq!(answer["data"], json!({"user": {"name": "User 1", "email": null}}), "{answer}");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{answer}");
    served.asked();
    let elsewhere = served.ask_from("elsewhere", "{ user(id: 1) { name posts { title } } }").await;
    assert_eq!(elsewhere["errors"][0]["extensions"]["code"], "FORBIDDEN", "{elsewhere}");
    assert_eq!(served.asked(), Vec::<String>::new(), "a role does not count outside its networks");
}
