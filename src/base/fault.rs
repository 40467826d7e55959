//! Faults found in the files a user writes: contract, bindings, configuration, rules, code tables.
//!
//! Loading never stops at the first fault. Every loader takes a `&mut Faults`, adds what it finds and
//! goes on with what is left; whoever asked for the load looks at [`Faults::is_empty`] at the end.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Characters of a line that are shown, around the place.
const EXCERPT_MAX: usize = 240;

/// A file's text, kept for excerpts.
#[derive(Debug)]
pub struct SourceText {
    pub path: PathBuf,
    pub text: String,
}

impl SourceText {
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { path: path.into(), text: text.into() })
    }
}

/// Where in a file: line and column count from 1, columns in characters; 0 means "the file as a whole".
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    pub line: usize,
    pub column: usize,
    /// Length of the offending text in characters, 0 where it is not known.
    pub length: usize,
}

/// One thing that is wrong with one file.
#[derive(Debug, Clone)]
pub struct Fault {
    pub file: Arc<SourceText>,
    pub place: Place,
    /// What is wrong, in one sentence.
    pub message: String,
    /// What to do next; empty where the message says it.
    pub hint: String,
}

/// All faults found so far.
#[derive(Debug, Default)]
pub struct Faults {
    found: Vec<Fault>,
}

impl Faults {
    pub fn add(&mut self, file: &Arc<SourceText>, place: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.found.push(Fault { file: Arc::clone(file), place, message: message.into(), hint: hint.into() });
    }

    pub fn extend(&mut self, more: Self) {
        self.found.extend(more.found);
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// In order of file and place, each once.
    pub fn sorted(&self) -> Vec<&Fault> {
        let mut all: Vec<&Fault> = self.found.iter().collect();
        all.sort_by(|a, b| (&a.file.path, a.place, &a.message).cmp(&(&b.file.path, b.place, &b.message)));
        all.dedup_by(|a, b| a.file.path == b.file.path && a.place == b.place && a.message == b.message);
        all
    }

    /// As a compiler would print them: file:line:column, the line, a caret under the place, a hint.
    pub fn render(&self) -> String {
        self.render_as("error")
    }

    /// As [`Self::render`], for what stops nothing.
    pub fn render_warnings(&self) -> String {
        self.render_as("warning")
    }

    fn render_as(&self, severity: &str) -> String {
        let mut out = String::new();
        for fault in self.sorted() {
            fault.render(severity, &mut out);
            out.push('\n');
        }
        out
    }
}

impl Fault {
    fn render(&self, severity: &str, out: &mut String) {
        let Place { line, column, length } = self.place;
        let path = self.file.path.display();
        let _ = writeln!(out, "{severity}: {}", self.message);
        if line == 0 {
            let _ = writeln!(out, "  --> {path}");
        } else {
            let _ = writeln!(out, "  --> {path}:{line}:{column}");
            if let Some(text) = self.file.text.lines().nth(line - 1) {
                let skipped =
                    column.saturating_sub(EXCERPT_MAX / 2).min(text.chars().count().saturating_sub(EXCERPT_MAX));
                let text: String = text.chars().skip(skipped).take(EXCERPT_MAX).collect();
                let column = column - skipped.min(column);
                let length = length.clamp(1, EXCERPT_MAX);
                let gutter = line.to_string();
                let pad = " ".repeat(gutter.len());
                let _ = writeln!(out, " {pad} |");
                let _ = writeln!(out, " {gutter} | {text}");
                let before: String = text
                    .chars()
                    .take(column.saturating_sub(1))
                    .map(|c| {
                        if c == '\t' {
                            '\t'
                        } else if is_wide(c) {
                            '\u{3000}'
                        } else {
                            ' '
                        }
                    })
                    .collect();
                let _ = writeln!(out, " {pad} | {before}{}", "^".repeat(length));
            }
        }
        if !self.hint.is_empty() {
            let _ = writeln!(out, "  = hint: {}", self.hint);
        }
    }
}

fn is_wide(c: char) -> bool {
    matches!(u32::from(c), 0x1100..=0x115F | 0x2E80..=0xA4CF | 0xAC00..=0xD7A3 | 0xF900..=0xFAFF | 0xFE30..=0xFE6F | 0xFF00..=0xFF60 | 0xFFE0..=0xFFE6)
}

/// Reads a text file; a file that cannot be read is a fault, not an error.
pub fn read(path: &Path, faults: &mut Faults) -> Option<Arc<SourceText>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(SourceText::new(path, text.strip_prefix('\u{feff}').unwrap_or(&text))),
        Err(error) => {
            let file = SourceText::new(path, "");
            faults.add(
                &file,
                Place::default(),
                format!("the file cannot be read: {error}"),
                "check that it is there, readable and UTF-8",
            );
            None
        }
    }
}

/// The name in `known` that `wrong` was most likely meant to be, for hints.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known
        .into_iter()
        .map(|name| (distance(wrong, name), name))
        .filter(|(distance, name)| *distance <= (name.chars().count().max(wrong.chars().count()) / 3).max(1))
        .min()
        .map(|(_, name)| name)
}

/// "did you mean …?", or `otherwise` where nothing is near.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    nearest(wrong, known).map_or_else(|| otherwise.to_owned(), |name| format!("did you mean `{name}`?"))
}

/// Levenshtein distance in characters.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().enumerate() {
        let mut previous = i;
        let mut left = i + 1;
        for (cb, cell) in b.iter().zip(row.iter_mut().skip(1)) {
            let value = (*cell + 1).min(left + 1).min(previous + usize::from(ca != *cb));
            previous = *cell;
            *cell = value;
            left = value;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}
