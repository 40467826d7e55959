//! `huxiang source import`: a description of a system → a draft of its binding.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::super::{Done, Stop, load, text};
use super::{describe, show};
use crate::base::fault::{self, Faults};
use crate::draft::{self, Draft, Wanted};
use crate::model::contract::{self, Contract};

#[derive(Debug, Args)]
pub struct ImportArgs {
    /// The description: a file (OpenAPI, GraphQL SDL or introspection, WSDL, a SQL schema), or the address of a GraphQL server
    file: String,
    /// The source's id: lower-case letters, digits and `-`
    #[arg(long, value_name = "ID")]
    source: String,
    /// The department's name, as people read it
    #[arg(long)]
    title: String,
    /// The entity that the operations are about, of the contract or a new one; without it, entities are found in the document
    #[arg(long, requires = "key", value_name = "TYPE")]
    entity: Option<String>,
    /// A parameter (or column) that holds the entity's key, or the value of one of its fields; without --entity, which field of the
    /// records it is the value of. May be given more than once
    #[arg(long, value_name = "PARAMETER[=FIELD]")]
    key: Vec<String>,
    /// Only operations whose path begins so, or tables whose name does
    #[arg(long, value_name = "PATH")]
    only: Option<String>,
    /// The folder whose schema/ the draft is laid beside, where there is one; without it, that of --out
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Write DIR/resolvers/ID.yaml and DIR/schema/ID.graphql instead of standard output; files that are there are kept
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the draft, and what was bound and left out, as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &ImportArgs) -> Done {
    let id = &args.source;
    let fits = id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if !fits {
        return Err(Stop::failed(format!(
            "error: `{id}` is not a source id: a lower-case letter, then lower-case letters, digits and `-`"
        )));
    }
    if let (None, Some(key)) = (&args.entity, args.key.iter().find(|key| !key.contains('='))) {
        return Err(Stop::failed(format!(
            "error: `--key {key}` does not say which field of the records `{key}` is the value of: --key {key}=FIELD; or \
             name the entity with --entity"
        )));
    }
    let mut faults = Faults::default();
    // What is written beside a contract goes with it.
    let contract = args.root.as_ref().or(args.out.as_ref()).and_then(|root| beside(root, &mut faults));
    let file = match args.file.starts_with("http://") || args.file.starts_with("https://") {
        true => Some(describe::ask(&args.file)?),
        false => fault::read(Path::new(&args.file), &mut faults),
    };
    let Some(file) = file.filter(|_| faults.is_empty()) else { return Err(load::refused(&faults)) };
    let wanted = Wanted {
        source: id.clone(),
        title: args.title.clone(),
        entity: args.entity.clone(),
        keys: args.key.iter().map(|key| key_of(key)).collect(),
        only: args.only.clone(),
    };
    let mut warnings = Faults::default();
    let draft = draft::draft(&file, &wanted, contract.as_ref(), &mut faults, &mut warnings);
    let Some(draft) = draft.filter(|_| faults.is_empty()) else { return Err(load::refused(&faults)) };
    if !warnings.is_empty() {
        text::note(warnings.render_warnings().trim_end());
    }
    let names = [format!("resolvers/{id}.yaml"), format!("schema/{id}.graphql")];
    if let Some(out) = &args.out {
        for (name, text) in names.iter().zip([&draft.binding, &draft.contract]) {
            keep(&out.join(name), text)?;
        }
    }
    match (&args.out, args.json) {
        (_, true) => text::out(&format!("{:#}\n", as_json(&draft, &names))),
        (None, false) => {
            text::out(&format!("# {}\n{}\n# {}\n{}", names[0], draft.binding, names[1], draft.contract));
        }
        (Some(_), false) => {}
    }
    text::note(&format!(
        "{} bound, {} left out; {} to decide, each marked `# decide:`",
        show::counted(draft.bound.len(), "operation"),
        draft.left_out.len(),
        show::counted(draft.decisions, "place")
    ));
    Ok(0)
}

fn key_of(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((name, field)) => (name.to_owned(), Some(field.to_owned())),
        None => (text.to_owned(), None),
    }
}

/// The contract under a root; none where it has no `schema/` yet.
fn beside(root: &Path, faults: &mut Faults) -> Option<Contract> {
    let folder = root.join("schema");
    if folder.is_dir() { contract::load::load(&folder, faults) } else { None }
}

/// Writes a file that is not there yet.
fn keep(path: &Path, text: &str) -> Result<(), Stop> {
    use std::io::Write as _;
    let failed = |error: std::io::Error| {
        let told = match error.kind() {
            std::io::ErrorKind::AlreadyExists => "it is there already: move it away, or give another --out".to_owned(),
            _ => error.to_string(),
        };
        Stop::failed(format!("error: {} cannot be written: {told}", path.display()))
    };
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new("."))).map_err(failed)?;
    let mut file = std::fs::File::create_new(path).map_err(failed)?;
    file.write_all(text.as_bytes()).map_err(failed)
}

fn as_json(draft: &Draft, names: &[String; 2]) -> serde_json::Value {
    let [binding, contract] = names;
    let bound: Vec<_> =
        draft.bound.iter().map(|bound| json!({"operation": bound.operation, "place": bound.place})).collect();
    let left_out: Vec<_> = draft.left_out.iter().map(|(name, why)| json!({"operation": name, "why": why})).collect();
    json!({
        "files": {binding: draft.binding, contract: draft.contract},
        "bound": bound,
        "left_out": left_out,
        "decisions": draft.decisions,
    })
}
