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

impl Folders {
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
