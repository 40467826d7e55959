//! What would be recognised: every distinctive word that a department said, and every id that was asked about.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use aho_corasick::AhoCorasick;
use departments::Running;
use encoding_rs::GBK;
use sqlx::{ConnectOptions as _, Row as _};

/// Shorter numbers are found in any hash by chance.
const DIGITS_MIN: usize = 11;
/// Shorter words are too common.
const HAN_MIN: usize = 3;

pub struct Marks {
    by_source: BTreeMap<String, BTreeSet<String>>,
}

impl Marks {
    /// `inputs` are the texts the gateway was given by its operator: what stands there is no household's.
    /// `shown` are tokens and codes.
    pub async fn of(departments: &Running, asked: &[&str], shown: BTreeSet<String>, inputs: &str) -> Self {
        let mut by_source: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for source in departments.sources() {
            let said = if source == "housing" {
                cells(departments.housing_file()).await
            } else {
                departments.answers(&source)
            };
            let words = said.iter().flat_map(|text| words(text)).filter(|word| !inputs.contains(word.as_str()));
            by_source.entry(source).or_default().extend(words);
        }
        by_source.entry("asked".to_owned()).or_default().extend(asked.iter().map(|id| (*id).to_owned()));
        by_source.entry("shown".to_owned()).or_default().extend(shown);
        Self { by_source }
    }

    pub fn count(&self, source: &str) -> usize {
        self.by_source.get(source).map_or(0, BTreeSet::len)
    }

    pub fn len(&self) -> usize {
        self.by_source.values().map(BTreeSet::len).sum()
    }

    /// One mark of a department and one that was shown to the gateway, in every encoding that is searched for, within
    /// other text.
    pub fn as_they_would_leak(&self) -> Vec<Vec<u8>> {
        let one = |source: &str| self.by_source[source].iter().next_back().expect("there are some").clone();
        let leaked = ["agriculture", "shown"].map(|source| encodings(&one(source)));
        leaked.iter().flatten().map(|bytes| [b"x", bytes.as_slice(), b"y"].concat()).collect()
    }

    /// The files under a folder, and where a mark was found in them: as UTF-8, as GBK, or as a URL carries it.
    pub fn search(&self, root: &Path) -> (Vec<String>, Vec<String>) {
        let mut patterns = Vec::new();
        let mut meant = Vec::new();
        for (source, words) in &self.by_source {
            for word in words {
                for pattern in encodings(word) {
                    patterns.push(pattern);
                    meant.push((source, word));
                }
            }
        }
        let all = AhoCorasick::new(&patterns).expect("the marks can be searched for");
        let mut found = BTreeMap::new();
        let files = files(root);
        for file in &files {
            let bytes = std::fs::read(file).unwrap_or_default();
            for hit in all.find_iter(&bytes) {
                let (source, word) = meant[hit.pattern().as_usize()];
                let around = String::from_utf8_lossy(&bytes[hit.start().saturating_sub(120)..hit.start()]).into_owned();
                found
                    .entry((file.display().to_string(), word))
                    .or_insert(format!("{word} of {source}, after …{around}"));
            }
        }
        let names = files.iter().map(|file| file.display().to_string()).collect();
        let told = found.into_iter().map(|((file, _), hit)| format!("{file}: {hit}"));
        (names, told.collect())
    }
}

/// As UTF-8, as a URL carries it, as JSON escapes it, as GBK.
fn encodings(word: &str) -> [Vec<u8>; 4] {
    let percent: String = word.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let escaped: String = word.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    [word.as_bytes().to_vec(), percent.into_bytes(), escaped.into_bytes(), GBK.encode(word).0.into_owned()]
}

/// All files under a folder.
pub fn files(root: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut next = vec![root.to_path_buf()];
    while let Some(folder) = next.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.path().is_dir() { next.push(entry.path()) } else { found.push(entry.path()) }
        }
    }
    found
}

/// Words of Han characters, and numbers (or codes that are mostly digits), long enough to be nobody else's.
fn words(text: &str) -> impl Iterator<Item = String> + '_ {
    let han = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
    let chinese = text.split(move |c| !han(c)).filter(|word| word.chars().count() >= HAN_MIN);
    let numbers = text
        .split(|c: char| !c.is_ascii_alphanumeric())
        .filter(|word| word.bytes().filter(u8::is_ascii_digit).count() >= DIGITS_MIN && word.len() <= 24)
        // A moment in milliseconds or as yyyyMMddHHmmss is nobody's.
        .filter(|word| !matches!((word.len(), &word[..2]), (13, "17") | (14, "20")));
    chinese.chain(numbers).map(str::to_owned)
}

/// The text cells of a department that is a database.
async fn cells(file: &Path) -> Vec<String> {
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(file).read_only(true);
    let mut connection = options.connect().await.expect("the department's file");
    let views = "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'";
    let tables: Vec<String> =
        sqlx::query(views).fetch_all(&mut connection).await.expect("its tables").iter().map(|row| row.get(0)).collect();
    let mut cells = Vec::new();
    for table in tables {
        let statement = sqlx::AssertSqlSafe(format!("SELECT * FROM {table} LIMIT 2000"));
        for row in sqlx::query(statement).fetch_all(&mut connection).await.expect("its rows") {
            cells.extend((0..row.len()).filter_map(|at| row.try_get::<String, _>(at).ok()));
        }
    }
    cells
}
