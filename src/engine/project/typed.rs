//! Values of an interface or a union: which type each is of, and whether this reader may have that type. Whoever may
//! not have a type cannot tell its values from none.

use super::element::{NotSo, Told};
use super::pick::{pick_one, text_of};
use super::read::RowView;
use super::write::{Writer, Written};
use crate::base::code::ErrorCode;
use crate::base::json::JsonValue;
use crate::engine::operation::{Selection, What};
use crate::model::binding::mapping::{Mapping, Types};
use crate::model::contract::{Slot, SlotId};

/// The type that a value says it is of.
pub(super) fn type_of(raw: JsonValue<'_>, inside: &Mapping, types: &Types) -> Result<SlotId, NotSo> {
    let text = pick_one(raw, inside, types.at).and_then(|value| text_of(value.raw()));
    text.and_then(|text| types.by_text.get(&*text).copied()).or(types.otherwise).ok_or(NotSo)
}

/// What is selected of a type.
pub(super) fn selected_of(selection: &Selection, of: SlotId) -> &[Selection] {
    let found = selection.children.iter().find(|child| child.what == What::Slot(of));
    found.map_or(&[], |found| &found.children)
}

/// An object that says its type.
pub(super) struct Typed<'t> {
    pub inside: &'t Mapping,
    pub types: &'t Types,
    pub told: Told<'t>,
}

impl Writer<'_> {
    /// Notes the types of the slot that this reader is refused, whichever types there are values of; says whether
    /// there are any such types.
    pub(super) fn refuse_types(&mut self, view: &RowView<'_>, slot: &Slot) -> bool {
        let mut any = false;
        for of in &slot.children {
            if !self.permitted(view, *of) {
                self.refuse(*of);
                any = true;
            }
        }
        any
    }

    /// One value, or that there is none.
    pub(super) fn typed(
        &mut self,
        view: &RowView<'_>,
        slot: &Slot,
        raw: Option<JsonValue<'_>>,
        how: &Typed<'_>,
        selection: &Selection,
    ) -> Written {
        let refused = self.refuse_types(view, slot);
        if let Some(raw) = raw {
            match type_of(raw, how.inside, how.types) {
                Ok(of) if self.permitted(view, of) => {
                    return self.element(view, raw, how.inside, how.told, selected_of(selection, of));
                }
                Ok(_) => {}
                Err(NotSo) => return self.failed(how.told.bad(ErrorCode::ValueInvalid)),
            }
        }
        self.null();
        if refused { Written::refused() } else { Written::no_record() }
    }
}
