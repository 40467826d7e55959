//! Reading YAML into typed files, with all faults of shape at once.
//!
//! A typed reader stops at its first fault. To report them all, the offending lines are blanked and the rest is
//! read again, as often as that finds something new; nothing of such a file is used.

use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde_saphyr::{Location, Spanned};

use crate::base::fault::{Faults, Place, SourceText, did_you_mean};

/// Faults of shape reported per file at most.
const ROUNDS_MAX: usize = 20;
/// Characters marked in an excerpt at most.
const SPAN_MAX: usize = 80;

/// Where a value stands in its file.
pub fn place<T>(spanned: &Spanned<T>) -> Place {
    at(spanned.referenced)
}

/// As [`place`], with the length of the text that stands there.
pub fn place_of(spanned: &Spanned<String>) -> Place {
    Place { length: spanned.value.chars().count(), ..at(spanned.referenced) }
}

/// As [`place`], with the length of what is written there, quotation marks included. A block (a mapping over several
/// lines) is marked at its first character only.
pub fn span<T>(spanned: &Spanned<T>) -> Place {
    let length = usize::try_from(spanned.referenced.span().len()).unwrap_or(0);
    Place { length: if length > SPAN_MAX { 1 } else { length }, ..at(spanned.referenced) }
}

/// The place of a location, without a length.
pub fn at(location: Location) -> Place {
    let number = |value: u64| usize::try_from(value).unwrap_or(0);
    Place { line: number(location.line()), column: number(location.column()), length: 0 }
}

/// Reads a file as `T`. `None` means that at least one fault was added.
pub fn read<T: DeserializeOwned>(file: &Arc<SourceText>, faults: &mut Faults) -> Option<T> {
    let mut text = file.text.clone();
    let mut first = true;
    for _ in 0..ROUNDS_MAX {
        match serde_saphyr::from_str::<T>(&text) {
            Ok(value) => return first.then_some(value),
            Err(error) => {
                let location = error.location();
                let place = location.map(at).unwrap_or_default();
                let message = plain(&error);
                // Once lines are blanked, a missing field or a key without a value is our own doing.
                let emptied =
                    text.lines().nth(place.line.saturating_sub(1)).is_some_and(|line| line.trim_end().ends_with(':'));
                if first || !(emptied || message.contains("missing field")) {
                    let hint = hint(&message);
                    faults.add(file, place, message, hint);
                }
                first = false;
                if place.line == 0 {
                    return None;
                }
                match without_block(&text, place.line) {
                    Some(rest) => text = rest,
                    None => return None,
                }
            }
        }
    }
    None
}

/// For `unknown field `dat`, expected one of at, date`: the key that was meant.
fn hint(message: &str) -> String {
    let otherwise = "see the reference of this file in docs/";
    let parts = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once("`, expected one of "));
    let Some((wrong, known)) = parts else { return otherwise.to_owned() };
    did_you_mean(wrong, known.split(", ").map(|name| name.trim_matches('`')), otherwise)
}

fn plain(error: &serde_saphyr::Error) -> String {
    let text = error.without_snippet().to_string();
    let first = text.lines().next().unwrap_or_default();
    // The place is printed by the fault itself.
    match first.find(" at line ") {
        Some(end) => first.get(..end).unwrap_or(first).to_owned(),
        None => first.to_owned(),
    }
}

/// The text with the line and the more deeply indented lines below it made empty; `None` if it was empty already.
fn without_block(text: &str, line: usize) -> Option<String> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let start = text.lines().nth(line - 1)?;
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
