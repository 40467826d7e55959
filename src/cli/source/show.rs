//! What a try brought, as people read it: the exchange beside the fields that were read of it.

use serde_json::{Value, json};

use super::super::text;
use super::as_role::Seen;
use super::attempt::{Attempt, Tried};
use crate::base::fault::nearest;
use crate::engine::project::trace::{Outcome, Traced};
use crate::source::{Blanks, Exchange, SourceError};

/// Lines of an answer that are shown.
const LINES_MAX: usize = 40;
/// Columns of a value in the table.
const COLUMNS_MAX: usize = 40;
/// Records whose fields are shown.
const RECORDS_MAX: usize = 5;

/// Where values were not as the binding says.
pub fn unfit(tried: &Tried) -> bool {
    let fields = || tried.records.iter().flat_map(|(_, fields)| fields);
    tried.answer.is_err() || fields().any(|field| matches!(field.outcome, Outcome::Unfit(_)))
}

/// `seen`: what a role would see, beside the fields.
pub fn as_text(attempt: &Attempt<'_>, tried: &Tried, seen: Option<&Seen>, secrets: &Blanks) -> String {
    let mut out = format!("== {} ({})\n\n", attempt.name, attempt.entity);
    for exchange in &tried.exchanges {
        of_exchange(exchange, &mut out);
    }
    match &tried.answer {
        Err(error) => {
            out.push_str(&format!("The call failed: {}: {}\n", error.code, error.detail));
            if let Some(said) = &error.said {
                out.push_str(&format!("The department says: {said}\n"));
            }
        }
        Ok(fetched) => {
            let keys = match attempt.keys.len() {
                0 => String::new(),
                count => format!(" for {}", counted(count, "key")),
            };
            let more = if fetched.next.is_some() { "; there are further pages" } else { "" };
            out.push_str(&format!("{}{keys}{more}\n", counted(fetched.records.len(), "record")));
        }
    }
    for (n, (key, fields)) in tried.records.iter().take(RECORDS_MAX).enumerate() {
        out.push_str(&format!("\n{}", key.as_ref().map(|key| format!("record of {key}\n")).unwrap_or_default()));
        let mut rows: Vec<Vec<String>> = fields.iter().map(row).collect();
        let title = seen.map(|seen| format!("as {}", seen.role));
        let of_role = seen.and_then(|seen| seen.records.get(n));
        for (row, views) in rows.iter_mut().zip(of_role.into_iter().flatten()) {
            row.push(text::shorten(&secrets.text(&views.to_string()), 3 * COLUMNS_MAX));
        }
        let header: Vec<&str> =
            ["field", "where", "department", "contract"].into_iter().chain(title.as_deref()).collect();
        out.push_str(&text::table(&header, &rows));
    }
    if let Some(seen) = seen {
        out.push_str(&format!("\n{}\n", seen.note));
    }
    if let Some(more) = tried.records.len().checked_sub(RECORDS_MAX).filter(|more| *more > 0) {
        out.push_str(&format!("\n… and {}\n", counted(more, "further record")));
    }
    told(&mut out, "Missing in every record", &missing(tried));
    told(&mut out, "Not converted", &not_converted(tried));
    let unread: Vec<String> = tried
        .unread
        .iter()
        .map(|(at, value)| format!("{at}  {}", text::shorten(&value.to_string(), COLUMNS_MAX)))
        .collect();
    told(&mut out, "Not expected: no field reads it", &unread);
    let waits: Vec<String> = tried
        .exchanges
        .iter()
        .map(|exchange| match exchange.head {
            Some(head) => format!(
                "{} ms to the head of the answer, {} ms to its end",
                head.as_millis(),
                exchange.total.as_millis()
            ),
            None => format!("{} ms without an answer", exchange.total.as_millis()),
        })
        .collect();
    out.push_str(&format!("\nTime: {} ms in all", tried.total.as_millis()));
    out.push_str(&waits.iter().map(|wait| format!("; {wait}")).collect::<String>());
    out.push('\n');
    out
}

