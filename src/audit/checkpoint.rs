//! Signed checkpoints: where the chain stood, at a time, under a key. Kept elsewhere, they show a tail that was cut off
//! and a chain that was written anew.
//!
//! A checkpoint is one line of JSON. Signed is the text that [`Checkpoint::signed_text`] makes, so that other tools can
//! check it too.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer};
use serde::{Deserialize, Serialize};

use super::key::hex;
use super::segment::sync_folder;

/// Bytes of one line; no checkpoint is longer.
const LINE_BYTES_MAX: usize = 4 << 10;
/// What a public key's DER begins with (RFC 8410).
const SPKI_PREFIX: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    pub v: u32,
    /// The store's id.
    pub store: String,
    pub segment: u32,
    /// The newest record then, and its hash (hex).
    pub seq: i64,
    pub algorithm: String,
    pub hash: String,
    pub time: String,
    /// Segments past their time that were about to be removed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub removed: Option<Removed>,
    /// The key's id: the first 16 digits of the SHA-256 of the public key.
    pub key: String,
    /// Ed25519, base64.
    pub signature: String,
}

/// The last record of the last segment that was removed; the chain now begins after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Removed {
    pub segment: u32,
    pub seq: i64,
    pub hash: String,
}

impl Checkpoint {
    /// What the signature is over.
    pub fn signed_text(&self) -> String {
        let Self { v, store, segment, seq, algorithm, hash, time, removed, key, .. } = self;
        let removed = removed
            .as_ref()
            .map_or_else(|| "-".to_owned(), |removed| format!("{} {} {}", removed.segment, removed.seq, removed.hash));
        format!(
            "huxiang audit checkpoint {v}\nstore {store}\nsegment {segment}\nseq {seq}\n{algorithm} {hash}\ntime {time}\nremoved {removed}\nkey {key}\n"
        )
    }
}

/// Signs checkpoints.
#[derive(Clone)]
pub struct Signer {
    key: Arc<Ed25519KeyPair>,
    id: Arc<str>,
}

impl Signer {
    /// From a private key as PEM (PKCS#8). The error says what to do and nothing of the key.
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let wrong = |_| "the checkpoint key is no Ed25519 private key in PEM; make one: `huxiang audit keygen FILE`";
        let der = PrivateKeyDer::from_pem_slice(pem).map_err(|_| wrong(()))?;
        let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(der.secret_der()).map_err(|_| wrong(()))?;
        let id = key_id(key.public_key().as_ref());
        Ok(Self { key: Arc::new(key), id: id.into() })
    }

    pub fn public_key(&self) -> PublicKey {
        PublicKey { id: self.id.to_string(), bytes: self.key.public_key().as_ref().to_vec() }
    }

    pub(super) fn sign(&self, unsigned: Checkpoint) -> Checkpoint {
        let mut checkpoint = Checkpoint { key: self.id.to_string(), ..unsigned };
        checkpoint.signature = STANDARD.encode(self.key.sign(checkpoint.signed_text().as_bytes()));
        checkpoint
    }
}

/// Checks checkpoints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    pub id: String,
    bytes: Vec<u8>,
}

impl PublicKey {
    /// From PEM (`BEGIN PUBLIC KEY`).
    pub fn from_pem(pem: &[u8]) -> Result<Self, String> {
        let wrong = "this is no Ed25519 public key in PEM; `huxiang audit keygen` writes one beside the private key";
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(|_| wrong)?;
        let bytes = der.strip_prefix(&SPKI_PREFIX).filter(|key| key.len() == 32).ok_or(wrong)?;
        Ok(Self { id: key_id(bytes), bytes: bytes.to_vec() })
    }

    pub fn to_pem(&self) -> String {
        pem("PUBLIC KEY", &[SPKI_PREFIX.as_slice(), &self.bytes].concat())
    }

    pub fn has_signed(&self, checkpoint: &Checkpoint) -> bool {
        let Ok(signature) = STANDARD.decode(&checkpoint.signature) else { return false };
        let key = UnparsedPublicKey::new(&ED25519, &self.bytes);
        self.id == checkpoint.key && key.verify(checkpoint.signed_text().as_bytes(), &signature).is_ok()
    }
}

/// A new private key as PEM.
pub fn new_key() -> Result<String, String> {
    let key = Ed25519KeyPair::generate().and_then(|key| key.to_pkcs8v1()).map_err(|_| "no key can be made")?;
    Ok(pem("PRIVATE KEY", key.as_ref()))
}

fn key_id(public_key: &[u8]) -> String {
    hex(digest(&SHA256, public_key).as_ref()).chars().take(16).collect()
}

