//! Interfaces and unions (`tests/data/library`): what is permitted is permitted by the concrete type, whichever way the
//! operation reaches a field.

use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use huxiang::answer::{Gateway, GraphqlRequest, RoleSchema};
use huxiang::base::fault::Faults;
use huxiang::identify::{Declared, Identity, Principal};
use huxiang::model::access::Rights;
use huxiang::model::snapshot::{Folders, Snapshot};
use serde_json::{Map, Value, json};

use crate::temporary::Temporary;

type Log = Arc<Mutex<Vec<String>>>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/library")
}

/// Reader 1 has everything, 2 films alone, 3 nothing, 4 a loan of no kind; 5 owes something.
fn answer(path: &str, body: &str) -> Option<Value> {
    let film = |n: u64| json!({"kind": "02", "t": format!("Film {n}"), "d": format!("2026-03-0{n}"), "n": 90 + n});
    let book = |n: u64| json!({"kind": "01", "t": format!("Book {n}"), "d": format!("2026-02-0{n}"), "n": 100 + n});
    let marks = json!([{"k": "spot", "at": "north"}, {"k": "note", "at": "south", "text": "buried here"}]);
    let chart = json!({"kind": "77", "t": "Chart", "d": "2026-01-01", "n": 25, "marks": marks});
    Some(match path {
        "/readers/1" | "/readers/2" | "/readers/3" | "/readers/4" | "/readers/5" => {
            json!({"name": format!("Ann{}", &path[9..])})
        }
        "/readers/1/loans" => json!([film(1), book(1), film(2), book(2), chart, film(3), book(3)]),
        "/readers/2/loans" => json!([film(4)]),
        "/readers/3/loans" | "/readers/5/loans" => json!([]),
        "/readers/4/loans" => json!([{"kind": "01", "marks": "nonsense"}, 5]),
        "/branches/1" => json!({"name": "Main"}),
        "/graphql" => {
            let last = match serde_json::from_str::<Value>(body).unwrap()["variables"].to_string() {
                all if all.contains("\"5\"") => {
                    json!({"__typename": "Owes", "cents": "3.50", "thing": {"kind": "01", "t": "Book 9"}})
                }
                all if all.contains("\"3\"") => Value::Null,
                all if all.contains("\"4\"") => json!({"__typename": "Danced", "day": "2026-01-01"}),
                _ => json!({"__typename": "Came", "day": "2026-01-09"}),
            };
            json!({"data": {"r": {"last": last}}})
        }
        _ => return None,
    })
}

async fn serve(State(log): State<Log>, uri: Uri, body: Bytes) -> (StatusCode, String) {
    let body = String::from_utf8(body.to_vec()).unwrap();
    log.lock().unwrap().push(format!("{} {body}", uri.path()));
    match answer(uri.path(), &body) {
        Some(answer) => (StatusCode::OK, answer.to_string()),
        None => (StatusCode::NOT_FOUND, String::new()),
    }
}

fn load(url: &str, folder: &Path) -> Snapshot {
    let variables = |name: &str| match name {
        "LIBRARY_URL" => Some(url.to_owned()),
        "HUXIANG_AUDIT" => Some(folder.join("audit.sqlite").display().to_string()),
        "AUDIT_KEY" => Some("k".repeat(32)),
        _ => None,
    };
    let mut faults = Faults::default();
    let snapshot = Snapshot::load(&Folders::under(&root()), &variables, &mut faults);
    snapshot.unwrap_or_else(|| panic!("{}", faults.render()))
}

struct Served {
    gateway: Gateway,
    log: Log,
    /// Holds the audit store.
    _folder: Temporary,
}

async fn served(name: &str) -> Served {
    let log = Log::default();
    let routes = Router::new().fallback(serve).with_state(Arc::clone(&log));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await });
    let folder = Temporary::new(&format!("library-{name}"));
    Served { gateway: Gateway::start(load(&url, &folder)).await.unwrap(), log, _folder: folder }
}

