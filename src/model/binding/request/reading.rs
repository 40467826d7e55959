//! How an answer is read, up to its records: envelope, list, keys, columns.

use std::sync::Arc;

use super::super::format::{Envelope, ErrorsEntry, Request, Test};
use crate::base::fault::{Faults, SourceText};
use crate::base::pointer::Pointer;
use crate::model::yaml::{self, Spanned};

/// A compiled [`Test`]: the value at the pointer, as text, is (or is not) one of those.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    pub at: Pointer,
    pub is: Option<Box<[String]>>,
    pub not: Option<Box<[String]>>,
}

impl Condition {
    pub fn compile(test: &Test, text: &Arc<SourceText>, faults: &mut Faults) -> Option<Self> {
        let at = pointer(&test.at, text, faults)?;
        if test.is.is_none() && test.not.is_none() {
            faults.add(text, yaml::span(&test.at), "the test has neither `is` nor `not`", "write `{at: /code, is: 0}`");
            return None;
        }
        Some(Self {
            at,
            is: test.is.as_ref().map(|values| values.texts().into()),
            not: test.not.as_ref().map(|values| values.texts().into()),
        })
    }

    /// `value` is the scalar at the pointer as text: a string's content, a number's digits, `true`, `false`;
    /// `null` where it is null or missing. Objects and arrays are given as their JSON.
    pub fn holds(&self, value: &str) -> bool {
        self.is.as_ref().is_none_or(|values| values.iter().any(|v| v == value))
            && self.not.as_ref().is_none_or(|values| values.iter().all(|v| v != value))
    }
}

/// Compiled reading of an answer. Pointers of `ok`, `absent`, `data` and `message` start at the answer, `items`,
/// `columns` and `total` at the data, `item_key` and `only` at the record.
#[derive(Debug, Clone, Default)]
pub struct Reading {
    pub ok: Option<Condition>,
    pub absent: Option<Condition>,
    /// The answer says that another endpoint is to be asked; looked at before all else.
    pub elsewhere: Option<Condition>,
    pub data: Pointer,
    pub message: Option<Pointer>,
    pub items: Option<Pointer>,
    pub item_key: Option<Pointer>,
    pub items_by_key: bool,
    pub columns: Option<Pointer>,
    pub only: Option<Condition>,
    /// In the data: how many records the listing has in all.
    pub total: Option<Pointer>,
}

impl Reading {
    pub fn compile(
        request: &Request,
        envelope: Option<&Envelope>,
        text: &Arc<SourceText>,
        faults: &mut Faults,
    ) -> Option<Self> {
        let before = faults.len();
        let mut at = |spanned: &Option<Spanned<String>>| spanned.as_ref().and_then(|at| pointer(at, text, faults));
        let mut reading = Self {
            items: at(&request.items),
            item_key: at(&request.item_key),
            items_by_key: request.items_by_key,
            columns: at(&request.columns),
            ..Self::default()
        };
        if let Some(envelope) = envelope {
            reading.data = at(&envelope.data).unwrap_or_default();
            reading.message = at(&envelope.message);
            reading.ok = envelope.ok.as_ref().and_then(|test| Condition::compile(test, text, faults));
            reading.absent = envelope.absent.as_ref().and_then(|test| Condition::compile(test, text, faults));
        }
        reading.only = request.only.as_ref().and_then(|test| Condition::compile(test, text, faults));
        (faults.len() == before).then_some(reading)
    }
}

/// A pointer of the binding; a fault where it is none.
pub fn pointer(spanned: &Spanned<String>, text: &Arc<SourceText>, faults: &mut Faults) -> Option<Pointer> {
    Pointer::parse(&spanned.value)
        .map_err(|wrong| {
            faults.add(text, yaml::span(spanned), format!("`{}` is not a JSON Pointer", spanned.value), wrong);
        })
        .ok()
}

/// What the errors of a GraphQL source are read as. Pointers start at the error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorReading {
    pub refused: Option<Condition>,
    pub paths: Option<Pointer>,
}

impl ErrorReading {
    pub fn compile(entry: &ErrorsEntry, text: &Arc<SourceText>, faults: &mut Faults) -> Self {
        Self {
            refused: entry.refused.as_ref().and_then(|test| Condition::compile(test, text, faults)),
            paths: entry.paths.as_ref().and_then(|at| pointer(at, text, faults)),
        }
    }
}
