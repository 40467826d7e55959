//! The caller's document → [`Operation`]: parsed and validated against the published contract, within limits, with
//! fields collected and merged as in section 6.3.2 of the GraphQL specification.

mod collect;
mod scan;

use std::sync::Arc;

use apollo_compiler::ExecutableDocument;
use apollo_compiler::ast::{OperationType, Value as AstValue};
use apollo_compiler::executable::{Operation as AstOperation, Selection as AstSelection, SelectionSet};
use apollo_compiler::parser::Parser;
use apollo_compiler::request::coerce_variable_values;
use apollo_compiler::response::JsonMap;
use apollo_compiler::validation::{DiagnosticList, Valid};
use serde_json::{Map, Value};

use collect::Collector;

use super::error::RequestError;
use super::scalar;
use crate::base::code::ErrorCode;
use crate::base::nesting::{self, TooMuch};
use crate::model::config::Limits;
use crate::model::contract::{Contract, EntityId, Shape, SlotId};

/// Limits of one document. `docs/frontends.md` names them to callers.
#[derive(Debug, Clone, Copy)]
pub struct DocumentLimits {
    pub depth_max: usize,
    pub aliases_max: usize,
    pub tokens_max: usize,
    pub nesting_max: usize,
}

impl DocumentLimits {
    pub fn of(limits: &Limits) -> Self {
        Self {
            depth_max: limits.depth_max,
            aliases_max: limits.aliases_max,
            tokens_max: limits.tokens_max,
            nesting_max: limits.nesting_max,
        }
    }
}

/// A document that is valid for every role.
#[derive(Debug)]
pub struct Document {
    pub valid: Valid<ExecutableDocument>,
    deciding: Vec<Arc<str>>,
    scans: bool,
}

/// One operation, its fields collected. Holds no variables' values but those of `@skip` and `@include`, and those of a
/// scan's arguments.
#[derive(Debug)]
pub struct Operation {
    pub name: Option<Arc<str>>,
    pub roots: Vec<Selection>,
    /// The root that is a scan, which is then the only one.
    pub scan: Option<usize>,
    /// `__schema` or `__type` is asked.
    pub introspects: bool,
    /// Of a subscription: what each frame holds, as it is selected. The root is then what a query would ask for the same.
    pub frame: Option<Selection>,
}

/// One field of the answer.
#[derive(Debug, Clone, PartialEq)]
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
    /// The statistics of a scan of the contract, by its index.
    Stats(usize),
    Slot(SlotId),
    /// The entity of a connection's edge or node list.
    Nodes(EntityId),
    /// A field the gateway fills: of a connection, of `ItemInfo`, of a claim.
    Meta(Arc<str>),
    /// `__schema` or `__type`.
    Introspection,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Argument {
    pub name: Arc<str>,
    pub value: ArgumentValue,
}

#[derive(Debug, Clone, PartialEq)]
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
        let deciding = deciding_variables(&valid, contract);
        let scans = scan::scans(&valid, contract);
        Ok(Self { valid, deciding, scans })
    }

    /// The operation of that name, of whatever kind, or the only one.
    pub fn named(&self, name: Option<&str>) -> Result<&AstOperation, RequestError> {
        let found = self.valid.operations.get(name);
        let found = found.map_err(|error| RequestError::new(ErrorCode::BadRequest, error.message().to_string()));
        found.map(|operation| &**operation)
    }

    /// The query to execute, by its name where there are several.
    pub fn operation(&self, name: Option<&str>) -> Result<&AstOperation, RequestError> {
        let operation = self.named(name)?;
        let message = match operation.operation_type {
            OperationType::Query => return Ok(operation),
            OperationType::Subscription => {
                "a subscription is answered as a stream: send it by POST, alone, with `Accept: text/event-stream`; or ask \
                 the same as a query"
            }
            OperationType::Mutation => "only queries are answered",
        };
        Err(RequestError::new(ErrorCode::ValidationFailed, message.to_owned()))
    }

    /// The subscription to stream, by its name where there are several.
    pub fn subscription(&self, name: Option<&str>) -> Result<&AstOperation, RequestError> {
        let operation = self.named(name)?;
        if operation.is_subscription() {
            return Ok(operation);
        }
        let message = "only a subscription is answered as a stream".to_owned();
        Err(RequestError::new(ErrorCode::ValidationFailed, message))
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
                scalar::check_input(&contract.published, definition.ty.inner_named_type(), value).map_err(
                    |reason| {
                        let message = format!("the variable `${}` {reason}", definition.name);
                        RequestError::new(ErrorCode::ValidationFailed, message)
                    },
                )?;
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
        let name = operation.name.as_ref().map(|name| name.as_str().into());
        if operation.is_subscription() {
            let (root, frame) = collector.framed(operation)?;
            return Ok(Operation { name, roots: vec![root], scan: Some(0), introspects: false, frame: Some(frame) });
        }
        let roots = collector.roots(operation)?;
        let introspects = roots.iter().any(|root| root.what == What::Introspection);
        let scan = scan::scan_of(contract, &roots)?;
        Ok(Operation { name, roots, scan, introspects, frame: None })
    }

    /// Whether the document may scan: what is made of its operations holds conditions, and is not kept.
    pub fn scans(&self) -> bool {
        self.scans
    }

    /// The variables that decide what is fetched. With their values, the document and the name, an operation is known.
    pub fn deciding_variables(&self) -> &[Arc<str>] {
        &self.deciding
    }
}

/// The variables that decide what is fetched: those of `@skip` and `@include`, and those that choose items.
fn deciding_variables(document: &ExecutableDocument, contract: &Contract) -> Vec<Arc<str>> {
    // By name: the definition that a field of an interface stands for is that of its concrete type.
    let chooses_items =
        |name: &str| contract.slots.iter().any(|slot| slot.shape == Shape::ItemStates && *slot.name == *name);
    let mut found = Vec::new();
    let mut sets: Vec<&SelectionSet> = document.operations.iter().map(|operation| &operation.selection_set).collect();
    sets.extend(document.fragments.values().map(|fragment| &fragment.selection_set));
    while let Some(set) = sets.pop() {
        for selection in &set.selections {
            for name in ["skip", "include"] {
                let value =
                    selection.directives().get(name).and_then(|directive| directive.specified_argument_by_name("if"));
                if let Some(AstValue::Variable(variable)) = value.map(AsRef::as_ref) {
                    found.push(variable.as_str().into());
                }
            }
            match selection {
                AstSelection::Field(field) => {
                    if chooses_items(&field.name) {
                        let values = field.arguments.iter().map(|argument| argument.value.as_ref());
                        found.extend(values.filter_map(|value| value.as_variable()).map(|name| name.as_str().into()));
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