impl Served {
    async fn ask_with(&self, role: &str, query: &str, variables: Value) -> Value {
        let principal = Principal {
            id: "p".to_owned(),
            issuer: "test".to_owned(),
            roles: vec![role.to_owned()],
            actors: Vec::new(),
            claims: Map::new(),
        };
        let (address, networks) = (IpAddr::V4(Ipv4Addr::LOCALHOST), vec!["anywhere".to_owned()]);
        let identity = Identity::new(Some(principal), address, networks, Declared::default());
        let variables = variables.as_object().cloned().unwrap_or_default();
        let request = GraphqlRequest { query: Some(query.to_owned()), variables, ..GraphqlRequest::default() };
        let answer = self.gateway.answer(identity, request, "request-1".to_owned(), None).await;
        serde_json::from_slice(&answer.body).unwrap()
    }

    async fn ask(&self, role: &str, query: &str) -> Value {
        self.ask_with(role, query, Value::Null).await
    }
}

fn grants(answer: &Value) -> Vec<String> {
    let errors = answer["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| format!("{} {}", error["extensions"]["code"], error["extensions"]["grant"])).collect()
}

const LOANS: &str =
    "{ reader(id: 1) { loans(first: 9) { __typename title ... on Book { n: pages } ... on Film { n: minutes }
    ... on Chart { n: scale marks { __typename at ... on Note { text } } } } } }";

#[tokio::test]
async fn each_value_answers_the_fragments_of_its_own_type() {
    let served = served("types").await;
    let answer = served.ask("all", LOANS).await;
    assert_eq!(grants(&answer), [""; 0], "{answer:#}");
    let loans = answer["data"]["reader"]["loans"].as_array().unwrap();
    let told: Vec<String> =
        loans.iter().map(|loan| format!("{} {} {}", loan["__typename"], loan["title"], loan["n"])).collect();
    // Latest first, by each type's own date.
    let expected = [
        r#""Film" "Film 3" 93"#,
        r#""Film" "Film 2" 92"#,
        r#""Film" "Film 1" 91"#,
        r#""Book" "Book 3" 103"#,
        r#""Book" "Book 2" 102"#,
        r#""Book" "Book 1" 101"#,
        r#""Chart" "Chart" 25"#,
    ];
    assert_eq!(told, expected);
    let marks =
        json!([{"__typename": "Spot", "at": "north"}, {"__typename": "Note", "at": "south", "text": "buried here"}]);
    assert_eq!(loans[6]["marks"], marks);
}

#[tokio::test]
async fn a_type_that_is_refused_leaves_no_trace() {
    let served = served("refused").await;
    let answer = served.ask("open", LOANS).await;
    let loans = answer["data"]["reader"]["loans"].as_array().unwrap();
    assert_eq!(loans.iter().map(|loan| &loan["__typename"]).collect::<Vec<_>>(), ["Book", "Book", "Book", "Chart"]);
    assert_eq!(loans[3]["marks"], json!([{"__typename": "Spot", "at": "north"}]));
    assert!(!answer.to_string().contains("buried") && !answer.to_string().contains("Film 1"), "{answer:#}");
    assert_eq!(grants(&answer).len(), 2, "films and notes: {answer:#}");
    // What was left out is not counted: the second of two is a book, though films come first.
    let first = served.ask("open", "{ reader(id: 1) { loans { title } } }").await;
    assert_eq!(first["data"]["reader"]["loans"], json!([{"title": "Book 3"}, {"title": "Book 2"}]));
    // Who has films alone looks as who has nothing, byte for byte.
    let query =
        |id: u64| format!("{{ reader(id: {id}) {{ loans {{ __typename title }} items(no: [1]) {{ state }} }} }}");
    let (films, nothing) = (served.ask("open", &query(2)).await, served.ask("open", &query(3)).await);
    assert_eq!(films.to_string(), nothing.to_string());
    assert_eq!(films["data"]["reader"], json!({"loans": [], "items": [{"state": "REFUSED"}]}));
    assert_eq!(served.ask("all", &query(3)).await["data"]["reader"]["items"][0]["state"], "NO_RECORD");
}

