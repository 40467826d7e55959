//! What operators see of the departments' systems: counted where they are called, and kept when files change.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::Path as UrlPath;
use axum::http::StatusCode;
use axum::routing::get;
use huxiang::answer::Gateway;
use huxiang::base::fault::Faults;
use huxiang::model::snapshot::{Folders, Snapshot};
use serde_json::{Value, json};

use crate::live_support;
use crate::support::{self, admin, ask, caller};
use crate::temporary::Temporary;

const SCHEMA: &str = r#"
directive @key(fields: String!) on OBJECT
directive @class(name: String!, level: Int!) on FIELD_DEFINITION | OBJECT
enum Kind { RED GREEN UNRECOGNIZED }
type Query { person(id: ID!): Person }
type Person @key(fields: "id") @class(name: "open", level: 1) { id: ID! name: String age: Int kind: Kind tags: [String!] }
"#;
const ROLES: &str = "roles:\n\
    \x20 reader: {title: Reader, networks: [gov], grants: [{relation: any, classes: [open]}]}\n\
    \x20 operator: {title: Operator, networks: [gov], grants: []}\n";
const CONFIG: &str = "listen: 127.0.0.1:0\nnetworks: {gov: [127.0.0.0/8]}\n\
    audit: {store: audit.sqlite, key: \"${AUDIT_KEY}\"}\nadmin: {operator: [operator]}\n";
const BINDING: &str = "source: people\ntitle: People\nbase_url: ${PEOPLE_URL}\n\
    limits: {timeout_ms: 250, retries_max: 1, per_second_max: 200}\n\
    quota: [{role: reader, calls_per_minute: 40, entities_per_day: 9}]\nendpoints:\n\
    \x20 person:\n    entity: Person\n    establishes: true\n    one: {get: \"/person/{key}\"}\n\
    \x20   fields: {name: /name, age: /age, kind: {at: /kind, codes: kinds}, tags: {list: /tags}}\n";
const CODES: &str = "code,value,zh\n1,RED,红\n2,GREEN,绿\n";

/// What the department answers now.
#[derive(Clone)]
enum Says {
    Json(Value),
    Status(u16),
    Nothing,
}

/// A gateway over one department that answers as it is told.
struct Stage {
    gateway: Gateway,
    says: Arc<Mutex<Says>>,
    variables: BTreeMap<String, String>,
    root: Temporary,
    department: tokio::task::JoinHandle<()>,
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.department.abort();
    }
}

fn usual() -> Value {
    json!({ "name": "Anna", "age": 41, "kind": "1", "tags": ["a", "b"] })
}

