//! Finding the wanted values of a record: one pass over its members, borrowed.

use std::borrow::Cow;

use crate::base::json::{self, JsonValue};
use crate::model::binding::mapping::{Mapping, Trie};

/// A record's wanted values, by term; `None` where the record has no such place.
#[derive(Debug, Default, Clone)]
pub struct Picked<'a> {
    values: Vec<Option<JsonValue<'a>>>,
}

impl<'a> Picked<'a> {
    /// The value; JSON null counts as there.
    pub fn get(&self, term: usize) -> Option<JsonValue<'a>> {
        self.values.get(term).copied().flatten()
    }
}

/// Reads the wanted terms of a record. What is not wanted is passed over unread.
pub fn pick<'a>(record: JsonValue<'a>, mapping: &Mapping, wanted: &[bool]) -> Picked<'a> {
    let mut values = vec![None; mapping.terms.len()];
    walk(record, &mapping.trie, wanted, &mut values);
    Picked { values }
}

/// As [`pick`], of one term alone.
pub fn pick_one<'a>(record: JsonValue<'a>, mapping: &Mapping, term: usize) -> Option<JsonValue<'a>> {
    record.find(mapping.terms.get(term)?.segments())
}

fn walk<'a>(record: JsonValue<'a>, trie: &Trie, wanted: &[bool], values: &mut [Option<JsonValue<'a>>]) {
    if let Some(term) = trie.term.filter(|term| wanted.get(*term).copied().unwrap_or(false))
        && let Some(value) = values.get_mut(term)
    {
        *value = Some(record);
    }
    if !trie.has_children() {
        return;
    }
    for (name, value) in record.members() {
        if let Some(child) = name.content().ok().and_then(|name| trie.child(&name)) {
            walk(value, child, wanted, values);
        }
    }
    if record.is_list() {
        for (name, child) in trie.children() {
            let index = Some(name).filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
            if let Some(value) = index.and_then(|name| name.parse().ok()).and_then(|at| record.elements().nth(at)) {
                walk(value, child, wanted, values);
            }
        }
    }
}

/// The elements of a list; a single value is a list of one, null and `""` a list of none (an XML list of one, or of
/// none, looks so).
pub fn elements(value: JsonValue<'_>) -> Vec<JsonValue<'_>> {
    match value.raw() {
        _ if value.is_list() => value.elements().collect(),
        "null" | "\"\"" => Vec::new(),
        _ => vec![value],
    }
}

/// A scalar's text: a string without its quotes and escapes, anything else as it stands.
pub fn text_of(raw: &str) -> Option<Cow<'_, str>> {
    json::content(raw).ok()
}
