//! What a caller's `where` says → conditions that can be decided one after the other, each with what it reads.
//!
//! The condition is taken apart where all of its parts must hold: what one department rules out is not asked of the next.

use serde_json::{Map, Value};

use super::permit::Division;
use crate::base::code::{ErrorCode, ItemState};
use crate::engine::error::RequestError;
use crate::engine::operation::Selection;
use crate::engine::plan::enter;
use crate::engine::project::facts::reads_state;
use crate::model::access::SlotSet;
use crate::model::binding::conversion::Kind;
use crate::model::binding::mapping::{Over, Read};
use crate::model::contract::scan::{About, Member, Operator, ScanRoot};
use crate::model::contract::{EntityId, Shape, SlotId};
use crate::model::rule::filter::{Filter, FilterFault};
use crate::model::rule::{Compare, Derived, Expression};
use crate::model::snapshot::Snapshot;

/// Entities that a condition goes through, one inside the other: members, and what leads on from them.
const ENTITIES_DEEP_MAX: usize = 2;

/// How much one condition may say.
#[derive(Debug, Clone, Copy)]
pub struct ConditionLimits {
    /// Comparisons, all parts together.
    pub conditions_max: usize,
    /// Values in all lists of values together.
    pub values_max: usize,
}

/// A part of a condition that must hold.
#[derive(Debug, Clone)]
pub struct Conjunct {
    pub expression: Expression,
    /// What it reads of an entity, for facts ([`crate::engine::project::facts`]).
    pub reads: Vec<Selection>,
    /// How many of a thousand entities it is guessed to let through: nobody knows before they are asked.
    pub passes: u32,
    /// What it is not so of is no candidate at all.
    pub bounds: bool,
}

/// All that must hold.
#[derive(Debug, Clone, Default)]
pub struct Condition {
    pub conjuncts: Vec<Conjunct>,
    /// Everything that is compared, with what it stands in, of whatever entity.
    pub slots: SlotSet,
}

impl Condition {
    /// Reads a filter of the scan's entity: an object as its filter type has it, with the caller's variables in place.
    /// Null and absent say nothing.
    pub fn read(
        snapshot: &Snapshot,
        scan: &ScanRoot,
        filter: &Value,
        limits: ConditionLimits,
    ) -> Result<Self, RequestError> {
        if filter.is_null() {
            return Ok(Self::default());
        }
        let entity = &snapshot.contract.entity(scan.entity).name;
        let of_entity = scan.filter.of_entity(scan.entity);
        let name = of_entity.ok_or_else(|| invalid(format!("`{entity}` has no conditions")))?;
        let mut parts = Vec::new();
        conjuncts(filter, &mut parts)?;
        let mut condition = Self::default();
        let mut left = limits;
        for part in parts {
            let mut reading =
                Reading { snapshot, scan, left, path: Vec::new(), reads: Vec::new(), slots: SlotSet::new() };
            let read = reading.members(name, About::Entity(scan.entity), &part)?;
            left = reading.left;
            condition.slots.union(&reading.slots);
            let expression =
                Expression::filter(&read.filter, entity, &snapshot.contract).map_err(|fault| told(&fault))?;
            condition.conjuncts.push(Conjunct { expression, reads: reading.reads, passes: read.passes, bounds: false });
        }
        Ok(condition)
    }
}

impl Condition {
    /// Entities of these divisions alone: what is not listed is not bounded by the listing. An empty prefix holds all.
    pub fn within(
        &mut self,
        snapshot: &Snapshot,
        entity: EntityId,
        divisions: &[Division],
    ) -> Result<(), RequestError> {
        if divisions.iter().any(|division| division.prefix.as_str().is_empty()) {
            return Ok(());
        }
        let contract = &snapshot.contract;
        let Some(path) = contract.territory_path(entity) else { return Ok(()) };
        let starts = |division: &Division| {
            let start = Filter::StartsWith(division.prefix.as_str().to_owned());
            let around = |filter, slot: &SlotId| Filter::Field(contract.slot(*slot).name.to_string(), Box::new(filter));
            path.iter().rev().fold(start, around)
        };
        let filter = Filter::Any(divisions.iter().map(starts).collect());
        let name = &contract.entity(entity).name;
        let expression = Expression::filter(&filter, name, contract).map_err(|fault| told(&fault))?;
        let mut reads = Vec::new();
        enter_path(snapshot, &path, &mut reads, &mut self.slots);
        self.conjuncts.insert(0, Conjunct { expression, reads, passes: 999, bounds: true });
        Ok(())
    }
}

