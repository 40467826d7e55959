//! Files that are nobody else's.

use std::path::Path;

/// Makes the file where it is not there, readable and writable by its owner alone.
pub fn create(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.create(true).append(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}
