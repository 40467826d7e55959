//! Building the graph: which slots each node needs, which endpoints give them, what those need in turn.

use std::sync::Arc;

use super::{Child, DerivedNeed, FetchId, FetchNode, Node, NodeId, Origin, Plan, RelationNeed, Stage};
use crate::base::code::ErrorCode;
use crate::engine::authorize::Permitted;
use crate::engine::error::RequestError;
use crate::engine::operation::{Selection, What};
use crate::model::access::{Rights, SlotSet};
use crate::model::binding::EndpointId;
use crate::model::binding::mapping::{Mapping, Read};
use crate::model::contract::{EntityId, ItemId, RootKind, Shape, SlotId};
use crate::model::snapshot::Snapshot;

/// Nodes of one plan at most: an operation that goes round between entities ends here.
const NODES_MAX: usize = 64;

/// Plans an operation under the rights it was permitted with.
pub fn build(snapshot: &Snapshot, permitted: &Permitted) -> Result<Plan, RequestError> {
    let operation = Arc::clone(permitted.operation());
    let mut builder = Builder { snapshot, rights: permitted.rights(), nodes: Vec::new() };
    let mut roots = Vec::with_capacity(operation.roots.len());
    for root in &operation.roots {
        roots.push(builder.root(root)?);
    }
    let nodes = builder.nodes.len();
    for node in (0..nodes).rev() {
        builder.needs(node)?;
    }
    Ok(Plan { operation, nodes: builder.nodes, roots })
}

struct Builder<'a> {
    snapshot: &'a Snapshot,
    rights: &'a Rights,
    nodes: Vec<Node>,
}

impl<'a> Builder<'a> {
    fn root(&mut self, root: &Selection) -> Result<Option<NodeId>, RequestError> {
        let What::Query(at) = root.what else { return Ok(None) };
        let Some(query) = self.snapshot.contract.queries.get(at) else { return Ok(None) };
        let node = self.add(query.entity, Origin::Query(at))?;
        let mut sets = Vec::new();
        if query.kind == RootKind::Connection {
            node_sets(root, &mut sets);
        } else {
            sets.push(root);
        }
        for set in sets {
            self.select(node, &set.children)?;
        }
        Ok(Some(node))
    }

    fn add(&mut self, entity: EntityId, origin: Origin) -> Result<NodeId, RequestError> {
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
            .map(|mapping| mapping.entries.iter().map(|entry| entry.slot).collect())
            .unwrap_or_default();
        self.nodes.push(Node {
            entity,
            origin,
            shown: SlotSet::new(),
            refused: SlotSet::new(),
            relations: Vec::new(),
            inherits,
            via: if inherits { None } else { contract.entity(entity).via },
            fetches: Vec::new(),
            children: Vec::new(),
            derived: Vec::new(),
            items: Vec::new(),
            claims: false,
            embedded,
        });
        Ok(self.nodes.len() - 1)
    }