fn invalid(message: String) -> RequestError {
    RequestError::new(ErrorCode::ValidationFailed, message)
}

fn says_nothing(place: &str) -> RequestError {
    invalid(format!("`{place}` says nothing: an empty object is no condition; leave it out, or say what must be so"))
}

fn told(fault: &FilterFault) -> RequestError {
    invalid(format!("`where`, at `{}`: {}", fault.path.join("."), fault.message))
}

/// The members of a filter that must all hold, each as a filter of its own; `and` taken apart.
fn conjuncts(filter: &Value, into: &mut Vec<Map<String, Value>>) -> Result<(), RequestError> {
    let members: Vec<(&String, &Value)> =
        filter.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()).collect();
    if members.is_empty() {
        return Err(says_nothing("where"));
    }
    for (member, value) in members {
        match value {
            Value::Array(parts) if member == "and" && !parts.is_empty() => {
                parts.iter().try_for_each(|part| conjuncts(part, into))?;
            }
            _ => into.push(Map::from_iter([(member.clone(), value.clone())])),
        }
    }
    Ok(())
}

/// A part that was read, and how many of a thousand it is guessed to let through.
struct Part {
    filter: Filter,
    passes: u32,
}

struct Reading<'a> {
    snapshot: &'a Snapshot,
    scan: &'a ScanRoot,
    left: ConditionLimits,
    /// The slots from the entity to what is read.
    path: Vec<SlotId>,
    reads: Vec<Selection>,
    slots: SlotSet,
}

