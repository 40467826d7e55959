//! Secrets in files, as they are mounted into containers: read when they are used, and again when the file changes.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::failure::Failure;
use crate::base::code::ErrorCode;
use crate::model::binding::connection::sign::{Origin, Secret};

/// A file is looked at no more often.
const LOOK: Duration = Duration::from_secs(1);
/// Bundles of certificates are files too.
const BYTES_MAX: u64 = 1 << 20;

/// What one source's files of secrets held when they were last read; as many as its binding names.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Mutex<HashMap<PathBuf, Held>>);

#[derive(Debug)]
struct Held {
    secret: Secret,
    stamp: Stamp,
    looked: Instant,
    /// It could not be read at the last look: a file may be missing for a moment while it is replaced.
    missed: bool,
}

/// What changes when a file does, or when another takes its place.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    modified: Option<SystemTime>,
    length: u64,
    file: u64,
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        #[cfg(unix)]
        let file = std::os::unix::fs::MetadataExt::ino(metadata);
        #[cfg(not(unix))]
        let file = 0;
        Self { modified: metadata.modified().ok(), length: metadata.len(), file }
    }
}

impl Secrets {
    pub fn read(&self, origin: &Origin) -> Result<Secret, Failure> {
        origin.text(&mut |path| self.file(path))
    }

    fn file(&self, path: &Path) -> Result<Secret, Failure> {
        let now = Instant::now();
        let mut files = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let held = files.get_mut(path);
        if let Some(held) = &held
            && now.duration_since(held.looked) < LOOK
        {
            return Ok(held.secret.clone());
        }
        match (look(path, held.as_ref().map(|held| &held.stamp)), held) {
            (Ok(None), Some(held)) => {
                (held.looked, held.missed) = (now, false);
                Ok(held.secret.clone())
            }
            (Ok(Some((secret, stamp))), _) => {
                files.insert(path.to_owned(), Held { secret: secret.clone(), stamp, looked: now, missed: false });
                Ok(secret)
            }
            (Err(_), Some(held)) if !held.missed => {
                (held.looked, held.missed) = (now, true);
                Ok(held.secret.clone())
            }
            _ => {
                files.remove(path);
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let detail = format!("the secret's file `{name}` cannot be read, or is empty; see `egress.secrets`");
                Err(Failure::new(ErrorCode::Internal, detail))
            }
        }
    }
}

/// `None`: it is as it was.
fn look(path: &Path, known: Option<&Stamp>) -> std::io::Result<Option<(Secret, Stamp)>> {
    let stamp = Stamp::of(&std::fs::metadata(path)?);
    if known == Some(&stamp) {
        return Ok(None);
    }
    let mut file = File::open(path)?;
    let stamp = Stamp::of(&file.metadata()?);
    let mut text = String::new();
    file.by_ref().take(BYTES_MAX).read_to_string(&mut text)?;
    let secret = text.strip_suffix('\n').map_or(text.as_str(), |line| line.strip_suffix('\r').unwrap_or(line));
    if secret.is_empty() || stamp.length >= BYTES_MAX {
        return Err(std::io::ErrorKind::InvalidData.into());
    }
    Ok(Some((Secret::new(secret.to_owned()), stamp)))
}