    /// The mapping of the records that name a node's entities.
    fn embedded_mapping(&self, origin: &Origin) -> Option<&'a Mapping> {
        embedded_mapping(self.snapshot, &self.nodes, origin)
    }

    fn node(&mut self, node: NodeId) -> &mut Node {
        #[expect(clippy::indexing_slicing, reason = "a NodeId is an index into this very vector")]
        &mut self.nodes[node]
    }

    fn fetch_node(&mut self, node: NodeId, fetch: FetchId) -> &mut FetchNode {
        #[expect(clippy::indexing_slicing, reason = "a FetchId is an index into this very vector")]
        &mut self.node(node).fetches[fetch]
    }

    fn child(&mut self, node: NodeId, slot: SlotId, entity: EntityId) -> Result<NodeId, RequestError> {
        if let Some(child) = self.node(node).child(slot) {
            return Ok(child);
        }
        let child = self.add(entity, Origin::Slot { node, slot })?;
        self.node(node).children.push(Child { slot, node: child });
        Ok(child)
    }

    /// Enters what is selected of a node's entities.
    fn select(&mut self, node: NodeId, selections: &[Selection]) -> Result<(), RequestError> {
        let snapshot = self.snapshot;
        for selection in selections {
            let What::Slot(slot) = selection.what else { continue };
            let shape = &snapshot.contract.slot(slot).shape;
            if *shape == Shape::ItemStates {
                self.select_items(node, selection, selections)?;
                continue;
            }
            if !self.show(node, slot) {
                continue;
            }
            match shape {
                Shape::Entity(entity) | Shape::EntityList(entity) => {
                    let child = self.child(node, slot, *entity)?;
                    self.select(child, &selection.children)?;
                }
                _ => self.select(node, &selection.children)?,
            }
        }
        Ok(())
    }

    /// Marks a slot as shown or refused; whether it may be shown at all.
    fn show(&mut self, node: NodeId, slot: SlotId) -> bool {
        let permitted = self.rights.any.contains(slot) || self.snapshot.contract.slot(slot).class.is_none();
        let node = self.node(node);
        if permitted {
            node.shown.insert(slot);
        } else {
            node.refused.insert(slot);
        }
        permitted
    }

    /// `items`: those named by `no`; else those the operation selects beside it; else all.
    fn select_items(&mut self, node: NodeId, selection: &Selection, beside: &[Selection]) -> Result<(), RequestError> {
        let snapshot = self.snapshot;
        let contract = &snapshot.contract;
        let items = items_of(snapshot, self.node(node).entity, selection, beside);
        for item in &items {
            let slot = contract.item(*item).slot;
            if self.show(node, slot) {
                for below in contract.below(slot) {
                    // Asking for an item's state asks for its value, not for what is classed apart inside it.
                    if contract.slot(below).class == contract.slot(slot).class || contract.slot(slot).class.is_none() {
                        self.show(node, below);
                    }
                }
            }
        }
        let claims =
            selection.children.iter().any(|child| matches!(&child.what, What::Meta(name) if &**name == "claims"));
        let node = self.node(node);
        node.items.extend(items);
        node.items.sort();
        node.items.dedup();
        node.claims |= claims;
        Ok(())
    }

    /// Relations, fetches and what they need, once everything that is selected of the node is known.
    fn needs(&mut self, node: NodeId) -> Result<(), RequestError> {
        self.relations(node)?;
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
                for endpoint in self.snapshot.bindings.also(slot) {
                    let fetch = self.fetch(node, *endpoint, Stage::Answer)?;
                    self.fetch_node(node, fetch).shown.insert(slot);
                }
            }
        }
        Ok(())
    }

    fn relations(&mut self, node: NodeId) -> Result<(), RequestError> {
        let access = &self.snapshot.access;
        let mut wanted = self.node(node).shown.clone();
        for child in self.node(node).children.clone() {
            if self.node(child.node).inherits {
                let below = self.node(child.node).shown.clone();
                wanted.union(&below);
            }
        }
        // Whoever takes this node's relations through its `via` slot asks for what is shown above.
        if let Origin::Slot { node: above, slot } = self.node(node).origin.clone()
            && self.node(above).via == Some(slot)
        {
            let shown = self.node(above).shown.clone();
            wanted.union(&shown);
        }
        let entity = self.node(node).entity;
        let relations: Vec<_> = self.rights.relations_for(&wanted).collect();
        let mut via_needed = false;
        for relation in relations {
            let Some(compiled) = access.relation(relation) else { continue };
            if compiled.on == entity {
                let mut reads = Vec::new();
                // The key is known without a fetch, so it is no input; rules read it all the same.
                enter(&mut reads, self.snapshot, self.snapshot.contract.entity(entity).key);
                for path in &compiled.inputs {
                    self.read(node, path, Reader::Relation, &mut reads)?;
                }
                self.node(node).relations.push(RelationNeed { relation, reads });
            } else {
                via_needed = true;
            }
        }
        if let Some(via) = self.node(node).via.filter(|_| via_needed) {
            self.via(node, via)?;
        }
        if !via_needed {
            self.node(node).via = None;
        }
        Ok(())
    }

    /// The entity whose relations this node takes: a hidden node, whose own relations decide.
    fn via(&mut self, node: NodeId, via: SlotId) -> Result<(), RequestError> {
        let snapshot = self.snapshot;
        let Shape::Entity(target) = snapshot.contract.slot(via).shape else { return Ok(()) };
        self.hide_from(node, via, Reader::Relation)?;
        let known = self.node(node).child(via).is_some();
        let child = self.child(node, via, target)?;
        if !known {
            self.needs(child)?;
        } else if self.node(child).relations.is_empty() {
            self.relations(child)?;
        }
        Ok(())
    }

    /// Enters one path that a rule reads, through objects, lists and entities.
    fn read(
        &mut self,
        node: NodeId,
        path: &[String],
        reader: Reader,
        reads: &mut Vec<Selection>,
    ) -> Result<(), RequestError> {
        let snapshot = self.snapshot;
        let entity = self.node(node).entity;
        let mut parent = None;
        let mut level = reads;
        for (at, name) in path.iter().enumerate() {
            let Some(slot) = snapshot.contract.child(entity, parent, name) else { return Ok(()) };
            let selection = enter(level, snapshot, slot);
            self.hide_from(node, slot, reader)?;
            if let Shape::Entity(target) | Shape::EntityList(target) = snapshot.contract.slot(slot).shape {
                let child = self.child(node, slot, target)?;
                let rest = path.get(at + 1..).unwrap_or_default();
                return self.read(child, rest, reader.below(), &mut selection.children);
            }
            if at + 1 == path.len() {
                self.read_all(node, slot, reader, &mut selection.children)?;
            }
            parent = Some(slot);
            level = &mut selection.children;
        }
        Ok(())
    }

    /// Everything below a slot, where a rule reads the object or list as a whole.
    fn read_all(
        &mut self,
        node: NodeId,
        slot: SlotId,
        reader: Reader,
        reads: &mut Vec<Selection>,
    ) -> Result<(), RequestError> {
        let snapshot = self.snapshot;
        for child in &snapshot.contract.slot(slot).children {
            if matches!(
                snapshot.contract.slot(*child).shape,
                Shape::Entity(_) | Shape::EntityList(_) | Shape::ItemStates
            ) {
                continue;
            }
            self.hide_from(node, *child, reader)?;
            let selection = enter(reads, snapshot, *child);
            self.read_all(node, *child, reader, &mut selection.children)?;
        }
        Ok(())
    }

    /// The slot itself or the one above it that something fills as a whole.
    fn filled_at(&self, node: NodeId, slot: SlotId) -> Filled {
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
            if let Some(ladder) = self.snapshot.ladder_of(slot) {
                return Filled::Derived(slot, ladder);
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
            Filled::Derived(slot, ladder) => self.derive(node, slot, ladder),
        }
    }

    fn derive(&mut self, node: NodeId, slot: SlotId, ladder: usize) -> Result<(), RequestError> {
        if self.node(node).derived.iter().any(|need| need.slot == slot) {
            return Ok(());
        }
        let mut reads = Vec::new();
        let paths = self.snapshot.rules.ladders.get(ladder).map(crate::model::rule::Ladder::inputs).unwrap_or_default();
        self.node(node).derived.push(DerivedNeed { slot, ladder, reads: Vec::new() });
        for path in &paths {
            self.read(node, path, Reader::Derived(slot), &mut reads)?;
        }
        if let Some(need) = self.node(node).derived.iter_mut().find(|need| need.slot == slot) {
            need.reads = reads;
        }
        Ok(())
    }

    /// Makes a slot readable to the gateway alone.
    fn hide_from(&mut self, node: NodeId, slot: SlotId, reader: Reader) -> Result<(), RequestError> {
        if let Filled::By(endpoint) = self.filled_at(node, slot) {
            let fetch = self.fetch(node, endpoint, reader.stage())?;
            let fetch = self.fetch_node(node, fetch);
            fetch.hidden.insert(slot);
            match reader {
                Reader::Relation => {}
                Reader::Derived(derived) => fetch.derived.insert(derived),
                Reader::Above => fetch.read_from_above = true,
            }
        }
        Ok(())
    }

    /// The fetch of an endpoint for a node, made where it is new, with everything it needs.
    fn fetch(&mut self, node: NodeId, endpoint: EndpointId, stage: Stage) -> Result<FetchId, RequestError> {
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
                self.fetch_node(node, before).hidden.insert(slot);
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
            hidden: SlotSet::new(),
            after,
            establishes: false,
            derived: SlotSet::new(),
            read_from_above: false,
        });
        Ok(fetches.len() - 1)
    }
}

