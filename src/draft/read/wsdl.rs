//! WSDL 1.1, literal (of style document or rpc), SOAP 1.1, its schemas inside it.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::json;

use super::openapi::object;
use super::request::{key_of, of_keys};
use super::rpc;
use super::xml::{Element, Name};
use super::xsd::{Kind, Part, Schemas, XSD};
use crate::base::fault::{Faults, Place, SourceText};
use crate::draft::name;
use crate::draft::operation::{Asked, Found, Key, Operation, Record};
use crate::draft::types::Member;
use crate::draft::{Limits, Wanted};

const SOAP: &str = "http://schemas.xmlsoap.org/wsdl/soap/";
const BATCH: u64 = 100;
/// Elements of one request, and within one another.
const ASKED_MAX: usize = 200;
const DEPTH_MAX: usize = 8;

/// Whether a text looks like XML.
pub fn is_xml(text: &str) -> bool {
    text.trim_start_matches('\u{feff}').trim_start().starts_with('<')
}

pub fn read(
    file: &Arc<SourceText>,
    wanted: &Wanted,
    limits: Limits,
    taken: HashSet<String>,
    faults: &mut Faults,
    warnings: &mut Faults,
) -> Option<Found> {
    let root = super::xml::parse(file, faults)?;
    if root.name.local != "definitions" {
        let message = format!("the document is `{}`, not WSDL 1.1", root.name.local);
        faults.add(file, Place::default(), message, "its root is `definitions`; WSDL 2.0 is not read");
        return None;
    }
    let schemas: Vec<&Element> =
        root.all("types").flat_map(|types| types.all("schema")).filter(|one| one.name.space == XSD).collect();
    let elsewhere = schemas.iter().flat_map(|schema| schema.children.iter()).chain(root.all("import"));
    for import in elsewhere.filter(|child| matches!(child.name.local.as_str(), "import" | "include")) {
        if let Some(place) = import.attribute("schemaLocation").or_else(|| import.attribute("location")) {
            let hint = "what it holds is left out; put it into the document";
            warnings.add(file, Place::default(), format!("`{place}` is another document, which is not fetched"), hint);
        }
    }
    let of_rpc = rpc::schemas(&root);
    let mut types = Schemas::new(schemas.into_iter().chain(&of_rpc), limits);
    types.made.taken = taken;
    let mut found = Found { protocol: Some("soap"), ..Found::default() };
    found.decide.push("how the gateway signs; a WSDL does not say".to_owned());
    found.decide.push("`encoding: gbk`, if the service speaks it".to_owned());
    let mut reading = Reading { root: &root, types, wanted };
    let mut names = HashSet::new();
    for binding in root.all("binding") {
        if !binding.children.iter().any(|child| child.name.local == "binding" && child.name.space == SOAP) {
            continue;
        }
        let path = reading.path(binding, &mut found);
        for operation in binding.all("operation") {
            let Some(own) = operation.attribute("name") else { continue };
            if wanted.only.as_ref().is_some_and(|only| !own.starts_with(only.as_str())) {
                continue;
            }
            let label = format!("operation {own}");
            if rpc::is_encoded(operation) {
                let why = "its messages are encoded (SOAP 1.1, section 5); what is literal is drafted";
                found.left_out.push((label, why.to_owned()));
                continue;
            }
            if is_write(own) && wanted.entity.is_none() {
                continue;
            }
            match reading.operation(own, binding, operation, &path) {
                Ok(mut operation) => {
                    operation.name = name::unique(operation.name, &mut names);
                    found.operations.push(operation);
                }
                Err(why) => found.left_out.push((label, why)),
            }
        }
    }
    found.types = reading.types.made;
    Some(found)
}

/// Whether an operation's name says that it changes something.
fn is_write(name: &str) -> bool {
    let words =
        ["add", "create", "update", "delete", "remove", "set", "save", "insert", "submit", "send", "cancel", "put"];
    let upper = name::upper(name).unwrap_or_default().to_ascii_lowercase();
    upper.split('_').next().is_some_and(|first| words.contains(&first))
}

