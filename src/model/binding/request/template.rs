//! Text with placeholders, parsed once at load and filled in for every call.
//!
//! `{key}` `{keys}` `{keys:SEPARATOR}` `{year}` `{today}` `{name}` `{arg.name}`; with `#` before the closing brace
//! (`{key#}`) the value is a JSON number, with `|NAME` (`{key|NAME}`) it is encrypted. A brace that opens no such name is an ordinary character.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::sync::Arc;

use serde_json::Value;

/// Deepest nesting of a body template.
const DEPTH_MAX: usize = 32;

/// What a placeholder stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hole {
    Key,
    /// All keys, joined by the separator; without one they can only stand where a list can.
    Keys(Option<Box<str>>),
    Year,
    Today,
    Input(Arc<str>),
}

#[derive(Debug, Clone)]
enum Piece {
    Literal(Box<str>),
    Hole {
        hole: Hole,
        /// Written `{name#}`.
        number: bool,
        /// Stands after a `'` of the template, as in a filter expression: quotes in the value are doubled, so that
        /// a key cannot end the text it stands in.
        quoted: bool,
        cipher: Option<Arc<str>>,
    },
}

/// A text with placeholders.
#[derive(Debug, Clone, Default)]
pub struct Text {
    pieces: Box<[Piece]>,
}

/// What the placeholders of one call stand for.
#[derive(Debug, Clone, Copy)]
pub struct Values<'a> {
    pub keys: &'a [Arc<str>],
    /// Name and value; names as in [`Hole::Input`].
    pub inputs: &'a [(Arc<str>, String)],
    /// `yyyy-MM-dd` at +08:00.
    pub today: &'a str,
    /// Encrypts; none: nothing is.
    pub sealing: Option<&'a dyn Sealing>,
}

/// Encrypts values with the source's ciphers.
pub trait Sealing: std::fmt::Debug + Send + Sync {
    fn sealed(&self, cipher: &str, text: &str) -> Result<String, Unfilled>;
}

/// Why a template cannot be filled in; says which placeholder, never its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfilled {
    Missing(String),
    /// The value cannot stand there (empty in a path, not a number, not a header).
    Unfit(String),
}

impl Text {
    pub fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('{') {
            let (before, from) = rest.split_at(at);
            literal.push_str(before);
            let found = from.find('}').and_then(|end| {
                let (inside, after) = (from.get(1..end)?, from.get(end + 1..)?);
                hole(inside).map(|found| (found, after))
            });
            let Some(((hole, number, cipher), after)) = found else {
                literal.push('{');
                rest = from.get(1..).unwrap_or_default();
                continue;
            };
            let quoted = literal.ends_with('\'') || matches!(&hole, Hole::Keys(Some(s)) if s.contains('\''));
            if !literal.is_empty() {
                pieces.push(Piece::Literal(std::mem::take(&mut literal).into()));
            }
            pieces.push(Piece::Hole { hole, number, quoted, cipher });
            rest = after;
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.into()));
        }
        Self { pieces: pieces.into() }
    }

    /// The one placeholder that is the whole text, whether it is written as a number, and its cipher.
    pub fn only_hole(&self) -> Option<(&Hole, bool, Option<&Arc<str>>)> {
        match self.pieces.as_ref() {
            [Piece::Hole { hole, number, cipher, .. }] => Some((hole, *number, cipher.as_ref())),
            _ => None,
        }
    }

    /// The names of ciphers.
    pub fn ciphers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Hole { cipher, .. } => cipher.as_ref(),
            Piece::Literal(_) => None,
        })
    }

    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Hole { hole, .. } => Some(hole),
            Piece::Literal(_) => None,
        })
    }

    /// Fills in the values, each written through `escape`.
    pub fn fill(
        &self,
        values: &Values<'_>,
        out: &mut String,
        escape: &dyn Fn(&str, &mut String),
    ) -> Result<(), Unfilled> {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.push_str(text),
                Piece::Hole { hole, quoted, cipher, .. } => {
                    if let Some(cipher) = cipher {
                        escape(&values.sealed(hole, cipher)?, out);
                        continue;
                    }
                    let value = values.of(hole)?;
                    if *quoted {
                        // The separator between keys holds quotes of the template's own: only keys are doubled.
                        escape(&values.quoted(hole, &value), out);
                    } else {
                        escape(&value, out);
                    }
                }
            }
        }
        Ok(())
    }

    /// As [`Self::fill`], values as they are.
    pub fn filled(&self, values: &Values<'_>) -> Result<String, Unfilled> {
        let mut out = String::new();
        self.fill(values, &mut out, &|value, out| out.push_str(value))?;
        Ok(out)
    }
}

