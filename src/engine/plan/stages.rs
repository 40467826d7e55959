//! Parts of a plan: what has to be fetched before some reads of its entities can be looked at.

use std::collections::BTreeSet;

use super::{FetchId, NodeId, Plan, Stage};
use crate::engine::operation::{Selection, What};
use crate::model::contract::{Shape, SlotId};
use crate::model::snapshot::Snapshot;

/// Fetches of the answer stage, and the nodes below that are reached for them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchSet {
    fetches: BTreeSet<(NodeId, FetchId)>,
    nodes: BTreeSet<NodeId>,
}

/// What is fetched of a plan.
#[derive(Debug, Clone, Copy)]
pub enum Now<'s> {
    All,
    /// These fetches, where they were not made before, and what they come after.
    Stage(&'s FetchSet),
}

impl Now<'_> {
    pub fn has(self, node: NodeId, fetch: FetchId) -> bool {
        match self {
            Self::All => true,
            Self::Stage(set) => set.fetches.contains(&(node, fetch)),
        }
    }

    /// Whether entities of a node below are wanted.
    pub fn reaches(self, node: NodeId) -> bool {
        match self {
            Self::All => true,
            Self::Stage(set) => set.nodes.contains(&node),
        }
    }
}

impl FetchSet {
    /// What has to be fetched to look at these reads of a node's entities. What the plan has no fetch for is known
    /// without one, or to nobody.
    pub fn of(snapshot: &Snapshot, plan: &Plan, node: NodeId, reads: &[Selection]) -> Self {
        let mut set = Self::default();
        set.read(snapshot, plan, node, reads);
        set
    }

    /// What tells whether entities of a node are there.
    pub fn establishing(plan: &Plan, node: NodeId) -> Self {
        let fetches = plan.node(node).fetches.iter().enumerate();
        let establishing = fetches.filter(|(_, fetch)| fetch.establishes).map(|(at, _)| (node, at));
        Self { fetches: establishing.collect(), nodes: BTreeSet::new() }
    }

    pub fn extend(&mut self, other: &Self) {
        self.fetches.extend(&other.fetches);
        self.nodes.extend(&other.nodes);
    }

    /// Those that are not in the other.
    pub fn without(&self, other: &Self) -> Self {
        Self { fetches: &self.fetches - &other.fetches, nodes: &self.nodes - &other.nodes }
    }

    pub fn iter(&self) -> impl Iterator<Item = (NodeId, FetchId)> + '_ {
        self.fetches.iter().copied()
    }

    fn read(&mut self, snapshot: &Snapshot, plan: &Plan, node: NodeId, reads: &[Selection]) {
        for read in reads {
            let What::Slot(slot) = read.what else { continue };
            self.fill(snapshot, plan, node, slot);
            match snapshot.contract.slot(slot).shape {
                Shape::Entity(_) | Shape::EntityList(_) => {
                    if let Some(below) = plan.node(node).child(slot) {
                        self.nodes.insert(below);
                        self.read(snapshot, plan, below, &read.children);
                    }
                }
                _ => self.read(snapshot, plan, node, &read.children),
            }
        }
    }

    /// All who hold a slot, or what it stands in.
    fn fill(&mut self, snapshot: &Snapshot, plan: &Plan, id: NodeId, slot: SlotId) {
        let node = plan.node(id);
        for holder in snapshot.bindings.held_by(&snapshot.contract, slot) {
            self.fetches.extend(node.fetch_of(holder, slot, Stage::Answer).map(|fetch| (id, fetch)));
        }
        for above in std::iter::once(slot).chain(snapshot.contract.above(slot)) {
            if node.embedded.contains(above) {
                return;
            }
            if let Some(endpoint) = snapshot.bindings.provider(above) {
                self.fetches.extend(node.fetch_of(endpoint, slot, Stage::Answer).map(|fetch| (id, fetch)));
                return;
            }
            if let Some(need) = node.derived.iter().find(|need| need.slot == above) {
                self.read(snapshot, plan, id, &need.reads);
                return;
            }
        }
    }
}
