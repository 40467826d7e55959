//! Where members of YAML collections begin and end in the text: to blank one that is at fault, to find the key that a
//! value belongs to, and to tell what holds what. It knows as much of YAML as that needs; what it cannot place, it
//! leaves to the lines' indentation.

use std::ops::Range;

use super::Spanned;
use crate::base::fault::{Place, SourceText};

/// Columns searched for a key before its value, and lines above it.
const COLUMNS_MAX: usize = 2_000;
const LINES_MAX: usize = 20;
/// Flow collections inside one another that are followed.
const DEPTH_MAX: usize = 100;

/// Where the key stands that a value belongs to: on the value's line or above it. Where it is not found, the value's.
pub fn key<T>(file: &SourceText, name: &str, value: &Spanned<T>) -> Place {
    let place = Place { length: name.chars().count(), ..super::place(value) };
    on_line(file, name, place).or_else(|| above(file, name, place)).unwrap_or(place)
}

fn on_line(file: &SourceText, name: &str, value: Place) -> Option<Place> {
    if value.column > COLUMNS_MAX {
        return None;
    }
    let before: String = file.line(value.line)?.chars().take(value.column.checked_sub(1)?).collect();
    let key = before.trim_end().strip_suffix(':')?;
    let key = key.strip_suffix(['"', '\'']).unwrap_or(key).strip_suffix(name)?;
    Some(Place { column: key.chars().count() + 1, ..value })
}

fn above(file: &SourceText, name: &str, value: Place) -> Option<Place> {
    for line in (1..value.line).rev().take(LINES_MAX) {
        let text = file.line(line)?;
        let key = text.trim_start().trim_start_matches("- ");
        let bare = key.trim_start_matches(['"', '\'']);
        let Some(rest) = bare.strip_prefix(name) else { continue };
        if rest.trim_start_matches(['"', '\'']).starts_with(':') {
            let column = text.chars().count() - bare.chars().count() + 1;
            return Some(Place { line, column, ..value });
        }
    }
    None
}

/// Where a text stands, from a place on and not far below it; else that place.
pub fn word(file: &SourceText, from: Place, word: &str) -> Place {
    for line in (from.line..).take(LINES_MAX) {
        let Some(text) = file.line(line) else { break };
        let skipped = if line == from.line { from.column.saturating_sub(1) } else { 0 };
        let start = text.char_indices().nth(skipped).map_or(text.len(), |(at, _)| at);
        if let Some(at) = text.get(start..).and_then(|rest| rest.find(word)) {
            let before = text.get(..start + at).unwrap_or_default();
            return Place { line, column: before.chars().count() + 1, length: word.chars().count() };
        }
    }
    from
}

/// The length of the plain or quoted text at a place; none where something else stands there.
pub fn scalar(text: &str, place: Place) -> Option<usize> {
    let line = text.lines().nth(place.line.checked_sub(1)?)?;
    let rest: String = line.chars().skip(place.column.checked_sub(1)?).collect();
    let word = match rest.chars().next()? {
        '{' | '[' | '|' | '>' => return None,
        quote @ ('"' | '\'') => rest.get(..rest.get(1..)?.find(quote)? + 2)?,
        _ => rest.split([',', '}', ']', '#']).next()?.trim_end(),
    };
    (!word.contains(": ") && !word.ends_with(':')).then(|| word.chars().count())
}

/// The text with what stands at the place made blank: the innermost member of a flow collection, else the line with the
/// more deeply indented ones below it. `None` if it was blank already.
pub fn without(text: &str, place: Place) -> Option<String> {
    let at = offset(text, place)?;
    let map = Map::of(text);
    match map.member_at(at) {
        Some(member) => {
            let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
            let (before, inside, after) =
                (text.get(..member.start)?, text.get(member.clone())?, text.get(member.end..)?);
            if inside.trim().is_empty() {
                return None;
            }
            Some(format!("{before}{}{after}", inside.chars().map(blank).collect::<String>()))
        }
        None => without_block(text, place.line),
    }
}

/// The text with the line and the more deeply indented lines below it made empty.
fn without_block(text: &str, line: usize) -> Option<String> {
    let start = text.lines().nth(line.checked_sub(1)?)?;
    if start.trim().is_empty() {
        return None;
    }
    let depth = indent(start);
    let mut out = String::with_capacity(text.len());
    let mut inside = false;
    for (number, current) in text.lines().enumerate() {
        if number + 1 == line {
            inside = true;
        } else {
            inside = inside && (current.trim().is_empty() || indent(current) > depth);
            if !inside {
                out.push_str(current);
            }
        }
        out.push('\n');
    }
    Some(out)
}

fn indent(line: &str) -> usize {
    line.len() - line.trim_start().len()
}

/// The byte at which a place stands.
fn offset(text: &str, place: Place) -> Option<usize> {
    let mut start = 0;
    for (number, line) in text.split_inclusive('\n').enumerate() {
        if number + 1 == place.line {
            let inside = line.char_indices().nth(place.column.checked_sub(1)?).map_or(line.len(), |(at, _)| at);
            return Some(start + inside);
        }
        start += line.len();
    }
    None
}

/// The flow collections of a text and their members, in bytes.
pub struct Map<'t> {
    text: &'t str,
    /// From the opening to behind the closing bracket.
    collections: Vec<Range<usize>>,
    /// Each with the comma behind it.
    members: Vec<Range<usize>>,
}

