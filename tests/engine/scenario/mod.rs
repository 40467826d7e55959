//! Reads scenarios out of Markdown and runs them: mocked departments, a gateway over them, one query.

mod exchange;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;

use huxiang::answer::{Gateway, GraphqlRequest};
use huxiang::base::fault::Faults;
use huxiang::identify::{Declared, Identity, Principal};
use huxiang::model::snapshot::{Folders, Snapshot};
use serde_json::{Map, Value, json};

use exchange::{Departments, Exchange};

use crate::temporary::Temporary;

#[derive(Clone, Default)]
pub struct Scenario {
    pub name: String,
    /// Of its heading.
    pub line: usize,
    /// By path under the gateway's root.
    files: BTreeMap<String, String>,
    exchanges: Vec<Exchange>,
    first: Asked,
    /// What is asked of the same gateway after that.
    then: Vec<Asked>,
}

#[derive(Clone, Default)]
struct Asked {
    query: String,
    variables: Value,
    caller: Value,
    answer: Value,
}

impl Scenario {
    /// The scenarios of a file: one a second-level heading, each with what stands before the first of them.
    pub fn read(file: &str, text: &str) -> Vec<Self> {
        let first = Asked { variables: json!({}), caller: json!({}), ..Asked::default() };
        let mut shared = Self { name: file.to_owned(), first, ..Self::default() };
        let mut all: Vec<Self> = Vec::new();
        let mut block: Option<(String, String)> = None;
        for (at, line) in text.lines().enumerate() {
            match (&mut block, line) {
                (Some(_), "```") => {
                    let (info, text) = block.take().unwrap();
                    all.last_mut().unwrap_or(&mut shared).block(&info, text, &format!("{file}:{}", at + 1));
                }
                (Some((_, text)), _) => {
                    text.push_str(line);
                    text.push('\n');
                }
                (None, _) => {
                    if let Some(name) = line.strip_prefix("## ") {
                        all.push(Self { name: name.to_owned(), line: at + 1, ..shared.clone() });
                    } else if let Some(info) = line.strip_prefix("```") {
                        block = Some((info.to_owned(), String::new()));
                    }
                }
            }
        }
        assert!(block.is_none(), "{file}: a block is not closed");
        all
    }

    fn block(&mut self, info: &str, text: String, place: &str) {
        let json = |text: &str| serde_json::from_str(text).unwrap_or_else(|error| panic!("{place}: {error}"));
        match info {
            "http request" => self.exchanges.push(Exchange::request(&text, place)),
            "http response" => self.exchanges.last_mut().expect("a request comes first").answer(&text, place),
            "graphql" => self.first.query = text,
            "json variables" => self.first.variables = json(&text),
            "json caller" => self.first.caller = json(&text),
            "json answer" => self.first.answer = json(&text),
            "graphql then" => self.then.push(Asked { query: text, answer: Value::Null, ..self.first.clone() }),
            "json caller then" => self.last(place).caller = json(&text),
            "json answer then" => self.last(place).answer = json(&text),
            _ => match info.split_once(' ') {
                Some((_, path)) if path.contains('/') => {
                    self.files.insert(path.to_owned(), text);
                }
                _ => panic!("{place}: a block of another kind than README.md tells: `{info}`"),
            },
        }
    }

    /// `Err`: what differs from what the scenario says.
    pub async fn run(&self) -> Result<(), String> {
        let folder = Temporary::new("scenario");
        self.write(&folder);
        let departments = Departments::start(self.exchanges.clone()).await;
        let variables = |name: &str| match name {
            "AUDIT_KEY" => Some("k".repeat(32)),
            _ => name.ends_with("_URL").then(|| departments.url.clone()),
        };
        let mut faults = Faults::default();
        let snapshot = Snapshot::load(&Folders::under(&folder), &variables, &mut faults);
        let Some(mut snapshot) = snapshot else { return Err(faults.render()) };
        snapshot.config.audit.store = folder.join("audit.sqlite");
        let gateway = Gateway::start(snapshot).await.map_err(|error| error.to_string())?;
        let mut differences = String::new();
        for asked in std::iter::once(&self.first).chain(&self.then) {
            let request = GraphqlRequest {
                query: Some(asked.query.clone()),
                variables: asked.variables.as_object().cloned().unwrap_or_default(),
                ..GraphqlRequest::default()
            };
            let answer = gateway.answer(asked.identity(), request, "request-1".to_owned(), None).await;
            let answer: Value = serde_json::from_slice(&answer.body).map_err(|error| error.to_string())?;
            if !asked.is_expected(&answer) {
                let _ = writeln!(differences, "expected {:#}\n     got {answer:#}", asked.answer);
            }
        }
        differences.push_str(&departments.differences());
        if differences.is_empty() { Ok(()) } else { Err(differences) }
    }

