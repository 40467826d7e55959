//! What several departments hold: what each says of it, and whether two say the same.
//!
//! Two lists are the same where each element of one is found as often in the other, as far as both bindings read their
//! fields. Only what is whole is compared: a list that failed, was cut, is masked or withheld in part says nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::fetched::Fetched;
use super::read::{Filling, RowView};
use super::write::{Mode, Writer, Written};
use crate::base::code::{ErrorCode, ItemState};
use crate::base::decimal;
use crate::engine::frame::Failure;
use crate::engine::operation::{Argument, ArgumentValue, Selection, What};
use crate::model::access::hand::HeldCodes;
use crate::model::binding::conversion::Kind;
use crate::model::binding::mapping::{Entry, Mapping, Over, Read};
use crate::model::contract::{Contract, Shape, Slot, SlotId};

/// What one department says of a slot.
pub(super) struct Said {
    /// In the contract's JSON, without response keys.
    value: Value,
    /// Of a list of objects: the fields that it was asked for and the department holds.
    fields: Vec<Selection>,
}

/// What was written aside.
pub(super) struct Aside {
    pub written: Written,
    pub text: String,
    /// Nothing of it failed, was refused or is shown in part.
    pub is_whole: bool,
}

impl<'a> Writer<'a> {
    /// For rules and conditions: what was written since `start`, unless another department that holds the slot says
    /// otherwise. One that does not answer, or holds nothing, says nothing.
    pub(super) fn agreed(
        &mut self,
        view: &RowView<'_>,
        slot: &Slot,
        selection: &Selection,
        start: usize,
        written: Written,
    ) -> Written {
        let mode = self.mode;
        if !mode.hears_all() {
            return written;
        }
        let bindings = &view.snapshot.bindings;
        let others = bindings.also(slot.id);
        if others.is_empty() || !written.has_value() {
            return written;
        }
        let contract = &view.snapshot.contract;
        let mut own = None;
        for endpoint in others.iter().map(|id| bindings.endpoint(*id)) {
            let kept = |id: SlotId| mode.is_kept_by(view, id, endpoint.source);
            let Some(entry) = endpoint.mapping.entry(slot.id).filter(|_| !kept(slot.id)) else { continue };
            let fetched = view.fetched(endpoint, slot.id, entry);
            if fetched.fetch.is_none() || !is_compared(entry) {
                continue;
            }
            if own.is_none() {
                own = self.said_here(view, slot, selection, start);
            }
            let Some(own) = &own else { return written };
            let may = |id: SlotId| !mode.is_kept(view, id) && !kept(id);
            let other = self.said_by(view, slot, &fetched, asked_of(contract, slot, selection, entry, &may));
            if other.is_some_and(|other| own.differs(&other, contract, slot)) {
                self.out.truncate(start);
                let conflict = Failure { state: ItemState::Conflict, code: ErrorCode::Conflict, source: None };
                return self.failed(conflict);
            }
        }
        written
    }

    /// Why one of those who hold the slot too, and would be heard, says nothing: whether all agree is not known then.
    pub(super) fn silent(&self, view: &RowView<'_>, slot: SlotId) -> Option<Failure> {
        let bindings = &view.snapshot.bindings;
        let heard = bindings.also(slot).iter().map(|id| bindings.endpoint(*id));
        heard.filter(|endpoint| !self.mode.is_kept_by(view, slot, endpoint.source)).find_map(|endpoint| {
            let entry = endpoint.mapping.entry(slot)?;
            let fetched = view.fetched(endpoint, slot, entry);
            fetched.fetch.filter(|_| is_compared(entry))?;
            match fetched.parts() {
                Ok(parts) => parts.iter().find_map(|part| part.outcome.as_ref().err().copied()),
                Err(failure) => Some(failure),
            }
        })
    }

