//! Single entities that a node's fields tell of: a node of the gate for those whose own relations may give the fields.

use super::build::Builder;
use super::{NodeId, Origin, SubjectNeed};
use crate::engine::error::RequestError;
use crate::model::access::SlotSet;
use crate::model::contract::SlotId;

impl Builder<'_> {
    pub(super) fn subjects(&mut self, node: NodeId) -> Result<(), RequestError> {
        let snapshot = self.snapshot;
        let shown = self.node(node).shown.clone();
        let mut keys: Vec<SlotId> = shown.iter().filter_map(|slot| snapshot.subjects.key(slot)).collect();
        keys.sort();
        keys.dedup();
        for key in keys {
            let Some(entity) = snapshot.contract.slot(key).subjects else { continue };
            let told: SlotSet = shown.iter().filter(|slot| snapshot.subjects.key(*slot) == Some(key)).collect();
            let by_own = |relation| snapshot.access.relation(relation).is_some_and(|relation| relation.on == entity);
            let own: Vec<_> = self.rights.relations_for(&told).filter(|relation| by_own(*relation)).collect();
            if own.is_empty() {
                continue;
            }
            let mut slots = SlotSet::new();
            for permit in own.iter().filter_map(|relation| self.rights.permits.get(relation)) {
                slots.union(&permit.slots.intersection(&told));
            }
            let subject = self.add(entity, Origin::Slot { node, slot: key })?;
            self.node(subject).shown = told.clone();
            self.node(subject).via = None;
            self.relations_for(subject, &told)?;
            self.gate(node, key)?;
            self.node(node).subjects.push(SubjectNeed { key, slots, node: subject });
        }
        Ok(())
    }
}
