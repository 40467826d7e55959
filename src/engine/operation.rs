//! The caller's document → [`Operation`]: parsed and validated against the published contract, within limits, with
//! fields collected and merged as in section 6.3.2 of the GraphQL specification.

use std::collections::HashSet;
use std::sync::Arc;

use apollo_compiler::ExecutableDocument;
use apollo_compiler::ast::Value as AstValue;
use apollo_compiler::executable::{Field, Operation as AstOperation, Selection as AstSelection, SelectionSet};
use apollo_compiler::parser::Parser;
use apollo_compiler::request::coerce_variable_values;
use apollo_compiler::response::JsonMap;
use apollo_compiler::validation::{DiagnosticList, Valid};
use serde_json::{Map, Value};

use super::error::RequestError;
use super::scalar;
use crate::base::code::ErrorCode;
use crate::base::nesting::{self, TooMuch};
use crate::model::contract::{Contract, EntityId, RootKind, Shape, SlotId};

/// Fields that are looked at while collecting, fragments written out, at most.
const COLLECTED_MAX: usize = 20_000;

/// Limits of one document. `docs/frontends.md` names them to callers.
#[derive(Debug, Clone, Copy)]
pub struct DocumentLimits {
    pub depth_max: usize,
    pub aliases_max: usize,
    pub tokens_max: usize,
    pub nesting_max: usize,
}

/// A document that is valid for every role.
#[derive(Debug)]
pub struct Document {
    pub valid: Valid<ExecutableDocument>,
}

/// One operation, its fields collected. Holds no variables' values but those of `@skip` and `@include`.
#[derive(Debug)]
pub struct Operation {
    pub name: Option<Arc<str>>,
    pub roots: Vec<Selection>,
    /// `__schema` or `__type` is asked.
    pub introspects: bool,
}

/// One field of the answer.
#[derive(Debug, PartialEq)]
pub struct Selection {
    /// The response key.
    pub key: Arc<str>,
    pub what: What,
    pub arguments: Vec<Argument>,
    pub children: Vec<Selection>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// `__typename`, and its value.
    Typename(Arc<str>),
    /// A query of the contract, by its index.
    Query(usize),
    Slot(SlotId),
    /// The entity of a connection's edge or node list.
    Nodes(EntityId),
    /// A field the gateway fills: of a connection, of `ItemInfo`, of a claim.
    Meta(Arc<str>),
    /// `__schema` or `__type`.
    Introspection,
}

#[derive(Debug, PartialEq)]
pub struct Argument {
    pub name: Arc<str>,
    pub value: ArgumentValue,
}

#[derive(Debug, PartialEq)]
pub enum ArgumentValue {
    Given(Value),
    /// A variable, and the argument's default where the variable is not there.
    Variable(Arc<str>, Option<Value>),
}

impl Selection {
    /// An argument's value for these variables; `Null` where there is none.
    pub fn argument<'a>(&'a self, name: &str, variables: &'a Map<String, Value>) -> &'a Value {
        const NULL: &Value = &Value::Null;
        match self.arguments.iter().find(|argument| &*argument.name == name).map(|argument| &argument.value) {
            Some(ArgumentValue::Given(value)) => value,
            Some(ArgumentValue::Variable(name, default)) => variables.get(&**name).or(default.as_ref()).unwrap_or(NULL),
            None => NULL,
        }
    }
}

impl Document {
    /// Parses and validates. Limits come before the parser, so that nothing a caller sends can exhaust the stack.
    pub fn parse(text: &str, contract: &Contract, limits: DocumentLimits) -> Result<Self, RequestError> {
        nesting::check(text, limits.nesting_max, limits.tokens_max).map_err(|too_much| {
            let message = match too_much {
                TooMuch::Nesting => format!("the document is nested more than {} deep", limits.nesting_max),
                TooMuch::Tokens => format!("the document has more than {} tokens", limits.tokens_max),
            };
            RequestError::new(ErrorCode::LimitExceeded, message)
        })?;
        // Step by step: a document that is not GraphQL, or names what is not there, is told that, and not what a guess
        // at it would lack.
        let parsed = Parser::new()
            .recursion_limit(limits.nesting_max.saturating_mul(4).max(64))
            .parse_ast(text, "document.graphql")
            .map_err(|with_errors| diagnostics(ErrorCode::ParseFailed, &with_errors.errors))?;
        let invalid = |list: &DiagnosticList| diagnostics(ErrorCode::ValidationFailed, list);
        let known = parsed.to_executable(&contract.published).map_err(|with_errors| invalid(&with_errors.errors))?;
        let valid = known.validate(&contract.published).map_err(|with_errors| invalid(&with_errors.errors))?;
        Ok(Self { valid })
    }

    /// The operation to execute, by its name where there are several.
    pub fn operation(&self, name: Option<&str>) -> Result<&AstOperation, RequestError> {
        let operation = self
            .valid
            .operations
            .get(name)
            .map_err(|error| RequestError::new(ErrorCode::BadRequest, error.message().to_string()))?;
        if operation.is_query() {
            Ok(operation)
        } else {
            Err(RequestError::new(ErrorCode::ValidationFailed, "only queries are answered".to_owned()))
        }
    }

