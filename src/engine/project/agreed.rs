//! A fact that two departments hold and that rules decide on: where they disagree, it is not known.

use super::read::RowView;
use super::write::{Mode, Writer, Written};
use crate::base::code::{ErrorCode, ItemState};
use crate::engine::frame::Failure;
use crate::engine::operation::{Selection, What};
use crate::model::binding::conversion::Kind;
use crate::model::binding::mapping::Read;
use crate::model::contract::{Shape, Slot};

impl Writer<'_> {
    /// For rules: what was written since `start`, unless another department that holds the slot says otherwise. One that
    /// does not answer, or holds nothing, says nothing.
    pub(super) fn agreed(&mut self, view: &RowView<'_>, slot: &Slot, start: usize, written: Written) -> Written {
        let (Mode::Rules(unread), Shape::Leaf(kind)) = (self.mode, &slot.shape) else { return written };
        if !written.has_value() {
            return written;
        }
        let bindings = &view.snapshot.bindings;
        for endpoint in bindings.also(slot.id).iter().map(|id| bindings.endpoint(*id)) {
            if unread.also.get(&slot.id).is_some_and(|sources| sources.contains(&endpoint.source)) {
                continue;
            }
            let Some(entry) = endpoint.mapping.entry(slot.id) else { continue };
            let fetched = view.fetched(endpoint, slot.id, entry);
            if fetched.fetch.is_none() || !matches!(entry.read, Read::Scalar { .. }) {
                continue;
            }
            let (from, mark) = (self.out.len(), self.journal.mark());
            let nothing = Selection {
                key: std::sync::Arc::clone(&slot.name),
                what: What::Slot(slot.id),
                arguments: Vec::new(),
                children: Vec::new(),
            };
            let also = self.fetched(view, slot, &fetched, &nothing);
            let other = self.out.split_off(from);
            self.journal.forget(mark);
            if also.state == ItemState::Answered && !is_same(self.out.get(start..).unwrap_or_default(), &other, kind) {
                self.out.truncate(start);
                let conflict = Failure { state: ItemState::Conflict, code: ErrorCode::Conflict, source: None };
                return self.failed(conflict);
            }
        }
        written
    }
}

/// Whether two values, in the contract's JSON, are the same; amounts as numbers.
fn is_same(a: &[u8], b: &[u8], kind: &Kind) -> bool {
    let number = |json: &[u8]| {
        let text = std::str::from_utf8(json).ok()?.trim_matches('"');
        rust_decimal::Decimal::from_str_exact(text).ok()
    };
    match kind {
        Kind::Decimal => match (number(a), number(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a == b,
        },
        _ => a == b,
    }
}
