//! The permitted operation → a graph of fetches. Synchronous, without IO; a plan holds no principal and no data, and
//! prints as text ([`mod@print`]).
//!
//! Every place in the operation where an entity appears is a [`Node`]; what is fetched for it are its [`FetchNode`]s,
//! one an endpoint. Fetches of the **relation** stage tell how the caller stands to each entity (the gate); fetches of
//! the **answer** stage wait for that and are made only for entities of which the caller may have something.

mod build;
pub mod cost;
pub mod print;
mod reads;
mod select;
mod stages;
mod subjects;

use std::collections::BTreeMap;
use std::sync::Arc;

use super::operation::{Operation, Selection};
use crate::model::access::hand::Unread;
use crate::model::access::{RelationId, RowRights, SlotSet};
use crate::model::binding::{EndpointId, SourceId};
use crate::model::contract::{EntityId, ItemId, SlotId};
use crate::model::snapshot::Snapshot;

pub(crate) use build::embedded_mapping;
pub use build::{build, build_found, build_hearing_all};
pub(crate) use reads::enter;
pub use select::items_of;
pub use stages::{FetchSet, Now};

/// An index into [`Plan::nodes`].
pub type NodeId = usize;
/// An index into [`Node::fetches`].
pub type FetchId = usize;

#[derive(Debug)]
pub struct Plan {
    pub operation: Arc<Operation>,
    pub nodes: Vec<Node>,
    /// By root selection: the node of its entities.
    pub roots: Vec<Option<NodeId>>,
}

/// Entities of one type at one place of the operation.
#[derive(Debug)]
pub struct Node {
    pub entity: EntityId,
    pub origin: Origin,
    /// Slots the operation selects here and some relation may give.
    pub shown: SlotSet,
    /// Slots the operation selects here and no relation gives.
    pub refused: SlotSet,
    /// The relations that give any of what is shown, here or in entities that take this one's relations.
    pub relations: Vec<RelationNeed>,
    /// Fetches that the gate needs of every entity, whatever its relations read.
    pub gate: Vec<FetchId>,
    /// Single entities that fields of this one tell of, and whose own relations may give those fields.
    pub subjects: Vec<SubjectNeed>,
    /// Takes the relations of the entity above.
    pub inherits: bool,
    /// Takes the relations of an entity below, reached through this slot.
    pub via: Option<SlotId>,
    pub fetches: Vec<FetchNode>,
    pub children: Vec<Child>,
    pub derived: Vec<DerivedNeed>,
    /// Items whose state is asked for.
    pub items: Vec<ItemId>,
    /// Sources that hold an item too are asked as well.
    pub claims: bool,
    /// What the record that named the entity tells of it.
    pub embedded: SlotSet,
    pub(in crate::engine) given: Given,
}

/// The fetch that gives a slot for the answer, by slot, once the node's fetches are known: every field of every entity is
/// looked up when it is written and when it is recorded. Of its provider, or of what it stands in, where several endpoints
/// hold it.
#[derive(Debug, Default)]
pub(in crate::engine) struct Given {
    /// The first slot there is a place for.
    first: usize,
    fetches: Vec<Option<u32>>,
}

impl Given {
    fn get(&self, slot: SlotId) -> Option<FetchId> {
        let fetch = *self.fetches.get(slot.index().checked_sub(self.first)?)?;
        usize::try_from(fetch?).ok()
    }
}

impl Node {
    /// Of a root: no relation could give the caller anything that is selected here, so nothing is asked at all.
    pub fn gives_nothing(&self) -> bool {
        matches!(self.origin, Origin::Query(_))
            && self.relations.is_empty()
            && self.via.is_none()
            && self.subjects.is_empty()
    }

