//! The same binary as the portrait's serves posts and users (`tests/data/blog`) over services
//! that speak JSON, XML and GraphQL, with roles, rules and code tables of their own.

use std::io::{BufRead as _, BufReader};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{Method, StatusCode, Uri};
use huxiang::answer::{Gateway, GraphqlRequest};
use huxiang::base::fault::Faults;
use huxiang::identify::{Declared, Identity, Principal};
use huxiang::model::snapshot::{Folders, Snapshot};
use serde_json::{Map, Value, json};

use crate::temporary::Temporary;

/// What the services were asked.
type Log = Arc<Mutex<Vec<String>>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/blog")
}

fn post(id: u64) -> Value {
    json!({"id": id, "title": format!("Post {id}"), "mood": if id == 3 { ":|" } else { ":)" }, "at": 1_767_225_600,
           "userId": id % 2 + 1, "cents": id * 1_000_000_000_000_001_u64, "draft": id == 4})
}

fn user(id: u64) -> Value {
    json!({"id": id, "name": format!("u{id}"), "email": format!("u{id}@example.org"), "address": {"city": "São Tomé"}})
}

fn numbers(list: &Value) -> Vec<u64> {
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok()).unwrap();
    list.as_array().unwrap().iter().map(number).collect()
}

/// The services, all in one.
async fn serve(State(log): State<Log>, method: Method, uri: Uri, body: Bytes) -> (StatusCode, String) {
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    log.lock().unwrap().push(format!("{method} {uri}").replace("/?", "?"));
    let query = uri.query().unwrap_or_default();
    let asked = |name: &str| {
        query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .filter(|pair| pair.0 == name)
            .map(|pair| pair.1.to_owned())
            .collect::<Vec<_>>()
    };
    let answer = match uri.path() {
        "/posts" if query == "tag=nameless" => json!({"data": [post(1), {"title": "whose is it?"}]}),
        "/posts" if query.starts_with("tag=") => json!({"data": (1..=4).map(post).collect::<Vec<_>>()}),
        "/posts" => {
            json!({"data": asked("id")[0].split("%2C").map(|id| post(id.parse().unwrap())).collect::<Vec<_>>()})
        }
        "/users/batch" => {
            json!({"users": numbers(&body["ids"]).into_iter().filter(|id| *id < 6).map(user).collect::<Vec<_>>()})
        }
        "/users" => {
            let page: u64 = asked("page")[0].parse().unwrap();
            json!({"users": (page * 2 - 1..=(page * 2).min(5)).map(user).collect::<Vec<_>>()})
        }
        "/users/1/posts" | "/users/2/posts" => json!([post(2), post(4)]),
        "/tags" => {
            let by: Map<String, Value> = numbers(&body["posts"])
                .into_iter()
                .map(|id| (id.to_string(), json!({"names": ["a", id.to_string()]})))
                .collect();
            json!({"by": by})
        }
        "/comments" => {
            let rows: Vec<Value> = asked("post")
                .into_iter()
                .flat_map(|id| {
                    (1..=3).map(move |n| json!([id, format!("by {n}"), 20_260_100 + n, "…", u64::from(n == 2)]))
                })
                .collect();
            json!({"columns": ["post", "by", "day", "text", "spam"], "rows": rows})
        }
        "/weather" => json!({"sky": format!("clear over {}", asked("city")[0])}),
        "/graphql" => {
            let variables = body["variables"].as_object().unwrap();
            let data: Map<String, Value> = variables
                .iter()
                .map(|(name, id)| (name.replace('k', "a"), json!({"count": id.as_u64().unwrap() * 60})))
                .collect();
            json!({"data": data})
        }
        "/subgraph" => {
            let entities: Vec<Value> = body["variables"]["r"]
                .as_array()
                .unwrap()
                .iter()
                .map(|key| json!({"id": key["id"], "bio": format!("bio of {}", key["id"])}))
                .collect();
            json!({"data": {"_entities": entities}})
        }
        "/mirror/east/copies" => {
            Value::Array(numbers(&body["ids"]).into_iter().map(|id| json!({"id": id, "n": 7})).collect())
        }
        "/rating/1.xml" => {
            return (
                StatusCode::OK,
                "<r:rating xmlns:r='urn:r' votes='2'><stars>4.50</stars><word>fine</word></r:rating>".to_owned(),
            );
        }
        path => match path.strip_prefix("/posts/").and_then(|id| id.parse().ok()) {
            Some(id @ 1..=4) => post(id),
            _ => return (StatusCode::NOT_FOUND, String::new()),
        },
    };
    (StatusCode::OK, answer.to_string())
}

