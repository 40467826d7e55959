//! Slots → filter types and the enumerations of fields: what [`super::text`] writes down, and [`super::FilterTypes`]
//! looks up.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use apollo_compiler::Schema;

use super::super::slots::Built;
use super::super::{EntityId, Shape, Slot, SlotId, abstracts};
use super::{FilterTypes, Marked, Meant, Operator};
use crate::model::binding::conversion::Kind;
use crate::model::rule::Compare;

/// The states that a condition can name, in the contract and here.
pub(super) const STATES: &str = "ItemState";
pub(super) const STATE_FILTER: &str = "ScanStateFilter";

/// A filter type.
#[derive(Debug)]
pub(super) struct Input {
    pub name: Arc<str>,
    pub description: String,
    pub members: Vec<InputMember>,
}

#[derive(Debug)]
pub(super) struct InputMember {
    pub name: Arc<str>,
    /// As GraphQL writes it.
    pub ty: String,
    pub description: String,
    pub meant: Meant,
}

/// The fields of an entity that something can be done by.
#[derive(Debug)]
pub(super) struct FieldsOf {
    pub name: Arc<str>,
    pub description: String,
    /// Value, description, slot.
    pub values: Vec<(Arc<str>, String, SlotId)>,
}

/// What an entity that is scanned has.
#[derive(Debug)]
pub(super) struct Scanned {
    pub entity: EntityId,
    pub name: Arc<str>,
    pub sortable: FieldsOf,
    pub groupable: FieldsOf,
    pub numbers: FieldsOf,
}

#[derive(Debug, Default)]
pub(super) struct Made {
    pub inputs: Vec<Input>,
    pub scanned: Vec<Scanned>,
    entities: HashMap<EntityId, Arc<str>>,
}

impl Made {
    pub fn of(schema: &Schema, built: &Built, scans: &[Marked]) -> Self {
        let states = !built.items.is_empty() && schema.get_enum(STATES).is_some();
        let mut making = Making { schema, built, states, made: Self::default(), at: HashMap::new() };
        let mut scanned = HashSet::new();
        for scan in scans {
            let Some(query) = built.queries.get(scan.query) else { continue };
            making.entities_from(query.entity);
            if scanned.insert(query.entity) {
                making.fields_of(query.entity);
            }
        }
        if states && !making.made.inputs.is_empty() {
            making.state_filter();
        }
        making.made
    }

    /// The tables, for reading what callers write.
    pub fn tables(&self) -> FilterTypes {
        let meant = |input: &Input| {
            input.members.iter().map(|member| (Arc::clone(&member.name), member.meant.clone())).collect()
        };
        let of_values = |fields: &FieldsOf| {
            let values = fields.values.iter().map(|(name, _, slot)| (Arc::clone(name), *slot)).collect();
            (Arc::clone(&fields.name), values)
        };
        let all = self.scanned.iter().flat_map(|of| [&of.sortable, &of.groupable, &of.numbers]);
        FilterTypes {
            members: self.inputs.iter().map(|input| (Arc::clone(&input.name), meant(input))).collect(),
            values: all.map(of_values).collect(),
            entities: self.entities.clone(),
        }
    }
}

struct Making<'a> {
    schema: &'a Schema,
    built: &'a Built,
    /// Fields have states that can be asked for.
    states: bool,
    made: Made,
    /// Where a filter type stands among those that were made.
    at: HashMap<Arc<str>, usize>,
}

impl<'a> Making<'a> {
    /// The filter types of an entity and of all that its fields lead to.
    fn entities_from(&mut self, first: EntityId) {
        let mut next = vec![first];
        while let Some(id) = next.pop() {
            let Some(entity) = self.built.entities.get(id.index()) else { continue };
            if self.made.entities.contains_key(&id) {
                continue;
            }
            let name: Arc<str> = filter_of(&entity.name).into();
            self.made.entities.insert(id, Arc::clone(&name));
            self.object(&entity.name, false);
            let mut slots: Vec<SlotId> = entity.children.iter().rev().copied().collect();
            while let Some(slot) = slots.pop().and_then(|slot| self.slot(slot)) {
                if !self.is_filterable(slot) {
                    continue;
                }
                let ty = self.filter_type(slot);
                self.field(&entity.name, slot, &ty);
                if let Shape::Entity(other) | Shape::EntityList(other) = slot.shape {
                    next.push(other);
                } else {
                    slots.extend(slot.children.iter().rev());
                }
            }
        }
    }

