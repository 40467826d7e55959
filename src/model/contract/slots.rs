//! Types of the validated SDL → slots, classes, items, root queries.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use apollo_compiler::Schema;
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::schema::{Component, ExtendedType, FieldDefinition, ObjectType};
use apollo_compiler::validation::Valid;

use super::abstracts;
use super::load::Texts;
use super::published::{Directives, text_argument};
use super::scan::Marked;
use super::{ClassId, Entity, EntityId, Item, ItemId, ListRule, RootField, RootKind, Shape, Slot, SlotId};
use crate::base::fault::Faults;
use crate::model::binding::conversion::Kind;

/// Nested value objects at most; deeper is a fault (it is recursion, or unreadable).
const NESTING_MAX: usize = 8;
const PAGE_MAX: usize = 200;
const LIST_MAX: usize = 500;

/// What comes of it.
pub(super) struct Built {
    pub entities: Vec<Entity>,
    pub slots: Vec<Slot>,
    pub classes: Vec<Arc<str>>,
    pub queries: Vec<RootField>,
    pub items: Vec<Item>,
    pub scans: Vec<Marked>,
}

pub(super) struct SlotBuilder<'a> {
    pub(super) schema: &'a Valid<Schema>,
    texts: &'a Texts,
    faults: &'a mut Faults,
    entities: Vec<Entity>,
    pub(super) slots: Vec<Slot>,
    pub(super) classes: Vec<Arc<str>>,
    pub(super) queries: Vec<RootField>,
    items: Vec<Item>,
    pub(super) scans: Vec<Marked>,
    pub(super) entity_ids: HashMap<String, EntityId>,
}

/// What a slot inherits from the field or type above it.
#[derive(Clone, Default)]
pub(super) struct Above {
    pub parent: Option<SlotId>,
    pub path: String,
    pub class: Option<(ClassId, u8)>,
    pub item: Option<ItemId>,
    pub hidden: bool,
    pub awaited: bool,
    pub depth: usize,
    /// Inside the elements of a list.
    pub in_list: bool,
}

impl<'a> SlotBuilder<'a> {
    pub(super) fn new(schema: &'a Valid<Schema>, texts: &'a Texts, faults: &'a mut Faults) -> Self {
        Self {
            schema,
            texts,
            faults,
            entities: Vec::new(),
            slots: Vec::new(),
            classes: Vec::new(),
            queries: Vec::new(),
            items: Vec::new(),
            scans: Vec::new(),
            entity_ids: HashMap::new(),
        }
    }

    pub(super) fn build(mut self) -> Built {
        self.check_interfaces();
        let schema = self.schema;
        let entities: Vec<&ObjectType> = schema
            .types
            .values()
            .filter_map(|definition| definition.as_object())
            .filter(|object| object.directives.has("key"))
            .collect();
        for (at, object) in entities.iter().enumerate() {
            self.entity_ids.insert(object.name.to_string(), EntityId(u32::try_from(at).unwrap_or(u32::MAX)));
        }
        for object in &entities {
            self.entity(object);
        }
        for object in &entities {
            self.entity_directives(object);
        }
        self.root();
        self.check_scans_elsewhere();
        let Self { entities, slots, classes, queries, items, scans, .. } = self;
        Built { entities, slots, classes, queries, items, scans }
    }

    pub(super) fn fault(&mut self, span: Option<SourceSpan>, message: String, hint: &str) {
        self.texts.fault(self.faults, &self.schema.sources, span, message, hint);
    }

    fn entity(&mut self, object: &ObjectType) {
        let id = self.entity_ids.get(object.name.as_str()).copied().unwrap_or(EntityId(0));
        let class = self.class_of(&object.directives);
        let above = Above { class, ..Above::default() };
        let children = self.fields(id, object, &above);
        let key_name = text_argument(&object.directives, "key", "fields").unwrap_or_default().to_owned();
        let key = children
            .iter()
            .copied()
            .find(|child| self.slots.get(child.index()).is_some_and(|slot| *slot.name == *key_name));
        let usable =
            key.and_then(|key| self.slots.get(key.index())).is_some_and(|slot| matches!(slot.shape, Shape::Leaf(_)));
        if !usable {
            self.fault(
                object.name.location(),
                format!("the key of `{}` must be one of its own scalar fields, and `{key_name}` is not", object.name),
                "for example @key(fields: \"id\")",
            );
        }
        self.entities.push(Entity {
            name: object.name.as_str().into(),
            key: key.unwrap_or(SlotId(0)),
            children,
            via: None,
            territory: None,
        });
    }

