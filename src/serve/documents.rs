//! Trusted documents: operations known beforehand, named by the SHA-256 of their text.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// The documents of one folder.
#[derive(Debug, Default)]
pub struct Documents {
    by_id: HashMap<String, Arc<str>>,
}

impl Documents {
    /// Reads every `<sha256>.graphql`. The error names the first file that is not what its name says.
    pub fn load(folder: &Path) -> Result<Self, String> {
        let fault = |e: std::io::Error| format!("trusted documents in {}: {e}", folder.display());
        let mut by_id = HashMap::new();
        for entry in std::fs::read_dir(folder).map_err(fault)? {
            let path = entry.map_err(fault)?.path();
            if path.extension().is_none_or(|extension| extension != "graphql") {
                continue;
            }
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            let id = digest(&text);
            if path.file_stem().is_none_or(|stem| stem != id.as_str()) {
                return Err(format!("{}: the text's SHA-256 is {id}; rename the file to {id}.graphql", path.display()));
            }
            by_id.insert(id, text.into());
        }
        Ok(Self { by_id })
    }

    pub fn get(&self, id: &str) -> Option<&Arc<str>> {
        self.by_id.get(id.strip_prefix("sha256:").unwrap_or(id))
    }

    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
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