fn of_exchange(exchange: &Exchange, out: &mut String) {
    out.push_str(&format!("> {} {}\n", exchange.method, exchange.url));
    exchange.headers.iter().for_each(|(name, value)| out.push_str(&format!("> {name}: {value}\n")));
    cut(&exchange.body, '>', out);
    match exchange.status {
        Some(status) => out.push_str(&format!("< {status}, {} bytes\n", exchange.answer_bytes)),
        None => out.push_str("< no answer\n"),
    }
    exchange.answer_headers.iter().for_each(|(name, value)| out.push_str(&format!("< {name}: {value}\n")));
    cut(&exchange.answer, '<', out);
    out.push('\n');
}

/// XML with an element a line, those inside others indented.
fn xml(body: &str) -> String {
    let mut out = String::with_capacity(body.len() + body.len() / 4);
    let (mut depth, mut opened) = (0_usize, false);
    for part in body.split_inclusive('>') {
        let (text, tag) = part.split_at(part.find('<').unwrap_or(part.len()));
        let text = text.trim();
        out.push_str(text);
        let closes = tag.starts_with("</");
        if closes {
            depth = depth.saturating_sub(1);
        }
        // `<a>text</a>` and `<a></a>` stay in one line.
        if !out.is_empty() && !tag.is_empty() && !(closes && (opened || !text.is_empty())) {
            out.push('\n');
            out.push_str(&"  ".repeat(depth));
        }
        out.push_str(tag);
        opened =
            !closes && tag.ends_with('>') && !tag.starts_with("<?") && !tag.starts_with("<!") && !tag.ends_with("/>");
        depth += usize::from(opened);
    }
    out
}

/// A body, JSON and XML laid out, no more than some lines of it.
fn cut(body: &str, mark: char, out: &mut String) {
    if body.is_empty() {
        return;
    }
    let laid_out = serde_json::from_str::<Value>(body).map(|value| format!("{value:#}"));
    let body =
        laid_out.unwrap_or_else(|_| if body.trim_start().starts_with('<') { xml(body) } else { body.to_owned() });
    out.push_str(&format!("{mark}\n"));
    for line in body.lines().take(LINES_MAX) {
        out.push_str(&format!("{mark} {}\n", text::shorten(line, 160)));
    }
    if let Some(more) = body.lines().count().checked_sub(LINES_MAX).filter(|more| *more > 0) {
        out.push_str(&format!("{mark} … {more} lines more\n"));
    }
}

fn row(field: &Traced) -> Vec<String> {
    let raw = field.raw.as_deref().unwrap_or("—");
    let value = match &field.outcome {
        Outcome::Value(value) => value.clone(),
        Outcome::Unrecognized(value) => format!("{value}  ! a code that no table knows"),
        Outcome::Null => "null".to_owned(),
        Outcome::Missing => "null  ! not in the record".to_owned(),
        Outcome::Unfit(why) => format!("! {why}"),
    };
    vec![field.path.clone(), field.at.clone(), text::shorten(raw, COLUMNS_MAX), text::shorten(&value, 2 * COLUMNS_MAX)]
}

fn told(out: &mut String, title: &str, all: &[String]) {
    if !all.is_empty() {
        out.push_str(&format!("\n{title}:\n"));
        all.iter().for_each(|one| out.push_str(&format!("  {one}\n")));
    }
}

/// A path without the places in lists.
fn plain(path: &str) -> String {
    path.split('[').map(|part| part.split_once(']').map_or(part, |(_, rest)| rest)).collect()
}

/// Fields that no record has.
fn missing(tried: &Tried) -> Vec<String> {
    let fields = || tried.records.iter().flat_map(|(_, fields)| fields);
    let mut found: Vec<String> = Vec::new();
    for field in fields().filter(|field| field.outcome == Outcome::Missing) {
        let path = plain(&field.path);
        let elsewhere = fields().any(|other| plain(&other.path) == path && other.outcome != Outcome::Missing);
        let meant = nearest(&field.at, tried.unread.iter().map(|(at, _)| at.as_str()));
        let meant = meant.map(|at| format!("  did you mean `{at}`?")).unwrap_or_default();
        let line = format!("{path}  {}{meant}", field.at);
        if !elsewhere && !found.iter().any(|there| there.starts_with(&format!("{path}  "))) {
            found.push(line);
        }
    }
    found
}

