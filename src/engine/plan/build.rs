//! Building the graph: which slots each node needs, which endpoints give them, what those need in turn.

use std::sync::Arc;

use super::{Child, FetchId, FetchNode, Given, Hidden, Node, NodeId, Origin, Plan, Stage};
use crate::base::code::ErrorCode;
use crate::engine::authorize::Permitted;
use crate::engine::error::RequestError;
use crate::engine::operation::{Selection, What};
use crate::model::access::{Rights, SlotSet};
use crate::model::binding::mapping::{Mapping, Read};
use crate::model::binding::{EndpointId, SourceId};
use crate::model::contract::{EntityId, RootKind, Shape, SlotId};
use crate::model::snapshot::Snapshot;

/// Nodes of one plan at most: an operation that goes round between entities ends here.
const NODES_MAX: usize = 64;

/// Plans an operation under the rights it was permitted with.
pub fn build(snapshot: &Snapshot, permitted: &Permitted) -> Result<Plan, RequestError> {
    built(snapshot, permitted, false, None)
}

/// As [`build`], of what a scan found: whoever may compare these slots of the root's entities stands in a relation to them,
/// whatever is selected.
pub fn build_found(snapshot: &Snapshot, permitted: &Permitted, compared: &SlotSet) -> Result<Plan, RequestError> {
    built(snapshot, permitted, false, Some(compared))
}

/// As [`build`]; of everything that is shown, all who hold it are asked, so that it is known where they disagree.
pub fn build_hearing_all(snapshot: &Snapshot, permitted: &Permitted) -> Result<Plan, RequestError> {
    built(snapshot, permitted, true, None)
}

fn built(
    snapshot: &Snapshot,
    permitted: &Permitted,
    hears_all: bool,
    compared: Option<&SlotSet>,
) -> Result<Plan, RequestError> {
    let operation = Arc::clone(permitted.operation());
    let (rights, scans) = (permitted.rights(), operation.scan.is_some());
    let mut builder = Builder { snapshot, rights, hears_all, scans, compared, nodes: Vec::new() };
    let mut roots = Vec::with_capacity(operation.roots.len());
    for root in &operation.roots {
        // Entities by their keys, of which the same is asked under several aliases, are entities of one place: they
        // share its calls.
        let alike =
            operation.roots.iter().zip(&roots).find(|(other, _)| {
                other.what == root.what && other.children == root.children && builder.is_by_key(root)
            });
        let node = match alike {
            Some((_, node)) => *node,
            None => builder.root(root)?,
        };
        roots.push(node);
    }
    let nodes = builder.nodes.len();
    for node in (0..nodes).rev() {
        builder.needs(node)?;
    }
    builder.nodes.iter_mut().for_each(|node| node.settle(snapshot));
    Ok(Plan { operation, nodes: builder.nodes, roots })
}

pub(super) struct Builder<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) rights: &'a Rights,
    hears_all: bool,
    /// The operation is a scan.
    pub(super) scans: bool,
    pub(super) compared: Option<&'a SlotSet>,
    nodes: Vec<Node>,
}

impl<'a> Builder<'a> {
    fn is_by_key(&self, root: &Selection) -> bool {
        let What::Query(at) = root.what else { return false };
        self.snapshot.contract.queries.get(at).is_some_and(|query| matches!(query.kind, RootKind::ByKey { .. }))
    }

    pub(super) fn add(&mut self, entity: EntityId, origin: Origin) -> Result<NodeId, RequestError> {
        if self.nodes.len() >= NODES_MAX {
            return Err(RequestError::new(
                ErrorCode::LimitExceeded,
                format!("the operation reaches entities at more than {NODES_MAX} places"),
            ));
        }
        let contract = &self.snapshot.contract;
        let via_entity = contract.entity(entity).via.and_then(|via| match contract.slot(via).shape {
            Shape::Entity(target) => Some(target),
            _ => None,
        });
        let above = match origin {
            Origin::Slot { node, .. } => self.nodes.get(node).map(|node| node.entity),
            Origin::Query(_) => None,
        };
        let inherits = via_entity.is_some() && above == via_entity;
        let embedded = self
            .embedded_mapping(&origin)
            .map(|(mapping, _)| mapping.entries.iter().map(|entry| entry.slot).collect())
            .unwrap_or_default();
        self.nodes.push(Node {
            entity,
            origin,
            shown: SlotSet::new(),
            refused: SlotSet::new(),
            relations: Vec::new(),
            gate: Vec::new(),
            subjects: Vec::new(),
            inherits,
            via: if inherits { None } else { contract.entity(entity).via },
            fetches: Vec::new(),
            children: Vec::new(),
            derived: Vec::new(),
            items: Vec::new(),
            claims: self.hears_all,
            embedded,
            given: Given::default(),
        });
        Ok(self.nodes.len() - 1)
    }

    /// The mapping of the records that name a node's entities, and whose they are.
    fn embedded_mapping(&self, origin: &Origin) -> Option<(&'a Mapping, SourceId)> {
        embedded_mapping(self.snapshot, &self.nodes, origin)
    }

    pub(super) fn node(&mut self, node: NodeId) -> &mut Node {
        #[expect(clippy::indexing_slicing, reason = "a NodeId is an index into this very vector")]
        &mut self.nodes[node]
    }

    pub(super) fn fetch_node(&mut self, node: NodeId, fetch: FetchId) -> &mut FetchNode {
        #[expect(clippy::indexing_slicing, reason = "a FetchId is an index into this very vector")]
        &mut self.node(node).fetches[fetch]
    }