struct Reading<'a> {
    root: &'a Element,
    types: Schemas<'a>,
    wanted: &'a Wanted,
}

/// An element of the request that could take a value.
struct Asking<'a> {
    /// The elements from the root of the request to it.
    path: Vec<Part<'a>>,
    required: bool,
}

impl<'a> Reading<'a> {
    /// Where the service is: its path, told by the port of this binding.
    fn path(&self, binding: &Element, found: &mut Found) -> String {
        let name = binding.attribute("name");
        let ports = self.root.all("service").flat_map(|service| service.all("port"));
        let port = ports.into_iter().find(|port| port.names("binding").map(|at| at.local.as_str()) == name);
        let Some(location) = port.and_then(|port| port.first("address")).and_then(|at| at.attribute("location")) else {
            return "/".to_owned();
        };
        let about = format!("the document says it is at {location}");
        if !found.about.contains(&about) {
            found.about.push(about);
        }
        let after = location.split_once("://").map_or(location, |(_, rest)| rest);
        let path = after.find('/').and_then(|at| after.get(at..)).unwrap_or("/");
        path.split(['?', '#']).next().unwrap_or("/").replace(['{', '}'], "")
    }

    /// The element that a message is.
    fn message(&mut self, name: &Name) -> Option<Part<'a>> {
        let root = self.root;
        let message = root.all("message").find(|message| message.attribute("name") == Some(name.local.as_str()))?;
        let element = message.all("part").find_map(|part| part.names("element"))?;
        self.types.element(element)
    }

    fn operation(
        &mut self,
        own: &str,
        binding: &'a Element,
        operation: &'a Element,
        path: &str,
    ) -> Result<Operation, String> {
        self.types.begin();
        let root = self.root;
        let kind = binding.names("type").ok_or("its binding names no port type")?;
        let port = root.all("portType").find(|port| port.attribute("name") == Some(kind.local.as_str()));
        let port = port.and_then(|port| port.all("operation").find(|one| one.attribute("name") == Some(own)));
        let port = port.ok_or("its port type does not know it")?;
        let message = |place: &str| port.first(place).and_then(|one| one.names("message")).cloned();
        let input = message("input").ok_or("it has no input")?;
        let output = message("output").ok_or("it answers nothing")?;
        let mut element = |message: &Name, direction: &str| match rpc::is_rpc(binding, operation) {
            true => rpc::element(root, operation, direction).and_then(|element| self.types.element(&element)),
            false => self.message(message),
        };
        let input = element(&input, "input").ok_or("its input is no element of the schemas in the document")?;
        let output = element(&output, "output").ok_or("its output is no element of the schemas in the document")?;
        let action = operation.first("operation").and_then(|soap| soap.attribute("soapAction")).unwrap_or_default();

        let (asked, xml, mut decide) = self.asked(&input)?;
        let (record, items) = self.record(&output, own)?;
        let mut request = object([("post", json!(path)), ("action", json!(action)), ("xml", json!(xml))]);
        let many = matches!(asked, Asked::Many(_));
        if let Some(items) = items {
            request.insert("items".to_owned(), json!(items));
        }
        if many && !record.list {
            return Err("it is asked with several keys, and does not answer a list".to_owned());
        }
        if many {
            request.insert("batch_max".to_owned(), json!(BATCH));
            decide.push("batch_max: how many keys does one call take?".to_owned());
        }
        let own_key = |key: &Key| {
            let named = name::camel(&key.parameter);
            !record.list && record.members.iter().any(|member| Some(&member.name) == named.as_ref())
        };
        let asked = match asked {
            Asked::One(key) => Asked::One(Key { last: own_key(&key), ..key }),
            other => other,
        };
        let note = port.first("documentation").map(|note| note.text.trim().to_owned()).filter(|text| !text.is_empty());
        Ok(Operation {
            field: None,
            name: name::camel(own).unwrap_or_else(|| "operation".to_owned()),
            label: format!("operation {own}"),
            summary: note,
            asked,
            request,
            batch: None,
            decide,
            record,
        })
    }

    /// How the operation is asked: by one key, by many, by arguments; and what stands in the body.
    fn asked(&mut self, input: &Part<'a>) -> Result<(Asked, String, Vec<String>), String> {
        let mut all = Vec::new();
        self.leaves(input, Vec::new(), true, &mut all, 0);
        let named = |asking: &Asking| asking.path.last().map(|part| part.name).unwrap_or_default().to_owned();
        let given = |asking: &Asking| self.wanted.keys.iter().any(|(key, _)| *key == named(asking));
        let mut chosen: Vec<&Asking> = all.iter().filter(|one| one.required || given(one)).collect();
        if chosen.iter().all(|one| one.path.last().is_some_and(|part| part.fixed.is_some() && !given(one))) {
            // Some frameworks write everything as optional.
            let ids: Vec<&Asking> = all.iter().filter(|one| of_keys(&named(one))).collect();
            match (all.as_slice(), ids.as_slice()) {
                ([single], _) if !single.required => chosen.push(single),
                (_, [single]) if !single.required => chosen.push(single),
                _ => {}
            }
        }
        let mut decide = Vec::new();
        let open: Vec<&Asking> = chosen
            .iter()
            .filter(|one| given(one) || one.path.last().is_some_and(|part| part.fixed.is_none()))
            .copied()
            .collect();
        if self.wanted.entity.is_some() && !(open.len() == 1 && open.iter().all(|one| given(one))) {
            return Err("it takes none of the elements given with --key, or others too".to_owned());
        }
        let single = open.len() == 1;
        let mut asked = Asked::With(Vec::new());
        let mut arguments: Vec<(String, &'static str)> = Vec::new();
        let mut holes = Vec::new();
        for one in &chosen {
            let Some(part) = one.path.last() else { continue };
            let hole = if !open.iter().any(|open| std::ptr::eq(*open, *one)) {
                decide.push(format!("`{}` is always {}", part.name, part.fixed.unwrap_or_default()));
                escaped(part.fixed.unwrap_or_default())
            } else if single {
                let key = Key { required: true, ..key_of("", part.name, "body") };
                asked = if part.list { Asked::Many(key) } else { Asked::One(key) };
                "{key}".to_owned()
            } else {
                let argument = name::camel(part.name).unwrap_or_else(|| format!("argument{}", arguments.len() + 1));
                if arguments.iter().any(|(known, _)| *known == argument) {
                    return Err(format!("it needs two elements that are called `{}`", part.name));
                }
                arguments.push((argument.clone(), "String!"));
                format!("{{arg.{argument}}}")
            };
            holes.push((*one, hole));
        }
        if !single {
            asked = Asked::With(arguments);
        }
        Ok((asked, body(input, &holes), decide))
    }

    /// Elements of the request that hold values.
    fn leaves(
        &mut self,
        part: &Part<'a>,
        mut path: Vec<Part<'a>>,
        required: bool,
        all: &mut Vec<Asking<'a>>,
        depth: usize,
    ) {
        if depth > DEPTH_MAX || all.len() > ASKED_MAX {
            return;
        }
        let required = required && part.required;
        path.push(part.clone());
        match &part.kind {
            Kind::Complex(definition) => {
                for inner in self.types.parts(definition) {
                    self.leaves(&inner, path.clone(), required, all, depth + 1);
                }
            }
            _ => all.push(Asking { path, required }),
        }
    }

    /// The record that is answered, and where the list of them is.
    fn record(&mut self, output: &Part<'a>, own: &str) -> Result<(Record, Option<String>), String> {
        let mut at = format!("/{}", output.name);
        let mut part = output.clone();
        for _ in 0..DEPTH_MAX {
            let Kind::Complex(definition) = &part.kind else { break };
            let definition = *definition;
            let parts = self.types.parts(definition);
            let complex = |part: &&Part| matches!(part.kind, Kind::Complex(..));
            let lists: Vec<&Part> = parts.iter().filter(|part| part.list).filter(complex).collect();
            let whole = parts.iter().filter(complex).count();
            let next = match lists.as_slice() {
                [list] if whole == 1 && parts.len() <= 8 => Some((*list).clone()),
                _ if parts.len() == 1 && whole == 1 => parts.first().cloned(),
                _ => None,
            };
            let wish = definition.attribute("name").unwrap_or(own).to_owned();
            let Some(next) = next else {
                let name = definition.attribute("name").map(str::to_owned);
                // Read as a list of one, so that an element that is not there is a record that is not there.
                let members = self.types.members(definition, "", &wish);
                return recorded(name, false, members).map(|record| (record, Some(at)));
            };
            let _ = write!(at, "/{}", next.name);
            if next.list {
                let Kind::Complex(element) = &next.kind else { break };
                let element = *element;
                let members = self.types.members(element, "", element.attribute("name").unwrap_or(own));
                let name = element.attribute("name").map(str::to_owned);
                return recorded(name, true, members).map(|record| (record, Some(at)));
            }
            part = next;
        }
        let Some(shape) = self.types.leaf(&part.kind, part.list, own, "value") else {
            return Err("it answers nothing that could be bound".to_owned());
        };
        let member = Member { name: "value".to_owned(), pointer: at, shape, description: None, decide: None };
        Ok((Record { name: None, list: false, members: vec![member] }, None))
    }
}