fn hole(inside: &str) -> Option<(Hole, bool, Option<Arc<str>>)> {
    let (head, separator) = match inside.split_once(':') {
        Some((head, separator)) if head == "keys" || head.starts_with("keys|") => (head, Some(separator)),
        _ => (inside, None),
    };
    let (name, cipher) = head.split_once('|').map_or((head, None), |(name, cipher)| (name, Some(cipher)));
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    if cipher.is_some_and(|cipher| cipher.is_empty() || !cipher.chars().all(plain)) {
        return None;
    }
    let cipher = cipher.map(Arc::from);
    if let Some(separator) = separator {
        return Some((Hole::Keys(Some(separator.into())), false, cipher));
    }
    let (name, number) = name.strip_suffix('#').map_or((name, false), |name| (name, true));
    let starts = name.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if !starts || !name.chars().all(|c| plain(c) || c == '.') || (number && cipher.is_some()) {
        return None;
    }
    let hole = match name {
        "key" => Hole::Key,
        "keys" => Hole::Keys(None),
        "year" => Hole::Year,
        "today" => Hole::Today,
        _ => Hole::Input(name.into()),
    };
    Some((hole, number, cipher))
}

impl<'a> Values<'a> {
    pub fn of(&self, hole: &Hole) -> Result<Cow<'a, str>, Unfilled> {
        match hole {
            Hole::Key => self.key().map(Cow::Borrowed).ok_or_else(|| Unfilled::Missing("key".to_owned())),
            Hole::Keys(separator) => Ok(Cow::Owned(self.joined(separator.as_deref().unwrap_or(","), false))),
            Hole::Today => Ok(Cow::Borrowed(self.today)),
            Hole::Year => Ok(Cow::Borrowed(self.today.get(..4).unwrap_or_default())),
            Hole::Input(name) => self
                .inputs
                .iter()
                .find(|(input, _)| input == name)
                .map(|(_, value)| Cow::Borrowed(value.as_str()))
                .ok_or_else(|| Unfilled::Missing(name.to_string())),
        }
    }

    fn sealed(&self, hole: &Hole, cipher: &str) -> Result<String, Unfilled> {
        match hole {
            Hole::Keys(separator) => Ok(self.sealed_keys(cipher)?.join(separator.as_deref().unwrap_or(","))),
            hole => self.seal(cipher, &self.of(hole)?),
        }
    }

    /// All keys, encrypted.
    pub fn sealed_keys(&self, cipher: &str) -> Result<Vec<String>, Unfilled> {
        self.keys.iter().map(|key| self.seal(cipher, key)).collect()
    }

    fn seal(&self, cipher: &str, text: &str) -> Result<String, Unfilled> {
        let sealing = self.sealing.ok_or_else(|| Unfilled::Unfit(format!("there is no cipher `{cipher}`")))?;
        sealing.sealed(cipher, text)
    }

    /// The first key; in a root query, whose argument is its only input, that input.
    pub fn key(&self) -> Option<&'a str> {
        self.keys.first().map(AsRef::as_ref).or_else(|| self.inputs.first().map(|(_, value)| value.as_str()))
    }

    /// Only `key`, with the other values as they are.
    pub fn with_key<'b>(&self, key: &'b [Arc<str>]) -> Values<'b>
    where
        'a: 'b,
    {
        Values { keys: key, ..*self }
    }

    fn joined(&self, separator: &str, double: bool) -> String {
        let mut out = String::new();
        // A key that holds the separator would be read as two; it has no record there.
        for key in self.keys.iter().filter(|key| separator.is_empty() || !key.contains(separator)) {
            if !out.is_empty() {
                out.push_str(separator);
            }
            if double { out.push_str(&key.replace('\'', "''")) } else { out.push_str(key) }
        }
        out
    }

    fn quoted(&self, hole: &Hole, value: &str) -> String {
        match hole {
            Hole::Keys(Some(separator)) => self.joined(separator, true),
            _ => value.replace('\'', "''"),
        }
    }
}