#[tokio::test]
async fn fields_of_an_interface_are_refused_through_any_fragment() {
    let served = served("fragments").await;
    let refused = [
        "{ reader(id: 1) { name } }",
        "{ reader(id: 1) { ... on Named { name } } }",
        "{ reader(id: 1) { ... on Named { ... on Reader { a: name } ... on Telling { ... on Named { name } } } } }",
        "{ reader(id: 1) { ...N } } fragment N on Named { ...R } fragment R on Reader { name }",
        "query($yes: Boolean = true) { reader(id: 1) { ... on Named @include(if: $yes) { name } ... on Named { name } } }",
    ];
    for query in refused {
        let answer = served.ask("open", query).await;
        assert!(!answer.to_string().contains("Ann1"), "{query}: {answer:#}");
        assert_eq!(grants(&answer).len(), 1, "{query}: {answer:#}");
        assert!(served.ask("all", query).await.to_string().contains("Ann1"), "{query}");
    }
    // The same fragment gives the branch's name, which is open, under the same response key.
    let both =
        "{ branch(id: 1) { ...N } reader(id: 1) { id ...N } } fragment N on Named { name ... on Reader { of: name } }";
    let answer = served.ask("open", both).await;
    assert_eq!(
        answer["data"],
        json!({"branch": {"name": "Main"}, "reader": {"id": "1", "name": null, "of": null}}),
        "{answer:#}"
    );
}

#[tokio::test]
async fn what_one_type_may_show_is_not_shown_of_another() {
    let served = served("one-type").await;
    let answer = served.ask("pages", LOANS).await;
    let loans = &answer["data"]["reader"]["loans"];
    // In the library's order: sorted by a date that is refused, they would tell it.
    assert_eq!(loans[0], json!({"__typename": "Book", "title": null, "n": 101}), "{answer:#}");
    assert_eq!(loans.as_array().unwrap().len(), 4);
    assert!(!answer.to_string().contains("9") || !answer.to_string().contains("93"), "{answer:#}");
}

#[tokio::test]
async fn masks_are_of_the_concrete_type() {
    let served = served("masks").await;
    let answer = served.ask("titles", "{ reader(id: 1) { loans(first: 9) { title due } } }").await;
    let loans = &answer["data"]["reader"]["loans"];
    assert_eq!(loans[0], json!({"title": "F****1", "due": "2026-03-01"}), "{answer:#}");
    assert_eq!(loans[1], json!({"title": "Book 1", "due": "2026"}), "{answer:#}");
    // A date that is masked in one type cuts nothing: neither does it in the others.
    let cut = served.ask("titles", r#"{ reader(id: 1) { loans(from: "2026-02-02") { title } } }"#).await;
    assert_eq!(cut["data"]["reader"]["loans"], Value::Null, "{cut:#}");
    let cut = served.ask("all", r#"{ reader(id: 1) { loans(to: "2026-02-02") { title } } }"#).await;
    assert_eq!(cut["data"]["reader"]["loans"], json!([{"title": "Book 2"}, {"title": "Book 1"}]));
}

#[tokio::test]
async fn a_value_of_a_union_is_asked_for_by_what_is_permitted_of_it() {
    let served = served("union").await;
    let query = |id: u64| {
        format!(
            "{{ reader(id: {id}) {{ last {{ __typename ... on Visit {{ on }} ... on Fine {{ cents of {{ title }} }} }}
               items(no: [2]) {{ state }} }} }}"
        )
    };
    let fine = json!({"__typename": "Fine", "cents": "3.50", "of": {"title": "Book 9"}});
    let answer = served.ask("all", &query(5)).await;
    assert_eq!(answer["data"]["reader"]["last"], fine, "{answer:#}");
    assert!(served.log.lock().unwrap().iter().any(|call| call.contains("cents")));
    served.log.lock().unwrap().clear();
    let visit = served.ask("open", &query(1)).await;
    assert_eq!(visit["data"]["reader"]["last"], json!({"__typename": "Visit", "on": "2026-01-09"}));
    let (owes, nothing) = (served.ask("open", &query(5)).await, served.ask("open", &query(3)).await);
    assert_eq!(owes.to_string(), nothing.to_string());
    assert_eq!(owes["data"]["reader"], json!({"last": null, "items": [{"state": "REFUSED"}]}));
    let asked = served.log.lock().unwrap().join("\n");
    assert!(asked.contains("__typename") && asked.contains("day"), "{asked}");
    assert!(!asked.contains("cents") && !asked.contains("thing"), "{asked}");
}

