//! What is told of single entities by fields of another: endpoints whose key is a list of their keys (`@subjects`).
//!
//! A household's list of illnesses, asked of a department by the id numbers of its members, tells of each of them. Under
//! a relation to one of them such a field is given only as far as it tells of that one:
//! - a list of objects **one by one**: the elements that come of the keys of those to whom the caller stands in the
//!   relation; the others' keys are not asked;
//! - anything else (a sum, an object of the first who has it) only where the caller may have it of **all** of them, for
//!   what one of them adds cannot be told from it.

use std::collections::BTreeMap;

use super::access::SlotSet;
use super::binding::mapping::{Over, Read};
use super::binding::{Bindings, Endpoint, EndpointId};
use super::contract::{Contract, EntityId, Shape, SlotId};

/// By slot, of whom it tells. Immutable.
#[derive(Debug, Default)]
pub struct Subjects {
    /// By slot: the slot that holds the keys of those it tells of.
    keys: Vec<Option<SlotId>>,
    one_by_one: SlotSet,
    /// The same, by the endpoint that answers for them.
    by_endpoint: BTreeMap<EndpointId, SlotSet>,
    none: SlotSet,
}

impl Subjects {
    pub fn new(contract: &Contract, bindings: &Bindings) -> Self {
        let mut subjects = Self { keys: vec![None; contract.slots.len()], ..Self::default() };
        // What stands inside comes after what it stands in.
        for slot in contract.slots.iter().rev() {
            let key = match provider(contract, bindings, slot.id) {
                Some(endpoint) => Some(endpoint.key).filter(|key| contract.slot(*key).subjects.is_some()),
                None if slot.shape == Shape::Object => subjects.common(&slot.children),
                None => None,
            };
            if let Some(place) = subjects.keys.get_mut(slot.id.index()) {
                *place = key;
            }
        }
        for endpoint in bindings.endpoints.iter().filter(|endpoint| contract.slot(endpoint.key).subjects.is_some()) {
            for entry in &endpoint.mapping.entries {
                let of_records = matches!(&entry.read, Read::Objects { over: Over::Records | Over::Array(_), .. });
                if of_records
                    && contract.slot(entry.slot).shape == Shape::ObjectList
                    && bindings.provider(entry.slot) == Some(endpoint.id)
                {
                    let of_endpoint = subjects.by_endpoint.entry(endpoint.id).or_default();
                    for slot in contract.below(entry.slot) {
                        subjects.one_by_one.insert(slot);
                        of_endpoint.insert(slot);
                    }
                }
            }
        }
        subjects
    }

    /// The key slot that all of these have, if they have one.
    fn common(&self, slots: &[SlotId]) -> Option<SlotId> {
        let (first, rest) = slots.split_first()?;
        let key = self.key(*first)?;
        rest.iter().all(|slot| self.key(*slot) == Some(key)).then_some(key)
    }

    /// Of a list that tells of single entities one by one (and what is in it): the slot that holds their keys.
    pub fn of_each(&self, slot: SlotId) -> Option<SlotId> {
        if self.one_by_one.contains(slot) { self.key(slot) } else { None }
    }

    /// The slot that holds the keys of those whom a slot tells of.
    pub fn key(&self, slot: SlotId) -> Option<SlotId> {
        self.keys.get(slot.index()).copied().flatten()
    }

    /// The slots that are given one by one.
    pub fn one_by_one(&self) -> &SlotSet {
        &self.one_by_one
    }

    /// Those of them that an endpoint answers for. What it holds beside another is shown as a whole, or not at all.
    pub fn one_by_one_of(&self, endpoint: EndpointId) -> &SlotSet {
        self.by_endpoint.get(&endpoint).unwrap_or(&self.none)
    }

    /// Whether a relation to `on` can give a slot: it is a field of such an entity, or of one that takes its relations,
    /// or it tells of such entities.
    pub fn reaches(&self, contract: &Contract, on: EntityId, slot: SlotId) -> bool {
        let takes = |entity: &EntityId| {
            contract.entity(*entity).via.and_then(|via| match contract.slot(via).shape {
                Shape::Entity(above) => Some(above),
                _ => None,
            })
        };
        let entity = contract.slot(slot).entity;
        // Entities that take one another's relations in a circle are gone through once.
        std::iter::successors(Some(entity), takes).take(contract.entities.len()).any(|entity| entity == on)
            || self.key(slot).is_some_and(|key| contract.slot(key).subjects == Some(on))
    }
}

fn provider<'b>(contract: &Contract, bindings: &'b Bindings, slot: SlotId) -> Option<&'b Endpoint> {
    let provider = std::iter::once(slot).chain(contract.above(slot)).find_map(|slot| bindings.provider(slot))?;
    Some(bindings.endpoint(provider))
}
