//! What a set of grants gives, per relation and slot.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::{Access, Presented, RelationId, SlotSet};
use crate::model::contract::{Contract, SlotId};
use crate::model::mask::Mask;

/// What the caller of a request may have, before it is known how the caller stands to each entity.
/// Holds no principal: two callers with the same active grants have equal rights.
#[derive(Debug, Default)]
pub struct Rights {
    /// The active grants; equal keys mean equal rights within a snapshot.
    pub key: Vec<usize>,
    /// Per relation that gives anything.
    pub permits: BTreeMap<RelationId, Permit>,
    /// Over all relations.
    pub any: SlotSet,
}

#[derive(Debug, Default)]
pub struct Permit {
    pub slots: SlotSet,
    /// Slots that this relation gives only masked.
    pub masks: BTreeMap<SlotId, Mask>,
}

/// What the caller may have of one entity, whose relations are known.
#[derive(Debug, Default, Clone)]
pub struct RowRights {
    pub relations: Vec<RelationId>,
    pub slots: SlotSet,
    pub masks: BTreeMap<SlotId, Mask>,
}

impl Rights {
    /// The rights of active grants, see [`Access::active`].
    pub fn new(access: &Access, active: Vec<usize>) -> Self {
        let mut permits: BTreeMap<RelationId, Permit> = BTreeMap::new();
        let mut any = SlotSet::new();
        for grant in active.iter().filter_map(|grant| access.grants.get(*grant)) {
            any.union(&grant.slots);
            let permit = permits.entry(grant.relation).or_default();
            widen(&mut permit.slots, &mut permit.masks, &grant.slots, &grant.masks);
        }
        Self { key: active, permits, any }
    }

    /// The rights over an entity to which the caller stands in these relations.
    pub fn under(&self, relations: Vec<RelationId>) -> RowRights {
        let mut row = RowRights::default();
        for permit in relations.iter().filter_map(|relation| self.permits.get(relation)) {
            widen(&mut row.slots, &mut row.masks, &permit.slots, &permit.masks);
        }
        row.relations = relations;
        row
    }

    /// The relations that give any of these slots.
    pub fn relations_for<'a>(&'a self, slots: &'a SlotSet) -> impl Iterator<Item = RelationId> + 'a {
        self.permits.iter().filter(|(_, permit)| permit.slots.intersects(slots)).map(|(relation, _)| *relation)
    }
}

/// Adds what one more grant gives: a slot stays masked only if every grant that gives it masks it.
fn widen(slots: &mut SlotSet, masks: &mut BTreeMap<SlotId, Mask>, more: &SlotSet, more_masks: &BTreeMap<SlotId, Mask>) {
    masks.retain(|slot, _| !more.contains(*slot) || more_masks.contains_key(slot));
    for (slot, mask) in more_masks {
        if !slots.contains(*slot) {
            masks.insert(*slot, *mask);
        }
    }
    slots.union(more);
}

/// Why a field is refused: the grant that would be needed. Names nothing the contract does not.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Denied {
    /// No role of the caller's has the class at all.
    Class(Arc<str>),
    /// A role of the caller's has it, from other networks.
    Network { role: Arc<str> },
    /// A role of the caller's has it, over connections with a client certificate that the role names.
    Certificate { role: Arc<str> },
    /// A role of the caller's has it for a purpose that was not declared.
    Purpose { role: Arc<str>, purposes: Vec<Arc<str>> },
    /// A role of the caller's has it with a case number, and none that fits was given.
    Case { role: Arc<str> },
    /// A role of the caller's has it for entities to which the caller stands in these relations.
    Relation { role: Arc<str>, relations: Vec<Arc<str>> },
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Class(class) => write!(f, "needs a grant of the data class `{class}`"),
            Self::Network { role } => write!(f, "the role `{role}` does not count from this network"),
            Self::Certificate { role } => {
                write!(
                    f,
                    "the role `{role}` counts only over a connection with the client certificate that it asks for"
                )
            }
            Self::Purpose { role, purposes } => {
                write!(f, "the role `{role}` gives it for the purpose {}", Listed(purposes))
            }
            Self::Case { role } => write!(f, "the role `{role}` gives it with a case number in its agreed form"),
            Self::Relation { role, relations } => {
                write!(f, "the role `{role}` gives it for the relation {}", Listed(relations))
            }
        }
    }
}

struct Listed<'a>(&'a [Arc<str>]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            write!(f, "{}`{name}`", if at == 0 { "" } else { " or " })?;
        }
        Ok(())
    }
}

impl Access {
    /// Names what is missing for a slot: the nearest miss among the caller's own roles, else the data class.
    pub fn denied(&self, contract: &Contract, slot: SlotId, presented: Presented) -> Denied {
        let mut relations: Vec<Arc<str>> = Vec::new();
        let mut nearest: Option<Denied> = None;
        for role in self.roles.iter().filter(|role| presented.roles.iter().any(|name| **name == *role.name)) {
            let here = role.networks.iter().any(|network| presented.networks.iter().any(|name| **name == **network));
            let certified = role.certificate_counts(presented);
            for grant in role
                .grants
                .iter()
                .filter_map(|grant| self.grants.get(*grant))
                .filter(|grant| grant.slots.contains(slot))
            {
                let role = Arc::clone(&role.name);
                if !here {
                    nearest.get_or_insert(Denied::Network { role });
                } else if !certified {
                    nearest = Some(Denied::Certificate { role });
                } else if !grant.purpose_counts(presented) {
                    nearest = Some(Denied::Purpose { role, purposes: grant.purposes.clone() });
                } else if !grant.case_counts(presented) {
                    nearest = Some(Denied::Case { role });
                } else if let Some(relation) = self.relation(grant.relation) {
                    relations.push(Arc::clone(&relation.name));
                    nearest = Some(Denied::Relation { role, relations: relations.clone() });
                }
            }
        }
        nearest.unwrap_or_else(|| {
            let class = contract.slot(slot).class.map_or("", |class| contract.class_name(class));
            Denied::Class(class.into())
        })
    }
}
