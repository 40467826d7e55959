//! `huxiang source import`: a draft from a document, laid into a root, checked, and served against a mock of the same
//! document.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use huxiang::answer::{Gateway, GraphqlRequest};
use huxiang::base::fault::{Faults, SourceText};
use huxiang::draft::{self, Wanted};
use huxiang::identify::{Declared, Identity};
use huxiang::model::snapshot::{Folders, Snapshot};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::temporary::Temporary;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/import").join(name)
}

/// A folder of its own, removed at the end.
struct Folder(Temporary);

impl Folder {
    fn new(name: &str) -> Self {
        let path = Temporary::new(&format!("import-{name}"));
        Self(path)
    }

    /// With a configuration that gives everybody what is of one class, of these entities.
    fn root(name: &str, class: &str, entities: &[&str]) -> Self {
        let folder = Self::new(name);
        folder.write(
            "config/gateway.yaml",
            "listen: 127.0.0.1:0\nnetworks: {local: [127.0.0.0/8]}\naudit: {store: \"${STORE}\", key: \"${AUDIT_KEY}\"}\n",
        );
        let grants: String = entities
            .iter()
            .map(|entity| format!("      - {{relation: any-{}, classes: [{class}]}}\n", entity.to_lowercase()))
            .collect();
        let roles = format!("roles:\n  public:\n    title: Everybody\n    networks: [local]\n    grants:\n{grants}");
        folder.write("config/roles.yaml", &roles);
        let relations: String = entities
            .iter()
            .map(|entity| format!("  any-{}: {{on: {entity}, when: \"true\"}}\n", entity.to_lowercase()))
            .collect();
        folder.write("config/rules/relations.yaml", &format!("relations:\n{relations}"));
        folder
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.0.join(path)).unwrap()
    }

    fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

fn huxiang(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_huxiang")).args(arguments).output().unwrap()
}

