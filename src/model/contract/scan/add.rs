//! The written contract → the contract with the types of its scans. What stands in the way of one is told at its `@scan`,
//! or at the field that does.

use std::collections::HashSet;
use std::sync::Arc;

use apollo_compiler::ast::Definition;
use apollo_compiler::parser::{Parser, SourceSpan};
use apollo_compiler::schema::{ExtendedType, FieldDefinition};
use apollo_compiler::validation::{DiagnosticList, Valid};
use apollo_compiler::{Name, Schema, name};

use super::super::load::Texts;
use super::super::slots::Built;
use super::types::{FieldsOf, Made, Scanned};
use super::{Marked, Meant, ScanRoot, text};
use crate::base::fault::{Faults, SourceText};

/// Under which name the text stands that the gateway makes; no file has it.
const MADE: &str = "scans, made by the gateway";

/// Faults of one kind that are told at most.
const TOLD_MAX: usize = 10;

struct Adding<'a> {
    written: &'a Valid<Schema>,
    texts: &'a Texts,
    faults: &'a mut Faults,
    /// Where what has no better place is told.
    at: Option<SourceSpan>,
}

/// The contract with what its scans need.
pub(in crate::model::contract) struct Added {
    pub full: Valid<Schema>,
    pub scans: Vec<ScanRoot>,
    /// The types that no file has.
    pub made: HashSet<Arc<str>>,
}

/// `None` where there is no scan, or something is in the way of one.
pub(in crate::model::contract) fn add(
    files: &[Arc<SourceText>],
    written: &Valid<Schema>,
    built: &Built,
    texts: &Texts,
    faults: &mut Faults,
) -> Option<Added> {
    let at = built.scans.first()?.at;
    let made = Made::of(written, built, &built.scans);
    let query = written.schema_definition.query.as_ref().and_then(|name| written.get_object(name))?;
    let mut scans: Vec<(&Marked, &Scanned, &FieldDefinition)> = Vec::new();
    for scan in &built.scans {
        let root = built.queries.get(scan.query)?;
        let of = made.scanned.iter().find(|of| of.entity == root.entity)?;
        scans.push((scan, of, query.fields.get(&*root.name)?));
    }
    let text = text::sdl(written, &made, &scans);
    let mut adding = Adding { written, texts, faults, at };
    let types = types_in(&text);
    if !(adding.members_are_free(&made) & adding.values_are_free(&made) & adding.types_are_free(&types)) {
        return None;
    }
    let full = adding.built_again(files, &text, &scans)?;
    let filter = Arc::new(made.tables());
    let root = |(scan, of, _): &(&Marked, &Scanned, &FieldDefinition)| ScanRoot {
        query: scan.query,
        stats: scan.stats.clone(),
        entity: of.entity,
        division: Arc::clone(&scan.division),
        connection: Arc::clone(&scan.connection),
        edge: Arc::clone(&scan.edge),
        filter: Arc::clone(&filter),
    };
    let scans = scans.iter().map(root).collect();
    Some(Added { full, scans, made: types.iter().map(|name| name.as_str().into()).collect() })
}

