//! Root queries that a source answers with the keys of entities.

use std::sync::Arc;

use super::Compiler;
use crate::base::fault::{self, SourceText};
use crate::model::binding::fields::Base;
use crate::model::binding::format::{self, Protocol, SourceFile};
use crate::model::binding::mapping::Mapping;
use crate::model::binding::request::CallTemplate;
use crate::model::binding::{RootBinding, SourceId};
use crate::model::contract::RootKind;
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
        if file.instances.is_some() {
            let message = "a source with instances answers no queries";
            self.faults.add(text, place, message, "let a source that knows all entities list them");
            return;
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
        let key = contract.entity(field.entity).key;
        let mut mapping = Mapping::default();
        let mut fields: format::Named<format::Field> = format::Named::new();
        fields.insert(
            contract.slot(key).path.to_string(),
            Spanned::new(
                format::Field::Pointer(query.value.key_at.value.clone()),
                query.value.key_at.referenced,
                query.value.key_at.defined,
            ),
        );
        let base = Base { entity: field.entity, parent: None, per_instance: false };
        self.fields(file, text).fields(&fields, base, &mut mapping);
        self.fields(file, text).fields(&query.value.fields, base, &mut mapping);
        if let Some(binding) = self.bindings.queries.get_mut(at) {
            let bound = binding.replace(RootBinding { source, name: name.into(), entity: field.entity, ask, mapping });
            if bound.is_some() {
                self.faults.add(
                    text,
                    place,
                    format!("the query `{name}` is bound twice"),
                    "one source answers a query",
                );
            }
        }
    }
}