    /// What the department that answers for the slot says of it, which was written since `start`.
    fn said_here(&mut self, view: &RowView<'_>, slot: &Slot, selection: &Selection, start: usize) -> Option<Said> {
        let mode = self.mode;
        if matches!(slot.shape, Shape::Leaf(_)) {
            return Said::of(self.out.get(start..).unwrap_or_default(), Vec::new());
        }
        let wanted = match view.filling(slot.id) {
            Filling::Answer(Fetched { entry, .. }) | Filling::Embedded(_, entry, _) => {
                let may = |id: SlotId| !mode.is_kept(view, id);
                asked_of(&view.snapshot.contract, slot, selection, entry, &may)
            }
            _ => return None,
        };
        if self.is_cut_by_codes(view, slot) || says_nothing(view, slot) {
            return None;
        }
        let aside = self.aside(|writer| writer.row_slot(view, slot, &wanted));
        aside.said(wanted)
    }

    /// What another department says of it.
    fn said_by<'v>(
        &mut self,
        view: &RowView<'v>,
        slot: &Slot,
        fetched: &Fetched<'v>,
        wanted: Selection,
    ) -> Option<Said> {
        let list = !matches!(slot.shape, Shape::Leaf(_));
        if list && (self.is_cut_by_codes(view, slot) || lists_nothing(view, fetched)) {
            return None;
        }
        let aside = self.aside(|writer| writer.fetched(view, slot, fetched, &wanted));
        aside.said(wanted)
    }

    /// Writes for comparison alone: neither the answer nor its journal keeps any of it.
    pub(super) fn aside(&mut self, write: impl FnOnce(&mut Self) -> Written) -> Aside {
        let start = self.out.len();
        // Its own: that of the answer may be full.
        let journal = std::mem::take(&mut self.journal);
        let (masked, undated) = (self.masked.replace(BTreeSet::new()), std::mem::take(&mut self.undated));
        let written = write(self);
        let text = String::from_utf8(self.out.get(start..).unwrap_or_default().to_vec()).unwrap_or_default();
        let shown = std::mem::replace(&mut self.masked, masked).is_none_or(|masked| masked.is_empty());
        let dated = !std::mem::replace(&mut self.undated, undated);
        let noted = !std::mem::replace(&mut self.journal, journal).notes().is_empty();
        let is_whole = shown && dated && !noted && written.state == ItemState::Answered;
        self.discard(start);
        Aside { written, text, is_whole }
    }

    /// Whether codes are withheld from this reader in a list or in what is inside it: what is left out of one list and
    /// not of the other would tell what it is.
    pub(super) fn is_cut_by_codes(&self, view: &RowView<'_>, slot: &Slot) -> bool {
        let contract = &view.snapshot.contract;
        self.held_codes(view).is_some_and(|codes| contract.below(slot.id).iter().any(|slot| codes.contains_key(slot)))
    }

    /// Whether everything that is withheld from this reader by its code can be told in an endpoint's list.
    pub(super) fn tells_codes(&self, view: &RowView<'_>, slot: &Slot, mapping: &Mapping) -> bool {
        let contract = &view.snapshot.contract;
        let Some(held) = self.held_codes(view) else { return true };
        let clauses = contract.below(slot.id).into_iter().filter_map(|slot| held.get(&slot)).flatten();
        clauses.flat_map(|clause| clause.iter()).all(|codes| mapping.reads(codes.slot))
    }

    fn held_codes<'v>(&self, view: &'v RowView<'_>) -> Option<&'v HeldCodes>
    where
        'a: 'v,
    {
        match self.mode {
            Mode::Caller { .. } | Mode::Condition(_) => Some(&view.rights.held.codes),
            Mode::Rules(unread) => Some(&unread.codes),
            Mode::Gateway => None,
        }
    }
}

impl Aside {
    /// What was said, where it is whole.
    pub(super) fn said(&self, asked: Selection) -> Option<Said> {
        let whole = self.is_whole && !self.written.truncated;
        whole.then(|| Said::of(self.text.as_bytes(), asked.children)).flatten()
    }
}

