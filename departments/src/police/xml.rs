//! As much XML as the requests need.

use std::collections::BTreeMap;

use quick_xml::Reader;
use quick_xml::events::Event;

/// Elements a request may have.
const ELEMENTS_MAX: usize = 100;

/// The operation (the first element of the body) and the texts of the elements in it, by local name.
pub(super) fn read(body: &[u8]) -> Option<(String, BTreeMap<String, String>)> {
    let gbk = body.get(..200.min(body.len())).is_some_and(|start| {
        let start = start.to_ascii_lowercase();
        [&b"gbk"[..], b"gb2312", b"gb18030"].iter().any(|name| start.windows(name.len()).any(|part| part == *name))
    });
    let text = match gbk {
        true => encoding_rs::GBK.decode(body).0.into_owned(),
        false => crate::server::text_of(body),
    };
    let mut reader = Reader::from_str(&text);
    let (mut operation, mut inputs) = (None, BTreeMap::new());
    let (mut current, mut in_body, mut elements) = (String::new(), false, 0);
    loop {
        match reader.read_event().ok()? {
            Event::Start(start) => {
                elements += 1;
                let name = start.local_name().as_ref().to_owned();
                if name == "Body" {
                    in_body = true;
                } else if in_body && operation.is_none() {
                    operation = Some(name);
                } else if in_body {
                    inputs.insert(name.clone(), String::new());
                    current = name;
                }
            }
            Event::Text(part) => {
                if let Some(value) = inputs.get_mut(&current) {
                    value.push_str(part.trim());
                }
            }
            Event::GeneralRef(part) => {
                if let (Some(value), Some(sign)) = (inputs.get_mut(&current), reference(&part)) {
                    value.push(sign);
                }
            }
            Event::End(_) => current.clear(),
            Event::Eof => break,
            _ => {}
        }
        if elements > ELEMENTS_MAX {
            return None;
        }
    }
    Some((operation?, inputs))
}

fn reference(part: &quick_xml::events::BytesRef<'_>) -> Option<char> {
    match &**part {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => part.resolve_char_ref().ok()?,
    }
}

pub(super) fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}
