//! The directives that are about scans, as they are written: `@scan` and `@range`.

use std::sync::Arc;

use apollo_compiler::Name;
use apollo_compiler::ast::Value;
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::schema::{Component, FieldDefinition};
use rust_decimal::Decimal;

use super::super::published::text_argument;
use super::super::slots::SlotBuilder;
use super::super::{RootField, RootKind, Shape};
use super::{ARGUMENTS, COVERAGE, MISSING, Range};
use crate::base::decimal;
use crate::model::binding::conversion::Kind;

/// A `@scan` that can be one; its types are still to be made.
pub(in crate::model::contract) struct Marked {
    pub query: usize,
    pub stats: Option<Arc<str>>,
    pub division: Arc<str>,
    pub connection: Arc<str>,
    pub edge: Arc<str>,
    pub at: Option<SourceSpan>,
}

impl SlotBuilder<'_> {
    /// `@scan` of a query that was taken just now.
    pub(in crate::model::contract) fn scan_of(&mut self, field: &Component<FieldDefinition>, query: usize) {
        let Some(directive) = field.directives.get("scan") else { return };
        let at = directive.location().or(field.location());
        let edge = self.edge_of(field);
        let (Some(RootField { kind: RootKind::Connection, .. }), Some(edge)) = (self.queries.get(query), edge) else {
            self.fault(
                at,
                format!("@scan stands on `{}`, which answers no connection of entities", field.name),
                "a scan goes through a listing page by page: @scan stands on a query that answers a connection (edges, node, pageInfo)",
            );
            return;
        };
        let division = text_argument(&field.directives, "scan", "division").unwrap_or_default();
        let is_it = |argument: &&apollo_compiler::Node<apollo_compiler::ast::InputValueDefinition>| {
            *argument.name == *division && !argument.ty.is_list()
        };
        if !field.arguments.iter().any(|argument| is_it(&argument)) {
            self.fault(
                at,
                format!("@scan(division: \"{division}\"): `{}` has no such argument of one value", field.name),
                "name the argument that takes the code of the division to be scanned: a scan stays inside the caller's divisions",
            );
            return;
        }
        let stats = text_argument(&field.directives, "scan", "stats");
        let room = self.arguments_are_free(field, at) & self.fields_are_free(field, &edge, at);
        if !(self.stats_is_free(field, stats, at) && room) {
            return;
        }
        self.scans.push(Marked {
            query,
            stats: stats.map(Into::into),
            division: division.into(),
            connection: field.ty.inner_named_type().as_str().into(),
            edge: edge.as_str().into(),
            at,
        });
    }

    fn edge_of(&self, field: &FieldDefinition) -> Option<Name> {
        let connection = self.schema.get_object(field.ty.inner_named_type())?;
        Some(connection.fields.get("edges")?.ty.inner_named_type().clone())
    }

    fn arguments_are_free(&mut self, field: &FieldDefinition, at: Option<SourceSpan>) -> bool {
        let taken = field.arguments.iter().find(|argument| ARGUMENTS.contains(&argument.name.as_str()));
        let Some(taken) = taken else { return true };
        self.fault(
            taken.location().or(at),
            format!("`{}` has an argument `{}`, which @scan gives it", field.name, taken.name),
            "rename the argument: `where`, `orderBy`, `among` and `verdict` are made by the gateway",
        );
        false
    }

    fn fields_are_free(&mut self, field: &FieldDefinition, edge: &Name, at: Option<SourceSpan>) -> bool {
        let schema = self.schema;
        let mut free = true;
        for (type_name, name) in [(field.ty.inner_named_type(), COVERAGE), (edge, MISSING)] {
            let taken = schema.get_object(type_name).and_then(|object| object.fields.get(name));
            if let Some(taken) = taken {
                self.fault(
                    taken.location().or(at),
                    format!("`{type_name}` has a field `{name}`, which @scan gives it"),
                    "rename the field: the gateway fills `coverage` of the connections of scans, and `missing` of their edges",
                );
                free = false;
            }
        }
        free
    }

    fn stats_is_free(&mut self, field: &FieldDefinition, stats: Option<&str>, at: Option<SourceSpan>) -> bool {
        let Some(stats) = stats else { return true };
        let query = self.schema.schema_definition.query.as_ref().and_then(|name| self.schema.get_object(name));
        let taken = query.is_some_and(|query| query.fields.contains_key(stats))
            || self.scans.iter().any(|scan| scan.stats.as_deref() == Some(stats));
        let (message, hint) = if Name::new(stats).is_err() || stats.starts_with("__") {
            (format!("@scan(stats: \"{stats}\") of `{}` is no name of a query", field.name), "letters, digits and `_`")
        } else if taken {
            let message = format!("@scan(stats: \"{stats}\") of `{}`: there is such a query", field.name);
            (
                message,
                "the gateway makes the query of statistics itself: give it a name of its own, or take the other out",
            )
        } else {
            return true;
        };
        self.fault(at, message, hint);
        false
    }

    /// `@scan` where nothing is listed would be passed over.
    pub(in crate::model::contract) fn check_scans_elsewhere(&mut self) {
        let schema = self.schema;
        let query = schema.schema_definition.query.as_ref().map(|name| name.as_str());
        let others = schema.types.values().filter_map(|definition| definition.as_object());
        for object in others.filter(|object| Some(object.name.as_str()) != query) {
            for field in object.fields.values() {
                if let Some(directive) = field.directives.get("scan") {
                    self.fault(
                        directive.location().or(field.location()),
                        format!("@scan stands on `{}.{}`, which is no query", object.name, field.name),
                        "write it on the query that lists the entities of a division",
                    );
                }
            }
        }
    }

    /// `@range` of a number.
    pub(in crate::model::contract) fn range_of(
        &mut self,
        field: &Component<FieldDefinition>,
        shape: &Shape,
    ) -> Option<Range> {
        let directive = field.directives.get("range")?;
        let at = directive.location().or(field.location());
        if !matches!(shape, Shape::Leaf(Kind::Int | Kind::Decimal)) {
            self.fault(
                at,
                format!("@range stands on `{}`, which is no number", field.name),
                "it bounds a Decimal or an Int, so that sums of what is not all known have bounds",
            );
            return None;
        }
        let bound = |name: &str| directive.specified_argument_by_name(name).filter(|value| !value.is_null());
        let [min, max] = ["min", "max"].map(|name| bound(name).map(|value| number(value)));
        if min == Some(None) || max == Some(None) {
            self.fault(
                at,
                format!("a bound of @range of `{}` is no decimal number that fits exactly", field.name),
                "for example @range(min: \"0\", max: \"20000\")",
            );
            return None;
        }
        let (min, max) = (min.flatten().unwrap_or(Decimal::ZERO), max.flatten());
        if max.is_some_and(|max| max < min) {
            self.fault(
                at,
                format!("@range of `{}` ends before it begins", field.name),
                "`min` (0 where it is left out) is at most `max`",
            );
            return None;
        }
        Some(Range { min, max })
    }
}

fn number(value: &Value) -> Option<Decimal> {
    match value {
        Value::String(text) => decimal::exact(text),
        Value::Int(number) => decimal::exact(number.as_str()),
        Value::Float(number) => decimal::exact(number.as_str()),
        _ => None,
    }
}
