//! `audit:` of `config/gateway.yaml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ClaimType;
use super::format::AuditEntry;
use super::reader::Reader;
use super::watch::Recorded;
use crate::model::yaml;

/// Where and how audit records are kept.
#[derive(Clone)]
pub struct AuditConfig {
    /// An SQLite file, the first segment; later ones stand beside it.
    pub store: PathBuf,
    /// The key of the digests that stand in the records for ids, arguments and answers.
    pub key: Arc<[u8]>,
    /// What new segments are chained with.
    pub hash: ChainHash,
    /// A new segment is begun when the open one is this large…
    pub rotate_mb: u32,
    /// …and with each month.
    pub rotate_monthly: bool,
    /// What of a principal's claims is recorded.
    pub recorded: Recorded,
}

impl AuditConfig {
    /// With all else at its default.
    pub fn new(store: &Path, key: &[u8]) -> Self {
        Self {
            store: store.to_path_buf(),
            key: key.into(),
            hash: ChainHash::default(),
            rotate_mb: 1_024,
            rotate_monthly: true,
            recorded: Recorded::default(),
        }
    }

    pub fn rotate_bytes(&self) -> u64 {
        u64::from(self.rotate_mb) << 20
    }
}

impl std::fmt::Debug for AuditConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuditConfig").field("store", &self.store).finish_non_exhaustive()
    }
}

/// What records are chained with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ChainHash {
    #[default]
    Sha256,
    /// GB/T 32905, where national algorithms are demanded.
    Sm3,
}

impl ChainHash {
    /// As it stands in the configuration and in the records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sm3 => "sm3",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        [Self::Sha256, Self::Sm3].into_iter().find(|algorithm| algorithm.as_str() == name)
    }
}

impl Reader<'_> {
    pub(super) fn audit(&mut self, entry: &AuditEntry, claims: &BTreeMap<String, ClaimType>) -> AuditConfig {
        let key = self.fill(&entry.key);
        if key.len() < 32 {
            self.fault(&entry.key, "the audit key is shorter than 32 bytes", "make one: `openssl rand -hex 32`");
        }
        let mut audit = AuditConfig::new(&self.path(&entry.store), key.as_bytes());
        if let Some(at) = &entry.hash {
            match ChainHash::named(&at.value) {
                Some(hash) => audit.hash = hash,
                None => self.fault(at, format!("`{}` is no hash of the audit chain", at.value), "write sha256 or sm3"),
            }
        }
        if let Some(at) = &entry.rotate_mb {
            if at.value == 0 {
                let hint = "write the size of a segment in MiB, as 1024";
                self.faults.add(self.text, yaml::span(at), "a segment needs room", hint);
            }
            audit.rotate_mb = at.value;
        }
        audit.recorded = Recorded::read(entry, claims, self.text, self.faults);
        audit.rotate_monthly = entry.rotate_monthly.unwrap_or(audit.rotate_monthly);
        audit
    }
}
