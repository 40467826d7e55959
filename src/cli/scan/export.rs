//! The file that rows are written to, and the one beside it that says how far it is.
//!
//! Rows are on the disk before the place behind them is: whoever goes on cuts the file to the length that was noted, so that
//! no row is there twice, and none is missing.

use std::fs::File;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::columns::Columns;
use super::page::Page;
use super::tally::Tally;
use super::watermark::Watermark;
use crate::base::private_file;
use crate::cli::{Stop, text};

/// Of this form the files are that say how far an export is.
const VERSION: u32 = 1;
/// Bytes of such a file that are read.
const NOTED_BYTES_MAX: u64 = 4 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Csv,
    JsonLines,
}

/// How far it is.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Noted {
    version: u32,
    /// Digests of what was asked, by option: it goes on only with the same.
    asked: Vec<(String, String)>,
    began: String,
    /// Bytes of the file that belong to it.
    bytes: u64,
    pub after: Option<String>,
    /// Of the keys that are asked about, the first that is not behind it.
    pub key: usize,
    /// All was looked at: only the last line is missing.
    pub done: bool,
    pub tally: Tally,
}

/// An export under way.
pub struct Export {
    file: File,
    path: PathBuf,
    format: Format,
    pub noted: Noted,
}

fn failed(path: &Path, what: &str, error: &std::io::Error) -> Stop {
    Stop::refused(format!("error: {} cannot be {what}: {error}", path.display()))
}

/// Of two that write the same file, one is too many.
fn alone(file: &File, path: &Path) -> Result<(), Stop> {
    match file.try_lock() {
        Err(std::fs::TryLockError::WouldBlock) => {
            let hint = "wait for it, or name another file";
            Err(Stop::refused(format!("error: another run writes {} now\n  = hint: {hint}", path.display())))
        }
        // Not every file system has locks.
        Ok(()) | Err(std::fs::TryLockError::Error(_)) => Ok(()),
    }
}

/// `FILE.resume`.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".resume");
    name.into()
}