async fn services() -> (String, Log) {
    let log = Log::default();
    let routes = Router::new().fallback(serve).with_state(Arc::clone(&log));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    (url, log)
}

fn taken(log: &Log) -> Vec<String> {
    let mut asked = std::mem::take(&mut *log.lock().unwrap());
    asked.sort();
    asked
}

struct Served {
    gateway: Gateway,
    log: Log,
    /// Holds the audit store.
    _folder: Temporary,
}

async fn served(name: &str) -> Served {
    let (url, log) = services().await;
    let folder = Temporary::new(&format!("blog-{name}"));
    let variables = |name: &str| match name {
        "BLOG_URL" => Some(url.clone()),
        "HUXIANG_AUDIT" => Some(folder.join("audit.sqlite").display().to_string()),
        "AUDIT_KEY" => Some("k".repeat(32)),
        _ => None,
    };
    let mut faults = Faults::default();
    let snapshot = Snapshot::load(&Folders::under(&root()), &variables, &mut faults);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", faults.render()));
    Served { gateway: Gateway::start(snapshot).await.unwrap(), log, _folder: folder }
}

impl Served {
    /// As a member of that name asks; without a name: as somebody without a token.
    async fn ask(&self, member: Option<&str>, query: &str) -> Value {
        let principal = member.map(|name| Principal {
            id: name.to_owned(),
            issuer: "test".to_owned(),
            roles: vec!["member".to_owned()],
            actors: Vec::new(),
            claims: Map::new(),
        });
        let identity =
            Identity::new(principal, IpAddr::V4(Ipv4Addr::LOCALHOST), vec!["anywhere".to_owned()], Declared::default());
        let request = GraphqlRequest { query: Some(query.to_owned()), ..GraphqlRequest::default() };
        let answer = self.gateway.answer(identity, request, "request-1".to_owned(), None).await;
        serde_json::from_slice(&answer.body).unwrap()
    }
}

#[tokio::test]
async fn one_post_is_gathered_from_services_of_every_kind() {
    let served = served("post").await;
    let query =
        "{ post(id: 1) { id title mood moodCode publishedOn price tags likes author { id name city bio weather }
        comments(first: 1) { by on } rating { stars votes words } mirrors { at state code copies }
        heat { level complete } } }";
    let answer = served.ask(None, query).await;
    let expected = json!({"post": {
        "id": 1, "title": "Post 1", "mood": "GLAD", "moodCode": ":)", "publishedOn": "2026-01-01",
        "price": "10000000000000.01", "tags": ["a", "1"], "likes": 60,
        "author": {"id": 2, "name": "u2", "city": "São Tomé", "bio": "bio of \"2\"",
                   "weather": "clear over S%C3%A3o%20Tom%C3%A9"},
        "comments": [{"by": "by 3", "on": "2026-01-03"}],
        "rating": {"stars": "4.50", "votes": 2, "words": ["fine"]},
        "mirrors": [{"at": "East", "state": "ANSWERED", "code": null, "copies": 7},
                    {"at": "West", "state": "UNAVAILABLE", "code": "SOURCE_ERROR", "copies": null}],
        "heat": {"level": "WARM", "complete": true}}});
    assert_eq!(answer["data"], expected, "{answer:#}");
    assert_eq!(answer.get("errors"), None, "{answer:#}");
}

