//! What one page answers: rows, what is missing of each, and what the page rests on.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::ask::Answer;
use super::document::Asked;

/// One that was found.
pub struct Row {
    /// What is selected of it.
    pub node: Value,
    /// Why it is undetermined.
    pub undecided: Vec<Missing>,
    /// What of it is selected and not shown, and why.
    pub silent: Vec<Missing>,
}

/// A reason, and of what.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Missing {
    pub code: String,
    pub state: Option<String>,
    pub source: Option<String>,
    pub title: Option<String>,
    pub fields: BTreeSet<String>,
}

pub struct Page {
    pub rows: Vec<Row>,
    pub coverage: Value,
    /// The next page begins here; none: there is nothing to go on with.
    pub next: Option<String>,
    pub has_next: bool,
    /// Fields of which some values are shown in part.
    pub masked: Vec<String>,
    pub request: String,
}

impl Row {
    /// Why it is undetermined and what of it is not shown, for a cell.
    pub fn missing(&self) -> String {
        let all = self.undecided.iter().chain(&self.silent);
        all.map(Missing::told).collect::<Vec<_>>().join("; ")
    }

    /// As a line for machines: its `node`, and what is missing, where anything is.
    pub fn as_json(&self) -> Value {
        let mut of = Map::from_iter([("node".to_owned(), self.node.clone())]);
        for (name, missing) in [("undetermined", &self.undecided), ("notShown", &self.silent)] {
            if !missing.is_empty() {
                of.insert(name.to_owned(), missing.iter().map(Missing::as_json).collect());
            }
        }
        Value::Object(of)
    }
}

impl Missing {
    /// In a cell: `police SOURCE_TIMEOUT: assets.vehicles`.
    pub fn told(&self) -> String {
        let fields: Vec<&str> = self.fields.iter().map(String::as_str).collect();
        let source = self.source.as_ref().map_or(String::new(), |source| format!("{source} "));
        match fields.as_slice() {
            [] => format!("{source}{}", self.code),
            fields => format!("{source}{}: {}", self.code, fields.join(" ")),
        }
    }

    pub fn as_json(&self) -> Value {
        json!({ "source": self.source, "sourceTitle": self.title, "state": self.state, "code": self.code, "fields": self.fields })
    }

    fn of_edge(of: &Value) -> Self {
        let fields = of.get("fields").and_then(Value::as_array).into_iter().flatten();
        let fields = fields.filter_map(Value::as_str).map(str::to_owned).collect();
        Self { fields, ..Self::named(of) }
    }

    fn named(of: &Value) -> Self {
        let text = |name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
        Self {
            code: text("code").unwrap_or_default(),
            state: text("state"),
            source: text("source"),
            title: text("sourceTitle"),
            fields: BTreeSet::new(),
        }
    }
}

impl Page {
    pub fn of(mut answer: Answer, asked: &Asked) -> Self {
        let mut root = match answer.data.get_mut(&asked.root).map(Value::take) {
            Some(Value::Object(root)) => root,
            _ => Map::new(),
        };
        let edges = match root.remove("edges") {
            Some(Value::Array(edges)) => edges,
            _ => Vec::new(),
        };
        let mut silent = silent(&answer.errors, &asked.root);
        let rows = edges.into_iter().enumerate().map(|(at, mut edge)| {
            let why = edge.get("missing").and_then(Value::as_array).into_iter().flatten().map(Missing::of_edge);
            let (mut undecided, mut silent) = (why.collect::<Vec<_>>(), silent.remove(&at).unwrap_or_default());
            undecided.sort();
            silent.sort();
            Row { node: edge.get_mut("node").map(Value::take).unwrap_or_default(), undecided, silent }
        });
        let rows = rows.collect();
        let info = root.get("pageInfo").unwrap_or(&Value::Null);
        let has_next = info.get("hasNextPage") == Some(&Value::Bool(true));
        let next = info.get("endCursor").and_then(Value::as_str).filter(|cursor| !cursor.is_empty()).map(str::to_owned);
        let masked = answer.extensions.get("masked").and_then(Value::as_array).into_iter().flatten();
        let masked = masked.filter_map(Value::as_array).map(|path| field(path.get(3..).unwrap_or_default())).collect();
        Self {
            rows,
            next,
            has_next,
            masked,
            coverage: root.remove("coverage").unwrap_or_default(),
            request: answer.request,
        }
    }
}

/// What is not there of each row, by the errors: `[query, "edges", row, "node", field …]`.
fn silent(errors: &[Value], root: &str) -> BTreeMap<usize, Vec<Missing>> {
    let mut rows: BTreeMap<usize, Vec<Missing>> = BTreeMap::new();
    for error in errors {
        let told = error.get("extensions").unwrap_or(&Value::Null);
        let mut of_row: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        let several = told.get("paths").and_then(Value::as_array).into_iter().flatten();
        for path in several.chain(error.get("path")).filter_map(Value::as_array) {
            let row = path.get(2).and_then(Value::as_u64).and_then(|row| usize::try_from(row).ok());
            if path.first().and_then(Value::as_str) == Some(root)
                && let Some(row) = row
            {
                of_row.entry(row).or_default().insert(field(path.get(4..).unwrap_or_default()));
            }
        }
        for (row, fields) in of_row {
            rows.entry(row).or_default().push(Missing { fields, ..Missing::named(told) });
        }
    }
    rows
}

/// A path without the places in lists.
fn field(path: &[Value]) -> String {
    path.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(".")
}