    pub(super) fn child(&mut self, node: NodeId, slot: SlotId, entity: EntityId) -> Result<NodeId, RequestError> {
        if let Some(child) = self.node(node).child(slot) {
            return Ok(child);
        }
        let child = self.add(entity, Origin::Slot { node, slot })?;
        self.node(node).children.push(Child { slot, node: child });
        Ok(child)
    }

    /// Relations, fetches and what they need, once everything that is selected of the node is known.
    pub(super) fn needs(&mut self, node: NodeId) -> Result<(), RequestError> {
        self.relations(node)?;
        self.subjects(node)?;
        if self.node(node).gives_nothing() {
            return Ok(());
        }
        let (shown, entity, claims) = {
            let node = self.node(node);
            (node.shown.clone(), node.entity, node.claims)
        };
        if let Some(establishes) = self.snapshot.bindings.establishes.get(entity.index()).copied().flatten() {
            let snapshot = self.snapshot;
            let by_key = match self.node(node).origin {
                Origin::Query(at) => {
                    snapshot.contract.queries.get(at).is_some_and(|query| matches!(query.kind, RootKind::ByKey { .. }))
                }
                Origin::Slot { .. } => false,
            };
            if by_key && !shown.is_empty() {
                let fetch = self.fetch(node, establishes, Stage::Answer)?;
                self.fetch_node(node, fetch).establishes = true;
            }
        }
        for slot in shown.iter() {
            self.show_from(node, slot)?;
            if claims {
                let snapshot = self.snapshot;
                for endpoint in snapshot.bindings.held_by(&snapshot.contract, slot) {
                    let fetch = self.fetch(node, endpoint, Stage::Answer)?;
                    self.fetch_node(node, fetch).shown.insert(slot);
                }
            }
        }
        Ok(())
    }

    /// The slot itself or the one above it that something fills as a whole.
    pub(super) fn filled_at(&self, node: NodeId, slot: SlotId) -> Filled {
        let contract = &self.snapshot.contract;
        let Some(node) = self.nodes.get(node) else { return Filled::Nothing };
        if contract.entity(node.entity).key == slot {
            return Filled::Key;
        }
        for slot in std::iter::once(slot).chain(contract.above(slot)) {
            if node.embedded.contains(slot) {
                return Filled::Embedded;
            }
            if let Some(endpoint) = self.snapshot.bindings.provider(slot) {
                return Filled::By(endpoint);
            }
            if let Some(rule) = self.snapshot.derived_of(slot) {
                return Filled::Derived(slot, rule);
            }
        }
        Filled::Nothing
    }

    fn show_from(&mut self, node: NodeId, slot: SlotId) -> Result<(), RequestError> {
        match self.filled_at(node, slot) {
            Filled::Key | Filled::Embedded | Filled::Nothing => Ok(()),
            Filled::By(endpoint) => {
                let fetch = self.fetch(node, endpoint, Stage::Answer)?;
                self.fetch_node(node, fetch).shown.insert(slot);
                Ok(())
            }
            Filled::Derived(slot, rule) => self.derive(node, slot, rule),
        }
    }

    /// The fetch of an endpoint for a node, made where it is new, with everything it needs.
    pub(super) fn fetch(&mut self, node: NodeId, endpoint: EndpointId, stage: Stage) -> Result<FetchId, RequestError> {
        let snapshot = self.snapshot;
        let compiled = snapshot.bindings.endpoint(endpoint);
        let known = self.node(node).fetches.iter().position(|fetch| {
            // What answers with whole records is asked once: what the gate read of it is read again for the answer.
            fetch.endpoint == endpoint
                && (fetch.stage == stage || (fetch.stage == Stage::Relation && !compiled.selects_fields))
        });
        if let Some(known) = known {
            return Ok(known);
        }
        let mut after = Vec::new();
        let mut inputs: Vec<SlotId> = compiled.inputs().collect();
        inputs.extend(snapshot.bindings.territory_slot(&snapshot.contract, compiled));
        for slot in inputs {
            if let Filled::By(provider) = self.filled_at(node, slot)
                && provider != endpoint
            {
                let before = self.fetch(node, provider, stage)?;
                self.fetch_node(node, before).hidden.inputs.insert(slot);
                if !after.contains(&before) {
                    after.push(before);
                }
            }
        }
        let fetches = &mut self.node(node).fetches;
        fetches.push(FetchNode {
            endpoint,
            stage,
            shown: SlotSet::new(),
            hidden: Hidden::default(),
            after,
            establishes: false,
        });
        Ok(fetches.len() - 1)
    }
}

pub(super) enum Filled {
    Key,
    Embedded,
    By(EndpointId),
    Derived(SlotId, usize),
    Nothing,
}

/// The mapping of the records that name a node's entities, and whose records they are: of a listing, or of the list
/// that holds them.
pub(crate) fn embedded_mapping<'a>(
    snapshot: &'a Snapshot,
    nodes: &[Node],
    origin: &Origin,
) -> Option<(&'a Mapping, SourceId)> {
    match origin {
        Origin::Query(at) => snapshot.bindings.queries.get(*at)?.as_ref().map(|query| (&query.mapping, query.source)),
        Origin::Slot { node, slot } => {
            let above = nodes.get(*node)?;
            let (mapping, source) = if above.embedded.contains(*slot) {
                embedded_mapping(snapshot, nodes, &above.origin)?
            } else {
                let endpoint = snapshot.bindings.endpoint(snapshot.bindings.provider(*slot)?);
                (&endpoint.mapping, endpoint.source)
            };
            match &mapping.entry(*slot)?.read {
                Read::Objects { inside, .. } => Some((inside, source)),
                _ => None,
            }
        }
    }
}
