//! Lists: of scalars, of value objects, of entities; long ones cut by `from`, `to` and `first`.

use std::borrow::Cow;

use serde_json::Value;

use super::element::Told;
use super::errors::{Cause, Segment};
use super::fetched::{Fetched, PickedPart};
use super::held::{is_held, is_value_held};
use super::pick::{pick, text_of};
use super::read::{Filling, RowView, over_elements, pieces};
use super::typed;
use super::write::{Mode, Writer, Written};
use crate::base::code::{ErrorCode, ItemState};
use crate::engine::convert::{Converted, convert};
use crate::engine::frame::Failure;
use crate::engine::operation::Selection;
use crate::model::access::hand::Clause;
use crate::model::binding::Endpoint;
use crate::model::binding::conversion::Conversion;
use crate::model::binding::mapping::{Mapping, Over, Read, Test, Types};
use crate::model::contract::{Shape, Slot, SlotId};

/// Elements of a long list without `first`.
const FIRST_DEFAULT: usize = 100;

/// How a list of objects is read.
#[derive(Clone, Copy)]
pub(super) struct Reading<'m> {
    pub over: Over,
    pub inside: &'m Mapping,
    pub only: Option<&'m Test>,
    pub types: Option<&'m Types>,
}

/// How a list of scalars is read.
#[derive(Clone, Copy)]
pub(super) struct Values<'m> {
    pub conversion: &'m Conversion,
    pub split: Option<&'m str>,
    /// Where the list stands.
    pub mapping: &'m Mapping,
}

/// Whether an element is an object, as those of a list of objects are; null is none, and no error.
pub fn is_object(element: &str) -> bool {
    element.trim_start().starts_with('{')
}

/// Whether an element counts: it is an object, and the binding's `only` holds.
pub fn counts(element: &str, mapping: &Mapping, only: Option<&Test>) -> bool {
    if !is_object(element) {
        return false;
    }
    let Some(test) = only else { return true };
    let wanted: Vec<bool> = (0..mapping.terms.len()).map(|term| term == test.at).collect();
    let text = pick(element, mapping, &wanted)
        .ok()
        .and_then(|picked| picked.get(test.at).and_then(text_of))
        .unwrap_or_else(|| "null".to_owned());
    test.is.contains(&text) != test.negated
}

/// The elements in the records of all parts, and how many records there were; a part that failed fails the list, for
/// half a list is not a list.
fn over_parts<'p>(
    fetched: &Fetched<'_>,
    parts: &'p [PickedPart<'_>],
    over: Over,
) -> Result<(Vec<&'p str>, usize), Failure> {
    let (mut found, mut count) = (Vec::new(), 0);
    for part in parts {
        for (record, picked) in part.records.as_ref().map_err(|failure| *failure)? {
            count += 1;
            let bad = |_| Failure::unavailable(ErrorCode::SourceBadAnswer, fetched.endpoint.source);
            found.extend(over_elements(record, picked, over, fetched.entry.required).map_err(bad)?);
        }
    }
    Ok((found, count))
}