    /// The caller's variables, coerced to their types.
    pub fn variables(
        &self,
        contract: &Contract,
        operation: &AstOperation,
        given: &Map<String, Value>,
    ) -> Result<Map<String, Value>, RequestError> {
        let bytes = serde_json::to_vec(given)
            .map_err(|_| RequestError::new(ErrorCode::BadRequest, "variables are not JSON".to_owned()))?;
        let given: JsonMap = serde_json::from_slice(&bytes)
            .map_err(|_| RequestError::new(ErrorCode::BadRequest, "variables are not a JSON object".to_owned()))?;
        let coerced = coerce_variable_values(&contract.published, operation, &given)
            .map_err(|error| RequestError::new(ErrorCode::ValidationFailed, error.message().to_string()))?;
        let coerced: Map<String, Value> = serde_json::to_vec(&*coerced)
            .and_then(|bytes| serde_json::from_slice(&bytes))
            .map_err(|_| RequestError::new(ErrorCode::BadRequest, "variables are not JSON".to_owned()))?;
        for definition in &operation.variables {
            if let Some(value) = coerced.get(definition.name.as_str()) {
                scalar::check(definition.ty.inner_named_type(), value).map_err(|reason| {
                    let message = format!("the variable `${}` {reason}", definition.name);
                    RequestError::new(ErrorCode::ValidationFailed, message)
                })?;
            }
        }
        Ok(coerced)
    }

    /// Collects the operation's fields, with `@skip` and `@include` decided by the variables.
    pub fn collect(
        &self,
        contract: &Contract,
        operation: &AstOperation,
        variables: &Map<String, Value>,
        limits: DocumentLimits,
    ) -> Result<Operation, RequestError> {
        let mut collector = Collector { contract, document: &self.valid, variables, limits, looked_at: 0, aliases: 0 };
        let roots = collector.roots(operation)?;
        let introspects = roots.iter().any(|root| root.what == What::Introspection);
        Ok(Operation { name: operation.name.as_ref().map(|name| name.as_str().into()), roots, introspects })
    }

