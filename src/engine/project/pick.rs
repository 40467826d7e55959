//! Finding the wanted values of a record: one pass over its members, borrowed.

use std::borrow::Cow;

use crate::base::json::{self, JsonValue};
use crate::model::binding::mapping::{Mapping, Term, Trie};

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
    let place = |term: Term| Some(term).filter(|term| wanted.get(*term).copied().unwrap_or(false));
    pick_into(record, &mapping.trie, &place, &mut values);
    Picked { values }
}

/// As [`pick`], of one term alone.
pub fn pick_one<'a>(record: JsonValue<'a>, mapping: &Mapping, term: usize) -> Option<JsonValue<'a>> {
    record.find(mapping.terms.get(term)?.segments())
}

/// As [`pick`], into `values`, of the terms of the trie that have a place there.
pub fn pick_into<'a>(
    record: JsonValue<'a>,
    trie: &Trie,
    place: &impl Fn(Term) -> Option<usize>,
    values: &mut [Option<JsonValue<'a>>],
) {
    put(trie, place, values, Some(record));
    if !trie.has_children() {
        return;
    }
    for (name, value) in record.members_like(trie.names()) {
        let child = match name.plain() {
            Some(name) => trie.child(name),
            None => name.content().ok().and_then(|name| trie.child(name.as_bytes())),
        };
        match child {
            Some(child) if child.has_children() => {
                // Where a name stands twice, nothing of the first counts.
                forget(child, place, values);
                pick_into(value, child, place, values);
            }
            Some(child) => put(child, place, values, Some(value)),
            None => {}
        }
    }
    if record.is_list() {
        for (name, child) in trie.children() {
            let index = Some(name).filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()));
            if let Some(value) = index.and_then(|name| name.parse().ok()).and_then(|at| record.elements().nth(at)) {
                pick_into(value, child, place, values);
            }
        }
    }
}

/// Puts the value of the term that ends at this place of the trie where it belongs.
#[inline]
fn put<'a>(
    trie: &Trie,
    place: &impl Fn(Term) -> Option<usize>,
    values: &mut [Option<JsonValue<'a>>],
    new: Option<JsonValue<'a>>,
) {
    if let Some(value) = trie.term.and_then(place).and_then(|place| values.get_mut(place)) {
        *value = new;
    }
}

fn forget(trie: &Trie, place: &impl Fn(Term) -> Option<usize>, values: &mut [Option<JsonValue<'_>>]) {
    put(trie, place, values, None);
    trie.children().for_each(|(_, child)| forget(child, place, values));
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::base::json::Json;
    use crate::base::pointer::Pointer;

    fn text(depth: u32) -> BoxedStrategy<String> {
        let name = prop::sample::select(vec!["a", "b", "\\u0061", "c"]);
        let leaf = prop::sample::select(vec!["1", "null", "\"x\"", "{}", "[]"]).prop_map(str::to_owned);
        if depth == 0 {
            return leaf.boxed();
        }
        let members = prop::collection::vec((name, text(depth - 1)), 0..5);
        let object = members.prop_map(|members| {
            let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
            format!("{{{}}}", members.join(","))
        });
        let list = prop::collection::vec(text(depth - 1), 0..3).prop_map(|all| format!("[{}]", all.join(",")));
        prop_oneof![leaf, object, list].boxed()
    }

    proptest! {
        #[test]
        fn what_is_picked_together_is_what_is_picked_alone(text in text(3)) {
            let mut mapping = Mapping::default();
            for pointer in ["", "/a", "/b", "/a/a", "/a/b", "/b/c", "/a/a/b", "/c/0", "/c/1/a", "/a/0/b"] {
                mapping.term(&Pointer::parse(pointer).unwrap());
            }
            let json = Json::read(text.clone()).unwrap();
            let picked = pick(json.root(), &mapping, &vec![true; mapping.terms.len()]);
            for term in 0..mapping.terms.len() {
                let raw = |value: Option<JsonValue<'_>>| value.map(|value| value.raw().to_owned());
                let alone = pick_one(json.root(), &mapping, term);
                prop_assert_eq!(raw(picked.get(term)), raw(alone), "{} in {}", mapping.terms[term], text);
            }
        }
    }
}
