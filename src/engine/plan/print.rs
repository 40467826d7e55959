//! A plan as text: nodes, gates, waves of fetches, what is hidden, what is refused. Snapshots in tests.

use std::fmt::Write as _;

use super::cost::{self, Assumed};
use super::{FetchNode, Node, NodeId, Origin, Plan, Stage};
use crate::model::access::{Rights, SlotSet};
use crate::model::contract::{RootKind, SlotId};
use crate::model::snapshot::Snapshot;

/// Prints a plan. `denied` says which grant a refused slot would need; calls are reckoned for assumed numbers.
pub fn text(
    snapshot: &Snapshot,
    plan: &Plan,
    rights: &Rights,
    assumed: Assumed,
    denied: impl Fn(SlotId) -> String,
) -> String {
    let printer = Printer { snapshot, plan, assumed, denied };
    let mut out = String::new();
    let relations: Vec<&str> = rights
        .permits
        .keys()
        .filter_map(|relation| snapshot.access.relation(*relation))
        .map(|relation| &*relation.name)
        .collect();
    let _ = writeln!(out, "relations that may give anything: {}", or_none(&relations.join(", ")));
    for (id, node) in plan.nodes.iter().enumerate() {
        printer.node(&mut out, id, node);
    }
    let calls = cost::total(snapshot, plan, assumed);
    let _ = writeln!(
        out,
        "\n{calls} upstream calls, with {} entities to a listing and {} members of all lists",
        assumed.listed, assumed.members
    );
    out
}

struct Printer<'a, D> {
    snapshot: &'a Snapshot,
    plan: &'a Plan,
    assumed: Assumed,
    denied: D,
}

impl<D: Fn(SlotId) -> String> Printer<'_, D> {
    fn node(&self, out: &mut String, id: NodeId, node: &Node) {
        let contract = &self.snapshot.contract;
        let from = match &node.origin {
            Origin::Query(at) => contract.queries.get(*at).map_or_else(String::new, |query| {
                let by = self
                    .snapshot
                    .bindings
                    .queries
                    .get(*at)
                    .and_then(Option::as_ref)
                    .map_or("", |binding| &self.snapshot.bindings.source(binding.source).id);
                match &query.kind {
                    RootKind::ByKey { argument } => format!("query {}({argument})", query.name),
                    _ => format!("query {} asked of {by}", query.name),
                }
            }),
            Origin::Slot { node, slot } => format!("node {node} {}", contract.slot(*slot).path),
        };
        let _ = writeln!(out, "\nnode {id}: {} from {from}", contract.entity(node.entity).name);
        self.gate(out, node);
        for wave in waves(node) {
            let _ = writeln!(out, "  wave {}:", wave.number);
            for at in wave.fetches {
                if let Some(fetch) = node.fetches.get(at) {
                    self.fetch(out, id, fetch);
                }
            }
        }
        for need in &node.derived {
            let _ = writeln!(out, "  derive {}", contract.slot(need.slot).path);
        }
        let mut by_grant: std::collections::BTreeMap<String, Vec<&str>> = std::collections::BTreeMap::new();
        for slot in node.refused.iter() {
            by_grant.entry((self.denied)(slot)).or_default().push(&contract.slot(slot).path);
        }
        for (grant, paths) in by_grant {
            let _ = writeln!(out, "  refused: {}\n    {grant}", paths.join(", "));
        }
    }

    fn gate(&self, out: &mut String, node: &Node) {
        let mut ways: Vec<String> = Vec::new();
        if node.inherits {
            ways.push("as the entity above".to_owned());
        }
        if let Some(via) = node.via {
            ways.push(format!("as {}", self.snapshot.contract.slot(via).path));
        }
        for need in &node.relations {
            if let Some(relation) = self.snapshot.access.relation(need.relation) {
                let waits = if need.fetches.is_empty() { "" } else { " (fetched)" };
                ways.push(format!("{}{waits}", relation.name));
            }
        }
        if node.gives_nothing() {
            let _ = writeln!(out, "  nothing is asked: no grant that counts here gives any of it");
            return;
        }
        let _ = writeln!(out, "  gate: {}", or_none(&ways.join(", ")));
        for need in &node.subjects {
            let key = &self.snapshot.contract.slot(need.key).path;
            let entity =
                self.plan.nodes.get(need.node).map_or("", |node| &self.snapshot.contract.entity(node.entity).name);
            let _ = writeln!(out, "  one by one: every {entity} of {key}, as node {} relates it", need.node);
        }
    }

    fn fetch(&self, out: &mut String, node: NodeId, fetch: &FetchNode) {
        let endpoint = self.snapshot.bindings.endpoint(fetch.endpoint);
        let source = self.snapshot.bindings.source(endpoint.source);
        let batch = match (&endpoint.one, &endpoint.many) {
            (_, Some(many)) => format!("batches of {}", many.batch_max()),
            _ => "one a call".to_owned(),
        };
        let instances = match source.connections.len() {
            0 | 1 => String::new(),
            instances if source.divided.is_some() => format!(" at one of {instances} instances"),
            instances => format!(" × {instances} instances"),
        };
        let gate = if fetch.stage == Stage::Relation { ", before the gate" } else { "" };
        let key = &self.snapshot.contract.slot(endpoint.key).path;
        let calls = match cost::calls(self.snapshot, self.plan, node, fetch, self.assumed) {
            1 => "1 call".to_owned(),
            calls => format!("{calls} calls"),
        };
        let _ = writeln!(out, "    {}.{} by {key}: {batch}{instances}{gate}; {calls}", source.id, endpoint.name);
        self.slots(out, "shown", &fetch.shown);
        self.slots(out, "hidden", &fetch.hidden.all());
    }

    fn slots(&self, out: &mut String, what: &str, slots: &SlotSet) {
        // A list or object stands for what is in it.
        let contract = &self.snapshot.contract;
        let paths: Vec<&str> = slots
            .iter()
            .filter(|slot| !contract.above(*slot).any(|above| slots.contains(above)))
            .map(|slot| &*contract.slot(slot).path)
            .collect();
        if !paths.is_empty() {
            let _ = writeln!(out, "      {what}: {}", paths.join(", "));
        }
    }
}

struct Wave {
    number: usize,
    fetches: Vec<usize>,
}

/// Fetches by how many others they come after, one after another.
fn waves(node: &Node) -> Vec<Wave> {
    let mut depth: Vec<usize> = Vec::with_capacity(node.fetches.len());
    for fetch in &node.fetches {
        let before = fetch.after.iter().filter_map(|at| depth.get(*at)).max().map_or(0, |most| most + 1);
        depth.push(before);
    }
    let most = depth.iter().max().map_or(0, |most| most + 1);
    (0..most)
        .map(|number| Wave {
            number: number + 1,
            fetches: depth.iter().enumerate().filter(|(_, at)| **at == number).map(|(at, _)| at).collect(),
        })
        .collect()
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "none" } else { text }
}