    /// `@relation` and `@territory`, which name slots and so come after them.
    fn entity_directives(&mut self, object: &ObjectType) {
        let Some(id) = self.entity_ids.get(object.name.as_str()).copied() else { return };
        for (directive, argument) in [("relation", "via"), ("territory", "by")] {
            let Some(path) = text_argument(&object.directives, directive, argument).map(str::to_owned) else {
                continue;
            };
            let slot = self.slots.iter().find(|slot| slot.entity == id && *slot.path == *path);
            let found = match (directive, slot) {
                ("relation", Some(slot)) if matches!(slot.shape, Shape::Entity(_)) => Some(slot.id),
                ("territory", Some(slot)) if matches!(slot.shape, Shape::Leaf(_)) => Some(slot.id),
                _ => None,
            };
            if found.is_none() {
                self.fault(
                    object.name.location(),
                    format!(
                        "@{directive}({argument}: \"{path}\"): `{}` has no such field of the right kind",
                        object.name
                    ),
                    "@relation names a field whose type is an entity, @territory a text field",
                );
            }
            if let Some(entity) = self.entities.get_mut(id.index()) {
                if directive == "relation" {
                    entity.via = found;
                } else {
                    entity.territory = found;
                }
            }
        }
    }

    pub(super) fn fields(&mut self, entity: EntityId, object: &ObjectType, above: &Above) -> Vec<SlotId> {
        let children: Vec<SlotId> = object.fields.values().map(|field| self.field(entity, field, above)).collect();
        self.check_interface_classes(object, &children);
        children
    }

