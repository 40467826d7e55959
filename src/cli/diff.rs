//! `huxiang schema diff`: what a change of the contract breaks for the frontends that are built on it.

use std::path::Path;

use apollo_compiler::ast::{InputValueDefinition, Type};
use apollo_compiler::collections::{IndexMap, IndexSet};
use apollo_compiler::schema::{Component, ComponentName, DirectiveList, ExtendedType, FieldDefinition};
use apollo_compiler::{Name, Node, Schema};

use super::{Done, load, text};
use crate::base::fault::Faults;
use crate::model::contract::{Contract, load as contract};

/// What was found, in the order of the old contract.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    breaks: Vec<String>,
    notes: Vec<String>,
}

pub fn run(old: &Path, new: &Path) -> Done {
    let (old, new) = (read(old)?, read(new)?);
    let changes = between(&old, &new);
    let mut out = String::new();
    for change in &changes.breaks {
        out.push_str(&format!("breaks  {change}\n"));
    }
    for change in &changes.notes {
        out.push_str(&format!("note    {change}\n"));
    }
    let Changes { breaks, notes } = &changes;
    out.push_str(&format!("{} breaking, {} other changes\n", breaks.len(), notes.len()));
    text::out(&out);
    Ok(u8::from(!breaks.is_empty()))
}

fn between(old: &Contract, new: &Contract) -> Changes {
    // What is made for scans changes with the fields that it is made of, which are told.
    let made = |name: &str| old.is_made(name) || new.is_made(name);
    let mut changes = schemas(&old.published, &new.published, made);
    items(old, new, &mut changes);
    changes
}

fn read(folder: &Path) -> Result<Contract, super::Stop> {
    let mut faults = Faults::default();
    contract::load(folder, &mut faults).filter(|_| faults.is_empty()).ok_or_else(|| load::refused(&faults))
}

/// Frontends ask for items by number.
fn items(old: &Contract, new: &Contract, changes: &mut Changes) {
    for item in &old.items {
        let path = old.full_path(item.slot);
        match new.items.iter().find(|other| other.no == item.no) {
            None => changes.breaks.push(format!("item {} ({path}) is gone", item.no)),
            Some(other) if new.full_path(other.slot) != path => {
                changes.breaks.push(format!("item {} is {} now; it was {path}", item.no, new.full_path(other.slot)));
            }
            Some(_) => {}
        }
    }
    for item in new.items.iter().filter(|item| old.items.iter().all(|other| other.no != item.no)) {
        changes.notes.push(format!("item {} ({}) is new", item.no, new.full_path(item.slot)));
    }
}

fn schemas(old: &Schema, new: &Schema, leave_out: impl Fn(&str) -> bool) -> Changes {
    let mut changes = Changes::default();
    let told = |name: &str, definition: &ExtendedType| !definition.is_built_in() && !leave_out(name);
    for (name, before) in old.types.iter().filter(|(name, definition)| told(name, definition)) {
        match (before, new.types.get(name)) {
            (_, None) => changes.breaks.push(format!("type {name} is gone")),
            (ExtendedType::Object(before), Some(ExtendedType::Object(after))) => {
                all_fields(name, &before.fields, &after.fields, &mut changes);
                implements(name, &before.implements_interfaces, &after.implements_interfaces, &mut changes);
                classes(name, class_of_type(&before.directives), class_of_type(&after.directives), &mut changes);
            }
            (ExtendedType::Interface(before), Some(ExtendedType::Interface(after))) => {
                all_fields(name, &before.fields, &after.fields, &mut changes);
                implements(name, &before.implements_interfaces, &after.implements_interfaces, &mut changes);
                classes(name, class_of_type(&before.directives), class_of_type(&after.directives), &mut changes);
            }
            (ExtendedType::Union(before), Some(ExtendedType::Union(after))) => {
                members(name, &before.members, &after.members, &mut changes);
                classes(name, class_of_type(&before.directives), class_of_type(&after.directives), &mut changes);
            }
            (ExtendedType::Enum(before), Some(ExtendedType::Enum(after))) => {
                for value in before.values.keys().filter(|value| !after.values.contains_key(*value)) {
                    changes.breaks.push(format!("{name}.{value}: the value is gone"));
                }
                for value in after.values.keys().filter(|value| !before.values.contains_key(*value)) {
                    changes.notes.push(format!("{name}.{value}: a new value; clients need a default branch"));
                }
            }
            (ExtendedType::InputObject(before), Some(ExtendedType::InputObject(after))) => {
                let before: Vec<_> = before.fields.values().map(|field| &field.node).collect();
                let after: Vec<_> = after.fields.values().map(|field| &field.node).collect();
                inputs(name, "input field", &before, &after, &mut changes);
            }
            (before, Some(after)) => {
                if std::mem::discriminant(before) != std::mem::discriminant(after) {
                    changes.breaks.push(format!("{name} is another kind of type now"));
                }
            }
        }
    }
    for name in new.types.keys().filter(|name| !old.types.contains_key(*name) && !leave_out(name)) {
        changes.notes.push(format!("type {name} is new"));
    }
    changes
}

