//! Answers as indexed JSON, with errors for operators.

use std::borrow::Cow;
use std::sync::Arc;

use super::failure::Failure;
use crate::base::json::{Held, Json, JsonValue, NESTING_MAX, NotIndexed};
use crate::base::pointer::Pointer;

/// The answer, if it is one JSON value, not nested too deep.
pub(crate) fn read(text: String) -> Result<Arc<Json>, Failure> {
    Json::read(text).map(Arc::new).map_err(|error| match error {
        NotIndexed::Broken { line, column } => {
            Failure::bad(format!("the answer is not JSON (line {line}, column {column})"))
        }
        NotIndexed::TooDeep => Failure::bad(format!("the answer is nested more than {NESTING_MAX} deep")),
        NotIndexed::TooLong => Failure::bad("the answer is too large"),
    })
}

/// The part a pointer leads to.
pub(crate) fn find<'a>(json: JsonValue<'a>, pointer: &Pointer) -> Option<JsonValue<'a>> {
    json.find(pointer.segments())
}

/// A scalar as text: a string's content, a number's digits, `true`, `false`, `null`; other JSON as it is.
pub(crate) fn text(json: JsonValue<'_>) -> Result<Cow<'_, str>, Failure> {
    json.content().map_err(|_| Failure::bad("a text of the answer has an escape that is no character"))
}

/// A text, and its records with what is known of each.
pub(crate) type Reread<K> = (Arc<Json>, Vec<(K, Held)>);

/// Records that are written anew, with what is known of each: read again as one list.
pub(crate) struct Rewritten<K> {
    text: String,
    of: Vec<K>,
}

impl<K: Copy> Rewritten<K> {
    pub fn with_capacity(bytes: usize) -> Self {
        let mut text = String::with_capacity(bytes + 2);
        text.push('[');
        Self { text, of: Vec::new() }
    }

    /// Where the next record, one JSON value, is to be written.
    pub fn next(&mut self, of: K) -> &mut String {
        if !self.of.is_empty() {
            self.text.push(',');
        }
        self.of.push(of);
        &mut self.text
    }

    pub fn len(&self) -> usize {
        self.text.len()
    }

    pub fn read(mut self) -> Result<Reread<K>, Failure> {
        self.text.push(']');
        let json = read(self.text)?;
        let found = self.of.into_iter().zip(json.root().elements()).map(|(of, record)| (of, Held::new(&json, record)));
        let found = found.collect();
        Ok((json, found))
    }
}
