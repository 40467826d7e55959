//! A JSON text (RFC 8259), gone through once: where each of its values begins and ends. Values are borrowed slices of the
//! text, so that numbers keep their digits and what is not wanted is never read.

mod reader;

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

use reader::Stop;

/// Deepest nesting of a text.
pub const NESTING_MAX: usize = 128;

/// A text of one JSON value with its index: 12 bytes for each value and member name.
#[derive(Debug, Default)]
pub struct Json {
    text: String,
    nodes: Vec<Node>,
}

/// A value, or the name of a member, which stands before the member's value.
#[derive(Debug, Clone, Copy)]
struct Node {
    start: u32,
    /// Its highest bit: something in the text is escaped.
    end: u32,
    /// The first node that is not inside.
    after: u32,
}

const ESCAPED: u32 = 1 << 31;

/// Why a text is not indexed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotIndexed {
    /// It is not JSON from this line and column on; both from 1.
    Broken { line: usize, column: usize },
    /// Nested more than [`NESTING_MAX`] deep.
    TooDeep,
    /// 2 GiB and more.
    TooLong,
}

/// A text's escape is no character: a lone surrogate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoText;

impl Json {
    /// Goes through the text. A member name may stand twice: the last one counts.
    pub fn read(text: String) -> Result<Self, NotIndexed> {
        if i32::try_from(text.len()).is_err() {
            return Err(NotIndexed::TooLong);
        }
        match reader::read(&text) {
            Ok(nodes) => Ok(Self { text, nodes }),
            Err(Stop::Deep) => Err(NotIndexed::TooDeep),
            Err(Stop::Broken(at)) => {
                let before = text.as_bytes().get(..at).unwrap_or_default();
                let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
                let column = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
                Err(NotIndexed::Broken { line, column })
            }
        }
    }

    pub fn root(&self) -> JsonValue<'_> {
        JsonValue { json: self, at: 0 }
    }

    pub fn text(&self) -> &str {
        &self.text
    }
}

/// `null`, to be read where there is nothing.
static NULL: LazyLock<Json> = LazyLock::new(|| Json::read("null".to_owned()).unwrap_or_default());
static NO_MEMBERS: LazyLock<Json> = LazyLock::new(|| Json::read("{}".to_owned()).unwrap_or_default());

/// A value that keeps the text it stands in.
#[derive(Debug, Clone)]
pub struct Held {
    json: Arc<Json>,
    at: u32,
}

impl Held {
    /// A value of this text.
    pub fn new(json: &Arc<Json>, value: JsonValue<'_>) -> Self {
        debug_assert!(std::ptr::eq(&raw const **json, value.json), "a value of another text");
        Self { json: Arc::clone(json), at: value.at }
    }

    pub fn value(&self) -> JsonValue<'_> {
        JsonValue { json: &self.json, at: self.at }
    }

    /// Another value of the same text.
    pub fn beside(&self, value: JsonValue<'_>) -> Self {
        Self::new(&self.json, value)
    }

    pub fn raw(&self) -> &str {
        self.value().raw()
    }
}

/// A value of a text.
#[derive(Debug, Clone, Copy)]
pub struct JsonValue<'a> {
    json: &'a Json,
    at: u32,
}

