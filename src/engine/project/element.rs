//! Fields of one JSON value: an element of a list, an object of a record, an instance of a source.

use std::cell::OnceCell;

use super::held::is_held;
use super::list;
use super::pick::{Picked, pick_one, text_of};
use super::read::{RowView, over_elements};
use super::typed::Typed;
use super::write::{Inside, Writer, Written};
use crate::base::code::{ErrorCode, ItemState};
use crate::base::json::JsonValue;
use crate::engine::convert::combine::combine;
use crate::engine::convert::convert_value;
use crate::engine::frame::{Failure, Part, Remark};
use crate::engine::operation::Selection;
use crate::model::binding::conversion::{Conversion, Kind};
use crate::model::binding::mapping::{Entry, Mapping, Outcome, Read, Term};
use crate::model::binding::{Endpoint, SourceId};
use crate::model::contract::{Slot, SlotId};

/// Who told a piece of JSON.
#[derive(Clone, Copy)]
pub(super) struct Told<'i> {
    /// To blame for what does not fit.
    pub source: SourceId,
    /// The instance that an element of a list of instances stands for.
    pub part: Option<(&'i Endpoint, &'i Part)>,
    /// What it says of elements like this one.
    pub remarks: &'i [Remark],
}

impl Told<'_> {
    pub(super) fn bad(self, code: ErrorCode) -> Failure {
        Failure::unavailable(code, self.source)
    }

    /// What it says of what stands inside a place of the mapping.
    fn inside(self, mapping: &Mapping, at: Option<Term>) -> Vec<Remark> {
        let place = at.and_then(|at| mapping.terms.get(at)).map_or(&[][..], |term| term.segments());
        Remark::inside(self.remarks, place)
    }
}

/// What stands there is not what the binding says.
pub(super) struct NotSo;

/// The object at a place; nothing, null and `""` (an empty element of XML) are none.
pub(super) fn object_at<'r>(picked: &Picked<'r>, at: Term, required: bool) -> Result<Option<JsonValue<'r>>, NotSo> {
    match picked.get(at) {
        None if required => Err(NotSo),
        None => Ok(None),
        Some(object) if object.is_object() => Ok(Some(object)),
        Some(other) if matches!(other.raw(), "null" | "\"\"") => Ok(None),
        Some(_) => Err(NotSo),
    }
}

