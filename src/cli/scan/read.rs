//! What the options say, or the files that they name.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};

use crate::cli::Stop;

/// Bytes of a file that an option names.
const FILE_BYTES_MAX: u64 = 16 << 20;
/// Keys of a list at most.
const KEYS_MAX: usize = 100_000;

fn refused(what: String) -> Stop {
    Stop::refused(format!("error: {what}"))
}

/// The text of a file; `-` is standard input.
pub fn file(path: &Path) -> Result<String, Stop> {
    use std::io::Read as _;
    let failed = |error: std::io::Error| refused(format!("{} cannot be read: {error}", path.display()));
    let mut text = String::new();
    let read = match path.as_os_str() == "-" {
        true => std::io::stdin().take(FILE_BYTES_MAX + 1).read_to_string(&mut text),
        false => std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_string(&mut text)),
    };
    let bytes = read.map_err(failed)?;
    match u64::try_from(bytes) {
        Ok(bytes) if bytes <= FILE_BYTES_MAX => Ok(text),
        _ => Err(refused(format!("{} is larger than {} MiB", path.display(), FILE_BYTES_MAX >> 20))),
    }
}

/// JSON as it is given, or that of a file: `@FILE`.
pub fn json(option: &str, given: &str) -> Result<Value, Stop> {
    let read;
    let text = match given.strip_prefix('@') {
        Some(path) => {
            read = file(Path::new(path))?;
            &read
        }
        None => given,
    };
    serde_json::from_str(text).map_err(|error| {
        let hint =
            "names and texts stand in double quotes, and the shell's single ones around it all; @FILE reads a file";
        refused(format!("{option} is no JSON: {error}\n  = hint: {hint}"))
    })
}

/// Keys, one a line, each once; empty lines and those that begin with `#` are none.
pub fn keys(path: &Path) -> Result<Vec<String>, Stop> {
    let text = file(path)?;
    let mut seen = BTreeSet::new();
    let lines = text.lines().map(|line| line.trim_start_matches('\u{feff}').trim());
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    let keys: Vec<String> = lines.filter(|line| seen.insert(line.to_string())).map(str::to_owned).collect();
    match keys.len() {
        0 => Err(refused(format!("{} holds no keys\n  = hint: it holds one a line", path.display()))),
        many if many > KEYS_MAX => Err(refused(format!("{} holds more than {KEYS_MAX} keys", path.display()))),
        _ => Ok(keys),
    }
}

/// What is sorted by: `FIELD`, or `FIELD:desc` for the greatest first.
#[derive(Debug, PartialEq, Eq)]
pub struct Order<'a> {
    by: &'a str,
    descending: bool,
}

impl<'a> Order<'a> {
    pub fn read(text: &'a str) -> Result<Self, Stop> {
        match text.split_once(':') {
            None | Some((_, "asc")) => Ok(Self { by: text.split(':').next().unwrap_or_default(), descending: false }),
            Some((by, "desc")) => Ok(Self { by, descending: true }),
            Some((_, other)) => Err(refused(format!("--order-by: `{other}` is neither `asc` nor `desc`"))),
        }
    }

    pub fn asked(&self) -> Value {
        json!({ "by": self.by, "descending": self.descending })
    }
}

/// What is grouped by: `FIELD`, `FIELD:4` for so many digits of a division's code, `FIELD:YEAR` or `FIELD:MONTH` of a date.
pub fn group(text: &str) -> Result<Value, Stop> {
    let Some((by, part)) = text.split_once(':') else { return Ok(json!({ "by": text })) };
    if let Ok(digits) = part.parse::<u32>() {
        return Ok(json!({ "by": by, "digits": digits }));
    }
    match part {
        "YEAR" | "MONTH" => Ok(json!({ "by": by, "dates": part })),
        other => Err(refused(format!(
            "--group-by: `{other}` is neither a number of digits, nor YEAR, nor MONTH\n  = hint: of a division's code \
             `FIELD:6`, of a date `FIELD:YEAR`"
        ))),
    }
}

/// A value with the members of all objects in order, so that the same condition always gives the same text.
pub fn canonical(value: &Value) -> Value {
    match value {
        Value::Object(members) => {
            let mut sorted: Vec<(&String, Value)> =
                members.iter().map(|(name, value)| (name, canonical(value))).collect();
            sorted.sort_by(|one, other| one.0.cmp(other.0));
            sorted.into_iter().map(|(name, value)| (name.clone(), value)).collect()
        }
        Value::Array(elements) => elements.iter().map(canonical).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_and_groups_are_read_as_they_are_written() {
        assert_eq!(Order::read("a_b:desc").unwrap().asked(), json!({"by": "a_b", "descending": true}));
        assert_eq!(Order::read("a_b").unwrap().asked(), json!({"by": "a_b", "descending": false}));
        assert!(Order::read("a_b:down").unwrap_err().message.contains("`down`"));
        assert_eq!(group("x").unwrap(), json!({"by": "x"}));
        assert_eq!(group("x:6").unwrap(), json!({"by": "x", "digits": 6}));
        assert_eq!(group("x:MONTH").unwrap(), json!({"by": "x", "dates": "MONTH"}));
        assert!(group("x:DAY").unwrap_err().message.contains("`DAY`"));
    }

    #[test]
    fn the_order_of_members_makes_no_other_condition() {
        let of = |text: &str| canonical(&serde_json::from_str(text).unwrap()).to_string();
        assert_eq!(of(r#"{"b": {"y": 1, "x": [2]}, "a": 3}"#), of(r#"{"a": 3, "b": {"x": [2], "y": 1}}"#));
        assert_ne!(of(r#"{"a": [1, 2]}"#), of(r#"{"a": [2, 1]}"#));
    }
}
