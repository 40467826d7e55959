//! What an operation says of scans: which of its roots is one, and the values of its arguments, put together out of
//! literals and variables.

use std::sync::Arc;

use apollo_compiler::ExecutableDocument;
use apollo_compiler::Schema;
use apollo_compiler::ast::{Argument as AstArgument, Type, Value as AstValue};
use apollo_compiler::executable::{Field, Operation as AstOperation, Selection as AstSelection, SelectionSet};
use apollo_compiler::schema::FieldDefinition;
use serde_json::{Map, Value};

use super::collect::{Collector, Inside, arguments, check, constant};
use super::{Argument, ArgumentValue, Selection, What};
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::model::contract::{Contract, scan};

/// Whether a document names what makes a listing a scan, whatever its variables hold. Such a document's plans are not
/// kept, so that no condition is.
pub(super) fn scans(document: &ExecutableDocument, contract: &Contract) -> bool {
    if contract.scans.is_empty() {
        return false;
    }
    if document.operations.iter().any(|operation| operation.is_subscription()) {
        return true;
    }
    let mut sets: Vec<&SelectionSet> = document.operations.iter().map(|operation| &operation.selection_set).collect();
    sets.extend(document.fragments.values().map(|fragment| &fragment.selection_set));
    while let Some(set) = sets.pop() {
        for selection in &set.selections {
            match selection {
                AstSelection::Field(field) => {
                    let of_scan = contract.scans.iter().any(|scan| {
                        let listing = contract.queries.get(scan.query).map(|query| &*query.name);
                        let is_listing = set.ty == contract.query_type() && listing == Some(field.name.as_str());
                        let is_stats = set.ty == contract.query_type() && scan.stats.as_deref() == Some(&*field.name);
                        let given = |argument: &AstArgument| scan::ARGUMENTS.contains(&argument.name.as_str());
                        is_stats
                            || (is_listing && field.arguments.iter().any(|argument| given(argument)))
                            || (set.ty == *scan.connection && field.name == scan::COVERAGE)
                    });
                    if of_scan {
                        return true;
                    }
                    sets.push(&field.selection_set);
                }
                AstSelection::InlineFragment(inline) => sets.push(&inline.selection_set),
                AstSelection::FragmentSpread(_) => {}
            }
        }
    }
    false
}

/// The root that is a scan. It stands alone: what it costs and what it rests on is told of the whole answer.
pub(super) fn scan_of(contract: &Contract, roots: &[Selection]) -> Result<Option<usize>, RequestError> {
    let Some(at) = roots.iter().position(|root| is_scan(contract, root)) else { return Ok(None) };
    let others = roots.iter().enumerate().filter(|(other, _)| *other != at);
    let asked = others.map(|(_, root)| root).find(|root| !matches!(root.what, What::Typename(_)));
    match (asked, roots.get(at)) {
        (Some(other), Some(scan)) => {
            let message =
                format!("`{}` is a scan and stands alone: ask `{}` in a request of its own", scan.key, other.key);
            Err(RequestError::new(ErrorCode::ValidationFailed, message))
        }
        _ => Ok(Some(at)),
    }
}

fn is_scan(contract: &Contract, root: &Selection) -> bool {
    match root.what {
        What::Stats(_) => true,
        What::Query(at) => contract.scan_of(at).is_some() && (asks_coverage(root) || has_scan_argument(root)),
        _ => false,
    }
}

fn has_scan_argument(root: &Selection) -> bool {
    root.arguments.iter().any(|argument| scan::ARGUMENTS.contains(&&*argument.name))
}

fn asks_coverage(root: &Selection) -> bool {
    root.children.iter().any(|child| matches!(&child.what, What::Meta(name) if &**name == scan::COVERAGE))
}

/// Whether an argument of a root is the scan's: of a listing those that make it one, of statistics all.
pub(super) fn is_of_scan(contract: &Contract, root: &What, argument: &str) -> bool {
    match root {
        What::Stats(_) => true,
        What::Query(at) => scan::ARGUMENTS.contains(&argument) && contract.scan_of(*at).is_some(),
        _ => false,
    }
}

