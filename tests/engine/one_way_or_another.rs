//! A value comes to the caller in two ways: the straight one, where one record is all there is of it, and the one that
//! combines what several systems say. Of the same record both say the same, whatever stands in it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use huxiang::answer::{Gateway, GraphqlRequest, Outcome};
use huxiang::base::fault::Faults;
use huxiang::identify::{Declared, Identity};
use huxiang::model::snapshot::{Folders, Snapshot};
use serde_json::{Value, json};

use crate::temporary::Temporary;

const RECORDS: usize = 400;
/// Name, type, and how it is read.
const FIELDS: [(&str, &str, &str); 8] = [
    ("Text", "String", "{at: /text}"),
    ("Other", "String", "{at: /other, \"null\": [\"-\", \"9999\"]}"),
    ("Number", "Int", "{at: /number}"),
    ("Amount", "Decimal", "{at: /amount, unit: fen}"),
    ("Flag", "Boolean", "{at: /flag, yes: \"1\", no: \"0\"}"),
    ("Day", "Date", "{at: /day}"),
    ("Needed", "String", "{at: /needed, required: true}"),
    ("Deep", "String", "{at: /deep/inside}"),
];
/// What a department may write there, fit or not; the empty one: nothing.
const VALUES: [&str; 32] = [
    "",
    "null",
    "\"\"",
    "\" \"",
    "\"\\u3000\"",
    "\"-\"",
    "\" - \"",
    "\"9999\"",
    "9999",
    "\"文字\"",
    "\" 文字 \"",
    "\"a\\\"b\\n\"",
    "12",
    "\"12\"",
    "\" 12 \"",
    "-3",
    "0",
    "1",
    "\"1\"",
    "\"0\"",
    "1.50",
    "0.5",
    "-0.5",
    "1e2",
    "1e400",
    "12345678901234567890",
    "true",
    "false",
    "\"2024-02-29\"",
    "\"2023-02-29\"",
    "{\"inside\": \"x\"}",
    "[1]",
];

/// Always the same numbers, one after the other.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % most as u64).unwrap()
    }
}

fn record(numbers: &mut Numbers) -> String {
    let mut members = Vec::new();
    for name in ["text", "other", "number", "amount", "flag", "day", "needed", "deep"] {
        let value = VALUES[numbers.below(VALUES.len())];
        if !value.is_empty() {
            members.push(format!("\"{name}\": {value}"));
        }
    }
    format!("{{{}}}", members.join(", "))
}

fn write(root: &Path) {
    let put = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in ["schema/directives.graphql", "schema/scalars.graphql"] {
        put(file, &std::fs::read_to_string(repository.join(file)).unwrap());
    }
    let (mut slots, mut one, mut two) = (String::new(), String::new(), String::new());
    for (name, kind, read) in FIELDS {
        slots += &format!("  one{name}: {kind}\n  two{name}: {kind}\n");
        one += &format!("      one{name}: {read}\n");
        two += &format!("      two{name}: {read}\n");
    }
    let contract = format!(
        "type Query {{ thing(id: ID!): Thing }}\n\
         type Thing @key(fields: \"id\") @class(name: \"open\", level: 1) {{\n  id: ID!\n{slots}}}\n"
    );
    put("schema/contract.graphql", &contract);
    let endpoint = |fields: &str| {
        format!("endpoints:\n  things:\n    entity: Thing\n    one: {{get: \"/{{key}}\"}}\n    fields:\n{fields}")
    };
    put("resolvers/one.yaml", &format!("source: one\ntitle: One\nbase_url: ${{DEPARTMENT}}/there\n{}", endpoint(&one)));
    let two = endpoint(&two);
    put(
        "resolvers/two.yaml",
        &format!(
            "source: two\ntitle: Two\nbase_url: ${{DEPARTMENT}}/${{instance.id}}\ninstances: {{file: two.csv}}\n{two}"
        ),
    );
    put("resolvers/two.csv", "id,title\nthere,There\nnowhere,Nowhere\n");
    put("config/rules/relations.yaml", "relations:\n  any: {on: Thing, when: \"true\"}\n");
    let role = "roles:\n  public:\n    title: Public\n    networks: [local]\n    grants:\n";
    put("config/roles.yaml", &format!("{role}      - {{relation: any, classes: [open]}}\n"));
    put(
        "config/gateway.yaml",
        "listen: 127.0.0.1:0\nnetworks: {local: [127.0.0.0/8]}\naudit: {store: \"${STORE}\", key: \"${AUDIT_KEY}\"}\n",
    );
}

