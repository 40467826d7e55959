//! Fields collected and merged, as in section 6.3.2 of the GraphQL specification: for each concrete type that a value
//! may be of, since a fragment applies to types.

use std::collections::HashSet;
use std::sync::Arc;

use apollo_compiler::ExecutableDocument;
use apollo_compiler::Schema;
use apollo_compiler::ast::{InputValueDefinition, Value as AstValue};
use apollo_compiler::executable::{Field, Operation as AstOperation, Selection as AstSelection, SelectionSet};
use apollo_compiler::schema::FieldDefinition;
use serde_json::{Map, Value};

use super::{Argument, ArgumentValue, DocumentLimits, Selection, What};
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::engine::scalar;
use crate::model::contract::{Contract, EntityId, RootKind, Shape, SlotId};

/// Fields that are looked at while collecting, fragments written out, at most.
const COLLECTED_MAX: usize = 20_000;

pub(super) struct Collector<'a> {
    pub contract: &'a Contract,
    pub document: &'a ExecutableDocument,
    pub variables: &'a Map<String, Value>,
    pub limits: DocumentLimits,
    pub looked_at: usize,
    pub aliases: usize,
}

/// Where a selection set stands.
#[derive(Clone, Copy)]
pub(super) enum Inside<'a> {
    /// Fields of an entity, at its top or below a slot.
    Entity(EntityId, Option<SlotId>),
    /// Fields of a slot whose type is an interface or a union: of one of its types.
    Abstract(EntityId, SlotId),
    /// A type the gateway fills, by its name: a connection, `ItemInfo`.
    Meta(&'a str),
}

impl<'a> Collector<'a> {
    pub fn roots(&mut self, operation: &'a AstOperation) -> Result<Vec<Selection>, RequestError> {
        let groups = self.group(&[&operation.selection_set], self.contract.query_type())?;
        let mut roots = Vec::new();
        for (key, fields) in groups {
            let Some(field) = fields.first() else { continue };
            let definition = self.definition(self.contract.query_type(), field);
            let (what, inside) = match field.name.as_str() {
                "__typename" => (What::Typename(self.contract.query_type().into()), None),
                "__schema" | "__type" => (What::Introspection, None),
                name => match self.contract.queries.iter().position(|query| &*query.name == name) {
                    Some(at) => (What::Query(at), self.contract.queries.get(at)),
                    None => (self.stats(name)?, None),
                },
            };
            let children = match inside {
                Some(query) if query.kind == RootKind::Connection => {
                    self.children(&fields, Inside::Meta(definition.ty.inner_named_type()), 1)?
                }
                Some(query) => self.children(&fields, Inside::Entity(query.entity, None), 1)?,
                None if matches!(what, What::Stats(_)) => {
                    self.children(&fields, Inside::Meta(definition.ty.inner_named_type()), 1)?
                }
                None => Vec::new(),
            };
            let arguments = self.root_arguments(&what, field, definition)?;
            roots.push(Selection { key: key.into(), what, arguments, children });
        }
        Ok(roots)
    }

    pub(super) fn stats(&self, name: &str) -> Result<What, RequestError> {
        let at = self.contract.scans.iter().position(|scan| scan.stats.as_deref() == Some(name));
        at.map(What::Stats).ok_or_else(|| RequestError::new(ErrorCode::Internal, format!("`{name}` has no query")))
    }

