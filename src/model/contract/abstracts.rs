//! Interfaces and unions of the contract. A field whose type is one has, as its children, the types its values may
//! have; their fields are slots of their own, so that everything that is permitted is permitted by the concrete type.

use apollo_compiler::Schema;
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::schema::{Component, ExtendedType, FieldDefinition, ObjectType};

use super::slots::{Above, SlotBuilder};
use super::{EntityId, Shape, Slot, SlotId};

/// Directives that are of slots, which an interface's field is not.
const OF_SLOTS: [&str; 5] = ["awaited", "hidden", "item", "itemStates", "list"];

pub(super) fn is_abstract(schema: &Schema, name: &str) -> bool {
    matches!(schema.types.get(name), Some(ExtendedType::Interface(_) | ExtendedType::Union(_)))
}

/// The object types of an interface or a union, in the order of the contract.
pub(super) fn types_of<'s>(schema: &'s Schema, name: &str) -> Vec<&'s ObjectType> {
    let objects = schema.types.values().filter_map(ExtendedType::as_object);
    match schema.types.get(name) {
        Some(ExtendedType::Interface(_)) => {
            objects.filter(|object| object.implements_interfaces.iter().any(|other| other.name == name)).collect()
        }
        Some(ExtendedType::Union(union)) => {
            objects.filter(|object| union.members.iter().any(|member| member.name == object.name)).collect()
        }
        _ => Vec::new(),
    }
}

impl SlotBuilder<'_> {
    /// A directive that would be passed over does not start.
    pub(super) fn check_interfaces(&mut self) {
        let schema = self.schema;
        for interface in schema.types.values().filter_map(ExtendedType::as_interface) {
            for field in interface.fields.values() {
                for name in OF_SLOTS.into_iter().filter(|name| field.directives.has(name)) {
                    self.fault(
                        field.location(),
                        format!(
                            "@{name} stands on a field of the interface `{}`, where it says nothing",
                            interface.name
                        ),
                        "write it on the fields of the types that implement it",
                    );
                }
            }
            if interface.directives.has("key") {
                self.fault(
                    interface.name.location(),
                    format!("the interface `{}` has a @key", interface.name),
                    "write @key on the types that implement it; a field returns one entity type",
                );
            }
        }
    }

    /// What an interface says of a field's class must be so in each of its types.
    pub(super) fn check_interface_classes(&mut self, object: &ObjectType, children: &[SlotId]) {
        let schema = self.schema;
        for interface in object.implements_interfaces.iter().filter_map(|name| schema.get_interface(name)) {
            for field in interface.fields.values() {
                let Some(said) = self.class_of(&field.directives) else { continue };
                let slot = children.iter().filter_map(|child| self.slots.get(child.index()));
                let Some(slot) = slot.into_iter().find(|slot| *slot.name == *field.name) else { continue };
                if slot.class == Some(said.0) && slot.level == said.1 {
                    continue;
                }
                let class = slot.class.and_then(|class| self.classes.get(class.index()));
                let is = class.map_or_else(|| "none".to_owned(), |class| format!("`{class}`, level {}", slot.level));
                let (path, at) = (slot.path.clone(), object.fields.get(&field.name).and_then(|field| field.location()));
                self.fault(
                    at,
                    format!(
                        "the class of `{path}` is {is}, and `{}.{}` says another",
                        interface.name, field.name
                    ),
                    "authorization goes by the concrete type: write the same @class on both, or take it off the interface",
                );
            }
        }
    }

    /// The types that the values of a field may have, each with its fields.
    pub(super) fn possible_types(
        &mut self,
        entity: EntityId,
        field: &Component<FieldDefinition>,
        above: &Above,
    ) -> Vec<SlotId> {
        let schema = self.schema;
        let name = field.ty.inner_named_type();
        let types = types_of(schema, name);
        if !self.can_be_values(field, &types) {
            return Vec::new();
        }
        types.into_iter().map(|object| self.possible_type(entity, field, object, above)).collect()
    }

    fn can_be_values(&mut self, field: &Component<FieldDefinition>, types: &[&ObjectType]) -> bool {
        let name = field.ty.inner_named_type();
        let entity = types.iter().find(|object| self.entity_ids.contains_key(object.name.as_str()));
        let clash = types.iter().find(|object| types.iter().any(|other| other.fields.contains_key(&object.name)));
        let (message, hint) = if types.is_empty() {
            (
                format!("no type implements `{name}`, which `{}` returns", field.name),
                "declare one, or take the field out",
            )
        } else if let Some(entity) = entity {
            let message = format!("`{}` returns `{name}`, and `{}` of it is an entity", field.name, entity.name);
            (
                message,
                "entities are joined by their keys, each from its own departments: give one field for each entity type",
            )
        } else if let Some(clash) = clash {
            let message = format!("`{}` is a type of `{name}` and the name of a field of one", clash.name);
            (message, "rename one: paths of bindings and grants name both")
        } else if field.ty.is_non_null() {
            let message = format!("`{}` is never null, but a caller may be refused the type of its value", field.name);
            (message, "make it nullable")
        } else {
            return true;
        };
        self.fault(field.location(), message, hint);
        false
    }

    fn possible_type(
        &mut self,
        entity: EntityId,
        field: &Component<FieldDefinition>,
        object: &ObjectType,
        above: &Above,
    ) -> SlotId {
        let id = SlotId(u32::try_from(self.slots.len()).unwrap_or(u32::MAX));
        let own = self.class_of(&object.directives);
        let class = own.or(above.class);
        let path = format!("{}.{}", above.path, object.name);
        self.slots.push(Slot {
            id,
            entity,
            parent: above.parent,
            name: object.name.as_str().into(),
            path: path.as_str().into(),
            shape: Shape::Object,
            nullable: true,
            class: class.map(|(class, _)| class),
            class_is_own: own.is_some(),
            level: class.map_or(0, |(_, level)| level),
            item: above.item,
            hidden: above.hidden,
            awaited: above.awaited,
            list: None,
            range: None,
            subjects: None,
            type_name: object.name.as_str().into(),
            is_type: true,
            children: Vec::new(),
        });
        let inside = Above { parent: Some(id), path, class, ..above.clone() };
        let children = self.fields(entity, object, &inside);
        self.check_list(field, &children);
        if let Some(slot) = self.slots.get_mut(id.index()) {
            slot.children = children;
        }
        id
    }

    /// Connections and item states are written by the gateway, which knows their object types alone.
    pub(super) fn check_filled_by_gateway(&mut self, name: &str, at: Option<SourceSpan>) {
        let schema = self.schema;
        let mut next = vec![name];
        let mut seen = Vec::new();
        while let Some(name) = next.pop() {
            if seen.contains(&name) || self.entity_ids.contains_key(name) {
                continue;
            }
            seen.push(name);
            if is_abstract(schema, name) {
                self.fault(
                    at,
                    format!("`{name}` is an interface or a union, in what the gateway itself fills"),
                    "connections and item states are made of object types",
                );
            }
            let object = schema.get_object(name).into_iter();
            next.extend(
                object.flat_map(|object| object.fields.values()).map(|field| field.ty.inner_named_type().as_str()),
            );
        }
    }
}