impl Said {
    fn of(json: &[u8], fields: Vec<Selection>) -> Option<Self> {
        Some(Self { value: serde_json::from_slice(json).ok()?, fields })
    }

    /// Whether two say otherwise, as far as both say anything.
    pub(super) fn differs(&self, other: &Self, contract: &Contract, slot: &Slot) -> bool {
        let fields = common(&self.fields, &other.fields);
        // Where no field was asked for, how many there are was.
        let counted = self.fields.is_empty() && other.fields.is_empty();
        if slot.shape == Shape::ObjectList && fields.is_empty() && !counted {
            return false;
        }
        canonical(contract, slot, &fields, &self.value) != canonical(contract, slot, &fields, &other.value)
    }
}

/// Whether an endpoint's reading of a slot can be held against another's.
pub(crate) fn is_compared(entry: &Entry) -> bool {
    match &entry.read {
        Read::Scalar { .. } => true,
        Read::Scalars { over, .. } => *over != Over::Instances,
        Read::Objects { over, inside, types, .. } => *over != Over::Instances && types.is_none() && !inside.of_entities,
        _ => false,
    }
}

/// What one endpoint is asked for of a slot: of a list of objects, the fields of it that are selected, that it reads and
/// that `may` be had.
pub(super) fn asked_of(
    contract: &Contract,
    slot: &Slot,
    selection: &Selection,
    entry: &Entry,
    may: &impl Fn(SlotId) -> bool,
) -> Selection {
    let children = match &entry.read {
        Read::Objects { inside, .. } => fields_of(contract, &selection.children, inside, may),
        _ => Vec::new(),
    };
    Selection { key: Arc::clone(&slot.name), what: What::Slot(slot.id), arguments: Vec::new(), children }
}

fn fields_of(
    contract: &Contract,
    selections: &[Selection],
    mapping: &Mapping,
    may: &impl Fn(SlotId) -> bool,
) -> Vec<Selection> {
    let mut found: Vec<Selection> = Vec::new();
    for selection in selections {
        let What::Slot(id) = selection.what else { continue };
        if !may(id) {
            continue;
        }
        let slot = contract.slot(id);
        let below = |inside: &Mapping| fields_of(contract, &selection.children, inside, may);
        let children = match (&slot.shape, mapping.entry(id).map(|entry| &entry.read)) {
            (Shape::Leaf(_) | Shape::LeafList(_), Some(_)) => Vec::new(),
            // Its fields are bound by paths of their own.
            (Shape::Object, None) => below(mapping),
            (Shape::Object, Some(Read::Object { inside, types: None, .. })) => below(inside),
            (Shape::ObjectList, Some(Read::Objects { inside, types: None, .. })) => below(inside),
            _ => continue,
        };
        if children.is_empty() && matches!(slot.shape, Shape::Object | Shape::ObjectList) {
            continue;
        }
        let key = Arc::clone(&slot.name);
        add(&mut found, Selection { key, what: What::Slot(id), arguments: Vec::new(), children });
    }
    found
}

/// Adds a field; one that is selected twice, under two names, stands once.
fn add(into: &mut Vec<Selection>, field: Selection) {
    match into.iter_mut().find(|known| known.what == field.what) {
        Some(known) => field.children.into_iter().for_each(|child| add(&mut known.children, child)),
        None => into.push(field),
    }
}

/// What both have.
fn common(one: &[Selection], other: &[Selection]) -> Vec<Selection> {
    let both = |field: &Selection| {
        let of_other = other.iter().find(|other| other.what == field.what)?;
        let children = common(&field.children, &of_other.children);
        let nothing = children.is_empty() && !field.children.is_empty();
        let (key, what) = (Arc::clone(&field.key), field.what.clone());
        (!nothing).then(|| Selection { key, what, arguments: Vec::new(), children })
    };
    one.iter().filter_map(both).collect()
}

