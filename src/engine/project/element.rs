//! Fields of one JSON value: an element of a list, an object of a record, an instance of a source.

use super::list;
use super::pick::{Picked, pick};
use super::read::{RowView, over_elements, pieces};
use super::write::{Inside, Writer, Written};
use crate::base::code::{ErrorCode, ItemState};
use crate::engine::convert::combine::combine;
use crate::engine::convert::convert;
use crate::engine::execute::frame::{Failure, Part};
use crate::engine::operation::Selection;
use crate::model::binding::Endpoint;
use crate::model::binding::conversion::Conversion;
use crate::model::binding::mapping::{Entry, Mapping, Outcome, Read};
use crate::model::contract::{Slot, SlotId};

impl Writer<'_> {
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
    pub(super) fn element_entry(
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
                let elements = over_elements(raw, picked, *over).unwrap_or_default();
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
                let elements = over_elements(raw, picked, *over).unwrap_or_default();
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
                self.failed(Failure { state: ItemState::Unavailable, code: ErrorCode::ValueInvalid, source: None })
            }
        }
    }
}

fn instance_mapping(endpoint: &Endpoint, slot: SlotId) -> Option<&Mapping> {
    endpoint.mapping.entries.iter().find_map(|entry| match &entry.read {
        Read::Objects { inside, .. } if inside.entry(slot).is_some() => Some(&**inside),
        _ => None,
    })
}
