//! `type_at`, `types`, `otherwise` of a field whose type is an interface or a union → [`Types`].

use std::collections::HashMap;

use super::fields::FieldCompiler;
use super::format::FullField;
use super::mapping::{Mapping, Types};
use crate::base::fault::{self, Place};
use crate::base::pointer::Pointer;
use crate::model::contract::{Slot, SlotId};
use crate::model::yaml::{self, Spanned};

impl FieldCompiler<'_> {
    /// Where a slot stands in a value of which `parent`'s binding does not tell the type, or is such a type itself.
    pub(super) fn untold(&self, slot: SlotId, parent: Option<SlotId>) -> bool {
        let contract = self.contract;
        // The types of `parent` itself are told beside the fields.
        let told = |of: SlotId| of != slot && contract.slot(of).parent == parent;
        std::iter::once(slot)
            .chain(contract.above(slot))
            .take_while(|above| Some(*above) != parent)
            .any(|above| contract.slot(above).is_type && !told(above))
    }

    /// How values of the slot tell their type; the outer `None`: a fault was added.
    pub(super) fn types(
        &mut self,
        slot: &Slot,
        full: &FullField,
        place: Place,
        inside: &mut Mapping,
    ) -> Option<Option<Types>> {
        let is_abstract = self.contract.is_abstract(slot.id);
        let Some(at) = &full.type_at else {
            if is_abstract {
                self.fault(
                    place,
                    format!("`{}` is {}, and nothing tells which type each value is of", slot.path, slot.type_name),
                    "add `type_at: /pointer` and `types: {what stands there: Type}`",
                );
                return None;
            }
            if !full.types.is_empty() || full.otherwise.is_some() {
                self.fault(place, "`types` and `otherwise` go with `type_at`", "add `type_at: /pointer`");
            }
            return Some(None);
        };
        if !is_abstract {
            self.one_type(slot, yaml::place_of(at));
            return None;
        }
        let pointer = match Pointer::parse(&at.value) {
            Ok(pointer) => pointer,
            Err(message) => {
                self.fault(yaml::place_of(at), format!("`{}` is not a JSON Pointer", at.value), message);
                return None;
            }
        };
        let by_text: HashMap<String, SlotId> =
            full.types.iter().filter_map(|(text, name)| Some((text.clone(), self.type_named(slot, name)?))).collect();
        let otherwise = full.otherwise.as_ref().and_then(|name| self.type_named(slot, name));
        if full.types.is_empty() && full.otherwise.is_none() {
            self.fault(yaml::place_of(at), "`type_at` without `types`", "add `types: {what stands there: Type}`");
        }
        Some(Some(Types { at: inside.term(&pointer), by_text, otherwise }))
    }

    pub(super) fn one_type(&mut self, slot: &Slot, place: Place) {
        let message = format!("`{}` is always {}", slot.path, slot.type_name);
        self.fault(place, message, "`type_at` is for fields whose type is an interface or a union");
    }

    fn type_named(&mut self, slot: &Slot, name: &Spanned<String>) -> Option<SlotId> {
        let contract = self.contract;
        let found = slot.children.iter().copied().find(|of| *contract.slot(*of).name == *name.value);
        if found.is_none() {
            let known = slot.children.iter().map(|of| &*contract.slot(*of).name);
            let hint = fault::did_you_mean(&name.value, known, &format!("a type of `{}`", slot.type_name));
            self.fault(yaml::place_of(name), format!("`{}` is no type of `{}`", name.value, slot.type_name), hint);
        }
        found
    }
}
