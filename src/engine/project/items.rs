//! `items`: the state and origin of every item, told from the same reading that fills its field.

use std::borrow::Cow;

use jiff::Timestamp;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Map, Value};

use super::agreed::{Said, asked_of, cuts, is_compared, lists_nothing, uncut};
use super::fetched::Fetched;
use super::list::first_of;
use super::pick::text_of;
use super::read::{Filling, RowView};
use super::write::{Inside, LeftOut, Mode, Writer, Written};
use crate::base::code::ItemState;
use crate::base::json::{Json, JsonValue};
use crate::engine::frame::RowAnswer;
use crate::engine::operation::{Selection, What};
use crate::engine::plan::items_of;
use crate::model::binding::connection::Instance;
use crate::model::binding::mapping::{Entry, Mapping};
use crate::model::binding::{Source, SourceId};
use crate::model::contract::{ItemId, Shape, Slot, SlotId};

/// Times are shown at +08:00.
const OFFSET: Offset = Offset::constant(8);

/// What one source says of an item.
struct Claim {
    /// The item, or a value inside it.
    slot: SlotId,
    source: SourceId,
    /// As text; a list as its JSON.
    value: Option<String>,
    /// What others are held against.
    said: Option<Said>,
    valid_on: Option<String>,
    at: Option<Timestamp>,
}

/// Who holds a slot, and how its record is read.
struct Holder<'v> {
    source: SourceId,
    mapping: &'v Mapping,
    entry: &'v Entry,
    /// None: the record that named the entity holds it.
    fetched: Option<Fetched<'v>>,
}

/// Writes the list of `ItemInfo`.
pub(super) fn write(writer: &mut Writer<'_>, view: &RowView<'_>, selection: &Selection, beside: &[Selection]) {
    let items = items_of(writer.snapshot, view.node.entity, selection, beside);
    let claims_wanted =
        selection.children.iter().any(|child| matches!(&child.what, What::Meta(name) if &**name == "claims"));
    writer.out.push(b'[');
    for (at, item) in items.into_iter().enumerate() {
        if !writer.afford() {
            break;
        }
        if at > 0 {
            writer.out.push(b',');
        }
        one(writer, view, item, selection, beside, claims_wanted);
    }
    writer.out.push(b']');
}

fn one(
    writer: &mut Writer<'_>,
    view: &RowView<'_>,
    id: ItemId,
    selection: &Selection,
    beside: &[Selection],
    claims_wanted: bool,
) {
    let snapshot = writer.snapshot;
    let item = snapshot.contract.item(id);
    let slot = snapshot.contract.slot(item.slot);
    // What is written aside is not in the answer.
    let masked = writer.masked.take();
    let mut written = dry(writer, view, slot, beside);
    let claims = if claims_wanted && written.has_value() { claims(writer, view, slot, beside) } else { Vec::new() };
    writer.masked = masked;
    let differ = |one: &Claim, other: &Claim| {
        let of = snapshot.contract.slot(one.slot);
        let said = one.said.as_ref().zip(other.said.as_ref()).filter(|_| one.slot == other.slot);
        said.is_some_and(|(one, other)| one.differs(other, &snapshot.contract, of))
    };
    if claims.iter().enumerate().any(|(at, one)| claims.iter().skip(at + 1).any(|other| differ(one, other))) {
        written.state = ItemState::Conflict;
    }
    let source = source_of(view, item.slot).map(|source| snapshot.bindings.source(source));
    writer.out.push(b'{');
    for (at, field) in selection.children.iter().enumerate() {
        if at > 0 {
            writer.out.push(b',');
        }
        writer.string(&field.key);
        writer.out.push(b':');
        match &field.what {
            What::Typename(name) => writer.string(name),
            What::Meta(name) if &**name == "claims" => write_claims(writer, &claims, field),
            What::Meta(name) => info(writer, name, view, slot, (&item.no, &item.zh), written, source),
            _ => writer.null(),
        }
    }
    writer.out.push(b'}');
}

/// Writes the item aside, for its state alone.
fn dry(writer: &mut Writer<'_>, view: &RowView<'_>, slot: &Slot, beside: &[Selection]) -> Written {
    let (start, mark) = (writer.out.len(), writer.journal.mark());
    let whole;
    let selection = match selected(beside, slot.id) {
        Some(selection) => selection,
        None => {
            whole = everything(writer, slot.id);
            &whole
        }
    };
    let written = writer.slot(&Inside::Row(view), slot, selection);
    writer.discard(start);
    writer.journal.forget(mark);
    written
}