impl<'a> JsonValue<'a> {
    pub fn null() -> JsonValue<'static> {
        NULL.root()
    }

    /// `{}`.
    pub fn no_members() -> JsonValue<'static> {
        NO_MEMBERS.root()
    }

    fn node(self) -> Node {
        self.json.nodes.get(index(self.at)).copied().unwrap_or(Node { start: 0, end: 0, after: 0 })
    }

    /// Its JSON, as it stands in the text.
    pub fn raw(self) -> &'a str {
        let node = self.node();
        self.json.text.get(index(node.start)..index(node.end & !ESCAPED)).unwrap_or_default()
    }

    /// A text's content, where it stands there as it is.
    pub fn plain(self) -> Option<&'a str> {
        let node = self.node();
        let is_plain = node.end & ESCAPED == 0 && self.is_text();
        let inside = index(node.start) + 1..index(node.end & !ESCAPED).saturating_sub(1);
        if is_plain { self.json.text.get(inside) } else { None }
    }

    fn first(self) -> u8 {
        self.json.text.as_bytes().get(index(self.node().start)).copied().unwrap_or_default()
    }

    pub fn is_object(self) -> bool {
        self.first() == b'{'
    }

    pub fn is_list(self) -> bool {
        self.first() == b'['
    }

    pub fn is_text(self) -> bool {
        self.first() == b'"'
    }

    pub fn is_null(self) -> bool {
        self.first() == b'n'
    }

    /// A list's elements; none of anything else.
    pub fn elements(self) -> Elements<'a> {
        let (next, end) = if self.is_list() { (self.at + 1, self.node().after) } else { (0, 0) };
        Elements { json: self.json, next, end }
    }

    /// An object's members, name and value; none of anything else.
    pub fn members(self) -> impl Iterator<Item = (Name<'a>, JsonValue<'a>)> {
        let (next, end) = if self.is_object() { (self.at + 1, self.node().after) } else { (0, 0) };
        let mut inside = Elements { json: self.json, next, end };
        std::iter::from_fn(move || Some((Name(inside.next()?), inside.next()?)))
    }

    /// Of an object's members those that may have one of these names, and few others.
    pub fn members_like(self, names: Names) -> impl Iterator<Item = (Name<'a>, JsonValue<'a>)> {
        let json = self.json;
        let (mut next, end) = if self.is_object() { (self.at + 1, self.node().after) } else { (0, 0) };
        std::iter::from_fn(move || {
            while next < end {
                let (name, value) = (next, next + 1);
                next = json.nodes.get(index(value))?.after.max(value + 1);
                if names.may_hold(json.text.as_bytes(), json.nodes.get(index(name))?) {
                    return Some((Name(JsonValue { json, at: name }), JsonValue { json, at: value }));
                }
            }
            None
        })
    }

    /// The value of a member.
    pub fn member(self, name: &str) -> Option<JsonValue<'a>> {
        let mut names = Names::default();
        names.add(name);
        self.members_like(names).filter(|(own, _)| own.is(name)).last().map(|(_, value)| value)
    }

    /// The value that a JSON Pointer's segments lead to.
    pub fn find(self, segments: &[Box<str>]) -> Option<JsonValue<'a>> {
        let mut here = self;
        for segment in segments {
            here = match here.first() {
                b'{' => here.member(segment)?,
                b'[' => here.elements().nth(segment.parse().ok()?)?,
                _ => return None,
            };
        }
        Some(here)
    }

    /// A text's content, a number's digits, `true`, `false`, `null`; other JSON as it is.
    pub fn content(self) -> Result<Cow<'a, str>, NoText> {
        match self.plain() {
            Some(plain) => Ok(Cow::Borrowed(plain)),
            None => content(self.raw()),
        }
    }
}

/// As [`JsonValue::content`], of a value's JSON.
pub fn content(raw: &str) -> Result<Cow<'_, str>, NoText> {
    let Some(inside) = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return Ok(Cow::Borrowed(raw));
    };
    if !inside.as_bytes().contains(&b'\\') {
        return Ok(Cow::Borrowed(inside));
    }
    serde_json::from_str(raw).map(Cow::Owned).map_err(|_| NoText)
}

/// A member's name.
#[derive(Debug, Clone, Copy)]
pub struct Name<'a>(JsonValue<'a>);

impl<'a> Name<'a> {
    pub fn is(self, name: &str) -> bool {
        match self.0.plain() {
            Some(own) => own == name,
            None => self.content().is_ok_and(|own| own == name),
        }
    }

    pub fn content(self) -> Result<Cow<'a, str>, NoText> {
        self.0.content()
    }

    /// Its bytes, where they stand there as they are.
    pub fn plain(self) -> Option<&'a [u8]> {
        let node = self.0.node();
        let inside = index(node.start) + 1..index(node.end).saturating_sub(1);
        if node.end & ESCAPED == 0 { self.0.json.text.as_bytes().get(inside) } else { None }
    }
}

/// Some names, known by their lengths and first bytes: most members of a record are none of those that are looked for, which
/// shows without reading them.
#[derive(Debug, Default, Clone, Copy)]
pub struct Names(u64);

impl Names {
    pub fn add(&mut self, name: &str) {
        self.0 |= Self::mark(name.len(), name.bytes().next());
    }

    fn may_hold(self, text: &[u8], name: &Node) -> bool {
        let inside = index(name.start) + 1..index(name.end & !ESCAPED).saturating_sub(1);
        let first = if inside.is_empty() { None } else { text.get(inside.start).copied() };
        name.end & ESCAPED != 0 || self.0 & Self::mark(inside.len(), first) != 0
    }

    fn mark(length: usize, first: Option<u8>) -> u64 {
        1 << ((length * 5 + usize::from(first.unwrap_or(0))) % 64)
    }
}

/// Values that stand behind one another.
#[derive(Debug, Clone)]
pub struct Elements<'a> {
    json: &'a Json,
    next: u32,
    end: u32,
}

impl<'a> Iterator for Elements<'a> {
    type Item = JsonValue<'a>;

    fn next(&mut self) -> Option<JsonValue<'a>> {
        if self.next >= self.end {
            return None;
        }
        let value = JsonValue { json: self.json, at: self.next };
        // Further on in any case.
        self.next = value.node().after.max(self.next + 1);
        Some(value)
    }
}

#[inline]
fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