type Now = Arc<Mutex<String>>;

async fn there(State(now): State<Now>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], now.lock().unwrap().clone()).into_response()
}

/// What is told of the fields whose names begin so: values, and by field why there is none.
fn told(answer: &Value, of: &str) -> (Vec<Value>, BTreeSet<String>) {
    let thing = &answer["data"]["thing"];
    let values = FIELDS.map(|(name, ..)| thing[format!("{of}{name}")].clone()).to_vec();
    let mut why = BTreeSet::new();
    for error in answer["errors"].as_array().into_iter().flatten() {
        let extensions = &error["extensions"];
        for path in extensions["paths"].as_array().into_iter().flatten() {
            let field = path[1].as_str().unwrap_or_default();
            if let Some(field) = field.strip_prefix(of) {
                why.insert(format!("{field}: {} {}", extensions["code"], extensions["state"]));
            }
        }
    }
    (values, why)
}

#[tokio::test]
async fn of_the_same_record_both_ways_say_the_same() {
    let now = Now::default();
    let routes = Router::new()
        .route("/there/{key}", get(there))
        .route("/nowhere/{key}", get(|| async { StatusCode::NOT_FOUND }))
        .with_state(Arc::clone(&now));
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    let folder = Temporary::new("one-way-or-another");
    write(&folder);
    let store = folder.join("audit.sqlite").to_string_lossy().into_owned();
    let variables = |variable: &str| match variable {
        "DEPARTMENT" => Some(url.clone()),
        "STORE" => Some(store.clone()),
        "AUDIT_KEY" => Some("k".repeat(32)),
        _ => None,
    };
    let mut faults = Faults::default();
    let snapshot = Snapshot::load(&Folders::under(&folder), &variables, &mut faults);
    let gateway = Gateway::start(snapshot.unwrap_or_else(|| panic!("{}", faults.render()))).await.unwrap();
    let fields: String = FIELDS.iter().map(|(name, ..)| format!(" one{name} two{name}")).collect();
    let query = format!("{{ thing(id: \"1\") {{{fields} }} }}");

    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let (mut values, mut nulls, mut failed) = (0, 0, 0);
    for _ in 0..RECORDS {
        let record = record(&mut numbers);
        now.lock().unwrap().clone_from(&record);
        let identity =
            Identity::new(None, IpAddr::V4(Ipv4Addr::LOCALHOST), vec!["local".to_owned()], Declared::default());
        let request = GraphqlRequest { query: Some(query.clone()), ..GraphqlRequest::default() };
        let answer = gateway.answer(identity, request, "request-1".to_owned(), None).await;
        assert_eq!(answer.status, Outcome::Ok, "{}", String::from_utf8_lossy(&answer.body));
        let answer: Value = serde_json::from_slice(&answer.body).unwrap();
        let (one, two) = (told(&answer, "one"), told(&answer, "two"));
        assert_eq!(one, two, "{record}\n{answer:#}");
        failed += one.1.len();
        nulls += one.0.iter().filter(|value| **value == json!(null)).count();
        values += one.0.len();
    }
    let (empty, there) = (nulls - failed, values - nulls);
    assert!(there > RECORDS && empty > RECORDS && failed > RECORDS, "values {there}, nulls {empty}, errors {failed}");
}
