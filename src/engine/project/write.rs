//! Writing entities, objects and values straight into the answer.
//!
//! One writer serves two readers. For the caller ([`Mode::Caller`]) it writes only what the entity's relations give,
//! masked where they give it masked, and notes why anything is null. For the gateway's own rules ([`Mode::Gateway`])
//! it writes everything that was read for them, and leaves out what is not available.

use std::sync::Arc;

use super::errors::{Cause, Journal, Segment};
use super::pick::{Picked, pick};
use super::read::{Filling, RowView, parts, pieces};
use super::{derived, items, list};
use crate::base::code::{ErrorCode, ItemState};
use crate::engine::authorize::Asking;
use crate::engine::convert::combine::combine;
use crate::engine::convert::convert;
use crate::engine::execute::frame::{Failure, Part, RowAnswer};
use crate::engine::operation::{Selection, What};
use crate::model::binding::Endpoint;
use crate::model::binding::conversion::{Combine, Conversion, Kind};
use crate::model::binding::mapping::{Entry, Mapping, Outcome, Read};
use crate::model::contract::{Shape, Slot, SlotId};
use crate::model::mask;
use crate::model::snapshot::Snapshot;

/// For whom is written.
#[derive(Clone, Copy)]
pub enum Mode<'a> {
    Caller { asking: &'a Asking, variables: &'a serde_json::Map<String, serde_json::Value> },
    Gateway,
}

/// Writes JSON and keeps the journal of what is missing.
pub struct Writer<'a> {
    pub(super) snapshot: &'a Snapshot,
    pub(super) mode: Mode<'a>,
    pub(super) out: Vec<u8>,
    pub(super) journal: Journal,
}

/// What came of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    pub state: ItemState,
    pub failure: Option<Failure>,
    pub truncated: bool,
}

impl Written {
    pub fn answered() -> Self {
        Self { state: ItemState::Answered, failure: None, truncated: false }
    }

    pub fn no_record() -> Self {
        Self { state: ItemState::NoRecord, failure: None, truncated: false }
    }

    pub fn refused() -> Self {
        Self { state: ItemState::Refused, failure: None, truncated: false }
    }

    pub fn failed(failure: Failure) -> Self {
        Self { state: failure.state, failure: Some(failure), truncated: false }
    }

    pub fn has_value(self) -> bool {
        matches!(self.state, ItemState::Answered | ItemState::Masked)
    }
}

/// Where an object's fields are read from.
pub(super) enum Inside<'i, 'a> {
    /// An entity, at its top or in one of its sections.
    Row(&'i RowView<'a>),
    /// One JSON value: an element of a list, an object of a record.
    Element {
        view: &'i RowView<'a>,
        raw: &'i str,
        mapping: &'i Mapping,
        picked: &'i Picked<'i>,
        part: Option<(&'i Endpoint, &'i Part)>,
    },
}

impl<'a> Writer<'a> {
    pub fn new(snapshot: &'a Snapshot, mode: Mode<'a>) -> Self {
        Self { snapshot, mode, out: Vec::with_capacity(4096), journal: Journal::default() }
    }

    pub fn into_bytes(self) -> Vec<u8> {
        self.out
    }

    pub(super) fn is_caller(&self) -> bool {
        matches!(self.mode, Mode::Caller { .. })
    }

    pub fn first_failure(&self) -> Option<Failure> {
        self.journal.first_failure()
    }

    /// Whether this reader may have the slot of this entity.
    pub(super) fn permitted(&self, view: &RowView<'_>, slot: SlotId) -> bool {
        !self.is_caller() || view.row.rights.slots.contains(slot)
    }

    /// An entity's selected fields.
    pub fn entity_object(&mut self, view: &RowView<'_>, selections: &[Selection]) -> Written {
        self.object(&Inside::Row(view), selections)
    }

    /// `{…}` of the selected fields; the best of their states.
    pub(super) fn object(&mut self, inside: &Inside<'_, '_>, selections: &[Selection]) -> Written {
        let mut sum = Sum::default();
        self.out.push(b'{');
        let mut first = true;
        for selection in selections {
            let before = self.out.len();
            if !first {
                self.out.push(b',');
            }
            self.out.push(b'"');
            self.out.extend_from_slice(selection.key.as_bytes());
            self.out.extend_from_slice(b"\":");
            self.journal.enter(Segment::Key(Arc::clone(&selection.key)));
            let written = self.field(inside, selection, selections);
            self.journal.leave();
            match written {
                // What rules cannot read is absent, not null.
                Some(written) if !self.is_caller() && written.failure.is_some() => {
                    self.out.truncate(before);
                    sum.add(written);
                    continue;
                }
                Some(written) => sum.add(written),
                None => {}
            }
            first = false;
        }
        self.out.push(b'}');
        sum.written()
    }

