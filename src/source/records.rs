//! From an answer to its records: envelope, list, columns, keys.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use bytes::Bytes;

use super::failure::{Failure, redacted};
use super::{Fetch, Fetched, Record, cipher, json};
use crate::base::code::ErrorCode;
use crate::base::pointer::Pointer;
use crate::model::binding::connection::Connection;
use crate::model::binding::conversion::UNDECIPHERED;
use crate::model::binding::request::PageBy;
use crate::model::binding::request::reading::{Condition, Reading};
use crate::model::binding::request::template::json_text;

/// What reading a page tells about the next.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct PageEnd {
    /// Records of the page, counted before any is left out.
    pub count: usize,
    /// The next cursor, or the next page's address.
    pub cursor: Option<String>,
    /// Tells a page from another by all its records hold; none where only what is wanted of them was asked for.
    pub mark: Option<u64>,
}

/// Records, each with the key it is known to be of.
type Items<'t> = Vec<(Option<u32>, &'t str)>;

/// Keys by their text.
#[derive(Debug)]
pub(crate) struct KeyIndex<'k>(HashMap<&'k str, u32>);

impl<'k> KeyIndex<'k> {
    pub fn new(keys: &'k [Arc<str>]) -> Self {
        let mut index = HashMap::with_capacity(keys.len());
        for (key, n) in keys.iter().zip(0..) {
            index.entry(key.as_ref()).or_insert(n);
        }
        Self(index)
    }

    pub fn get(&self, key: &str) -> Option<u32> {
        self.0.get(key).copied()
    }
}

/// Reads one answer into `out`.
pub(crate) struct Reader<'a> {
    pub fetch: &'a Fetch<'a>,
    pub keys: &'a KeyIndex<'a>,
    /// The answer was XML: no element, an empty one and one alone are lists too.
    pub xml: bool,
    pub connection: &'a Connection,
}