    fn slot(&self, id: SlotId) -> Option<&'a Slot> {
        self.built.slots.get(id.index())
    }

    /// Whether anything can be asked of the field. What stands under an interface or a union cannot be named without its
    /// type, what is hidden is nobody's to ask, and what the gateway fills no department holds.
    fn is_filterable(&self, slot: &Slot) -> bool {
        if slot.hidden || slot.is_type || abstracts::is_abstract(self.schema, &slot.type_name) {
            return false;
        }
        match &slot.shape {
            Shape::Leaf(kind) | Shape::LeafList(kind) => !matches!(kind, Kind::GeoJson | Kind::Any),
            Shape::Object => self.has_filterable(slot),
            Shape::ObjectList | Shape::Entity(_) | Shape::EntityList(_) => true,
            Shape::ItemStates => false,
        }
    }

    /// Value objects nest a few levels only, which loading has looked at.
    fn has_filterable(&self, slot: &Slot) -> bool {
        slot.children.iter().filter_map(|child| self.slot(*child)).any(|child| self.is_filterable(child))
    }

    /// The name of the filter type of what stands in a slot, which is made where it is not there.
    fn filter_type(&mut self, slot: &Slot) -> String {
        match &slot.shape {
            Shape::Leaf(kind) => self.value(&slot.type_name, kind),
            Shape::LeafList(kind) => {
                let element = self.value(&slot.type_name, kind);
                self.list(&element, true)
            }
            Shape::ObjectList => {
                let element = filter_of(&slot.type_name);
                let has_fields = self.has_filterable(slot);
                if has_fields {
                    self.object(&slot.type_name, true);
                }
                self.list(&element, has_fields)
            }
            Shape::EntityList(_) => self.list(&filter_of(&slot.type_name), true),
            Shape::Entity(_) | Shape::ItemStates => filter_of(&slot.type_name),
            Shape::Object => {
                self.object(&slot.type_name, true);
                filter_of(&slot.type_name)
            }
        }
    }

    /// The filter type of an object; the fields come with the slots.
    fn object(&mut self, type_name: &str, value_object: bool) {
        let name = filter_of(type_name);
        let itself = format!("[{name}!]");
        let mut members = vec![
            member("and", &itself, "All of these are so. 同时满足。", Meant::And),
            member("or", &itself, "One of these is so. 满足其一。", Meant::Or),
            member("not", &name, "This is not so. 不满足。", Meant::Not),
        ];
        if value_object {
            members.extend(self.common());
        }
        self.input(
            &name,
            format!("A condition on `{type_name}`; all members are required. 对 {type_name} 的条件，各项须同时满足。"),
            members,
        );
    }

    fn list(&mut self, element: &str, has_elements: bool) -> String {
        let of = element.strip_suffix("Filter").unwrap_or(element);
        let name = filter_of(&format!("{of}List"));
        let mut members = Vec::new();
        if has_elements {
            let element: Arc<str> = element.into();
            members = vec![
                member("some", &element, "An element is so. 至少有一项满足。", Meant::Some(Arc::clone(&element))),
                member(
                    "every",
                    &element,
                    "All elements are so; of none they are. 每一项都满足，空列表视为满足。",
                    Meant::Every(Arc::clone(&element)),
                ),
                member("none", &element, "No element is so. 没有一项满足。", Meant::None(Arc::clone(&element))),
            ];
        }
        let count = self.value("Int", &Kind::Int);
        members.push(member("count", &count, "How many there are. 项数。", Meant::Count(count.as_str().into())));
        members.extend(self.state());
        self.input(&name, format!("A condition on a list of `{of}`. 对 {of} 列表的条件。"), members);
        name
    }

    fn value(&mut self, type_name: &str, kind: &Kind) -> String {
        let (name, ty) = match kind {
            Kind::Text => ("Text", "String"),
            // Times are compared by their day.
            Kind::DateTime => ("Date", "Date"),
            Kind::Id if type_name == "ID" => ("Id", "ID"),
            _ => (type_name, type_name),
        };
        let (name, mut members) = (filter_of(name), operators(kind, type_name, ty));
        members.extend(self.common());
        let said = match kind {
            Kind::Enum(_) => format!("A condition on a value of `{type_name}`. 对 {type_name} 值的条件。"),
            _ => format!("A condition on a value ({ty}). 对值的条件（{ty}）。"),
        };
        self.input(&name, said, members);
        name
    }

    /// What is asked of anything that may be missing.
    fn common(&self) -> impl Iterator<Item = InputMember> + use<> {
        let exists = "There is a value, or there is none: NO_RECORD. 有值或无记录。";
        std::iter::once(operator("exists", "Boolean", exists, Operator::Exists)).chain(self.state())
    }

    fn state(&self) -> Option<InputMember> {
        let said = "The item's state: ANSWERED, NO_RECORD or CONFLICT; of items only. 指标项状态，限已答复、无记录、不一致；仅用于指标项。";
        self.states.then(|| operator("itemState", STATE_FILTER, said, Operator::ItemState))
    }

    fn state_filter(&mut self) {
        let said = "It is one of these. 为其中之一。";
        let members = vec![operator("in", &format!("[{STATES}!]!"), said, Operator::In)];
        let said = "A condition on the state of an item. 对指标项状态的条件。";
        self.input(STATE_FILTER, said.to_owned(), members);
    }

    fn input(&mut self, name: &str, description: String, members: Vec<InputMember>) {
        if !self.at.contains_key(name) {
            let name: Arc<str> = name.into();
            self.at.insert(Arc::clone(&name), self.made.inputs.len());
            self.made.inputs.push(Input { name, description, members });
        }
    }

    /// A field of the filter type of what the slot stands in.
    fn field(&mut self, entity: &str, slot: &Slot, ty: &str) {
        let parent = slot.parent.and_then(|parent| self.slot(parent)).map_or(entity, |parent| &*parent.type_name);
        let description = self.description(entity, slot);
        let at = self.at.get(filter_of(parent).as_str()).copied();
        let Some(input) = at.and_then(|at| self.made.inputs.get_mut(at)) else { return };
        let meant = Meant::Field(ty.into());
        let found = InputMember { name: Arc::clone(&slot.name), ty: ty.to_owned(), description, meant };
        // A type that stands in two places has the same fields in both. Those that are named as an operator stand twice,
        // and are told as faults.
        let known = |member: &InputMember| member.name == found.name && matches!(member.meant, Meant::Field(_));
        if !input.members.iter().any(known) {
            input.members.push(found);
        }
    }

    /// What the contract says of the field.
    fn description(&self, entity: &str, slot: &Slot) -> String {
        let parent = slot.parent.and_then(|parent| self.slot(parent)).map_or(entity, |parent| &*parent.type_name);
        let field = self.schema.get_object(parent).and_then(|object| object.fields.get(&*slot.name));
        match field.and_then(|field| field.description.as_ref()) {
            Some(text) => text.to_string(),
            None => format!("`{}` of `{parent}`. {parent} 的字段 {}。", slot.name, slot.name),
        }
    }

    /// The fields of an entity that can be sorted, grouped and measured by: single values of its own, not those of lists.
    fn fields_of(&mut self, id: EntityId) {
        let Some(entity) = self.built.entities.get(id.index()) else { return };
        let mut leaves = Vec::new();
        let mut slots: Vec<SlotId> = entity.children.iter().rev().copied().collect();
        while let Some(slot) = slots.pop().and_then(|slot| self.slot(slot)) {
            match slot.shape {
                _ if !self.is_filterable(slot) => {}
                Shape::Leaf(_) | Shape::LeafList(_) => leaves.push(slot),
                Shape::Object => slots.extend(slot.children.iter().rev()),
                _ => {}
            }
        }
        let of = |name: String, said: String, which: &dyn Fn(&Slot) -> bool| FieldsOf {
            name: name.into(),
            description: said,
            values: leaves
                .iter()
                .filter(|slot| which(slot))
                .map(|slot| (slot.path.replace('.', "_").into(), self.description(&entity.name, slot), slot.id))
                .collect(),
        };
        let elsewhere = entity.territory.is_none().then(|| self.territory_of_another(id)).flatten();
        let name = &entity.name;
        let is_number = |slot: &Slot| matches!(slot.shape, Shape::Leaf(Kind::Int | Kind::Decimal));
        let is_date = |slot: &Slot| matches!(slot.shape, Shape::Leaf(Kind::Date | Kind::DateTime));
        let is_kind = |slot: &Slot| {
            matches!(slot.shape, Shape::Leaf(Kind::Enum(_) | Kind::Boolean) | Shape::LeafList(Kind::Enum(_)))
        };
        let mut scanned = Scanned {
            entity: id,
            name: Arc::clone(name),
            sortable: of(
                format!("{name}Sortable"),
                format!("Fields that `{name}` can be sorted by. {name} 可据以排序的字段。"),
                &|slot| is_number(slot) || is_date(slot),
            ),
            groupable: of(
                format!("{name}Groupable"),
                format!("Fields that `{name}` can be grouped by. {name} 可据以分组的字段。"),
                &|slot| is_kind(slot) || is_date(slot) || entity.territory == Some(slot.id),
            ),
            numbers: of(
                format!("{name}Number"),
                format!("Numbers of `{name}` that can be measured. {name} 可统计的数值字段。"),
                &is_number,
            ),
        };
        scanned.groupable.values.extend(elsewhere);
        self.made.scanned.push(scanned);
    }

    /// The territory of the entity whose relations this one takes, by its name from here: figures are asked for by division.
    fn territory_of_another(&self, id: EntityId) -> Option<(Arc<str>, String, SlotId)> {
        let mut names = Vec::new();
        let mut at = self.built.entities.get(id.index())?;
        // Each entity once, should two take each other's relations.
        for _ in 0..=self.built.entities.len() {
            let slot = self.slot(at.territory.or(at.via)?).filter(|slot| self.is_filterable(slot))?;
            names.push(slot.path.replace('.', "_"));
            match slot.shape {
                _ if at.territory.is_some() => {
                    return Some((names.join("_").into(), self.description(&at.name, slot), slot.id));
                }
                Shape::Entity(via) => at = self.built.entities.get(via.index())?,
                _ => return None,
            }
        }
        None
    }
}