    pub(super) fn children(
        &mut self,
        fields: &[&'a Field],
        inside: Inside<'a>,
        depth: usize,
    ) -> Result<Vec<Selection>, RequestError> {
        if depth > self.limits.depth_max {
            return Err(RequestError::new(
                ErrorCode::LimitExceeded,
                format!("the operation is more than {} levels deep", self.limits.depth_max),
            ));
        }
        let contract = self.contract;
        let type_name = match inside {
            Inside::Entity(entity, None) => &*contract.entity(entity).name,
            Inside::Entity(_, Some(slot)) => &*contract.slot(slot).type_name,
            Inside::Meta(name) => name,
            Inside::Abstract(entity, slot) => {
                let mut types = Vec::new();
                for of in &contract.slot(slot).children {
                    types.push(Selection {
                        key: Arc::clone(&contract.slot(*of).name),
                        what: What::Slot(*of),
                        arguments: Vec::new(),
                        children: self.children(fields, Inside::Entity(entity, Some(*of)), depth)?,
                    });
                }
                return Ok(types);
            }
        };
        let sets: Vec<&SelectionSet> = fields.iter().map(|field| &field.selection_set).collect();
        let groups = self.group(&sets, type_name)?;
        let mut selections = Vec::with_capacity(groups.len());
        for (key, fields) in groups {
            let Some(field) = fields.first() else { continue };
            let definition = self.definition(type_name, field);
            let (what, below) = self.what(field, definition, inside, type_name)?;
            let children = match below {
                Some(below) => self.children(&fields, below, depth + 1)?,
                None => Vec::new(),
            };
            let mut arguments = arguments(contract, field, definition, |_| false)?;
            if matches!(&what, What::Slot(slot) if contract.slot(*slot).shape == Shape::ItemStates) {
                self.decide(&mut arguments);
            }
            selections.push(Selection { key: key.into(), what, arguments, children });
        }
        Ok(selections)
    }

    /// A field's definition in its concrete type, which an interface's field only stands for.
    pub(super) fn definition(&self, type_name: &str, field: &'a Field) -> &'a FieldDefinition {
        self.contract.published.type_field(type_name, &field.name).map_or(&*field.definition, |found| found)
    }

    fn what(
        &self,
        field: &'a Field,
        definition: &'a FieldDefinition,
        inside: Inside<'a>,
        parent_type: &str,
    ) -> Result<(What, Option<Inside<'a>>), RequestError> {
        let name = field.name.as_str();
        if name == "__typename" {
            return Ok((What::Typename(parent_type.into()), None));
        }
        let type_name = definition.ty.inner_named_type().as_str();
        match inside {
            Inside::Entity(entity, parent) => {
                let slot = self.contract.child(entity, parent, name).ok_or_else(|| no_slot(name))?;
                let below = match &self.contract.slot(slot).shape {
                    Shape::Leaf(_) | Shape::LeafList(_) => None,
                    Shape::Object | Shape::ObjectList if self.contract.is_abstract(slot) => {
                        Some(Inside::Abstract(entity, slot))
                    }
                    Shape::Object | Shape::ObjectList => Some(Inside::Entity(entity, Some(slot))),
                    Shape::Entity(other) | Shape::EntityList(other) => Some(Inside::Entity(*other, None)),
                    Shape::ItemStates => Some(Inside::Meta(type_name)),
                };
                Ok((What::Slot(slot), below))
            }
            Inside::Meta(_) => {
                if let Some(entity) = self.contract.entity_named(type_name) {
                    return Ok((What::Nodes(entity), Some(Inside::Entity(entity, None))));
                }
                let below = (!field.selection_set.is_empty()).then_some(Inside::Meta(type_name));
                Ok((What::Meta(name.into()), below))
            }
            Inside::Abstract(..) => Err(no_slot(name)),
        }
    }

    /// Puts variables' values in place.
    fn decide(&self, arguments: &mut [Argument]) {
        for argument in arguments {
            if let ArgumentValue::Variable(name, default) = &argument.value {
                let value = self.variables.get(&**name).cloned().or_else(|| default.clone()).unwrap_or(Value::Null);
                argument.value = ArgumentValue::Given(value);
            }
        }
    }

    /// Fields of a concrete type by response key, in order, with fragments written out and conditions decided.
    pub(super) fn group(
        &mut self,
        sets: &[&'a SelectionSet],
        type_name: &str,
    ) -> Result<Vec<(&'a str, Vec<&'a Field>)>, RequestError> {
        let mut groups: Vec<(&'a str, Vec<&'a Field>)> = Vec::new();
        let mut spread: HashSet<&str> = HashSet::new();
        let mut stack: Vec<std::slice::Iter<'a, AstSelection>> =
            sets.iter().rev().map(|set| set.selections.iter()).collect();
        while let Some(mut iter) = stack.pop() {
            let Some(selection) = iter.next() else { continue };
            stack.push(iter);
            self.looked_at += 1;
            if self.looked_at > COLLECTED_MAX {
                return Err(RequestError::new(
                    ErrorCode::LimitExceeded,
                    format!("with its fragments written out, the operation has more than {COLLECTED_MAX} fields"),
                ));
            }
            if !self.included(selection) {
                continue;
            }
            match selection {
                AstSelection::Field(field) => {
                    self.count_alias(field)?;
                    let key = field.response_key().as_str();
                    match groups.iter_mut().find(|(other, _)| *other == key) {
                        Some((_, fields)) => fields.push(field),
                        None => groups.push((key, vec![field])),
                    }
                }
                AstSelection::InlineFragment(inline) => {
                    if inline.type_condition.as_ref().is_none_or(|condition| self.applies(condition, type_name)) {
                        stack.push(inline.selection_set.selections.iter());
                    }
                }
                AstSelection::FragmentSpread(named) => {
                    if spread.insert(named.fragment_name.as_str())
                        && let Some(fragment) = self.document.fragments.get(&named.fragment_name)
                        && self.applies(fragment.type_condition(), type_name)
                    {
                        stack.push(fragment.selection_set.selections.iter());
                    }
                }
            }
        }
        Ok(groups)
    }

    /// Whether a fragment's type condition holds for a concrete type.
    fn applies(&self, condition: &str, type_name: &str) -> bool {
        condition == type_name || self.contract.published.is_subtype(condition, type_name)
    }

    fn count_alias(&mut self, field: &Field) -> Result<(), RequestError> {
        self.aliases += usize::from(field.alias.is_some());
        if self.aliases > self.limits.aliases_max {
            return Err(RequestError::new(
                ErrorCode::LimitExceeded,
                format!("the operation has more than {} aliases", self.limits.aliases_max),
            ));
        }
        Ok(())
    }

    fn included(&self, selection: &AstSelection) -> bool {
        let holds = |name: &str| {
            let value = selection.directives().get(name)?.specified_argument_by_name("if")?;
            Some(match value.as_ref() {
                AstValue::Boolean(value) => *value,
                AstValue::Variable(variable) => {
                    self.variables.get(variable.as_str()).and_then(Value::as_bool).unwrap_or(false)
                }
                _ => false,
            })
        };
        holds("skip") != Some(true) && holds("include") != Some(false)
    }
}

fn no_slot(name: &str) -> RequestError {
    RequestError::new(ErrorCode::Internal, format!("`{name}` has no slot"))
}

/// All arguments of a field but those to leave out, defaults included.
pub(super) fn arguments(
    contract: &Contract,
    field: &Field,
    defined: &FieldDefinition,
    leave_out: impl Fn(&str) -> bool,
) -> Result<Vec<Argument>, RequestError> {
    let mut all = Vec::with_capacity(defined.arguments.len());
    for definition in defined.arguments.iter().filter(|definition| !leave_out(&definition.name)) {
        let default = definition.default_value.as_ref().map(|value| constant(value)).transpose()?;
        let value = match field.specified_argument_by_name(&definition.name).map(AsRef::as_ref) {
            Some(AstValue::Variable(variable)) => ArgumentValue::Variable(variable.as_str().into(), default),
            Some(value) => {
                let value = constant(value)?;
                check(&contract.published, definition, &value)?;
                ArgumentValue::Given(value)
            }
            None => match default {
                Some(default) => ArgumentValue::Given(default),
                None => continue,
            },
        };
        all.push(Argument { name: definition.name.as_str().into(), value });
    }
    Ok(all)
}

/// Custom scalars of an argument's value.
pub(super) fn check(schema: &Schema, definition: &InputValueDefinition, value: &Value) -> Result<(), RequestError> {
    scalar::check_input(schema, definition.ty.inner_named_type(), value).map_err(|reason| {
        let message = format!("the argument `{}` {reason}", definition.name);
        RequestError::new(ErrorCode::ValidationFailed, message)
    })
}

/// A literal as JSON. The nesting of literals was checked before the parser.
pub(super) fn constant(value: &AstValue) -> Result<Value, RequestError> {
    Ok(match value {
        AstValue::Null => Value::Null,
        AstValue::Variable(name) => {
            let message = format!(
                "the variable `${name}` stands inside a list or an object literal; give the whole list or object as one variable"
            );
            return Err(RequestError::new(ErrorCode::ValidationFailed, message));
        }
        AstValue::Enum(name) => Value::String(name.to_string()),
        AstValue::String(text) => Value::String(text.clone()),
        AstValue::Boolean(value) => Value::Bool(*value),
        AstValue::Int(number) => serde_json::from_str(number.as_str()).unwrap_or(Value::Null),
        AstValue::Float(number) => serde_json::from_str(number.as_str()).unwrap_or(Value::Null),
        AstValue::List(list) => Value::Array(list.iter().map(|value| constant(value)).collect::<Result<_, _>>()?),
        AstValue::Object(members) => {
            let members = members.iter().map(|(name, value)| Ok((name.to_string(), constant(value)?)));
            Value::Object(members.collect::<Result<_, RequestError>>()?)
        }
    })
}