pub(super) fn scalars(
    writer: &mut Writer<'_>,
    fetched: &Fetched<'_>,
    parts: &[PickedPart<'_>],
    over: Over,
    reading: Values<'_>,
    held: &[Clause],
) -> Written {
    let (found, records) = match over_parts(fetched, parts, over) {
        Ok(found) => found,
        Err(failure) => return writer.failed(failure),
    };
    let written = values(writer, Told { source: fetched.endpoint.source, part: None }, &found, reading, held);
    if records == 0 && written.state == ItemState::Answered { Written::no_record() } else { written }
}

/// A list of scalars; nulls are left out. One that does not fit fails the list, for half a list is not a list.
pub(super) fn values(
    writer: &mut Writer<'_>,
    told: Told<'_>,
    found: &[&str],
    Values { conversion, split, mapping }: Values<'_>,
    held: &[Clause],
) -> Written {
    let start = writer.out.len();
    writer.out.push(b'[');
    let mut count = 0;
    let left = |element: &Cow<'_, str>| !is_value_held(element, conversion, Some(mapping), held);
    for element in found.iter().flat_map(|element| pieces(element, split)).filter(left) {
        let before = writer.out.len();
        if count > 0 {
            writer.out.push(b',');
        }
        match convert(&element, conversion, &mut writer.out) {
            Ok(Converted::Null) => writer.out.truncate(before),
            Ok(_) => count += 1,
            Err(_) => {
                writer.out.truncate(start);
                return writer.failed(told.bad(ErrorCode::ValueInvalid));
            }
        }
    }
    writer.out.push(b']');
    Written::answered()
}

pub(super) fn objects(
    writer: &mut Writer<'_>,
    view: &RowView<'_>,
    slot: &Slot,
    fetched: &Fetched<'_>,
    parts: &[PickedPart<'_>],
    reading: Reading<'_>,
    selection: &Selection,
) -> Written {
    let endpoint = fetched.endpoint;
    if reading.over == Over::Instances {
        return instances(writer, view, endpoint, parts, reading.inside, selection);
    }
    let (mut found, mut records) = match over_parts(fetched, parts, reading.over) {
        Ok(found) => found,
        Err(failure) => return writer.failed(failure),
    };
    let held = writer.held(view, slot.id);
    if reading.over == Over::Records && !held.is_empty() {
        // A record that is withheld is none.
        found.retain(|element| !is_object(element) || !is_held(element, reading.inside, slot.id, held));
        records = found.len();
    }
    let told = Told { source: endpoint.source, part: None };
    let written = elements(writer, view, slot, told, &found, reading, selection);
    if records == 0 && written.state == ItemState::Answered { Written::no_record() } else { written }
}

/// One element an instance of the source, whether it answered or not.
fn instances(
    writer: &mut Writer<'_>,
    view: &RowView<'_>,
    endpoint: &Endpoint,
    parts: &[PickedPart<'_>],
    inside: &Mapping,
    selection: &Selection,
) -> Written {
    writer.out.push(b'[');
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            writer.out.push(b',');
        }
        writer.journal.enter(Segment::Index(at));
        let told = Told { source: endpoint.source, part: Some((endpoint, part.part)) };
        writer.element(view, "{}", inside, told, &selection.children);
        writer.journal.leave();
    }
    writer.out.push(b']');
    if parts.is_empty() { Written::no_record() } else { Written::answered() }
}

/// Elements that are there as JSON, those that count, cut if the list is a long one. One that is no object fails it.
pub(super) fn elements(
    writer: &mut Writer<'_>,
    view: &RowView<'_>,
    slot: &Slot,
    told: Told<'_>,
    found: &[&str],
    Reading { inside, only, types, .. }: Reading<'_>,
    selection: &Selection,
) -> Written {
    if found.iter().any(|element| !is_object(element) && element.trim() != "null") {
        return writer.failed(told.bad(ErrorCode::SourceBadAnswer));
    }
    let mut counted = Vec::new();
    let held = writer.held(view, slot.id);
    let left = |element: &&str| counts(element, inside, only) && !is_held(element, inside, slot.id, held);
    for raw in found.iter().copied().filter(left) {
        match types.map(|types| typed::type_of(raw, inside, types)).transpose() {
            Ok(of) => counted.push(Element { raw, of }),
            Err(_) => return writer.failed(told.bad(ErrorCode::ValueInvalid)),
        }
    }
    // Elements of a type that is refused are left out before anything is counted.
    let partly = types.is_some() && writer.refuse_types(view, slot);
    counted.retain(|element| element.of.is_none_or(|of| writer.permitted(view, of)));
    let truncated = match cut(writer, view, slot, &mut counted, inside, selection) {
        Ok(truncated) => truncated,
        Err(written) => {
            writer.null();
            return written;
        }
    };
    writer.out.push(b'[');
    for (at, element) in counted.iter().enumerate() {
        if at > 0 {
            writer.out.push(b',');
        }
        writer.journal.enter(Segment::Index(at));
        let selected = element.of.map_or(&*selection.children, |of| typed::selected_of(selection, of));
        writer.element(view, element.raw, inside, Told { part: None, ..told }, selected);
        writer.journal.leave();
    }
    writer.out.push(b']');
    // That all there is was left out must look like that there is nothing.
    if partly && counted.is_empty() { Written::refused() } else { Written { truncated, ..Written::answered() } }
}

/// One element that counts, and which type it is of where the list's type is an interface or a union.
struct Element<'e> {
    raw: &'e str,
    of: Option<SlotId>,
}