/// A JSON body with placeholders.
#[derive(Debug, Clone)]
pub enum Node {
    /// JSON as it is.
    Raw(Box<str>),
    Text(Text),
    Number(Hole),
    /// All keys as a list, of texts or of numbers.
    Keys {
        numbers: bool,
        cipher: Option<Arc<str>>,
    },
    List(Box<[Node]>),
    Object(Box<[(Box<str>, Node)]>),
}

impl Node {
    /// The error says what is wrong with the body.
    pub fn parse(value: &Value) -> Result<Self, &'static str> {
        Self::parse_at(value, 0)
    }

    fn parse_at(value: &Value, depth: usize) -> Result<Self, &'static str> {
        if depth > DEPTH_MAX {
            return Err("the body is nested more than 32 deep");
        }
        Ok(match value {
            Value::String(text) => {
                let text = Text::parse(text);
                match text.only_hole() {
                    Some((Hole::Keys(None), numbers, cipher)) => Self::Keys { numbers, cipher: cipher.cloned() },
                    Some((hole, true, _)) => Self::Number(hole.clone()),
                    _ if text.holes().any(|hole| *hole == Hole::Keys(None)) => {
                        return Err("`{keys}` inside a text needs a separator: `{keys:,}`");
                    }
                    _ => Self::Text(text),
                }
            }
            Value::Array(items) => {
                Self::List(items.iter().map(|item| Self::parse_at(item, depth + 1)).collect::<Result<_, _>>()?)
            }
            Value::Object(members) => Self::Object(
                members
                    .iter()
                    .map(|(name, member)| Ok((Box::<str>::from(name.as_str()), Self::parse_at(member, depth + 1)?)))
                    .collect::<Result<_, &'static str>>()?,
            ),
            Value::Null | Value::Bool(_) | Value::Number(_) => Self::Raw(value.to_string().into()),
        })
    }

    pub fn holes(&self) -> Vec<Hole> {
        match self {
            Self::Raw(_) => Vec::new(),
            Self::Text(text) => text.holes().cloned().collect(),
            Self::Number(hole) => vec![hole.clone()],
            Self::Keys { .. } => vec![Hole::Keys(None)],
            Self::List(items) => items.iter().flat_map(Self::holes).collect(),
            Self::Object(members) => members.iter().flat_map(|(_, member)| member.holes()).collect(),
        }
    }

    /// The names of ciphers.
    pub fn ciphers(&self) -> Vec<&Arc<str>> {
        match self {
            Self::Text(text) => text.ciphers().collect(),
            Self::Keys { cipher, .. } => cipher.iter().collect(),
            Self::List(items) => items.iter().flat_map(Self::ciphers).collect(),
            Self::Object(members) => members.iter().flat_map(|(_, member)| member.ciphers()).collect(),
            Self::Raw(_) | Self::Number(_) => Vec::new(),
        }
    }

    pub fn fill(&self, values: &Values<'_>, out: &mut String) -> Result<(), Unfilled> {
        match self {
            Self::Raw(raw) => out.push_str(raw),
            Self::Text(text) => json_text(&text.filled(values)?, out),
            Self::Number(hole) => json_number(&values.of(hole)?, out)?,
            Self::Keys { cipher: Some(cipher), .. } => {
                let keys: Vec<Arc<str>> = values.sealed_keys(cipher)?.into_iter().map(Arc::from).collect();
                key_list(&values.with_key(&keys), false, out)?;
            }
            Self::Keys { numbers, cipher: None } => key_list(values, *numbers, out)?,
            Self::List(items) => {
                out.push('[');
                for (n, item) in items.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    item.fill(values, out)?;
                }
                out.push(']');
            }
            Self::Object(_) => self.fill_object(values, &[], out)?,
        }
        Ok(())
    }

    /// An object with further members (name, JSON) after its own; those of the same name give way.
    pub fn fill_object(&self, values: &Values<'_>, more: &[(&str, String)], out: &mut String) -> Result<(), Unfilled> {
        let Self::Object(members) = self else { return self.fill(values, out) };
        out.push('{');
        let mut first = true;
        let mut comma = |out: &mut String| {
            if !std::mem::take(&mut first) {
                out.push(',')
            }
        };
        for (name, member) in members.iter().filter(|(name, _)| more.iter().all(|(other, _)| *other != name.as_ref())) {
            comma(out);
            json_text(name, out);
            out.push(':');
            member.fill(values, out)?;
        }
        for (name, json) in more {
            comma(out);
            json_text(name, out);
            out.push(':');
            out.push_str(json);
        }
        out.push('}');
        Ok(())
    }
}