    /// Of which day records are is asked for: beside the state of items, and beside what the rules of a checklist rest on.
    pub fn tells_days(&self) -> bool {
        !self.items.is_empty() || self.derived.iter().any(|need| !need.by_rule.is_empty())
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Of a root query, by its index in the contract.
    Query(usize),
    /// Under a slot of another node.
    Slot { node: NodeId, slot: SlotId },
}

/// A node below, and the slot that leads there.
#[derive(Debug, Clone, Copy)]
pub struct Child {
    pub slot: SlotId,
    pub node: NodeId,
}

/// A relation that has to be decided, and what its rule reads.
#[derive(Debug)]
pub struct RelationNeed {
    pub relation: RelationId,
    /// With the entity's key, which is always known.
    pub reads: Vec<Selection>,
    /// The fetches that give what it reads beside the key; none is made for an entity whose key decides the relation.
    pub fetches: Vec<FetchId>,
}

/// Entities whose keys a slot holds, to each of which the caller may stand in relations of its own.
#[derive(Debug)]
pub struct SubjectNeed {
    /// The slot with their keys.
    pub key: SlotId,
    /// What is shown that their own relations may give.
    pub slots: SlotSet,
    /// A node of the gate alone: its entities are related, and nothing else is fetched for them.
    pub node: NodeId,
}

/// A derived slot that is shown, and what its rules read.
#[derive(Debug)]
pub struct DerivedNeed {
    /// The slot the rules fill; what is selected is it or below it.
    pub slot: SlotId,
    pub reads: Vec<Selection>,
    /// Of a checklist, what each of its rules reads.
    pub by_rule: Vec<Vec<Selection>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Relation,
    Answer,
}

/// One endpoint, asked for the entities of a node.
#[derive(Debug)]
pub struct FetchNode {
    pub endpoint: EndpointId,
    pub stage: Stage,
    /// What the caller gets of it (per entity, as far as its relations allow).
    pub shown: SlotSet,
    /// What is read of it unseen.
    pub hidden: Hidden,
    /// Fetches of this node that give it inputs.
    pub after: Vec<FetchId>,
    /// Asked for every entity that is related at all: it tells whether the entity exists.
    pub establishes: bool,
}

/// What the gateway reads of a fetch for itself, by who reads it. Never shown; asked only for entities it is read for.
#[derive(Debug, Default)]
pub struct Hidden {
    /// By the gate and by fetches that come after: of every entity that the fetch is made for.
    pub inputs: SlotSet,
    /// By the rules of a derived slot: where the slot is permitted.
    pub derived: BTreeMap<SlotId, SlotSet>,
    /// By the rules of the node above: for entities that stand under one they are permitted for.
    pub above: SlotSet,
}

impl Hidden {
    /// Of any entity.
    pub fn all(&self) -> SlotSet {
        let mut all = self.inputs.clone();
        all.union(&self.above);
        self.derived.values().for_each(|reads| all.union(reads));
        all
    }

    pub fn contains(&self, slot: SlotId) -> bool {
        self.inputs.contains(slot)
            || self.above.contains(slot)
            || self.derived.values().any(|reads| reads.contains(slot))
    }

    /// What rules read of an entity of which the caller has these rights, as far as departments let them. `above`: the
    /// rules of the entity above read it too, less this.
    pub fn by_rules(&self, rights: &RowRights, above: Option<&Unread>, source: SourceId) -> SlotSet {
        let mut read = above.map_or_else(SlotSet::new, |unread| unread.readable(&self.above, source));
        for (derived, reads) in self.derived.iter().filter(|(derived, _)| rights.slots.contains(**derived)) {
            match rights.held.unread(*derived) {
                Some(unread) => read.union(&unread.readable(reads, source)),
                None => read.union(reads),
            }
        }
        read
    }
}

impl Plan {
    /// How many fetches it is made of.
    pub fn fetches(&self) -> usize {
        self.nodes.iter().map(|node| node.fetches.len()).sum()
    }

    pub fn node(&self, id: NodeId) -> &Node {
        #[expect(clippy::indexing_slicing, reason = "a NodeId is an index into this very vector")]
        &self.nodes[id]
    }
}

impl Node {
    pub fn child(&self, slot: SlotId) -> Option<NodeId> {
        self.children.iter().find(|child| child.slot == slot).map(|child| child.node)
    }

    /// The fetch that gives a slot, in the order of preference: what is shown, then what is read.
    pub fn fetch_of(&self, endpoint: EndpointId, slot: SlotId, stage: Stage) -> Option<FetchId> {
        let given = self.given.get(slot).filter(|_| stage == Stage::Answer);
        match given.filter(|given| self.fetches.get(*given).is_some_and(|fetch| fetch.endpoint == endpoint)) {
            Some(given) => Some(given),
            None => self.sought(endpoint, slot, stage),
        }
    }

    /// As [`Self::fetch_of`], among all fetches.
    fn sought(&self, endpoint: EndpointId, slot: SlotId, stage: Stage) -> Option<FetchId> {
        let of = |wanted: Stage| {
            self.fetches.iter().position(|fetch| {
                fetch.endpoint == endpoint
                    && fetch.stage == wanted
                    && (fetch.shown.contains(slot) || fetch.hidden.contains(slot))
            })
        };
        match stage {
            Stage::Relation => of(Stage::Relation),
            Stage::Answer => of(Stage::Answer).or_else(|| of(Stage::Relation)),
        }
    }

    /// Once nothing is added to its fetches any more: remembers which gives what.
    fn settle(&mut self, snapshot: &Snapshot) {
        let mut slots = SlotSet::new();
        for fetch in &self.fetches {
            slots.union(&fetch.shown);
            slots.union(&fetch.hidden.all());
        }
        let first = slots.iter().next().map_or(0, |slot| slot.index());
        let mut fetches = Vec::new();
        for slot in slots.iter() {
            let mut whole = std::iter::once(slot).chain(snapshot.contract.above(slot));
            let provider = whole.find_map(|slot| snapshot.bindings.provider(slot));
            let given = provider.and_then(|endpoint| self.sought(endpoint, slot, Stage::Answer));
            fetches.resize(slot.index() - first, None);
            fetches.push(given.and_then(|fetch| u32::try_from(fetch).ok()));
        }
        self.given = Given { first, fetches };
    }
}