impl Reading<'_> {
    /// All members of one filter.
    fn members(&mut self, name: &str, about: About, members: &Map<String, Value>) -> Result<Part, RequestError> {
        let mut parts = Vec::new();
        for (member, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            parts.push(self.member(name, about, member, value)?);
        }
        all(parts).ok_or_else(|| says_nothing(&self.place()))
    }

    fn filter(&mut self, name: &str, about: About, filter: &Value) -> Result<Part, RequestError> {
        match filter {
            Value::Object(members) => self.members(name, about, members),
            _ => Err(says_nothing(&self.place())),
        }
    }

    fn member(&mut self, name: &str, about: About, member: &str, value: &Value) -> Result<Part, RequestError> {
        let contract = &self.snapshot.contract;
        let known = self.scan.filter.member(contract, name, member, about);
        let known = known.ok_or_else(|| invalid(format!("`{}` has no condition `{member}`", self.place())))?;
        match known {
            Member::And => {
                let parts = self.parts(name, about, value)?;
                all(parts).ok_or_else(|| says_nothing(&self.place()))
            }
            Member::Or => {
                let parts = self.parts(name, about, value)?;
                any(parts).ok_or_else(|| says_nothing(&self.place()))
            }
            Member::Not => {
                let part = self.filter(name, about, value)?;
                Ok(Part { filter: Filter::Not(Box::new(part.filter)), passes: 1000 - part.passes })
            }
            Member::Field { slot, about, filter } => self.field(slot, about, &filter, value),
            Member::Some(about, filter) => self.elements(about, &filter, value, Filter::Some, |_| 333),
            Member::Every(about, filter) => self.elements(about, &filter, value, Filter::Every, |passes| passes),
            Member::None(about, filter) => self.elements(about, &filter, value, Filter::None, |_| 667),
            Member::Count(about, filter) => {
                self.touch(false);
                self.elements(about, &filter, value, Filter::Count, |passes| passes)
            }
            Member::Operator(operator) => self.operator(operator, value),
        }
    }

    fn parts(&mut self, name: &str, about: About, list: &Value) -> Result<Vec<Part>, RequestError> {
        list.as_array().into_iter().flatten().map(|part| self.filter(name, about, part)).collect()
    }

    fn elements(
        &mut self,
        about: About,
        name: &str,
        value: &Value,
        make: fn(Box<Filter>) -> Filter,
        passes: fn(u32) -> u32,
    ) -> Result<Part, RequestError> {
        let part = self.filter(name, about, value)?;
        Ok(Part { filter: make(Box::new(part.filter)), passes: passes(part.passes) })
    }

    /// A field, and what must be so of it.
    fn field(&mut self, slot: SlotId, about: About, name: &str, value: &Value) -> Result<Part, RequestError> {
        let contract = &self.snapshot.contract;
        let field = contract.slot(slot);
        let goes_through =
            |slot: &&SlotId| matches!(contract.slot(**slot).shape, Shape::Entity(_) | Shape::EntityList(_));
        self.path.push(slot);
        if self.path.iter().filter(goes_through).count() > ENTITIES_DEEP_MAX {
            let place = self.place();
            let message = format!("`{place}` goes through more than {ENTITIES_DEEP_MAX} entities");
            return Err(RequestError::new(ErrorCode::LimitExceeded, message));
        }
        let read = if self.is_checklist(field.parent) && !matches!(&*field.name, "id" | "verdict") {
            let message =
                format!("`{}` tells how rules come to their verdict; compare `id` and `verdict`", self.place());
            Err(invalid(message))
        } else if self.is_ladder(field.parent) {
            self.level(slot, about, name, value)
        } else if self.is_section(slot) {
            self.section(slot, about, name, value)
        } else {
            self.filter(name, about, value)
        };
        self.path.pop();
        let part = read?;
        Ok(Part { filter: Filter::Field(field.name.to_string(), Box::new(part.filter)), passes: part.passes })
    }

    fn derived(&self, slot: Option<SlotId>) -> Option<&Derived> {
        let rule = slot.and_then(|slot| self.snapshot.derived_of(slot));
        rule.and_then(|rule| self.snapshot.rules.derived.get(rule))
    }

    fn is_ladder(&self, slot: Option<SlotId>) -> bool {
        matches!(self.derived(slot), Some(Derived::Ladder(_)))
    }

    fn is_checklist(&self, slot: Option<SlotId>) -> bool {
        matches!(self.derived(slot), Some(Derived::Checklist(_)))
    }

    /// Of a ladder, the level alone is a fact; which ones it may come to is known where not all is.
    fn level(&mut self, slot: SlotId, about: About, name: &str, value: &Value) -> Result<Part, RequestError> {
        if &*self.snapshot.contract.slot(slot).name != "level" {
            let message = format!("`{}` tells how rules come to their level; compare the `level`", self.place());
            return Err(invalid(message));
        }
        let part = self.filter(name, about, value)?;
        Ok(Part { filter: Filter::Whichever(Box::new(part.filter)), passes: part.passes })
    }

    /// An object that is nothing but its fields: nobody fills it as a whole.
    fn is_section(&self, slot: SlotId) -> bool {
        let filled = self.snapshot.bindings.provider(slot).is_some() || self.snapshot.derived_of(slot).is_some();
        !filled && self.snapshot.contract.slot(slot).shape == Shape::Object
    }

    /// A section exists where anything in it does.
    fn section(&mut self, slot: SlotId, about: About, name: &str, value: &Value) -> Result<Part, RequestError> {
        let Some(Value::Bool(exists)) = value.get("exists") else { return self.filter(name, about, value) };
        let there = self.anything(slot);
        if there.is_empty() {
            return Err(invalid(format!("`{}` holds nothing that `exists` could be asked of", self.place())));
        }
        let there = Filter::Any(there);
        let exists = Part { filter: if *exists { there } else { Filter::Not(Box::new(there)) }, passes: 500 };
        let mut rest = value.as_object().cloned().unwrap_or_default();
        rest.remove("exists");
        if rest.values().all(Value::is_null) {
            return Ok(exists);
        }
        let rest = self.members(name, about, &rest)?;
        all(vec![exists, rest]).ok_or_else(|| says_nothing(&self.place()))
    }

    fn is_of_instances(&self, slot: SlotId) -> bool {
        let bindings = &self.snapshot.bindings;
        let entry = bindings.provider(slot).and_then(|endpoint| bindings.endpoint(endpoint).mapping.entry(slot));
        matches!(entry.map(|entry| &entry.read), Some(Read::Objects { over: Over::Instances, .. }))
    }

    /// What stands in a section, each of which makes it exist.
    fn anything(&mut self, section: SlotId) -> Vec<Filter> {
        let mut there = Vec::new();
        for child in self.snapshot.contract.slot(section).children.clone() {
            let field = self.snapshot.contract.slot(child);
            if field.hidden || matches!(field.shape, Shape::ItemStates | Shape::Entity(_) | Shape::EntityList(_)) {
                continue;
            }
            // Every rule of one is told, whatever is held.
            if self.is_checklist(Some(child)) {
                continue;
            }
            self.path.push(child);
            let inside = match field.shape {
                Shape::Object if self.is_section(child) => self.anything(child),
                // One element for each instance, whatever it holds.
                Shape::ObjectList if self.is_of_instances(child) => Vec::new(),
                Shape::LeafList(_) | Shape::ObjectList => {
                    self.touch(false);
                    vec![Filter::Count(Box::new(Filter::Compare(Compare::Gt, Value::from(0))))]
                }
                _ => {
                    self.touch(true);
                    vec![Filter::Exists(true)]
                }
            };
            self.path.pop();
            let name = field.name.to_string();
            there.extend(inside.into_iter().map(|filter| Filter::Field(name.clone(), Box::new(filter))));
        }
        there
    }

    fn operator(&mut self, operator: Operator, value: &Value) -> Result<Part, RequestError> {
        let place = self.place();
        let too_much = |what: &str| {
            let message = format!("`where` has too many {what}, from `{place}` on; ask for less at once");
            RequestError::new(ErrorCode::LimitExceeded, message)
        };
        let left = self.left.conditions_max.checked_sub(1);
        self.left.conditions_max = left.ok_or_else(|| too_much("comparisons"))?;
        self.touch(operator == Operator::Exists);
        let days = || value.as_u64().and_then(|days| u32::try_from(days).ok()).unwrap_or(u32::MAX);
        let (filter, passes) = match operator {
            Operator::Compare(compare) => {
                let passes = match compare {
                    Compare::Eq => self.one_of(1),
                    Compare::Ne => 1000 - self.one_of(1),
                    _ => 333,
                };
                (Filter::Compare(compare, value.clone()), passes)
            }
            Operator::In => {
                let values = value.as_array().cloned().unwrap_or_default();
                let left = self.left.values_max.checked_sub(values.len());
                self.left.values_max = left.ok_or_else(|| too_much("values"))?;
                let passes = self.one_of(values.len());
                (Filter::In(values), passes)
            }
            Operator::StartsWith => (Filter::StartsWith(value.as_str().unwrap_or_default().to_owned()), 333),
            Operator::Exists => (Filter::Exists(value.as_bool() == Some(true)), 500),
            Operator::WithinDays => (Filter::WithinDays(days()), 333),
            Operator::DaysAgo => (Filter::DaysAgo(days()), 667),
            Operator::ItemState => (self.states(value)?, 100),
        };
        Ok(Part { filter, passes })
    }

    /// The state of the field that the path ends at; it is read as a whole.
    fn states(&mut self, value: &Value) -> Result<Filter, RequestError> {
        let (snapshot, contract) = (self.snapshot, &self.snapshot.contract);
        let Some((item, above)) = self.path.split_last().filter(|(slot, _)| contract.is_item(**slot)) else {
            let message = format!("`{}` is no item of the portrait, so it has no `itemState`", self.place());
            return Err(invalid(message));
        };
        let level = above.iter().fold(&mut self.reads, |level, slot| &mut enter(level, snapshot, *slot).children);
        let state = reads_state(enter(level, snapshot, *item));
        if !level.contains(&state) {
            level.push(state);
        }
        self.touch(true);
        let states = value.get("in").and_then(Value::as_array).into_iter().flatten();
        let known = [ItemState::Answered, ItemState::NoRecord, ItemState::Conflict];
        let state = |value: &Value| known.into_iter().find(|state| Some(state.as_str()) == value.as_str());
        let states: Option<Vec<ItemState>> = states.map(state).collect();
        let states = states.ok_or_else(|| {
            let place = self.place();
            invalid(format!("`itemState` of `{place}`: only ANSWERED, NO_RECORD and CONFLICT are known to be so"))
        })?;
        Ok(Filter::State(states))
    }

    /// So many values of those that the field may have, of a thousand.
    fn one_of(&self, count: usize) -> u32 {
        let contract = &self.snapshot.contract;
        let values = match self.path.last().map(|slot| &contract.slot(*slot).shape) {
            Some(Shape::Leaf(Kind::Enum(values)) | Shape::LeafList(Kind::Enum(values))) => values.len(),
            Some(Shape::Leaf(Kind::Boolean)) => 2,
            _ => 20,
        };
        u32::try_from(count.saturating_mul(1000) / values.max(1)).unwrap_or(1000).min(1000)
    }

    /// Enters what the path ends at into what is read. `whole`: with everything in it, but for entities.
    fn touch(&mut self, whole: bool) {
        let level = enter_path(self.snapshot, &self.path, &mut self.reads, &mut self.slots);
        let Some(slot) = self.path.last() else { return };
        if let Shape::Entity(entity) | Shape::EntityList(entity) = self.snapshot.contract.slot(*slot).shape {
            // Who is there is known of those whose relations are asked.
            enter(level, self.snapshot, self.snapshot.contract.entity(entity).key);
        } else if whole {
            enter_all(self.snapshot, *slot, level, &mut self.slots);
        }
    }

    /// Where in the condition: names from the entity.
    fn place(&self) -> String {
        let names: Vec<&str> = self.path.iter().map(|slot| &*self.snapshot.contract.slot(*slot).name).collect();
        if names.is_empty() { "where".to_owned() } else { names.join(".") }
    }
}

