//! `__schema` and `__type`: the contract pruned to what the caller may see.

use std::collections::HashSet;

use apollo_compiler::ExecutableDocument;
use apollo_compiler::Name;
use apollo_compiler::Schema;
use apollo_compiler::collections::HashMap;
use apollo_compiler::executable::{Operation, Selection};
use apollo_compiler::introspection;
use apollo_compiler::request::coerce_variable_values;
use apollo_compiler::response::JsonMap;
use apollo_compiler::schema::Implementers;
use apollo_compiler::validation::Valid;
use serde_json::{Map, Value};

use super::Planned;
use super::cache::Caches;
use crate::base::code::ErrorCode;
use crate::engine::error::RequestError;
use crate::model::access::{Rights, ScanRights};
use crate::model::contract::published::{Seen, pruned};
use crate::model::contract::scan::SeenScans;
use crate::model::snapshot::Snapshot;

/// Fields of an operation that introspects, fragments written out; the usual tools ask for some 300. Each is answered
/// for hundreds of types and fields.
const FIELDS_MAX: usize = 1_000;

/// The contract as callers with some rights see it.
pub struct RoleSchema {
    pub schema: Valid<Schema>,
    implementers: HashMap<Name, Implementers>,
}

impl RoleSchema {
    /// `None` where the rights give nothing at all.
    pub fn new(snapshot: &Snapshot, rights: &Rights) -> Option<Self> {
        let contract = &snapshot.contract;
        let mut visible: HashSet<(&str, &str)> = HashSet::new();
        let mut known: HashSet<&str> = HashSet::from([contract.query_type()]);
        for slot in &contract.slots {
            let parent =
                slot.parent.map_or(&*contract.entity(slot.entity).name, |parent| &*contract.slot(parent).type_name);
            known.insert(parent);
            if rights.any.contains(slot.id) {
                visible.insert((parent, &slot.name));
            }
        }
        for query in &contract.queries {
            if contract.entity(query.entity).children.iter().any(|slot| rights.any.contains(*slot)) {
                visible.insert((contract.query_type(), &query.name));
            }
        }
        // By what is read one by one nothing is scanned.
        let scanned = ScanRights::new(&snapshot.access, rights.key.clone());
        let comparable = |slot| scanned.as_ref().is_some_and(|scanned| scanned.rights.may_compare_somewhere(slot));
        let scans = SeenScans::new(contract, comparable);
        let schema = pruned(&contract.published, &ToRole { known, visible, scans })?;
        let implementers = schema.implementers_map();
        Some(Self { schema, implementers })
    }
}

/// What is seen under some rights.
struct ToRole<'c> {
    /// Types whose fields the rights give, one by one.
    known: HashSet<&'c str>,
    /// Those that they give, by the names of both.
    visible: HashSet<(&'c str, &'c str)>,
    scans: SeenScans<'c>,
}

impl Seen for ToRole<'_> {
    fn field(&self, type_name: &str, field: &str) -> bool {
        match self.scans.field(type_name, field) {
            Some(seen) => seen,
            None => !self.known.contains(type_name) || self.visible.contains(&(type_name, field)),
        }
    }

    fn argument(&self, type_name: &str, field: &str, argument: &str) -> bool {
        self.scans.argument(type_name, field, argument)
    }

    fn input(&self, type_name: &str, field: &str) -> bool {
        self.scans.input(type_name, field)
    }

    fn value(&self, type_name: &str, value: &str) -> bool {
        self.scans.value(type_name, value)
    }
}

/// Whether the operation has more than [`FIELDS_MAX`] selections; what is beyond is not looked at.
fn fields_max_exceeded(document: &ExecutableDocument, operation: &Operation) -> bool {
    let mut sets = vec![&operation.selection_set];
    let mut count = 0;
    while let Some(set) = sets.pop() {
        count += set.selections.len();
        if count > FIELDS_MAX {
            return true;
        }
        sets.extend(set.selections.iter().filter_map(|selection| match selection {
            Selection::Field(field) => Some(&field.selection_set),
            Selection::InlineFragment(inline) => Some(&inline.selection_set),
            Selection::FragmentSpread(spread) => {
                document.fragments.get(&spread.fragment_name).map(|fragment| &fragment.selection_set)
            }
        }));
    }
    false
}

/// The introspection fields of an operation, by response key.
pub(super) fn answer(
    snapshot: &Snapshot,
    caches: &Caches,
    planned: &Planned,
    operation: Option<&str>,
) -> Result<Map<String, Value>, RequestError> {
    let refused = |message: &str| RequestError::new(ErrorCode::Forbidden, message.to_owned());
    if !snapshot.introspects(planned.asking.presented()) {
        return Err(refused("introspection is switched off here for your role; the contract is published as SDL"));
    }
    let document = &planned.document;
    let asked = document.operation(operation)?;
    if fields_max_exceeded(&document.valid, asked) {
        let message = format!("the introspection has more than {FIELDS_MAX} fields, with its fragments written out");
        return Err(RequestError::new(ErrorCode::LimitExceeded, message));
    }
    introspection::check_max_depth(&document.valid, asked)
        .map_err(|error| RequestError::new(ErrorCode::LimitExceeded, error.message().to_string()))?;
    let schema = caches
        .schema(&planned.rights, || RoleSchema::new(snapshot, &planned.rights))
        .ok_or_else(|| refused("none of your grants gives anything of this contract"))?;
    let given: JsonMap = serde_json::to_vec(&planned.variables)
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    let internal =
        || RequestError::new(ErrorCode::Internal, "introspection failed; tell the operator the request id".to_owned());
    let variables = coerce_variable_values(&snapshot.contract.published, asked, &given).map_err(|_| internal())?;
    let response =
        introspection::partial_execute(&schema.schema, &schema.implementers, &document.valid, asked, &variables)
            .map_err(|_| internal())?;
    let data = response.data.ok_or_else(internal)?;
    serde_json::to_vec(&data).and_then(|bytes| serde_json::from_slice(&bytes)).map_err(|_| internal())
}
