//! Compiled GraphQL requests: which root field, how keys go in.

use super::super::format::Protocol;

/// How keys are given to a GraphQL source.
#[derive(Debug, Clone)]
pub enum GraphqlAsk {
    /// No key: a listing.
    Plain { field: Box<str> },
    /// One argument takes the key, or the list of keys.
    Argument { field: Box<str>, argument: GraphqlVariable },
    /// The field once a key, under aliases.
    Aliases { field: Box<str>, argument: GraphqlVariable },
    /// Apollo Federation 2: `_entities` with representations `{__typename, key}`.
    Entities { typename: Box<str>, key: Box<str> },
}

#[derive(Debug, Clone)]
pub struct GraphqlVariable {
    pub name: Box<str>,
    /// As in a document: `[String!]!`.
    pub kind: Box<str>,
    /// The named type inside is `Int` or `Float`: keys go in as numbers.
    pub numbers: bool,
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
