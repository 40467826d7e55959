//! `schema/*.graphql`: the contract, compiled to slots.
//!
//! Every field of an entity, down to the fields of nested value objects and of list elements, is a [`Slot`]:
//! `Household.assistance.dibaoMonthly`. Bindings, classes, grants and bitsets all index slots. A slot's tree ends
//! where another entity begins.

mod abstracts;
mod finds;
pub mod load;
pub mod published;
pub mod scan;
mod slots;
mod types;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use apollo_compiler::Schema;
use apollo_compiler::validation::Valid;

use crate::model::binding::conversion::Kind;
use scan::ScanRoot;

macro_rules! index {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u32);
        impl $name {
            pub fn index(self) -> usize {
                self.0 as usize
            }
        }
    };
}
pub(crate) use index;

index!(/// A slot of this contract.
    SlotId);
index!(/// An entity type of this contract.
    EntityId);
index!(/// A data class of this contract.
    ClassId);

/// The compiled contract. Immutable.
#[derive(Debug)]
pub struct Contract {
    /// What callers see and documents are validated against: the contract without hidden fields.
    pub published: Valid<Schema>,
    pub entities: Vec<Entity>,
    pub slots: Vec<Slot>,
    pub classes: Vec<Arc<str>>,
    pub queries: Vec<RootField>,
    /// The items of the portrait, in the order of the contract.
    pub items: Vec<Item>,
    /// The listings that callers may scan, in the order of the contract.
    pub scans: Vec<ScanRoot>,
    /// Types that were made for scans.
    pub(crate) made: HashSet<Arc<str>>,
    pub(crate) slot_paths: HashMap<String, SlotId>,
    pub(crate) query_type: Arc<str>,
    /// Slots of value types: field → type name, for rules that go through objects.
    pub(crate) full: Valid<Schema>,
}

/// An object type with a key: what is joined across endpoints.
#[derive(Debug)]
pub struct Entity {
    pub name: Arc<str>,
    pub key: SlotId,
    /// The slots at the top of the entity.
    pub children: Vec<SlotId>,
    /// The slot that leads to the entity whose relations this one takes.
    pub via: Option<SlotId>,
    /// The slot that holds the division code which territories are held against.
    pub territory: Option<SlotId>,
}

/// One field of an entity.
#[derive(Debug)]
pub struct Slot {
    pub id: SlotId,
    pub entity: EntityId,
    /// The object or list slot this stands in; `None` at the top of the entity.
    pub parent: Option<SlotId>,
    pub name: Arc<str>,
    /// Dotted, from the entity: `assistance.dibaoMonthly`.
    pub path: Arc<str>,
    pub shape: Shape,
    /// False for sections: they are always there.
    pub nullable: bool,
    /// `None` only for sections all of whose leaves have one.
    pub class: Option<ClassId>,
    /// The class stands on this very field, not on one above.
    pub class_is_own: bool,
    pub level: u8,
    /// The item of the portrait that this slot is, or is part of.
    pub item: Option<ItemId>,
    /// Input of other fetches only: nobody is ever shown it.
    pub hidden: bool,
    /// A source is still to come: where nobody fills it, that is no fault.
    pub awaited: bool,
    pub list: Option<ListRule>,
    /// `@range`: bounds of a number.
    pub range: Option<scan::Range>,
    /// The entity whose keys the values are: what departments answer by them is told of those entities.
    pub subjects: Option<EntityId>,
    /// The GraphQL type that values have, without list and non-null.
    pub type_name: Arc<str>,
    /// Not a field: a possible type of the slot above, whose type is an interface or a union. What is permitted is
    /// permitted by it: a field of an interface is another slot in each of its types.
    pub is_type: bool,
    /// Slots inside, for objects and lists of objects; the possible types, where the type is abstract.
    pub children: Vec<SlotId>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    Leaf(Kind),
    LeafList(Kind),
    Object,
    ObjectList,
    Entity(EntityId),
    EntityList(EntityId),
    /// `@itemStates`: filled by the engine.
    ItemStates,
}

/// `@list`: a long list, cut by `from`, `to` and `first`.
#[derive(Debug, Clone)]
pub struct ListRule {
    /// The element's field that `from` and `to` are held against.
    pub date: Option<Arc<str>>,
    pub first_max: usize,
}

index!(/// An item of the portrait.
    ItemId);

/// `@item`: one item of the portrait.
#[derive(Debug)]
pub struct Item {
    pub no: Arc<str>,
    pub zh: Arc<str>,
    pub slot: SlotId,
}

/// A field of the query type.
#[derive(Debug)]
pub struct RootField {
    pub name: Arc<str>,
    pub kind: RootKind,
    pub entity: EntityId,
    pub first_max: usize,
    /// False: where its source does not answer, there is no `data` at all.
    pub nullable: bool,
    /// What its arguments find entities by: who may not read it finds nothing.
    pub finds_by: Vec<FindsBy>,
    /// A source is still to come: where nobody answers it, that is no fault.
    pub awaited: bool,
}