/// Applies `from`, `to` and `first` to a long list, latest first; says whether `first` left any out.
fn cut(
    writer: &mut Writer<'_>,
    view: &RowView<'_>,
    slot: &Slot,
    found: &mut Vec<Element<'_>>,
    inside: &Mapping,
    selection: &Selection,
) -> Result<bool, Written> {
    let (Some(rule), Mode::Caller { variables, .. }) = (&slot.list, writer.mode) else { return Ok(false) };
    let argument = |name: &str| selection.argument(name, variables);
    let (from, to) = (argument("from").as_str(), argument("to").as_str());
    if let Some(name) = &rule.date {
        let contract = &writer.snapshot.contract;
        // Each type of an interface or a union has its own.
        let holders: Vec<SlotId> = match contract.is_abstract(slot.id) {
            true => slot.children.iter().copied().filter(|of| writer.permitted(view, *of)).collect(),
            false => vec![slot.id],
        };
        let dates = holders.iter().filter_map(|holder| contract.child(slot.entity, Some(*holder), name));
        let untold = dates.into_iter().find(|date| !view.row.rights.may_compare(*date));
        if let Some(date) = untold.filter(|_| from.is_some() || to.is_some()) {
            // To cut by a date that may not be read would tell the date.
            writer.refuse(date);
            return Err(Written::refused());
        }
        let day = |element: &Element<'_>| {
            let holder = element.of.unwrap_or(slot.id);
            let date = contract.child(slot.entity, Some(holder), name);
            date.map_or_else(String::new, |date| date_of(element.raw, inside, date))
        };
        let mut dated: Vec<(String, Element<'_>)> = found.drain(..).map(|element| (day(&element), element)).collect();
        let within = |date: &str| {
            from.is_none_or(|from| until(date, from) >= until(from, date))
                && to.is_none_or(|to| until(date, to) <= until(to, date))
        };
        if from.is_some() || to.is_some() {
            dated.retain(|(date, _)| !date.is_empty() && within(date));
        }
        // Stable: elements of one date stay in the department's order; all of them, where the order would tell the date.
        if untold.is_none() {
            dated.sort_by(|(a, _), (b, _)| b.cmp(a));
        }
        *found = dated.into_iter().map(|(_, element)| element).collect();
    }
    let first = match argument("first") {
        Value::Null => FIRST_DEFAULT.min(rule.first_max),
        value => match value.as_u64().and_then(|first| usize::try_from(first).ok()) {
            Some(first) if first <= rule.first_max => first,
            _ => {
                writer.journal.note(Cause::First(rule.first_max));
                return Err(Written::refused());
            }
        },
    };
    let truncated = found.len() > first;
    found.truncate(first);
    Ok(truncated)
}

/// A date as far as the other goes: `2021-03-10` against `2021-03` is `2021-03`.
fn until<'d>(date: &'d str, other: &str) -> &'d str {
    date.get(..other.len().min(date.len())).unwrap_or(date)
}

/// The element's date in the contract's form; empty where there is none.
fn date_of(element: &str, inside: &Mapping, date: SlotId) -> String {
    let wanted = inside.wanted_terms(|slot| slot == date);
    let Some(Read::Scalar { at, conversion }) = inside.entry(date).map(|entry| &entry.read) else {
        return String::new();
    };
    let mut out = Vec::new();
    let raw = pick(element, inside, &wanted).ok().and_then(|picked| picked.get(*at));
    match raw.map(|raw| convert(raw, conversion, &mut out)) {
        Some(Ok(_)) => {
            std::str::from_utf8(&out).ok().and_then(text_of).filter(|text| text != "null").unwrap_or_default()
        }
        _ => String::new(),
    }
}

/// An entity or a list of entities: the rows of the frame below.
pub(super) fn entities(writer: &mut Writer<'_>, view: &RowView<'_>, slot: &Slot, selection: &Selection) -> Written {
    let below = view.frame.and_then(|frame| {
        let at = view.node.children.iter().position(|child| child.slot == slot.id)?;
        frame.children.get(at)?.as_ref()
    });
    let list = matches!(slot.shape, Shape::EntityList(_));
    if let Err(failure) = view.entities(slot.id) {
        return writer.failed(failure);
    }
    let Some(below) = below else {
        writer.null();
        return Written::no_record();
    };
    let answers: Vec<Option<&[_]>> = below.frame.answers.iter().map(|rows| Some(rows.as_slice())).collect();
    let range = below.ranges.get(view.at).cloned().unwrap_or_default();
    let node = view.plan.node(below.frame.node);
    let row_view = |at: usize| {
        let row = below.frame.rows.get(at)?;
        let mut below_view =
            RowView::new(view.snapshot, view.plan, node, row, at, &answers, crate::engine::plan::Stage::Answer);
        below_view.frame = Some(&below.frame);
        Some(below_view)
    };
    if !list {
        let Some(below) = range.clone().next().and_then(row_view) else {
            writer.null();
            return Written::no_record();
        };
        if writer.is_caller() && below.row.rights.relations.is_empty() {
            writer.journal.note(Cause::NotFound);
            writer.null();
            return Written::refused();
        }
        writer.entity_object(&below, &selection.children);
        return Written::answered();
    }
    writer.out.push(b'[');
    let mut count = 0;
    for below in range.clone().filter_map(row_view) {
        if writer.is_caller() && below.row.rights.relations.is_empty() {
            continue;
        }
        if count > 0 {
            writer.out.push(b',');
        }
        writer.journal.enter(Segment::Index(count));
        writer.entity_object(&below, &selection.children);
        writer.journal.leave();
        count += 1;
    }
    writer.out.push(b']');
    if range.is_empty() && named_nothing(view, slot) { Written::no_record() } else { Written::answered() }
}

/// The source holds no record that could have named any.
fn named_nothing(view: &RowView<'_>, slot: &Slot) -> bool {
    match view.filling(slot.id) {
        Filling::Answer(fetched) => {
            fetched.parts().is_ok_and(|parts| parts.iter().all(|part| part.outcome.as_ref().is_ok_and(Vec::is_empty)))
        }
        _ => true,
    }
}
