//! Lists: of scalars, of value objects, of entities; long ones cut by `from`, `to` and `first`.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::element::Told;
use super::errors::{Cause, Segment};
use super::fetched::{Fetched, PickedPart, Wanted, remarks_inside, silent_at};
use super::held::{is_held, is_value_held};
use super::pick::{pick_one, text_of};
use super::read::{Filling, RowView, over_elements, pieces};
use super::typed;
use super::write::{LeftOut, Mode, Writer, Written};
use crate::base::code::{ErrorCode, ItemState};
use crate::base::json::JsonValue;
use crate::engine::convert::{Converted, convert};
use crate::engine::frame::{Failure, RowSubjects};
use crate::engine::operation::Selection;
use crate::model::access::hand::Clause;
use crate::model::binding::Endpoint;
use crate::model::binding::conversion::Conversion;
use crate::model::binding::mapping::{Mapping, Over, Read, Test, Types};
use crate::model::contract::{ListRule, Shape, Slot, SlotId};

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
    /// The source shows its values in part.
    pub masked: bool,
}

/// Whether an element counts: it is an object, and the binding's `only` holds.
pub fn counts(element: JsonValue<'_>, mapping: &Mapping, only: Option<&Test>) -> bool {
    if !element.is_object() {
        return false;
    }
    let Some(test) = only else { return true };
    let text = pick_one(element, mapping, test.at).and_then(|value| text_of(value.raw()));
    let text = text.unwrap_or(Cow::Borrowed("null"));
    test.is.iter().any(|is| *is == text) != test.negated
}