impl Reader<'_> {
    fn reading(&self) -> &Reading {
        &self.fetch.template.reading
    }

    /// A whole answer, envelope and all.
    pub fn answer(&self, buffer: Bytes, out: &mut Fetched) -> Result<PageEnd, Failure> {
        let kept = buffer.clone();
        let text = json::check(&kept)?;
        let Some(data) = self.opened(text)? else { return Ok(PageEnd::default()) };
        let cursor = self.cursor(data)?;
        let count = self.data(buffer, data, None, out)?;
        let mark = self.mark(data)?;
        Ok(PageEnd { count, cursor, mark })
    }

    /// The data inside the envelope; `None` where the envelope says there is no record.
    pub fn opened<'t>(&self, text: &'t str) -> Result<Option<&'t str>, Failure> {
        let reading = self.reading();
        if reading.elsewhere.as_ref().is_some_and(|elsewhere| holds(elsewhere, text).unwrap_or(false)) {
            return Err(Failure { down: true, ..self.refused(text, "the source says it cannot answer now") });
        }
        if reading.absent.as_ref().is_some_and(|absent| holds(absent, text).unwrap_or(false)) {
            return Ok(None);
        }
        if let Some(ok) = &reading.ok
            && !holds(ok, text)?
        {
            // An answer without the member is another thing than one that says no.
            if json::find(text, &ok.at)?.is_none() && !ok.holds("null") {
                return Err(Failure::bad(format!("the answer has no `{}` (envelope.ok)", ok.at)));
            }
            return Err(self.refused(text, "the source says it failed"));
        }
        match json::find(text, &reading.data)? {
            Some(data) => Ok(Some(data)),
            None => Err(Failure::bad(format!("the answer has no `{}` (envelope.data)", reading.data))),
        }
    }

    /// The source's own error, with its message where the envelope says where that is.
    pub fn refused(&self, text: &str, what: &str) -> Failure {
        let message = self.reading().message.as_ref().and_then(|at| json::find(text, at).ok().flatten());
        let message = message.and_then(|found| json::text(found).ok()).filter(|message| message != "null");
        let detail = match message {
            Some(message) => format!("{what}: {}", redacted(&message, self.fetch.keys, self.fetch.inputs)),
            None => what.to_owned(),
        };
        Failure::new(ErrorCode::SourceError, detail)
    }

    pub fn cursor(&self, data: &str) -> Result<Option<String>, Failure> {
        let next = match self.fetch.template.page().map(|page| &page.by) {
            Some(PageBy::Cursor { next, .. } | PageBy::Link { at: Some(next) }) => next,
            _ => return Ok(None),
        };
        let Some(found) = json::find(data, next)? else { return Ok(None) };
        let cursor = json::text(found)?;
        Ok((!cursor.is_empty() && !matches!(found, "null" | "false")).then(|| cursor.into_owned()))
    }

    /// What tells a page by what it holds; nothing of one without records.
    fn mark(&self, data: &str) -> Result<Option<u64>, Failure> {
        if self.fetch.template.page().is_none() {
            return Ok(None);
        }
        let items = match &self.reading().items {
            Some(at) => json::find(data, at)?,
            None => Some(data),
        };
        Ok(items.filter(|items| !matches!(*items, "[]" | "{}" | "null" | "\"\"")).map(|items| {
            let mut hasher = DefaultHasher::new();
            items.hash(&mut hasher);
            hasher.finish()
        }))
    }

    /// The records in `data`, a part of `buffer`; all of `key` where it is given. Gives their count.
    pub fn data(&self, buffer: Bytes, data: &str, key: Option<u32>, out: &mut Fetched) -> Result<usize, Failure> {
        let reading = self.reading();
        if json::is_null(data) {
            return Ok(0);
        }
        let single = !self.fetch.template.many || key.is_some();
        let (found, count): (Items<'_>, usize) = match &reading.items {
            None if single => (vec![(key.or(Some(0)), data)], 1),
            _ if reading.items_by_key => self.by_key(data)?,
            _ => {
                let key = if single { key.or(Some(0)) } else { None };
                let list = self.list(data)?;
                let count = list.len();
                (list.into_iter().map(|item| (key, item)).collect(), count)
            }
        };
        if let Some(columns) = &reading.columns {
            let names = json::find(data, columns)?
                .filter(|names| names.starts_with('['))
                .ok_or_else(|| Failure::bad(format!("the answer has no list of column names at `{columns}`")))?;
            let (rewritten, spans) = rows(names, &found)?;
            self.take_decrypted(rewritten, spans, out)?;
        } else {
            let spans = found
                .iter()
                .filter_map(|(key, item)| json::span(&buffer, item).map(|(start, end)| (*key, start, end)))
                .collect::<Vec<_>>();
            self.take_decrypted(buffer, spans, out)?;
        }
        Ok(count)
    }

    fn take_decrypted(&self, buffer: Bytes, spans: Spans, out: &mut Fetched) -> Result<(), Failure> {
        let places = self.fetch.template.encrypted();
        if places.is_empty() {
            return self.take(buffer, &spans, out);
        }
        let (buffer, spans) = cipher::decrypted(&buffer, &spans, places, self.connection)?;
        self.take(buffer, &spans, out)
    }

    /// Adds those records that count.
    fn take(&self, buffer: Bytes, spans: &[(Option<u32>, u32, u32)], out: &mut Fetched) -> Result<(), Failure> {
        let index = u32::try_from(out.buffers.len()).unwrap_or(u32::MAX);
        for &(key, start, end) in spans {
            let record = usize::try_from(start)
                .ok()
                .zip(usize::try_from(end).ok())
                .and_then(|(start, end)| buffer.get(start..end))
                .and_then(|bytes| std::str::from_utf8(bytes).ok())
                .unwrap_or("null");
            if json::is_null(record) {
                continue;
            }
            if let Some(only) = &self.reading().only
                && !holds(only, record)?
            {
                continue;
            }
            let Some(key) = self.key_of(key, record)? else { continue };
            out.records.push(Record { key, buffer: index, start, end });
        }
        out.buffers.push(buffer);
        Ok(())
    }

    fn key_of(&self, key: Option<u32>, record: &str) -> Result<Option<u32>, Failure> {
        let Some(at) = &self.reading().item_key else { return Ok(key) };
        let Some(found) = json::find(record, at)? else {
            return Err(Failure::bad(format!("a record has no `{at}` (item_key)")));
        };
        if found == UNDECIPHERED {
            return Err(Failure::bad(format!("a record's key at `{at}` cannot be decrypted (key_cipher)")));
        }
        let told = json::text(found)?;
        let Some(given) = key else { return Ok(self.keys.get(&told)) };
        match self.fetch.keys.get(usize::try_from(given).unwrap_or(usize::MAX)) {
            // Another's record would be shown as this one's.
            Some(asked) if **asked != *told => {
                Err(Failure::bad(format!("a record is of another key than was asked for, by its `{at}`")))
            }
            _ => Ok(key),
        }
    }

    /// And how many records there are, those of keys that were not asked for among them.
    fn by_key<'t>(&self, data: &'t str) -> Result<(Items<'t>, usize), Failure> {
        let at = self.reading().items.clone().unwrap_or_default();
        let object = match json::find(data, &at)? {
            Some(object) if object.starts_with('{') => object,
            Some("null" | "[]") => return Ok((Vec::new(), 0)),
            _ => return Err(Failure::bad(format!("the answer has no object of records at `{at}`"))),
        };
        let (mut found, members) = (Vec::new(), json::members(object)?);
        let count = members.len();
        for (name, value) in members {
            let name = self.decrypted_name(name)?;
            let Some(key) = self.keys.get(&name) else { continue };
            if value.starts_with('[') {
                found.extend(json::elements(value)?.into_iter().map(|item| (Some(key), item)));
            } else {
                found.push((Some(key), value));
            }
        }
        Ok((found, count))
    }

    fn decrypted_name(&self, name: String) -> Result<String, Failure> {
        let Some(cipher) = self.fetch.template.key_cipher() else { return Ok(name) };
        let found = cipher::decrypted_text(&name, cipher, self.connection);
        found.ok_or_else(|| Failure::bad("the name of a member is no key that can be decrypted (key_cipher)"))
    }

    fn list<'t>(&self, data: &'t str) -> Result<Vec<&'t str>, Failure> {
        let at = self.reading().items.clone().unwrap_or_default();
        let found = json::find(data, &at)?;
        match found {
            Some(list) if list.starts_with('[') => json::elements(list),
            Some("null") => Ok(Vec::new()),
            Some("\"\"") if self.xml => Ok(Vec::new()),
            Some(alone) if self.xml => Ok(vec![alone]),
            None if self.left_out(data, &at)? => Ok(Vec::new()),
            Some(_) => Err(Failure::bad(format!("the answer's `{at}` is not a list"))),
            None => Err(Failure::bad(format!(
                "the answer has no list at `{at}`; where the source leaves empty lists out, say with `envelope.ok` \
                 how a good answer is known"
            ))),
        }
    }

    /// Whether a missing list is an empty one: in XML, where the root (or SOAP's response) element is the right one;
    /// in JSON only where `envelope.ok` has already told that the answer is a good one, since else any nonsense
    /// would read as "no record".
    fn left_out(&self, data: &str, at: &Pointer) -> Result<bool, Failure> {
        let Some((_, parents)) = at.segments().split_last() else { return Ok(false) };
        if self.xml {
            let root = at.segments().get(..1).unwrap_or_default();
            return Ok(!self.reading().data.is_root() || json::find_in(data, root)?.is_some());
        }
        let parent = json::find_in(data, parents)?;
        Ok(self.reading().ok.is_some() && parent.is_some_and(|parent| parent.starts_with('{')))
    }
}