impl Writer<'_> {
    /// The selected fields of one JSON object.
    pub(super) fn element(
        &mut self,
        view: &RowView<'_>,
        raw: JsonValue<'_>,
        mapping: &Mapping,
        told: Told<'_>,
        selections: &[Selection],
    ) -> Written {
        match self.element_fields(view, raw, mapping, told, selections) {
            // An object that is there is a value, whatever its fields are.
            Ok(written) => Written { state: ItemState::Answered, failure: None, ..written },
            Err(failure) => self.failed(failure),
        }
    }

    /// As [`Self::element`], with the best state of the fields; nothing is written where it fails.
    pub(super) fn element_fields(
        &mut self,
        view: &RowView<'_>,
        raw: JsonValue<'_>,
        mapping: &Mapping,
        told: Told<'_>,
        selections: &[Selection],
    ) -> Result<Written, Failure> {
        let picked = OnceCell::new();
        Ok(self.object(&Inside::Element { view, raw, mapping, picked: &picked, told }, selections))
    }

    #[expect(clippy::too_many_arguments, reason = "one field of one element, and all that it may be read from")]
    pub(super) fn element_entry(
        &mut self,
        view: &RowView<'_>,
        slot: &Slot,
        entry: &Entry,
        (raw, mapping): (JsonValue<'_>, &Mapping),
        picked: &Picked<'_>,
        told: Told<'_>,
        selection: &Selection,
    ) -> Written {
        let part = told.part;
        match &entry.read {
            Read::Scalar { at, conversion } => {
                if let Some((endpoint, part)) = part {
                    return self.of_instance(entry, endpoint, part, *at, conversion);
                }
                if is_held(raw, mapping, slot.id, self.held(view, slot.id)) {
                    self.null();
                    return Written::no_record();
                }
                let place = mapping.terms.get(*at).map_or(&[][..], |term| term.segments());
                let silent = Remark::failure(told.remarks, place);
                let masked = Remark::is_masked(told.remarks, place);
                match picked.get(*at) {
                    Some(raw) if masked => self.masked_below(raw.raw(), conversion, told.source),
                    Some(raw) if !raw.is_null() || silent.is_none() => self.converted(raw, conversion, told),
                    _ if let Some(failure) = silent => self.failed(failure),
                    Some(raw) => self.converted(raw, conversion, told),
                    None if entry.required => self.failed(told.bad(ErrorCode::SourceBadAnswer)),
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
                    (Outcome::State, None, Some((_, part)))
                        if part.outcome.as_ref().is_ok_and(|records| records.is_empty()) =>
                    {
                        self.string(ItemState::NoRecord.as_str())
                    }
                    (Outcome::State, None, _) => self.string(ItemState::Answered.as_str()),
                }
                Written::answered()
            }
            Read::Object { at, inside, types } => {
                let remarks = told.inside(mapping, Some(*at));
                let inner = Told { remarks: &remarks, ..told };
                match object_at(picked, *at, entry.required) {
                    Ok(raw) if let Some(types) = types => {
                        self.typed(view, slot, raw, &Typed { inside, types, told: inner }, selection)
                    }
                    Ok(Some(raw)) => self.element(view, raw, inside, inner, &selection.children),
                    Ok(None) => {
                        self.null();
                        Written::no_record()
                    }
                    Err(NotSo) => self.failed(told.bad(ErrorCode::SourceBadAnswer)),
                }
            }
            Read::Scalars { over, conversion, split } => match over_elements(raw, picked, *over, entry.required) {
                Ok(found) => {
                    let place =
                        over.term().and_then(|at| mapping.terms.get(at)).map_or(&[][..], |term| term.segments());
                    let masked = Remark::is_masked(told.remarks, place);
                    let reading = list::Values { conversion, split: split.as_deref(), mapping, masked };
                    list::values(self, told, &found, reading, self.held(view, slot.id))
                }
                Err(_) => self.failed(told.bad(ErrorCode::SourceBadAnswer)),
            },
            Read::Objects { over, inside, only, types } => match over_elements(raw, picked, *over, entry.required) {
                Ok(found) => {
                    let reading = list::Reading { over: *over, inside, only: only.as_ref(), types: types.as_ref() };
                    let remarks = told.inside(mapping, over.term());
                    let inner = Told { remarks: &remarks, ..told };
                    list::elements(self, view, slot, inner, &found, reading, selection)
                }
                Err(_) => self.failed(told.bad(ErrorCode::SourceBadAnswer)),
            },
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
        let records = match &part.outcome {
            Ok(records) => records,
            // The element itself says so, in its state and code; to rules and conditions it is not known.
            Err(_) if self.is_caller() => {
                self.null();
                return Written::no_record();
            }
            Err(failure) => return self.failed(*failure),
        };
        let bad = |code| Failure::unavailable(code, endpoint.source);
        let mut values = Vec::new();
        if let Some(absent) = &entry.absent {
            values.extend(std::iter::repeat_n(absent.to_string(), part.absent));
        }
        for record in records {
            // The entry stands in the mapping of the list's elements; an instance's elements are its records.
            let Some(mapping) = instance_mapping(endpoint, entry.slot) else { continue };
            let raw = match pick_one(record.value(), mapping, at) {
                Some(raw) => raw,
                None if !entry.required => continue,
                None => return self.failed(bad(ErrorCode::SourceBadAnswer)),
            };
            let mut value = Vec::new();
            if convert_value(raw, conversion, &mut value).is_err() {
                return self.failed(bad(ErrorCode::ValueInvalid));
            }
            values.extend(String::from_utf8(value));
        }
        let texts: Vec<&str> = values.iter().map(String::as_str).filter(|value| *value != "null").collect();
        if texts.is_empty() {
            self.null();
            return Written::no_record();
        }
        match combine(texts, entry.combine, conversion.kind(), &mut self.out) {
            Ok(()) => Written::answered(),
            Err(_) => self.failed(bad(ErrorCode::ValueInvalid)),
        }
    }

    /// A value that the source shows in part. It is shown so, as the text that it is: no conversion reads it. For the
    /// gateway's own rules it is not known.
    pub(super) fn masked_below(&mut self, raw: &str, conversion: &Conversion, source: SourceId) -> Written {
        if !self.is_caller() {
            return self.failed(Failure::undetermined(ErrorCode::InputMissing, source));
        }
        match text_of(raw).filter(|_| is_textual(conversion.kind())) {
            _ if raw == "null" => {
                self.null();
                return Written::no_record();
            }
            Some(text) => self.string(&text),
            None => self.null(),
        }
        Written { state: ItemState::Masked, ..Written::answered() }
    }

    /// One raw value, converted.
    fn converted(&mut self, raw: JsonValue<'_>, conversion: &Conversion, told: Told<'_>) -> Written {
        let start = self.out.len();
        match convert_value(raw, conversion, &mut self.out) {
            Ok(_) if self.out.get(start..) == Some(b"null") => Written::no_record(),
            Ok(_) => Written::answered(),
            Err(_) => self.failed(told.bad(ErrorCode::ValueInvalid)),
        }
    }
}

/// Whether a text may stand for a value in part.
fn is_textual(kind: &Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Id | Kind::Decimal | Kind::Date | Kind::DateTime | Kind::Any)
}

fn instance_mapping(endpoint: &Endpoint, slot: SlotId) -> Option<&Mapping> {
    endpoint.mapping.entries.iter().find_map(|entry| match &entry.read {
        Read::Objects { inside, .. } if inside.entry(slot).is_some() => Some(&**inside),
        _ => None,
    })
}
