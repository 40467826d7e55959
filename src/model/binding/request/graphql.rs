//! Compiled GraphQL requests: which root field, how keys go in.

use super::super::format::Protocol;
use super::Compiler;
use crate::model::yaml;

/// How keys are given to a GraphQL source.
#[derive(Debug, Clone)]
pub enum GraphqlAsk {
    /// No key: a listing.
    Plain { field: GraphqlField },
    /// One argument takes the key, or the list of keys.
    Argument { field: GraphqlField, argument: GraphqlVariable },
    /// The field once a key, under aliases.
    Aliases { field: GraphqlField, argument: GraphqlVariable },
    /// Apollo Federation 2: `_entities` with representations `{__typename, key}`.
    Entities { typename: Box<str>, key: Box<str> },
}

/// A root field, and the arguments that it always has.
#[derive(Debug, Clone)]
pub struct GraphqlField {
    pub name: Box<str>,
    pub constants: Box<[(GraphqlVariable, serde_json::Value)]>,
}

#[derive(Debug, Clone)]
pub struct GraphqlVariable {
    pub name: Box<str>,
    /// As in a document: `[String!]!`.
    pub kind: Box<str>,
    /// The named type inside is `Int` or `Float`: keys go in as numbers.
    pub numbers: bool,
}

impl GraphqlVariable {
    pub fn new(name: &str, kind: &str) -> Self {
        Self { name: name.into(), kind: kind.into(), numbers: matches!(named(kind), "Int" | "Float") }
    }
}

impl Compiler<'_> {
    /// Arguments that always have the same value.
    pub(super) fn constants(&mut self) -> Box<[(GraphqlVariable, serde_json::Value)]> {
        let mut found: Vec<(GraphqlVariable, serde_json::Value)> = Vec::new();
        for spanned in &self.request.constants {
            let (constant, at) = (&spanned.value, yaml::span(spanned));
            let keyed = self.request.argument.as_ref().is_some_and(|argument| argument.name == constant.name);
            if !is_name(&constant.name) || !is_type(&constant.kind) {
                self.fault(at, "a constant needs a name and a type as in a document", "such as `\"Kind!\"`");
            } else if keyed || found.iter().any(|(known, _)| *known.name == *constant.name) {
                self.fault(at, format!("the argument `{}` is given twice", constant.name), "leave one of them out");
            } else {
                found.push((GraphqlVariable::new(&constant.name, &constant.kind), constant.value.clone()));
            }
        }
        found.into()
    }
}

/// A GraphQL name (section 2.1.9 of the specification).
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A type reference: a name with balanced `[ ]` and `!`.
pub fn is_type(text: &str) -> bool {
    let mut inner = text.trim();
    // At most a few wrappers: the loop ends because every round takes a bracket pair off.
    loop {
        inner = inner.strip_suffix('!').unwrap_or(inner).trim();
        match inner.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            Some(rest) => inner = rest.trim(),
            None => return is_name(inner),
        }
    }
}

/// The named type inside a type reference.
pub fn named(kind: &str) -> &str {
    kind.trim_matches(|c: char| matches!(c, '[' | ']' | '!') || c.is_whitespace())
}

/// Whether requests of this protocol name the fields they want.
pub fn names_fields(protocol: Protocol) -> bool {
    matches!(protocol, Protocol::Graphql | Protocol::Sql)
}