pub(super) fn filter_of(type_name: &str) -> String {
    format!("{type_name}Filter")
}

fn member(name: &str, ty: &str, description: &str, meant: Meant) -> InputMember {
    InputMember { name: name.into(), ty: ty.to_owned(), description: description.to_owned(), meant }
}

fn operator(name: &str, ty: &str, description: &str, operator: Operator) -> InputMember {
    member(name, ty, description, Meant::Operator(operator))
}

/// What values of a kind are compared by.
fn operators(kind: &Kind, type_name: &str, ty: &str) -> Vec<InputMember> {
    let compare = |name: &str, said: &str, compare| operator(name, ty, said, Operator::Compare(compare));
    let equal = || compare("eq", "It is this. 等于。", Compare::Eq);
    let of_several = || {
        let list = format!("[{ty}!]");
        let different = compare("ne", "It is not this; so is none. 不等于，无记录亦满足。", Compare::Ne);
        vec![equal(), different, operator("in", &list, "It is one of these. 为其中之一。", Operator::In)]
    };
    let ordered = || {
        let order = [
            compare("lt", "It is less. 小于。", Compare::Lt),
            compare("lte", "It is this or less. 小于或等于。", Compare::Le),
            compare("gt", "It is more. 大于。", Compare::Gt),
            compare("gte", "It is this or more. 大于或等于。", Compare::Ge),
        ];
        of_several().into_iter().chain(order).collect::<Vec<_>>()
    };
    match kind {
        Kind::Boolean => vec![equal()],
        Kind::Enum(_) => of_several(),
        Kind::Text => {
            let starts = "It starts with this. 以此开头。";
            of_several().into_iter().chain([operator("startsWith", ty, starts, Operator::StartsWith)]).collect()
        }
        Kind::Int | Kind::Decimal => ordered(),
        Kind::Date | Kind::DateTime => {
            let within = "Fewer days ago than this; what is to come is too. 距今不足此天数，未来日期亦满足。";
            let ago = "As many days ago or more. 距今已满此天数。";
            let days = [
                operator("ltDaysAgo", "Int", within, Operator::WithinDays),
                operator("gteDaysAgo", "Int", ago, Operator::DaysAgo),
            ];
            ordered().into_iter().chain(days).collect()
        }
        Kind::Id if matches!(type_name, "ID" | "IdNumber") => of_several(),
        // A scalar of the contract's own, which conditions do not look into.
        Kind::Id | Kind::GeoJson | Kind::Any => Vec::new(),
    }
}