    /// One field; `None` for those that tell nothing of a department's (`__typename`, `items`).
    fn field(&mut self, inside: &Inside<'_, '_>, selection: &Selection, beside: &[Selection]) -> Option<Written> {
        match &selection.what {
            What::Typename(name) => {
                self.string(name);
                None
            }
            What::Slot(id) => {
                let slot = self.snapshot.contract.slot(*id);
                let view = inside.view();
                if slot.shape == Shape::ItemStates {
                    if self.permitted(view, *id) {
                        items::write(self, view, selection, beside);
                    } else {
                        self.null();
                        self.refuse(*id);
                    }
                    return None;
                }
                Some(self.slot(inside, slot, selection))
            }
            _ => {
                self.null();
                None
            }
        }
    }

    /// One slot, permitted or not.
    pub(super) fn slot(&mut self, inside: &Inside<'_, '_>, slot: &Slot, selection: &Selection) -> Written {
        let section = slot.shape == Shape::Object && slot.class.is_none();
        if !section && !self.permitted(inside.view(), slot.id) {
            self.refuse(slot.id);
            self.empty_or_null(slot, inside, selection);
            return Written::refused();
        }
        let start = self.out.len();
        let written = match inside {
            Inside::Row(view) => self.row_slot(view, slot, selection),
            Inside::Element { view, raw, mapping, picked, part } => match mapping.entry(slot.id) {
                Some(entry) => self.element_entry(view, slot, entry, raw, picked, *part, selection),
                None if slot.shape == Shape::Object => self.section(inside, slot, selection),
                None => {
                    self.null();
                    Written::no_record()
                }
            },
        };
        if let Some(failure) = written.failure.filter(|_| !written.has_value()) {
            self.journal.note(Cause::Failed(failure));
        }
        if written.state == ItemState::Answered && self.is_caller() {
            return self.masked(inside.view(), slot, start, written);
        }
        written
    }

    fn masked(&mut self, view: &RowView<'_>, slot: &Slot, start: usize, written: Written) -> Written {
        let Some(mask) = view.row.rights.masks.get(&slot.id) else { return written };
        let plain = self.out.split_off(start);
        let text = String::from_utf8(plain).unwrap_or_default();
        match slot.shape {
            Shape::LeafList(_) => {
                self.out.push(b'[');
                for (at, element) in super::pick::elements(&text).unwrap_or_default().iter().enumerate() {
                    if at > 0 {
                        self.out.push(b',');
                    }
                    mask::apply(*mask, element, &mut self.out);
                }
                self.out.push(b']');
            }
            _ => mask::apply(*mask, &text, &mut self.out),
        }
        Written { state: ItemState::Masked, ..written }
    }

    fn row_slot(&mut self, view: &RowView<'_>, slot: &Slot, selection: &Selection) -> Written {
        if matches!(slot.shape, Shape::Entity(_) | Shape::EntityList(_)) {
            return list::entities(self, view, slot, selection);
        }
        match view.filling(slot.id) {
            Filling::Key => self.key(view, slot),
            Filling::Embedded(mapping, entry) => {
                let raw =
                    view.row.embedded.as_ref().and_then(|record| std::str::from_utf8(record).ok()).unwrap_or("null");
                let wanted = mapping.wanted_terms(|wanted| wanted == slot.id);
                let picked = pick(raw, mapping, &wanted).unwrap_or_default();
                self.element_entry(view, slot, entry, raw, &picked, None, selection)
            }
            Filling::Answer { answer, endpoint, entry } => {
                self.answered(view, slot, entry, endpoint, answer, selection)
            }
            Filling::Derived(ladder) => derived::write(self, view, slot, ladder, selection),
            Filling::Parts if slot.shape == Shape::Object => self.section(&Inside::Row(view), slot, selection),
            Filling::Parts => {
                self.null();
                Written::no_record()
            }
        }
    }