/// Enters slots, one inside the other; what stands in the last of them is to be entered there.
pub(super) fn enter_path<'r>(
    snapshot: &Snapshot,
    path: &[SlotId],
    reads: &'r mut Vec<Selection>,
    slots: &mut SlotSet,
) -> &'r mut Vec<Selection> {
    path.iter().fold(reads, |level, slot| {
        slots.insert(*slot);
        &mut enter(level, snapshot, *slot).children
    })
}

/// Everything inside a slot but for other entities.
fn enter_all(snapshot: &Snapshot, slot: SlotId, reads: &mut Vec<Selection>, slots: &mut SlotSet) {
    for child in &snapshot.contract.slot(slot).children {
        let field = snapshot.contract.slot(*child);
        if field.hidden || matches!(field.shape, Shape::Entity(_) | Shape::EntityList(_) | Shape::ItemStates) {
            continue;
        }
        slots.insert(*child);
        let selection = enter(reads, snapshot, *child);
        enter_all(snapshot, *child, &mut selection.children, slots);
    }
}

fn all(parts: Vec<Part>) -> Option<Part> {
    let passes = parts.iter().fold(1000, |passes, part| passes * part.passes / 1000);
    joined(parts, passes, Filter::All)
}

fn any(parts: Vec<Part>) -> Option<Part> {
    let passes = 1000 - parts.iter().fold(1000, |fails, part| fails * (1000 - part.passes) / 1000);
    joined(parts, passes, Filter::Any)
}

fn joined(mut parts: Vec<Part>, passes: u32, join: fn(Vec<Filter>) -> Filter) -> Option<Part> {
    if parts.len() < 2 {
        return parts.pop();
    }
    Some(Part { filter: join(parts.into_iter().map(|part| part.filter).collect()), passes })
}
