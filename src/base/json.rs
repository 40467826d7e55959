//! A JSON text (RFC 8259), gone through once: where each of its values begins and ends. Values are borrowed slices of the
//! text, so that numbers keep their digits and what is not wanted is never read.

use std::borrow::Cow;
use std::sync::{Arc, LazyLock};

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
        let nodes = Vec::with_capacity(text.len() / 12 + 4);
        let bytes = text.as_bytes();
        let has_controls = bytes.chunks(64).any(|chunk| chunk.iter().fold(false, |any, byte| any | (*byte < 0x20)));
        let mut reader = Reader { bytes, at: 0, has_controls, nodes, open: Vec::with_capacity(16) };
        match reader.document() {
            Ok(()) => {
                let nodes = reader.nodes;
                Ok(Self { text, nodes })
            }
            Err(Stop::Deep) => Err(NotIndexed::TooDeep),
            Err(Stop::Broken) => {
                let before = reader.bytes.get(..reader.at).unwrap_or_default();
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

    /// The value of a member.
    pub fn member(self, name: &str) -> Option<JsonValue<'a>> {
        self.members().filter(|(own, _)| own.is(name)).last().map(|(_, value)| value)
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

fn index(at: u32) -> usize {
    usize::try_from(at).unwrap_or(usize::MAX)
}

enum Stop {
    Broken,
    Deep,
}

struct Reader<'t> {
    bytes: &'t [u8],
    at: usize,
    /// Somewhere in the text, if only between values: then each text has to be searched for them.
    has_controls: bool,
    nodes: Vec<Node>,
    /// Objects and lists that have not ended: their nodes, and whether each is an object.
    open: Vec<(usize, bool)>,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<(), Stop> {
        self.space();
        loop {
            if self.value()? {
                continue;
            }
            loop {
                self.space();
                let Some((node, is_object)) = self.open.last().copied() else {
                    return if self.at == self.bytes.len() { Ok(()) } else { Err(Stop::Broken) };
                };
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.space();
                        if is_object {
                            self.name()?;
                        }
                        break;
                    }
                    Some(end) if end == if is_object { b'}' } else { b']' } => {
                        self.at += 1;
                        self.open.pop();
                        self.close(node);
                    }
                    _ => return Err(Stop::Broken),
                }
            }
        }
    }

    /// One value; of an object or list that is not empty, only its beginning: true, and a value comes next.
    #[inline]
    fn value(&mut self) -> Result<bool, Stop> {
        let start = self.at;
        let (is_object, end) = match self.peek() {
            Some(b'"') => {
                self.text()?;
                return Ok(false);
            }
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                self.whole(start, 0);
                return Ok(false);
            }
            Some(b'{') => (true, b'}'),
            Some(b'[') => (false, b']'),
            Some(b't') => return self.literal(b"true"),
            Some(b'f') => return self.literal(b"false"),
            Some(b'n') => return self.literal(b"null"),
            _ => return Err(Stop::Broken),
        };
        if self.open.len() >= NESTING_MAX {
            return Err(Stop::Deep);
        }
        self.at += 1;
        self.space();
        if self.peek() == Some(end) {
            self.at += 1;
            self.whole(start, 0);
            return Ok(false);
        }
        self.open.push((self.nodes.len(), is_object));
        self.whole(start, 0);
        if is_object {
            self.name()?;
        }
        Ok(true)
    }

    /// A member's name and its colon.
    #[inline]
    fn name(&mut self) -> Result<(), Stop> {
        if self.peek() != Some(b'"') {
            return Err(Stop::Broken);
        }
        let start = self.at;
        self.text()?;
        // What a name with half a character is called, each reader decides for itself.
        if self.nodes.last().is_some_and(|name| name.end & ESCAPED != 0) && !self.is_text(start) {
            return Err(Stop::Broken);
        }
        self.space();
        if self.peek() != Some(b':') {
            return Err(Stop::Broken);
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// What began at `start` and ends here, with nothing inside.
    #[inline]
    fn whole(&mut self, start: usize, escaped: u32) {
        let after = place(self.nodes.len() + 1);
        self.nodes.push(Node { start: place(start), end: place(self.at) | escaped, after });
    }

    /// An object or list ends here.
    #[inline]
    fn close(&mut self, node: usize) {
        let (end, after) = (place(self.at), place(self.nodes.len()));
        if let Some(node) = self.nodes.get_mut(node) {
            (node.end, node.after) = (end, after);
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline]
    fn space(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn literal(&mut self, literal: &[u8]) -> Result<bool, Stop> {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(literal)) {
            return Err(Stop::Broken);
        }
        let start = self.at;
        self.at += literal.len();
        self.whole(start, 0);
        Ok(false)
    }

    fn number(&mut self) -> Result<(), Stop> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One and more.
    #[inline]
    fn digits(&mut self) -> Result<(), Stop> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(Stop::Broken) } else { Ok(()) }
    }

    /// A text, from its opening quote to behind its closing one.
    #[inline]
    fn text(&mut self) -> Result<(), Stop> {
        let start = self.at;
        self.at += 1;
        // Most texts are short: their end is in the first words.
        for _ in 0..SHORT_WORDS {
            let Some(word) = self.word() else { break };
            let found = ends_in(word);
            if found != 0 {
                // Only what stands behind the first one found may be found wrongly.
                self.at += index(found.trailing_zeros() / 8);
                break;
            }
            self.at += 8;
        }
        if self.peek() == Some(b'"') {
            self.at += 1;
            self.whole(start, 0);
            return Ok(());
        }
        self.rest_of_text(start)
    }

    fn rest_of_text(&mut self, start: usize) -> Result<(), Stop> {
        let mut escaped = 0;
        loop {
            self.plain();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.whole(start, escaped);
                    return Ok(());
                }
                Some(b'\\') => {
                    self.escape()?;
                    escaped = ESCAPED;
                }
                _ => return Err(Stop::Broken),
            }
        }
    }

    /// Whether what was read from there is a text of whole characters.
    fn is_text(&self, start: usize) -> bool {
        let raw = self.bytes.get(start..self.at).and_then(|raw| std::str::from_utf8(raw).ok());
        raw.is_some_and(|raw| content(raw).is_ok())
    }

    /// The next eight bytes.
    #[inline]
    fn word(&self) -> Option<u64> {
        let (word, _) = self.bytes.get(self.at..)?.split_first_chunk::<8>()?;
        Some(u64::from_le_bytes(*word))
    }

    /// Up to the next quote, backslash or control character.
    fn plain(&mut self) {
        if !self.has_controls {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            self.at += memchr::memchr2(b'"', b'\\', rest).unwrap_or(rest.len());
            return;
        }
        while let Some(word) = self.word() {
            let found = ends_in(word);
            if found != 0 {
                self.at += index(found.trailing_zeros() / 8);
                return;
            }
            self.at += 8;
        }
        while let Some(byte) = self.peek() {
            if byte == b'"' || byte == b'\\' || byte < 0x20 {
                return;
            }
            self.at += 1;
        }
    }

    fn escape(&mut self) -> Result<(), Stop> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 1..self.at + 5).unwrap_or_default();
                if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(Stop::Broken);
                }
                self.at += 5;
            }
            _ => return Err(Stop::Broken),
        }
        Ok(())
    }
}

/// Words of a text that are looked at before it is taken for a long one.
const SHORT_WORDS: usize = 3;

/// Marks the first byte of a word that is a quote, a backslash or a control character, in its highest bit; 0: there is none.
#[inline]
fn ends_in(word: u64) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let control = word.wrapping_sub(ONES * 0x20) & !word;
    (zero(word ^ (ONES * u64::from(b'"'))) | zero(word ^ (ONES * u64::from(b'\\'))) | control) & HIGH
}

/// Texts are shorter than 2 GiB, and have no more nodes than bytes.
#[inline]
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