/// The items an `items` field tells of: those named by `no`; else those selected beside it; else all.
pub fn items_of(snapshot: &Snapshot, entity: EntityId, selection: &Selection, beside: &[Selection]) -> Vec<ItemId> {
    let contract = &snapshot.contract;
    let named: Vec<String> = match selection.argument("no", &serde_json::Map::new()) {
        serde_json::Value::Array(list) => list.iter().filter_map(text).collect(),
        value => text(value).into_iter().collect(),
    };
    let of_entity = |item: &ItemId| contract.slot(contract.item(*item).slot).entity == entity;
    let all = (0..contract.items.len()).filter_map(|at| u32::try_from(at).ok()).map(ItemId).filter(of_entity);
    let mut items: Vec<ItemId> = if named.is_empty() {
        let mut found = Vec::new();
        selected_items(snapshot, beside, &mut found);
        if found.is_empty() { all.collect() } else { found }
    } else {
        all.filter(|item| named.iter().any(|no| **no == *contract.item(*item).no)).collect()
    };
    items.sort();
    items.dedup();
    items
}

/// Who reads a slot that is not shown.
#[derive(Clone, Copy)]
enum Reader {
    /// A relation's rule: before the gate.
    Relation,
    /// The rules of a derived slot of the same node.
    Derived(SlotId),
    /// The rules of a node above.
    Above,
}