impl Stage {
    async fn new(name: &str) -> Self {
        let root = Temporary::new(&format!("watching-{name}"));
        for (path, text) in [
            ("schema/people.graphql", SCHEMA),
            ("config/roles.yaml", ROLES),
            ("config/gateway.yaml", CONFIG),
            ("config/rules/relations.yaml", "relations:\n  any: {on: Person, when: \"true\"}\n"),
            ("config/codes/kinds.csv", CODES),
            ("resolvers/people.yaml", BINDING),
        ] {
            write(&root, path, text);
        }
        let says = Arc::new(Mutex::new(Says::Json(usual())));
        let told = Arc::clone(&says);
        let answer = move |UrlPath(_): UrlPath<String>| {
            let says = told.lock().unwrap().clone();
            async move {
                match says {
                    Says::Json(value) => (StatusCode::OK, value.to_string()),
                    Says::Status(status) => (StatusCode::from_u16(status).unwrap(), String::new()),
                    Says::Nothing => std::future::pending().await,
                }
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let routes = Router::new().route("/person/{id}", get(answer));
        let department = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        let variables = BTreeMap::from([("PEOPLE_URL".to_owned(), url)]);
        let gateway = support::gateway(&root, variables.clone(), &root).await;
        Self { gateway, says, variables, root, department }
    }

    fn says(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    async fn ask(&self, id: &str) -> Value {
        let query = "query($id: ID!) { person(id: $id) { name age kind tags } }";
        ask(&self.gateway, &caller("reader", json!({})), query, json!({ "id": id })).await
    }

    async fn source(&self, fields: &str) -> Value {
        let query = format!("{{ sources {{ {fields} }} }}");
        let answer = admin(&self.gateway, &caller("operator", json!({})), &query, json!({})).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        answer["data"]["sources"][0].clone()
    }
}

fn write(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_and_how_they_ended_are_counted_and_told_to_operators() {
    let stage = Stage::new("calls").await;
    let all = "id calls requests answered givenUp underWay errors { code count } latencyMs { p50 p90 p99 } \
        lastAnsweredAt lastFailure { code at } withdrawn systems { name }";
    let fresh = stage.source(all).await;
    assert_eq!((&fresh["calls"], &fresh["latencyMs"], &fresh["lastFailure"]), (&json!(0), &Value::Null, &Value::Null));
    for id in ["1", "2", "3"] {
        assert_eq!(stage.ask(id).await["data"]["person"]["name"], "Anna");
    }
    stage.says(Says::Status(503));
    stage.ask("4").await;
    stage.says(Says::Nothing);
    stage.ask("5").await;
    let seen = stage.source(all).await;
    assert_eq!(
        [&seen["calls"], &seen["answered"], &seen["givenUp"], &seen["underWay"]],
        [&json!(5), &json!(3), &json!(0), &json!(0)]
    );
    // The one that said "not now" was tried once more.
    assert_eq!(seen["requests"], 6, "{seen}");
    let errors = json!([{ "code": "SOURCE_TIMEOUT", "count": 1 }, { "code": "SOURCE_ERROR", "count": 1 }]);
    assert_eq!(seen["errors"], errors);
    assert_eq!(seen["lastFailure"]["code"], "SOURCE_TIMEOUT");
    assert!(seen["lastAnsweredAt"].as_str() < seen["lastFailure"]["at"].as_str(), "{seen}");
    let ms = |name: &str| seen["latencyMs"][name].as_f64().unwrap();
    assert!(ms("p50") < 200.0 && ms("p50") <= ms("p90") && ms("p99") > 200.0, "{seen}");
    assert_eq!(seen["systems"], json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_outlive_a_change_of_the_files_even_of_the_sources_limits() {
    let mut stage = Stage::new("outlive").await;
    stage.ask("1").await;
    write(
        &stage.root,
        "resolvers/people.yaml",
        &BINDING.replace("timeout_ms: 250", "timeout_ms: 300, in_flight_max: 3"),
    );
    let mut variables = stage.variables.clone();
    variables.insert("AUDIT_KEY".to_owned(), "0123456789abcdef0123456789abcdef".to_owned());
    let mut faults = Faults::default();
    let folders = Folders::under(&stage.root);
    let snapshot = Snapshot::load(&folders, &|name| variables.get(name).cloned(), &mut faults);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", faults.render()));
    stage.gateway = stage.gateway.following(snapshot).await.expect("it follows");
    stage.ask("2").await;
    assert_eq!(stage.source("calls answered").await, json!({ "calls": 2, "answered": 2 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_breaker_is_told_and_a_change_of_other_files_does_not_close_it() {
    let mut stage = Stage::new("breaker").await;
    let breakers = "breakers { name standby state opened since retryAt }";
    let fresh = json!([{ "name": "people", "standby": null, "state": "CLOSED", "opened": 0, "since": null,
        "retryAt": null }]);
    assert_eq!(stage.source(breakers).await["breakers"], fresh);
    stage.says(Says::Status(500));
    for id in 0..10 {
        stage.ask(&(id % 9).to_string()).await;
    }
    stage.says(Says::Json(usual()));
    let answer = stage.ask("1").await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], "SOURCE_SUSPENDED", "{answer}");
    let said = "People failed too often just now and is not asked for a while; ask again in some seconds";
    assert_eq!(answer["errors"][0]["message"], said);
    write(&stage.root, "config/roles.yaml", &ROLES.replace("Reader", "Other"));
    let mut variables = stage.variables.clone();
    variables.insert("AUDIT_KEY".to_owned(), "0123456789abcdef0123456789abcdef".to_owned());
    let mut faults = Faults::default();
    let snapshot = Snapshot::load(&Folders::under(&stage.root), &|name| variables.get(name).cloned(), &mut faults);
    stage.gateway = stage.gateway.following(snapshot.unwrap()).await.expect("it follows");
    let told = stage.source(breakers).await["breakers"][0].clone();
    assert_eq!((&told["state"], &told["opened"]), (&json!("OPEN"), &json!(1)), "{told}");
    assert!(told["since"].as_str() < told["retryAt"].as_str(), "{told}");
    assert_eq!(stage.ask("1").await["errors"][0]["extensions"]["code"], "SOURCE_SUSPENDED");
    let metrics = samples(&huxiang::admin::metrics(&stage.gateway).finish());
    assert_eq!(metrics.get("huxiang_source_breaker_state{source=\"people\"}"), Some(&2.0));
    assert_eq!(metrics.get("huxiang_source_breaker_opened_total{source=\"people\"}"), Some(&1.0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_platform_that_a_source_stands_on_is_told() {
    let mut stage = Stage::new("platform").await;
    assert_eq!(stage.source("platform").await, json!({ "platform": null }));
    let platforms = "platforms:\n  hub: {base_url: \"${PEOPLE_URL}\", sources: [people]}\n";
    write(&stage.root, "config/platforms.yaml", platforms);
    let binding = BINDING.replace("base_url: ${PEOPLE_URL}", "platform: hub").replace(", per_second_max: 200", "");
    write(&stage.root, "resolvers/people.yaml", &binding);
    let mut variables = stage.variables.clone();
    variables.insert("AUDIT_KEY".to_owned(), "0123456789abcdef0123456789abcdef".to_owned());
    let mut faults = Faults::default();
    let snapshot = Snapshot::load(&Folders::under(&stage.root), &|name| variables.get(name).cloned(), &mut faults);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", faults.render()));
    stage.gateway = stage.gateway.following(snapshot).await.expect("it follows");
    assert_eq!(stage.ask("1").await["data"]["person"]["name"], "Anna");
    assert_eq!(stage.source("platform calls").await, json!({ "platform": "hub", "calls": 1 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_left_of_quotas_is_told() {
    let stage = Stage::new("quotas").await;
    for id in ["1", "2", "2"] {
        stage.ask(id).await;
    }
    let quotas = "quotas { role network per callsPerMinute { most used left } entitiesPerDay { most used left } }";
    let expected = json!({ "quotas": [{
        "role": "reader", "network": null, "per": "role",
        "callsPerMinute": { "most": 40, "used": 3, "left": 37 },
        "entitiesPerDay": { "most": 9, "used": 2, "left": 7 },
    }] });
    assert_eq!(stage.source(quotas).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_under_way_is_told_while_it_is() {
    let stage = Arc::new(Stage::new("under-way").await);
    stage.says(Says::Nothing);
    let asking = tokio::spawn({
        let stage = Arc::clone(&stage);
        async move { stage.ask("1").await }
    });
    let mut seen = 0;
    for _ in 0..100 {
        seen = seen.max(stage.source("underWay").await["underWay"].as_u64().unwrap());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    asking.await.expect("an answer");
    assert_eq!((seen, stage.source("underWay calls").await), (1, json!({ "underWay": 0, "calls": 1 })));
}

/// The samples by series, after looking at the form: each family told before its samples, each series once.
fn samples(text: &str) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::new();
    let mut family = String::new();
    for line in text.lines() {
        if let Some(told) = line.strip_prefix("# TYPE ") {
            family = told.split(' ').next().unwrap().to_owned();
        }
        if line.starts_with('#') {
            continue;
        }
        let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("no sample: {line}"));
        assert!(series.starts_with(&family), "{line} stands under {family}");
        let value = value.parse().unwrap_or_else(|_| panic!("no number: {line}"));
        assert_eq!(found.insert(series.to_owned(), value), None, "{line} stands twice");
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_are_read_at_a_listener_of_their_own_and_name_nobody() {
    use crate::live_support::{CONFIG, Place, binding};
    let config = format!("{CONFIG}metrics: {{listen: \"${{METRICS}}\"}}\n");
    let place =
        Place::new("metrics", &[("config/gateway.yaml", &config), ("resolvers/people.yaml", &binding("v1"))]).await;
    let port = live_support::free_port();
    let own = format!("127.0.0.1:{port}");
    let live = place.start("gateway", &[("METRICS", &own)]).await;
    live.ask("{ person(id: \"somebody-77\") { name city } }").await;
    let refused = live.client.post(format!("{}/graphql", live.url)).header("content-type", "application/json");
    let refused = refused.bearer_auth("nonsense").body("{}").send().await;
    assert_eq!(refused.unwrap().status(), 401);

    let answer = live.client.get(format!("http://{own}/metrics")).send().await.unwrap();
    assert_eq!(answer.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    let text = answer.text().await.unwrap();
    let samples = samples(&text);
    for (series, value) in [
        ("huxiang_source_calls_total{source=\"people\",code=\"OK\"}", 2.0),
        ("huxiang_source_requests_total{source=\"people\"}", 2.0),
        ("huxiang_source_calls_under_way{source=\"people\"}", 0.0),
        ("huxiang_source_call_seconds_count{source=\"people\"}", 2.0),
        ("huxiang_source_call_seconds_bucket{source=\"people\",le=\"+Inf\"}", 2.0),
        // What it waits for before it answers.
        ("huxiang_source_call_seconds_bucket{source=\"people\",le=\"0.001\"}", 0.0),
        ("huxiang_audit_records_total{kind=\"REQUEST\",outcome=\"ANSWERED\"}", 1.0),
        ("huxiang_refused_requests_total{status=\"401\"}", 1.0),
        ("huxiang_version", 1.0),
        ("huxiang_version_refused", 0.0),
        ("huxiang_ready", 1.0),
    ] {
        assert_eq!(samples.get(series), Some(&value), "{series} in\n{text}");
    }
    let took = samples["huxiang_source_call_seconds_sum{source=\"people\"}"];
    assert!((0.02..10.0).contains(&took), "{took}");
    assert!(!text.contains("somebody"), "{text}");

    let status = async |address: &str, path: &str, host: &str| {
        let request = live.client.get(format!("http://{address}{path}")).header("host", host);
        request.send().await.unwrap().status().as_u16()
    };
    let public = live.url.trim_start_matches("http://");
    assert_eq!(status(public, "/metrics", "localhost").await, 404, "the public listener has none");
    assert_eq!(status(&own, "/graphql", "localhost").await, 404, "nor this one anything else");
    assert_eq!(
        status(&own, "/metrics", "page.example").await,
        421,
        "a page that makes its name lead here gets nothing"
    );
}

const DRIFT: &str = "drift { path endpoint kind count shape }";

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_stop_matching_the_binding_are_told_by_their_shape_alone() {
    let stage = Stage::new("drift").await;
    stage.ask("1").await;
    assert_eq!(stage.source(DRIFT).await["drift"], json!([]));
    stage
        .says(Says::Json(json!({ "name": { "given": "Anna" }, "age": "forty-1", "kind": "77", "tags": ["a", ["b"]] })));
    stage.ask("2").await;
    stage.ask("3").await;
    let expected = json!([
        { "path": "Person.age", "endpoint": "person", "kind": "CHANGED_FORM", "count": 2, "shape": "\"aaaaa-0\"" },
        { "path": "Person.kind", "endpoint": "person", "kind": "NEW_CODE", "count": 2, "shape": "\"00\"" },
        { "path": "Person.name", "endpoint": "person", "kind": "CHANGED_FORM", "count": 2, "shape": "object" },
        { "path": "Person.tags", "endpoint": "person", "kind": "CHANGED_FORM", "count": 2, "shape": "array of 1" },
    ]);
    assert_eq!(stage.source(DRIFT).await["drift"], expected);
    let metrics = huxiang::admin::metrics(&stage.gateway).finish();
    let series =
        "huxiang_source_drift_total{source=\"people\",endpoint=\"person\",path=\"Person.kind\",kind=\"NEW_CODE\"}";
    assert_eq!(samples(&metrics).get(series), Some(&2.0), "{metrics}");
    assert!(!metrics.contains("forty") && !metrics.contains("\"77\""), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_that_is_gone_is_told_and_nulls_never_are() {
    let stage = Stage::new("missing").await;
    let query = "query($id: ID!) { person(id: $id) { name age } }";
    let ask = async |id: &str| {
        let answer = ask(&stage.gateway, &caller("reader", json!({})), query, json!({ "id": id })).await;
        assert!(answer["data"]["person"].is_object(), "{answer}");
    };
    // The quota allows 40 calls a minute and nine persons.
    for _ in 0..20 {
        ask("1").await;
    }
    stage.says(Says::Json(json!({ "name": null, "kind": null, "tags": null })));
    for _ in 0..19 {
        ask("2").await;
    }
    let told = stage.source(DRIFT).await;
    assert_eq!(told["drift"].as_array().map(Vec::len), Some(1), "{told}");
    let missing = &told["drift"][0];
    let expected = [&json!("Person.age"), &json!("MISSING_FIELD"), &json!("nothing")];
    assert_eq!([&missing["path"], &missing["kind"], &missing["shape"]], expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn source_status_shows_an_operator_how_sources_do() {
    use crate::live_support::{CONFIG, Place, ROLES, binding};
    const ISSUER: &str = "issuers:\n  - {issuer: \"https://test.invalid\", audience: huxiang, algorithms: [EdDSA], \
        keys: [\"${PUBLIC}\"], demo: true, signing_key: \"${PRIVATE}\"}\nadmin: {operator: [operator]}\n";
    let people =
        "  operator: {title: O, networks: [local], grants: []}\n  other: {title: X, networks: [local], grants: []}\n";
    let (config, roles) = (format!("{CONFIG}{ISSUER}"), format!("{ROLES}{people}"));
    let files = [
        ("config/gateway.yaml", config.as_str()),
        ("config/roles.yaml", &roles),
        ("resolvers/people.yaml", &binding("v1")),
        // It tells of the city what is no text.
        ("schema/people.graphql", &live_support::SCHEMA.replace("city: String", "city: Int")),
    ];
    let place = Place::new("status", &files).await;
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap();
    let (public, private) = (key.public_key_pem(), key.serialize_pem());
    let live = place.start("gateway", &[("PUBLIC", &public), ("PRIVATE", &private)]).await;
    live.ask("{ person(id: \"1\") { name city } }").await;
    let token = |role: &str| {
        let variable = |name: &str| match name {
            "PUBLIC" => Some(public.clone()),
            "PRIVATE" => Some(private.clone()),
            "HUXIANG_LISTEN" => Some("127.0.0.1:0".to_owned()),
            _ => Some("0123456789abcdef0123456789abcdef".to_owned()),
        };
        let mut faults = Faults::default();
        let file = place.root.join("config/gateway.yaml");
        let config = huxiang::model::config::GatewayConfig::load(&file, &place.root, &variable, &mut faults);
        let issuer = &config.unwrap_or_else(|| panic!("{}", faults.render())).issuers[0];
        let hour = Duration::from_secs(3_600);
        huxiang::identify::mint(issuer, "chen", &[role.to_owned()], &serde_json::Map::new(), hour).unwrap()
    };
    let status = |token: &str, arguments: &[&str]| {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_huxiang"))
            .args(["source", "status", "--gateway", &live.url])
            .args(arguments)
            .env("HUXIANG_TOKEN", token)
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let operator = token("operator");
    let (exit, told, said) = status(&operator, &[]);
    assert_eq!(exit, Some(1), "its answers do not match: {told}{said}");
    let row = told.lines().find(|line| line.starts_with("people ")).unwrap_or_else(|| panic!("{told}"));
    assert_eq!(row.split_whitespace().take(4).collect::<Vec<_>>(), ["people", "2", "0", "0"], "{told}");
    let drift = "people: CHANGED_FORM Person.city (endpoint city): 1 times since ";
    assert!(told.lines().any(|line| line.starts_with(drift) && line.ends_with("first \"a0\"")), "{told}");
    let (exit, told, _) = status(&operator, &["people", "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {told}"));
    assert_eq!((exit, &told[0]["id"], &told[0]["calls"]), (Some(1), &json!("people"), &json!(2)));
    let (exit, told, said) = status(&operator, &["nobody"]);
    assert_eq!((exit, told.as_str(), said.contains("no source `nobody`")), (Some(2), "", true), "{said}");
    let (exit, told, said) = status(&token("other"), &[]);
    assert_eq!((exit, told.as_str(), said.starts_with("error: ")), (Some(1), "", true), "{said}");
    assert_eq!(live.log().matches("answers no longer match the binding").count(), 1, "{}", live.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn departments_that_answer_as_their_bindings_say_raise_no_alarm() {
    let world = support::world().await;
    let portrait = support::document::portrait(&world.gateway.snapshot().contract);
    let households: Vec<String> = world.departments.world().village_household_ids("331122101348").collect();
    assert!(households.len() > 20, "{}", households.len());
    for id in households {
        ask(&world.gateway, &support::supervisor(), &portrait, json!({ "id": id })).await;
    }
    let query = "{ sources { id calls drift { path kind count shape } } }";
    let told = admin(&world.gateway, &caller("operator", json!({})), query, json!({})).await;
    let sources = told["data"]["sources"].as_array().unwrap();
    assert!(sources.iter().filter(|source| source["calls"].as_u64() >= Some(20)).count() > 5, "{told}");
    for source in sources {
        assert_eq!(source["drift"], json!([]), "{}", source["id"]);
    }
}