/// A value in a form in which two that are the same are equal: amounts as numbers, lists in one order.
fn canonical(contract: &Contract, slot: &Slot, fields: &[Selection], value: &Value) -> Value {
    let sorted = |mut list: Vec<Value>| {
        list.sort_by_cached_key(Value::to_string);
        Value::Array(list)
    };
    match (&slot.shape, value) {
        (Shape::Leaf(kind), value) => canonical_leaf(kind, value),
        (Shape::LeafList(kind), Value::Array(list)) => {
            sorted(list.iter().map(|value| canonical_leaf(kind, value)).collect())
        }
        (Shape::ObjectList, Value::Array(list)) => {
            sorted(list.iter().map(|element| canonical_object(contract, fields, element)).collect())
        }
        (Shape::Object, value) => canonical_object(contract, fields, value),
        (_, value) => value.clone(),
    }
}

fn canonical_object(contract: &Contract, fields: &[Selection], value: &Value) -> Value {
    let Value::Object(members) = value else { return value.clone() };
    let member = |field: &Selection| {
        let What::Slot(id) = field.what else { return None };
        let value = members.get(&*field.key).unwrap_or(&Value::Null);
        Some((field.key.to_string(), canonical(contract, contract.slot(id), &field.children, value)))
    };
    let members = fields.iter().filter_map(member).collect::<Map<_, _>>();
    // An object of nothing, and nothing in place of an object, say the same.
    let nothing = !members.is_empty() && members.values().all(Value::is_null);
    if nothing { Value::Null } else { Value::Object(members) }
}

fn canonical_leaf(kind: &Kind, value: &Value) -> Value {
    match (kind, value) {
        (Kind::Decimal, Value::String(text)) => {
            let number = decimal::exact(text).map(|number| number.normalize().to_string());
            number.map_or_else(|| value.clone(), Value::String)
        }
        _ => value.clone(),
    }
}

/// The dates that a list, and those inside it, are cut by.
pub(super) fn cuts<'c>(contract: &'c Contract, slot: &Slot) -> impl Iterator<Item = SlotId> + 'c {
    let dates = move |list: SlotId| {
        let name = contract.slot(list).list.as_ref().and_then(|rule| rule.date.as_deref());
        // Of an interface or a union, each type has its own.
        let holders = std::iter::once(list).chain(contract.slot(list).children.iter().copied());
        let dates = holders.filter_map(move |holder| contract.child(contract.slot(list).entity, Some(holder), name?));
        dates.collect::<Vec<_>>()
    };
    contract.below(slot.id).into_iter().flat_map(dates)
}

/// The arguments of a long list but `first`: as many elements as the contract allows.
pub(super) fn uncut(slot: &Slot, selection: &Selection, variables: &Map<String, Value>) -> Vec<Argument> {
    let Some(rule) = &slot.list else { return Vec::new() };
    let given = |name: &str| {
        let value = selection.argument(name, variables).clone();
        Argument { name: name.into(), value: ArgumentValue::Given(value) }
    };
    let most = Argument { name: "first".into(), value: ArgumentValue::Given(rule.first_max.into()) };
    vec![given("from"), given("to"), most]
}

/// Whether none of the records has such a list at all: that is not to say that there is nothing in it.
pub(super) fn lists_nothing<'v>(view: &RowView<'v>, fetched: &Fetched<'v>) -> bool {
    let (Read::Objects { over: Over::Array(at), .. } | Read::Scalars { over: Over::Array(at), .. }) =
        &fetched.entry.read
    else {
        return false;
    };
    let Ok(parts) = fetched.picked(view) else { return true };
    let mut records = parts.iter().filter_map(|part| part.records.as_ref().ok()).flatten();
    !records.any(|(_, picked)| picked.get(*at).is_some_and(|raw| !raw.is_null()))
}

/// As [`lists_nothing`], of who answers for the slot.
fn says_nothing(view: &RowView<'_>, slot: &Slot) -> bool {
    match view.filling(slot.id) {
        Filling::Answer(fetched) => lists_nothing(view, &fetched),
        _ => false,
    }
}