type Fields = IndexMap<Name, Component<FieldDefinition>>;
type Names = IndexSet<ComponentName>;

fn all_fields(name: &str, before: &Fields, after: &Fields, changes: &mut Changes) {
    for (field, was) in before {
        match after.get(field) {
            None => changes.breaks.push(format!("{name}.{field}: the field is gone")),
            Some(is) => fields(&format!("{name}.{field}"), was, is, changes),
        }
    }
    for (field, is) in after.iter().filter(|(field, _)| !before.contains_key(*field)) {
        changes.notes.push(format!("{name}.{field}: a new field, {}", is.ty));
    }
}

/// Fragments on an interface apply to a type only as long as it implements it.
fn implements(name: &str, before: &Names, after: &Names, changes: &mut Changes) {
    for gone in before.difference(after) {
        changes.breaks.push(format!("{name}: does not implement {gone} any more"));
    }
    for new in after.difference(before) {
        changes.notes.push(format!("{name}: implements {new} now; clients of {new} need a default branch"));
    }
}

fn members(name: &str, before: &Names, after: &Names, changes: &mut Changes) {
    for gone in before.difference(after) {
        changes.breaks.push(format!("{name}: {gone} is not one of its types any more"));
    }
    for new in after.difference(before) {
        changes.notes.push(format!("{name}: {new} is one of its types now; clients need a default branch"));
    }
}

fn fields(name: &str, was: &FieldDefinition, is: &FieldDefinition, changes: &mut Changes) {
    if was.ty != is.ty {
        let change = format!("{name}: {} becomes {}", was.ty, is.ty);
        if stricter_or_equal(&was.ty, &is.ty) {
            changes.notes.push(change + " (never null any more)");
        } else if stricter_or_equal(&is.ty, &was.ty) {
            changes.breaks.push(change + ": it may be null now");
        } else {
            changes.breaks.push(change);
        }
    }
    inputs(
        name,
        "argument",
        &was.arguments.iter().collect::<Vec<_>>(),
        &is.arguments.iter().collect::<Vec<_>>(),
        changes,
    );
    let class = |field: &FieldDefinition| field.directives.get("class").map(ToString::to_string);
    classes(name, class(was), class(is), changes);
}