#[tokio::test]
async fn a_value_that_says_no_type_of_the_contract_is_the_sources_error() {
    let served = served("untyped").await;
    let answer = served.ask("all", "{ reader(id: 4) { loans { title } last { __typename } } }").await;
    assert_eq!(answer["data"]["reader"], json!({"loans": null, "last": null}));
    let codes: Vec<&Value> =
        answer["errors"].as_array().unwrap().iter().map(|error| &error["extensions"]["code"]).collect();
    assert_eq!(codes, ["SOURCE_BAD_ANSWER", "VALUE_INVALID"], "{answer:#}");
}

/// The interface's field says nothing of choosing items; the concrete type's does.
#[tokio::test]
async fn items_chosen_through_an_interface_are_those_of_this_request() {
    let served = served("items").await;
    let query = "query($no: [ID!]) { reader(id: 1) { ... on Telling { items(no: $no) { no state } } } }";
    for no in ["1", "2"] {
        let answer = served.ask_with("all", query, json!({"no": [no]})).await;
        assert_eq!(answer["data"]["reader"]["items"], json!([{"no": no, "state": "ANSWERED"}]), "{answer:#}");
    }
}

fn seen_by(role: &str) -> String {
    let snapshot = load("http://127.0.0.1:1", &std::env::temp_dir());
    let rights = Rights::new(&snapshot.access, snapshot.access.role(role).unwrap().grants.clone());
    RoleSchema::new(&snapshot, &rights).unwrap().schema.to_string()
}

#[test]
fn introspection_tells_the_types_and_fields_that_may_be_had() {
    let all = seen_by("all");
    for told in ["interface Named", "union Event = Visit | Fine", "type Film implements Thing", "interface Mark"] {
        assert!(all.contains(told), "{told}: {all}");
    }
    let open = seen_by("open");
    assert!(open.contains("interface Thing {\n  title: String\n  due: Date\n}"), "{open}");
    assert!(open.contains("union Event = Visit\n"), "{open}");
    for hidden in ["Film", "Fine", "Note", "cents", "minutes"] {
        assert!(!open.contains(hidden), "{hidden}: {open}");
    }
    // A reader's name is refused, so what has a name in common is not of readers.
    assert!(!open.contains("type Reader implements Named &") && open.contains("Telling"), "{open}");
    // What two types have in common is refused: they are the types of a union.
    let pages = seen_by("pages");
    assert!(pages.contains("union Thing = Book | Chart") && pages.contains("loans("), "{pages}");
    assert!(!pages.contains("title"), "{pages}");
}

#[tokio::test]
async fn introspection_over_the_endpoint_names_the_possible_types() {
    let served = served("introspection").await;
    let query = r#"{ __type(name: "Thing") { kind possibleTypes { name } fields { name } } }"#;
    let answer = served.ask("open", query).await;
    let names: Vec<&Value> =
        answer["data"]["__type"]["possibleTypes"].as_array().unwrap().iter().map(|of| &of["name"]).collect();
    assert_eq!(names, ["Book", "Chart"], "{answer:#}");
}
