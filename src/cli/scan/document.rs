//! The document that is asked, page after page: made of the options, or of the caller's own.

use apollo_compiler::Node;
use apollo_compiler::ast::{Argument, Definition, Document, Field, OperationDefinition, OperationType, Selection};
use serde_json::{Map, Value, json};

use super::ScanArgs;
use super::columns::Columns;
use super::contract::Query;
use super::read::{self, Order};
use crate::cli::Stop;

/// How far a scan has come and what it rests on, as each page tells it.
pub const COVERAGE: &str = "coverage { candidates total evaluated matched undetermined whole ended \
     missing { source sourceTitle state code count fields message } \
     plan { sources fields estimatedCalls estimatedMs calls ms asked left } }";
/// What a page is asked with beside the caller's own variables.
const FIRST: &str = "first";
const AFTER: &str = "after";

/// What is asked.
pub struct Asked {
    pub text: String,
    /// Without those that go from page to page.
    pub variables: Map<String, Value>,
    /// The response key of the query.
    pub root: String,
    /// The query's name.
    pub query: String,
    pub columns: Columns,
    /// It can be gone on with; what is sorted cannot.
    pub pages: bool,
    /// Whom it is asked about alone, in place of all.
    pub among: Option<Vec<String>>,
}

/// What a page tells, with what is shown of each.
fn page(show: &str) -> String {
    format!(
        "{{ edges {{ missing {{ source sourceTitle state code fields }} node {{ {show} }} }} \
         pageInfo {{ hasNextPage endCursor }} {COVERAGE} }}"
    )
}

impl Asked {
    /// Of the options; `show` is what is selected of each.
    pub fn of_options(args: &ScanArgs, query: &Query, show: &str) -> Result<Self, Stop> {
        let mut variables = Map::new();
        let mut declared: Vec<(String, String)> = Vec::new();
        let mut needs = |name: &str, value: Option<Value>| {
            let ty = query.argument(name).ok_or_else(|| {
                refused(&format!("the query `{}` has no argument `{name}` for your role", query.name))
            })?;
            declared.push((name.to_owned(), ty.to_owned()));
            variables.extend(value.map(|value| (name.to_owned(), value)));
            Ok::<_, Stop>(())
        };
        needs(query.division()?, Some(json!(args.division()?)))?;
        if let Some(given) = &args.condition {
            needs("where", Some(read::json("--where", given)?))?;
        }
        if !args.order_by.is_empty() {
            let orders = args.order_by.iter().map(|order| Order::read(order)).collect::<Result<Vec<_>, _>>()?;
            needs("orderBy", Some(orders.iter().map(Order::asked).collect()))?;
        }
        let among = args.among.as_deref().map(read::keys).transpose()?;
        if among.is_some() {
            needs("among", None)?;
        }
        if let Some(verdict) = args.verdict {
            needs("verdict", Some(json!(verdict.name())))?;
        }
        needs(FIRST, None)?;
        let pages = args.order_by.is_empty();
        if pages {
            needs(AFTER, None)?;
        }
        let document = parsed(&format!("{{ {} {{ {show} }} }}", query.name), "--show")?;
        let shown = &root(&document, "--show")?.selection_set;
        let columns = Columns::of(&document, shown).map_err(|why| refused(&format!("--show: {why}")))?;
        let types: Vec<String> = declared.iter().map(|(name, ty)| format!("${name}: {ty}")).collect();
        let arguments: Vec<String> = declared.iter().map(|(name, _)| format!("{name}: ${name}")).collect();
        let (types, arguments) = (types.join(", "), arguments.join(", "));
        let text = format!("query Scan({types}) {{ {}({arguments}) {} }}", query.name, page(show));
        Ok(Self { text, variables, root: query.name.clone(), query: query.name.clone(), columns, pages, among })
    }

