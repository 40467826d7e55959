//! The files that a snapshot is made of: whether they were changed, and the digest by which a version of them is known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::snapshot::Folders;

/// Folders within folders are looked into so deep.
const DEPTH_MAX: usize = 8;
/// No more files than these are looked at.
const FILES_MAX: usize = 10_000;

/// What the file system says of the files: it differs where one was changed, added or removed. Cheap to take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp(BTreeMap<PathBuf, (u64, Option<SystemTime>)>);

/// The files at one moment: taken before they are loaded, so that what changes meanwhile is a change.
#[derive(Debug, Clone)]
pub struct Seen {
    pub stamp: Stamp,
    pub digest: String,
    /// The text of `gateway.yaml`.
    pub settings: String,
}

impl Folders {
    /// The text of `gateway.yaml` now; empty where there is none.
    pub fn settings(&self) -> String {
        std::fs::read_to_string(self.config.join("gateway.yaml")).unwrap_or_default()
    }

    /// All that is known of the files now; `further` as for [`Self::stamp`].
    pub fn seen(&self, further: Option<&Path>) -> Seen {
        Seen { stamp: self.stamp(further), digest: self.digest(further), settings: self.settings() }
    }

    /// The files as they are now; `further` are folders beside these (trusted documents).
    pub fn stamp(&self, further: Option<&Path>) -> Stamp {
        let mut found = BTreeMap::new();
        for folder in [&*self.schema, &*self.resolvers, &*self.config].into_iter().chain(further) {
            walk(folder, DEPTH_MAX, &mut found);
        }
        Stamp(found)
    }

    /// SHA-256, hex, of all files' paths and contents. A file that cannot be read counts as empty: loading says so.
    pub fn digest(&self, further: Option<&Path>) -> String {
        let mut hash = Sha256::new();
        for (path, _) in self.stamp(further).0 {
            let content = std::fs::read(&path).unwrap_or_default();
            let name = path.to_string_lossy();
            for part in [name.as_bytes(), &content] {
                hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
                hash.update(part);
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

fn walk(folder: &Path, depth: usize, found: &mut BTreeMap<PathBuf, (u64, Option<SystemTime>)>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for path in entries.filter_map(|entry| entry.ok().map(|entry| entry.path())) {
        // Follows links: mounted configuration is switched by one.
        let Ok(about) = std::fs::metadata(&path) else { continue };
        if found.len() >= FILES_MAX {
            return;
        }
        match (about.is_dir(), depth.checked_sub(1)) {
            (true, Some(depth)) => walk(&path, depth, found),
            (true, None) => {}
            (false, _) => {
                found.insert(path, (about.len(), about.modified().ok()));
            }
        }
    }
}
