//! Codes that a department withholds: what has one is left out as if it were not there.

use super::pick::{elements, pick_one, text_of};
use super::read::{RowView, elements_in, pieces};
use super::write::{Mode, Writer};
use crate::base::json::JsonValue;
use crate::engine::convert::{Converted, convert};
use crate::model::access::hand::Clause;
use crate::model::binding::conversion::Conversion;
use crate::model::binding::hand::codes::Codes;
use crate::model::binding::mapping::{Mapping, Read};
use crate::model::contract::SlotId;

impl<'a> Writer<'a> {
    /// The codes that leave out elements or values of a slot, for this reader.
    pub(super) fn held<'v>(&self, view: &'v RowView<'_>, slot: SlotId) -> &'v [Clause]
    where
        'a: 'v,
    {
        let held = match self.mode {
            Mode::Caller { .. } | Mode::Condition(_) => view.rights.held.codes.get(&slot),
            Mode::Rules(unread) => unread.codes.get(&slot),
            Mode::Gateway => None,
        };
        held.map_or(&[], Vec::as_slice)
    }
}

/// Whether a record or element is left out of `slot`: each clause has a code of it.
pub(super) fn is_held(raw: JsonValue<'_>, mapping: &Mapping, slot: SlotId, clauses: &[Clause]) -> bool {
    let told_by = |codes: &Codes| {
        told(raw, mapping, codes.slot, codes).or_else(|| told(raw, mapping, slot, codes)).unwrap_or(false)
    };
    !clauses.is_empty() && clauses.iter().all(|clause| clause.iter().any(|codes| told_by(codes)))
}

/// Whether one value of a list of values is left out.
pub(super) fn is_value_held(raw: &str, conversion: &Conversion, mapping: Option<&Mapping>, clauses: &[Clause]) -> bool {
    let of_code = |codes: &Codes| match mapping.and_then(|mapping| mapping.entry(codes.slot)).map(|entry| &entry.read) {
        Some(Read::Scalar { conversion, .. } | Read::Scalars { conversion, .. }) => covers(raw, conversion, codes),
        _ => false,
    };
    let covered = |codes: &Codes| covers(raw, conversion, codes) || of_code(codes);
    !clauses.is_empty() && clauses.iter().all(|clause| clause.iter().any(|codes| covered(codes)))
}

/// Whether the values of a slot have one of the codes; `None`: this mapping does not read the slot. What cannot be read
/// as a code is taken for one that is withheld.
fn told(raw: JsonValue<'_>, mapping: &Mapping, slot: SlotId, codes: &Codes) -> Option<bool> {
    if let Some(entry) = mapping.entry(slot) {
        let (found, conversion, split) = match &entry.read {
            Read::Scalar { at, conversion } => (pick_one(raw, mapping, *at).into_iter().collect(), conversion, None),
            Read::Scalars { over, conversion, split } => {
                (elements_in(raw, mapping, *over), conversion, split.as_deref())
            }
            _ => return Some(false),
        };
        let mut values = found.into_iter().flat_map(|value| pieces(value.raw(), split));
        return Some(values.any(|value| covers(&value, conversion, codes)));
    }
    // Not in lists inside: what has a code in one of those is left out of that one.
    mapping.entries.iter().find_map(|entry| {
        let Read::Object { at, inside, .. } = &entry.read else { return None };
        told(JsonValue::null(), inside, slot, codes)?;
        let Some(raw) = pick_one(raw, mapping, *at) else { return Some(false) };
        Some(elements(raw).into_iter().any(|element| told(element, inside, slot, codes) == Some(true)))
    })
}

/// Whether a value, as the department writes it or as the contract has it, is one of the codes.
fn covers(raw: &str, conversion: &Conversion, codes: &Codes) -> bool {
    let raw = raw.trim();
    if raw.starts_with(['{', '[']) {
        return true;
    }
    let Some(text) = text_of(raw) else { return true };
    if raw == "null" || text.trim().is_empty() {
        return false;
    }
    let mut converted = Vec::new();
    let made = convert(raw, conversion, &mut converted)
        .ok()
        .filter(|made| *made != Converted::Null)
        .and_then(|_| std::str::from_utf8(&converted).ok().and_then(text_of).map(|text| text.into_owned()))
        .is_some_and(|made| codes.covers(&made));
    made || codes.covers(&text)
}
