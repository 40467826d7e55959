//! The contract as callers may see it: without hidden fields, and for introspection without what a role cannot get.

use apollo_compiler::ast::{Directive, InputValueDefinition, Value};
use apollo_compiler::collections::IndexMap;
use apollo_compiler::schema::{Component, ComponentName, ExtendedType, FieldDefinition, UnionType};
use apollo_compiler::validation::Valid;
use apollo_compiler::{Name, Schema};

use super::abstracts::types_of;
use super::load::Texts;
use crate::base::fault::Faults;

/// Removes every field marked `@hidden`.
pub(super) fn without_hidden(full: &Valid<Schema>, texts: &Texts, faults: &mut Faults) -> Option<Valid<Schema>> {
    let mut schema = Schema::clone(full);
    for definition in schema.types.values_mut() {
        if let ExtendedType::Object(object) = definition
            && object.fields.values().any(|field| field.directives.has("hidden"))
        {
            object.make_mut().fields.retain(|_, field| !field.directives.has("hidden"));
        }
    }
    // Types that only hidden fields lead to are not published either.
    let (before, after) = (reached(full), reached(&schema));
    schema.types.retain(|name, _| !before.contains(name) || after.contains(name));
    match schema.validate() {
        Ok(schema) => Some(schema),
        Err(with_errors) => {
            for diagnostic in with_errors.errors.iter() {
                texts.fault(
                    faults,
                    diagnostic.sources,
                    None,
                    format!("without its @hidden fields the contract is not valid: {}", diagnostic.error),
                    "a type needs at least one field that is not hidden",
                );
            }
            None
        }
    }
}

/// What a caller sees of the contract, by the names of types and of what is in them.
pub trait Seen {
    /// Of an object.
    fn field(&self, type_name: &str, field: &str) -> bool;

    fn argument(&self, _type_name: &str, _field: &str, _argument: &str) -> bool {
        true
    }

    /// Of an input object.
    fn input(&self, _type_name: &str, _field: &str) -> bool {
        true
    }

    /// Of an enumeration.
    fn value(&self, _type_name: &str, _value: &str) -> bool {
        true
    }
}

/// A copy with only what is seen, and without types that nothing reaches. `None` where nothing would be left.
pub fn pruned(schema: &Valid<Schema>, seen: &impl Seen) -> Option<Valid<Schema>> {
    let mut pruned = Schema::clone(schema);
    for (name, definition) in pruned.types.iter_mut().filter(|(_, definition)| !definition.is_built_in()) {
        match definition {
            ExtendedType::Object(object) => {
                let object = object.make_mut();
                object.fields.retain(|field, _| seen.field(name, field));
                for (field, defined) in &mut object.fields {
                    if defined.arguments.iter().any(|argument| !seen.argument(name, field, &argument.name)) {
                        let arguments = &mut defined.make_mut().arguments;
                        arguments.retain(|argument| seen.argument(name, field, &argument.name));
                    }
                }
            }
            ExtendedType::InputObject(input) => input.make_mut().fields.retain(|field, _| seen.input(name, field)),
            ExtendedType::Enum(definition) => definition.make_mut().values.retain(|value, _| seen.value(name, value)),
            _ => {}
        }
    }
    // A type without fields or members cannot stand: fields that lead to it go too, until nothing changes.
    loop {
        prune_interfaces(&mut pruned);
        let empty: Vec<Name> =
            pruned.types.iter().filter(|(_, definition)| is_empty(definition)).map(|(name, _)| name.clone()).collect();
        if empty.is_empty() {
            break;
        }
        remove(&mut pruned, &empty);
    }
    remove_unreached(&mut pruned);
    pruned.validate().ok()
}

fn is_empty(definition: &ExtendedType) -> bool {
    match definition {
        ExtendedType::Object(object) => object.fields.is_empty(),
        ExtendedType::Interface(interface) => interface.fields.is_empty(),
        ExtendedType::Union(union) => union.members.is_empty(),
        ExtendedType::Enum(definition) => definition.values.is_empty(),
        // What can only be said of itself says nothing.
        ExtendedType::InputObject(input) => {
            input.fields.values().all(|field| *field.ty.inner_named_type() == input.name)
        }
        ExtendedType::Scalar(_) => false,
    }
}

fn remove(schema: &mut Schema, gone: &[Name]) {
    for name in gone {
        schema.types.shift_remove(name);
    }
    if schema.schema_definition.subscription.as_ref().is_some_and(|root| gone.contains(&root.name)) {
        schema.schema_definition.make_mut().subscription = None;
    }
    for definition in schema.types.values_mut() {
        match definition {
            ExtendedType::Object(object) => {
                let object = object.make_mut();
                remove_fields(&mut object.fields, gone);
                object.implements_interfaces.retain(|name| !gone.contains(&name.name));
            }
            ExtendedType::Interface(interface) => {
                let interface = interface.make_mut();
                remove_fields(&mut interface.fields, gone);
                interface.implements_interfaces.retain(|name| !gone.contains(&name.name));
            }
            ExtendedType::Union(union) => union.make_mut().members.retain(|name| !gone.contains(&name.name)),
            ExtendedType::InputObject(input) if names_gone(input.fields.values().map(|field| &***field), gone) => {
                let fields = &mut input.make_mut().fields;
                let lost = fields.values().any(|field| needs_gone(field, gone));
                fields.retain(|_, field| !lost && !gone.contains(field.ty.inner_named_type()));
            }
            _ => {}
        }
    }
}

