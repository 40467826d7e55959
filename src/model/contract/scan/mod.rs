//! Scans: listings whose entities callers may filter, sort, group and count by what all departments hold of them. The
//! contract says so with one directive (`@scan`); what callers write their conditions in is made of the contract here.
//!
//! Filter types are made of types, not of places: a type that stands in two places has one filter. What a condition is
//! about is known where it is read, by going down the contract beside the filter ([`FilterTypes::member`]).

mod add;
mod marks;
mod seen;
mod text;
mod types;

use std::collections::HashMap;
use std::sync::Arc;

use rust_decimal::Decimal;

pub(super) use add::{Added, add};
pub(super) use marks::Marked;
pub use seen::SeenScans;

use super::{Contract, EntityId, Shape, SlotId};
use crate::model::rule::Compare;

/// Arguments of a scan that find nothing by a field of their own: the listing is a scan where one of them is given.
pub const ARGUMENTS: [&str; 4] = ["where", "orderBy", "among", "verdict"];
/// The field of a connection that makes the listing a scan where it is selected.
pub const COVERAGE: &str = "coverage";
/// The type of what a caller goes on with: the only text that may be long.
pub const RESUME: &str = "ScanResume";
/// The fields of a stream's frames that hold what was found; beside them stands [`PROGRESS`].
pub const SHOWN: [&str; 2] = ["page", "stats"];
/// The field of a stream's frames that tells how far it has come.
pub const PROGRESS: &str = "progress";
/// The field of a connection's edge that says why an entity is undetermined.
pub const MISSING: &str = "missing";

/// A listing that callers may scan: `@scan` stands on it.
#[derive(Debug)]
pub struct ScanRoot {
    /// Of the listing, in [`Contract::queries`].
    pub query: usize,
    /// The query that counts instead of listing. No source answers it, so it is none of [`Contract::queries`].
    pub stats: Option<Arc<str>>,
    pub entity: EntityId,
    /// The argument that takes the division to be scanned.
    pub division: Arc<str>,
    /// The type that the listing answers, and that of its edges.
    pub connection: Arc<str>,
    pub edge: Arc<str>,
    /// Those of all scans of the contract: through its fields, an entity leads to others.
    pub filter: Arc<FilterTypes>,
}

/// The types that the gateway added to the contract for its scans, and what is meant by them.
#[derive(Debug, Default)]
pub struct FilterTypes {
    /// What the fields of filter types mean, by the names of both.
    pub(super) members: HashMap<Arc<str>, HashMap<Arc<str>, Meant>>,
    /// The slots that values of enumerations stand for.
    pub(super) values: HashMap<Arc<str>, HashMap<Arc<str>, SlotId>>,
    /// The filter type of each entity.
    pub(super) entities: HashMap<EntityId, Arc<str>>,
}

/// What a field of a filter type means, wherever it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Meant {
    And,
    Or,
    Not,
    /// The field of the same name; of values of this filter type.
    Field(Arc<str>),
    Some(Arc<str>),
    Every(Arc<str>),
    None(Arc<str>),
    /// Of this filter type, one of numbers.
    Count(Arc<str>),
    Operator(Operator),
}

/// What is asked of one value. [`crate::model::rule::Filter`] has a filter for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// With a value of the field's type.
    Compare(Compare),
    /// With a list of such values.
    In,
    /// With a text.
    StartsWith,
    /// With true or false.
    Exists,
    /// With a number of days: fewer ago.
    WithinDays,
    /// With a number of days: as many ago or more.
    DaysAgo,
    /// With an object whose `in` is a list of states. Only items have states ([`Contract::is_item`]), and every filter
    /// has this operator, since it may be one of an item.
    ItemState,
}

/// A thing that a filter is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum About {
    /// An entity as a whole.
    Entity(EntityId),
    /// What stands in a slot. Of a list it is the list, or one of its elements: the filter type tells.
    Slot(SlotId),
    /// How many elements the list in this slot has.
    Count(SlotId),
}

