//! What rules read, entered into the graph as hidden: relations before the gate, derived fields after it.

use std::sync::Arc;

use super::build::{Builder, Filled};
use super::{DerivedNeed, FetchId, Hidden, NodeId, Origin, RelationNeed, Stage};
use crate::engine::error::RequestError;
use crate::engine::operation::{Selection, What};
use crate::model::access::SlotSet;
use crate::model::contract::{Shape, SlotId};
use crate::model::rule::Derived;
use crate::model::snapshot::Snapshot;

impl Builder<'_> {
    pub(super) fn relations(&mut self, node: NodeId) -> Result<(), RequestError> {
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
            let mut above_wanted = self.node(above).shown.clone();
            self.compared(above, &mut above_wanted);
            if self.rights.relations_for(&above_wanted).next().is_some() {
                above_wanted.union(&self.found_by(above));
            }
            wanted.union(&above_wanted);
        }
        self.compared(node, &mut wanted);
        if self.rights.relations_for(&wanted).next().is_some() {
            // What it is found by must be readable too: a relation that gives that is looked at.
            wanted.union(&self.found_by(node));
        }
        self.relations_for(node, &wanted)
    }

    /// What a condition compares of the entities of a root.
    fn compared(&mut self, node: NodeId, into: &mut SlotSet) {
        let Some(compared) = self.compared else { return };
        let entity = self.node(node).entity;
        if let Origin::Query(_) = self.node(node).origin {
            let contract = &self.snapshot.contract;
            compared.iter().filter(|slot| contract.slot(*slot).entity == entity).for_each(|slot| into.insert(slot));
        }
    }

    /// The relations that give any of what is wanted.
    pub(super) fn relations_for(&mut self, node: NodeId, wanted: &SlotSet) -> Result<(), RequestError> {
        let access = &self.snapshot.access;
        let entity = self.node(node).entity;
        let relations: Vec<_> = self.rights.relations_for(wanted).collect();
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
                let fetches = self.made_for(node, &reads);
                self.node(node).relations.push(RelationNeed { relation, reads, fetches });
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

    /// The values that the entities of a root are found by.
    fn found_by(&mut self, node: NodeId) -> SlotSet {
        let Origin::Query(at) = self.node(node).origin else { return SlotSet::new() };
        let query = self.snapshot.contract.queries.get(at);
        query.into_iter().flat_map(|query| &query.finds_by).flat_map(|finds| finds.slots.iter().copied()).collect()
    }

    /// The entity whose relations this node takes: a hidden node, whose own relations decide.
    fn via(&mut self, node: NodeId, via: SlotId) -> Result<(), RequestError> {
        let snapshot = self.snapshot;
        let Shape::Entity(target) = snapshot.contract.slot(via).shape else { return Ok(()) };
        self.gate(node, via)?;
        let known = self.node(node).child(via).is_some();
        let child = self.child(node, via, target)?;
        if !known {
            self.needs(child)?;
        } else if self.node(child).relations.is_empty() {
            self.relations(child)?;
        }
        Ok(())
    }

    /// Reads a slot at the gate, of every entity.
    pub(super) fn gate(&mut self, node: NodeId, slot: SlotId) -> Result<(), RequestError> {
        self.hide_from(node, slot, Reader::Relation)?;
        let mut fetches = self.given_by(node, slot);
        let gate = &mut self.node(node).gate;
        fetches.retain(|fetch| !gate.contains(fetch));
        gate.extend(fetches);
        Ok(())
    }

    /// The fetches of the gate that a rule's reads wait for.
    fn made_for(&mut self, node: NodeId, reads: &[Selection]) -> Vec<FetchId> {
        let mut found = Vec::new();
        for read in reads {
            if let What::Slot(slot) = read.what {
                found.extend(self.given_by(node, slot));
            }
            found.extend(self.made_for(node, &read.children));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// The fetch of the gate that gives a slot, and those it comes after.
    fn given_by(&mut self, node: NodeId, slot: SlotId) -> Vec<FetchId> {
        let Filled::By(endpoint) = self.filled_at(node, slot) else { return Vec::new() };
        let node = self.node(node);
        let mut found: Vec<FetchId> = node.fetch_of(endpoint, slot, Stage::Relation).into_iter().collect();
        let mut next = 0;
        while let Some(at) = found.get(next).copied() {
            for before in node.fetches.get(at).map_or(&[][..], |fetch| fetch.after.as_slice()) {
                if !found.contains(before) {
                    found.push(*before);
                }
            }
            next += 1;
        }
        found
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

    pub(super) fn derive(&mut self, node: NodeId, slot: SlotId, rule: usize) -> Result<(), RequestError> {
        if self.node(node).derived.iter().any(|need| need.slot == slot) {
            return Ok(());
        }
        let derived = self.snapshot.rules.derived.get(rule);
        let paths = derived.map(Derived::inputs).unwrap_or_default();
        self.node(node).derived.push(DerivedNeed { slot, reads: Vec::new(), by_rule: Vec::new() });
        let reads = self.read_for(node, slot, &paths)?;
        let mut by_rule = Vec::new();
        if let Some(Derived::Checklist(checklist)) = derived {
            for rule in &checklist.rules {
                by_rule.push(self.read_for(node, slot, rule.when.inputs())?);
            }
        }
        if let Some(need) = self.node(node).derived.iter_mut().find(|need| need.slot == slot) {
            (need.reads, need.by_rule) = (reads, by_rule);
        }
        Ok(())
    }

    fn read_for(
        &mut self,
        node: NodeId,
        derived: SlotId,
        paths: &[Vec<String>],
    ) -> Result<Vec<Selection>, RequestError> {
        let mut reads = Vec::new();
        for path in paths {
            self.read(node, path, Reader::Derived(derived), &mut reads)?;
        }
        Ok(reads)
    }

    /// Makes a slot readable to the gateway alone.
    fn hide_from(&mut self, node: NodeId, slot: SlotId, reader: Reader) -> Result<(), RequestError> {
        if let Filled::By(endpoint) = self.filled_at(node, slot) {
            let fetch = self.fetch(node, endpoint, reader.stage())?;
            let hidden = &mut self.fetch_node(node, fetch).hidden;
            reader.enter(hidden, slot);
        }
        // Where a derived field decides on what two departments hold, both are heard.
        if !matches!(reader, Reader::Relation) {
            let snapshot = self.snapshot;
            for endpoint in snapshot.bindings.held_by(&snapshot.contract, slot) {
                let fetch = self.fetch(node, endpoint, reader.stage())?;
                reader.enter(&mut self.fetch_node(node, fetch).hidden, slot);
            }
        }
        Ok(())
    }
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
    fn enter(self, hidden: &mut Hidden, slot: SlotId) {
        match self {
            Self::Relation => hidden.inputs.insert(slot),
            Self::Derived(derived) => hidden.derived.entry(derived).or_default().insert(slot),
            Self::Above => hidden.above.insert(slot),
        }
    }

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
