//! `withhold` and `switched_off_for`, held against what the source fills.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::codes::Codes;
use super::format::{Quota as QuotaFile, Withhold};
use super::{Hand, Named, Quota, Withheld};
use crate::base::fault::{self, Faults, Place, SourceText};
use crate::model::binding::format::{Scalar, SourceFile};
use crate::model::binding::mapping::{Mapping, Over, Read, Term};
use crate::model::binding::{Bindings, SourceId};
use crate::model::contract::{Contract, Shape, SlotId};
use crate::model::yaml::{self, Spanned};

/// Most entities that a quota can count: they are kept while the day lasts.
const ENTITIES_MAX: u32 = 100_000;

/// Compiles what one source's file says of roles. Its endpoints and queries are compiled already.
pub fn compile(
    file: &SourceFile,
    text: &Arc<SourceText>,
    contract: &Contract,
    bindings: &Bindings,
    source: SourceId,
    faults: &mut Faults,
) -> Hand {
    let filled = Filled::of(contract, bindings, source);
    let mut compiler = Compiler { text, contract, filled, faults };
    let mut withheld: Vec<Withheld> = file.withhold.iter().map(|entry| compiler.withhold(entry)).collect();
    if !file.switched_off_for.is_empty() {
        withheld.push(Withheld {
            roles: Some(names(&file.switched_off_for)),
            slots: compiler.filled.own.clone(),
            also: compiler.filled.also.clone(),
            ..Withheld::default()
        });
    }
    let quotas = file.quota.iter().filter_map(|quota| compiler.quota(quota)).collect();
    Hand { text: Some(Arc::clone(text)), withheld, quotas }
}

fn named(name: &Spanned<String>) -> Named {
    Named { name: name.value.as_str().into(), place: yaml::place_of(name) }
}

fn names(list: &[Spanned<String>]) -> Vec<Named> {
    list.iter().map(named).collect()
}

/// The slots that a source fills.
#[derive(Default)]
struct Filled<'b> {
    /// It answers for, or gives with the records that name entities.
    own: Vec<SlotId>,
    /// Another answers for, and it holds too.
    also: Vec<SlotId>,
    /// Where each slot is read, innermost.
    readings: BTreeMap<SlotId, Vec<Reading<'b>>>,
}

/// One place where a slot is read.
#[derive(Clone, Copy)]
struct Reading<'b> {
    mapping: &'b Mapping,
    /// The pointer it is read from in that mapping.
    at: Option<Term>,
    /// Inside a list over the source's instances.
    per_instance: bool,
}

impl<'b> Filled<'b> {
    fn of(contract: &Contract, bindings: &'b Bindings, source: SourceId) -> Self {
        let mut filled = Self::default();
        for endpoint in bindings.endpoints.iter().filter(|endpoint| endpoint.source == source) {
            filled.enter(&endpoint.mapping, false, &|slot| {
                let bound = std::iter::once(slot).chain(contract.above(slot));
                bound.into_iter().all(|slot| !bindings.also(slot).contains(&endpoint.id))
            });
        }
        for query in bindings.queries.iter().flatten().filter(|query| query.source == source) {
            filled.enter(&query.mapping, false, &|_| true);
        }
        for list in [&mut filled.own, &mut filled.also] {
            list.sort_unstable();
            list.dedup();
        }
        filled
    }

    fn enter(&mut self, mapping: &'b Mapping, per_instance: bool, is_own: &impl Fn(SlotId) -> bool) {
        for entry in &mapping.entries {
            if is_own(entry.slot) { &mut self.own } else { &mut self.also }.push(entry.slot);
            let at = match &entry.read {
                Read::Scalar { at, .. } | Read::Reference { at, .. } | Read::Object { at, .. } => Some(*at),
                Read::Scalars { over, .. } | Read::Objects { over, .. } | Read::References { over, .. } => over.term(),
                Read::Constant(_) | Read::Instance(_) | Read::Outcome(_) => None,
            };
            self.readings.entry(entry.slot).or_default().push(Reading { mapping, at, per_instance });
            match &entry.read {
                Read::Object { inside, .. } => self.enter(inside, per_instance, is_own),
                Read::Objects { inside, over, .. } => self.enter(inside, *over == Over::Instances, is_own),
                _ => {}
            }
        }
    }