impl Reader {
    fn stage(self) -> Stage {
        match self {
            Self::Relation => Stage::Relation,
            Self::Derived(_) | Self::Above => Stage::Answer,
        }
    }

    fn below(self) -> Self {
        match self {
            Self::Relation => Self::Relation,
            Self::Derived(_) | Self::Above => Self::Above,
        }
    }
}

/// The selection of a slot, made where it is new.
pub(crate) fn enter<'s>(level: &'s mut Vec<Selection>, snapshot: &Snapshot, slot: SlotId) -> &'s mut Selection {
    let at = level.iter().position(|selection| selection.what == What::Slot(slot)).unwrap_or_else(|| {
        let key = Arc::clone(&snapshot.contract.slot(slot).name);
        level.push(Selection { key, what: What::Slot(slot), arguments: Vec::new(), children: Vec::new() });
        level.len() - 1
    });
    #[expect(clippy::indexing_slicing, reason = "found or pushed just above")]
    &mut level[at]
}

enum Filled {
    Key,
    Embedded,
    By(EndpointId),
    Derived(SlotId, usize),
    Nothing,
}

/// The mapping of the records that name a node's entities: of a listing, or of the list that holds them.
pub(crate) fn embedded_mapping<'a>(snapshot: &'a Snapshot, nodes: &[Node], origin: &Origin) -> Option<&'a Mapping> {
    match origin {
        Origin::Query(at) => snapshot.bindings.queries.get(*at)?.as_ref().map(|query| &query.mapping),
        Origin::Slot { node, slot } => {
            let above = nodes.get(*node)?;
            let entry = if above.embedded.contains(*slot) {
                embedded_mapping(snapshot, nodes, &above.origin)?.entry(*slot)?
            } else {
                snapshot.bindings.endpoint(snapshot.bindings.provider(*slot)?).mapping.entry(*slot)?
            };
            match &entry.read {
                Read::Objects { inside, .. } => Some(inside),
                _ => None,
            }
        }
    }
}

/// The selections of entities inside a connection.
pub(crate) fn node_sets<'s>(selection: &'s Selection, found: &mut Vec<&'s Selection>) {
    for child in &selection.children {
        match child.what {
            What::Nodes(_) => found.push(child),
            _ => node_sets(child, found),
        }
    }
}

fn selected_items(snapshot: &Snapshot, selections: &[Selection], found: &mut Vec<ItemId>) {
    for selection in selections {
        let What::Slot(slot) = selection.what else { continue };
        let slot = snapshot.contract.slot(slot);
        match slot.item {
            Some(item) => found.push(item),
            None if matches!(slot.shape, Shape::Object) => selected_items(snapshot, &selection.children, found),
            None => {}
        }
    }
}

fn text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
