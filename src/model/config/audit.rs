//! `audit:` of `config/gateway.yaml`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::egress::EgressConfig;
use super::format::{AuditEntry, CheckpointEntry};
use super::reader::Reader;
use super::watch::Recorded;
use super::{ClaimType, Pem};
use crate::model::yaml::{self, Spanned};

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
    /// What is recorded of who asked and what for.
    pub recorded: Recorded,
    /// Segments are kept for so long; they are removed only where checkpoints are kept in a folder.
    pub retention_months: u32,
    pub checkpoints: Option<CheckpointConfig>,
}

/// Where signed checkpoints go: a folder, a URL, or both; into both before a checkpoint counts.
#[derive(Debug, Clone)]
pub struct CheckpointConfig {
    pub directory: Option<PathBuf>,
    pub url: Option<String>,
    /// The operator's bounds of where the URL may lead.
    pub egress: EgressConfig,
    /// An Ed25519 private key.
    pub key: Pem,
    pub every_records: u32,
    pub every_seconds: u32,
    /// Nothing is answered once checkpoints have failed for so long; `None`: that alone stops nothing.
    pub refuse_after_seconds: Option<u32>,
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
            retention_months: 36,
            checkpoints: None,
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
    pub(super) fn audit(
        &mut self,
        entry: &AuditEntry,
        claims: &BTreeMap<String, ClaimType>,
        egress: &EgressConfig,
    ) -> AuditConfig {
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
        audit.recorded = Recorded::read(entry, claims, self.text, self.faults);
        audit.rotate_mb = self.number(entry.rotate_mb.as_ref(), audit.rotate_mb);
        audit.rotate_monthly = entry.rotate_monthly.unwrap_or(audit.rotate_monthly);
        audit.retention_months = self.number(entry.retention_months.as_ref(), audit.retention_months);
        audit.checkpoints = match &entry.checkpoints {
            Some(checkpoints) => self.checkpoints(checkpoints, entry.retention_months.as_ref(), egress),
            None => None,
        };
        audit
    }

    fn checkpoints(
        &mut self,
        entry: &CheckpointEntry,
        months: Option<&Spanned<u32>>,
        egress: &EgressConfig,
    ) -> Option<CheckpointConfig> {
        let key = self.pem(&entry.key);
        let url = entry.url.as_ref().and_then(|at| {
            let text = self.fill(at);
            self.url(at, text, egress)
        });
        if entry.directory.is_none() && entry.url.is_none() {
            let hint = "give `directory`, a folder on another machine's storage, or `url`, or both";
            self.fault(&entry.key, "checkpoints have no place to go to", hint);
            return None;
        }
        if let (None, Some(months)) = (&entry.directory, months) {
            let hint = "give `checkpoints.directory` too: what a removal left is verified against the signed cut kept \
                        there; or leave `retention_months` out, and nothing is removed";
            self.faults.add(
                self.text,
                yaml::span(months),
                "segments cannot be removed without a folder of checkpoints",
                hint,
            );
        }
        Some(CheckpointConfig {
            directory: entry.directory.as_ref().map(|at| self.path(at)),
            url,
            egress: egress.clone(),
            key,
            every_records: self.number(entry.every_records.as_ref(), 1_000),
            every_seconds: self.number(entry.every_seconds.as_ref(), 60),
            refuse_after_seconds: entry.refuse_after_seconds,
        })
    }

    /// A number that is not 0.
    fn number(&mut self, at: Option<&Spanned<u32>>, default: u32) -> u32 {
        let Some(at) = at else { return default };
        if at.value == 0 {
            let hint = format!("write a number from 1, or leave it out for {default}");
            self.faults.add(self.text, yaml::span(at), "this must be 1 or more", hint);
        }
        at.value
    }
}
