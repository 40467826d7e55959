//! Walking through JSON text without building values: every part is a slice of the text it came from.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::failure::Failure;
use crate::base::pointer::Pointer;

/// Deepest nesting of an answer.
pub(crate) const NESTING_MAX: usize = 128;

/// The answer as text, if it is one JSON value in UTF-8, not nested too deep. Nesting is counted before anything
/// that could recurse sees it.
pub(crate) fn check(bytes: &[u8]) -> Result<&str, Failure> {
    let text = std::str::from_utf8(bytes).map_err(|_| Failure::bad("the answer is not UTF-8; see `encoding`"))?;
    let (mut depth, mut in_text, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => {
                depth += 1;
                if depth > NESTING_MAX {
                    return Err(Failure::bad(format!("the answer is nested more than {NESTING_MAX} deep")));
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    let raw: &RawValue = serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure::bad(format!("the answer is not JSON (line {line}, column {column})"))
    })?;
    Ok(raw.get())
}

/// Where `part` stands in `whole`; both of one buffer.
pub(crate) fn span(whole: &[u8], part: &str) -> Option<(u32, u32)> {
    let start = (part.as_ptr() as usize).checked_sub(whole.as_ptr() as usize)?;
    let end = start.checked_add(part.len()).filter(|end| *end <= whole.len())?;
    Some((u32::try_from(start).ok()?, u32::try_from(end).ok()?))
}

/// The part a pointer leads to.
pub(crate) fn find<'a>(json: &'a str, pointer: &Pointer) -> Result<Option<&'a str>, Failure> {
    find_in(json, pointer.segments())
}

pub(crate) fn find_in<'a>(json: &'a str, segments: &[Box<str>]) -> Result<Option<&'a str>, Failure> {
    let mut here = json;
    for segment in segments {
        let next = match here.as_bytes().first() {
            Some(b'{') => visit(here, Member(segment))?,
            Some(b'[') => match segment.parse() {
                Ok(index) => visit(here, Element(index))?,
                Err(_) => None,
            },
            _ => None,
        };
        match next {
            Some(next) => here = next,
            None => return Ok(None),
        }
    }
    Ok(Some(here))
}

/// The elements of an array.
pub(crate) fn elements(json: &str) -> Result<Vec<&str>, Failure> {
    visit(json, Elements)
}

/// The members of an object, in their order.
pub(crate) fn members(json: &str) -> Result<Vec<(String, &str)>, Failure> {
    visit(json, Members)
}

pub(crate) fn is_null(json: &str) -> bool {
    json == "null"
}

/// A scalar as text: a string's content, a number's digits, `true`, `false`, `null`; other JSON as it is.
pub(crate) fn text(json: &str) -> Result<Cow<'_, str>, Failure> {
    let Some(inside) = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Ok(Cow::Borrowed(json));
    };
    if !inside.contains('\\') {
        return Ok(Cow::Borrowed(inside));
    }
    let text = serde_json::from_str::<String>(json);
    text.map(Cow::Owned).map_err(|_| Failure::bad("a text of the answer has an escape that is no character"))
}

fn visit<'a, V: Visitor<'a>>(json: &'a str, visitor: V) -> Result<V::Value, Failure> {
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let visited = deserializer.deserialize_any(visitor);
    visited.map_err(|_| Failure::bad("the answer holds a name with an escape that is no character, or a wrong shape"))
}

struct Member<'n>(&'n str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(hit) = map.next_key_seed(Is(self.0))? {
            if hit {
                found = Some(map.next_value::<&RawValue>()?.get());
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

/// Whether a name is the one looked for, without copying it.
struct Is<'n>(&'n str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

struct Element(usize);

impl<'de> Visitor<'de> for Element {
    type Value = Option<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let (mut found, mut index) = (None, 0);
        loop {
            if index == self.0 {
                match seq.next_element::<&RawValue>()? {
                    Some(raw) => found = Some(raw.get()),
                    None => return Ok(found),
                }
            } else if seq.next_element::<IgnoredAny>()?.is_none() {
                return Ok(found);
            }
            index += 1;
        }
    }
}

struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(raw) = seq.next_element::<&RawValue>()? {
            all.push(raw.get());
        }
        Ok(all)
    }
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut all = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            all.push((name, map.next_value::<&RawValue>()?.get()));
        }
        Ok(all)
    }
}
