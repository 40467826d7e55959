//! What the operation selects, entered into the graph: shown and refused slots, entities below, items.

use super::build::Builder;
use super::{NodeId, Origin};
use crate::engine::error::RequestError;
use crate::engine::operation::{Selection, What};
use crate::model::contract::{EntityId, ItemId, RootKind, Shape, SlotId};
use crate::model::snapshot::Snapshot;

impl Builder<'_> {
    pub(super) fn root(&mut self, root: &Selection) -> Result<Option<NodeId>, RequestError> {
        let What::Query(at) = root.what else { return Ok(None) };
        let Some(query) = self.snapshot.contract.queries.get(at) else { return Ok(None) };
        let node = self.add(query.entity, Origin::Query(at))?;
        let mut sets = Vec::new();
        // A scan answers in pages whatever finds its entities.
        if query.kind == RootKind::Connection || self.scans {
            node_sets(root, &mut sets);
        } else {
            sets.push(root);
        }
        for set in sets {
            self.select(node, &set.children)?;
        }
        Ok(Some(node))
    }

    /// Enters what is selected of a node's entities.
    fn select(&mut self, node: NodeId, selections: &[Selection]) -> Result<(), RequestError> {
        let snapshot = self.snapshot;
        for selection in selections {
            let What::Slot(slot) = selection.what else { continue };
            let shape = &snapshot.contract.slot(slot).shape;
            if snapshot.contract.slot(slot).class.is_none() {
                self.select_section(node, slot, selection)?;
                continue;
            }
            if !self.show(node, slot) {
                continue;
            }
            match shape {
                Shape::ItemStates => self.select_items(node, selection, selections)?,
                Shape::Entity(entity) | Shape::EntityList(entity) => {
                    let child = self.child(node, slot, *entity)?;
                    self.select(child, &selection.children)?;
                }
                _ => self.select(node, &selection.children)?,
            }
        }
        Ok(())
    }

    /// A section without a class is shown where anything that is selected of it is.
    fn select_section(&mut self, node: NodeId, slot: SlotId, selection: &Selection) -> Result<(), RequestError> {
        let before = self.node(node).shown.len();
        self.select(node, &selection.children)?;
        let node = self.node(node);
        if node.shown.len() > before {
            node.shown.insert(slot);
        }
        Ok(())
    }

    /// Marks a slot as shown or refused; whether it may be shown at all.
    fn show(&mut self, node: NodeId, slot: SlotId) -> bool {
        let permitted = self.rights.any.contains(slot);
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
                if let Shape::Entity(target) = contract.slot(slot).shape {
                    // Whether there is one for this caller is what its state tells.
                    let child = self.child(node, slot, target)?;
                    self.show(child, contract.entity(target).key);
                }
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

/// The items of an entity among what is selected of it; what is selected of others below is not looked at.
fn selected_items(snapshot: &Snapshot, entity: EntityId, selections: &[Selection], found: &mut Vec<ItemId>) {
    for selection in selections {
        let What::Slot(slot) = selection.what else { continue };
        let slot = snapshot.contract.slot(slot);
        if slot.entity != entity {
            continue;
        }
        match slot.item {
            Some(item) => found.push(item),
            None => selected_items(snapshot, entity, &selection.children, found),
        }
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
        selected_items(snapshot, entity, beside, &mut found);
        if found.is_empty() { all.collect() } else { found }
    } else {
        all.filter(|item| named.iter().any(|no| **no == *contract.item(*item).no)).collect()
    };
    items.sort();
    items.dedup();
    items
}

fn text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
