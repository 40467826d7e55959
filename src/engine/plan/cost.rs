//! How many upstream calls a plan makes, for assumed numbers of entities: what the batch sizes allow, nothing more.
//! Retries and further pages of an answer come on top; keys that repeat, and entities that are refused, take off.

use super::{FetchNode, NodeId, Origin, Plan};
use crate::model::contract::{RootKind, Shape};
use crate::model::snapshot::Snapshot;

/// How many entities to reckon with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assumed {
    /// Entities of a listing's page.
    pub listed: usize,
    /// Values in all key lists together, and entities in all lists of entities together: people, of the households.
    pub members: usize,
}

impl Default for Assumed {
    fn default() -> Self {
        Self { listed: 20, members: 80 }
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
            Shape::EntityList(_) => assumed.members,
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
    keys.div_ceil(batch) * snapshot.bindings.source(endpoint.source).connections.len()
}

/// Calls of the whole plan, listings and lookups included.
pub fn total(snapshot: &Snapshot, plan: &Plan, assumed: Assumed) -> usize {
    let asked = |node: &&super::Node| match node.origin {
        Origin::Query(at) => !node.gives_nothing() && snapshot.bindings.queries.get(at).is_some_and(Option::is_some),
        Origin::Slot { .. } => false,
    };
    let roots = plan.nodes.iter().filter(asked).count();
    let fetches =
        plan.nodes.iter().enumerate().flat_map(|(id, node)| node.fetches.iter().map(move |fetch| (id, fetch)));
    roots + fetches.map(|(node, fetch)| calls(snapshot, plan, node, fetch, assumed)).sum::<usize>()
}
