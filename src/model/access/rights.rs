//! What a set of grants gives, per relation and slot.

use std::collections::BTreeMap;

use super::hand::Held;
use super::{Access, RelationId, SlotSet};
use crate::model::binding::SourceId;
use crate::model::contract::SlotId;
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
    /// What departments keep back of it.
    pub held: Held,
}

/// What the caller may have of one entity, whose relations are known.
#[derive(Debug, Default, Clone)]
pub struct RowRights {
    pub relations: Vec<RelationId>,
    /// Relations to single entities that its fields tell of. Nothing takes these over: they are not to this entity.
    pub through: Vec<RelationId>,
    pub slots: SlotSet,
    pub masks: BTreeMap<SlotId, Mask>,
    pub held: Held,
}

impl RowRights {
    pub fn is_related(&self) -> bool {
        !self.relations.is_empty() || !self.through.is_empty()
    }
}

impl Rights {
    /// The rights of active grants, see [`Access::active`].
    pub fn new(access: &Access, active: Vec<usize>) -> Self {
        let mut permits: BTreeMap<RelationId, Permit> = BTreeMap::new();
        let mut any = SlotSet::new();
        for grant in active.iter().filter_map(|grant| access.grants.get(*grant)) {
            any.union(&grant.slots);
            let permit = permits.entry(grant.relation).or_default();
            permit.held.widen(&permit.slots, &grant.slots, &grant.held);
            widen(&mut permit.slots, &mut permit.masks, &grant.slots, &grant.masks);
        }
        Self { key: active, permits, any }
    }

    /// The rights over an entity to which the caller stands in these relations.
    pub fn under(&self, relations: Vec<RelationId>) -> RowRights {
        let mut row = RowRights::default();
        for permit in relations.iter().filter_map(|relation| self.permits.get(relation)) {
            row.held.widen(&row.slots, &permit.slots, &permit.held);
            widen(&mut row.slots, &mut row.masks, &permit.slots, &permit.masks);
        }
        row.relations = relations;
        row
    }

    /// Whether a value is given in full under some relation, so that there may be entities to find by it.
    pub fn may_compare_somewhere(&self, slot: SlotId) -> bool {
        self.permits.values().any(|permit| permit.slots.contains(slot) && !permit.masks.contains_key(&slot))
    }

    /// The relations that give any of these slots.
    pub fn relations_for<'a>(&'a self, slots: &'a SlotSet) -> impl Iterator<Item = RelationId> + 'a {
        self.permits.iter().filter(|(_, permit)| permit.slots.intersects(slots)).map(|(relation, _)| *relation)
    }
}

impl RowRights {
    /// Whether the caller may find, filter, sort or group by a value of this entity: only where it is read in full. What
    /// is refused or masked is not to be found out by asking whether it is this or that.
    pub fn may_compare(&self, slot: SlotId) -> bool {
        self.slots.contains(slot) && !self.masks.contains_key(&slot)
    }

    /// What of `slots` the caller may have of a source: what it holds beside the one that answers, it may keep for itself.
    pub fn of_source(&self, slots: &SlotSet, source: SourceId) -> SlotSet {
        let mut given = slots.intersection(&self.slots);
        for (slot, _) in self.held.also.iter().filter(|(_, sources)| sources.contains(&source)) {
            given.remove(*slot);
        }
        given
    }
}

/// Adds what one more grant gives: a slot stays masked only if every grant that gives it masks it.
fn widen(slots: &mut SlotSet, masks: &mut BTreeMap<SlotId, Mask>, more: &SlotSet, more_masks: &BTreeMap<SlotId, Mask>) {
    masks.retain(|slot, _| !more.contains(*slot) || more_masks.contains_key(slot));
    for (slot, mask) in more_masks {
        if !slots.contains(*slot) {
            masks.insert(*slot, *mask);
        } else if let Some(known) = masks.get_mut(slot) {
            *known = known.narrower(*mask).unwrap_or(*known);
        }
    }
    slots.union(more);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What two grants give of a slot, each nothing, the value, or the value masked.
    #[test]
    fn a_slot_is_masked_only_if_every_grant_that_gives_it_masks_it() {
        let ways = [None, Some(None), Some(Some(Mask::Name))];
        for first in ways {
            for second in ways {
                let (slot, mut slots, mut masks) = (SlotId(70), SlotSet::new(), BTreeMap::new());
                for given in [first, second] {
                    let more = given.iter().map(|_| slot).collect();
                    let more_masks = given.flatten().into_iter().map(|mask| (slot, mask)).collect();
                    widen(&mut slots, &mut masks, &more, &more_masks);
                }
                let given: Vec<Option<Mask>> = [first, second].into_iter().flatten().collect();
                assert_eq!(slots.contains(slot), !given.is_empty(), "{first:?} {second:?}");
                let masked = !given.is_empty() && given.iter().all(Option::is_some);
                assert_eq!(masks.contains_key(&slot), masked, "{first:?} {second:?}");
            }
        }
    }
}
