//! Trusted documents: operations known beforehand, named by the SHA-256 of their text, valid against the contract.
//!
//! The folder is the only way in: nothing that a caller sends adds to it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apollo_compiler::ExecutableDocument;
use apollo_compiler::validation::DiagnosticList;
use sha2::{Digest, Sha256};

use super::config::Limits;
use super::contract::Contract;
use crate::base::fault::{self, Faults, Place, SourceText};
use crate::base::nesting;

/// Documents of one folder at most; each is at most as long as a body may be.
const DOCUMENTS_MAX: usize = 10_000;
/// Faults of one document told at most.
const DIAGNOSTICS_MAX: usize = 20;

/// The documents of one folder.
#[derive(Debug, Default)]
pub struct Documents {
    by_id: HashMap<String, Arc<str>>,
}

impl Documents {
    /// Reads every `<sha256>.graphql`; whatever is not what its name says, or not valid, is a fault.
    pub fn load(folder: &Path, contract: &Contract, limits: &Limits, faults: &mut Faults) -> Self {
        let whole = SourceText::new(folder, "");
        let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder) {
            Ok(entries) => entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect(),
            Err(error) => {
                let hint = "make the folder `graphql.trusted_documents` names, or take the key out";
                faults.add(&whole, Place::default(), format!("trusted documents cannot be read: {error}"), hint);
                return Self::default();
            }
        };
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "graphql"));
        paths.sort();
        if paths.len() > DOCUMENTS_MAX {
            let message = format!("there are more than {DOCUMENTS_MAX} trusted documents");
            faults.add(&whole, Place::default(), message, "remove those that nobody runs any more");
            return Self::default();
        }
        let mut by_id = HashMap::new();
        for path in paths {
            let Some(file) = fault::read(&path, faults) else { continue };
            let id = digest(&file.text);
            if path.file_stem().is_none_or(|stem| stem != id.as_str()) {
                let hint = format!("rename it to {id}.graphql, or add it with `huxiang documents add`");
                faults.add(&file, Place::default(), "the file's name is not the SHA-256 of its text", hint);
            }
            check(&file, contract, limits, faults);
            by_id.insert(id, file.text.as_str().into());
        }
        Self { by_id }
    }

    /// The text of a document; the id may begin with `sha256:`.
    pub fn get(&self, id: &str) -> Option<&Arc<str>> {
        self.by_id.get(id.strip_prefix("sha256:").unwrap_or(id))
    }

    /// Whether a text is one of them, to the letter.
    pub fn contains(&self, text: &str) -> bool {
        !self.is_empty() && self.by_id.get(&digest(text)).is_some_and(|known| **known == *text)
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Ids and texts, by id.
    pub fn all(&self) -> Vec<(&str, &str)> {
        let mut all: Vec<(&str, &str)> = self.by_id.iter().map(|(id, text)| (id.as_str(), &**text)).collect();
        all.sort_unstable();
        all
    }
}

/// Adds a fault for whatever would have every request with this document refused.
pub fn check(file: &Arc<SourceText>, contract: &Contract, limits: &Limits, faults: &mut Faults) {
    let whole = Place::default();
    if file.text.len() > limits.body_bytes_max {
        let message = format!("the document is longer than {} bytes, which no request may be", limits.body_bytes_max);
        return faults.add(file, whole, message, "split it, or raise `limits.body_bytes_max`");
    }
    if nesting::check(&file.text, limits.nesting_max, limits.tokens_max).is_err() {
        let hint = "see `limits.nesting_max` and `limits.tokens_max` in gateway.yaml";
        return faults.add(file, whole, "the document is nested too deeply, or has too many tokens", hint);
    }
    match ExecutableDocument::parse_and_validate(&contract.published, &file.text, &file.path) {
        Ok(document) if document.operations.is_empty() => {
            faults.add(file, whole, "the document has no operation", "write a query");
        }
        Ok(_) => {}
        Err(with_errors) => diagnostics(file, &with_errors.errors, faults),
    }
}

fn diagnostics(file: &Arc<SourceText>, list: &DiagnosticList, faults: &mut Faults) {
    for diagnostic in list.iter().take(DIAGNOSTICS_MAX) {
        let message = diagnostic.error.unstable_compat_message().unwrap_or_else(|| diagnostic.error.to_string());
        let place = diagnostic.line_column_range().map_or_else(Place::default, |range| Place {
            line: range.start.line,
            column: range.start.column,
            length: 1,
        });
        faults.add(file, place, message, "documents are held against the published contract, see `huxiang schema`");
    }
}

/// SHA-256 of a document, hex.
pub fn digest(text: &str) -> String {
    use std::fmt::Write as _;
    Sha256::digest(text.as_bytes()).iter().fold(String::with_capacity(64), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}
