//! What is asked by nothing, or by several parameters, and whose records have no key: an entity of its own, whose key is
//! what it was asked with, and that holds the list, if there is one.

use std::collections::HashSet;

use serde_json::{Value, json};

use super::{Arranging, Endpoint, KeyOf};
use crate::draft::name;
use crate::draft::operation::{Key, Operation};
use crate::draft::types::{Member, Shape};

impl Arranging<'_> {
    pub(super) fn single(&mut self, mut operation: Operation, arguments: Vec<(String, &'static str)>) -> String {
        let record = std::mem::take(&mut operation.record);
        let rows = operation.request.contains_key("view");
        let (fields, wish) = match record.list {
            false => (record.members, record.name),
            true => {
                let inside = record.members;
                let kind = self.types.object(record.name.as_deref().unwrap_or(&operation.name), &inside);
                let pointer = operation.request.remove("items");
                let rows = rows.then_some("records");
                let pointer = rows.or(pointer.as_ref().and_then(Value::as_str)).unwrap_or_default().to_owned();
                if operation.request.remove("pages").is_some() {
                    operation.decide.retain(|decide| !decide.starts_with("pages:"));
                    operation.decide.push("pages: only the first is read, for its records have no key".to_owned());
                }
                let shape = Shape::List { kind, inside };
                let member = Member { name: "records".to_owned(), pointer, shape, description: None, decide: None };
                (vec![member], None)
            }
        };
        let taken: HashSet<&str> = fields
            .iter()
            .map(|field| field.name.as_str())
            .chain(arguments.iter().map(|(argument, _)| argument.as_str()))
            .collect();
        let free = ["id", "key", "self", "itself", "entityKey"].iter().find(|name| !taken.contains(**name));
        let key = free.map_or_else(|| "theKeyOfIt".to_owned(), |name| (*name).to_owned());
        let text = match arguments.as_slice() {
            [] => operation.name.clone(),
            several => several.iter().map(|(name, _)| format!("{{arg.{name}}}")).collect::<Vec<_>>().join("/"),
        };
        operation.decide.push(
            "key: its records have none that could be told, so it is what the query was asked with; --key \
             PARAMETER=MEMBER of `source import` tells which member it is"
                .to_owned(),
        );
        let wish = wish.unwrap_or_else(|| operation.name.clone());
        let at = self.listed_entity(&wish, key.clone(), fields.clone());
        let entity = self.entities.get(at).map(|entity| entity.name.clone()).unwrap_or_default();
        if rows {
            // Of a query that answers one, one row is looked at: an endpoint reads them all.
            self.all_rows(at, &operation, fields);
            return self.asked(operation, entity, false, Vec::new(), KeyOf::Text(text), Vec::new());
        }
        let arguments = arguments.into_iter().map(|(name, kind)| (name, kind, Some(key.clone()))).collect();
        self.asked(operation, entity, false, arguments, KeyOf::Text(text), fields)
    }

    fn all_rows(&mut self, at: usize, operation: &Operation, fields: Vec<Member>) {
        let mut request = operation.request.clone();
        request.insert("items".to_owned(), json!(""));
        let endpoint = Endpoint {
            name: operation.name.clone(),
            label: operation.label.clone(),
            summary: None,
            key: None,
            establishes: false,
            one: Some(request),
            many: None,
            fields,
            decide: Vec::new(),
        };
        if let Some(entity) = self.entities.get_mut(at) {
            entity.endpoints.push(endpoint);
        }
    }
}

/// Asks for a batch without its keys where it can be asked so, else with one as an argument; gives the arguments.
pub fn without_keys(operation: &mut Operation, key: &Key) -> Vec<(String, &'static str)> {
    operation.request.remove("batch_max");
    operation.decide.retain(|decide| !decide.starts_with("batch_max:"));
    let argument = name::camel(&key.parameter).unwrap_or_else(|| "argument".to_owned());
    let place = if operation.request.contains_key("form") { "form" } else { "query" };
    if !key.required
        && let Some(Value::Object(given)) = operation.request.get_mut(place)
    {
        given.retain(|_, value| !value.as_str().is_some_and(|text| text.starts_with("{keys")));
        if given.is_empty() && place == "query" {
            operation.request.remove("query");
        }
        return Vec::new();
    }
    for_each_text(operation.request.values_mut(), &mut |text| {
        if let Some((before, rest)) = text.split_once("{keys")
            && let Some((_, after)) = rest.split_once('}')
        {
            *text = format!("{before}{{arg.{argument}}}{after}");
        }
    });
    operation.decide.push(format!("`{}` takes a list: one value is asked with", key.parameter));
    vec![(argument, "String!")]
}

/// An argument that is called as the key is would make the query a lookup by the key: it is called otherwise.
pub fn renamed(
    operation: &mut Operation,
    arguments: Vec<(String, &'static str)>,
    key: &str,
) -> Vec<(String, &'static str)> {
    let mut taken: HashSet<String> = arguments.iter().map(|(name, _)| name.clone()).collect();
    let mut give = |(name, kind): (String, &'static str)| {
        if name != key {
            return (name, kind);
        }
        let other = name::unique(format!("{name}Given"), &mut taken);
        for_each_text(operation.request.values_mut(), &mut |text| {
            *text = text.replace(&format!("{{arg.{name}}}"), &format!("{{arg.{other}}}"));
        });
        (other, kind)
    };
    arguments.into_iter().map(&mut give).collect()
}

/// Texts of a request; requests are a few levels deep.
fn for_each_text<'v>(values: impl Iterator<Item = &'v mut Value>, change: &mut dyn FnMut(&mut String)) {
    for value in values {
        match value {
            Value::String(text) => change(text),
            Value::Object(members) => for_each_text(members.values_mut(), change),
            Value::Array(items) => for_each_text(items.iter_mut(), change),
            _ => {}
        }
    }
}
