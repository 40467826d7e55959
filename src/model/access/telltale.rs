//! Grants that give away together what one of them hides, and names in grants that do nothing: warnings of
//! `huxiang check`. Nothing is refused for the first, since what a value tells of another one cannot be known from types
//! and names alone, nor for the second, which gives nobody anything.

use std::sync::Arc;

use super::rights::Permit;
use super::{Access, Idle, Rights, Role};
use crate::base::fault::{Faults, Place, SourceText};
use crate::model::contract::{Contract, Shape, Slot, SlotId};
use crate::model::mask::Mask;

/// The scalar whose values hold a date of birth.
const ID_NUMBER: &str = "IdNumber";
/// Fields that one warning names.
const NAMED_MAX: usize = 4;

/// What roles are given in full that tells what a mask of theirs hides, role by role and relation by relation: a caller
/// may ask for one purpose after another, so conditions make no difference. `file` is `roles.yaml`.
pub fn warnings(contract: &Contract, access: &Access, file: &Arc<SourceText>) -> Faults {
    let mut found = Faults::default();
    for role in &access.roles {
        let rights = Rights::new(access, role.grants.clone());
        for (relation, permit) in &rights.permits {
            for (slot, mask) in &permit.masks {
                let telling = telling(contract, permit, *slot, *mask);
                if telling.is_empty() {
                    continue;
                }
                let masking = role.grants.iter().filter_map(|at| access.grants.get(*at));
                let mut masking = masking.filter(|grant| grant.relation == *relation && grant.masks.contains_key(slot));
                let line = masking.next().map_or(0, |grant| grant.line);
                let relation = access.relation(*relation).map_or("", |relation| &relation.name);
                found.add(file, place(file, line), message(contract, role, relation, *slot, &telling), hint(*mask));
            }
        }
    }
    found
}

/// Names in grants that stand for fields of another entity than the grant's relation is to.
pub fn idle(contract: &Contract, access: &Access, file: &Arc<SourceText>) -> Faults {
    let mut found = Faults::default();
    for Idle { place, key, name, relation, slot } in &access.idle {
        let Some(relation) = access.relation(*relation) else { continue };
        let (on, of) = (&contract.entity(relation.on).name, &contract.entity(contract.slot(*slot).entity).name);
        let relation = relation.rule.name.as_str();
        let (does, way_out) = match *key {
            "classes" => ("the class gives nothing", format!("name `{name}` in a grant by a relation to {of}")),
            "except" => ("it takes nothing away", format!("name a field that tells of a single {on}")),
            _ => ("it masks nothing", format!("name a field that tells of a single {on}")),
        };
        let message = format!(
            "`{name}` under `{key}`: {does} here, for the relation `{relation}` is to {on}, and what it names is {of}'s"
        );
        found.add(file, *place, message, format!("{way_out}, or leave it out; see docs/access.md, Single persons"));
    }
    found
}

/// The fields given in full that tell what the mask hides.
fn telling(contract: &Contract, permit: &Permit, masked: SlotId, mask: Mask) -> Vec<SlotId> {
    let masked = contract.slot(masked);
    let beside = |slot: &Slot| slot.entity == masked.entity && slot.parent == masked.parent;
    let is_id = |slot: &Slot| &*slot.type_name == ID_NUMBER;
    let by_ids = match mask {
        // A date that stands beside an id number is of the same person.
        Mask::Year => contract.slots.iter().any(|slot| beside(slot) && is_id(slot)),
        Mask::IdNumber => true,
        _ => false,
    };
    let code = format!("{}Code", masked.name);
    let tells = |slot: &&Slot| {
        let value = matches!(slot.shape, Shape::Leaf(_) | Shape::LeafList(_)) && !slot.hidden;
        let full = permit.slots.contains(slot.id) && !permit.masks.contains_key(&slot.id);
        value && full && (by_ids && is_id(slot) || beside(slot) && *slot.name == *code)
    };
    contract.slots.iter().filter(tells).map(|slot| slot.id).collect()
}

fn message(contract: &Contract, role: &Role, relation: &str, masked: SlotId, telling: &[SlotId]) -> String {
    let named: Vec<String> =
        telling.iter().take(NAMED_MAX).map(|slot| format!("`{}`", contract.full_path(*slot))).collect();
    let more = match telling.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let masked = contract.full_path(masked);
    format!(
        "the mask of `{masked}` may hide nothing: `{}` is given {}{more} in full under the relation `{relation}`",
        role.name,
        named.join(", ")
    )
}

fn hint(mask: Mask) -> &'static str {
    match mask {
        Mask::Year => "an id number holds the date of birth: mask it too (`id-number`), or leave it out (`except`)",
        _ => "it tells the same: mask it too, or leave it out (`except`)",
    }
}

/// The grant's first line.
fn place(file: &SourceText, line: usize) -> Place {
    let text = line.checked_sub(1).and_then(|at| file.text.lines().nth(at)).unwrap_or_default();
    let indent = text.chars().take_while(|c| c.is_whitespace()).count();
    Place { line, column: indent + 1, length: text.trim().chars().count() }
}