fn pem(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let lines: Vec<&str> = text.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

/// The file in which checkpoints of a store and month are kept.
fn file_of(folder: &Path, checkpoint: &Checkpoint) -> PathBuf {
    let month = checkpoint.time.get(..7).unwrap_or("undated");
    folder.join(format!("{}.{month}.jsonl", checkpoint.store))
}

/// Adds a checkpoint to a folder; when this returns, it is durable there.
pub(super) fn append(folder: &Path, checkpoint: &Checkpoint) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let path = file_of(folder, checkpoint);
    let is_new = !path.exists();
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create(true).read(true);
    let mut file = options.open(&path)?;
    // A line that a crash cut short must not run into this one: empty lines are nothing.
    let line = format!("\n{}\n", serde_json::to_string(checkpoint)?);
    file.write_all(line.as_bytes())?;
    file.sync_all()?;
    if is_new { sync_folder(&path) } else { Ok(()) }
}

/// What a folder of checkpoints holds.
#[derive(Debug, Default)]
pub struct Kept {
    /// By store id, in the order of their records.
    pub by_store: BTreeMap<String, Vec<Checkpoint>>,
    /// Checkpoints that none of the keys has signed: file and line.
    pub unsigned: Vec<String>,
    /// Lines that are no checkpoint (a crash can leave one): file and line.
    pub unreadable: Vec<String>,
}

/// Reads all checkpoints of a folder, and checks their signatures.
pub fn read(folder: &Path, keys: &[PublicKey]) -> std::io::Result<Kept> {
    let mut kept = Kept::default();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<std::io::Result<Vec<_>>>()?;
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    for path in files {
        let text = String::from_utf8_lossy(&std::fs::read(&path)?).into_owned();
        for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
            let place = || format!("{}:{}", path.display(), at + 1);
            let read = Some(line).filter(|line| line.len() <= LINE_BYTES_MAX);
            match read.and_then(|line| serde_json::from_str::<Checkpoint>(line).ok()) {
                None => kept.unreadable.push(place()),
                Some(checkpoint) if keys.iter().any(|key| key.has_signed(&checkpoint)) => {
                    kept.by_store.entry(checkpoint.store.clone()).or_default().push(checkpoint);
                }
                Some(_) => kept.unsigned.push(place()),
            }
        }
    }
    kept.by_store.values_mut().for_each(|checkpoints| checkpoints.sort_by_key(|checkpoint| checkpoint.seq));
    Ok(kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkpoint() -> Checkpoint {
        Checkpoint {
            v: 1,
            store: "s".to_owned(),
            segment: 2,
            seq: 7,
            algorithm: "sm3".to_owned(),
            hash: "ab".to_owned(),
            time: "2026-11-22T00:00:00.000+08:00".to_owned(),
            removed: Some(Removed { segment: 1, seq: 3, hash: "cd".to_owned() }),
            key: String::new(),
            signature: String::new(),
        }
    }

    #[test]
    fn only_its_own_key_and_its_own_text_fit_a_signature() {
        let signer = Signer::from_pem(new_key().unwrap().as_bytes()).unwrap();
        let signed = signer.sign(checkpoint());
        let public = PublicKey::from_pem(signer.public_key().to_pem().as_bytes()).unwrap();
        assert!(public.has_signed(&signed));
        let other = Signer::from_pem(new_key().unwrap().as_bytes()).unwrap().public_key();
        assert!(!other.has_signed(&signed));
        assert!(!other.has_signed(&Checkpoint { key: other.id.clone(), ..signed.clone() }));
        for changed in [
            Checkpoint { seq: 8, ..signed.clone() },
            Checkpoint { hash: "ac".to_owned(), ..signed.clone() },
            Checkpoint { store: "t".to_owned(), ..signed.clone() },
            Checkpoint { segment: 3, ..signed.clone() },
            Checkpoint { algorithm: "sha256".to_owned(), ..signed.clone() },
            Checkpoint { time: "2025".to_owned(), ..signed.clone() },
            Checkpoint { removed: None, ..signed.clone() },
            Checkpoint { signature: STANDARD.encode([0; 64]), ..signed.clone() },
        ] {
            assert!(!public.has_signed(&changed), "{changed:?}");
        }
    }

    #[test]
    fn a_line_cut_short_costs_only_itself() {
        let folder = std::env::temp_dir().join(format!("huxiang-checkpoint-{}", std::process::id()));
        let signer = Signer::from_pem(new_key().unwrap().as_bytes()).unwrap();
        let signed = signer.sign(checkpoint());
        append(&folder, &signed).unwrap();
        let path = file_of(&folder, &signed);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{text}{}", text.trim().get(..40).unwrap())).unwrap();
        append(&folder, &signed).unwrap();
        let kept = read(&folder, &[signer.public_key()]).unwrap();
        assert_eq!((kept.by_store["s"].len(), kept.unreadable.len(), kept.unsigned.len()), (2, 1, 0));
        assert_eq!(read(&folder, &[]).unwrap().unsigned.len(), 2);
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
