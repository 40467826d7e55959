//! Fields that nobody is given, and values of several persons of which one is taken.

use std::collections::{BTreeMap, BTreeSet};

use super::{Adviser, named};
use crate::model::access::SlotSet;
use crate::model::binding::Endpoint;
use crate::model::binding::conversion::Kind;
use crate::model::binding::format::Field;
use crate::model::binding::mapping::{Mapping, Read};
use crate::model::contract::{Shape, SlotId};
use crate::model::yaml;

impl Adviser<'_> {
    /// Fields that are asked of the department for nobody: no grant gives them, and nothing else is asked or decided by
    /// them.
    pub(super) fn read_by_nobody(&mut self) {
        let Some(access) = &self.parts.access else { return };
        let mut used = SlotSet::new();
        access.grants.iter().for_each(|grant| used.union(&grant.slots));
        self.used_otherwise(&mut used);
        let contract = &self.parts.contract;
        let mut unread: BTreeMap<&str, (BTreeSet<String>, SlotId)> = BTreeMap::new();
        for endpoint in self.parts.bindings.endpoints.iter().filter(|endpoint| endpoint.source == self.source) {
            let mut bound = Vec::new();
            leaves(&endpoint.mapping, &mut bound);
            for slot in bound.into_iter().map(|slot| contract.slot(slot)) {
                let here = self.parts.bindings.provider(self.top(slot.id)) == Some(endpoint.id);
                let key = contract.entity(slot.entity).key == slot.id;
                if here && !key && !slot.hidden && !used.contains(slot.id) {
                    let class = slot.class.map_or("", |class| contract.class_name(class));
                    let of_class = unread.entry(class).or_insert_with(|| (BTreeSet::new(), slot.id));
                    of_class.0.insert(contract.full_path(slot.id));
                }
            }
        }
        let warnings: Vec<_> = unread
            .into_iter()
            .map(|(class, (names, first))| {
                let one = names.len() == 1;
                let message = format!("no role may read {}, of the class `{class}`", named(&names));
                let hint = format!(
                    "the governance office grants the class in roles.yaml; if nobody should have {}, leave {} out",
                    if one { "it" } else { "them" },
                    if one { "it" } else { "them" },
                );
                (self.place_of(first), message, hint)
            })
            .collect();
        for (place, message, hint) in warnings {
            self.warn(place, message, hint);
        }
    }

    /// Slots that calls, relations and rules need.
    fn used_otherwise(&self, used: &mut SlotSet) {
        let (contract, bindings) = (&self.parts.contract, &self.parts.bindings);
        for endpoint in &bindings.endpoints {
            endpoint.inputs().chain(bindings.territory_slot(contract, endpoint)).for_each(|slot| used.insert(slot));
        }
        contract.entities.iter().filter_map(|entity| entity.territory).for_each(|slot| used.insert(slot));
        let relations = self.parts.access.iter().flat_map(|access| &access.relations);
        for relation in relations {
            for path in &relation.inputs {
                contract.slot_at(relation.on, &path.join(".")).into_iter().for_each(|slot| used.insert(slot));
            }
        }
        for rule in &self.parts.rules.derived {
            let Some(entity) = contract.entity_named(rule.on()) else { continue };
            for path in rule.inputs() {
                contract.slot_at(entity, &path.join(".")).into_iter().for_each(|slot| used.insert(slot));
            }
        }
    }

    /// The slot, or the nearest one above, that a source answers for.
    fn top(&self, slot: SlotId) -> SlotId {
        let mut places = std::iter::once(slot).chain(self.parts.contract.above(slot));
        places.find(|slot| self.parts.bindings.provider(*slot).is_some()).unwrap_or(slot)
    }

    /// Where a slot stands in the file, or what it is inside of.
    fn place_of(&self, slot: SlotId) -> crate::base::fault::Place {
        let contract = &self.parts.contract;
        std::iter::once(slot)
            .chain(contract.above(slot))
            .find_map(|slot| {
                let path = &contract.slot(slot).path;
                let mut endpoints = self.file.endpoints.values();
                let field = endpoints.find_map(|endpoint| endpoint.value.fields.get(&**path))?;
                Some(yaml::key(self.text, path, field))
            })
            .unwrap_or_else(|| yaml::place_of(&self.file.source))
    }

    /// Amounts of several persons, of which the first's is taken.
    pub(super) fn of_the_first(&mut self, endpoint: &Endpoint) {
        let contract = &self.parts.contract;
        let key = contract.slot(endpoint.key);
        if !matches!(key.shape, Shape::LeafList(_)) {
            return;
        }
        let Some(written) = self.file.endpoints.get(&*endpoint.name) else { return };
        let amounts: Vec<(&String, _)> = written
            .value
            .fields
            .iter()
            .filter(|(path, field)| {
                let slot = contract.slot_at(endpoint.entity, path);
                let amount = slot.is_some_and(|slot| {
                    matches!(contract.slot(slot).shape, Shape::Leaf(Kind::Decimal | Kind::Int | Kind::Boolean))
                });
                amount
                    && !matches!(&field.value, Field::Full(full) if full.combine.is_some() || full.constant.is_some())
            })
            .collect();
        let key = key.path.to_string();
        let warnings: Vec<_> = amounts
            .into_iter()
            .map(|(path, field)| {
                let place = yaml::key(self.text, path, field);
                let message = format!("where several of `{key}` have a record, `{path}` is that of the first alone");
                (place, message)
            })
            .collect();
        for (place, message) in warnings {
            let hint = "say what it is of all of them: `combine: sum`, `any`, `all`, `max`, `min`; or `combine: first`";
            self.warn(place, message, hint);
        }
    }
}

/// The slots whose values a mapping reads.
fn leaves(mapping: &Mapping, out: &mut Vec<SlotId>) {
    for entry in &mapping.entries {
        match &entry.read {
            Read::Object { inside, .. } | Read::Objects { inside, .. } => leaves(inside, out),
            _ => out.push(entry.slot),
        }
    }
}
