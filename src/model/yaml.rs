//! Reading YAML into typed files, with all faults of shape at once.
//!
//! A typed reader stops at its first fault. To report them all, what is at fault is blanked and the rest is read again,
//! as often as that finds something new. What could be read of such a file is only held against the contract, to tell
//! the faults that are there beside those of shape; nothing runs on it.

mod mend;

use std::sync::Arc;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{Deserialize, DeserializeOwned, Deserializer};
use serde_saphyr::Location;

use crate::base::fault::{Fault, Faults, Place, SourceText, did_you_mean};
pub use mend::{key, word};

/// Faults of shape reported per file at most.
const ROUNDS_MAX: usize = 50;
/// Characters marked in an excerpt at most.
const SPAN_MAX: usize = 80;

/// A value with its place in the file.
#[derive(Debug, Clone)]
pub struct Spanned<T> {
    pub value: T,
    /// Where it is used, and where it is written: two places, where it is an alias.
    pub referenced: Location,
    pub defined: Location,
}

impl<T> Spanned<T> {
    pub fn new(value: T, referenced: Location, defined: Location) -> Self {
        Self { value, referenced, defined }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Spanned<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let serde_saphyr::Spanned { value, referenced, defined } = serde_saphyr::Spanned::deserialize(deserializer)?;
        Ok(Self { value, referenced, defined })
    }
}

/// As what it holds.
impl<T: JsonSchema> JsonSchema for Spanned<T> {
    fn inline_schema() -> bool {
        T::inline_schema()
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        T::schema_name()
    }

    fn schema_id() -> std::borrow::Cow<'static, str> {
        T::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        T::json_schema(generator)
    }
}

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

/// What could be read of a file.
pub struct Readable<T> {
    pub value: T,
    /// Where what was at fault stood; empty: the file is as it should be.
    blanked: Vec<Place>,
}

impl<T> Readable<T> {
    pub fn is_whole(&self) -> bool {
        self.blanked.is_empty()
    }

    /// Takes out, of the faults added after the first `kept`, those that say that something is missing where something
    /// was at fault, and is told of already.
    pub fn forget_consequences(&self, file: &Arc<SourceText>, kept: usize, faults: &mut Faults) {
        if self.is_whole() || faults.len() == kept {
            return;
        }
        let map = mend::Map::of(&file.text);
        let follows = |fault: &Fault| {
            Arc::ptr_eq(&fault.file, file) && self.blanked.iter().any(|blanked| map.holds(fault.place, *blanked))
        };
        faults.forget(kept, follows);
    }
}

/// Reads a file as `T`. `None` means that at least one fault was added.
pub fn read<T: DeserializeOwned>(file: &Arc<SourceText>, faults: &mut Faults) -> Option<T> {
    readable(file, faults).filter(Readable::is_whole).map(|read| read.value)
}

/// Reads as much of a file as can be read. `None`: nothing, and at least one fault was added.
pub fn readable<T: DeserializeOwned>(file: &Arc<SourceText>, faults: &mut Faults) -> Option<Readable<T>> {
    let mut text = file.text.clone();
    let mut blanked = Vec::new();
    for _ in 0..ROUNDS_MAX {
        match serde_saphyr::from_str::<T>(&text) {
            Ok(value) => return Some(Readable { value, blanked }),
            Err(error) => {
                let first = blanked.is_empty();
                let place = error.location().map(at).unwrap_or_default();
                let told = Told::of(&error);
                // Once something is blanked, a missing field or a key without a value is our own doing.
                let emptied =
                    text.lines().nth(place.line.saturating_sub(1)).is_some_and(|line| line.trim_end().ends_with(':'));
                if first || !(emptied || told.is_missing) {
                    let length = told.length.or_else(|| mend::scalar(&text, place)).unwrap_or(0);
                    faults.add(file, Place { length, ..place }, told.message, told.hint);
                }
                if place.line == 0 {
                    return None;
                }
                blanked.push(place);
                text = mend::without(&text, place)?;
            }
        }
    }
    None
}

/// A reader's error as people read it.
struct Told {
    message: String,
    hint: String,
    /// Of the word it is about, where it names one.
    length: Option<usize>,
    is_missing: bool,
}

impl Told {
    fn of(error: &serde_saphyr::Error) -> Self {
        let text = error.without_snippet().to_string();
        let first = text.lines().next().unwrap_or_default();
        // The place is printed by the fault itself.
        let message = first.find(" at line ").and_then(|end| first.get(..end)).unwrap_or(first);
        let known = |rest: &str| -> Vec<String> {
            let names = rest.trim_start_matches("one of ").replace(" or ", ", ");
            names.split(", ").map(|name| name.trim_matches('`').to_owned()).collect()
        };
        let word = |start: &str| {
            let rest = message.strip_prefix(start)?;
            let (word, rest) = rest.split_once('`')?;
            Some((word, rest.strip_prefix(", expected ").map(known).unwrap_or_default()))
        };
        let told = |message: String, hint: String, word: &str| Self {
            message,
            hint,
            length: Some(word.chars().count()),
            is_missing: false,
        };
        if let Some((wrong, known)) = word("unknown field `") {
            let hint = hint(wrong, &known, "the keys here are");
            return told(format!("unknown key `{wrong}`"), hint, wrong);
        }
        if let Some((wrong, known)) = word("unknown variant `") {
            let hint = hint(wrong, &known, "write one of");
            return told(format!("`{wrong}` is not a value of this key"), hint, wrong);
        }
        if let Some((missing, _)) = word("missing field `") {
            let hint = format!("add `{missing}: …`");
            let message = format!("the key `{missing}` is missing");
            return Self { message, hint, length: None, is_missing: true };
        }
        let message = match message {
            "invalid u64" | "invalid u32" | "invalid u16" | "invalid usize" => "a whole number is expected here",
            "invalid boolean" | "invalid bool" => "`true` or `false` is expected here",
            other => other,
        };
        let hint = "see the reference of this file in docs/".to_owned();
        Self { message: message.to_owned(), hint, length: None, is_missing: false }
    }
}

fn hint(wrong: &str, known: &[String], otherwise: &str) -> String {
    let otherwise = format!("{otherwise} `{}`", known.join("`, `"));
    did_you_mean(wrong, known.iter().map(String::as_str), &otherwise)
}