fn selected(selections: &[Selection], slot: SlotId) -> Option<&Selection> {
    selections.iter().find_map(|selection| match selection.what {
        What::Slot(id) if id == slot => Some(selection),
        What::Slot(_) => selected(&selection.children, slot),
        _ => None,
    })
}

/// A slot with all its fields; of entities, that they are there.
fn everything(writer: &Writer<'_>, id: SlotId) -> Selection {
    let contract = &writer.snapshot.contract;
    let slot = contract.slot(id);
    // What is classed apart inside an item is not asked for with the item's state.
    let children =
        slot.children.iter().filter(|child| contract.slot(**child).class == slot.class || slot.class.is_none());
    Selection {
        key: std::sync::Arc::clone(&slot.name),
        what: What::Slot(id),
        arguments: Vec::new(),
        children: children.map(|child| everything(writer, *child)).collect(),
    }
}

fn info(
    writer: &mut Writer<'_>,
    name: &str,
    view: &RowView<'_>,
    slot: &Slot,
    (no, zh): (&str, &str),
    written: Written,
    source: Option<&Source>,
) {
    match (name, source) {
        ("no", _) => writer.string(no),
        ("path", _) => writer.string(&slot.path),
        ("zh", _) => writer.string(zh),
        ("state", _) => writer.string(written.state.as_str()),
        ("truncated", _) => writer.out.extend_from_slice(if written.truncated { b"true" } else { b"false" }),
        ("source", Some(source)) => writer.string(&source.id),
        ("sourceTitle", Some(source)) => match instance_of(view, slot.id) {
            Some(instance) => writer.string(&instance.title),
            None => writer.string(&source.title),
        },
        ("territory", Some(source)) => {
            let cover = instance_of(view, slot.id).and_then(|instance| instance.cover.as_ref());
            let prefixes = cover.map_or(&*source.territory, |cover| &*cover.prefixes);
            let _ = serde_json::to_writer(&mut writer.out, prefixes);
        }
        ("fallback", _) => {
            let fallback = written.has_value() && fallback(view, slot.id);
            writer.out.extend_from_slice(if fallback { b"true" } else { b"false" });
        }
        ("fetchedAt", Some(_)) => match fetched_at(view, slot.id) {
            Some(at) => writer.string(&shown(at)),
            None => writer.null(),
        },
        ("validOn", _) => match valid_on(view, slot.id).filter(|_| written.has_value()) {
            Some(day) => writer.string(&day),
            None => writer.null(),
        },
        ("code", _) => match written.failure {
            Some(failure) => writer.string(failure.code.as_str()),
            _ if let Some(LeftOut::Undecided(failure)) = written.left_out => writer.string(failure.code.as_str()),
            _ if written.state == ItemState::Refused || written.left_out.is_some() => {
                writer.string(crate::base::code::ErrorCode::Forbidden.as_str())
            }
            _ => writer.null(),
        },
        ("message", _) => match super::answer::reason(writer, view, slot.id, written) {
            Some(text) => writer.string(&text),
            None => writer.null(),
        },
        _ => writer.null(),
    }
}

/// The source that answers for a slot, or for the first part of an object that the caller may have.
fn source_of(view: &RowView<'_>, slot: SlotId) -> Option<SourceId> {
    match view.filling(slot) {
        Filling::Answer(fetched) => Some(fetched.endpoint.source),
        Filling::Embedded(.., source) => Some(source),
        Filling::Key => view
            .snapshot
            .bindings
            .establishes
            .get(view.node.entity.index())
            .copied()
            .flatten()
            .map(|endpoint| view.snapshot.bindings.endpoint(endpoint).source),
        Filling::Parts => {
            let parts = &view.snapshot.contract.slot(slot).children;
            let shown = parts.iter().filter(|part| view.node.shown.contains(**part));
            shown.chain(parts).find_map(|part| source_of(view, *part))
        }
        Filling::Derived(_) | Filling::Nobody => None,
    }
}