/// All keys as a JSON list.
pub fn key_list(values: &Values<'_>, numbers: bool, out: &mut String) -> Result<(), Unfilled> {
    out.push('[');
    for (n, key) in values.keys.iter().enumerate() {
        if n > 0 {
            out.push(',');
        }
        if numbers { json_number(key, out)? } else { json_text(key, out) }
    }
    out.push(']');
    Ok(())
}

/// A text as JSON.
pub fn json_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// A number as JSON, every digit kept.
pub fn json_number(value: &str, out: &mut String) -> Result<(), Unfilled> {
    let number = value.starts_with(|c: char| c == '-' || c.is_ascii_digit())
        && serde_json::from_str::<&serde_json::value::RawValue>(value).is_ok();
    if !number {
        return Err(Unfilled::Unfit("a value that must be a number is none".to_owned()));
    }
    out.push_str(value.trim());
    Ok(())
}

/// An XML text with placeholders; `{#keys}…{/keys}` is repeated for every key.
#[derive(Debug, Clone)]
pub struct XmlText {
    parts: Box<[(bool, Text)]>,
}

impl XmlText {
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{#keys}") {
            let Some((inside, tail)) = after.split_once("{/keys}") else {
                return Err("`{#keys}` is not closed: write `{/keys}` where the repeated part ends");
            };
            parts.push((false, Text::parse(before)));
            parts.push((true, Text::parse(inside)));
            rest = tail;
        }
        parts.push((false, Text::parse(rest)));
        Ok(Self { parts: parts.into() })
    }

    pub fn holes(&self) -> impl Iterator<Item = &Hole> {
        self.parts.iter().flat_map(|(_, text)| text.holes())
    }

    /// The names of ciphers.
    pub fn ciphers(&self) -> impl Iterator<Item = &Arc<str>> {
        self.parts.iter().flat_map(|(_, text)| text.ciphers())
    }

    /// Placeholders outside of what is repeated.
    pub fn outer_holes(&self) -> impl Iterator<Item = &Hole> {
        self.parts.iter().filter(|(repeated, _)| !repeated).flat_map(|(_, text)| text.holes())
    }

    pub fn repeats(&self) -> bool {
        self.parts.iter().any(|(repeated, _)| *repeated)
    }

    pub fn fill(&self, values: &Values<'_>, out: &mut String) -> Result<(), Unfilled> {
        for (repeated, text) in &self.parts {
            if *repeated {
                for key in values.keys.chunks(1) {
                    text.fill(&values.with_key(key), out, &xml_escape)?;
                }
            } else {
                text.fill(values, out, &xml_escape)?;
            }
        }
        Ok(())
    }
}

/// For text and for attribute values; characters XML 1.0 cannot hold are left out.
pub fn xml_escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if c < ' ' && !matches!(c, '\t' | '\n' | '\r') => {}
            '\u{fffe}' | '\u{ffff}' => {}
            c => out.push(c),
        }
    }
}
