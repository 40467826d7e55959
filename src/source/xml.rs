//! XML as JSON text: elements by their local names, attributes as `@name`, repeated elements as arrays.
//!
//! A text-only element is a string, one with attributes has its text in `#text`, `xsi:nil` is null, an empty element
//! is `""`. Document types are refused: no entity of the sender's own is ever expanded.

use std::collections::HashMap;

use quick_xml::events::{BytesRef, BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::failure::Failure;
use crate::base::json::NESTING_MAX;
use crate::model::binding::request::template::json_text;

/// An element under way.
#[derive(Default)]
struct Open {
    name: String,
    nil: bool,
    text: String,
    /// Members in the order they first came; the values are JSON.
    members: Vec<(String, Vec<String>)>,
    index: HashMap<String, usize>,
}

/// The document as a JSON object whose one member is the root element.
pub(crate) fn to_json(text: &str) -> Result<String, Failure> {
    let mut reader = Reader::from_str(text);
    let mut stack = vec![Open::default()];
    loop {
        let event = reader.read_event().map_err(|_| {
            let at = reader.error_position();
            Failure::bad(format!("the answer is not well-formed XML (byte {at})"))
        })?;
        match event {
            Event::Start(start) => {
                if stack.len() > NESTING_MAX {
                    return Err(Failure::bad(format!("the answer is nested more than {NESTING_MAX} deep")));
                }
                stack.push(opened(&start)?);
            }
            Event::Empty(start) => close(opened(&start)?, &mut stack),
            Event::End(_) => {
                if let Some(open) = stack.pop() {
                    close(open, &mut stack);
                }
            }
            Event::Text(part) => append(&mut stack, &part.xml10_content()),
            Event::CData(part) => append(&mut stack, &part.xml10_content()),
            Event::GeneralRef(reference) => append(&mut stack, &resolved(&reference)?),
            Event::DocType(_) => return Err(Failure::bad("the answer has a document type, which is not accepted")),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
            Event::Eof => break,
        }
    }
    match (stack.pop(), stack.is_empty()) {
        (Some(document), true) if document.members.len() == 1 => Ok(object(&document)),
        _ => Err(Failure::bad("the answer is not one whole XML document")),
    }
}

fn opened(start: &BytesStart<'_>) -> Result<Open, Failure> {
    let mut open = Open { name: local(start.name().as_ref()).to_owned(), ..Open::default() };
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| Failure::bad("an element of the answer has a broken attribute"))?;
        let name: &str = attribute.key.as_ref();
        if name == "xmlns" || name.starts_with("xmlns:") {
            continue;
        }
        let value = attribute
            .normalized_value(XmlVersion::Implicit1_0)
            .map_err(|_| Failure::bad("an attribute of the answer has an entity that is not known"))?;
        match (name.contains(':'), local(name)) {
            (true, "nil") => open.nil = matches!(value.trim(), "true" | "1"),
            // `xsi:type` and `xsi:schemaLocation` are about the schema, not the data.
            (true, "type" | "schemaLocation" | "noNamespaceSchemaLocation") => {}
            (_, name) => {
                let mut json = String::new();
                json_text(&value, &mut json);
                add(&mut open, format!("@{name}"), json);
            }
        }
    }
    Ok(open)
}

fn local(name: &str) -> &str {
    name.rsplit_once(':').map_or(name, |(_, local)| local)
}

fn append(stack: &mut [Open], text: &str) {
    if let Some(open) = stack.last_mut() {
        open.text.push_str(text);
    }
}

fn resolved(reference: &BytesRef<'_>) -> Result<String, Failure> {
    let unknown = || Failure::bad("the answer has an entity that is not known");
    if reference.is_char_ref() {
        let c = reference.resolve_char_ref().map_err(|_| unknown())?.ok_or_else(unknown)?;
        return Ok(c.to_string());
    }
    let name: &str = reference.as_ref();
    let text = match name {
        "amp" => "&",
        "lt" => "<",
        "gt" => ">",
        "quot" => "\"",
        "apos" => "'",
        _ => return Err(unknown()),
    };
    Ok(text.to_owned())
}

fn add(open: &mut Open, name: String, json: String) {
    if let Some((_, values)) = open.index.get(&name).and_then(|at| open.members.get_mut(*at)) {
        values.push(json);
        return;
    }
    open.index.insert(name.clone(), open.members.len());
    open.members.push((name, vec![json]));
}

fn close(mut open: Open, stack: &mut [Open]) {
    let Some(parent) = stack.last_mut() else { return };
    let text = open.text.trim();
    let json = if open.nil {
        "null".to_owned()
    } else {
        let mut json = String::new();
        json_text(text, &mut json);
        if open.members.is_empty() {
            json
        } else {
            if !text.is_empty() {
                add(&mut open, "#text".to_owned(), json);
            }
            object(&open)
        }
    };
    add(parent, open.name, json);
}

fn object(open: &Open) -> String {
    let mut out = String::from("{");
    for (n, (name, values)) in open.members.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        json_text(name, &mut out);
        out.push(':');
        match values.as_slice() {
            [one] => out.push_str(one),
            many => {
                out.push('[');
                out.push_str(&many.join(","));
                out.push(']');
            }
        }
    }
    out.push('}');
    out
}