    fn last(&mut self, place: &str) -> &mut Asked {
        self.then.last_mut().unwrap_or_else(|| panic!("{place}: a `graphql then` comes first"))
    }

    fn write(&self, root: &Path) {
        let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
        for file in ["schema/directives.graphql", "schema/scalars.graphql"] {
            put(root, file, &std::fs::read_to_string(repository.join(file)).unwrap());
        }
        put(root, "config/gateway.yaml", GATEWAY);
        let schema: String =
            self.files.iter().filter(|(path, _)| path.starts_with("schema/")).map(|(_, text)| text.as_str()).collect();
        let (relations, roles) = everything_to_everybody(&schema);
        put(root, "config/rules/relations.yaml", &relations);
        put(root, "config/roles.yaml", &roles);
        for (path, text) in &self.files {
            put(root, path, text);
        }
    }
}

impl Asked {
    /// `data` to the last value; of each error what the scenario tells of it, in order.
    fn is_expected(&self, answer: &Value) -> bool {
        let none = json!([]);
        let errors = |of: &Value| of.get("errors").unwrap_or(&none).clone();
        self.answer.get("data") == answer.get("data") && holds(&errors(&self.answer), &errors(answer))
    }

    fn identity(&self) -> Identity {
        let text = |name: &str| self.caller.get(name).and_then(Value::as_str).map(str::to_owned);
        let claims = self.caller.get("claims").and_then(Value::as_object).cloned().unwrap_or_else(Map::new);
        let principal = Principal {
            id: text("id").unwrap_or_else(|| "reader-1".to_owned()),
            issuer: "test".to_owned(),
            roles: vec![text("role").unwrap_or_else(|| "reader".to_owned())],
            actors: Vec::new(),
            claims,
        };
        let declared = Declared { purpose: text("purpose"), case: text("case"), ..Declared::default() };
        Identity::new(Some(principal), IpAddr::V4(Ipv4Addr::LOCALHOST), vec!["local".to_owned()], declared)
    }
}

const GATEWAY: &str = "listen: 127.0.0.1:0
networks: {local: [127.0.0.0/8]}
principal: {claims: {divisions: [string]}}
purposes: {help: {zh: 帮扶, en: Help}}
limits: {request_timeout_ms: 5000}
audit: {store: audit.sqlite, key: \"${AUDIT_KEY}\"}
";

/// Relations and the role `reader`, to whom every class of every entity is given.
fn everything_to_everybody(schema: &str) -> (String, String) {
    let after = |line: &str, mark: &str| {
        line.split(mark)
            .skip(1)
            .map(|rest| rest.split(['"', ' ']).next().unwrap_or_default().to_owned())
            .collect::<Vec<_>>()
    };
    let classes: BTreeSet<String> = schema.lines().flat_map(|line| after(line, "@class(name: \"")).collect();
    let classes: Vec<String> = classes.into_iter().collect();
    let (mut relations, mut roles) = ("relations:\n".to_owned(), String::new());
    let _ = writeln!(roles, "roles:\n  reader:\n    title: Reader\n    networks: [local]\n    grants:");
    for line in schema.lines().filter(|line| line.contains("@key(")) {
        for entity in after(line, "type ") {
            let _ = writeln!(relations, "  any-{}: {{on: {entity}, when: \"true\"}}", entity.to_lowercase());
            let grant = format!("{{relation: any-{}, classes: [{}]}}", entity.to_lowercase(), classes.join(", "));
            let _ = writeln!(roles, "      - {grant}");
        }
    }
    (relations, roles)
}

fn put(root: &Path, path: &str, text: &str) {
    let path = root.join(path);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, text).unwrap();
}

/// Whether `actual` has all that `expected` tells: objects may have more members, lists not.
fn holds(expected: &Value, actual: &Value) -> bool {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            expected.iter().all(|(name, value)| actual.get(name).is_some_and(|actual| holds(value, actual)))
        }
        (Value::Array(expected), Value::Array(actual)) => {
            expected.len() == actual.len()
                && expected.iter().zip(actual).all(|(expected, actual)| holds(expected, actual))
        }
        _ => expected == actual,
    }
}