fn recorded(name: Option<String>, list: bool, members: Vec<Member>) -> Result<Record, String> {
    if members.is_empty() {
        return Err("it answers nothing that could be bound".to_owned());
    }
    Ok(Record { name, list, members })
}

/// What stands in `soap:Body`: the elements that are filled, in the order of the schema.
fn body(input: &Part, holes: &[(&Asking, String)]) -> String {
    let mut spaces: Vec<&str> = vec![input.space];
    for (asking, _) in holes {
        for part in &asking.path {
            if !part.space.is_empty() && !spaces.contains(&part.space) {
                spaces.push(part.space);
            }
        }
    }
    let prefixed = |part: &Part| match spaces.iter().position(|space| *space == part.space && !space.is_empty()) {
        Some(0) => format!("m:{}", part.name),
        Some(at) => format!("n{at}:{}", part.name),
        None => part.name.to_owned(),
    };
    let mut declared = String::new();
    for (at, space) in spaces.iter().enumerate().filter(|(_, space)| !space.is_empty()) {
        let prefix = if at == 0 { "m".to_owned() } else { format!("n{at}") };
        let _ = write!(declared, " xmlns:{prefix}=\"{}\"", escaped(space));
    }
    let mut out = format!("<{}{declared}>", prefixed(input));
    let mut open: Vec<String> = Vec::new();
    for (asking, hole) in holes {
        let inner: Vec<&Part> = asking.path.iter().skip(1).collect();
        let Some((leaf, above)) = inner.split_last() else {
            let _ = write!(out, "{hole}");
            continue;
        };
        let path: Vec<String> = above.iter().map(|part| prefixed(part)).collect();
        let same = open.iter().zip(&path).take_while(|(one, other)| one == other).count();
        for closed in open.drain(same..).rev() {
            let _ = write!(out, "</{closed}>");
        }
        for opened in path.iter().skip(same) {
            let _ = write!(out, "<{opened}>");
        }
        open = path;
        let name = prefixed(leaf);
        let filled = format!("<{name}>{hole}</{name}>");
        let repeated = leaf.list && hole == "{key}";
        out.push_str(&if repeated { format!("{{#keys}}{filled}{{/keys}}") } else { filled });
    }
    for closed in open.drain(..).rev() {
        let _ = write!(out, "</{closed}>");
    }
    let _ = write!(out, "</{}>", prefixed(input));
    out
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