    fn contains(&self, slot: SlotId) -> bool {
        self.own.contains(&slot) || self.also.contains(&slot)
    }
}

struct Compiler<'a, 'b> {
    text: &'a Arc<SourceText>,
    contract: &'a Contract,
    filled: Filled<'b>,
    faults: &'a mut Faults,
}

impl Compiler<'_, '_> {
    fn fault(&mut self, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.add(self.text, place, message, hint);
    }

    fn withhold(&mut self, entry: &Spanned<Withhold>) -> Withheld {
        let written = &entry.value;
        let place = yaml::place(entry);
        let all = written.roles.iter().any(|role| role.value == "*");
        if written.roles.is_empty() {
            self.fault(place, "`roles` is empty: it withholds from nobody", "name roles, or `[\"*\"]` for all");
        }
        if let Some(first) = written.except_roles.first().filter(|_| !all) {
            self.fault(
                yaml::place_of(first),
                "`except_roles` takes roles out of `\"*\"`, and `roles` names them one by one",
                "leave the role out of `roles`, or write `roles: [\"*\"]`",
            );
        }
        if written.classes.is_empty() && written.fields.is_empty() && written.codes.is_empty() {
            self.fault(place, "the entry withholds nothing", "name `classes`, `fields` or `codes`");
        }
        let mut named: Vec<SlotId> = written.classes.iter().flat_map(|class| self.class(class)).collect();
        named.extend(written.fields.iter().flat_map(|field| self.field(field)));
        let of = |filled: &[SlotId]| named.iter().copied().filter(|slot| filled.contains(slot)).collect();
        let (slots, also) = (of(&self.filled.own), of(&self.filled.also));
        let mut codes: BTreeMap<SlotId, Vec<Arc<Codes>>> = BTreeMap::new();
        for (path, patterns) in &written.codes {
            let place = Place { length: path.chars().count(), ..yaml::place(patterns) };
            self.codes(path, &patterns.value, place, &mut codes);
        }
        Withheld {
            roles: (!all).then(|| names(&written.roles)),
            except_roles: names(&written.except_roles),
            except_relations: names(&written.except_relations),
            slots,
            also,
            codes,
            rules_may_read: written.rules_may_read,
        }
    }

    /// The slots of a class that the source fills.
    fn class(&mut self, class: &Spanned<String>) -> Vec<SlotId> {
        let contract = self.contract;
        let known = contract.classes.iter().position(|name| **name == *class.value);
        let Some(known) = known else {
            let hint = fault::did_you_mean(
                &class.value,
                contract.classes.iter().map(|name| &**name),
                "classes are named by @class in the contract",
            );
            self.fault(yaml::place_of(class), format!("the contract has no data class `{}`", class.value), hint);
            return Vec::new();
        };
        let is_of = |slot: &SlotId| contract.slot(*slot).class.is_some_and(|class| class.index() == known);
        let found: Vec<SlotId> = self.filled.own.iter().chain(&self.filled.also).copied().filter(is_of).collect();
        if found.is_empty() {
            let message = format!("this source fills no field of the class `{}`", class.value);
            self.fault(yaml::place_of(class), message, "a source withholds only what it holds");
        }
        found
    }

    /// A field and what is below it, as far as the source fills it.
    fn field(&mut self, field: &Spanned<String>) -> Vec<SlotId> {
        let Some(slot) = self.slot(&field.value, yaml::place_of(field)) else { return Vec::new() };
        let below = self.contract.below(slot);
        let found: Vec<SlotId> = below.into_iter().filter(|slot| self.filled.contains(*slot)).collect();
        if found.is_empty() {
            self.not_filled(&field.value, yaml::place_of(field));
        }
        found
    }

    fn not_filled(&mut self, path: &str, place: Place) {
        let contract = self.contract;
        let known: Vec<&str> =
            self.filled.own.iter().chain(&self.filled.also).map(|slot| &*contract.slot(*slot).path).collect();
        let hint = fault::did_you_mean(path, known, "a source withholds only what it holds");
        self.fault(place, format!("this source does not fill `{path}`"), hint);
    }

