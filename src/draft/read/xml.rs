//! XML as a tree, names resolved: for descriptions, which are read whole.

use std::collections::HashMap;
use std::sync::Arc;

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use crate::base::fault::{Faults, Place, SourceText};

const NESTING_MAX: usize = 100;
const ELEMENTS_MAX: usize = 1_000_000;
/// Attributes whose values are names of other things.
const NAMES: [&str; 8] = ["type", "element", "base", "ref", "message", "binding", "itemType", "arrayType"];

/// A namespace and a local name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Name {
    pub space: String,
    pub local: String,
}

#[derive(Debug, Default)]
pub struct Element {
    pub name: Name,
    /// By local name.
    attributes: HashMap<String, String>,
    /// Attributes that name something.
    named: HashMap<String, Name>,
    pub children: Vec<Element>,
    pub text: String,
}

impl Element {
    /// One that stands in no document.
    pub fn made(name: Name, attributes: &[(&str, &str)], named: &[(&str, &Name)], children: Vec<Self>) -> Self {
        Self {
            name,
            attributes: attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
            named: named.iter().map(|(key, value)| ((*key).to_owned(), (*value).clone())).collect(),
            children,
            text: String::new(),
        }
    }

    pub fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str)
    }

    pub fn names(&self, attribute: &str) -> Option<&Name> {
        self.named.get(attribute)
    }

    /// Children of a local name.
    pub fn all<'a>(&'a self, local: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name.local == local)
    }

    pub fn first<'a>(&'a self, local: &'a str) -> Option<&'a Self> {
        self.all(local).next()
    }
}

/// The root element.
pub fn parse(file: &Arc<SourceText>, faults: &mut Faults) -> Option<Element> {
    let mut reader = Reader::from_str(&file.text);
    match tree(&mut reader) {
        Ok(root) => Some(root),
        Err(why) => {
            let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX).min(file.text.len());
            let before = file.text.get(..at).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
            faults.add(file, Place { line, column, length: 1 }, why, "it is XML in UTF-8, without a document type");
            None
        }
    }
}

type Scope = HashMap<String, String>;

fn tree(reader: &mut Reader<&[u8]>) -> Result<Element, String> {
    let mut stack: Vec<(Element, Arc<Scope>)> = vec![(Element::default(), Arc::default())];
    let mut count = 0;
    loop {
        match reader.read_event().map_err(|error| format!("the document is not well-formed XML: {error}"))? {
            Event::Start(start) => {
                count += 1;
                if stack.len() > NESTING_MAX || count > ELEMENTS_MAX {
                    return Err("the document is nested too deeply, or too long".to_owned());
                }
                let opened = opened(&start, stack.last().map(|(_, scope)| scope))?;
                stack.push(opened);
            }
            Event::Empty(start) => {
                count += 1;
                let (element, _) = opened(&start, stack.last().map(|(_, scope)| scope))?;
                if let Some((above, _)) = stack.last_mut() {
                    above.children.push(element);
                }
            }
            Event::End(_) => {
                let closed = stack.pop();
                if let (Some((element, _)), Some((above, _))) = (closed, stack.last_mut()) {
                    above.children.push(element);
                }
            }
            Event::Text(part) => {
                if let Some((element, _)) = stack.last_mut() {
                    element.text.push_str(&part.xml10_content());
                }
            }
            Event::DocType(_) => return Err("the document has a document type, which is not read".to_owned()),
            Event::Eof => break,
            _ => {}
        }
    }
    let mut roots = match (stack.pop(), stack.is_empty()) {
        (Some((document, _)), true) => document.children,
        _ => return Err("the document breaks off".to_owned()),
    };
    if roots.len() == 1 {
        roots.pop().ok_or_else(String::new)
    } else {
        Err("the document is not one element".to_owned())
    }
}

fn opened(start: &BytesStart<'_>, above: Option<&Arc<Scope>>) -> Result<(Element, Arc<Scope>), String> {
    let mut scope = above.cloned().unwrap_or_default();
    let mut plain = Vec::new();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| "an element has a broken attribute".to_owned())?;
        let name: &str = attribute.key.as_ref();
        let value = attribute.normalized_value(XmlVersion::Explicit1_0);
        let value = value.map_err(|_| "an element has a broken attribute".to_owned())?.into_owned();
        if name == "xmlns" {
            Arc::make_mut(&mut scope).insert(String::new(), value);
        } else if let Some(prefix) = name.strip_prefix("xmlns:") {
            Arc::make_mut(&mut scope).insert(prefix.to_owned(), value);
        } else {
            plain.push((name.rsplit(':').next().unwrap_or(name).to_owned(), value));
        }
    }
    let resolve = |name: &str| {
        let (prefix, local) = name.split_once(':').unwrap_or(("", name));
        Name { space: scope.get(prefix).cloned().unwrap_or_default(), local: local.to_owned() }
    };
    let own: &str = start.name().into_inner();
    let mut element = Element { name: resolve(own), ..Element::default() };
    for (name, value) in plain {
        if NAMES.contains(&name.as_str()) {
            element.named.insert(name.clone(), resolve(value.trim()));
        }
        element.attributes.insert(name, value);
    }
    Ok((element, scope))
}
