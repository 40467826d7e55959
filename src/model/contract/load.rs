//! SDL files → [`Contract`]: parsed and validated by apollo-compiler, then turned into slots.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apollo_compiler::Schema;
use apollo_compiler::diagnostic::ToCliReport as _;
use apollo_compiler::parser::{SourceMap, SourceSpan};
use apollo_compiler::validation::DiagnosticList;

use super::slots::SlotBuilder;
use super::{Contract, published, scan};
use crate::base::fault::{self, Faults, Place, SourceText};

/// Faults of GraphQL itself told at most: a file that is none has one at every token.
const DIAGNOSTICS_MAX: usize = 50;

/// The SDL files by path, to say where a fault stands.
pub(super) struct Texts {
    files: HashMap<PathBuf, Arc<SourceText>>,
    whole: Arc<SourceText>,
}

impl Texts {
    pub(super) fn fault(
        &self,
        faults: &mut Faults,
        sources: &SourceMap,
        span: Option<SourceSpan>,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let file = span
            .and_then(|span| sources.get(&span.file_id()))
            .and_then(|file| self.files.get(file.path()))
            .unwrap_or(&self.whole);
        let place = span.and_then(|span| span.line_column_range(sources)).map_or_else(Place::default, |range| Place {
            line: range.start.line,
            column: range.start.column,
            length: if range.start.line == range.end.line {
                range.end.column.saturating_sub(range.start.column)
            } else {
                1
            },
        });
        faults.add(file, place, message, hint);
    }

    fn diagnostics(&self, faults: &mut Faults, list: &DiagnosticList) {
        for diagnostic in list.iter().take(DIAGNOSTICS_MAX) {
            let message = diagnostic.error.to_string();
            let hint = hint(&message);
            self.fault(faults, diagnostic.sources, diagnostic.error.location(), message, &hint);
        }
    }
}

/// What to do about a fault that is found by GraphQL's own rules.
fn hint(message: &str) -> String {
    if let Some(name) = message.split("cannot find directive `@").nth(1).and_then(|rest| rest.split('`').next()) {
        return format!("declare `directive @{name} …`; the declarations of all that count stand in docs/contract.md");
    }
    match message.starts_with("the type `") && message.contains("is defined multiple times") {
        true => "a second file adds to it: `extend type …`".to_owned(),
        false => String::new(),
    }
}

/// Reads every `*.graphql` file of a folder, in the order of their names.
pub fn load(folder: &Path, faults: &mut Faults) -> Option<Contract> {
    let whole = SourceText::new(folder, "");
    let mut paths: Vec<PathBuf> = match std::fs::read_dir(folder) {
        Ok(entries) => entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "graphql"))
            .collect(),
        Err(error) => {
            faults.add(
                &whole,
                Place::default(),
                format!("the contract's folder cannot be read: {error}"),
                "the contract is a folder of .graphql files",
            );
            return None;
        }
    };
    paths.sort();
    if paths.is_empty() {
        faults.add(
            &whole,
            Place::default(),
            "there is no contract: the folder has no .graphql file",
            "write the types that callers see, see docs/contract.md",
        );
        return None;
    }
    let files: Vec<Arc<SourceText>> = paths.iter().filter_map(|path| fault::read(path, faults)).collect();
    parse(files, whole, faults)
}

/// Compiles SDL texts, as far as they are GraphQL: the other files are held against what there is, so that all faults
/// are found at once. Whoever serves it looks at the faults first; `whole` stands for faults that have no place.
pub fn parse(files: Vec<Arc<SourceText>>, whole: Arc<SourceText>, faults: &mut Faults) -> Option<Contract> {
    let mut builder = Schema::builder();
    for file in &files {
        if crate::base::nesting::check(&file.text, 64, 2_000_000).is_err() {
            faults.add(
                file,
                Place::default(),
                "the file is nested too deeply or is too long to be a contract",
                "at most 64 levels of brackets",
            );
            return None;
        }
        builder = builder.parse(file.text.as_str(), &file.path);
    }
    let texts = Texts { files: files.iter().map(|file| (file.path.clone(), Arc::clone(file))).collect(), whole };
    let schema = match builder.build() {
        Ok(schema) => schema,
        Err(with_errors) => {
            texts.diagnostics(faults, &with_errors.errors);
            return None;
        }
    };
    let full = match schema.validate() {
        Ok(schema) => schema,
        Err(with_errors) => {
            texts.diagnostics(faults, &with_errors.errors);
            return None;
        }
    };
    let built = SlotBuilder::new(&full, &texts, faults).build();
    let scan::Added { full, scans, made } = match scan::add(&files, &full, &built, &texts, faults) {
        Some(added) => added,
        None => scan::Added { full, scans: Vec::new(), made: HashSet::new() },
    };
    let published = published::without_hidden(&full, &texts, faults)?;
    let slot_paths = built
        .slots
        .iter()
        .filter_map(|slot| Some((format!("{}.{}", built.entities.get(slot.entity.index())?.name, slot.path), slot.id)))
        .collect();
    let query_type: Arc<str> = full.schema_definition.query.as_ref().map_or("Query", |name| name.as_str()).into();
    Some(Contract {
        published,
        entities: built.entities,
        slots: built.slots,
        classes: built.classes,
        queries: built.queries,
        items: built.items,
        scans,
        made,
        slot_paths,
        query_type,
        full,
    })
}