    fn slot(&mut self, path: &str, place: Place) -> Option<SlotId> {
        let contract = self.contract;
        let named = |slot: &&crate::model::contract::Slot| *slot.path == *path || contract.full_path(slot.id) == path;
        let found: Vec<SlotId> = contract.slots.iter().filter(named).map(|slot| slot.id).collect();
        let held = |slot: &SlotId| contract.below(*slot).into_iter().any(|slot| self.filled.contains(slot));
        match found.as_slice() {
            [] => {
                let known = contract.slots.iter().map(|slot| &*slot.path);
                let hint = fault::did_you_mean(path, known, "fields are named by their dotted path in the contract");
                self.fault(place, format!("the contract has no field `{path}`"), hint);
                None
            }
            [one] => Some(*one),
            // A path that several entities have is that of the one whose field the source fills.
            several => {
                let mut ours = several.iter().copied().filter(held);
                match (ours.next(), ours.next()) {
                    (Some(one), None) => Some(one),
                    (None, _) => several.first().copied(),
                    (Some(first), Some(_)) => {
                        let hint = format!("write `{}`", contract.full_path(first));
                        self.fault(place, format!("`{path}` is a field of several entities"), hint);
                        None
                    }
                }
            }
        }
    }

    /// Codes of one field: what they leave out is the nearest list's element, else the value with what is read beside it.
    fn codes(&mut self, path: &str, patterns: &[Scalar], place: Place, codes: &mut BTreeMap<SlotId, Vec<Arc<Codes>>>) {
        let Some(slot) = self.slot(path, place) else { return };
        let contract = self.contract;
        if !matches!(contract.slot(slot).shape, Shape::Leaf(_) | Shape::LeafList(_)) {
            self.fault(
                place,
                format!("`{path}` holds no code: it is not a single value"),
                "name the field of the code",
            );
            return;
        }
        let Some(readings) = self.filled.readings.get(&slot).cloned() else {
            self.not_filled(path, place);
            return;
        };
        if readings.iter().any(|reading| reading.at.is_none() || reading.per_instance) {
            let message = format!("`{path}` is not read from a record, so no record can be told by its code");
            self.fault(place, message, "withhold the field itself, with `fields`");
            return;
        }
        if patterns.iter().any(|pattern| pattern.0.trim().is_empty()) || patterns.is_empty() {
            self.fault(place, format!("`{path}`: a code is empty"), "write codes, as `[\"F2*\", \"F31\"]`");
            return;
        }
        let compiled = Arc::new(Codes::new(slot, patterns.iter().map(|pattern| pattern.0.as_str())));
        let list = contract.above(slot).find(|above| matches!(contract.slot(*above).shape, Shape::ObjectList));
        let left_out = match list {
            Some(list) => vec![list],
            None => self.beside(slot, &readings),
        };
        for slot in left_out {
            codes.entry(slot).or_default().push(Arc::clone(&compiled));
        }
    }

    /// The slot, and those that tell the same: read from the same place of the record, or its raw code by name.
    fn beside(&self, slot: SlotId, readings: &[Reading<'_>]) -> Vec<SlotId> {
        let contract = self.contract;
        let code = contract.slot(slot);
        let mut found = vec![slot];
        for reading in readings {
            found.extend(reading.mapping.entries.iter().map(|entry| entry.slot).filter(|other| {
                let other_at = self.filled.readings.get(other).into_iter().flatten();
                let here = |other: &Reading<'_>| std::ptr::eq(other.mapping, reading.mapping) && other.at == reading.at;
                let sibling = contract.slot(*other);
                let by_name = sibling.parent == code.parent
                    && (*sibling.name == format!("{}Code", code.name) || *code.name == format!("{}Code", sibling.name));
                other_at.into_iter().any(here) || by_name
            }));
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn quota(&mut self, quota: &Spanned<QuotaFile>) -> Option<Quota> {
        let written = &quota.value;
        let limits = [written.entities_per_day, written.calls_per_minute];
        if limits == [None, None] {
            self.fault(yaml::place(quota), "the quota limits nothing", "add `entities_per_day` or `calls_per_minute`");
            return None;
        }
        if written.entities_per_day.is_some_and(|most| most > ENTITIES_MAX) {
            let message = format!("`entities_per_day` is at most {ENTITIES_MAX}");
            self.fault(yaml::place(quota), message, "leave it out where there is no limit");
        }
        Some(Quota {
            role: named(&written.role),
            network: written.network.as_ref().map(named),
            per: written.per,
            entities_per_day: written.entities_per_day,
            calls_per_minute: written.calls_per_minute,
        })
    }
}