/// A collection that is not closed yet.
struct Open {
    start: usize,
    member: usize,
}

impl<'t> Map<'t> {
    pub fn of(text: &'t str) -> Self {
        let mut map = Self { text, collections: Vec::new(), members: Vec::new() };
        let mut open: Vec<Open> = Vec::new();
        let mut start = 0;
        // Deeper than this, the lines are of a block text.
        let mut block_text = None;
        for line in text.split_inclusive('\n') {
            let blank = line.trim().is_empty();
            if open.is_empty() {
                if block_text.is_some_and(|depth| blank || indent(line) > depth) {
                    start += line.len();
                    continue;
                }
                block_text = None;
                let value = start + value_of(line);
                let rest = text.get(value..start + line.len()).unwrap_or_default();
                if rest.starts_with(['|', '>']) {
                    block_text = Some(indent(line));
                } else if rest.starts_with(['{', '[']) {
                    map.flow(value..start + line.len(), &mut open);
                }
            } else {
                map.flow(start..start + line.len(), &mut open);
            }
            start += line.len();
        }
        map
    }

    /// Follows a line inside flow collections, or from where one opens.
    fn flow(&mut self, range: Range<usize>, open: &mut Vec<Open>) {
        let Some(line) = self.text.get(range.clone()) else { return };
        let (mut quote, mut escaped, mut before) = (None, false, ' ');
        for (at, c) in line.char_indices() {
            let at = range.start + at;
            match (quote, c) {
                (Some('"'), '\\') if !escaped => {
                    escaped = true;
                    continue;
                }
                (Some(q), c) if c == q && !escaped => quote = None,
                (Some(_), _) => {}
                (None, '"' | '\'') if matches!(before, ' ' | '{' | '[' | ',' | ':') => quote = Some(c),
                (None, '#') if before.is_whitespace() => return,
                (None, '{' | '[') if open.len() < DEPTH_MAX => open.push(Open { start: at, member: at + 1 }),
                (None, '}' | ']') => {
                    if let Some(closed) = open.pop() {
                        self.members.push(closed.member..at);
                        self.collections.push(closed.start..at + 1);
                    }
                    if open.is_empty() {
                        return;
                    }
                }
                (None, ',') => {
                    if let Some(inner) = open.last_mut() {
                        self.members.push(inner.member..at + 1);
                        inner.member = at + 1;
                    }
                }
                _ => {}
            }
            escaped = false;
            before = c;
        }
    }

    /// The innermost member that holds a byte.
    fn member_at(&self, at: usize) -> Option<Range<usize>> {
        self.members.iter().filter(|member| member.contains(&at)).min_by_key(|member| member.len()).cloned()
    }

    /// Whether what stands at `outer` holds what stands at `inner`: a flow collection what is in it, a key its value, the
    /// first key of a block the whole block.
    pub fn holds(&self, outer: Place, inner: Place) -> bool {
        let (Some(outer_at), Some(inner_at)) = (offset(self.text, outer), offset(self.text, inner)) else {
            return false;
        };
        if let Some(collection) = self.collections.iter().find(|collection| collection.start == outer_at) {
            return collection.contains(&inner_at);
        }
        if let Some(member) = self.member_at(outer_at) {
            let rest = self.text.get(outer_at..member.end).unwrap_or_default();
            return self.is_key(outer, rest) && member.contains(&inner_at);
        }
        let mut lines = self.text.lines().skip(outer.line.saturating_sub(1));
        let Some(first) = lines.next() else { return false };
        let begins = first.chars().take(outer.column.saturating_sub(1)).all(|c| c == ' ' || c == '-');
        if !begins || inner.line < outer.line {
            return false;
        }
        let depth = outer.column.saturating_sub(1);
        let rest: String = first.chars().skip(depth).collect();
        let sibling = !self.is_key(outer, &rest);
        let below = lines.take(inner.line - outer.line);
        below
            .filter(|line| !line.trim().is_empty())
            .all(|line| indent(line) > depth || sibling && indent(line) == depth)
    }

    /// Whether the marked text is a key, which `rest` begins with.
    fn is_key(&self, place: Place, rest: &str) -> bool {
        let after: String = rest.chars().skip(place.length).collect();
        place.length > 0 && after.trim_start_matches(['"', '\'']).starts_with(':')
    }
}

/// Where the value begins in a line of block YAML: behind `- ` and the key.
fn value_of(line: &str) -> usize {
    let mut at = indent(line);
    loop {
        let rest = line.get(at..).unwrap_or_default();
        if let Some(after) = rest.strip_prefix("- ") {
            at = line.len() - after.trim_start().len();
        } else if rest.starts_with(['{', '[', '#', '|', '>']) {
            return at;
        } else if let Some(end) = end_of_key(rest) {
            at += end;
            at += line.get(at..).map_or(0, indent);
        } else {
            return line.len();
        }
    }
}

/// Behind the colon of the key that a text begins with.
fn end_of_key(rest: &str) -> Option<usize> {
    let quoted = rest.chars().next().filter(|c| matches!(c, '"' | '\''));
    let from = match quoted {
        Some(quote) => rest.get(1..)?.find(quote)? + 2,
        None => 0,
    };
    let colon = rest.get(from..)?.find(": ").map(|at| from + at)?;
    let plain = quoted.is_none() || colon == from;
    let comment = rest.get(..colon)?.contains(" #");
    (plain && !comment).then_some(colon + 1)
}