impl<'a> Collector<'a> {
    /// Of a subscription: the root that a query would have for the same, with all that frames show of it; and the frame, as
    /// it is selected.
    pub(super) fn framed(&mut self, operation: &'a AstOperation) -> Result<(Selection, Selection), RequestError> {
        let alone = || {
            let message = "a subscription asks for one scan or one statistic, and nothing else".to_owned();
            RequestError::new(ErrorCode::ValidationFailed, message)
        };
        let root_type = operation.object_type().as_str();
        let groups = self.group(&[&operation.selection_set], root_type)?;
        let [(key, fields)] = groups.as_slice() else { return Err(alone()) };
        let field = fields.first().ok_or_else(alone)?;
        if field.name.starts_with("__") {
            return Err(alone());
        }
        let contract = self.contract;
        let what = match contract.queries.iter().position(|query| *query.name == *field.name.as_str()) {
            Some(at) if contract.scan_of(at).is_some() => What::Query(at),
            _ => self.stats(&field.name)?,
        };
        let definition = self.definition(root_type, field);
        let frame = self.children(fields, Inside::Meta(definition.ty.inner_named_type()), 1)?;
        let shows = |child: &&Selection| matches!(&child.what, What::Meta(name) if scan::SHOWN.contains(&&**name));
        let children = frame.iter().filter(shows).flat_map(|child| child.children.iter().cloned()).collect();
        let arguments = self.root_arguments(&what, field, definition)?;
        let key: Arc<str> = (*key).into();
        let frame = Selection {
            key: Arc::clone(&key),
            what: What::Meta(definition.ty.inner_named_type().as_str().into()),
            arguments: Vec::new(),
            children: frame,
        };
        Ok((Selection { key, what, arguments, children }, frame))
    }

    /// All arguments of a root. Those of a scan have their values, variables in place; what is null is as if it were not
    /// there, so that a listing without a condition is the listing that it always was.
    pub(super) fn root_arguments(
        &self,
        root: &What,
        field: &Field,
        defined: &FieldDefinition,
    ) -> Result<Vec<Argument>, RequestError> {
        let of_scan = |name: &str| is_of_scan(self.contract, root, name);
        let mut all = arguments(self.contract, field, defined, of_scan)?;
        for definition in defined.arguments.iter().filter(|definition| of_scan(&definition.name)) {
            let Some(given) = field.specified_argument_by_name(&definition.name) else { continue };
            let schema = &self.contract.published;
            // What variables hold was looked at with them.
            if let Some(literal) = built(schema, &Map::new(), &definition.ty, given) {
                check(schema, definition, &literal)?;
            }
            let default = || definition.default_value.as_ref().and_then(|value| constant(value).ok());
            if let Some(value) = built(schema, self.variables, &definition.ty, given).or_else(default)
                && !value.is_null()
            {
                all.push(Argument { name: definition.name.as_str().into(), value: ArgumentValue::Given(value) });
            }
        }
        Ok(all)
    }
}

/// A literal's value as its type has it: variables in place, one value as a list of it, defaults where nothing is said.
/// `None`: a variable that is not there. The nesting of literals was looked at before the parser.
fn built(schema: &Schema, variables: &Map<String, Value>, ty: &Type, given: &AstValue) -> Option<Value> {
    let inside = |ty: &Type, value: &AstValue| built(schema, variables, ty, value);
    Some(match given {
        AstValue::Variable(name) => return variables.get(name.as_str()).cloned(),
        AstValue::Null => Value::Null,
        AstValue::List(list) if ty.is_list() => {
            let element = ty.item_type();
            Value::Array(list.iter().map(|value| inside(element, value).unwrap_or(Value::Null)).collect())
        }
        one if ty.is_list() => Value::Array(vec![inside(ty.item_type(), one)?]),
        AstValue::Object(members) => {
            let mut object = Map::new();
            for field in schema.get_input_object(ty.inner_named_type())?.fields.values() {
                let member = members.iter().find(|(name, _)| *name == field.name);
                let value = member.and_then(|(_, value)| inside(&field.ty, value));
                let value = value.or_else(|| field.default_value.as_ref().and_then(|value| inside(&field.ty, value)));
                object.extend(value.map(|value| (field.name.to_string(), value)));
            }
            Value::Object(object)
        }
        // Digit for digit: JSON's numbers would go through floating point.
        AstValue::Float(number) if ty.inner_named_type() != "Float" => Value::String(number.as_str().to_owned()),
        AstValue::Int(number) if !matches!(ty.inner_named_type().as_str(), "Int" | "Float") => {
            Value::String(number.as_str().to_owned())
        }
        constant_value => constant(constant_value).ok()?,
    })
}

#[cfg(test)]
mod tests;
