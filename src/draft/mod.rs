//! Drafts: a description that a department has of its system → a binding, and the contract types it could fill.
//!
//! Each kind of description has a reader under `read/`; what readers find is arranged into entities, endpoints and
//! queries ([`arrange`]) and written as the two files of a draft ([`mod@write`]). A draft is deterministic, and whatever it
//! cannot know stands in it as a `# decide:` comment. Nothing here does IO or needs the engine.

mod arrange;
mod name;
mod operation;
mod read;
mod types;
mod write;

use std::collections::HashSet;
use std::sync::Arc;

use crate::base::fault::{Faults, Place, SourceText};
use crate::model::contract::Contract;
use operation::Found;

/// Value objects in value objects; the contract takes a few more.
const DEPTH_MAX: usize = 4;
/// Fields of one draft; the reader of bindings takes files of about that size.
const FIELDS_MAX: usize = 30_000;
/// Fields of one operation; what it answers beyond is left out.
const OPERATION_FIELDS_MAX: usize = 150;
/// As few as that, where a document is too long.
const DEPTH_MIN: usize = 1;

/// How much of one operation is drafted.
#[derive(Debug, Clone, Copy)]
struct Limits {
    /// Value objects in value objects.
    depth: usize,
    fields: usize,
}

/// What is to be drafted.
#[derive(Debug)]
pub struct Wanted {
    /// The source's id.
    pub source: String,
    pub title: String,
    /// The entity that all operations are about; without it, entities are found in the description.
    pub entity: Option<String>,
    /// Parameters that hold the entity's key, each perhaps with the field whose value it is.
    pub keys: Vec<(String, Option<String>)>,
    /// Only operations whose path begins so.
    pub only: Option<String>,
}

/// A binding and its types, as texts.
#[derive(Debug, PartialEq, Eq)]
pub struct Draft {
    pub binding: String,
    /// Empty where nothing was bound.
    pub contract: String,
    /// Operations that read and are bound.
    pub bound: Vec<Bound>,
    /// Operations that are not, and why.
    pub left_out: Vec<(String, String)>,
    /// `# decide:` comments in both files.
    pub decisions: usize,
}

/// An operation that is bound.
#[derive(Debug, PartialEq, Eq)]
pub struct Bound {
    /// As people know it: `GET /pets/{petId}`.
    pub operation: String,
    /// Where it stands in the binding: `endpoints.showPet.one`, `queries.listPets`.
    pub place: String,
}

/// Drafts from a description: an OpenAPI document (2.0, 3.0, 3.1; JSON or YAML), GraphQL SDL (plain, or of a federation
/// subgraph), what a GraphQL server says of itself, WSDL 1.1, or a SQL schema. `contract` is the one that the draft is laid
/// beside, if there is any. `None` where faults were added that leave nothing to draft; what can be passed over is a warning.
pub fn draft(
    file: &Arc<SourceText>,
    wanted: &Wanted,
    contract: Option<&Contract>,
    faults: &mut Faults,
    warnings: &mut Faults,
) -> Option<Draft> {
    let limits = Limits { depth: DEPTH_MAX, fields: OPERATION_FIELDS_MAX };
    let found = if read::wsdl::is_xml(&file.text) {
        read::wsdl::read(file, wanted, limits, taken(contract), faults, warnings)?
    } else if read::sql::is_named_so(file) {
        read::sql::read(file, wanted, limits, taken(contract), faults, warnings)?
    } else if read::graphql::is_sdl(&file.text) {
        read::graphql::read(file, wanted, limits, taken(contract), faults)?
    } else if read::sql::is_sql(&file.text) {
        read::sql::read(file, wanted, limits, taken(contract), faults, warnings)?
    } else {
        let document = read::openapi::parse(file, faults)?;
        if document.pointer("/data/__schema").or_else(|| document.get("__schema")).is_some() {
            let sdl = introspected(&document);
            let sdl = sdl.map_err(|why| faults.add(file, Place::default(), why, "ask the server again")).ok()?;
            read::graphql::read(&SourceText::new(&file.path, sdl), wanted, limits, taken(contract), faults)?
        } else {
            openapi(&document, file, wanted, contract, faults, warnings)?
        }
    };
    let arranged = arrange::arrange(found, wanted, contract);
    if arranged.bound.is_empty() {
        let message = "no operation that reads could be bound";
        let mut hint = arranged.left_out.first().map_or_else(
            || "it has no operation that reads".to_owned(),
            |(name, why)| format!("the first of them, {name}: {why}"),
        );
        hint.truncate(hint.char_indices().nth(200).map_or(hint.len(), |(at, _)| at));
        faults.add(file, Place::default(), message, hint);
        return None;
    }
    Some(write::write(arranged, wanted, contract))
}

/// The questions that make a GraphQL server describe itself: the first of which only subgraphs answer.
pub const QUESTIONS: [&str; 2] = [read::introspection::SERVICE, read::introspection::QUESTION];

/// The SDL in what a GraphQL server answered to one of the [`QUESTIONS`]; else what is missing.
pub fn introspected(answer: &serde_json::Value) -> Result<String, &'static str> {
    read::introspection::sdl(answer)
}

fn openapi(
    document: &serde_json::Value,
    file: &Arc<SourceText>,
    wanted: &Wanted,
    contract: Option<&Contract>,
    faults: &mut Faults,
    warnings: &mut Faults,
) -> Option<Found> {
    // A document that is too long is drafted flatter, so that less of it is left out.
    for depth in (DEPTH_MIN..=DEPTH_MAX).rev() {
        let mut told = Faults::default();
        let found = read::openapi::read(document, file, wanted, taken(contract), depth, faults, &mut told)?;
        if !found.is_cut || depth == DEPTH_MIN {
            *warnings = told;
            return Some(found);
        }
    }
    None
}

/// Names that the draft's types cannot have.
fn taken(contract: Option<&Contract>) -> HashSet<String> {
    let builtin = ["Query", "Mutation", "Subscription", "String", "Int", "Float", "Boolean", "ID"];
    let own = ["Date", "DateTime", "Decimal", "IdNumber", "GeoJSON"];
    let known = contract.into_iter().flat_map(|contract| contract.full.types.keys().map(ToString::to_string));
    builtin.iter().chain(&own).map(|name| (*name).to_owned()).chain(known).collect()
}