    /// The variables that decide what is fetched: those of `@skip` and `@include`, and those that choose items. With
    /// their values, the document and the name, an operation is known.
    pub fn deciding_variables(&self) -> Vec<Arc<str>> {
        let mut found = Vec::new();
        let mut sets: Vec<&SelectionSet> =
            self.valid.operations.iter().map(|operation| &operation.selection_set).collect();
        sets.extend(self.valid.fragments.values().map(|fragment| &fragment.selection_set));
        while let Some(set) = sets.pop() {
            for selection in &set.selections {
                for name in ["skip", "include"] {
                    let value = selection
                        .directives()
                        .get(name)
                        .and_then(|directive| directive.specified_argument_by_name("if"));
                    if let Some(AstValue::Variable(variable)) = value.map(AsRef::as_ref) {
                        found.push(variable.as_str().into());
                    }
                }
                match selection {
                    AstSelection::Field(field) => {
                        if field.definition.directives.has("itemStates") {
                            let values = field.arguments.iter().map(|argument| argument.value.as_ref());
                            found.extend(
                                values.filter_map(|value| value.as_variable()).map(|name| name.as_str().into()),
                            );
                        }
                        sets.push(&field.selection_set);
                    }
                    AstSelection::InlineFragment(inline) => sets.push(&inline.selection_set),
                    AstSelection::FragmentSpread(_) => {}
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }
}

fn diagnostics(code: ErrorCode, list: &DiagnosticList) -> RequestError {
    let mut error = RequestError::new(code, String::new());
    for diagnostic in list.iter().take(10) {
        let message = diagnostic.error.unstable_compat_message().unwrap_or_else(|| diagnostic.error.to_string());
        let place = diagnostic.line_column_range().map(|range| (range.start.line, range.start.column));
        error.detail(message, place);
    }
    error.message = error.details.first().map(|(message, _)| message.clone()).unwrap_or_default();
    error
}

struct Collector<'a> {
    contract: &'a Contract,
    document: &'a ExecutableDocument,
    variables: &'a Map<String, Value>,
    limits: DocumentLimits,
    looked_at: usize,
    aliases: usize,
}

/// Where a selection set stands.
#[derive(Clone, Copy)]
enum Inside {
    /// Fields of an entity, at its top or below a slot.
    Entity(EntityId, Option<SlotId>),
    /// A type the gateway fills: a connection, `ItemInfo`.
    Meta,
}

impl<'a> Collector<'a> {
    fn roots(&mut self, operation: &'a AstOperation) -> Result<Vec<Selection>, RequestError> {
        let groups = self.group(&[&operation.selection_set])?;
        let mut roots = Vec::new();
        for (key, fields) in groups {
            let Some(field) = fields.first() else { continue };
            let (what, inside) = match field.name.as_str() {
                "__typename" => (What::Typename(self.contract.query_type().into()), None),
                "__schema" | "__type" => (What::Introspection, None),
                name => match self.contract.queries.iter().position(|query| &*query.name == name) {
                    Some(at) => (What::Query(at), self.contract.queries.get(at)),
                    None => return Err(RequestError::new(ErrorCode::Internal, format!("`{name}` has no query"))),
                },
            };
            let children = match inside {
                Some(query) if query.kind == RootKind::Connection => self.children(&fields, Inside::Meta, 1)?,
                Some(query) => self.children(&fields, Inside::Entity(query.entity, None), 1)?,
                None => Vec::new(),
            };
            roots.push(Selection { key: key.into(), what, arguments: arguments(field)?, children });
        }
        Ok(roots)
    }

    fn children(&mut self, fields: &[&'a Field], inside: Inside, depth: usize) -> Result<Vec<Selection>, RequestError> {
        if depth > self.limits.depth_max {
            return Err(RequestError::new(
                ErrorCode::LimitExceeded,
                format!("the operation is more than {} levels deep", self.limits.depth_max),
            ));
        }
        let sets: Vec<&SelectionSet> = fields.iter().map(|field| &field.selection_set).collect();
        let groups = self.group(&sets)?;
        let mut selections = Vec::with_capacity(groups.len());
        for (key, fields) in groups {
            let Some(field) = fields.first() else { continue };
            let parent_type = sets.first().map_or("", |set| set.ty.as_str());
            let (what, below) = self.what(field, inside, parent_type)?;
            let children = match below {
                Some(below) => self.children(&fields, below, depth + 1)?,
                None => Vec::new(),
            };
            let mut arguments = arguments(field)?;
            if matches!(&what, What::Slot(slot) if self.contract.slot(*slot).shape == Shape::ItemStates) {
                self.decide(&mut arguments);
            }
            selections.push(Selection { key: key.into(), what, arguments, children });
        }
        Ok(selections)
    }

    fn what(
        &self,
        field: &'a Field,
        inside: Inside,
        parent_type: &str,
    ) -> Result<(What, Option<Inside>), RequestError> {
        let name = field.name.as_str();
        if name == "__typename" {
            return Ok((What::Typename(parent_type.into()), None));
        }
        let type_name = field.ty().inner_named_type().as_str();
        match inside {
            Inside::Entity(entity, parent) => {
                let slot = self
                    .contract
                    .child(entity, parent, name)
                    .ok_or_else(|| RequestError::new(ErrorCode::Internal, format!("`{name}` has no slot")))?;
                let below = match &self.contract.slot(slot).shape {
                    Shape::Leaf(_) | Shape::LeafList(_) => None,
                    Shape::Object | Shape::ObjectList => Some(Inside::Entity(entity, Some(slot))),
                    Shape::Entity(other) | Shape::EntityList(other) => Some(Inside::Entity(*other, None)),
                    Shape::ItemStates => Some(Inside::Meta),
                };
                Ok((What::Slot(slot), below))
            }
            Inside::Meta => {
                if let Some(entity) = self.contract.entity_named(type_name) {
                    return Ok((What::Nodes(entity), Some(Inside::Entity(entity, None))));
                }
                let below = (!field.selection_set.is_empty()).then_some(Inside::Meta);
                Ok((What::Meta(name.into()), below))
            }
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

    /// Fields by response key, in order, with fragments written out and conditions decided.
    fn group(&mut self, sets: &[&'a SelectionSet]) -> Result<Vec<(&'a str, Vec<&'a Field>)>, RequestError> {
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
                // Contracts have object types only: a valid type condition always applies.
                AstSelection::InlineFragment(inline) => stack.push(inline.selection_set.selections.iter()),
                AstSelection::FragmentSpread(named) => {
                    if spread.insert(named.fragment_name.as_str())
                        && let Some(fragment) = self.document.fragments.get(&named.fragment_name)
                    {
                        stack.push(fragment.selection_set.selections.iter());
                    }
                }
            }
        }
        Ok(groups)
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

/// All arguments of a field, defaults included.
fn arguments(field: &Field) -> Result<Vec<Argument>, RequestError> {
    let mut all = Vec::with_capacity(field.definition.arguments.len());
    for definition in &field.definition.arguments {
        let default = definition.default_value.as_ref().map(|value| constant(value)).transpose()?;
        let value = match field.specified_argument_by_name(&definition.name).map(AsRef::as_ref) {
            Some(AstValue::Variable(variable)) => ArgumentValue::Variable(variable.as_str().into(), default),
            Some(value) => {
                let value = constant(value)?;
                scalar::check(definition.ty.inner_named_type(), &value).map_err(|reason| {
                    let message = format!("the argument `{}` {reason}", definition.name);
                    RequestError::new(ErrorCode::ValidationFailed, message)
                })?;
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

/// A literal as JSON. The nesting of literals was checked before the parser.
fn constant(value: &AstValue) -> Result<Value, RequestError> {
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
