//! XML Schema, as it stands in a WSDL → members. Every walk is bounded.

use std::collections::{HashMap, HashSet};

use super::xml::{Element, Name};
use crate::draft::Limits;
use crate::draft::name;
use crate::draft::types::{Member, Shape, Types};

pub const XSD: &str = "http://www.w3.org/2001/XMLSchema";
const STEPS_MAX: usize = 20_000;
const ENUM_MAX: usize = 200;

/// An element of a complex type.
#[derive(Clone)]
pub struct Part<'a> {
    pub name: &'a str,
    /// Empty where it stands without one.
    pub space: &'a str,
    pub required: bool,
    pub list: bool,
    pub kind: Kind<'a>,
    /// Its text has attributes beside it.
    attributed: bool,
    pub fixed: Option<&'a str>,
    pub description: Option<&'a str>,
}

#[derive(Clone)]
pub enum Kind<'a> {
    /// A type of XML Schema itself, by its local name.
    Plain(&'a str),
    Values(Vec<&'a str>),
    /// By where its definition is.
    Complex(&'a Element),
}

pub struct Schemas<'a> {
    elements: HashMap<Name, (&'a Element, &'a Element)>,
    types: HashMap<Name, (&'a Element, &'a Element)>,
    groups: HashMap<Name, (&'a Element, &'a Element)>,
    /// The schema that a type stands in, whether it has a name or not.
    standing: HashMap<*const Element, &'a Element>,
    global: HashSet<*const Element>,
    pub made: Types,
    limits: Limits,
    steps: usize,
    fields: usize,
    above: Vec<*const Element>,
}

impl<'a> Schemas<'a> {
    pub fn new(schemas: impl Iterator<Item = &'a Element>, limits: Limits) -> Self {
        let (mut elements, mut types, mut groups) = (HashMap::new(), HashMap::new(), HashMap::new());
        let (mut standing, mut global) = (HashMap::new(), HashSet::new());
        for schema in schemas {
            let space = schema.attribute("targetNamespace").unwrap_or_default();
            global.extend(schema.all("element").map(std::ptr::from_ref));
            let mut next: Vec<&Element> = schema.children.iter().collect();
            while let Some(inner) = next.pop() {
                if inner.name.local == "complexType" {
                    standing.insert(std::ptr::from_ref(inner), schema);
                }
                next.extend(&inner.children);
            }
            for child in &schema.children {
                let Some(local) = child.attribute("name") else { continue };
                let name = Name { space: space.to_owned(), local: local.to_owned() };
                match child.name.local.as_str() {
                    "element" => drop(elements.insert(name, (child, schema))),
                    "complexType" | "simpleType" => drop(types.insert(name, (child, schema))),
                    "group" => drop(groups.insert(name, (child, schema))),
                    _ => {}
                }
            }
        }
        Self {
            elements,
            types,
            groups,
            standing,
            global,
            made: Types::default(),
            limits,
            steps: 0,
            fields: 0,
            above: Vec::new(),
        }
    }

    pub fn begin(&mut self) {
        (self.steps, self.fields) = (0, 0);
        self.above.clear();
    }

    /// A global element.
    pub fn element(&mut self, name: &Name) -> Option<Part<'a>> {
        let (element, schema) = *self.elements.get(name)?;
        self.part(element, schema)
    }

    fn part(&mut self, element: &'a Element, schema: &'a Element) -> Option<Part<'a>> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return None;
        }
        let whole = |key: &str| element.attribute(key).and_then(|value| value.parse::<u64>().ok());
        let required = whole("minOccurs").unwrap_or(1) > 0 && element.attribute("nillable") != Some("true");
        let list =
            element.attribute("maxOccurs") == Some("unbounded") || whole("maxOccurs").is_some_and(|most| most > 1);
        if let Some(target) = element.names("ref") {
            let (global, own) = *self.elements.get(target)?;
            let part = self.part(global, own)?;
            return Some(Part { required, list, ..part });
        }
        let target = schema.attribute("targetNamespace").unwrap_or_default();
        let qualified = match element.attribute("form") {
            Some(form) => form == "qualified",
            None => schema.attribute("elementFormDefault") == Some("qualified") || self.is_global(element),
        };
        let kind = match element.names("type") {
            Some(name) => self.named(name)?,
            None => match element.children.iter().find(|child| child.name.local.ends_with("Type")) {
                Some(inline) => self.kind(inline)?,
                None => return None,
            },
        };
        let description = element.first("annotation").and_then(|note| note.first("documentation"));
        Some(Part {
            name: element.attribute("name")?,
            space: if qualified { target } else { "" },
            required,
            list,
            attributed: self.is_attributed(element),
            kind,
            fixed: element.attribute("fixed").or_else(|| element.attribute("default")),
            description: description.map(|note| note.text.trim()).filter(|text| !text.is_empty()),
        })
    }

    fn is_global(&self, element: &Element) -> bool {
        self.global.contains(&std::ptr::from_ref(element))
    }

    /// A text that always has attributes is read from another place than one that has none.
    fn is_attributed(&self, element: &'a Element) -> bool {
        let definition = match element.names("type") {
            Some(name) => self.types.get(name).map(|(definition, _)| *definition),
            None => element.first("complexType"),
        };
        let extension = definition.and_then(|definition| definition.first("simpleContent")?.first("extension"));
        extension
            .is_some_and(|extension| extension.all("attribute").any(|one| one.attribute("use") == Some("required")))
    }

    fn named(&mut self, name: &Name) -> Option<Kind<'a>> {
        if name.space == XSD {
            return PLAIN.iter().find(|plain| **plain == name.local).map(|plain| Kind::Plain(plain));
        }
        let (definition, _) = *self.types.get(name)?;
        self.kind(definition)
    }

    fn kind(&mut self, definition: &'a Element) -> Option<Kind<'a>> {
        self.steps += 1;
        if self.steps > STEPS_MAX {
            return None;
        }
        if let Some(simple) = definition.first("simpleContent") {
            let base = simple.children.iter().find_map(|inner| inner.names("base"))?;
            return self.named(base);
        }
        if definition.name.local == "complexType" {
            return Some(Kind::Complex(definition));
        }
        let Some(restriction) = definition.first("restriction") else { return Some(Kind::Plain("string")) };
        let values: Vec<&str> = restriction.all("enumeration").filter_map(|value| value.attribute("value")).collect();
        if !values.is_empty() {
            return Some(Kind::Values(values));
        }
        match restriction.names("base") {
            Some(base) => self.named(base),
            None => Some(Kind::Plain("string")),
        }
    }

    /// The elements of a complex type, those that it extends first.
    pub fn parts(&mut self, definition: &'a Element) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        let schema = self.standing.get(&std::ptr::from_ref(definition)).copied();
        if let Some(schema) = schema {
            self.gather(definition, schema, false, &mut parts, 0);
        }
        parts
    }

    fn gather(
        &mut self,
        above: &'a Element,
        schema: &'a Element,
        optional: bool,
        parts: &mut Vec<Part<'a>>,
        depth: usize,
    ) {
        self.steps += 1;
        if depth > 24 || self.steps > STEPS_MAX {
            return;
        }
        for child in &above.children {
            match child.name.local.as_str() {
                "element" => {
                    if let Some(part) = self.part(child, schema) {
                        let list = part.list || above.attribute("maxOccurs") == Some("unbounded");
                        parts.push(Part { required: part.required && !optional, list, ..part });
                    }
                }
                "sequence" | "all" | "complexContent" | "restriction" => {
                    let optional = optional || child.attribute("minOccurs") == Some("0");
                    self.gather(child, schema, optional, parts, depth + 1);
                }
                // One of several is there.
                "choice" => self.gather(child, schema, true, parts, depth + 1),
                "extension" => {
                    let base = child.names("base").and_then(|base| self.types.get(base)).copied();
                    if let Some((base, own)) = base {
                        self.gather(base, own, optional, parts, depth + 1);
                    }
                    self.gather(child, schema, optional, parts, depth + 1);
                }
                "group" => {
                    let group = child.names("ref").and_then(|group| self.groups.get(group)).copied();
                    if let Some((group, own)) = group {
                        self.gather(group, own, optional, parts, depth + 1);
                    }
                }
                _ => {}
            }
        }
    }

    /// The fields of a complex type; pointers begin at `at`.
    pub fn members(&mut self, definition: &'a Element, at: &str, wish: &str) -> Vec<Member> {
        if self.above.len() > self.limits.depth || self.above.contains(&std::ptr::from_ref(definition)) {
            return Vec::new();
        }
        self.above.push(std::ptr::from_ref(definition));
        let mut parts = self.parts(definition);
        parts.sort_by_key(|part| matches!(part.kind, Kind::Complex(..)));
        let (mut taken, mut members) = (HashSet::new(), Vec::new());
        for (number, part) in parts.iter().enumerate() {
            if self.fields >= self.limits.fields {
                break;
            }
            self.member(part, number, at, wish, &mut taken, &mut members);
        }
        self.above.pop();
        members
    }

    fn member(
        &mut self,
        part: &Part<'a>,
        number: usize,
        at: &str,
        wish: &str,
        taken: &mut HashSet<String>,
        members: &mut Vec<Member>,
    ) {
        let named = name::camel(part.name);
        let decide = named.is_none().then(|| format!("a name for {}", part.name));
        let field = named.unwrap_or_else(|| format!("field{}", number + 1));
        let pointer = format!("{at}/{}{}", part.name, if part.attributed { "/#text" } else { "" });
        let own = format!("{wish} {field}");
        let shape = match &part.kind {
            Kind::Complex(definition) => {
                let wish = definition.attribute("name").unwrap_or(&own).to_owned();
                let inside = self.members(definition, if part.list { "" } else { &pointer }, &wish);
                if inside.is_empty() {
                    return;
                }
                let kind = self.made.object(&wish, &inside);
                if part.list { Shape::List { kind, inside } } else { Shape::Object { kind, inside } }
            }
            kind => match self.leaf(kind, part.list, &own, &field) {
                Some(leaf) => leaf,
                None => return,
            },
        };
        self.fields += 1;
        let name = name::unique(field, taken);
        let description = part.description.map(str::to_owned);
        let is_enum = matches!(&shape, Shape::Leaf { list: false, options, .. } if !options.is_empty());
        members.push(Member { name: name.clone(), pointer: pointer.clone(), shape, description, decide });
        if is_enum {
            let name = name::unique(format!("{name}Code"), taken);
            let shape = Shape::Leaf { kind: "String".to_owned(), list: false, options: Vec::new() };
            members.push(Member { name, pointer, shape, description: None, decide: None });
        }
    }

    pub fn leaf(&mut self, kind: &Kind<'a>, list: bool, wish: &str, field: &str) -> Option<Shape> {
        let plain = |kind: &str| Some(Shape::Leaf { kind: kind.to_owned(), list, options: Vec::new() });
        let is_id = field == "id" || field.ends_with("Id");
        match kind {
            Kind::Complex(..) => None,
            Kind::Values(values) if values.len() > ENUM_MAX => plain("String"),
            Kind::Values(texts) => Some(self.made.codes(wish, texts, list)),
            Kind::Plain("anyType" | "anySimpleType") => None,
            Kind::Plain("boolean") => plain("Boolean"),
            Kind::Plain("date") => plain("Date"),
            Kind::Plain("dateTime") => plain("DateTime"),
            Kind::Plain(name) if NUMBERS.contains(name) && is_id => plain("String"),
            Kind::Plain("int" | "short" | "byte" | "unsignedShort" | "unsignedByte") => plain("Int"),
            Kind::Plain(name) if NUMBERS.contains(name) => plain("Decimal"),
            Kind::Plain(_) => plain("String"),
        }
    }
}

pub const NUMBERS: [&str; 16] = [
    "int",
    "short",
    "byte",
    "unsignedShort",
    "unsignedByte",
    "long",
    "integer",
    "decimal",
    "double",
    "float",
    "unsignedInt",
    "unsignedLong",
    "positiveInteger",
    "nonNegativeInteger",
    "negativeInteger",
    "nonPositiveInteger",
];
const PLAIN: [&str; 40] = [
    "int",
    "short",
    "byte",
    "unsignedShort",
    "unsignedByte",
    "long",
    "integer",
    "decimal",
    "double",
    "float",
    "unsignedInt",
    "unsignedLong",
    "positiveInteger",
    "nonNegativeInteger",
    "negativeInteger",
    "nonPositiveInteger",
    "string",
    "normalizedString",
    "token",
    "language",
    "Name",
    "NCName",
    "ID",
    "IDREF",
    "NMTOKEN",
    "anyURI",
    "QName",
    "boolean",
    "date",
    "dateTime",
    "time",
    "duration",
    "gYear",
    "gYearMonth",
    "gMonth",
    "gDay",
    "base64Binary",
    "hexBinary",
    "anyType",
    "anySimpleType",
];