fn import(document: &Path, more: &[&str]) -> Output {
    huxiang(&[&["source", "import", document.to_str().unwrap(), "--source", "pets", "--title", "Pets"], more].concat())
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

type Log = Arc<Mutex<Vec<String>>>;
type Mock = (Log, fn(&str, &str, &Value) -> Option<Value>);

async fn served(root: &Folder, answers: fn(&str, &str, &Value) -> Option<Value>) -> (Gateway, Log) {
    let log = Log::default();
    async fn mock(
        State((log, answers)): State<Mock>,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> (StatusCode, String) {
        let text = || (!body.is_empty()).then(|| Value::from(String::from_utf8_lossy(&body).into_owned()));
        let body: Value = serde_json::from_slice(&body).ok().or_else(text).unwrap_or_default();
        let signed = headers.contains_key("x-api-key") || headers.contains_key("authorization");
        log.lock().unwrap().push(format!("{method} {uri} {body} {signed}"));
        match answers(uri.path(), uri.query().unwrap_or_default(), &body) {
            Some(answer) => (StatusCode::OK, answer.to_string()),
            None => (StatusCode::NOT_FOUND, "{}".to_owned()),
        }
    }
    let routes = Router::new().fallback(mock).with_state((Arc::clone(&log), answers));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let store = root.0.join("audit.sqlite").display().to_string();
    let variables = |name: &str| match name {
        "PETS_URL" => Some(url.clone()),
        "STORE" => Some(store.clone()),
        _ => Some("k".repeat(32)),
    };
    let mut faults = Faults::default();
    let snapshot = Snapshot::load(&Folders::under(&root.0), &variables, &mut faults);
    let snapshot = snapshot.unwrap_or_else(|| panic!("{}", faults.render()));
    (Gateway::start(snapshot).await.unwrap(), log)
}

async fn ask(gateway: &Gateway, query: &str) -> Value {
    let identity = Identity::new(None, IpAddr::V4(Ipv4Addr::LOCALHOST), vec!["local".to_owned()], Declared::default());
    let request = GraphqlRequest { query: Some(query.to_owned()), ..GraphqlRequest::default() };
    let answer = gateway.answer(identity, request, "request-1".to_owned(), None).await;
    serde_json::from_slice(&answer.body).unwrap()
}

fn pet(id: u64) -> Value {
    json!({"id": id, "name": format!("Pet {id}"), "kind": if id == 2 { "in between" } else { "cat" }, "born": "2024-05-01",
           "price": 12.50, "tags": ["a", "b"], "owner": {"name": "Li", "电话": "123"}, "parents": [{"id": 9}]})
}

fn pets(path: &str, query: &str, body: &Value) -> Option<Value> {
    match path {
        "/pets" if query.contains("page=1") => Some(json!({"total": 3, "items": [pet(1), pet(2)]})),
        "/pets" => Some(json!({"total": 3, "items": [pet(3)]})),
        "/pets/batch" => Some(body["ids"].as_array()?.iter().map(|id| pet(id.as_u64().unwrap())).collect()),
        "/pets/1" => Some(pet(1)),
        "/pets/1/visits" => Some(json!([{"at": "2026-01-02T03:04:05+08:00", "paid": true}])),
        _ => None,
    }
}

#[tokio::test]
async fn a_draft_of_openapi_3_is_checked_and_answers() {
    let root = Folder::root("pets", "pets", &["Pet"]);
    let output = import(&data("pets.yaml"), &["--out", root.path()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("4 operations bound, 1 left out"), "{}", stderr(&output));
    let checked = huxiang(&["check", "--root", root.path()]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let binding = root.read("resolvers/pets.yaml");
    for told in [
        "# decide: batch_max",
        "# decide: pages",
        "GET /pets/{petId}/photo: it answers image/png, not JSON",
        "a name for 电话",
    ] {
        assert!(binding.contains(told), "{told}:\n{binding}");
    }
    let (gateway, log) = served(&root, pets).await;
    let answer = ask(
        &gateway,
        "{ pet(id: \"1\") { id name kind kindCode born price tags owner { name } visits { at paid } } none: pet(id: \"7\") { name } }",
    )
    .await;
    assert_eq!(
        answer["data"],
        json!({"pet": {"id": "1", "name": "Pet 1", "kind": "CAT", "kindCode": "cat", "born": "2024-05-01", "price": "12.5",
                       "tags": ["a", "b"], "owner": {"name": "Li"},
                       "visits": [{"at": "2026-01-02T03:04:05+08:00", "paid": true}]},
               "none": null}),
        "{answer:#}"
    );
    let listed = ask(&gateway, "{ listPets { id kind } }").await;
    assert_eq!(
        listed["data"]["listPets"],
        json!([{"id": "1", "kind": "CAT"}, {"id": "2", "kind": "IN_BETWEEN"}, {"id": "3", "kind": "CAT"}]),
        "{listed:#}"
    );
    let log = log.lock().unwrap();
    assert!(log.iter().all(|line| line.ends_with("true")), "every call carries the key: {log:?}");
    assert!(log.iter().any(|line| line.starts_with("GET /pets/1/visits")), "{log:?}");
    assert!(log.iter().any(|line| line.starts_with("GET /pets?") && line.contains("page=2")), "{log:?}");
}

fn houses(path: &str, query: &str, _: &Value) -> Option<Value> {
    let house = |no: &str| json!({"house_no": no, "owner": "Wang", "built": 1986, "repair_grant": 0.5});
    match path {
        "/houses" if query.split('&').any(|pair| pair == "page=1") => {
            Some((0..10).map(|at| house(&format!("H-{at}"))).collect())
        }
        "/houses" => Some(json!([house("H-10")])),
        "/houses/H-1" => Some(house("H-1")),
        _ => None,
    }
}

/// A framework's own writing of paths (`/houses/<id>`) was published, and records that do not say which member is their key.
#[tokio::test]
async fn a_member_that_is_the_key_is_named_by_the_parameter_it_is_asked_with() {
    let root = Folder::root("houses", "pets", &["House"]);
    let output = import(&data("houses.yaml"), &["--key", "id"]);
    assert!(stderr(&output).contains("--key id=FIELD"), "{}", stderr(&output));
    let output = import(&data("houses.yaml"), &["--key", "id=house_no", "--out", root.path()]);
    assert!(stderr(&output).contains("2 operations bound, 0 left out; 4 places to decide"), "{}", stderr(&output));
    let checked = huxiang(&["source", "check", &format!("{}/resolvers/pets.yaml", root.path())]);
    let checked = String::from_utf8(checked.stdout).unwrap();
    assert!(checked.contains("and 2 more that are marked"), "{checked}");
    assert!(!checked.contains("costs 100 calls"), "the listing has it all: {checked}");
    let (gateway, log) = served(&root, houses).await;
    let answer =
        ask(&gateway, "{ house(houseNo: \"H-1\") { houseNo owner repairGrant } houses { houseNo built } }").await;
    assert_eq!(answer["data"]["house"], json!({"houseNo": "H-1", "owner": "Wang", "repairGrant": "0.5"}), "{answer:#}");
    assert_eq!(answer["data"]["houses"].as_array().unwrap().len(), 11, "{answer:#}");
    assert_eq!(log.lock().unwrap().len(), 3, "one for the house, two pages");
}

fn clinic(path: &str, _: &str, body: &Value) -> Option<Value> {
    let visit = |id: &str| json!({"visitId": id, "day": "2026-01-02"});
    let form: Vec<&str> = body.as_str().unwrap_or_default().split('&').collect();
    let has = |pair: &str| form.contains(&pair);
    match path {
        "/doctors/7" => Some(json!({"id": "7", "name": "李四", "since": "2021-01-01", "seen": "2026-01-02T03:04:05",
            "patients": 4_000_000_000_u64, "rate": 4, "retired": true, "rooms": [{"no": 3, "floor": "B2"}], "note": "x"})),
        "/wards" => Some(json!([{"id": "w9", "beds": 3, "nurse": {"name": "王五"}}])),
        "/visits/query" if has("tenant=county") && has("visitIds=v1%2Cv2") => Some(json!([visit("v2"), visit("v1")])),
        "/visits/search" if has("day=Monday") && has("pageSize=2") => match has("pageNo=1") {
            true => Some(json!({"total": 3, "rows": [visit("v1"), visit("v2")]})),
            false => Some(json!({"total": 3, "rows": [visit("v3")]})),
        },
        _ => None,
    }
}

#[tokio::test]
async fn forms_are_drafted_and_answers_that_only_an_example_describes() {
    let root = Folder::root("clinic", "pets", &["Doctor", "Wards", "Visit", "Visit3"]);
    let output = import(&data("odd/clinic.yaml"), &["--out", root.path()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let binding = root.read("resolvers/pets.yaml");
    let elsewhere =
        |target: &str| format!("the answer's description is in another file; bundle the document ({target})");
    for told in [
        &format!("GET /reports: {}", elsewhere("common.yaml").trim_end_matches(')')),
        &format!("GET /charts: {}", elsewhere("shared/chart.json")),
        "GET /lists: the answer's description is to be at #/components/responses/Gone, which leads nowhere",
        "GET /nothing: the document has no answer with status 200",
        "GET /blank: it answers neither an object with properties nor a plain value",
        "# decide: fields: an example is all that the document says",
        "# decide: `tenant` is always county",
        "many: {post: /visits/query, form: {tenant: county, visitIds: \"{keys:,}\"}, batch_max: 50, item_key: /visitId}",
    ] {
        assert!(binding.contains(told), "{told}:\n{binding}");
    }
    assert!(
        !binding.contains("/visits,") && !binding.contains("POST /visits:"),
        "what adds is passed over:\n{binding}"
    );
    let checked = huxiang(&["check", "--root", root.path()]);
    assert!(checked.status.success(), "{}{binding}", String::from_utf8_lossy(&checked.stdout));
    let (gateway, log) = served(&root, clinic).await;
    let answer = ask(
        &gateway,
        "{ doctor(id: \"7\") { id name since seen patients rate retired rooms { no floor } note } wards { id beds nurse { name } } }",
    )
    .await;
    let expected = json!({
        "doctor": {"id": "7", "name": "李四", "since": "2021-01-01", "seen": "2026-01-02T03:04:05+08:00",
                   "patients": "4000000000", "rate": "4", "retired": true, "rooms": [{"no": 3, "floor": "B2"}], "note": "x"},
        "wards": [{"id": "w9", "beds": "3", "nurse": {"name": "王五"}}],
    });
    assert_eq!(answer["data"], expected, "{answer:#}\n{binding}");
    let query = "{ a: visit(id: \"v1\") { id queryVisits { day } } b: visit(id: \"v2\") { id queryVisits { day } } \
                 searchVisits(day: \"Monday\") { visitId } }";
    let answer = ask(&gateway, query).await;
    assert_eq!(
        answer["data"]["b"]["queryVisits"]["day"],
        "2026-01-02",
        "{answer:#}\n{binding}{}",
        root.read("schema/pets.graphql")
    );
    assert_eq!(
        answer["data"]["searchVisits"].as_array().map(Vec::len),
        Some(3),
        "{answer:#}\n{:?}",
        log.lock().unwrap()
    );

    let root = Folder::root("counter", "pets", &["QueryHousehold"]);
    let output = import(&data("odd/counter.json"), &["--out", root.path()]);
    assert!(stderr(&output).contains("1 operation bound, 1 left out"), "{}", stderr(&output));
    let binding = root.read("resolvers/pets.yaml");
    assert!(binding.contains("POST /query/photo: it needs `photo` in a form that a binding cannot send"), "{binding}");
    assert!(binding.contains("post: /query/household") && binding.contains("appId: hx"), "{binding}");
    let (gateway, log) = served(&root, |_, _, _| Some(json!({"sfzh": "x 1", "owner": "Li", "grant": 3.25}))).await;
    let answer = ask(&gateway, "{ queryHousehold(sfzh: \"x 1\") { owner grant } }").await;
    assert_eq!(answer["data"]["queryHousehold"], json!({"owner": "Li", "grant": "3.25"}), "{answer:#}\n{binding}");
    let log = log.lock().unwrap().join("\n");
    assert!(log.contains("sfzh=x%201") && log.contains("appId=hx") && !log.contains("memo"), "{log}");
}

/// What is required is so under `allOf` too, and a content type may have parameters.
#[test]
fn bodies_are_drafted_as_they_are_put_together() {
    let root = Folder::root("rounds", "pets", &["Round", "SearchBeds"]);
    let rounds = json!({"type": "array", "items": {"type": "object", "properties": {"roundId": {"type": "string"}, "day": {"type": "string"}}}});
    let answer = json!({"200": {"content": {"application/json; charset=utf-8": {"schema": rounds}}}});
    let body = |required: &str| {
        let own = json!({"type": "object", "required": [required], "properties": {required: {"type": "string"}}});
        json!({"allOf": [{"properties": {"note": {"type": "string"}}}, own]})
    };
    let form = "application/x-www-form-urlencoded;charset=UTF-8";
    let document = json!({"openapi": "3.0.3", "info": {"title": "Rounds", "version": "1"}, "paths": {
        "/rounds/query": {"post": {"operationId": "queryRounds", "responses": answer, "requestBody": {"content": {
            "application/json; charset=utf-8": {"schema": body("roundId")}, form: {"schema": body("other")}}}}},
        "/beds/search": {"post": {"operationId": "searchBeds", "responses": answer,
            "requestBody": {"content": {form: {"schema": body("ward")}}}}},
    }});
    root.write("rounds.json", &document.to_string());
    let output = import(&root.0.join("rounds.json"), &["--out", root.path()]);
    assert!(output.status.success(), "{}", stderr(&output));
    let binding = root.read("resolvers/pets.yaml");
    for told in ["post: /rounds/query, body: {roundId: \"{key}\"}", "post: /beds/search, form: {ward: \"{arg.ward}\"}"]
    {
        assert!(binding.contains(told), "{told}:\n{binding}");
    }
}

fn desk(path: &str, query: &str, _: &Value) -> Option<Value> {
    assert!(query.contains("access_key=kkkk"), "{query}");
    let file = |id: &str| json!({"id": id, "title": format!("File {id}"), "state": "open"});
    match path {
        "/status" => Some(json!({"version": "7.1", "up": true})),
        "/formats" => Some(json!(["pdf", "ofd"])),
        "/count" => Some(json!(41)),
        "/courts" if query.contains("q=a%20b") && query.contains("id=5") => {
            Some(json!([{"title": "First", "seats": 4_000_000_000_u64}, {"title": "Second", "seats": 3}]))
        }
        "/courts" => Some(json!([{"title": "Other", "seats": 1}])),
        "/files" if query.contains("cursor=c1") => Some(json!({"data": [file("3")], "paging": {"next_cursor": null}})),
        "/files" => Some(json!({"data": [file("1"), file("2")], "paging": {"next_cursor": "c1"}})),
        "/boxes/b/files/9" => Some(file("9")),
        "/boxes/b/files" if query.contains("offset=2") => Some(json!([file("12")])),
        "/boxes/b/files" => Some(json!([file("10"), file("11")])),
        "/letters" => Some(json!([file("4")])),
        _ => None,
    }
}

#[tokio::test]
async fn what_has_no_key_is_asked_with_arguments_and_pages_are_followed() {
    let root = Folder::root("desk", "pets", &["GetStatus", "GetFormats", "GetCount", "FindCourts", "File", "Box"]);
    let output = import(&data("desk.yaml"), &["--out", root.path()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(stderr(&output).contains("8 operations bound, 1 left out"), "{}", stderr(&output));
    let binding = root.read("resolvers/pets.yaml");
    for line in [
        "sign: {scheme: api-key, query: access_key, key: \"${PETS_ACCESS_KEY}\"}",
        "GET /files/{id}/text: it answers text/plain, not JSON",
        "    key: \"{arg.q}/{arg.id}\"",
        "pages: {cursor: cursor, next: /paging/next_cursor, size_parameter: limit, size: 100}",
        "pages: {offset: offset, size_parameter: limit, size: 2}",
        "pages: {link: header}",
        "# decide: `state` takes a list: one value is asked with",
    ] {
        assert!(binding.contains(line), "{line}\n{binding}");
    }
    let checked = huxiang(&["check", "--root", root.path()]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let (gateway, log) = served(&root, desk).await;
    let answer = ask(
        &gateway,
        "{ getStatus { id version up } getFormats { values } getCount { value }
           a: findCourts(q: \"a b\", id: 5) { key records { title seats } } b: findCourts(q: \"c\", id: 6) { key records { title } }
           filesByState(state: \"open\") { id state } fileInBox(boxId: \"b\", idGiven: \"9\") { title } letters { id }
           box(id: \"b\") { filesOfBox { id } } }",
    )
    .await;
    assert_eq!(
        answer["data"],
        json!({
            "getStatus": {"id": "getStatus", "version": "7.1", "up": true},
            "getFormats": {"values": ["pdf", "ofd"]},
            "getCount": {"value": 41},
            "a": {"key": "a b/5", "records": [{"title": "First", "seats": "4000000000"}, {"title": "Second", "seats": "3"}]},
            "b": {"key": "c/6", "records": [{"title": "Other"}]},
            "filesByState": [{"id": "1", "state": "OPEN"}, {"id": "2", "state": "OPEN"}, {"id": "3", "state": "OPEN"}],
            "fileInBox": {"title": "File 9"},
            "letters": [{"id": "4"}],
            "box": {"filesOfBox": [{"id": "10"}, {"id": "11"}, {"id": "12"}]},
        }),
        "{answer:#}\n{binding}"
    );
    let log = log.lock().unwrap();
    assert!(log.iter().any(|line| line.contains("/files?state=open&limit=100&cursor=c1")), "{log:?}");
    assert!(log.iter().any(|line| line.contains("/boxes/b/files?limit=2&offset=2")), "{log:?}");
}

fn assist(path: &str, query: &str, _: &Value) -> Option<Value> {
    assert_eq!(path, "/assist/batch");
    assert!(query.contains("ver=2") && query.contains("sfzh=330000000000000001%2C330000000000000002"), "{query}");
    let one = json!({"sfzh": "330000000000000002", "dbzt": "02", "amount": 12_345_678_901_u64, "since": "2020-01-01"});
    Some(json!({"code": 200, "msg": "ok", "data": {"total": 1, "list": [one]}}))
}

#[tokio::test]
async fn a_draft_of_openapi_2_fills_an_entity_that_the_contract_has() {
    let root = Folder::root("assist", "pets", &["Family"]);
    root.write(
        "schema/family.graphql",
        "directive @key(fields: String!) on OBJECT\ndirective @class(name: String!, level: Int!) on FIELD_DEFINITION | OBJECT\n\
         directive @hidden on FIELD_DEFINITION\ntype Query { family(no: ID!): Family }\n\
         type Family @key(fields: \"no\") @class(name: \"pets\", level: 1) { no: ID! members: [String!] @hidden }\n",
    );
    root.write(
        "resolvers/base.yaml",
        "source: base\ntitle: Base\nbase_url: http://127.0.0.1:1\nendpoints:\n  x:\n    entity: Family\n    one: {get: \"/{key}\"}\n    \
         fields: {members: {list: /members}}\n",
    );
    // As it comes from a Windows machine.
    let document = root.0.join("assist.json");
    std::fs::write(&document, format!("\u{feff}{}", std::fs::read_to_string(data("assist.json")).unwrap())).unwrap();
    let more = ["--entity", "Family", "--key", "sfzh=members", "--root", root.path(), "--out", root.path()];
    let output = import(&document, &more);
    assert!(output.status.success(), "{}", stderr(&output));
    let checked = huxiang(&["check", "--root", root.path()]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    let binding = root.read("resolvers/pets.yaml");
    for line in [
        "    key: members",
        "many: {get: /assist/batch, query: {ver: \"2\", sfzh: \"{keys:,}\"}, batch_max: 200, items: /list, item_key: /sfzh}",
        "envelope: {ok: {at: /code, is: [\"0\", \"200\"]}, data: /data, message: /msg}",
        "sign: {scheme: basic, user: \"${PETS_USER}\", password: \"${PETS_PASSWORD}\"}",
        "assistBatch.dbzt: {at: /dbzt, map: {\"01\": N01, \"02\": N02}}",
    ] {
        assert!(binding.contains(line), "{line}\n{binding}");
    }
    root.write(
        "resolvers/base.yaml",
        "source: base\ntitle: Base\nbase_url: http://127.0.0.1:1\nendpoints:\n  x:\n    entity: Family\n    one: {get: \"/{key}\"}\n    \
         fields: {members: {list: /members}}\n",
    );
    // The members are known without asking anybody.
    let base = Router::new().fallback(|| async { r#"{"members": ["330000000000000001", "330000000000000002"]}"# });
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let text = root.read("resolvers/base.yaml").replace("127.0.0.1:1", &listener.local_addr().unwrap().to_string());
    root.write("resolvers/base.yaml", &text);
    tokio::spawn(async move { axum::serve(listener, base).await });
    let (gateway, _) = served(&root, assist).await;
    let answer = ask(&gateway, "{ family(no: \"1\") { assistBatch { dbzt dbztCode amount since } } }").await;
    assert_eq!(
        answer["data"]["family"]["assistBatch"],
        json!({"dbzt": "N02", "dbztCode": "02", "amount": "12345678901", "since": "2020-01-01"}),
        "{answer:#}"
    );
}

#[test]
fn a_draft_is_the_same_each_time_and_overwrites_nothing() {
    let first = import(&data("pets.yaml"), &[]);
    assert_eq!(first.stdout, import(&data("pets.yaml"), &[]).stdout);
    let folder = Folder::new("kept");
    folder.write("resolvers/pets.yaml", "mine");
    let output = import(&data("pets.yaml"), &["--out", folder.path()]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("it is there already"), "{}", stderr(&output));
    assert_eq!(folder.read("resolvers/pets.yaml"), "mine");
    // Beside a contract, the draft adds to it.
    let folder = Folder::new("beside");
    let own = "directive @key(fields: String!) on OBJECT
        directive @class(name: String!, level: Int!) on FIELD_DEFINITION | OBJECT
        type Query { one(id: ID!): One }
        type One @key(fields: \"id\") @class(name: \"open\", level: 1) { id: ID! }";
    folder.write("schema/own.graphql", own);
    let output = import(&data("pets.yaml"), &["--out", folder.path()]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let drafted = folder.read("schema/pets.graphql");
    assert!(drafted.contains("extend type Query") && !drafted.contains("directive @key"), "{drafted}");
    let told = import(&data("pets.yaml"), &["--json"]);
    let told: Value = serde_json::from_slice(&told.stdout).unwrap();
    assert_eq!(told["bound"].as_array().unwrap().len(), 4);
    assert_eq!(told["left_out"][0]["operation"], "GET /pets/{petId}/photo");
    let drafted = format!("# resolvers/pets.yaml\n{}", told["files"]["resolvers/pets.yaml"].as_str().unwrap());
    assert!(String::from_utf8(first.stdout).unwrap().starts_with(&drafted));
}

#[test]
fn what_is_wrong_with_a_document_is_told_with_its_place() {
    let folder = Folder::new("broken");
    let cases = [
        ("{\n  \"openapi\": \"3.0.0\",\n  \"paths\": {,}\n}", "doc:3:13", "cannot be read"),
        ("openapi: 3.0.0\npaths:\n  a: [\n", "doc:", "cannot be read"),
        ("openapi: 4.0.0\npaths: {}\n", "doc:1:10", "version 4.0.0 of OpenAPI is not known"),
        ("hello: world\n", "doc", "not an OpenAPI document"),
        ("", "doc", "not an OpenAPI document"),
        ("swagger: '2.0'\n", "doc", "has no `paths`"),
        ("swagger: '2.0'\npaths: {}\n", "doc", "no operation that reads could be bound"),
    ];
    for (text, place, message) in cases {
        folder.write("doc", text);
        let output = import(&folder.0.join("doc"), &[]);
        let told = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{text}\n{told}");
        assert!(told.contains(place) && told.contains(message) && told.contains("hint:"), "{text}\n{told}");
    }
    let output = import(&data("assist.json"), &[]);
    assert!(output.status.success());
    let told = stderr(&output);
    assert!(told.contains("warning: `elsewhere.json#/definitions/Assist` is not followed"), "{told}");
    assert!(told.contains("assist.json:35:"), "{told}");
}

#[test]
fn documents_that_contain_themselves_and_long_ones_are_drafted_in_seconds() {
    let mut paths = serde_json::Map::new();
    for n in 0..1_100 {
        let node = json!({"$ref": format!("#/components/schemas/N{}", n % 40)});
        let parameter = json!([{"name": "id", "in": "path", "required": true, "schema": {"type": "string"}}]);
        let answer = json!({"200": {"content": {"application/json": {"schema": node}}}});
        paths.insert(format!("/n{n}/{{id}}"), json!({"get": {"parameters": parameter, "responses": answer}}));
    }
    let mut schemas = serde_json::Map::new();
    for n in 0..40 {
        // Each holds all others, and itself in three ways.
        let mut properties = serde_json::Map::new();
        for m in 0..40 {
            properties.insert(format!("n{m}"), json!({"$ref": format!("#/components/schemas/N{m}")}));
        }
        properties.insert("id".to_owned(), json!({"type": "string"}));
        let own = json!({"$ref": format!("#/components/schemas/N{n}")});
        schemas.insert(format!("N{n}"), json!({"properties": properties, "allOf": [own], "anyOf": [own, own]}));
    }
    schemas.insert("A".to_owned(), json!({"$ref": "#/components/schemas/A"}));
    let document = json!({"openapi": "3.1.0", "paths": paths, "components": {"schemas": schemas}});
    let folder = Folder::new("long");
    folder.write("doc", &document.to_string());
    let begun = Instant::now();
    let output = import(&folder.0.join("doc"), &["--out", folder.path()]);
    assert!(output.status.success(), "{}", stderr(&output));
    assert!(begun.elapsed() < Duration::from_secs(120), "{:?}", begun.elapsed());
}

/// Anything that could stand where a schema, a parameter or a path does.
fn anything() -> impl Strategy<Value = Value> {
    let keys = [
        "type",
        "properties",
        "items",
        "allOf",
        "oneOf",
        "anyOf",
        "$ref",
        "enum",
        "schema",
        "content",
        "application/json",
        "200",
        "responses",
        "parameters",
        "name",
        "in",
        "required",
        "get",
        "post",
        "requestBody",
        "default",
        "id",
        "data",
        "code",
        "~/ \n\u{2028}",
    ];
    let texts = [
        "object",
        "array",
        "string",
        "integer",
        "path",
        "query",
        "#/paths/~1a",
        "#/paths",
        "#",
        "x#y",
        "#/%zz",
        "id",
        "date",
        "\u{0}\"#: {",
    ];
    let leaf = prop_oneof![
        proptest::sample::select(texts.to_vec()).prop_map(Value::from),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        Just(Value::Null),
    ];
    leaf.prop_recursive(6, 60, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((proptest::sample::select(keys.to_vec()), inner), 0..6).prop_map(|pairs| {
                Value::Object(pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
            }),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever a document holds, it is drafted or told of; and a draft is YAML and SDL that can be read.
    #[test]
    fn no_document_stops_the_reader(operation in anything(), schema in anything(), old in any::<bool>()) {
        let fine = json!({"200": {"schema": schema, "content": {"application/json": {"schema": schema}}}});
        let known = json!({"parameters": [{"name": "id", "in": "path", "type": "string"}], "responses": fine});
        let document = json!({
            if old { "swagger" } else { "openapi" }: if old { "2.0" } else { "3.1.0" },
            "paths": {"/a": {"get": operation, "post": operation}, "/b/{id}": {"get": known, "post": operation}, "/c": operation},
            "components": {"schemas": {"A": schema}},
            "definitions": schema,
            "securityDefinitions": operation,
        });
        let file = SourceText::new("doc", document.to_string());
        let wanted = Wanted { source: "s".to_owned(), title: "t: \"#".to_owned(), entity: None, keys: Vec::new(), only: None };
        let (mut faults, mut warnings) = (Faults::default(), Faults::default());
        let draft = draft::draft(&file, &wanted, None, &mut faults, &mut warnings);
        prop_assert_eq!(draft.is_none(), !faults.is_empty());
        let Some(draft) = draft else { return Ok(()) };
        let binding = SourceText::new("binding", draft.binding.clone());
        let read = huxiang::model::yaml::read::<huxiang::model::binding::format::SourceFile>(&binding, &mut faults);
        prop_assert!(read.is_some(), "{}\n{}", faults.render(), draft.binding);
        let contract = SourceText::new("contract", draft.contract.clone());
        let loaded = huxiang::model::contract::load::parse(vec![contract.clone()], contract, &mut faults);
        prop_assert!(loaded.is_some() && faults.is_empty(), "{}\n{}", faults.render(), draft.contract);
    }
}