/// The instance that was asked, where instances divide their source's territory.
fn instance_of<'v>(view: &RowView<'v>, slot: SlotId) -> Option<&'v Instance> {
    match view.filling(slot) {
        Filling::Answer(fetched) => {
            let source = view.snapshot.bindings.source(fetched.endpoint.source);
            let part = fetched.parts().ok()?.first().filter(|_| source.divided.is_some())?;
            source.connections.get(part.instance)?.instance.as_ref()
        }
        Filling::Parts => {
            let parts = &view.snapshot.contract.slot(slot).children;
            let shown = parts.iter().filter(|part| view.node.shown.contains(**part));
            // As `source_of` takes the source.
            let first = shown.chain(parts).find(|part| source_of(view, **part).is_some())?;
            instance_of(view, *first)
        }
        _ => None,
    }
}

/// Whether a fallback answered for it, or for a part of it.
fn fallback(view: &RowView<'_>, slot: SlotId) -> bool {
    match view.filling(slot) {
        Filling::Answer(fetched) => fetched.parts().is_ok_and(|parts| parts.iter().any(|part| part.fallback)),
        Filling::Parts => {
            let parts = &view.snapshot.contract.slot(slot).children;
            parts.iter().any(|part| view.node.shown.contains(*part) && fallback(view, *part))
        }
        _ => false,
    }
}

fn fetched_at(view: &RowView<'_>, slot: SlotId) -> Option<Timestamp> {
    match view.filling(slot) {
        Filling::Answer(fetched) => fetched.parts().ok()?.iter().map(|part| part.at).max(),
        Filling::Parts => view.snapshot.contract.slot(slot).children.iter().find_map(|child| fetched_at(view, *child)),
        _ => None,
    }
}

fn valid_on(view: &RowView<'_>, slot: SlotId) -> Option<String> {
    match view.filling(slot) {
        Filling::Answer(fetched) => fetched.valid_on(view),
        Filling::Parts => view.snapshot.contract.slot(slot).children.iter().find_map(|child| valid_on(view, *child)),
        _ => None,
    }
}

fn shown(at: Timestamp) -> String {
    at.to_zoned(TimeZone::fixed(OFFSET)).strftime("%Y-%m-%dT%H:%M:%S%:z").to_string()
}

/// What each source that holds the item says, as text; of an object, what each says of the values inside it that several
/// hold.
fn claims(writer: &mut Writer<'_>, view: &RowView<'_>, slot: &Slot, beside: &[Selection]) -> Vec<Claim> {
    if slot.shape != Shape::Object {
        return claims_of(writer, view, slot, beside);
    }
    let mut all = Vec::new();
    for child in slot.children.iter().map(|child| view.snapshot.contract.slot(*child)) {
        let held = child.shape == Shape::Object || !view.snapshot.bindings.also(child.id).is_empty();
        if held && view.node.shown.contains(child.id) {
            all.extend(claims(writer, view, child, beside));
        }
    }
    all
}

/// Only of values that the caller sees unmasked.
fn claims_of(writer: &mut Writer<'_>, view: &RowView<'_>, slot: &Slot, beside: &[Selection]) -> Vec<Claim> {
    if !writer.permitted(view, slot.id) || view.rights.masks.contains_key(&slot.id) {
        return Vec::new();
    }
    let bindings = &view.snapshot.bindings;
    let whole;
    let selection = match selected(beside, slot.id) {
        Some(selection) => selection,
        None => {
            whole = everything(writer, slot.id);
            &whole
        }
    };
    let endpoints = bindings.provider(slot.id).into_iter().chain(bindings.also(slot.id).iter().copied());
    let answered = endpoints.filter_map(|id| {
        let endpoint = bindings.endpoint(id);
        let entry = endpoint.mapping.entry(slot.id)?;
        let fetched = view.fetched(endpoint, slot.id, entry);
        fetched.fetch?;
        Some(Holder { source: endpoint.source, mapping: &endpoint.mapping, entry, fetched: Some(fetched) })
    });
    // A listing tells of what its records hold, and nobody else is asked for it.
    let listed = match view.filling(slot.id) {
        Filling::Embedded(mapping, entry, source) => Some(Holder { source, mapping, entry, fetched: None }),
        _ => None,
    };
    let holders: Vec<Holder<'_>> = listed.into_iter().chain(answered).collect();
    holders.into_iter().filter_map(|holder| claim(writer, view, slot, &holder, selection)).collect()
}

