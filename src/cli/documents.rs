//! `huxiang documents`: trusted documents, checked, planned and put into their folder.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, Subcommand};

use super::schema::unknown_role;
use super::{Done, RootArgs, Stop, load, text};
use crate::answer::estimates_of;
use crate::base::fault::{self, Faults, SourceText};
use crate::model::documents::{self, digest};
use crate::model::snapshot::Snapshot;

#[derive(Debug, Args)]
pub struct DocumentsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Check documents and put each into the folder under the SHA-256 of its text
    Add {
        #[command(flatten)]
        root: RootArgs,
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
    /// Check documents against the contract, plan them, and show what each would cost in calls to departments
    Check {
        #[command(flatten)]
        root: RootArgs,
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Plan for this role; may be given more than once. For all roles together, where it is not given
        #[arg(long, value_name = "ROLE")]
        role: Vec<String>,
    },
    /// Show the documents of the folder
    List {
        #[command(flatten)]
        root: RootArgs,
    },
}

pub fn run(args: &DocumentsArgs) -> Done {
    match &args.command {
        Command::Add { root, files } => add(&load::to_look_at(root)?, files),
        Command::Check { root, files, role } => check(&load::to_look_at(root)?, files, role),
        Command::List { root } => list(&load::to_look_at(root)?),
    }
}

fn add(snapshot: &Snapshot, files: &[PathBuf]) -> Done {
    let Some(folder) = &snapshot.config.graphql.trusted_documents else {
        return Err(Stop::failed("error: config/gateway.yaml names no folder: set `graphql.trusted_documents`"));
    };
    let files = valid(snapshot, files)?;
    for file in &files {
        estimates(snapshot, file, &all(snapshot))?;
    }
    let failed = |path: &Path, error: std::io::Error| Stop::failed(format!("error: {}: {error}", path.display()));
    for file in &files {
        let id = digest(&file.text);
        let path = folder.join(format!("{id}.graphql"));
        std::fs::write(&path, &file.text).map_err(|error| failed(&path, error))?;
        text::out(&format!("{id}  {}\n", file.path.display()));
    }
    Ok(0)
}

fn check(snapshot: &Snapshot, files: &[PathBuf], roles: &[String]) -> Done {
    let mut grants = Vec::new();
    for name in roles {
        grants.extend(
            &snapshot.access.role(name).ok_or_else(|| unknown_role(snapshot.access.role_names(), name))?.grants,
        );
    }
    let grants = if roles.is_empty() { all(snapshot) } else { grants };
    for file in &valid(snapshot, files)? {
        print(snapshot, &digest(&file.text), &file.text, &estimates(snapshot, file, &grants)?);
    }
    Ok(0)
}

fn list(snapshot: &Snapshot) -> Done {
    let documents = snapshot.documents.all();
    if documents.is_empty() {
        text::out("There are no trusted documents.\n");
    }
    for (id, document) in documents {
        let estimates = estimates_of(snapshot, document, all(snapshot)).unwrap_or_default();
        print(snapshot, id, document, &estimates);
    }
    Ok(0)
}

/// The files' texts; every fault of every file at once otherwise.
fn valid(snapshot: &Snapshot, files: &[PathBuf]) -> Result<Vec<Arc<SourceText>>, Stop> {
    let mut faults = Faults::default();
    let texts: Vec<Arc<SourceText>> = files.iter().filter_map(|path| fault::read(path, &mut faults)).collect();
    for file in &texts {
        documents::check(file, &snapshot.contract, &snapshot.config.limits, &mut faults);
    }
    if faults.is_empty() { Ok(texts) } else { Err(Stop { code: 1, ..load::refused(&faults) }) }
}

/// Operations with the calls they are reckoned to take.
fn estimates(snapshot: &Snapshot, file: &SourceText, grants: &[usize]) -> Result<Vec<(String, usize)>, Stop> {
    estimates_of(snapshot, &file.text, grants.to_vec())
        .map_err(|error| Stop::refused(format!("{}: {}: {}", file.path.display(), error.code, error.message)))
}

fn all(snapshot: &Snapshot) -> Vec<usize> {
    (0..snapshot.access.grants.len()).collect()
}

fn print(snapshot: &Snapshot, id: &str, document: &str, estimates: &[(String, usize)]) {
    let too_many = snapshot.config.limits.upstream_calls_max;
    text::out(&format!("{id}  {} bytes\n", document.len()));
    for (operation, calls) in estimates {
        let refused = if *calls > too_many { format!(": refused, {too_many} are allowed") } else { String::new() };
        text::out(&format!("  {operation:<32} about {calls} calls{refused}\n"));
    }
}
