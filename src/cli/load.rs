//! The files → a snapshot, with variables from the environment.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{RootArgs, Stop};
use crate::base::fault::Faults;
use crate::model::config::GatewayConfig;
use crate::model::snapshot::{Folders, Snapshot};
use crate::registry::{self, Set};
use crate::serve::reload::Beginning;

/// How often files that change while they are read are read once more.
const TRIES_MAX: usize = 3;

/// Stands for a key, a certificate or a name that is not set: long enough for keys, and looks like PEM.
pub const PLACEHOLDER: &str = "-----BEGIN PLACEHOLDER-----not set-----END PLACEHOLDER-----";

/// The folders the arguments name.
pub fn folders(args: &RootArgs) -> Folders {
    let mut folders = Folders::under(&args.root);
    if let Some(config) = &args.config {
        folders.config.clone_from(config);
    }
    folders
}

/// Reads all files, and the registry where the configuration has one; every fault at once otherwise.
pub fn load(folders: &Folders, variables: &dyn Fn(&str) -> Option<String>) -> Result<Snapshot, Faults> {
    let mut faults = Faults::default();
    let published = |config: &GatewayConfig| Ok(published(config, folders)?.bindings);
    Snapshot::load_with(folders, published, variables, &mut faults).ok_or(faults)
}

/// The same, with what a gateway that serves it begins with.
pub fn load_to_serve(
    folders: &Folders,
    variables: &dyn Fn(&str) -> Option<String>,
) -> Result<(Snapshot, Beginning), Faults> {
    let mut tries = 0;
    loop {
        let (mut faults, mut beginning) = (Faults::default(), None);
        let settings = folders.settings();
        let published = |config: &GatewayConfig| {
            let seen = folders.seen(config.graphql.trusted_documents.as_deref());
            let set = published(config, folders)?;
            beginning = Some(Beginning { seen, revision: set.revision });
            Ok(set.bindings)
        };
        let loaded = Snapshot::load_with(folders, published, variables, &mut faults);
        let (Some(snapshot), Some(beginning)) = (loaded, beginning) else { return Err(faults) };
        let digest = folders.digest(snapshot.config.graphql.trusted_documents.as_deref());
        tries += 1;
        // What changed meanwhile was perhaps read half. Where it goes on changing, the first look takes it.
        if beginning.seen.digest == digest && beginning.seen.settings == settings || tries >= TRIES_MAX {
            return Ok((snapshot, beginning));
        }
    }
}

/// Whoever loads may be within a runtime or not: the registry is read in one of its own.
fn published(config: &GatewayConfig, folders: &Folders) -> Result<Set, String> {
    if config.registry.is_none() {
        return Ok(Set::default());
    }
    let read = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(registry::published(config, folders))
    };
    std::thread::scope(|scope| scope.spawn(read).join())
        .unwrap_or_else(|_| Err("the registry cannot be read".to_owned()))
}

/// A snapshot to look at, not to serve from: variables that are not set have placeholders.
pub fn to_look_at(args: &RootArgs) -> Result<Snapshot, Stop> {
    let folders = folders(args);
    let environment = Environment::with_placeholders(&folders);
    load(&folders, &|name| environment.get(name)).map_err(|faults| refused(&faults))
}

/// A snapshot to serve from, every variable set, and what it was made of.
pub fn to_serve(args: &RootArgs) -> Result<(Snapshot, Beginning), Stop> {
    let folders = folders(args);
    // With placeholders first: one unset variable should not look like a hundred faults.
    let environment = Environment::with_placeholders(&folders);
    let loaded = load_to_serve(&folders, &|name| environment.get(name)).map_err(|faults| refused(&faults))?;
    let missing = environment.missing();
    if missing.is_empty() { Ok(loaded) } else { Err(Stop::failed(not_set(&missing))) }
}

/// Variables that the files name and the environment does not set.
pub fn not_set(missing: &[String]) -> String {
    let (verb, s) = if missing.len() == 1 { ("is", "") } else { ("are", "s") };
    format!(
        "error: {} variable{s} {verb} not set in the environment:\n  {}\nSet what the files name: export {}=…",
        missing.len(),
        listed(&alike(missing)),
        missing.first().map_or("NAME", String::as_str)
    )
}

/// All faults, rendered, with their number at the end.
pub fn refused(faults: &Faults) -> Stop {
    let count = faults.sorted().len();
    Stop::failed(format!("{}{count} fault{}", faults.render(), if count == 1 { "" } else { "s" }))
}

/// Environment variables, and for those that are not set a value of the form their place in the files asks for.
pub struct Environment {
    /// By name; `None`: the file gives a default.
    placeholders: BTreeMap<String, Option<String>>,
    missing: Mutex<BTreeSet<String>>,
}

