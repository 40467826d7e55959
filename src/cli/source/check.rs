//! `huxiang source check`: one binding, held against the files it belongs to.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde_json::json;

use super::super::check::listed;
use super::super::load::{self, Environment};
use super::super::{Done, Stop, text};
use crate::base::clock;
use crate::base::fault::{self, Fault, Faults, SourceText};
use crate::model::advice;
use crate::model::binding::format::SourceFile;
use crate::model::contract::Slot;
use crate::model::snapshot::{Folders, Parts};
use crate::model::yaml;

#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The binding: a file of the root's resolvers/, or one that is not there yet
    file: PathBuf,
    /// The folder with schema/ and config/, where it is not the one above the file's
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Print the faults and warnings as JSON
    #[arg(long)]
    json: bool,
    /// Exit with 1 also where there are only warnings
    #[arg(long)]
    deny_warnings: bool,
}

/// What was found.
struct Found {
    /// Of the file, and of the files that it names.
    faults: Faults,
    warnings: Faults,
    /// Faults of other files.
    elsewhere: usize,
    missing: Vec<String>,
    filled: usize,
}

pub fn run(args: &CheckArgs) -> Done {
    let folders = folders(&args.file, args.root.as_deref())?;
    let mut unread = Faults::default();
    let Some(text) = fault::read(&args.file, &mut unread) else { return Err(load::refused(&unread)) };
    let found = look(&text, &folders);
    let faults = found.faults.sorted().len();
    let warnings = found.warnings.sorted().len();
    if args.json {
        let report = json!({
            "ok": faults == 0,
            "faults": listed(&found.faults),
            "warnings": listed(&found.warnings),
            "faults_elsewhere": found.elsewhere,
            "not_set": found.missing,
        });
        text::out(&format!("{report:#}\n"));
    } else {
        text::out(&format!(
            "{}{}{}",
            found.faults.render(),
            found.warnings.render_warnings(),
            summary(&found, faults, warnings)
        ));
    }
    Ok(u8::from(faults > 0 || args.deny_warnings && warnings > 0))
}

/// The files that a binding belongs to: of the given root, of the one whose `resolvers/` it stands in, or of this folder.
pub fn folders(file: &Path, root: Option<&Path>) -> Result<Folders, Stop> {
    let above = || {
        let folder = std::path::absolute(file).ok()?.parent()?.to_owned();
        let root = folder.parent()?.to_owned();
        (folder.ends_with("resolvers") && root.join("schema").is_dir()).then_some(root)
    };
    let root = match root {
        Some(root) => root.to_owned(),
        // As it was given, where that says it: the paths that are printed should be those that were typed.
        None => match file.parent().and_then(Path::parent) {
            Some(typed) if above().is_some() && typed.join("schema").is_dir() => typed.to_owned(),
            _ => above().unwrap_or_else(|| PathBuf::from(".")),
        },
    };
    let folders = Folders { instead: Some(file.to_owned()), ..Folders::under(&root) };
    if folders.schema.is_dir() {
        return Ok(folders);
    }
    let given = folders.schema.display();
    Err(Stop::failed(format!(
        "error: there is no contract at {given}: a binding is held against one; give the folder that has schema/ with --root"
    )))
}

fn look(text: &Arc<SourceText>, folders: &Folders) -> Found {
    let environment = Environment::with_placeholders(folders);
    let mut all = Faults::default();
    let parts = Parts::load(folders, &|name| environment.get(name), &mut all);
    let names = text.text.as_str();
    let own = |fault: &Fault| is_own(fault, text, folders, parts.is_none());
    // Where there is a registry, what no file fills it may.
    let registry =
        parts.as_ref().and_then(|parts| parts.config.as_ref()).is_some_and(|config| config.registry.is_some());
    let filled_there = |fault: &Fault| registry && fault.file.path == folders.resolvers;
    let elsewhere = all.sorted().iter().filter(|fault| !own(fault) && !filled_there(fault)).count();
    all.forget(0, |fault| !own(fault));
    let mut found =
        Found { faults: all, warnings: Faults::default(), elsewhere, missing: environment.missing(), filled: 0 };
    found.missing.retain(|name| names.contains(&format!("${{{name}")));
    let read = yaml::read::<SourceFile>(text, &mut Faults::default());
    if let (Some(parts), Some(file), true) = (&parts, &read, found.faults.is_empty()) {
        found.filled = filled(parts, file);
        found.warnings = advice::warnings(parts, file, text);
        let mut gaps = parts.bindings.gaps(clock::local(jiff::Timestamp::now()).date());
        gaps.forget(0, |gap| !own(gap));
        found.warnings.extend(gaps);
    }
    found
}

/// Leaves the faults of a binding, and of what it names.
pub fn own_only(faults: &mut Faults, text: &SourceText, folders: &Folders, without_contract: bool) {
    faults.forget(0, |fault| !is_own(fault, text, folders, without_contract));
}

/// Without a contract nothing can be held against it, so its faults are told; else only those of this file, and of what
/// stands beside it and is named in it.
fn is_own(fault: &Fault, text: &SourceText, folders: &Folders, without_contract: bool) -> bool {
    let path = &fault.file.path;
    let beside = path.parent() == text.path.parent() && path.extension().is_none_or(|extension| extension != "yaml");
    let named = path.file_name().and_then(|name| name.to_str()).is_some_and(|name| text.text.contains(name));
    without_contract && path.starts_with(&folders.schema) || *path == text.path || beside && named
}

/// Slots of the contract that a binding answers for.
fn filled(parts: &Parts, file: &SourceFile) -> usize {
    let own = |slot: &&Slot| {
        let provider = parts.bindings.provider(slot.id).map(|endpoint| parts.bindings.endpoint(endpoint));
        provider.is_some_and(|endpoint| *parts.bindings.source(endpoint.source).id == *file.source.value)
    };
    parts.contract.slots.iter().filter(own).count()
}

fn summary(found: &Found, faults: usize, warnings: usize) -> String {
    let counted = |count: usize, name: &str| format!("{count} {name}{}", if count == 1 { "" } else { "s" });
    let mut out = match (faults, warnings) {
        (0, 0) => format!("No faults, no warnings; {} filled.\n", counted(found.filled, "slot")),
        (0, count) => format!("No faults, {}; {} filled.\n", counted(count, "warning"), counted(found.filled, "slot")),
        (count, _) => format!("{}; warnings are told once there are none.\n", counted(count, "fault")),
    };
    if found.elsewhere > 0 {
        out.push_str(&format!(
            "{} in other files of the root, which `huxiang check` tells.\n",
            counted(found.elsewhere, "fault")
        ));
    }
    if !found.missing.is_empty() {
        out.push_str(&format!(
            "{} not set here and taken as placeholders: {}\n",
            counted(found.missing.len(), "variable"),
            load::listed(&load::alike(&found.missing))
        ));
    }
    out
}