/// The elements in the records of all parts, and how many records there were; a part that failed fails the list, for
/// half a list is not a list.
fn over_parts<'p>(
    fetched: &Fetched<'_>,
    parts: &'p [PickedPart<'_>],
    over: Over,
) -> Result<(Vec<JsonValue<'p>>, usize), Failure> {
    let (mut found, mut count) = (Vec::new(), 0);
    for part in parts {
        for (record, picked) in part.records.as_ref().map_err(|failure| *failure)? {
            count += 1;
            let bad = |_| Failure::unavailable(ErrorCode::SourceBadAnswer, fetched.endpoint.source);
            found.extend(over_elements(*record, picked, over, fetched.entry.required).map_err(bad)?);
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
    if let Some(failure) = over.term().and_then(|at| silent_at(fetched, parts, at)).filter(|_| found.is_empty()) {
        return writer.failed(failure);
    }
    let told = Told { source: fetched.endpoint.source, part: None, remarks: &[] };
    let written = values(writer, told, &found, reading, held);
    if records == 0 && written.state == ItemState::Answered { Written::no_record() } else { written }
}

/// A list of scalars; nulls are left out. One that does not fit fails the list, for half a list is not a list.
pub(super) fn values(
    writer: &mut Writer<'_>,
    told: Told<'_>,
    found: &[JsonValue<'_>],
    Values { conversion, split, mapping, masked }: Values<'_>,
    held: &[Clause],
) -> Written {
    let start = writer.out.len();
    writer.out.push(b'[');
    let mut count = 0;
    let left = |element: &Cow<'_, str>| !is_value_held(element, conversion, Some(mapping), held);
    for element in found.iter().flat_map(|element| pieces(element.raw(), split)).filter(left) {
        let before = writer.out.len();
        if count > 0 {
            writer.out.push(b',');
        }
        if masked {
            match writer.masked_below(&element, conversion, told.source) {
                Written { state: ItemState::NoRecord, .. } => writer.out.truncate(before),
                Written { failure: None, .. } => count += 1,
                unknown => {
                    writer.out.truncate(start);
                    writer.null();
                    return unknown;
                }
            }
            continue;
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
    if masked && count > 0 { Written { state: ItemState::Masked, ..Written::answered() } } else { Written::answered() }
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
    if writer.is_caller()
        && let Some(subjects) = view.row.subjects_by(endpoint.key)
    {
        return one_by_one(writer, view, slot, fetched, parts, reading, (selection, subjects));
    }
    let (mut found, mut records) = match over_parts(fetched, parts, reading.over) {
        Ok(found) => found,
        Err(failure) => return writer.failed(failure),
    };
    let held = writer.held(view, slot.id);
    if reading.over == Over::Records && !held.is_empty() {
        // A record that is withheld is none.
        found.retain(|element| !element.is_object() || !is_held(*element, reading.inside, slot.id, held));
        records = found.len();
    }
    if let Some(failure) = reading.over.term().and_then(|at| silent_at(fetched, parts, at)).filter(|_| found.is_empty())
    {
        return writer.failed(failure);
    }
    let remarks = remarks_inside(fetched, parts, reading.over.term());
    let told = Told { source: endpoint.source, part: None, remarks: &remarks };
    let written = elements(writer, view, slot, told, &found, reading, selection);
    if records == 0 && written.state == ItemState::Answered { Written::no_record() } else { written }
}

/// A list whose records tell of single entities: those of which the caller may have it, each as far as it may.
fn one_by_one<'v>(
    writer: &mut Writer<'_>,
    view: &RowView<'v>,
    slot: &Slot,
    fetched: &Fetched<'_>,
    parts: &[PickedPart<'_>],
    reading: Reading<'_>,
    (selection, subjects): (&Selection, &'v RowSubjects),
) -> Written {
    let views: HashMap<&str, RowView<'v>> = subjects
        .rights
        .iter()
        .filter(|(_, rights)| rights.slots.contains(slot.id))
        .map(|(key, rights)| (&**key, view.of_subject(rights)))
        .collect();
    let (mut found, mut records) = (Vec::new(), 0);
    for part in parts {
        let of_part = match &part.records {
            Ok(of_part) => of_part,
            Err(failure) => return writer.failed(*failure),
        };
        for ((record, picked), key) in of_part.iter().zip(&part.part.keys) {
            let Some(view) = views.get(&**key) else { continue };
            // A record that is withheld is none.
            if reading.over == Over::Records
                && record.is_object()
                && is_held(*record, reading.inside, slot.id, writer.held(view, slot.id))
            {
                continue;
            }
            records += 1;
            match over_elements(*record, picked, reading.over, fetched.entry.required) {
                Ok(elements) => found.extend(elements.into_iter().map(|raw| Element { raw, view, of: None })),
                Err(_) => {
                    let failure = Failure::unavailable(ErrorCode::SourceBadAnswer, fetched.endpoint.source);
                    return writer.failed(failure);
                }
            }
        }
    }
    let remarks = remarks_inside(fetched, parts, reading.over.term());
    let told = Told { source: fetched.endpoint.source, part: None, remarks: &remarks };
    let mut written = elements_of(writer, view, slot, told, found, reading, selection);
    let whole = view.rights.slots.contains(slot.id);
    if whole && records == 0 && written.state == ItemState::Answered {
        written = Written::no_record();
    }
    // Of part of them, that they have no record is not that there is none.
    if !whole {
        let undecided = subjects.undecided;
        writer.journal.note(undecided.map_or(Cause::LeftOut(slot.id), Cause::Failed));
        written.left_out = Some(undecided.map_or(LeftOut::Refused, LeftOut::Undecided));
    }
    written
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
        let told = Told { source: endpoint.source, part: Some((endpoint, part.part)), remarks: &[] };
        writer.element(view, JsonValue::no_members(), inside, told, &selection.children);
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
    found: &[JsonValue<'_>],
    reading: Reading<'_>,
    selection: &Selection,
) -> Written {
    let found = found.iter().map(|raw| Element { raw: *raw, view, of: None }).collect();
    elements_of(writer, view, slot, told, found, reading, selection)
}

/// One element of a list, as JSON, and whose rights it is shown under.
#[derive(Clone, Copy)]
struct Element<'e, 'v> {
    raw: JsonValue<'e>,
    view: &'e RowView<'v>,
    /// Which type it is of, where the list's type is an interface or a union.
    of: Option<SlotId>,
}

fn elements_of(
    writer: &mut Writer<'_>,
    view: &RowView<'_>,
    slot: &Slot,
    told: Told<'_>,
    found: Vec<Element<'_, '_>>,
    Reading { inside, only, types, .. }: Reading<'_>,
    selection: &Selection,
) -> Written {
    if found.iter().any(|element| !element.raw.is_object() && !element.raw.is_null()) {
        return writer.failed(told.bad(ErrorCode::SourceBadAnswer));
    }
    let mut counted = Vec::with_capacity(found.len());
    for element in found {
        let held = writer.held(element.view, slot.id);
        if !counts(element.raw, inside, only) || is_held(element.raw, inside, slot.id, held) {
            continue;
        }
        match types.map(|types| typed::type_of(element.raw, inside, types)).transpose() {
            Ok(of) => counted.push(Element { of, ..element }),
            Err(_) => return writer.failed(told.bad(ErrorCode::ValueInvalid)),
        }
    }
    // Elements of a type that is refused are left out before anything is counted.
    let partly = types.is_some() && !writer.in_part(view, slot.id) && writer.refuse_types(view, slot);
    counted.retain(|element| element.of.is_none_or(|of| writer.permitted(element.view, of)));
    let mut truncated = match cut(writer, view, slot, &mut counted, inside, selection) {
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
        truncated |= writer.element(element.view, element.raw, inside, Told { part: None, ..told }, selected).truncated;
        writer.journal.leave();
    }
    writer.out.push(b']');
    // That all there is was left out must look like that there is nothing.
    if partly && counted.is_empty() { Written::refused() } else { Written { truncated, ..Written::answered() } }
}

/// Applies `from`, `to` and `first` to a long list, latest first; says whether `first` left any out.
fn cut(
    writer: &mut Writer<'_>,
    view: &RowView<'_>,
    slot: &Slot,
    found: &mut Vec<Element<'_, '_>>,
    inside: &Mapping,
    selection: &Selection,
) -> Result<bool, Written> {
    let (Some(rule), Mode::Caller { variables, .. }) = (&slot.list, writer.mode) else { return Ok(false) };
    let argument = |name: &str| selection.argument(name, variables);
    let (from, to) = (argument("from").as_str(), argument("to").as_str());
    if let Some(name) = &rule.date {
        let contract = &writer.snapshot.contract;
        let date = |holder: SlotId| contract.child(slot.entity, Some(holder), name);
        let untold = untold_date(writer, view, slot, found, date);
        if let Some(date) = untold.filter(|_| from.is_some() || to.is_some()) {
            // To cut by a date that may not be read would tell the date.
            writer.refuse(date);
            return Err(Written::refused());
        }
        let day = |element: &Element<'_, '_>| {
            let date = date(element.of.unwrap_or(slot.id));
            date.map_or_else(String::new, |date| date_of(element.raw, inside, date))
        };
        let mut dated: Vec<(String, Element<'_, '_>)> =
            found.drain(..).map(|element| (day(&element), element)).collect();
        let within = |date: &str| {
            from.is_none_or(|from| until(date, from) >= until(from, date))
                && to.is_none_or(|to| until(date, to) <= until(to, date))
        };
        if from.is_some() || to.is_some() {
            let unsure = |date: &str| {
                let of_bound =
                    |bound: Option<&str>| bound.is_some_and(|bound| bound.starts_with(date) && bound != date);
                date.is_empty() || of_bound(from) || of_bound(to)
            };
            writer.undated |= dated.iter().any(|(date, _)| unsure(date));
            dated.retain(|(date, _)| !date.is_empty() && within(date));
        }
        // Stable: elements of one date stay in the department's order; all of them, where the order would tell the date.
        if untold.is_none() {
            dated.sort_by(|(a, _), (b, _)| b.cmp(a));
        }
        *found = dated.into_iter().map(|(_, element)| element).collect();
    }
    let Some(first) = first_of(rule, argument("first")) else {
        writer.journal.note(Cause::First(rule.first_max));
        return Err(Written::refused());
    };
    let truncated = found.len() > first;
    found.truncate(first);
    Ok(truncated)
}

/// How many elements of a long list `first` asks for; none: more than the contract allows.
pub(super) fn first_of(rule: &ListRule, first: &Value) -> Option<usize> {
    match first {
        Value::Null => Some(FIRST_DEFAULT.min(rule.first_max)),
        value => value.as_u64().and_then(|first| usize::try_from(first).ok()).filter(|first| *first <= rule.first_max),
    }
}

/// A date that elements would be cut by and the caller may not have in full: to cut by it would tell it. Each type of an
/// interface or a union has its own, and in a list that is given one by one each element its own rights.
fn untold_date(
    writer: &Writer<'_>,
    view: &RowView<'_>,
    slot: &Slot,
    found: &[Element<'_, '_>],
    date: impl Fn(SlotId) -> Option<SlotId>,
) -> Option<SlotId> {
    let untold = |view: &RowView<'_>, holder: SlotId| date(holder).filter(|date| !view.rights.may_compare(*date));
    if writer.in_part(view, slot.id) {
        return found.iter().find_map(|element| untold(element.view, element.of.unwrap_or(slot.id)));
    }
    match writer.snapshot.contract.is_abstract(slot.id) {
        true => slot.children.iter().filter(|of| writer.permitted(view, **of)).find_map(|of| untold(view, *of)),
        false => untold(view, slot.id),
    }
}

/// A date as far as the other goes: `2021-03-10` against `2021-03` is `2021-03`.
fn until<'d>(date: &'d str, other: &str) -> &'d str {
    date.get(..other.len().min(date.len())).unwrap_or(date)
}

/// The element's date in the contract's form; empty where there is none.
fn date_of(element: JsonValue<'_>, inside: &Mapping, date: SlotId) -> String {
    let Some(Read::Scalar { at, conversion }) = inside.entry(date).map(|entry| &entry.read) else {
        return String::new();
    };
    let mut out = Vec::new();
    match pick_one(element, inside, *at).map(|raw| convert(raw.raw(), conversion, &mut out)) {
        Some(Ok(_)) => std::str::from_utf8(&out)
            .ok()
            .and_then(text_of)
            .filter(|text| text != "null")
            .unwrap_or_default()
            .into_owned(),
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
    let range = below.and_then(|below| below.ranges.get(view.at)).cloned().unwrap_or_default();
    // Those that are there were named by this very answer, but for those that relations went through.
    let known = !range.is_empty() && view.node.via != Some(slot.id) && view.row.over_quota.is_empty();
    let named = match known {
        true => Vec::new(),
        false => match view.entities(slot.id) {
            Ok(named) => named,
            Err(failure) => return writer.failed(failure),
        },
    };
    let Some(below) = below else {
        // Asked for its state alone: the list is there, whoever stands in it.
        writer.null();
        let there = list && !(named.is_empty() && named_nothing(view, slot));
        return if there { Written::answered() } else { Written::no_record() };
    };
    let answers: Vec<Option<&[_]>> = below.frame.answers.iter().map(|rows| Some(rows.as_slice())).collect();
    let node = view.plan.node(below.frame.node);
    let wanted = Wanted::default();
    let row_view = |at: usize| {
        let row = below.frame.rows.get(at)?;
        let mut below_view =
            RowView::new(view.snapshot, view.plan, node, row, at, &answers, crate::engine::plan::Stage::Answer);
        (below_view.frame, below_view.wanted) = (Some(&below.frame), Some(&wanted));
        Some(below_view)
    };
    if !list {
        let Some(below) = range.clone().next().and_then(row_view) else {
            writer.null();
            return Written::no_record();
        };
        return match writer.finds(below.row) {
            Ok(true) => {
                writer.entity_object(&below, &selection.children);
                Written::answered()
            }
            Ok(false) => {
                writer.null();
                if !writer.is_caller() {
                    return Written::no_record();
                }
                writer.journal.note(Cause::NotFound);
                Written::refused()
            }
            Err(failure) => writer.failed(failure),
        };
    }
    // Half a list is not a list.
    let rows = below.frame.rows.get(range.clone()).unwrap_or_default();
    if let Some(failure) = rows.iter().find_map(|row| writer.finds(row).err()) {
        return writer.failed(failure);
    }
    writer.out.push(b'[');
    let mut count = 0;
    for below in range.clone().filter_map(row_view) {
        if writer.finds(below.row) == Ok(false) {
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
        Filling::Answer(fetched) => fetched
            .parts()
            .is_ok_and(|parts| parts.iter().all(|part| part.outcome.as_ref().is_ok_and(|records| records.is_empty()))),
        _ => true,
    }
}