/// Arguments of a field, or fields of an input object.
fn inputs(
    holder: &str,
    what: &str,
    before: &[&Node<InputValueDefinition>],
    after: &[&Node<InputValueDefinition>],
    changes: &mut Changes,
) {
    for was in before {
        let name = format!("{holder}({})", was.name);
        let Some(is) = after.iter().find(|other| other.name == was.name) else {
            changes.breaks.push(format!("{name}: the {what} is gone"));
            continue;
        };
        if was.ty != is.ty {
            let change = format!("{name}: {} becomes {}", was.ty, is.ty);
            // What was accepted must still be: inputs may only become looser.
            if stricter_or_equal(&is.ty, &was.ty) {
                changes.notes.push(change + " (may be left out)");
            } else if stricter_or_equal(&was.ty, &is.ty) {
                changes.breaks.push(change + ": it is required now");
            } else {
                changes.breaks.push(change);
            }
        }
        if was.default_value != is.default_value {
            let shown = |value: &InputValueDefinition| {
                value.default_value.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string)
            };
            let change = format!("{name}: the default {} becomes {}", shown(was), shown(is));
            if is.is_required() && !was.is_required() && was.ty == is.ty {
                changes.breaks.push(change + ": it is required now");
            } else {
                changes.notes.push(change);
            }
        }
    }
    for is in after.iter().filter(|is| before.iter().all(|was| was.name != is.name)) {
        let name = format!("{holder}({})", is.name);
        if is.is_required() {
            changes.breaks.push(format!("{name}: a new {what} that is required"));
        } else {
            changes.notes.push(format!("{name}: a new {what}, {}", is.ty));
        }
    }
}

fn class_of_type(directives: &DirectiveList) -> Option<String> {
    directives.get("class").map(|class| class.node.to_string())
}

/// A change of class is no break of documents, but of who is answered.
fn classes(name: &str, was: Option<String>, is: Option<String>, changes: &mut Changes) {
    if was != is {
        let shown = |class: Option<String>| class.unwrap_or_else(|| "what is above it".to_owned());
        changes.notes.push(format!(
            "{name}: the data class {} becomes {}; look at who is granted it",
            shown(was),
            shown(is)
        ));
    }
}