fn not_converted(tried: &Tried) -> Vec<String> {
    let fields = tried.records.iter().flat_map(|(_, fields)| fields);
    fields
        .filter_map(|field| {
            let why = match &field.outcome {
                Outcome::Unfit(why) => why.clone(),
                Outcome::Unrecognized(_) => "a code that no table knows".to_owned(),
                _ => return None,
            };
            let raw = text::shorten(field.raw.as_deref().unwrap_or_default(), COLUMNS_MAX);
            Some(format!("{}  {raw}  {why}", field.path))
        })
        .collect()
}

pub fn counted(count: usize, name: &str) -> String {
    format!("{count} {name}{}", if count == 1 { "" } else { "s" })
}

/// For machines.
pub fn as_json(attempt: &Attempt<'_>, tried: &Tried, seen: Option<&Seen>) -> Value {
    let headers =
        |all: &[(String, String)]| -> Vec<Value> { all.iter().map(|(name, value)| json!([name, value])).collect() };
    let exchanges: Vec<Value> = tried
        .exchanges
        .iter()
        .map(|one| {
            json!({
                "method": one.method, "url": one.url, "headers": headers(&one.headers), "body": one.body,
                "status": one.status, "answer_headers": headers(&one.answer_headers), "answer": one.answer,
                "head_ms": one.head.map(|head| head.as_millis()), "total_ms": one.total.as_millis(),
            })
        })
        .collect();
    let of_record = |(n, (key, fields)): (usize, &(Option<_>, Vec<Traced>))| {
        let mut fields: Vec<Value> = fields.iter().map(field).collect();
        let of_role = seen.and_then(|seen| seen.records.get(n)).into_iter().flatten();
        for (field, views) in fields.iter_mut().zip(of_role) {
            if let Value::Object(field) = field {
                field.insert("seen".to_owned(), views.as_json());
            }
        }
        let key: &Option<std::sync::Arc<str>> = key;
        json!({"key": key.as_deref(), "fields": fields})
    };
    let records: Vec<Value> = tried.records.iter().enumerate().map(of_record).collect();
    let failed = |error: &SourceError| json!({"code": error.code.as_str(), "detail": error.detail, "said": error.said});
    let failure = tried.answer.as_ref().err().map(failed);
    let unread: Vec<Value> = tried.unread.iter().map(|(at, value)| json!({"at": at, "example": value})).collect();
    json!({
        "endpoint": &*attempt.name, "entity": &*attempt.entity, "exchanges": exchanges, "failure": failure,
        "records": records, "missing": missing(tried), "not_converted": not_converted(tried), "not_expected": unread,
        "total_ms": tried.total.as_millis(),
    })
}

/// One field, its value parsed.
pub fn field(field: &Traced) -> Value {
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_else(|_| text.into());
    let (outcome, told) = match &field.outcome {
        Outcome::Value(text) => ("value", value(text)),
        Outcome::Unrecognized(text) => ("unrecognized", value(text)),
        Outcome::Null => ("null", Value::Null),
        Outcome::Missing => ("missing", Value::Null),
        Outcome::Unfit(why) => ("unfit", why.as_str().into()),
    };
    let raw = field.raw.as_deref().map(value);
    json!({"path": field.path, "at": field.at, "raw": raw, "outcome": outcome, "value": told})
}

#[cfg(test)]
mod tests {
    use super::xml;

    #[test]
    fn xml_stands_an_element_a_line() {
        let told = xml("<?xml version=\"1.0\"?>\n<a><b c=\"1\"><d>x y</d><e/></b><f></f></a>");
        assert_eq!(
            told,
            "<?xml version=\"1.0\"?>\n<a>\n  <b c=\"1\">\n    <d>x y</d>\n    <e/>\n  </b>\n  <f></f>\n</a>"
        );
        assert_eq!(xml("no tag"), "no tag");
    }
}
