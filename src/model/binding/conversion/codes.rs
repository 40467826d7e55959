//! Code tables: `config/codes/*.csv`, header `code,value,zh`, UTF-8, fields quoted as in RFC 4180 (one line each).

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;

use crate::base::fault::{self, Faults, Place, SourceText};

/// One table: what a department's raw code means.
#[derive(Debug, Default)]
pub struct CodeTable {
    rows: HashMap<String, CodeRow>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeRow {
    /// The contract's value; empty where the table only gives texts.
    pub value: String,
    pub zh: String,
}

impl CodeTable {
    pub fn get(&self, code: &str) -> Option<&CodeRow> {
        self.rows.get(code)
    }

    pub fn rows(&self) -> impl Iterator<Item = (&str, &CodeRow)> {
        self.rows.iter().map(|(code, row)| (code.as_str(), row))
    }

    /// A table written in a binding (`map:`).
    pub fn of(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let rows = pairs.into_iter().map(|(code, value)| (code, CodeRow { value, zh: String::new() })).collect();
        Self { rows }
    }
}

/// All tables, by file name without `.csv`.
#[derive(Debug, Default, Clone)]
pub struct CodeTables {
    tables: BTreeMap<String, Arc<CodeTable>>,
}

impl CodeTables {
    /// A folder that is not there holds no tables.
    pub fn load(dir: &Path, faults: &mut Faults) -> Self {
        let mut tables = BTreeMap::new();
        let Ok(entries) = std::fs::read_dir(dir) else {
            return Self { tables };
        };
        let mut paths: Vec<_> = entries.filter_map(|entry| entry.ok().map(|entry| entry.path())).collect();
        paths.sort();
        for path in paths.iter().filter(|path| path.extension().is_some_and(|extension| extension == "csv")) {
            let (Some(name), Some(file)) = (path.file_stem(), fault::read(path, faults)) else {
                continue;
            };
            tables.insert(name.to_string_lossy().into_owned(), Arc::new(parse(&file, faults)));
        }
        Self { tables }
    }

    pub fn get(&self, name: &str) -> Option<&Arc<CodeTable>> {
        self.tables.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tables.keys().map(String::as_str)
    }

    pub fn insert(&mut self, name: impl Into<String>, table: CodeTable) {
        self.tables.insert(name.into(), Arc::new(table));
    }
}

fn parse(file: &Arc<SourceText>, faults: &mut Faults) -> CodeTable {
    let mut table = CodeTable::default();
    let mut lines = file.text.lines().enumerate();
    let header = lines.next().map(|(_, line)| line.trim_end());
    if header != Some("code,value,zh") {
        let at = Place { line: 1, column: 1, length: 0 };
        faults.add(file, at, "the code table's header is not `code,value,zh`", "write these three column names");
        return table;
    }
    for (index, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
        let at = Place { line: index + 1, column: 1, length: line.chars().count() };
        let mut cells = cells(line.trim_end()).into_iter();
        let (Some(code), Some(value), Some(zh), None) = (cells.next(), cells.next(), cells.next(), cells.next()) else {
            faults.add(file, at, "a row of a code table has three cells", "quote cells that hold a comma");
            continue;
        };
        if table.rows.insert(code.clone(), CodeRow { value, zh }).is_some() {
            faults.add(file, at, format!("the code `{code}` is there already"), "delete one of the rows");
        }
    }
    table
}

fn cells(line: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut cell = String::new();
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => out.push(std::mem::take(&mut cell)),
            c => cell.push(c),
        }
    }
    out.push(cell);
    out.iter().map(|cell| cell.trim().to_owned()).collect()
}