impl Export {
    /// A new file, for its owner alone, with its first lines.
    pub fn create(
        path: &Path,
        format: Format,
        asked: Vec<(String, String)>,
        columns: &Columns,
        watermark: &Watermark,
    ) -> Result<Self, Stop> {
        if beside(path).exists() {
            return Err(Stop::refused(format!(
                "error: an export to {} broke off\n  = hint: go on with --resume; else remove {} too",
                path.display(),
                beside(path).display()
            )));
        }
        let mut options = File::options();
        options.create_new(true).append(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::AlreadyExists => {
                let hint = "name another file, or remove it";
                Stop::refused(format!("error: {} is there already\n  = hint: {hint}", path.display()))
            }
            _ => failed(path, "made", &error),
        })?;
        alone(&file, path)?;
        let noted = Noted { version: VERSION, asked, began: watermark.began.clone(), ..Noted::default() };
        let mut export = Self { file, path: path.to_owned(), format, noted };
        let first = match format {
            Format::JsonLines => format!("{}\n", watermark.opening()),
            Format::Csv => {
                let mut names = columns.names();
                names.extend(["missing".to_owned(), "watermark".to_owned()]);
                format!("{}\n{}", watermark.comment(), line(&names))
            }
        };
        export.append(&first)?;
        export.note()?;
        Ok(export)
    }

    /// The file as it was noted last, where the same is asked of it.
    pub fn resume(
        path: &Path,
        format: Format,
        asked: &[(String, String)],
        watermark: &mut Watermark,
    ) -> Result<Self, Stop> {
        let from = beside(path);
        // First, so that what is noted is the last that was.
        let mut file = File::options().write(true).open(path).map_err(|error| failed(path, "written", &error))?;
        alone(&file, path)?;
        let noted = read(&from)?;
        let differs = |(name, digest): &&(String, String)| {
            noted.asked.iter().find(|(known, _)| known == name).is_none_or(|(_, known)| known != digest)
        };
        let other: Vec<&str> = asked.iter().filter(differs).map(|(name, _)| name.as_str()).collect();
        if !other.is_empty() {
            return Err(Stop::refused(format!(
                "error: {} was begun with another {}\n  = hint: --resume goes on with what was asked; for anything else \
                 name another file",
                path.display(),
                other.join(", ")
            )));
        }
        let length = file.metadata().map_err(|error| failed(path, "read", &error))?.len();
        if length < noted.bytes {
            return Err(Stop::refused(format!(
                "error: {} is shorter than it was: {length} bytes of {}\n  = hint: begin anew, without it and {}",
                path.display(),
                noted.bytes,
                from.display()
            )));
        }
        file.set_len(noted.bytes).map_err(|error| failed(path, "cut", &error))?;
        file.seek(SeekFrom::End(0)).map_err(|error| failed(path, "written", &error))?;
        watermark.began.clone_from(&noted.began);
        Ok(Self { file, path: path.to_owned(), format, noted })
    }

    /// The rows of a page, and then how far it is.
    pub fn page(&mut self, page: &Page, columns: &Columns, watermark: &Watermark) -> Result<(), Stop> {
        let mut rows = String::new();
        for row in &page.rows {
            match self.format {
                Format::JsonLines => rows.push_str(&format!("{}\n", row.as_json())),
                Format::Csv => {
                    let mut cells = columns.cells(&row.node);
                    cells.extend([row.missing(), watermark.cell(&page.request)]);
                    rows.push_str(&line(&cells));
                }
            }
        }
        self.append(&rows)
    }

    /// One that nothing was written to is no export: whoever corrects what was wrong need not remove it first.
    pub fn is_void(&self) -> bool {
        self.noted.tally.requests.is_empty()
    }

    /// As if it had not been begun.
    pub fn discard(self) {
        let _ = std::fs::remove_file(beside(&self.path));
        let _ = std::fs::remove_file(&self.path);
    }

    /// The last line. Then nothing says any more how far it is: it is whole.
    pub fn close(mut self, watermark: &Watermark) -> Result<(), Stop> {
        let last = match self.format {
            Format::JsonLines => watermark.closing(&self.noted.tally).to_string(),
            Format::Csv => watermark.closing_comment(&self.noted.tally),
        };
        self.append(&format!("{last}\n"))?;
        let from = beside(&self.path);
        std::fs::remove_file(&from).map_err(|error| failed(&from, "removed", &error))
    }

    fn append(&mut self, text: &str) -> Result<(), Stop> {
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| failed(&self.path, "written", &error))?;
        self.noted.bytes += u64::try_from(text.len()).unwrap_or(u64::MAX);
        Ok(())
    }

    /// Notes how far it is: the whole of it, or as it was noted before.
    pub fn note(&self) -> Result<(), Stop> {
        let path = beside(&self.path);
        let mut other = path.as_os_str().to_owned();
        other.push(".new");
        let other = PathBuf::from(other);
        let noted = serde_json::to_vec(&self.noted)
            .map_err(|error| Stop::refused(format!("error: {} cannot be written: {error}", path.display())))?;
        let write = || {
            // What a run before this one left of it is nobody's; what somebody else puts there is not written to.
            let _ = std::fs::remove_file(&other);
            let mut file = private_file::create_new(&other)?;
            file.write_all(&noted)?;
            file.sync_data()?;
            std::fs::rename(&other, &path)
        };
        write().map_err(|error| failed(&path, "written", &error))
    }
}

fn read(from: &Path) -> Result<Noted, Stop> {
    use std::io::Read as _;
    let mut text = Vec::new();
    let read = File::open(from).and_then(|file| file.take(NOTED_BYTES_MAX).read_to_end(&mut text));
    if let Err(error) = read {
        let hint = "without --resume an export begins anew";
        return Err(Stop::refused(format!(
            "error: there is nothing to go on with: {}: {error}\n  = hint: {hint}",
            from.display()
        )));
    }
    let noted = serde_json::from_slice::<Noted>(&text).ok().filter(|noted| noted.version == VERSION);
    noted.ok_or_else(|| {
        Stop::refused(format!(
            "error: {} is none that this program wrote\n  = hint: begin anew, without it",
            from.display()
        ))
    })
}

/// A line of CSV.
fn line(cells: &[String]) -> String {
    format!("{}\n", cells.iter().map(|cell| text::csv_cell(cell)).collect::<Vec<_>>().join(","))
}

/// Rows as one JSON document, for machines.
pub fn as_json(rows: &[Value], tally: &Tally, watermark: &Watermark) -> Value {
    serde_json::json!({
        "rows": rows, "coverage": tally.as_json(), "requests": tally.requests, "watermark": watermark.as_json(),
    })
}