    /// Of the caller's own document: what it selects of each (`nodes`, or `edges { node }`) is kept, and what pages take
    /// is put in place of all else.
    pub fn of_document(args: &ScanArgs, text: &str) -> Result<Self, Stop> {
        let mut document = parsed(text, "--document")?;
        let field = root(&document, "--document")?.clone();
        let shown = shown(&field).ok_or_else(|| {
            refused("--document: the query selects neither `nodes` nor `edges { node }` of what it finds")
        })?;
        let columns = Columns::of(&document, shown).map_err(|why| refused(&format!("--document: {why}")))?;
        let pages = !field.arguments.iter().any(|argument| argument.name == "orderBy");
        // What pages take is written, read, and put into the caller's document.
        let (types, arguments) = match pages {
            true => ("$first: Int, $after: String", "first: $first, after: $after"),
            false => ("$first: Int", "first: $first"),
        };
        let template = format!("query ({types}) {{ {}({arguments}) {} }}", field.name, page("__typename"));
        let template = parsed(&template, "--document")?;
        let mut paged = root(&template, "--document")?.clone();
        for edge in fields_of(&mut paged.selection_set, "edges") {
            for node in fields_of(&mut edge.selection_set, "node") {
                node.selection_set = shown.to_vec();
            }
        }
        let own = |argument: &&Node<Argument>| argument.name != FIRST && argument.name != AFTER;
        paged.arguments.extend(field.arguments.iter().filter(own).cloned());
        paged.alias = field.alias.clone();
        paged.directives = field.directives.clone();
        let further = only(&template, "--document")?.variables.clone();
        let operation = document.definitions.iter_mut().find_map(|definition| match definition {
            Definition::OperationDefinition(operation) => Some(operation.make_mut()),
            _ => None,
        });
        let operation = operation.ok_or_else(|| refused("--document: it holds no query"))?;
        operation.selection_set = vec![Selection::Field(Node::new(paged))];
        operation.variables.retain(|variable| variable.name != FIRST && variable.name != AFTER);
        operation.variables.extend(further);
        let mut variables = match args.variables.as_deref().map(|given| read::json("--variables", given)).transpose()? {
            None => Map::new(),
            Some(Value::Object(variables)) => variables,
            Some(_) => return Err(refused("--variables: it is an object of JSON: {\"name\": …}")),
        };
        if let Some(division) = &args.division {
            if !operation.variables.iter().any(|variable| variable.name == "division") {
                return Err(refused("--document: it has no variable `$division`, which --division would be"));
            }
            variables.insert("division".to_owned(), json!(division));
        }
        let key = field.alias.as_ref().unwrap_or(&field.name).to_string();
        let (text, query) = (document.to_string(), field.name.to_string());
        Ok(Self { text, variables, root: key, query, columns, pages, among: None })
    }

    /// The variables of one page.
    pub fn page(&self, first: u64, after: Option<&str>, among: Option<&[String]>) -> Map<String, Value> {
        let mut variables = self.variables.clone();
        variables.insert(FIRST.to_owned(), json!(first));
        variables.extend(after.map(|after| (AFTER.to_owned(), json!(after))));
        variables.extend(among.map(|keys| ("among".to_owned(), json!(keys))));
        variables
    }
}

fn refused(what: &str) -> Stop {
    Stop::refused(format!("error: {what}"))
}

fn parsed(text: &str, what: &str) -> Result<Document, Stop> {
    Document::parse(text, what.trim_start_matches('-')).map_err(|wrong| {
        let why: Vec<String> = wrong.errors.iter().map(|one| one.to_string()).collect();
        refused(&format!("{what} is no GraphQL\n{}", why.join("\n").trim_end()))
    })
}

/// The only operation of a document: a query.
fn only<'d>(document: &'d Document, what: &str) -> Result<&'d OperationDefinition, Stop> {
    let mut found = document.definitions.iter().filter_map(|definition| match definition {
        Definition::OperationDefinition(operation) => Some(operation),
        _ => None,
    });
    match (found.next(), found.next()) {
        (Some(only), None) if only.operation_type == OperationType::Query => Ok(only),
        _ => Err(refused(&format!("{what}: it is one query, and no other operation stands beside it"))),
    }
}

/// The only field that it asks.
fn root<'d>(document: &'d Document, what: &str) -> Result<&'d Field, Stop> {
    match only(document, what)?.selection_set.as_slice() {
        [Selection::Field(field)] => Ok(field),
        _ => Err(refused(&format!("{what}: it asks one query of the contract, and no other beside it"))),
    }
}

/// What is selected of each that is found.
fn shown(of: &Field) -> Option<&[Selection]> {
    named(&of.selection_set, "nodes")
        .or_else(|| named(&named(&of.selection_set, "edges")?.selection_set, "node"))
        .map(|node| node.selection_set.as_slice())
}

fn named<'s>(selections: &'s [Selection], name: &str) -> Option<&'s Field> {
    selections.iter().find_map(|one| match one {
        Selection::Field(field) if field.name == name => Some(&**field),
        _ => None,
    })
}

fn fields_of<'s>(selections: &'s mut [Selection], name: &'s str) -> impl Iterator<Item = &'s mut Field> {
    selections.iter_mut().filter_map(move |one| match one {
        Selection::Field(field) if field.name == name => Some(field.make_mut()),
        _ => None,
    })
}
