//! What of the scans a caller sees in the contract: conditions on what may be compared, and nothing else. Who may compare
//! nothing of an entity does not see that it can be scanned.

use std::collections::{HashMap, HashSet};

use super::super::{Contract, EntityId, Shape, SlotId};
use super::types::filter_of;
use super::{ARGUMENTS, COVERAGE, MISSING, Meant, ScanRoot};

/// The name of the type whose fields are scans that tell how far they have come.
pub(super) const SUBSCRIPTION: &str = "Subscription";

pub struct SeenScans<'c> {
    contract: &'c Contract,
    slots: HashSet<SlotId>,
    /// Fields of filter types, by the names of both.
    fields: HashMap<String, HashSet<&'c str>>,
    scans: Vec<&'c ScanRoot>,
}

impl<'c> SeenScans<'c> {
    /// `comparable`: whether the caller may find, sort and group by what stands in a slot.
    pub fn new(contract: &'c Contract, comparable: impl Fn(SlotId) -> bool) -> Self {
        let mut seen = Self { contract, slots: HashSet::new(), fields: HashMap::new(), scans: Vec::new() };
        for entity in &contract.entities {
            for slot in &entity.children {
                seen.look(&entity.name, *slot, &comparable);
            }
        }
        let has_condition =
            |entity: EntityId| contract.entity(entity).children.iter().any(|slot| seen.slots.contains(slot));
        seen.scans = contract.scans.iter().filter(|scan| has_condition(scan.entity)).collect();
        seen
    }

    /// Looks at a slot and what is in it; whether something can be asked of it.
    fn look(&mut self, parent: &str, id: SlotId, comparable: &impl Fn(SlotId) -> bool) -> bool {
        let slot = self.contract.slot(id);
        let filter = filter_of(parent);
        let Some(filters) = self.contract.scans.first().map(|scan| &scan.filter) else { return false };
        let meant = filters.members.get(filter.as_str()).and_then(|members| members.get(&slot.name));
        let is_given = slot.class.is_none() || comparable(id);
        if slot.hidden || !is_given || !matches!(meant, Some(Meant::Field(_))) {
            return false;
        }
        let mut inside = false;
        for child in &slot.children {
            inside |= self.look(&slot.type_name, *child, comparable);
        }
        // That an object is there tells something of what it holds; how long a list is, its own grant gives.
        if slot.shape == Shape::Object && !inside {
            return false;
        }
        self.slots.insert(id);
        self.fields.entry(filter).or_default().insert(&slot.name);
        true
    }

    /// Whether a field that the scans brought into the contract is seen; `None`: it is none of them.
    pub fn field(&self, type_name: &str, field: &str) -> Option<bool> {
        let is_of = |scan: &ScanRoot| {
            let listing = self.contract.queries.get(scan.query).map(|query| &*query.name) == Some(field);
            let stats = scan.stats.as_deref() == Some(field);
            (type_name == self.contract.query_type() && stats)
                || (type_name == SUBSCRIPTION && (listing || stats))
                || (type_name == &*scan.connection && field == COVERAGE)
                || (type_name == &*scan.edge && field == MISSING)
        };
        let known = self.contract.scans.iter().any(is_of);
        known.then(|| self.scans.iter().any(|scan| is_of(scan)))
    }

    pub fn argument(&self, type_name: &str, field: &str, argument: &str) -> bool {
        let is_of = |scan: &ScanRoot| {
            type_name == self.contract.query_type()
                && ARGUMENTS.contains(&argument)
                && self.contract.queries.get(scan.query).is_some_and(|query| *query.name == *field)
        };
        !self.contract.scans.iter().any(is_of) || self.scans.iter().any(|scan| is_of(scan))
    }

    /// Whether a field of an input type is seen. Operators are: a filter type without a field that is seen is not.
    pub fn input(&self, type_name: &str, field: &str) -> bool {
        let filters = self.contract.scans.first().map(|scan| &scan.filter);
        let meant = filters.and_then(|filters| filters.members.get(type_name)).and_then(|members| members.get(field));
        let is_field = matches!(meant, Some(Meant::Field(_)));
        !is_field || self.fields.get(type_name).is_some_and(|fields| fields.contains(field))
    }

    pub fn value(&self, enumeration: &str, value: &str) -> bool {
        let filters = self.contract.scans.first().map(|scan| &scan.filter);
        let slot = filters.and_then(|filters| filters.slot_of_value(enumeration, value));
        slot.is_none_or(|slot| self.slots.contains(&slot))
    }
}
