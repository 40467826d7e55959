//! Bindings that are no files: published in the registry, by departments themselves.
//!
//! What a department writes is not the operator's: such a binding names no file of the gateway's machine, none of its
//! databases and records, and no variable or secret but its own.

use std::path::{Component, Path};
use std::sync::Arc;

use super::connection::standbys;
use super::format::{Protocol, SourceFile};
use crate::base::fault::{Faults, Place, SourceText};
use crate::model::yaml;

/// A source's binding in one of its versions.
#[derive(Debug, Clone)]
pub struct Published {
    /// The source's id.
    pub source: Arc<str>,
    /// From 1, by source; 0: of none yet.
    pub number: i64,
    pub text: Arc<SourceText>,
    /// It is asked no more: what it fills is there, and not available.
    pub withdrawn: bool,
}

impl Published {
    /// `folder` is that of the bindings that are files: a published one stands in a folder of its own below it, where
    /// the operator may put instance lists and certificates for it.
    pub fn new(folder: &Path, source: &str, number: i64, text: &str, withdrawn: bool) -> Self {
        let name = if number == 0 { format!("{source}.yaml") } else { format!("{source}@{number}.yaml") };
        let path = folder.join(source).join(name);
        Self { source: source.into(), number, text: SourceText::new(path, text), withdrawn }
    }
}

/// A source's id as variables have it: `CIVIL_AFFAIRS` for `civil-affairs`.
pub fn variables_of(source: &str) -> String {
    source.to_uppercase().replace('-', "_")
}

/// Whether a variable is the source's own: `CIVIL_AFFAIRS_URL`, or with two underscores behind the id anything. With one, what
/// follows has none: `BANKS_ASSOCIATION_KEY` is that of `banks-association`, and not of `banks`, whether there is such a
/// source yet or not.
fn is_own_variable(source: &str, name: &str) -> bool {
    let Some(rest) = name.strip_prefix(&variables_of(source)).and_then(|rest| rest.strip_prefix('_')) else {
        return false;
    };
    match rest.strip_prefix('_') {
        Some(rest) => !rest.is_empty() && !rest.starts_with('_'),
        None => !rest.is_empty() && !rest.contains('_'),
    }
}

/// Whether a secret's file (`${file:NAME}`) is the source's own: `civil-affairs`, or with `.`, `_` or `/` behind it, which no
/// id has.
pub(in crate::model) fn is_own_file(source: &str, name: &str) -> bool {
    name.strip_prefix(source).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '_', '/']))
}

/// Whether a name of a variable, as it is looked up, is the source's own.
pub fn is_own(source: &str, name: &str) -> bool {
    match name.strip_prefix("file:") {
        Some(file) => is_own_file(source, file),
        None => is_own_variable(source, name),
    }
}

/// Adds a fault for whatever a department's binding may not name.
pub(super) fn confine(one: &Published, file: &SourceFile, faults: &mut Faults) {
    let (source, text) = (&file.source.value, &one.text);
    if *one.source != **source {
        let message = format!("this is a version of the source `{}`, and says that it is `{source}`", one.source);
        faults.add(text, yaml::place_of(&file.source), message, "a source keeps its id; submit it as another one");
    }
    for (place, name) in variables(&text.text) {
        if name.starts_with("instance.") || is_own(source, name) {
            continue;
        }
        let hint = match name.strip_prefix("file:") {
            Some(_) => {
                format!("its secrets' files begin with `{source}.` or `{source}_`, or stand in the folder `{source}`")
            }
            None => {
                let own = variables_of(source);
                format!("its variables are called `{own}_URL`, or `{own}__LONGER_NAME`; the operator sets them")
            }
        };
        faults.add(text, place, format!("`${{{name}}}` is not a variable of the source `{source}`"), hint);
    }
    let at = yaml::span(&file.source);
    if file.protocol == Protocol::Audit {
        let message = "the gateway's own records are no department's source";
        faults.add(text, at, message, "the operator keeps such a binding in a file");
    }
    // A database's address says more than where it is: sockets and files of the gateway's machine, whose certificate.
    let databases = file.base_url.iter().chain(standbys(file)).filter(|_| file.protocol == Protocol::Sql);
    for url in databases.filter(|url| !is_one_variable(&url.value)) {
        let message = "a published binding does not write a database's address itself";
        let hint = format!("`base_url: ${{{}_URL}}`; the operator sets the variable", variables_of(source));
        faults.add(text, yaml::span(url), message, hint);
    }
    let tls = file.tls.iter().flat_map(|tls| [&tls.ca, &tls.client_cert, &tls.client_key]);
    let named = tls.flatten().map(String::as_str).chain(file.instances.iter().map(|list| list.value.file.as_str()));
    for name in named.filter(|name| !name.starts_with("${") && !is_plain(name)) {
        let hint = format!("name files of the folder resolvers/{source}, without `..` and `/` at the beginning");
        faults.add(text, at, format!("`{name}` is not a file of this source"), hint);
    }
}

fn is_one_variable(text: &str) -> bool {
    let inside = text.trim().strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
    inside.is_some_and(|name| !name.contains(['}', '$']))
}

fn is_plain(name: &str) -> bool {
    name.contains("-----BEGIN") || Path::new(name).components().all(|part| matches!(part, Component::Normal(_)))
}

/// Every `${NAME}` with its place.
fn variables(text: &str) -> Vec<(Place, &str)> {
    let mut found = Vec::new();
    for (line, content) in text.lines().enumerate() {
        let mut from = 0;
        while let Some(start) = content.get(from..).and_then(|rest| rest.find("${")).map(|at| from + at) {
            let Some(end) = content.get(start..).and_then(|rest| rest.find('}')).map(|at| start + at) else { break };
            let comment = content.get(..start).is_some_and(|before| before.trim_start().starts_with('#'));
            if let (Some(name), false) = (content.get(start + 2..end), comment) {
                let column = content.get(..start).map_or(0, |before| before.chars().count()) + 1;
                found.push((Place { line: line + 1, column, length: name.chars().count() + 3 }, name));
            }
            from = end;
        }
    }
    found
}