fn names_gone<'f>(mut fields: impl Iterator<Item = &'f InputValueDefinition>, gone: &[Name]) -> bool {
    fields.any(|field| gone.contains(field.ty.inner_named_type()))
}

/// Whether nothing can be given for it any more, and something must be.
fn needs_gone(field: &InputValueDefinition, gone: &[Name]) -> bool {
    field.is_required() && gone.contains(field.ty.inner_named_type())
}

fn remove_fields(fields: &mut IndexMap<Name, Component<FieldDefinition>>, gone: &[Name]) {
    fields.retain(|_, field| {
        let asks_for_gone = field.arguments.iter().any(|argument| needs_gone(argument, gone));
        !asks_for_gone && !gone.contains(field.ty.inner_named_type())
    });
    for field in fields.values_mut() {
        if names_gone(field.arguments.iter().map(|argument| &**argument), gone) {
            field.make_mut().arguments.retain(|argument| !gone.contains(argument.ty.inner_named_type()));
        }
    }
}

/// An interface keeps the fields that all its types kept. Where they have none in common, it is the union of them: a
/// field that returns it still says which types there may be.
fn prune_interfaces(schema: &mut Schema) {
    let interfaces: Vec<Name> =
        schema.types.iter().filter(|(_, it)| it.as_interface().is_some()).map(|(name, _)| name.clone()).collect();
    for name in interfaces {
        let types: Vec<_> = types_of(schema, &name).into_iter().filter(|object| !object.fields.is_empty()).collect();
        let members: Vec<ComponentName> = types.iter().map(|object| object.name.clone().into()).collect();
        let Some(ExtendedType::Interface(interface)) = schema.types.get(&name) else { continue };
        let common = |field: &Name| !types.is_empty() && types.iter().all(|object| object.fields.contains_key(field));
        let mut interface = interface.clone();
        interface.make_mut().fields.retain(|field, _| common(field));
        let definition = if interface.fields.is_empty() && !members.is_empty() {
            remove_implements(schema, &name);
            UnionType {
                description: interface.description.clone(),
                name: name.clone(),
                directives: apollo_compiler::schema::DirectiveList::default(),
                members: members.into_iter().collect(),
            }
            .into()
        } else {
            interface.into()
        };
        schema.types.insert(name, definition);
    }
}

fn remove_implements(schema: &mut Schema, name: &Name) {
    for definition in schema.types.values_mut() {
        match definition {
            ExtendedType::Object(object) => object.make_mut().implements_interfaces.retain(|other| other.name != *name),
            ExtendedType::Interface(interface) => {
                interface.make_mut().implements_interfaces.retain(|other| other.name != *name);
            }
            _ => {}
        }
    }
}

fn remove_unreached(schema: &mut Schema) {
    let reached = reached(schema);
    schema.types.retain(|name, definition| definition.is_built_in() || reached.contains(name));
}

/// The types that the root types and the directives lead to.
fn reached(schema: &Schema) -> std::collections::HashSet<apollo_compiler::Name> {
    let mut reached = std::collections::HashSet::new();
    let mut next: Vec<Name> =
        schema.schema_definition.iter_root_operations().map(|(_, name)| name.name.clone()).collect();
    for directive in schema.directive_definitions.values() {
        next.extend(directive.arguments.iter().map(|argument| argument.ty.inner_named_type().clone()));
    }
    while let Some(name) = next.pop() {
        if !reached.insert(name.clone()) {
            continue;
        }
        match schema.types.get(&name) {
            Some(ExtendedType::Object(object)) => {
                next.extend(named_in(object.fields.values()));
                next.extend(object.implements_interfaces.iter().map(|name| name.name.clone()));
            }
            Some(ExtendedType::Interface(interface)) => {
                next.extend(named_in(interface.fields.values()));
                next.extend(interface.implements_interfaces.iter().map(|name| name.name.clone()));
                next.extend(types_of(schema, &name).into_iter().map(|object| object.name.clone()));
            }
            Some(ExtendedType::Union(union)) => next.extend(union.members.iter().map(|name| name.name.clone())),
            Some(ExtendedType::InputObject(input)) => {
                next.extend(input.fields.values().map(|field| field.ty.inner_named_type().clone()));
            }
            _ => {}
        }
    }
    reached
}

/// The types that fields and their arguments name.
fn named_in<'f>(fields: impl Iterator<Item = &'f Component<FieldDefinition>>) -> Vec<Name> {
    fields
        .flat_map(|field| {
            let arguments = field.arguments.iter().map(|argument| argument.ty.inner_named_type());
            std::iter::once(field.ty.inner_named_type()).chain(arguments).cloned()
        })
        .collect()
}

/// Directives of a type or of a field: apollo-compiler has a list type for each.
pub(super) trait Directives {
    fn named(&self, name: &str) -> Option<&Directive>;
}

impl Directives for apollo_compiler::schema::DirectiveList {
    fn named(&self, name: &str) -> Option<&Directive> {
        self.get(name).map(|component| &*component.node)
    }
}

impl Directives for apollo_compiler::ast::DirectiveList {
    fn named(&self, name: &str) -> Option<&Directive> {
        self.get(name).map(|node| &**node)
    }
}

/// The text or number argument of a directive, as text, where it is there.
pub(super) fn text_argument<'a>(directives: &'a impl Directives, directive: &str, argument: &str) -> Option<&'a str> {
    let value = directives.named(directive)?.specified_argument_by_name(argument)?;
    match value.as_ref() {
        Value::String(text) => Some(text),
        Value::Int(number) => Some(number.as_str()),
        _ => None,
    }
}