    fn field(&mut self, entity: EntityId, field: &Component<FieldDefinition>, above: &Above) -> SlotId {
        let id = SlotId(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        let path =
            if above.path.is_empty() { field.name.to_string() } else { format!("{}.{}", above.path, field.name) };
        let own_class = self.class_of(&field.directives);
        let type_name = field.ty.inner_named_type().as_str().to_owned();
        let type_class = match self.schema.types.get(type_name.as_str()) {
            Some(ExtendedType::Object(object)) if !self.entity_ids.contains_key(&type_name) => {
                self.class_of(&object.directives)
            }
            Some(ExtendedType::Interface(interface)) => self.class_of(&interface.directives),
            Some(ExtendedType::Union(union)) => self.class_of(&union.directives),
            _ => None,
        };
        let class = own_class.or(type_class).or(above.class);
        let item = self.item_of(field, id).or(above.item);
        let hidden = above.hidden || field.directives.has("hidden");
        let awaited = above.awaited || field.directives.has("awaited");
        let shape = self.shape(field, &type_name);
        let subjects = self.subjects_of(field, &shape);
        let range = self.range_of(field, &shape);
        self.slots.push(Slot {
            id,
            entity,
            parent: above.parent,
            name: field.name.as_str().into(),
            path: path.as_str().into(),
            shape: shape.clone(),
            nullable: !field.ty.is_non_null(),
            class: class.map(|(class, _)| class),
            class_is_own: own_class.is_some() || type_class.is_some(),
            level: class.map_or(0, |(_, level)| level),
            item,
            hidden,
            awaited,
            list: self.list_of(field),
            range,
            subjects,
            type_name: type_name.as_str().into(),
            is_type: false,
            children: Vec::new(),
        });
        self.check_class(field, &path, class.is_some(), &shape);
        if awaited && field.ty.is_non_null() && shape != Shape::Object {
            self.non_null_awaited(field, &path);
        }
        if above.in_list && matches!(shape, Shape::Entity(_) | Shape::EntityList(_)) {
            self.fault(
                field.location(),
                format!("`{path}` leads to another entity from inside a list of value objects"),
                "give the element the other's key as an ID, or give the element's type a @key to make it an entity",
            );
        }
        if matches!(shape, Shape::Object | Shape::ObjectList) {
            if above.depth >= NESTING_MAX {
                self.fault(field.location(), format!("`{path}` nests value objects more than {NESTING_MAX} deep; a value object cannot contain itself"), "give the type a @key to make it an entity, or flatten it");
            } else {
                let in_list = above.in_list || shape == Shape::ObjectList;
                let depth = above.depth + 1;
                let inside = Above { parent: Some(id), path, class, item, hidden, awaited, depth, in_list };
                let children = match self.schema.get_object(&type_name) {
                    Some(object) => {
                        let children = self.fields(entity, object, &inside);
                        self.check_list(field, &children);
                        children
                    }
                    None => self.possible_types(entity, field, &inside),
                };
                if let Some(slot) = self.slots.get_mut(id.index()) {
                    slot.children = children;
                }
            }
        }
        id
    }

    fn non_null_awaited(&mut self, field: &Component<FieldDefinition>, path: &str) {
        let message = format!("`{path}` is non-null and @awaited: it is null until a source fills it");
        self.fault(field.location(), message, "make it nullable, or leave @awaited out");
    }

    fn check_class(&mut self, field: &Component<FieldDefinition>, path: &str, has_class: bool, shape: &Shape) {
        // An object of an abstract type is no section: that it is there tells what it is.
        let section =
            matches!(shape, Shape::Object) && !abstracts::is_abstract(self.schema, field.ty.inner_named_type());
        if !has_class && !section {
            self.fault(
                field.location(),
                format!("`{path}` has no data class"),
                "add @class(name: \"…\", level: …) to the field, the field above or the type",
            );
        }
    }

    fn shape(&mut self, field: &Component<FieldDefinition>, type_name: &str) -> Shape {
        if field.directives.has("itemStates") {
            self.check_filled_by_gateway(type_name, field.location());
            return Shape::ItemStates;
        }
        let list = field.ty.is_list();
        if list && field.ty.item_type().is_list() {
            self.fault(
                field.location(),
                format!("`{}` is a list of lists", field.name),
                "wrap the inner list in an object",
            );
        }
        if let Some(entity) = self.entity_ids.get(type_name).copied() {
            return if list { Shape::EntityList(entity) } else { Shape::Entity(entity) };
        }
        match self.schema.types.get(type_name) {
            Some(ExtendedType::Object(_) | ExtendedType::Interface(_) | ExtendedType::Union(_)) => {
                if list {
                    Shape::ObjectList
                } else {
                    Shape::Object
                }
            }
            Some(ExtendedType::Enum(definition)) => {
                let values: Vec<String> = definition.values.keys().map(ToString::to_string).collect();
                leaf(list, Kind::Enum(values.into()))
            }
            _ => leaf(list, kind(type_name)),
        }
    }

    /// `@list(date:)` names a date of the elements.
    pub(super) fn check_list(&mut self, field: &Component<FieldDefinition>, children: &[SlotId]) {
        let Some(date) = text_argument(&field.directives, "list", "date").map(str::to_owned) else { return };
        let is_it = |slot: &Slot| *slot.name == *date && matches!(slot.shape, Shape::Leaf(Kind::Date | Kind::DateTime));
        if !children.iter().filter_map(|child| self.slots.get(child.index())).any(is_it) {
            self.fault(
                field.location(),
                format!("@list(date: \"{date}\"): the elements of `{}` have no such Date or DateTime", field.name),
                "name the field of the elements that `from` and `to` cut by",
            );
        }
    }

    pub(super) fn class_of(&mut self, directives: &impl Directives) -> Option<(ClassId, u8)> {
        let name = text_argument(directives, "class", "name")?;
        let level = text_argument(directives, "class", "level").and_then(|level| level.parse().ok()).unwrap_or(1);
        let at = self.classes.iter().position(|class| **class == *name).unwrap_or_else(|| {
            self.classes.push(name.into());
            self.classes.len() - 1
        });
        Some((ClassId(u32::try_from(at).unwrap_or(u32::MAX)), level))
    }

    fn item_of(&mut self, field: &Component<FieldDefinition>, slot: SlotId) -> Option<ItemId> {
        let no = text_argument(&field.directives, "item", "no")?.to_owned();
        let zh = text_argument(&field.directives, "item", "zh").unwrap_or_default().to_owned();
        if self.items.iter().any(|item| *item.no == *no) {
            self.fault(field.location(), format!("item {no} stands twice in the contract"), "an item is one field");
        }
        self.items.push(Item { no: no.into(), zh: zh.into(), slot });
        Some(ItemId(u32::try_from(self.items.len() - 1).unwrap_or(u32::MAX)))
    }

    /// `@subjects`: the values are keys of an entity.
    fn subjects_of(&mut self, field: &Component<FieldDefinition>, shape: &Shape) -> Option<EntityId> {
        let name = text_argument(&field.directives, "subjects", "entity")?.to_owned();
        let entity = self.entity_ids.get(&name).copied();
        if entity.is_none() || !matches!(shape, Shape::Leaf(_) | Shape::LeafList(_)) {
            self.fault(
                field.location(),
                format!("@subjects(entity: \"{name}\"): `{}` holds no keys of such an entity", field.name),
                "@subjects stands on a field of scalars, and names the entity (a type with @key) whose keys they are",
            );
        }
        entity
    }

    fn list_of(&self, field: &Component<FieldDefinition>) -> Option<ListRule> {
        field.directives.get("list")?;
        let date = text_argument(&field.directives, "list", "date").map(Into::into);
        let first_max =
            text_argument(&field.directives, "list", "firstMax").and_then(|max| max.parse().ok()).unwrap_or(LIST_MAX);
        Some(ListRule { date, first_max })
    }

    fn root(&mut self) {
        let schema = self.schema;
        let Some(query) = schema.schema_definition.query.as_ref().and_then(|name| schema.get_object(name)) else {
            return;
        };
        for field in query.fields.values() {
            match self.root_kind(field) {
                Some((entity, kind)) => {
                    if kind == RootKind::Connection {
                        self.check_filled_by_gateway(field.ty.inner_named_type(), field.location());
                    }
                    let first_max = text_argument(&field.directives, "list", "firstMax")
                        .and_then(|max| max.parse().ok())
                        .unwrap_or(PAGE_MAX);
                    let finds_by = self.finds_by(field, entity);
                    let awaited = field.directives.has("awaited");
                    if awaited && field.ty.is_non_null() {
                        self.non_null_awaited(field, &field.name);
                    }
                    self.queries.push(RootField {
                        name: field.name.as_str().into(),
                        kind,
                        entity,
                        first_max,
                        nullable: !field.ty.is_non_null(),
                        finds_by,
                        awaited,
                    });
                    self.scan_of(field, self.queries.len().saturating_sub(1));
                }
                None => self.fault(
                    field.location(),
                    format!(
                        "the query `{}` answers neither an entity, a list of entities nor a connection of entities",
                        field.name
                    ),
                    "give the type a @key, or move the field into an entity",
                ),
            }
        }
        let mut seen = HashSet::new();
        for root in [&schema.schema_definition.mutation, &schema.schema_definition.subscription].into_iter().flatten() {
            if seen.insert(root.name.clone()) {
                self.fault(
                    root.location(),
                    format!("`{root}`: this gateway answers queries only"),
                    "leave mutations and subscriptions out of the contract",
                );
            }
        }
    }

    fn root_kind(&self, field: &FieldDefinition) -> Option<(EntityId, RootKind)> {
        let type_name = field.ty.inner_named_type();
        if let Some(entity) = self.entity_ids.get(type_name.as_str()).copied() {
            if field.ty.is_list() {
                return Some((entity, RootKind::List));
            }
            let key = self.slots.get(self.entities.get(entity.index())?.key.index())?;
            let by_key = field.arguments.iter().find(|argument| *argument.name == *key.name);
            return Some((
                entity,
                by_key.map_or(RootKind::Lookup, |argument| RootKind::ByKey { argument: argument.name.as_str().into() }),
            ));
        }
        let connection = self.schema.get_object(type_name)?;
        connection.fields.get("pageInfo")?;
        let edge = self.schema.get_object(connection.fields.get("edges")?.ty.inner_named_type())?;
        let node = edge.fields.get("node")?.ty.inner_named_type();
        Some((self.entity_ids.get(node.as_str()).copied()?, RootKind::Connection))
    }
}

fn leaf(list: bool, kind: Kind) -> Shape {
    if list { Shape::LeafList(kind) } else { Shape::Leaf(kind) }
}

fn kind(type_name: &str) -> Kind {
    match type_name {
        "String" => Kind::Text,
        "Int" => Kind::Int,
        "Boolean" => Kind::Boolean,
        "Decimal" => Kind::Decimal,
        "Float" => Kind::Any,
        "Date" => Kind::Date,
        "DateTime" => Kind::DateTime,
        "GeoJSON" => Kind::GeoJson,
        // ID, IdNumber and the contract's own scalars: text, digit for digit.
        _ => Kind::Id,
    }
}