impl Adding<'_> {
    fn fault(&mut self, at: Option<SourceSpan>, message: String, hint: &str) {
        self.texts.fault(self.faults, &self.written.sources, at.or(self.at), message, hint);
    }

    /// A field that is named as an operator could not be told from it.
    fn members_are_free(&mut self, made: &Made) -> bool {
        let mut taken = Vec::new();
        for input in &made.inputs {
            let type_name = input.name.strip_suffix("Filter").unwrap_or(&input.name);
            for field in input.members.iter().filter(|member| matches!(member.meant, Meant::Field(_))) {
                let same = |other: &&super::types::InputMember| other.name == field.name;
                if input.members.iter().filter(same).count() > 1 {
                    taken.push((type_name, &field.name));
                }
            }
        }
        for (type_name, field) in &taken {
            let object = self.written.get_object(type_name);
            let at = object.and_then(|object| object.fields.get(&***field)).and_then(|field| field.location());
            self.fault(
                at,
                format!("`{type_name}.{field}` is named as an operator of the conditions that @scan makes"),
                "rename the field, or mark it as @hidden: `and`, `or` and `not` join conditions, `exists` and `itemState` ask of a field",
            );
        }
        taken.is_empty()
    }

    fn values_are_free(&mut self, made: &Made) -> bool {
        let all = made.scanned.iter().flat_map(|of| [&of.sortable, &of.groupable, &of.numbers]);
        let twice: Vec<(&FieldsOf, &Arc<str>)> = all
            .flat_map(|fields| {
                let mut seen = HashSet::new();
                let values = fields.values.iter().map(|(value, ..)| value);
                values.filter(move |value| !seen.insert(Arc::clone(value))).map(move |value| (fields, value))
            })
            .collect();
        if let Some((fields, value)) = twice.first() {
            let message =
                format!("two fields would both be `{value}` in the enumeration `{}` that @scan makes", fields.name);
            self.fault(None, message, "dots of paths are written as `_` there: rename one of the fields");
        }
        twice.is_empty() & self.values_are_names(made)
    }

    fn values_are_names(&mut self, made: &Made) -> bool {
        let all = made.scanned.iter().flat_map(|of| [&of.sortable, &of.groupable, &of.numbers]);
        let mut values = all.flat_map(|fields| fields.values.iter().map(move |(value, ..)| (&fields.name, value)));
        let Some((name, value)) = values.find(|(_, value)| matches!(&***value, "true" | "false" | "null")) else {
            return true;
        };
        let message = format!("a field `{value}` can be no value of the enumeration `{name}` that @scan makes");
        self.fault(None, message, "GraphQL keeps `true`, `false` and `null` for itself: rename the field");
        false
    }

    fn types_are_free(&mut self, types: &[Name]) -> bool {
        let mut seen = HashSet::new();
        let mut is_there = |name: &&Name| self.written.types.contains_key(*name) || !seen.insert((*name).clone());
        let taken: Vec<&Name> = types.iter().filter(|name| is_there(name)).collect();
        for name in taken.iter().take(TOLD_MAX) {
            let at = self.written.types.get(*name).and_then(|known| known.name().location());
            self.fault(
                at,
                format!("@scan makes a type `{name}`, and there is one"),
                "rename the type: filters are named `…Filter` and `…ListFilter` after types and scalars, all else is named `Scan…` or after the entity",
            );
        }
        taken.is_empty()
    }

    /// The files and the text, as one contract.
    fn built_again(
        &mut self,
        files: &[Arc<SourceText>],
        text: &str,
        scans: &[(&Marked, &Scanned, &FieldDefinition)],
    ) -> Option<Valid<Schema>> {
        let builder =
            files.iter().fold(Schema::builder(), |builder, file| builder.parse(file.text.as_str(), &file.path));
        let mut schema = match builder.parse(text, MADE).build() {
            Ok(schema) => schema,
            Err(with_errors) => return self.told(&with_errors.errors),
        };
        if schema.schema_definition.subscription.is_none() {
            schema.schema_definition.make_mut().subscription = Some(name!("Subscription").into());
        }
        for (_, _, field) in scans {
            add_arguments(&mut schema, field);
        }
        match schema.validate() {
            Ok(schema) => Some(schema),
            Err(with_errors) => self.told(&with_errors.errors),
        }
    }

    fn told<T>(&mut self, list: &DiagnosticList) -> Option<T> {
        for diagnostic in list.iter().take(TOLD_MAX) {
            let message = format!("with the types that @scan makes the contract is not valid: {}", diagnostic.error);
            self.fault(None, message, "rename what is in the way, or leave @scan out");
        }
        None
    }
}

/// The types that a text defines. What the gateway made and could not be read is told when it is built.
fn types_in(text: &str) -> Vec<Name> {
    let Ok(document) = Parser::new().parse_ast(text, MADE) else { return Vec::new() };
    let types = document.definitions.iter().filter(|definition| !is_extension(definition));
    types.filter_map(|definition| definition.name().cloned()).collect()
}

fn is_extension(definition: &Definition) -> bool {
    matches!(
        definition,
        Definition::ObjectTypeExtension(_) | Definition::SchemaExtension(_) | Definition::InputObjectTypeExtension(_)
    )
}

/// A field cannot be extended in SDL: the listing gets the arguments of the subscription of its name, which keeps those that
/// a stream has.
fn add_arguments(schema: &mut Schema, listing: &FieldDefinition) {
    let roots = &schema.schema_definition;
    let Some((query, subscription)) = roots.query.clone().zip(roots.subscription.clone()) else { return };
    let of_subscription = schema.get_object(&subscription).and_then(|object| object.fields.get(&listing.name));
    let arguments = of_subscription.map(|field| field.arguments.clone()).unwrap_or_default();
    if let Some(ExtendedType::Object(object)) = schema.types.get_mut(&query.name)
        && let Some(field) = object.make_mut().fields.get_mut(&listing.name)
    {
        field.make_mut().arguments.extend(arguments.into_iter().skip(listing.arguments.len()));
    }
    if let Some(ExtendedType::Object(object)) = schema.types.get_mut(&subscription.name)
        && let Some(field) = object.make_mut().fields.get_mut(&listing.name)
    {
        field.make_mut().arguments.retain(|argument| argument.name != text::ONLY_OF_QUERIES);
    }
}