#[tokio::test]
async fn a_listing_costs_one_call_a_batch() {
    let served = served("posts").await;
    let answer = served.ask(None, r#"{ posts(tag: "a&b") { id title mood likes tags author { name } } }"#).await;
    assert_eq!(answer.get("errors"), None, "{answer:#}");
    let posts = answer["data"]["posts"].as_array().unwrap();
    assert_eq!(posts.len(), 3, "the draft is left out: {answer:#}");
    assert_eq!(
        posts[2],
        json!({"id": 3, "title": "Post 3", "mood": "UNRECOGNIZED", "likes": 180, "tags": ["a", "3"], "author": {"name": "u2"}})
    );
    assert_eq!(
        taken(&served.log),
        ["GET /posts?id=1%2C2%2C3", "GET /posts?tag=a%26b", "POST /graphql", "POST /tags", "POST /users/batch"]
    );
}

#[tokio::test]
async fn a_listing_with_a_record_without_key_is_a_bad_answer_and_no_entity_without_key() {
    let served = served("nameless").await;
    let answer = served.ask(None, r#"{ posts(tag: "nameless") { id title } }"#).await;
    assert_eq!(answer["data"]["posts"], Value::Null, "{answer:#}");
    assert_eq!(answer["errors"][0]["extensions"]["code"], "SOURCE_BAD_ANSWER", "{answer:#}");
    assert_eq!(taken(&served.log), ["GET /posts?tag=nameless"], "nothing is asked of what may not be there");
}

#[tokio::test]
async fn a_connection_goes_from_page_to_page() {
    let served = served("users").await;
    let page = |after: &str| {
        format!("{{ users(first: 2{after}) {{ nodes {{ id name }} pageInfo {{ hasNextPage endCursor }} }} }}")
    };
    let mut names = Vec::new();
    let mut after = String::new();
    for _ in 0..3 {
        let answer = served.ask(None, &page(&after)).await;
        let users = &answer["data"]["users"];
        names.extend(
            users["nodes"].as_array().unwrap_or_else(|| panic!("{answer:#}")).iter().map(|node| node["name"].clone()),
        );
        let more = users["pageInfo"]["hasNextPage"].as_bool().unwrap();
        assert_eq!(more, names.len() < 5, "{answer:#}");
        after = format!(", after: {}", users["pageInfo"]["endCursor"]);
    }
    assert_eq!(names, ["u1", "u2", "u3", "u4", "u5"]);
}

#[tokio::test]
async fn a_relation_of_this_contract_decides_what_is_private() {
    let served = served("self").await;
    let query = "{ mine: user(id: 1) { email posts { id title } } other: user(id: 2) { name email } none: user(id: 9) { name } }";
    let answer = served.ask(Some("u1"), query).await;
    let mine =
        json!({"email": "u1@example.org", "posts": [{"id": 2, "title": "Post 2"}, {"id": 4, "title": "Post 4"}]});
    assert_eq!(
        answer["data"],
        json!({"mine": mine, "other": {"name": "u2", "email": null}, "none": null}),
        "{answer:#}"
    );
    let anonymous = served.ask(None, "{ user(id: 1) { name email } }").await;
    assert_eq!(anonymous["data"]["user"], json!({"name": "u1", "email": null}), "{anonymous:#}");
    assert_eq!(anonymous["errors"][0]["extensions"]["code"], "FORBIDDEN");
}

/// The binary, until it is dropped.
struct Process(Child, String);

impl Process {
    fn start(services: &str, folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .args(["serve", "--root"])
            .arg(root())
            .envs([("BLOG_URL", services), ("HUXIANG_LISTEN", "127.0.0.1:0")])
            .env("AUDIT_KEY", "k".repeat(32))
            .env("HUXIANG_AUDIT", folder.join("audit.sqlite"))
            .env("HUXIANG_LOG", "info")
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let mut lines = log.lines().map_while(Result::ok);
        let address =
            lines.find_map(|line| line.split("address=").nth(1).map(|rest| rest.split(' ').next().unwrap().to_owned()));
        let address = address.expect("it says where it listens");
        // Read on, so that the process never waits for its log to be read.
        std::thread::spawn(move || lines.for_each(drop));
        Self(child, format!("http://{address}/graphql"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binary_serves_it() {
    let (url, _log) = services().await;
    let folder = Temporary::new("blog-binary");
    let process = Process::start(&url, &folder);
    let body = json!({"query": "query($id: Int!) { post(id: $id) { title author { name } } __type(name: \"User\") { fields { name } } }", "variables": {"id": 2}});
    let response = reqwest::Client::new()
        .post(&process.1)
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);
    let answer: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(answer["data"]["post"], json!({"title": "Post 2", "author": {"name": "u1"}}), "{answer:#}");
    let fields = answer["data"]["__type"]["fields"].to_string();
    assert!(fields.contains("weather") && !fields.contains("email"), "pruned to the role: {fields}");
}
