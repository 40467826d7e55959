//! The whole portrait as one document, written from the contract: every item with all that is in it.

use std::collections::BTreeSet;

use crate::model::contract::{Contract, EntityId, RootKind, Shape, SlotId};

/// Fields of `ItemInfo` that are shown.
const ITEM_FIELDS: &str = "no path state source sourceTitle code message";

/// A document with one variable, `$id`; `None` where no query takes an entity's key.
pub fn portrait(contract: &Contract) -> Option<String> {
    let root = contract.queries.iter().find_map(|query| match &query.kind {
        RootKind::ByKey { argument } if has_items(contract, query.entity) => Some((query, argument)),
        _ => None,
    })?;
    let (query, argument) = root;
    let mut wanted: BTreeSet<SlotId> = BTreeSet::new();
    for item in numbered(contract).filter(|slot| contract.slot(*slot).entity == query.entity) {
        wanted.extend(contract.below(item));
        wanted.extend(contract.above(item));
    }
    let mut document = format!("query Portrait($id: ID!) {{ {}({argument}: $id) {{ ", query.name);
    for slot in &contract.entity(query.entity).children {
        write(contract, *slot, &wanted, &mut document);
    }
    if let Some(states) = states(contract, query.entity) {
        document.push_str(&format!("{} {{ {ITEM_FIELDS} }} ", contract.slot(states).name));
    }
    document.push_str("} }");
    Some(document)
}

/// The items with a number: those beside them (photos) are large, and asked for on their own.
pub fn numbered(contract: &Contract) -> impl Iterator<Item = SlotId> + '_ {
    contract.items.iter().filter(|item| item.no.parse::<u32>().is_ok()).map(|item| item.slot)
}

fn has_items(contract: &Contract, entity: EntityId) -> bool {
    contract.items.iter().any(|item| contract.slot(item.slot).entity == entity)
}

fn states(contract: &Contract, entity: EntityId) -> Option<SlotId> {
    let children = &contract.entity(entity).children;
    children.iter().copied().find(|slot| contract.slot(*slot).shape == Shape::ItemStates)
}

/// One field with what is selected in it. Goes as deep as the contract nests, which its loader bounds.
fn write(contract: &Contract, id: SlotId, wanted: &BTreeSet<SlotId>, out: &mut String) {
    let slot = contract.slot(id);
    if slot.hidden || !wanted.contains(&id) {
        return;
    }
    out.push_str(if slot.is_type { "... on " } else { "" });
    out.push_str(&slot.name);
    if let Some(list) = &slot.list {
        out.push_str(&format!("(first: {})", list.first_max));
    }
    out.push(' ');
    match slot.shape {
        Shape::Object | Shape::ObjectList => {
            out.push_str("{ ");
            for child in &slot.children {
                write(contract, *child, wanted, out);
            }
            out.push_str("} ");
        }
        Shape::Entity(entity) | Shape::EntityList(entity) => {
            out.push_str("{ ");
            write_entity(contract, entity, out);
            out.push_str("} ");
        }
        _ => {}
    }
}

/// An entity within an item: its own values, but no further entities, which would go round in circles.
fn write_entity(contract: &Contract, entity: EntityId, out: &mut String) {
    let leads_away = |slot: &SlotId| {
        matches!(contract.slot(*slot).shape, Shape::Entity(_) | Shape::EntityList(_) | Shape::ItemStates)
    };
    let children = &contract.entity(entity).children;
    let inside: BTreeSet<SlotId> =
        children.iter().flat_map(|slot| contract.below(*slot)).filter(|slot| !leads_away(slot)).collect();
    for slot in children {
        write(contract, *slot, &inside, out);
    }
}