fn claim<'v>(
    writer: &mut Writer<'_>,
    view: &RowView<'v>,
    slot: &Slot,
    holder: &Holder<'v>,
    selection: &Selection,
) -> Option<Claim> {
    let Mode::Caller { variables, .. } = writer.mode else { return None };
    let (rights, contract) = (view.rights, &view.snapshot.contract);
    let Holder { source, mapping, entry, fetched } = holder;
    let kept = |id: SlotId| rights.held.also.get(&id).is_some_and(|sources| sources.contains(source));
    if !is_compared(entry) || kept(slot.id) {
        return None;
    }
    let list = !matches!(slot.shape, Shape::Leaf(_));
    // What is masked is nobody's claim; nor is a list in which withheld elements cannot be told.
    let may = |id: SlotId| {
        let section = contract.slot(id).class.is_none();
        (section || rights.slots.contains(id)) && !rights.masks.contains_key(&id) && !kept(id)
    };
    // To cut a list by a date, or to put it in the order of one, would tell the date that this source withholds.
    if cuts(contract, slot).any(kept) {
        return None;
    }
    let asked = asked_of(contract, slot, selection, entry, &may);
    if list && !writer.tells_codes(view, slot, mapping) {
        return None;
    }
    if slot.shape == Shape::ObjectList && asked.children.is_empty() {
        return None;
    }
    let asked = Selection { arguments: uncut(slot, selection, variables), ..asked };
    let mut aside = writer.aside(|writer| match fetched {
        Some(fetched) => writer.fetched(view, slot, fetched, &asked),
        None => writer.row_slot(view, slot, &asked),
    });
    // A single value says itself whether it is there, also where the journal of the answer is full.
    aside.is_whole = match list {
        true => aside.is_whole && !fetched.as_ref().is_some_and(|fetched| lists_nothing(view, fetched)),
        false => aside.written.state == ItemState::Answered,
    };
    let value = match list {
        true => first_elements(slot, &aside.text, selection, variables),
        false => text_of(&aside.text).map(Cow::into_owned),
    };
    let value = value.filter(|_| aside.is_whole);
    let said = if list && writer.is_cut_by_codes(view, slot) { None } else { aside.said(asked) };
    let at = match fetched.as_ref().map(|fetched| fetched.answer) {
        Some(RowAnswer::Parts(parts)) => parts.iter().map(|part| part.at).max(),
        _ => None,
    };
    let valid_on = fetched.as_ref().and_then(|fetched| fetched.valid_on(view)).filter(|_| value.is_some());
    Some(Claim { slot: slot.id, source: *source, value, said, valid_on, at })
}

/// A list as the caller gets it: as many elements as `first` asks for, the latest first already.
fn first_elements(slot: &Slot, json: &str, selection: &Selection, variables: &Map<String, Value>) -> Option<String> {
    let list = Json::read(json.to_owned()).ok()?;
    let mut elements: Vec<&str> = list.root().elements().map(JsonValue::raw).collect();
    if let Some(rule) = &slot.list {
        elements.truncate(first_of(rule, selection.argument("first", variables))?);
    }
    Some(format!("[{}]", elements.join(",")))
}

fn write_claims(writer: &mut Writer<'_>, claims: &[Claim], selection: &Selection) {
    writer.out.push(b'[');
    for (at, claim) in claims.iter().enumerate() {
        if at > 0 {
            writer.out.push(b',');
        }
        let source = writer.snapshot.bindings.source(claim.source);
        writer.out.push(b'{');
        for (at, field) in selection.children.iter().enumerate() {
            if at > 0 {
                writer.out.push(b',');
            }
            writer.string(&field.key);
            writer.out.push(b':');
            let text = match &field.what {
                What::Typename(name) => Some(name.to_string()),
                What::Meta(name) => match &**name {
                    "path" => Some(writer.snapshot.contract.slot(claim.slot).path.to_string()),
                    "source" => Some(source.id.to_string()),
                    "sourceTitle" => Some(source.title.to_string()),
                    "value" => claim.value.clone(),
                    "validOn" => claim.valid_on.clone(),
                    "fetchedAt" => claim.at.map(shown),
                    _ => None,
                },
                _ => None,
            };
            match text {
                Some(text) => writer.string(&text),
                None => writer.null(),
            }
        }
        writer.out.push(b'}');
    }
    writer.out.push(b']');
}
