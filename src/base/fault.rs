//! Faults found in the files a user writes: contract, bindings, configuration, rules, code tables.
//!
//! Loading never stops at the first fault. Every loader takes a `&mut Faults`, adds what it finds and
//! goes on with what is left; whoever asked for the load looks at [`Faults::is_empty`] at the end.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Characters of a line that are shown, around the place.
const EXCERPT_MAX: usize = 240;

/// A file's text, kept for excerpts.
#[derive(Debug)]
pub struct SourceText {
    pub path: PathBuf,
    pub text: String,
    /// Where each line begins, found when first asked for.
    lines: OnceLock<Vec<usize>>,
}

impl SourceText {
    pub fn new(path: impl Into<PathBuf>, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self { path: path.into(), text: text.into(), lines: OnceLock::new() })
    }

    /// A line by its number from 1, without its end.
    pub fn line(&self, number: usize) -> Option<&str> {
        let starts = self.lines.get_or_init(|| {
            let ends = self.text.match_indices('\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(ends).collect()
        });
        let start = *starts.get(number.checked_sub(1)?)?;
        self.text.get(start..)?.lines().next()
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

    /// Lets go of the others.
    pub fn keep(&mut self, which: impl FnMut(&Fault) -> bool) {
        self.found.retain(which);
    }

    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Takes out, of those added after the first `kept`, what `told` says of.
    pub fn forget(&mut self, kept: usize, told: impl Fn(&Fault) -> bool) {
        let mut at = 0;
        self.found.retain(|fault| {
            at += 1;
            at <= kept || !told(fault)
        });
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
            if let Some(text) = self.file.line(line) {
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

/// The name in `known` that `wrong` was most likely meant to be, for hints. Of equally near ones, that which begins alike.
pub fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let alike = |name: &str| wrong.chars().zip(name.chars()).take_while(|(a, b)| a == b).count();
    known
        .into_iter()
        .map(|name| (distance(wrong, name), std::cmp::Reverse(alike(name)), name))
        .filter(|(distance, _, name)| *distance <= (name.chars().count().max(wrong.chars().count()) / 3).max(1))
        .min()
        .map(|(_, _, name)| name)
}

/// "did you mean …?", or `otherwise` where nothing is near.
pub fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>, otherwise: &str) -> String {
    nearest(wrong, known).map_or_else(|| otherwise.to_owned(), |name| format!("did you mean `{name}`?"))
}

/// Changes between two words, in characters: one left out, put in or put for another, or two neighbours exchanged.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut last_a = None;
    for (i, ca) in a.chars().enumerate() {
        let mut next = Vec::with_capacity(row.len());
        next.push(i + 1);
        let mut last_b = None;
        for (j, cb) in b.iter().copied().enumerate() {
            let at = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX / 2);
            let mut best = (at(&row, j + 1) + 1).min(at(&next, j) + 1).min(at(&row, j) + usize::from(ca != cb));
            if last_a == Some(cb) && last_b == Some(ca) {
                best = best.min(at(&before, j.wrapping_sub(1)) + 1);
            }
            next.push(best);
            last_b = Some(cb);
        }
        before = std::mem::replace(&mut row, next);
        last_a = Some(ca);
    }
    row.last().copied().unwrap_or(0)
}
