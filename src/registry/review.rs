//! What a version changes: its text, the fields it fills, and which frontends' operations that would break.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Map, Value};
use similar::TextDiff;

use crate::engine::operation::{Document, DocumentLimits, Selection, What};
use crate::model::binding::SourceId;
use crate::model::contract::{Contract, RootKind, Shape};
use crate::model::snapshot::Snapshot;

/// Lines around a change that are shown with it.
const CONTEXT: usize = 3;

/// What would change.
#[derive(Debug, Clone, Default)]
pub struct Review {
    /// The two texts as a unified diff; empty where they are the same.
    pub diff: String,
    /// Fields and queries of the contract that nobody answered for before.
    pub gained: Vec<String>,
    /// Fields and queries that nobody would answer for any more.
    pub lost: Vec<String>,
    /// Fields and queries that another source would answer for.
    pub moved: Vec<String>,
    pub breaks: Vec<Break>,
}

/// A frontend's operation that would get less.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Break {
    /// The trusted document it stands in; none: it was asked here not long ago.
    pub document_id: Option<String>,
    /// Its name; none: it has none.
    pub operation: Option<String>,
    /// What it would get no more.
    pub fields: Vec<String>,
}

/// A document whose operations are looked at.
#[derive(Debug, Clone)]
pub struct Known {
    pub id: Option<String>,
    pub document: Arc<Document>,
}

/// Who answers for what: by the full path of a field, or the name of a query.
struct Answered(BTreeMap<String, Option<String>>);

impl Answered {
    fn of(snapshot: &Snapshot) -> Self {
        let (contract, bindings) = (&snapshot.contract, &snapshot.bindings);
        let serving = |id: SourceId| {
            let source = bindings.source(id);
            (!source.withdrawn).then(|| source.id.to_string())
        };
        let mut all = BTreeMap::new();
        for slot in contract.slots.iter().filter(|slot| matches!(slot.shape, Shape::Leaf(_) | Shape::LeafList(_))) {
            let by = std::iter::once(slot.id).chain(contract.above(slot.id)).find_map(|slot| bindings.provider(slot));
            if let Some(endpoint) = by {
                all.insert(contract.full_path(slot.id), serving(bindings.endpoint(endpoint).source));
            }
        }
        for (query, binding) in contract.queries.iter().zip(&bindings.queries) {
            if let Some(binding) = binding {
                all.insert(query.name.to_string(), serving(binding.source));
            } else if !matches!(query.kind, RootKind::ByKey { .. }) {
                all.insert(query.name.to_string(), None);
            }
        }
        Self(all)
    }

    fn by(&self, what: &str) -> Option<&str> {
        self.0.get(what)?.as_deref()
    }
}

/// What comes of `after` in place of `before`. `texts`: the binding's text in each.
pub fn review(before: &Snapshot, after: &Snapshot, texts: (&str, &str), known: &[Known]) -> Review {
    let (had, has) = (Answered::of(before), Answered::of(after));
    let all: BTreeSet<&String> = had.0.keys().chain(has.0.keys()).collect();
    let mut found = Review { diff: diff(texts.0, texts.1), ..Review::default() };
    for what in all {
        match (had.by(what), has.by(what)) {
            (None, Some(_)) => found.gained.push(what.clone()),
            (Some(_), None) => found.lost.push(what.clone()),
            (Some(one), Some(other)) if one != other => found.moved.push(what.clone()),
            _ => {}
        }
    }
    let lost: BTreeSet<&str> = found.lost.iter().map(String::as_str).collect();
    if !lost.is_empty() {
        let all: BTreeSet<Break> = known.iter().flat_map(|known| breaks(before, known, &lost)).collect();
        // Those with a name first.
        let (named, others): (Vec<Break>, Vec<Break>) = all.into_iter().partition(|one| one.operation.is_some());
        found.breaks = named.into_iter().chain(others).collect();
    }
    found
}

fn diff(before: &str, after: &str) -> String {
    TextDiff::from_lines(before, after)
        .unified_diff()
        .context_radius(CONTEXT)
        .header("in force", "this version")
        .to_string()
}

/// The operations of a document that ask for something that is lost.
fn breaks(snapshot: &Snapshot, known: &Known, lost: &BTreeSet<&str>) -> Vec<Break> {
    let limits = DocumentLimits::of(&snapshot.config.limits);
    let operations = &known.document.valid.operations;
    let mut found = Vec::new();
    for operation in operations.iter() {
        let mut asked = BTreeSet::new();
        // What a variable leaves out, or lets in, is asked for by somebody.
        for each in [true, false] {
            let conditions: Map<String, Value> =
                operation.variables.iter().map(|variable| (variable.name.to_string(), Value::Bool(each))).collect();
            if let Ok(collected) = known.document.collect(&snapshot.contract, operation, &conditions, limits) {
                gather(&snapshot.contract, &collected.roots, &mut asked);
            }
        }
        let fields: Vec<String> = asked.into_iter().filter(|field| lost.contains(field.as_str())).collect();
        if !fields.is_empty() {
            let operation = operation.name.as_ref().map(ToString::to_string);
            found.push(Break { document_id: known.id.clone(), operation, fields });
        }
    }
    found
}

fn gather(contract: &Contract, selections: &[Selection], asked: &mut BTreeSet<String>) {
    for selection in selections {
        match &selection.what {
            What::Slot(slot) => {
                asked.insert(contract.full_path(*slot));
            }
            What::Query(at) => asked.extend(contract.queries.get(*at).map(|query| query.name.to_string())),
            // Statistics are counted over the listing.
            What::Stats(at) => {
                let listing = contract.scans.get(*at).and_then(|scan| contract.queries.get(scan.query));
                asked.extend(listing.map(|query| query.name.to_string()));
            }
            _ => {}
        }
        gather(contract, &selection.children, asked);
    }
}