impl Environment {
    pub fn with_placeholders(folders: &Folders) -> Self {
        let mut placeholders = BTreeMap::new();
        let further = std::iter::once(folders.config.join("gateway.yaml")).chain(folders.instead.clone());
        for path in files(&folders.resolvers).into_iter().chain(further) {
            if let Ok(text) = std::fs::read_to_string(&path) {
                scan(&text, &mut placeholders);
            }
        }
        Self { placeholders, missing: Mutex::default() }
    }

    pub fn get(&self, name: &str) -> Option<String> {
        if let Ok(value) = std::env::var(name) {
            return Some(value);
        }
        let placeholder = match self.placeholders.get(name) {
            Some(None) => return None,
            Some(Some(known)) => known.clone(),
            // Of a published binding: its text is not looked through.
            None if name.to_uppercase().contains("URL") => "http://placeholder.invalid".to_owned(),
            None => PLACEHOLDER.to_owned(),
        };
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
        Some(placeholder)
    }

    /// Names that were asked for, are not set and had a placeholder.
    pub fn missing(&self) -> Vec<String> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }
}

/// Names that differ in a number only are told once: `BANK_*_KEY (73)`.
pub fn alike(names: &[String]) -> Vec<String> {
    let mut counts: BTreeMap<String, (usize, &str)> = BTreeMap::new();
    for name in names {
        let mut pattern = String::new();
        for c in name.chars() {
            match c {
                '0'..='9' if pattern.ends_with('*') => {}
                '0'..='9' => pattern.push('*'),
                c => pattern.push(c),
            }
        }
        counts.entry(pattern).or_insert((0, name)).0 += 1;
    }
    counts
        .into_iter()
        .map(|(pattern, (count, name))| if count == 1 { name.to_owned() } else { format!("{pattern} ({count})") })
        .collect()
}

/// Comma-separated, broken at about 100 columns.
pub fn listed(names: &[String]) -> String {
    let mut out = String::new();
    let mut column = 0;
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            out.push(',');
            if column + name.len() > 96 {
                out.push_str("\n  ");
                column = 0;
            } else {
                out.push(' ');
            }
        }
        out.push_str(name);
        column += name.len() + 2;
    }
    out
}

fn files(folder: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(folder)
        .map(|entries| entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect())
        .unwrap_or_default()
}

/// Which form each `${NAME}` of a file has to have.
fn scan(text: &str, placeholders: &mut BTreeMap<String, Option<String>>) {
    let sql = text.lines().any(|line| line.split('#').next().unwrap_or("").replace(' ', "") == "protocol:sql");
    for line in text.lines().filter(|line| !line.trim_start().starts_with('#')) {
        let mut rest = line;
        while let Some((_, after)) = rest.split_once("${") {
            let Some((inside, tail)) = after.split_once('}') else { break };
            let before = line.strip_suffix(after).and_then(|before| before.strip_suffix("${")).unwrap_or_default();
            rest = tail;
            if let Some((name, _)) = inside.split_once(":-") {
                placeholders.insert(name.to_owned(), None);
                continue;
            }
            let form = if before.contains("://") {
                // A host, port or path within an address: `1` is all of them.
                "1".to_owned()
            } else if before.trim_end().ends_with("base_url:") && sql {
                "sqlite:placeholder.sqlite".to_owned()
            } else if inside.contains("URL") || before.trim_end().ends_with("url:") {
                "http://placeholder.invalid".to_owned()
            } else {
                PLACEHOLDER.to_owned()
            };
            placeholders.entry(inside.to_owned()).or_insert(Some(form));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_have_the_form_their_place_asks_for() {
        let mut found = BTreeMap::new();
        scan("protocol: sql\nbase_url: ${DB}\n", &mut found);
        scan("base_url: ${X_URL}\nsign: {secret: ${S}}\n# ${NOT}\n", &mut found);
        scan("listen: ${L:-127.0.0.1:1}\nbase_url: https://${HOST}:${PORT}/x\n", &mut found);
        let form = |name: &str| found.get(name).cloned().flatten();
        assert_eq!(form("DB").as_deref(), Some("sqlite:placeholder.sqlite"));
        assert_eq!(form("X_URL").as_deref(), Some("http://placeholder.invalid"));
        assert_eq!(form("S").as_deref(), Some(PLACEHOLDER));
        assert_eq!(form("HOST").as_deref(), Some("1"));
        assert_eq!(form("PORT").as_deref(), Some("1"));
        assert_eq!(found.get("L"), Some(&None));
        assert!(!found.contains_key("NOT"));
    }
}