pub(crate) fn holds(condition: &Condition, json: &str) -> Result<bool, Failure> {
    let found = json::find(json, &condition.at)?.unwrap_or("null");
    Ok(condition.holds(&json::text(found)?))
}

/// Keys, or their indexes, with the beginning and the end of a record.
pub(crate) type Spans<K = Option<u32>> = Vec<(K, u32, u32)>;

/// Rows (arrays) as objects with the columns' names.
fn rows(names: &str, found: &[(Option<u32>, &str)]) -> Result<(Bytes, Spans), Failure> {
    let names = json::elements(names)?
        .into_iter()
        .map(|name| {
            let mut member = String::new();
            json_text(&json::text(name)?, &mut member);
            Ok(member)
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let (mut out, mut spans) = (String::new(), Vec::with_capacity(found.len()));
    for (key, row) in found {
        if json::is_null(row) {
            continue;
        }
        if !row.starts_with('[') {
            return Err(Failure::bad("a row of the answer is not a list"));
        }
        let cells = json::elements(row)?;
        if cells.len() > names.len() {
            return Err(Failure::bad("a row of the answer has more cells than there are columns"));
        }
        let start = out.len();
        out.push('{');
        for (n, (name, cell)) in names.iter().zip(cells).enumerate() {
            if n > 0 {
                out.push(',');
            }
            out.push_str(name);
            out.push(':');
            out.push_str(cell);
        }
        out.push('}');
        let span = u32::try_from(start).ok().zip(u32::try_from(out.len()).ok());
        let (start, end) = span.ok_or_else(|| Failure::bad("the answer is too large"))?;
        spans.push((*key, start, end));
    }
    Ok((Bytes::from(out), spans))
}
