//! The contract as callers may see it: without hidden fields, and for introspection without what a role cannot get.

use apollo_compiler::Schema;
use apollo_compiler::ast::{Directive, Value};
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::validation::Valid;

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

/// A copy with only the object fields for which `keep(type, field)` holds, and without types that nothing reaches.
/// `None` where nothing would be left.
pub fn pruned(schema: &Valid<Schema>, keep: impl Fn(&str, &str) -> bool) -> Option<Valid<Schema>> {
    let mut pruned = Schema::clone(schema);
    for (name, definition) in &mut pruned.types {
        if definition.is_built_in() {
            continue;
        }
        if let ExtendedType::Object(object) = definition {
            object.make_mut().fields.retain(|field, _| keep(name, field));
        }
    }
    // An object without fields cannot stand: fields that lead to it go too, until nothing changes.
    loop {
        let empty: Vec<_> = pruned
            .types
            .iter()
            .filter(|(_, definition)| matches!(definition, ExtendedType::Object(object) if object.fields.is_empty()))
            .map(|(name, _)| name.clone())
            .collect();
        if empty.is_empty() {
            break;
        }
        for name in &empty {
            pruned.types.shift_remove(name);
        }
        for definition in pruned.types.values_mut() {
            if let ExtendedType::Object(object) = definition
                && object.fields.values().any(|field| empty.contains(field.ty.inner_named_type()))
            {
                object.make_mut().fields.retain(|_, field| !empty.contains(field.ty.inner_named_type()));
            }
        }
    }
    remove_unreached(&mut pruned);
    pruned.validate().ok()
}

fn remove_unreached(schema: &mut Schema) {
    let mut reached = std::collections::HashSet::new();
    let mut next: Vec<_> = schema.schema_definition.iter_root_operations().map(|(_, name)| name.name.clone()).collect();
    for directive in schema.directive_definitions.values() {
        next.extend(directive.arguments.iter().map(|argument| argument.ty.inner_named_type().clone()));
    }
    while let Some(name) = next.pop() {
        if !reached.insert(name.clone()) {
            continue;
        }
        match schema.types.get(&name) {
            Some(ExtendedType::Object(object)) => {
                for field in object.fields.values() {
                    next.push(field.ty.inner_named_type().clone());
                    next.extend(field.arguments.iter().map(|argument| argument.ty.inner_named_type().clone()));
                }
            }
            Some(ExtendedType::InputObject(input)) => {
                next.extend(input.fields.values().map(|field| field.ty.inner_named_type().clone()));
            }
            _ => {}
        }
    }
    schema.types.retain(|name, definition| definition.is_built_in() || reached.contains(name));
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
