//! Root queries that a source answers with the keys of entities.

use std::sync::Arc;

use super::Compiler;
use crate::base::fault::{self, Place, SourceText};
use crate::base::pointer::Pointer;
use crate::model::binding::fields::Base;
use crate::model::binding::format::{self, DividedBy, Protocol, SourceFile};
use crate::model::binding::mapping::Mapping;
use crate::model::binding::request::CallTemplate;
use crate::model::binding::request::reading::pointer;
use crate::model::binding::request::template::{Hole, Text};
use crate::model::binding::{RootBinding, SourceId};
use crate::model::contract::{RootField, RootKind};
use crate::model::yaml::{self, Spanned};

impl Compiler<'_> {
    pub(super) fn query(
        &mut self,
        source: SourceId,
        name: &str,
        query: &Spanned<format::Query>,
        file: &SourceFile,
        text: &Arc<SourceText>,
    ) {
        let contract = self.against.contract;
        let place = yaml::key(text, name, query);
        let Some((at, field)) = contract.queries.iter().enumerate().find(|(_, field)| &*field.name == name) else {
            let hint = fault::did_you_mean(
                name,
                contract.queries.iter().map(|field| &*field.name),
                "`queries` names fields of the contract's query type",
            );
            self.faults.add(text, place, format!("the contract has no query `{name}`"), hint);
            return;
        };
        if file.protocol == Protocol::Audit {
            let message = "a source with protocol audit answers no queries";
            self.faults.add(text, place, message, "ask for the records of an entity: `endpoints`");
            return;
        }
        let divided = file.instances.as_ref().is_some_and(|list| list.value.by == Some(DividedBy::Territory));
        if file.instances.is_some() && !(divided && matches!(field.kind, RootKind::List | RootKind::Connection)) {
            let message = "a source with instances answers no queries, but for lists where they are `by: territory`";
            self.faults.add(text, place, message, "let a source that knows all entities answer it");
            return;
        }
        if let Some(division) = &query.value.division
            && !(divided && self.has_argument(name, &division.value))
        {
            let message =
                format!("`division: {}` names no argument by which an instance could be chosen", division.value);
            let hint = "an argument of the query, of a source with `instances: {by: territory}`";
            self.faults.add(text, yaml::span(division), message, hint);
        }
        if matches!(field.kind, RootKind::ByKey { .. }) {
            self.faults.add(text, place, format!("`{name}` takes the key itself and needs no binding"), "leave it out");
            return;
        }
        let Some(ask) =
            CallTemplate::compile(&query.value.ask, file.protocol, false, file.envelope.as_ref(), text, self.faults)
        else {
            self.partial = true;
            return;
        };
        self.arguments_given(name, &ask, yaml::span(&query.value.ask), text);
        let Some(key) = self.key_of(&query.value, field, place, text) else {
            self.partial = true;
            return;
        };
        let mut mapping = Mapping::default();
        let mut fields: format::Named<format::Field> = format::Named::new();
        if let Some(at) = &query.value.key_at {
            fields.insert(
                contract.slot(contract.entity(field.entity).key).path.to_string(),
                Spanned::new(format::Field::Pointer(at.value.clone()), at.referenced, at.defined),
            );
        }
        let base = Base { entity: field.entity, parent: None, per_instance: false };
        self.fields(file, text).fields(&fields, base, &mut mapping);
        self.fields(file, text).fields(&query.value.fields, base, &mut mapping);
        let mut encrypted = mapping.encrypted();
        if let Some((at, cipher)) = query.value.key_at.as_ref().zip(ask.key_cipher()) {
            encrypted.extend(Pointer::parse(&at.value).ok().map(|at| (at, Arc::clone(cipher))));
        }
        let ask = ask.with_encrypted(encrypted);
        let ask = match self.total_of(&query.value, &field.kind, file.protocol, text) {
            Some(at) => ask.with_total(at),
            None => ask,
        };
        self.ciphers_there(&ask, file, yaml::span(&query.value.ask), text);
        if let Some(binding) = self.bindings.queries.get_mut(at) {
            let division = query.value.division.as_ref().map(|division| division.value.as_str().into());
            let (name, entity, ask) = (Arc::from(name), field.entity, Arc::new(ask));
            let bound = binding.replace(RootBinding { source, name, entity, ask, division, key, mapping });
            if bound.is_some() {
                self.faults.add(
                    text,
                    place,
                    format!("the query `{}` is bound twice", field.name),
                    "one source answers a query",
                );
            }
        }
    }

    /// Where a listing tells how many there are in all (`total`).
    fn total_of(
        &mut self,
        query: &format::Query,
        kind: &RootKind,
        protocol: Protocol,
        text: &Arc<SourceText>,
    ) -> Option<Pointer> {
        let total = query.total.as_ref()?;
        let wrong = match (kind, protocol) {
            (RootKind::Connection, Protocol::Rest | Protocol::Soap | Protocol::Graphql) => {
                return pointer(total, text, self.faults);
            }
            (RootKind::Connection, _) => ("an answer of this protocol has records alone", "leave `total` out"),
            _ => ("this query is no listing in pages", "`total` goes with a query that answers a connection"),
        };
        self.faults.add(text, yaml::span(total), format!("`total` means nothing here: {}", wrong.0), wrong.1);
        None
    }

    fn has_argument(&self, query: &str, argument: &str) -> bool {
        let contract = self.against.contract;
        let root = contract.full.get_object(contract.query_type());
        let field = root.and_then(|root| root.fields.get(query));
        field.is_some_and(|field| field.argument_by_name(argument).is_some())
    }

    /// The text that is the key of what holds none (`key`), if it is not read from its records (`key_at`). `None`: faults
    /// were added.
    fn key_of(
        &mut self,
        query: &format::Query,
        field: &RootField,
        place: Place,
        text: &Arc<SourceText>,
    ) -> Option<Option<Text>> {
        let key = match (&query.key_at, &query.key) {
            (Some(_), None) => return Some(None),
            (None, Some(key)) => key,
            _ => {
                let hint = "`key_at: /id` is where each record holds the key; `key: \"{arg.year}\"` is the key of what has none";
                self.faults.add(
                    text,
                    place,
                    format!("`{}` has not exactly one of `key_at` and `key`", field.name),
                    hint,
                );
                return None;
            }
        };
        let at = yaml::span(key);
        if !matches!(field.kind, RootKind::Lookup) {
            let message = format!("`{}` answers a list, whose records one `key` does not tell apart", field.name);
            self.faults.add(
                text,
                at,
                message,
                "write `key_at`; or let the query answer one entity that holds the list",
            );
            return None;
        }
        let compiled = Text::parse(&key.value);
        let declared = self
            .against
            .contract
            .full
            .get_object(&self.against.contract.query_type)
            .and_then(|root| root.fields.get(&*field.name));
        let known = |hole: &Hole| {
            let name = match hole {
                Hole::Input(name) => name.strip_prefix("arg."),
                _ => None,
            };
            name.is_some_and(|name| declared.is_some_and(|field| field.argument_by_name(name).is_some()))
        };
        let empty = key.value.trim().is_empty();
        if empty || !compiled.holes().all(known) {
            let message = format!("`{}` is not a key", key.value);
            self.faults.add(text, at, message, "a text, perhaps with arguments that the query has: `\"{arg.name}\"`");
            return None;
        }
        Some(Some(compiled))
    }
}