/// An argument, and the values of the entity that it is held against.
#[derive(Debug)]
pub struct FindsBy {
    pub argument: Arc<str>,
    pub slots: Vec<SlotId>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootKind {
    /// One entity, by the argument that takes its key.
    ByKey { argument: Arc<str> },
    /// One entity, found by a source's query.
    Lookup,
    /// A list of entities.
    List,
    /// A Relay connection.
    Connection,
}

impl Contract {
    pub fn slot(&self, id: SlotId) -> &Slot {
        // Ids are made only by this contract's loader, in the order of the vector.
        #[expect(clippy::indexing_slicing, reason = "a SlotId is an index into this very vector")]
        &self.slots[id.index()]
    }

    pub fn entity(&self, id: EntityId) -> &Entity {
        #[expect(clippy::indexing_slicing, reason = "an EntityId is an index into this very vector")]
        &self.entities[id.index()]
    }

    pub fn item(&self, id: ItemId) -> &Item {
        #[expect(clippy::indexing_slicing, reason = "an ItemId is an index into this very vector")]
        &self.items[id.index()]
    }

    pub fn class_name(&self, id: ClassId) -> &str {
        self.classes.get(id.index()).map_or("", |name| name)
    }

    pub fn entity_named(&self, name: &str) -> Option<EntityId> {
        self.entities
            .iter()
            .position(|entity| &*entity.name == name)
            .and_then(|at| u32::try_from(at).ok())
            .map(EntityId)
    }

    /// The slot at `path` (dotted) of an entity.
    pub fn slot_at(&self, entity: EntityId, path: &str) -> Option<SlotId> {
        self.slot_paths.get(&format!("{}.{path}", self.entity(entity).name)).copied()
    }

    /// The child of a slot (or of the entity's top) by field name.
    pub fn child(&self, entity: EntityId, parent: Option<SlotId>, name: &str) -> Option<SlotId> {
        let children = match parent {
            Some(parent) => &self.slot(parent).children,
            None => &self.entity(entity).children,
        };
        children.iter().copied().find(|child| &*self.slot(*child).name == name)
    }

    /// `Household.assistance.dibaoMonthly`.
    pub fn full_path(&self, id: SlotId) -> String {
        let slot = self.slot(id);
        format!("{}.{}", self.entity(slot.entity).name, slot.path)
    }

    /// The slot and everything below it.
    pub fn below(&self, id: SlotId) -> Vec<SlotId> {
        let mut all = vec![id];
        let mut next = 0;
        while let Some(slot) = all.get(next).copied() {
            all.extend(&self.slot(slot).children);
            next += 1;
        }
        all
    }

    /// The slots above, nearest first.
    pub fn above(&self, id: SlotId) -> impl Iterator<Item = SlotId> + '_ {
        std::iter::successors(self.slot(id).parent, |slot| self.slot(*slot).parent)
    }

    /// The slots that lead from an entity to the division code that it lies in, that one last: its own, or that of the entity
    /// whose relations it takes. `None`: it lies nowhere.
    pub fn territory_path(&self, entity: EntityId) -> Option<Vec<SlotId>> {
        let mut path = Vec::new();
        let mut at = entity;
        // Each entity once, should two take each other's relations.
        for _ in 0..=self.entities.len() {
            let found = self.entity(at);
            let next = found.territory.or(found.via)?;
            let mut slots: Vec<SlotId> = self.above(next).collect();
            slots.reverse();
            path.extend(slots);
            path.push(next);
            match self.slot(next).shape {
                _ if found.territory.is_some() => return Some(path),
                Shape::Entity(via) => at = via,
                _ => return None,
            }
        }
        None
    }

    /// Whether the slot's type is an interface or a union: its children are the types its values may have.
    pub fn is_abstract(&self, id: SlotId) -> bool {
        self.slot(id).children.first().is_some_and(|child| self.slot(*child).is_type)
    }

    /// All dotted paths of an entity, for hints.
    pub fn paths(&self, entity: EntityId) -> impl Iterator<Item = &str> {
        self.slots.iter().filter(move |slot| slot.entity == entity).map(|slot| &*slot.path)
    }

    /// What the contract says of a field.
    pub fn description(&self, id: SlotId) -> Option<Arc<str>> {
        let slot = self.slot(id);
        let parent = slot.parent.map_or(&self.entity(slot.entity).name, |parent| &self.slot(parent).type_name);
        let field = self.full.get_object(parent)?.fields.get(&*slot.name)?;
        field.description.as_ref().map(|text| text.as_str().into())
    }

    pub fn query(&self, name: &str) -> Option<&RootField> {
        self.queries.iter().find(|field| &*field.name == name)
    }

    /// The name of the query type.
    pub fn query_type(&self) -> &str {
        &self.query_type
    }
}
