//! Instance lists (CSV beside the binding) and `${NAME}` variables.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::mounted::alone;
use super::territory::Cover;
use crate::base::fault::{self, Faults, Place, SourceText};

/// One of many systems behind one binding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    pub id: String,
    pub title: String,
    /// All columns, `id` and `title` among them; variables are filled in.
    pub columns: BTreeMap<String, String>,
    /// What it covers, where instances divide the source's territory.
    pub cover: Option<Cover>,
    /// Of its row in the list.
    pub line: usize,
}

/// Where variables come from.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Fills in `${NAME}` and, where there is an instance, `${instance.COLUMN}`; the error is the first name that is
/// not defined.
pub fn substitute(text: &str, variables: Variables<'_>, instance: Option<&Instance>) -> Result<String, String> {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        out.push_str(before);
        let Some((name, tail)) = after.split_once('}') else {
            out.push_str("${");
            rest = after;
            continue;
        };
        let value = match name.strip_prefix("instance.") {
            Some(column) => instance.and_then(|instance| instance.columns.get(column).cloned()),
            None => variables(name),
        };
        out.push_str(&value.ok_or_else(|| name.to_owned())?);
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// Reads an instance list that has the needed columns. Faults stand in the CSV file.
pub fn read(text: &Arc<SourceText>, needed: &[&str], variables: Variables<'_>, faults: &mut Faults) -> Vec<Instance> {
    let mut rows = rows(&text.text).into_iter();
    let Some((_, header)) = rows.next() else {
        faults.add(text, Place::default(), "the instance list is empty", "start with a header: `id,title,url`");
        return Vec::new();
    };
    for column in needed {
        if !header.iter().any(|name| name == *column) {
            let at = Place { line: 1, column: 1, length: 0 };
            faults.add(
                text,
                at,
                format!("the instance list has no column `{column}`"),
                "add it to the header and to every row",
            );
            return Vec::new();
        }
    }
    let mut found: Vec<Instance> = Vec::new();
    for (line, cells) in rows {
        let at = Place { line, column: 1, length: 0 };
        if cells.len() != header.len() {
            let message = format!("the row has {} columns, the header {}", cells.len(), header.len());
            faults.add(text, at, message, "quote cells that hold a comma");
            continue;
        }
        let mut columns = BTreeMap::new();
        for (name, cell) in header.iter().zip(&cells) {
            if alone(cell).is_some() {
                // Read where the column is used.
                columns.insert(name.clone(), cell.clone());
                continue;
            }
            match substitute(cell, variables, None) {
                Ok(value) => {
                    columns.insert(name.clone(), value);
                }
                Err(variable) => undefined(text, at, &variable, faults),
            }
        }
        let (Some(id), Some(title)) = (columns.get("id").cloned(), columns.get("title").cloned()) else { continue };
        if id.is_empty() || found.iter().any(|other| other.id == id) {
            faults.add(text, at, format!("the id `{id}` is empty or stands twice"), "give every instance its own id");
            continue;
        }
        found.push(Instance { id, title, columns, cover: None, line });
    }
    found
}

/// The fault of a variable that is not defined.
pub fn undefined(text: &Arc<SourceText>, at: Place, name: &str, faults: &mut Faults) {
    let hint = if name.starts_with("instance.") {
        "it is a column of the instance list, and the source needs `instances`".to_owned()
    } else {
        format!("set it in the environment: {name}=…")
    };
    faults.add(text, at, format!("the variable `${{{name}}}` is not defined"), hint);
}

/// The instance list's file, beside the binding.
pub fn open(binding: &Arc<SourceText>, file: &str, faults: &mut Faults) -> Option<Arc<SourceText>> {
    fault::read(&binding.path.parent().unwrap_or(std::path::Path::new(".")).join(file), faults)
}

/// Rows of RFC 4180 with the line each starts on; blank lines are skipped.
fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
    let (mut rows, mut cells, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut start, mut quoted) = (1, 1, false);
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        line += usize::from(c == '\n');
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                cell.push('"');
            }
            '"' => quoted = !quoted,
            c if quoted => cell.push(c),
            ',' => cells.push(std::mem::take(&mut cell)),
            '\r' => {}
            '\n' => {
                cells.push(std::mem::take(&mut cell));
                let row = std::mem::take(&mut cells);
                if row.iter().any(|cell| !cell.is_empty()) {
                    rows.push((start, row));
                }
                start = line;
            }
            c => cell.push(c),
        }
    }
    if !cell.is_empty() || !cells.is_empty() {
        cells.push(cell);
        rows.push((start, cells));
    }
    rows
}