    /// An object that is nothing but its fields: null where it may be and none of them has a value.
    fn section(&mut self, inside: &Inside<'_, '_>, slot: &Slot, selection: &Selection) -> Written {
        let (start, mark) = (self.out.len(), self.journal.mark());
        let written = self.object(inside, &selection.children);
        if slot.nullable && self.is_caller() && !written.has_value() && written.state != ItemState::Refused {
            self.out.truncate(start);
            self.journal.fold(mark);
            self.null();
        }
        written
    }

    fn key(&mut self, view: &RowView<'_>, slot: &Slot) -> Written {
        let Some(key) = &view.row.key else {
            self.null();
            return Written::no_record();
        };
        if matches!(slot.shape, Shape::Leaf(Kind::Int)) && key.parse::<i32>().is_ok() {
            self.out.extend_from_slice(key.as_bytes());
        } else {
            self.string(key);
        }
        Written::answered()
    }

    /// A slot of a fetch's answer.
    pub(super) fn answered(
        &mut self,
        view: &RowView<'_>,
        slot: &Slot,
        entry: &Entry,
        endpoint: &Endpoint,
        answer: &RowAnswer,
        selection: &Selection,
    ) -> Written {
        if let Read::Constant(value) = &entry.read {
            self.out.extend_from_slice(value.as_bytes());
            return Written::answered();
        }
        let parts = match parts(answer, endpoint.source) {
            Ok(parts) => parts,
            Err(failure) => {
                self.null();
                return Written::failed(failure);
            }
        };
        match &entry.read {
            Read::Scalar { at, conversion } => self.combined(entry, endpoint, parts, *at, conversion),
            Read::Object { at, inside } => self.first_object(view, endpoint, parts, *at, inside, selection),
            Read::Scalars { over, conversion, split } => {
                list::scalars(self, endpoint, parts, *over, conversion, split.as_deref())
            }
            Read::Objects { over, inside, only } => list::objects(
                self,
                view,
                slot,
                endpoint,
                parts,
                list::Reading { over: *over, inside, only: only.as_ref() },
                selection,
            ),
            _ => {
                self.null();
                Written::no_record()
            }
        }
    }

    /// One value of the records of all keys and instances.
    fn combined(
        &mut self,
        entry: &Entry,
        endpoint: &Endpoint,
        parts: &[Part],
        at: usize,
        conversion: &Conversion,
    ) -> Written {
        let bad = |code| Written::failed(Failure::unavailable(code, endpoint.source));
        let wanted = endpoint.mapping.wanted_terms(|slot| slot == entry.slot);
        let mut values: Vec<Vec<u8>> = Vec::new();
        let (mut failure, mut records_seen) = (None, false);
        for part in parts {
            let records = match &part.outcome {
                Ok(records) => records,
                Err(reason) => {
                    failure = failure.or(Some(*reason));
                    continue;
                }
            };
            if let Some(absent) = &entry.absent {
                values.extend(std::iter::repeat_n(absent.as_bytes().to_vec(), part.absent));
            }
            for record in records {
                records_seen = true;
                let text = std::str::from_utf8(record).unwrap_or_default();
                let Ok(picked) = pick(text, &endpoint.mapping, &wanted) else {
                    self.null();
                    return bad(ErrorCode::SourceBadAnswer);
                };
                let Some(raw) = picked.get(at) else {
                    if entry.required {
                        self.null();
                        return bad(ErrorCode::SourceBadAnswer);
                    }
                    continue;
                };
                let mut value = Vec::new();
                if convert(raw, conversion, &mut value).is_err() {
                    self.null();
                    return bad(ErrorCode::ValueInvalid);
                }
                values.push(value);
            }
        }
        let texts: Vec<&str> = values
            .iter()
            .filter_map(|value| std::str::from_utf8(value).ok())
            .filter(|value| *value != "null")
            .collect();
        if let Some(failure) = failure {
            // With some instances silent, only an answer that no further one could change stands.
            let settled = match entry.combine {
                Combine::Any => texts.contains(&"true"),
                Combine::All => texts.contains(&"false"),
                Combine::First => !texts.is_empty(),
                Combine::Sum | Combine::Max | Combine::Min => false,
            };
            if !settled {
                self.null();
                return Written::failed(failure);
            }
        }
        if texts.is_empty() {
            self.null();
            let _ = records_seen;
            return Written::no_record();
        }
        match combine(texts, entry.combine, conversion.kind(), &mut self.out) {
            Ok(()) => Written::answered(),
            Err(_) => {
                self.null();
                bad(ErrorCode::ValueInvalid)
            }
        }
    }