/// What one member of a caller's filter means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Member {
    /// Its value is a list of filters of the same type, about the same.
    And,
    Or,
    /// Its value is a filter of the same type, about the same.
    Not,
    /// Its value is a filter of this type about the field in this slot; the slot's shape tells what that is. Where it is a
    /// reference to an entity, the filter is about that entity: `about` says so.
    Field {
        slot: SlotId,
        about: About,
        filter: Arc<str>,
    },
    /// Its value is a filter of this type about the elements.
    Some(About, Arc<str>),
    Every(About, Arc<str>),
    None(About, Arc<str>),
    /// Its value is a filter of this type about the number of elements.
    Count(About, Arc<str>),
    /// Its value is what is compared with.
    Operator(Operator),
}

impl FilterTypes {
    /// What `field` of the filter type `filter` means, where the filter is about `about`; `None`: there is no such field,
    /// which validation has refused before.
    pub fn member(&self, contract: &Contract, filter: &str, field: &str, about: About) -> Option<Member> {
        let elements = || match about {
            About::Slot(slot) => match contract.slot(slot).shape {
                Shape::EntityList(entity) => Some(About::Entity(entity)),
                _ => Some(about),
            },
            About::Entity(_) | About::Count(_) => None,
        };
        Some(match self.members.get(filter)?.get(field)? {
            Meant::And => Member::And,
            Meant::Or => Member::Or,
            Meant::Not => Member::Not,
            Meant::Field(filter) => {
                let slot = self.slot(contract, about, field)?;
                let about = match contract.slot(slot).shape {
                    Shape::Entity(entity) => About::Entity(entity),
                    _ => About::Slot(slot),
                };
                Member::Field { slot, about, filter: Arc::clone(filter) }
            }
            Meant::Some(filter) => Member::Some(elements()?, Arc::clone(filter)),
            Meant::Every(filter) => Member::Every(elements()?, Arc::clone(filter)),
            Meant::None(filter) => Member::None(elements()?, Arc::clone(filter)),
            Meant::Count(filter) => match about {
                About::Slot(slot) => Member::Count(About::Count(slot), Arc::clone(filter)),
                About::Entity(_) | About::Count(_) => return None,
            },
            Meant::Operator(operator) => Member::Operator(*operator),
        })
    }

    fn slot(&self, contract: &Contract, about: About, field: &str) -> Option<SlotId> {
        match about {
            About::Entity(entity) => contract.child(entity, None, field),
            About::Slot(slot) => contract.child(contract.slot(slot).entity, Some(slot), field),
            About::Count(_) => None,
        }
    }

    /// The filter type of an entity; `None`: no scan leads to it.
    pub fn of_entity(&self, entity: EntityId) -> Option<&Arc<str>> {
        self.entities.get(&entity)
    }

    /// The slot that a value of one of the enumerations of fields stands for (to sort, group or measure by).
    pub fn slot_of_value(&self, enumeration: &str, value: &str) -> Option<SlotId> {
        self.values.get(enumeration)?.get(value).copied()
    }
}

/// `@range`: what a number is at least and at most, so that sums of which a part is not known have bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub min: Decimal,
    /// None: no bound is told.
    pub max: Option<Decimal>,
}

impl Contract {
    /// The scan of a listing, by its index in [`Contract::queries`].
    pub fn scan_of(&self, query: usize) -> Option<&ScanRoot> {
        self.scans.iter().find(|scan| scan.query == query)
    }

    /// Whether the gateway made the type for its scans: it follows from what is written, and changes with it.
    pub fn is_made(&self, type_name: &str) -> bool {
        self.made.contains(type_name)
    }

    /// Whether the slot is an item of the portrait itself, and not what stands in one: only items have states.
    pub fn is_item(&self, slot: SlotId) -> bool {
        self.slot(slot).item.is_some_and(|item| self.item(item).slot == slot)
    }
}
