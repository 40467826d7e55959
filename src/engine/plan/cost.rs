//! How many upstream calls a plan makes, for assumed numbers of entities: what the batch sizes allow, nothing more.
//! Retries and further pages of an answer come on top; keys that repeat, and entities that are refused, take off.

use serde_json::{Map, Value};

use super::{FetchNode, NodeId, Origin, Plan};
use crate::engine::operation::{Selection, What};
use crate::model::binding::SourceId;
use crate::model::contract::{RootKind, Shape};
use crate::model::snapshot::Snapshot;

/// Entities of a listing's page where `first` does not say.
pub const FIRST_DEFAULT: usize = 20;

/// How many entities to reckon with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assumed {
    /// Entities of a listing's page.
    pub listed: usize,
    /// Values in all key lists together, and entities in all lists of entities together: people, of the households.
    pub members: usize,
}

/// Values of one entity's key list, and entities in one entity's list: nobody knows before it is asked.
const MEMBERS_EACH: usize = 4;

impl Default for Assumed {
    fn default() -> Self {
        Self { listed: FIRST_DEFAULT, members: FIRST_DEFAULT * MEMBERS_EACH }
    }
}

impl Assumed {
    /// For what a request asks: as many entities to a listing as its largest page has.
    pub fn of(snapshot: &Snapshot, plan: &Plan, variables: &Map<String, Value>) -> Self {
        let page = |selection: &Selection| {
            let What::Query(at) = selection.what else { return None };
            let query = snapshot.contract.queries.get(at).filter(|query| query.kind == RootKind::Connection)?;
            let asked = selection.argument("first", variables).as_u64().and_then(|first| usize::try_from(first).ok());
            Some(asked.unwrap_or(FIRST_DEFAULT).min(query.first_max))
        };
        let listed = plan.operation.roots.iter().filter_map(page).max().unwrap_or(FIRST_DEFAULT);
        let assumed = Self { listed, members: 0 };
        let roots = plan.roots.iter().flatten().map(|root| entities(snapshot, plan, *root, assumed)).max();
        Self { members: roots.unwrap_or(0).saturating_mul(MEMBERS_EACH), ..assumed }
    }
}

/// Entities of a node.
pub fn entities(snapshot: &Snapshot, plan: &Plan, id: NodeId, assumed: Assumed) -> usize {
    // Nodes stand behind those above them, so this ends.
    match plan.nodes.get(id).map(|node| &node.origin) {
        Some(Origin::Query(at)) => match snapshot.contract.queries.get(*at).map(|query| &query.kind) {
            Some(RootKind::List | RootKind::Connection) => assumed.listed,
            _ => plan.roots.iter().filter(|root| **root == Some(id)).count().max(1),
        },
        Some(Origin::Slot { node, slot }) if *node < id => match snapshot.contract.slot(*slot).shape {
            Shape::EntityList(_) | Shape::LeafList(_) => assumed.members,
            _ => entities(snapshot, plan, *node, assumed),
        },
        _ => 0,
    }
}

/// Calls of one fetch.
pub fn calls(snapshot: &Snapshot, plan: &Plan, node: NodeId, fetch: &FetchNode, assumed: Assumed) -> usize {
    let endpoint = snapshot.bindings.endpoint(fetch.endpoint);
    let keys = match snapshot.contract.slot(endpoint.key).shape {
        Shape::LeafList(_) => assumed.members,
        _ => entities(snapshot, plan, node, assumed),
    };
    let batch = endpoint.template(keys).map_or(1, |(_, batch)| batch.max(1));
    let source = snapshot.bindings.source(endpoint.source);
    if source.divided.is_some() {
        // At worst the batches of all instances are begun.
        let begun = keys.div_ceil(batch).saturating_add(source.connections.len().saturating_sub(1));
        return begun.min(keys);
    }
    keys.div_ceil(batch).saturating_mul(source.connections.len())
}

/// Calls by source, the most first.
pub fn by_source(snapshot: &Snapshot, plan: &Plan, assumed: Assumed) -> Vec<(SourceId, usize)> {
    let mut of: Vec<(SourceId, usize)> = Vec::new();
    for (id, node) in plan.nodes.iter().enumerate() {
        for fetch in &node.fetches {
            let source = snapshot.bindings.endpoint(fetch.endpoint).source;
            let more = calls(snapshot, plan, id, fetch, assumed);
            match of.iter_mut().find(|(known, _)| *known == source) {
                Some((_, count)) => *count = count.saturating_add(more),
                None => of.push((source, more)),
            }
        }
    }
    of.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    of
}

/// Calls of the whole plan, listings and lookups included.
pub fn total(snapshot: &Snapshot, plan: &Plan, assumed: Assumed) -> usize {
    let asked = |node: &&super::Node| match node.origin {
        Origin::Query(at) => !node.gives_nothing() && snapshot.bindings.queries.get(at).is_some_and(Option::is_some),
        Origin::Slot { .. } => false,
    };
    // At worst all instances of a source that lists by them.
    let systems = |node: &super::Node| match node.origin {
        Origin::Query(at) => {
            let binding = snapshot.bindings.queries.get(at).and_then(Option::as_ref);
            let source = binding.map(|binding| snapshot.bindings.source(binding.source));
            source.filter(|source| source.divided.is_some()).map_or(1, |source| source.connections.len())
        }
        Origin::Slot { .. } => 1,
    };
    let roots: usize = plan.nodes.iter().filter(asked).map(systems).sum();
    let fetches =
        plan.nodes.iter().enumerate().flat_map(|(id, node)| node.fetches.iter().map(move |fetch| (id, fetch)));
    roots + fetches.map(|(node, fetch)| calls(snapshot, plan, node, fetch, assumed)).sum::<usize>()
}