    /// An object with a place of its own: of the first record that has it.
    fn first_object(
        &mut self,
        view: &RowView<'_>,
        endpoint: &Endpoint,
        parts: &[Part],
        at: usize,
        inside: &Mapping,
        selection: &Selection,
    ) -> Written {
        let wanted: Vec<bool> = (0..endpoint.mapping.terms.len()).map(|term| term == at).collect();
        for part in parts {
            let records = match &part.outcome {
                Ok(records) => records,
                Err(failure) => {
                    self.null();
                    return Written::failed(*failure);
                }
            };
            for record in records {
                let text = std::str::from_utf8(record).unwrap_or_default();
                let Ok(picked) = pick(text, &endpoint.mapping, &wanted) else {
                    self.null();
                    return Written::failed(Failure::unavailable(ErrorCode::SourceBadAnswer, endpoint.source));
                };
                if let Some(raw) = picked.get(at).filter(|raw| raw.starts_with('{')) {
                    return self.element(view, raw, inside, None, &selection.children);
                }
            }
        }
        self.null();
        Written::no_record()
    }

    /// The selected fields of one JSON object.
    pub(super) fn element(
        &mut self,
        view: &RowView<'_>,
        raw: &str,
        mapping: &Mapping,
        part: Option<(&Endpoint, &Part)>,
        selections: &[Selection],
    ) -> Written {
        let wanted = mapping.wanted_terms(|slot| self.permitted(view, slot));
        let Ok(picked) = pick(raw, mapping, &wanted) else {
            self.null();
            return Written::no_record();
        };
        let written = self.object(&Inside::Element { view, raw, mapping, picked: &picked, part }, selections);
        // An object that is there is a value, whatever its fields are.
        Written { state: ItemState::Answered, failure: None, ..written }
    }

    #[expect(clippy::too_many_arguments, reason = "one field of one element, and all that it may be read from")]
    fn element_entry(
        &mut self,
        view: &RowView<'_>,
        slot: &Slot,
        entry: &Entry,
        raw: &str,
        picked: &Picked<'_>,
        part: Option<(&Endpoint, &Part)>,
        selection: &Selection,
    ) -> Written {
        match &entry.read {
            Read::Scalar { at, conversion } => {
                if let Some((endpoint, part)) = part {
                    return self.of_instance(entry, endpoint, part, *at, conversion);
                }
                match picked.get(*at) {
                    Some(raw) => self.converted(raw, conversion),
                    None => {
                        self.null();
                        Written::no_record()
                    }
                }
            }
            Read::Constant(value) => {
                self.out.extend_from_slice(value.as_bytes());
                Written::answered()
            }
            Read::Instance(column) => {
                let text = part.and_then(|(endpoint, part)| {
                    let connection = self.snapshot.bindings.source(endpoint.source).connections.get(part.instance)?;
                    connection.instance.as_ref()?.columns.get(&**column).cloned()
                });
                match text {
                    Some(text) => self.string(&text),
                    None => self.null(),
                }
                Written::answered()
            }
            Read::Outcome(outcome) => {
                let failure = part.and_then(|(_, part)| part.outcome.as_ref().err());
                match (outcome, failure, part) {
                    (Outcome::Code, None, _) => self.null(),
                    (Outcome::Code, Some(failure), _) => self.string(failure.code.as_str()),
                    (Outcome::State, Some(failure), _) => self.string(failure.state.as_str()),
                    (Outcome::State, None, Some((_, part))) if part.outcome.as_ref().is_ok_and(Vec::is_empty) => {
                        self.string(ItemState::NoRecord.as_str())
                    }
                    (Outcome::State, None, _) => self.string(ItemState::Answered.as_str()),
                }
                Written::answered()
            }
            Read::Object { at, inside } => match picked.get(*at).filter(|raw| raw.starts_with('{')) {
                Some(raw) => self.element(view, raw, inside, part, &selection.children),
                None => {
                    self.null();
                    Written::no_record()
                }
            },
            Read::Scalars { over, conversion, split } => {
                let elements = super::read::over_elements(raw, picked, *over).unwrap_or_default();
                self.out.push(b'[');
                let start = self.out.len();
                for element in elements.iter().flat_map(|element| pieces(element, split.as_deref())) {
                    let comma = self.out.len() > start;
                    if comma {
                        self.out.push(b',');
                    }
                    self.converted(&element, conversion);
                }
                self.out.push(b']');
                Written::answered()
            }
            Read::Objects { over, inside, only } => {
                let elements = super::read::over_elements(raw, picked, *over).unwrap_or_default();
                list::elements(self, view, slot, &elements, inside, only.as_ref(), selection)
            }
            Read::Reference { .. } | Read::References { .. } => {
                self.null();
                Written::no_record()
            }
        }
    }

