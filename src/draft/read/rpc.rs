//! WSDL of style rpc, literal: what stands in its messages, as the schema that document style would have for it (WS-I
//! Basic Profile 1.1, section 4.7): an element called as the operation (of the answer: with `Response`), the parts inside
//! it without a namespace.

use super::xml::{Element, Name};
use super::xsd::XSD;

/// A schema for each namespace that operations of style rpc have, in the order of the document.
pub fn schemas(root: &Element) -> Vec<Element> {
    let mut made = Vec::new();
    for binding in root.all("binding") {
        let Some(port) = binding.names("type").and_then(|kind| called(root, "portType", &kind.local)) else { continue };
        for operation in binding.all("operation").filter(|operation| is_rpc(binding, operation)) {
            let Some(own) = operation.attribute("name") else { continue };
            let Some(of_port) = called(port, "operation", own) else { continue };
            for direction in ["input", "output"] {
                let message = of_port.first(direction).and_then(|one| one.names("message"));
                let Some(message) = message.and_then(|message| called(root, "message", &message.local)) else {
                    continue;
                };
                let local = wrapper(own, direction);
                made.push(schema(&space(root, operation, direction), &local, message));
            }
        }
    }
    made
}

/// The element that a message of an operation is.
pub fn element(root: &Element, operation: &Element, direction: &str) -> Option<Name> {
    let own = operation.attribute("name")?;
    Some(Name { space: space(root, operation, direction), local: wrapper(own, direction) })
}

pub fn is_rpc(binding: &Element, operation: &Element) -> bool {
    let style = |of: &Element, name: &str| of.first(name).and_then(|soap| soap.attribute("style")).map(str::to_owned);
    style(operation, "operation").or_else(|| style(binding, "binding")).as_deref() == Some("rpc")
}

/// Whether its messages are written by the encoding of SOAP 1.1, section 5.
pub fn is_encoded(operation: &Element) -> bool {
    ["input", "output"].iter().any(|direction| {
        let body = operation.first(direction).and_then(|one| one.first("body"));
        body.is_some_and(|body| body.attribute("use") == Some("encoded"))
    })
}

fn called<'a>(above: &'a Element, local: &'a str, name: &str) -> Option<&'a Element> {
    above.all(local).find(|one| one.attribute("name") == Some(name))
}

fn wrapper(own: &str, direction: &str) -> String {
    if direction == "input" { own.to_owned() } else { format!("{own}Response") }
}

fn space(root: &Element, operation: &Element, direction: &str) -> String {
    let body = operation.first(direction).and_then(|one| one.first("body"));
    let own = body.and_then(|body| body.attribute("namespace")).or_else(|| root.attribute("targetNamespace"));
    own.unwrap_or_default().to_owned()
}

fn schema(space: &str, local: &str, message: &Element) -> Element {
    let name = |local: &str| Name { space: XSD.to_owned(), local: local.to_owned() };
    let parts = message.all("part").filter_map(|part| {
        let named = [("type", part.names("type")?)];
        Some(Element::made(name("element"), &[("name", part.attribute("name")?)], &named, Vec::new()))
    });
    let sequence = Element::made(name("sequence"), &[], &[], parts.collect());
    let complex = Element::made(name("complexType"), &[], &[], vec![sequence]);
    let element = Element::made(name("element"), &[("name", local)], &[], vec![complex]);
    Element::made(name("schema"), &[("targetNamespace", space)], &[], vec![element])
}