/// `is` has values only where `was` has them: the same type, with more of it non-null.
fn stricter_or_equal(was: &Type, is: &Type) -> bool {
    // Lists nest at most a few levels: the contract's parser limits it.
    match (was, is) {
        (Type::Named(a), Type::Named(b) | Type::NonNullNamed(b)) | (Type::NonNullNamed(a), Type::NonNullNamed(b)) => {
            a == b
        }
        (Type::List(a), Type::List(b) | Type::NonNullList(b)) | (Type::NonNullList(a), Type::NonNullList(b)) => {
            stricter_or_equal(a, b)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::fault::SourceText;

    fn changed(old: &str, new: &str) -> Changes {
        let parse = |text: &str| Schema::parse(text, "x.graphql").unwrap();
        schemas(&parse(old), &parse(new), |_| false)
    }

    fn changed_contract(old: &str, new: &str) -> Changes {
        let load = |text: &str| {
            let (mut faults, whole) = (Faults::default(), SourceText::new("schema", ""));
            let contract = contract::parse(vec![SourceText::new("x.graphql", text)], whole, &mut faults);
            assert!(faults.is_empty(), "{}", faults.render());
            contract.unwrap()
        };
        between(&load(old), &load(new))
    }

    #[test]
    fn what_is_made_for_scans_is_told_by_what_it_is_made_of() {
        let plain = "directive @key(fields: String!) on OBJECT
            directive @class(name: String!, level: Int!) on FIELD_DEFINITION | OBJECT
            directive @scan(division: String!, stats: String) on FIELD_DEFINITION
            type Query { farm(id: ID!): Farm farms(id: ID!): Page }
            type Farm @key(fields: \"id\") @class(name: \"open\", level: 1) { id: ID! age: Int open: Boolean size: Int kind: Kind }
            enum Kind { A B }
            type Page { edges: [Edge!]! pageInfo: PageInfo! }
            type Edge { node: Farm! }
            type PageInfo { hasNextPage: Boolean! }";
        let scanned = plain.replace("): Page", "): Page @scan(division: \"id\", stats: \"counted\")");
        let without = scanned.replace(" size: Int kind: Kind", "").replace("enum Kind { A B }", "");
        let changes = changed_contract(&scanned, &without);
        assert_eq!(
            changes.breaks,
            ["Farm.size: the field is gone", "Farm.kind: the field is gone", "type Kind is gone"]
        );
        let stopped = changed_contract(&scanned, plain);
        assert!(stopped.breaks.contains(&"Query.farms(where): the argument is gone".to_owned()), "{stopped:?}");
        assert!(stopped.breaks.iter().all(|told| !told.starts_with("type ")), "{stopped:?}");
    }

    #[test]
    fn what_frontends_rely_on_breaks() {
        for (old, new, expected) in [
            ("type Query { a: Int b: Int }", "type Query { a: Int }", "Query.b: the field is gone"),
            ("type Query { a: T } type T { x: Int }", "type Query { a: Int }", "type T is gone"),
            ("type Query { a: Int }", "type Query { a: String }", "Query.a: Int becomes String"),
            ("type Query { a: Int! }", "type Query { a: Int }", "Query.a: Int! becomes Int: it may be null now"),
            (
                "type Query { a: [Int!] }",
                "type Query { a: [Int] }",
                "Query.a: [Int!] becomes [Int]: it may be null now",
            ),
            ("type Query { a: Int }", "type Query { a: [Int] }", "Query.a: Int becomes [Int]"),
            ("type Query { a: E } enum E { A B }", "type Query { a: E } enum E { A }", "E.B: the value is gone"),
            ("type Query { a(x: Int): Int }", "type Query { a: Int }", "Query.a(x): the argument is gone"),
            (
                "type Query { a: I } interface I { x: Int } type T implements I { x: Int }",
                "type Query { a: I } interface I { x: Int } type T { x: Int }",
                "T: does not implement I any more",
            ),
            (
                "type Query { a: I } interface I { x: Int y: Int } type T implements I { x: Int y: Int }",
                "type Query { a: I } interface I { x: Int } type T implements I { x: Int y: Int }",
                "I.y: the field is gone",
            ),
            (
                "type Query { a: U } union U = T | S type T { x: Int } type S { x: Int }",
                "type Query { a: U } union U = T type T { x: Int } type S { x: Int }",
                "U: S is not one of its types any more",
            ),
            ("type Query { a: Int }", "type Query { a(x: Int!): Int }", "Query.a(x): a new argument that is required"),
            (
                "type Query { a(x: Int): Int }",
                "type Query { a(x: Int!): Int }",
                "Query.a(x): Int becomes Int!: it is required now",
            ),
            (
                "type Query { a(x: Int! = 1): Int }",
                "type Query { a(x: Int!): Int }",
                "Query.a(x): the default 1 becomes none: it is required now",
            ),
        ] {
            assert!(changed(old, new).breaks.iter().any(|found| found == expected), "{:?}", changed(old, new));
        }
    }

    #[test]
    fn what_nobody_can_rely_on_is_a_note() {
        for (old, new) in [
            ("type Query { a: Int }", "type Query { a: Int! }"),
            ("type Query { a: Int }", "type Query { a: Int b: Int }"),
            ("type Query { a: Int }", "type Query { a(x: Int): Int }"),
            ("type Query { a: Int }", "type Query { a(x: Int! = 3): Int }"),
            ("type Query { a(x: Int!): Int }", "type Query { a(x: Int): Int }"),
            ("type Query { a: E } enum E { A }", "type Query { a: E } enum E { A B }"),
            (
                "type Query { a: U } union U = T type T { x: Int } type S { x: Int }",
                "type Query { a: U } union U = T | S type T { x: Int } type S { x: Int }",
            ),
            (
                "type Query { a: I } interface I { x: Int } type T { x: Int }",
                "type Query { a: I } interface I { x: Int } type T implements I { x: Int }",
            ),
        ] {
            let found = changed(old, new);
            assert!(found.breaks.is_empty() && found.notes.len() == 1, "{found:?}");
        }
        assert_eq!(changed("type Query { a: Int }", "\"now told\" type Query { a: Int }"), Changes::default());
    }
}