    /// One instance's value, of all its records.
    fn of_instance(
        &mut self,
        entry: &Entry,
        endpoint: &Endpoint,
        part: &Part,
        at: usize,
        conversion: &Conversion,
    ) -> Written {
        let Ok(records) = &part.outcome else {
            self.null();
            // The element itself says so, in its state and code.
            return Written::no_record();
        };
        let mut values = Vec::new();
        if let Some(absent) = &entry.absent {
            values.extend(std::iter::repeat_n(absent.to_string(), part.absent));
        }
        for record in records {
            let text = std::str::from_utf8(record).unwrap_or_default();
            // The entry stands in the mapping of the list's elements; an instance's elements are its records.
            let Some(mapping) = instance_mapping(endpoint, entry.slot) else { continue };
            let wanted = mapping.wanted_terms(|slot| slot == entry.slot);
            let mut value = Vec::new();
            if let Some(raw) = pick(text, mapping, &wanted).ok().and_then(|picked| picked.get(at))
                && convert(raw, conversion, &mut value).is_ok()
            {
                values.extend(String::from_utf8(value));
            }
        }
        let texts: Vec<&str> = values.iter().map(String::as_str).filter(|value| *value != "null").collect();
        if texts.is_empty() || combine(texts, entry.combine, conversion.kind(), &mut self.out).is_err() {
            self.null();
            return Written::no_record();
        }
        Written::answered()
    }

    /// One raw value, converted; null and a note where it does not fit.
    pub(super) fn converted(&mut self, raw: &str, conversion: &Conversion) -> Written {
        let start = self.out.len();
        match convert(raw, conversion, &mut self.out) {
            Ok(_) if self.out.get(start..) == Some(b"null") => Written::no_record(),
            Ok(_) => Written::answered(),
            Err(_) => {
                self.null();
                Written::failed(Failure { state: ItemState::Unavailable, code: ErrorCode::ValueInvalid, source: None })
            }
        }
    }

    fn empty_or_null(&mut self, slot: &Slot, inside: &Inside<'_, '_>, selection: &Selection) {
        // A non-null object keeps its shape: every field of it is refused too, and noted once, above.
        if slot.shape == Shape::Object && !slot.nullable {
            let mark = self.journal.mark();
            self.object(inside, &selection.children);
            self.journal.forget(mark);
        } else {
            self.null();
        }
    }

    pub(super) fn refuse(&mut self, slot: SlotId) {
        self.journal.note(Cause::Refused(slot));
    }

    pub(super) fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    pub(super) fn string(&mut self, text: &str) {
        // Writing to a vector cannot fail.
        let _ = serde_json::to_writer(&mut self.out, text);
    }
}

fn instance_mapping(endpoint: &Endpoint, slot: SlotId) -> Option<&Mapping> {
    endpoint.mapping.entries.iter().find_map(|entry| match &entry.read {
        Read::Objects { inside, .. } if inside.entry(slot).is_some() => Some(&**inside),
        _ => None,
    })
}

impl<'a> Inside<'_, 'a> {
    pub(super) fn view(&self) -> &RowView<'a> {
        match self {
            Self::Row(view) | Self::Element { view, .. } => view,
        }
    }
}

/// The state of an object, from those of its fields: what there is to see counts first, then why there is not.
#[derive(Default)]
struct Sum {
    best: Option<Written>,
    truncated: bool,
}

impl Sum {
    fn add(&mut self, written: Written) {
        let rank = |state: ItemState| match state {
            ItemState::Answered => 7,
            ItemState::Masked => 6,
            ItemState::Conflict => 5,
            ItemState::Pending => 4,
            ItemState::Unavailable => 3,
            ItemState::Undetermined => 2,
            ItemState::NoRecord => 1,
            ItemState::Refused => 0,
        };
        self.truncated |= written.truncated;
        if self.best.is_none_or(|best| rank(written.state) > rank(best.state)) {
            self.best = Some(written);
        }
    }

    fn written(self) -> Written {
        Written { truncated: self.truncated, ..self.best.unwrap_or_else(Written::answered) }
    }
}
