//! Documents that ask for everything, made from the contract.

use huxiang::model::contract::{Contract, EntityId, Shape, Slot, SlotId};

/// All fields of a household and of its members, and the state of every item.
pub fn everything(contract: &Contract) -> String {
    let household = contract.entity_named("Household").expect("the contract has households");
    format!("{} items {{ no path state source code message }}", fields_of(contract, household, &mut vec![household]))
}

/// A query for everything of one household, by `$id`.
pub fn portrait(contract: &Contract) -> String {
    format!("query Portrait($id: ID!) {{ household(id: $id) {{ {} }} }}", everything(contract))
}

/// A query for all of these sections of one household, by `$id`.
pub fn sections(contract: &Contract, names: &[&str]) -> String {
    let household = contract.entity_named("Household").expect("the contract has households");
    let all = contract.entity(household).children.iter();
    let wanted: Vec<SlotId> = all.copied().filter(|slot| names.contains(&&*contract.slot(*slot).name)).collect();
    assert_eq!(wanted.len(), names.len(), "the contract has other sections than {names:?}");
    let fields = selection(contract, &wanted, &mut vec![household]);
    format!("query Sections($id: ID!) {{ household(id: $id) {{ id {fields} }} }}")
}

fn fields_of(contract: &Contract, entity: EntityId, within: &mut Vec<EntityId>) -> String {
    selection(contract, &contract.entity(entity).children, within)
}

fn selection(contract: &Contract, slots: &[SlotId], within: &mut Vec<EntityId>) -> String {
    // Who looked is not of the portrait, and nobody's but those whose data it was.
    let log = |slot: &&Slot| slot.class.is_some_and(|class| contract.class_name(class) == "access-log");
    let fields = slots.iter().map(|slot| contract.slot(*slot)).filter(|slot| !slot.hidden && !log(slot));
    fields
        .filter_map(|slot| match slot.shape {
            Shape::Leaf(_) | Shape::LeafList(_) => Some(slot.name.to_string()),
            Shape::Object | Shape::ObjectList => {
                Some(format!("{} {{ {} }}", slot.name, selection(contract, &slot.children, within)))
            }
            // No way back up.
            Shape::Entity(below) | Shape::EntityList(below) if !within.contains(&below) => {
                within.push(below);
                let fields = fields_of(contract, below, within);
                within.pop();
                Some(format!("{} {{ {fields} }}", slot.name))
            }
            Shape::Entity(_) | Shape::EntityList(_) | Shape::ItemStates => None,
        })
        .collect::<Vec<_>>()
        .join(" ")
}
