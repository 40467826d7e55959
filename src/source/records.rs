//! From an answer to its records: envelope, list, columns, keys.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use super::failure::{Failure, redacted};
use super::{Fetch, Fetched, Record, cipher, json};
use crate::base::code::ErrorCode;
use crate::base::json::{Held, Json, JsonValue};
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
type Items<'t> = Vec<(Option<u32>, JsonValue<'t>)>;

/// Keys that are sooner compared with each other than hashed.
const FEW: usize = 4;

/// Keys by their text.
#[derive(Debug)]
pub(crate) enum KeyIndex<'k> {
    Few(&'k [Arc<str>]),
    #[expect(clippy::box_collection, reason = "every call under way has an index, and few have one of many keys")]
    Many(Box<HashMap<&'k str, u32>>),
}

impl<'k> KeyIndex<'k> {
    pub fn new(keys: &'k [Arc<str>]) -> Self {
        if keys.len() <= FEW {
            return Self::Few(keys);
        }
        let mut index = HashMap::with_capacity(keys.len());
        for (key, n) in keys.iter().zip(0..) {
            index.entry(key.as_ref()).or_insert(n);
        }
        Self::Many(Box::new(index))
    }

    pub fn get(&self, key: &str) -> Option<u32> {
        match self {
            Self::Few(keys) => keys.iter().zip(0..).find(|(own, _)| ***own == *key).map(|(_, n)| n),
            Self::Many(index) => index.get(key).copied(),
        }
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
    pub fn answer(&self, answer: &Arc<Json>, out: &mut Fetched) -> Result<PageEnd, Failure> {
        let Some(data) = self.opened(answer.root())? else { return Ok(PageEnd::default()) };
        let cursor = self.cursor(data)?;
        out.total = self.total(data);
        let count = self.data(answer, data, None, out)?;
        Ok(PageEnd { count, cursor, mark: self.mark(data) })
    }

    /// The data inside the envelope; `None` where the envelope says there is no record.
    pub fn opened<'t>(&self, answer: JsonValue<'t>) -> Result<Option<JsonValue<'t>>, Failure> {
        let reading = self.reading();
        if reading.elsewhere.as_ref().is_some_and(|elsewhere| holds(elsewhere, answer).unwrap_or(false)) {
            return Err(Failure { down: true, ..self.refused(answer, "the source says it cannot answer now") });
        }
        if reading.absent.as_ref().is_some_and(|absent| holds(absent, answer).unwrap_or(false)) {
            return Ok(None);
        }
        if let Some(ok) = &reading.ok
            && !holds(ok, answer)?
        {
            // An answer without the member is another thing than one that says no.
            if json::find(answer, &ok.at).is_none() && !ok.holds("null") {
                return Err(Failure::bad(format!("the answer has no `{}` (envelope.ok)", ok.at)));
            }
            return Err(self.refused(answer, "the source says it failed"));
        }
        match json::find(answer, &reading.data) {
            Some(data) => Ok(Some(data)),
            None => Err(Failure::bad(format!("the answer has no `{}` (envelope.data)", reading.data))),
        }
    }

    /// The source's own error, with its message where the envelope says where that is.
    pub fn refused(&self, answer: JsonValue<'_>, what: &str) -> Failure {
        let message = self.reading().message.as_ref().and_then(|at| json::find(answer, at));
        let message = message.and_then(|found| json::text(found).ok()).filter(|message| message != "null");
        let said = message.map(|message| redacted(&message, self.fetch.keys, self.fetch.inputs));
        Failure::new(ErrorCode::SourceError, what).saying(said)
    }

    pub fn cursor(&self, data: JsonValue<'_>) -> Result<Option<String>, Failure> {
        let next = match self.fetch.template.page().map(|page| &page.by) {
            Some(PageBy::Cursor { next, .. } | PageBy::Link { at: Some(next) }) => next,
            _ => return Ok(None),
        };
        let Some(found) = json::find(data, next) else { return Ok(None) };
        let cursor = json::text(found)?;
        Ok((!cursor.is_empty() && !matches!(found.raw(), "null" | "false")).then(|| cursor.into_owned()))
    }

    /// How many there are in all. What is no whole number, or more than the contract's `Int` holds, tells nothing.
    pub fn total(&self, data: JsonValue<'_>) -> Option<usize> {
        let told = json::text(json::find(data, self.reading().total.as_ref()?)?).ok()?;
        let digits = Some(&*told).filter(|told| told.bytes().all(|byte| byte.is_ascii_digit()))?;
        digits.parse::<i32>().ok().and_then(|total| usize::try_from(total).ok())
    }

    /// What tells a page by what it holds; nothing of one without records.
    fn mark(&self, data: JsonValue<'_>) -> Option<u64> {
        self.fetch.template.page()?;
        let items = match &self.reading().items {
            Some(at) => json::find(data, at)?,
            None => data,
        };
        let items = Some(items.raw()).filter(|items| !matches!(*items, "[]" | "{}" | "null" | "\"\""))?;
        let mut hasher = DefaultHasher::new();
        items.hash(&mut hasher);
        Some(hasher.finish())
    }

    /// The records in `data`, a part of the answer; all of `key` where it is given. Gives their count.
    pub fn data(
        &self,
        answer: &Arc<Json>,
        data: JsonValue<'_>,
        key: Option<u32>,
        out: &mut Fetched,
    ) -> Result<usize, Failure> {
        let reading = self.reading();
        if data.is_null() {
            return Ok(0);
        }
        let single = !self.fetch.template.many || key.is_some();
        let (found, count): (Items<'_>, usize) = match &reading.items {
            None if single => (vec![(key.or(Some(0)), data)], 1),
            _ if reading.items_by_key => self.by_key(data, &mut out.strangers)?,
            _ => {
                let key = if single { key.or(Some(0)) } else { None };
                let found: Items<'_> = self.list(data)?.into_iter().map(|item| (key, item)).collect();
                let count = found.len();
                (found, count)
            }
        };
        if let Some(columns) = &reading.columns {
            let names = json::find(data, columns)
                .filter(|names| names.is_list())
                .ok_or_else(|| Failure::bad(format!("the answer has no list of column names at `{columns}`")))?;
            let (rewritten, found) = rows(names, &found, self.connection.limits.answer_bytes_max)?;
            let found: Items<'_> = found.iter().map(|(key, record)| (*key, record.value())).collect();
            self.take_decrypted(&rewritten, &found, out)?;
        } else {
            self.take_decrypted(answer, &found, out)?;
        }
        Ok(count)
    }

    fn take_decrypted(&self, answer: &Arc<Json>, found: &Items<'_>, out: &mut Fetched) -> Result<(), Failure> {
        let places = self.fetch.template.encrypted();
        if places.is_empty() {
            return self.take(answer, found, out);
        }
        let (decrypted, found) = cipher::decrypted(found, places, self.connection)?;
        let found: Items<'_> = found.iter().map(|(key, record)| (*key, record.value())).collect();
        self.take(&decrypted, &found, out)
    }

    /// Adds those records that count.
    fn take(&self, answer: &Arc<Json>, found: &Items<'_>, out: &mut Fetched) -> Result<(), Failure> {
        out.bytes += answer.text().len();
        out.records.reserve(found.len());
        for &(key, record) in found {
            if record.is_null() {
                continue;
            }
            if let Some(only) = &self.reading().only
                && !holds(only, record)?
            {
                continue;
            }
            let Some(key) = self.key_of(key, record)? else {
                out.strangers = true;
                continue;
            };
            out.records.push(Record { key, json: Held::new(answer, record) });
        }
        Ok(())
    }

    fn key_of(&self, key: Option<u32>, record: JsonValue<'_>) -> Result<Option<u32>, Failure> {
        let Some(at) = &self.reading().item_key else { return Ok(key) };
        let Some(found) = json::find(record, at) else {
            return Err(Failure::bad(format!("a record has no `{at}` (item_key)")));
        };
        if found.raw() == UNDECIPHERED {
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
    fn by_key<'t>(&self, data: JsonValue<'t>, strangers: &mut bool) -> Result<(Items<'t>, usize), Failure> {
        let at = self.reading().items.clone().unwrap_or_default();
        let object = match json::find(data, &at) {
            Some(object) if object.is_object() => object,
            Some(none) if matches!(none.raw(), "null" | "[]") => return Ok((Vec::new(), 0)),
            _ => return Err(Failure::bad(format!("the answer has no object of records at `{at}`"))),
        };
        let (mut found, mut count) = (Vec::new(), 0);
        for (name, value) in object.members() {
            count += 1;
            let name =
                name.content().map_err(|_| Failure::bad("a name of the answer has an escape that is no character"))?;
            let name = self.decrypted_name(name)?;
            let Some(key) = self.keys.get(&name) else {
                *strangers = true;
                continue;
            };
            if value.is_list() {
                found.extend(value.elements().map(|item| (Some(key), item)));
            } else {
                found.push((Some(key), value));
            }
        }
        Ok((found, count))
    }

    fn decrypted_name<'n>(&self, name: Cow<'n, str>) -> Result<Cow<'n, str>, Failure> {
        let Some(cipher) = self.fetch.template.key_cipher() else { return Ok(name) };
        let found = cipher::decrypted_text(&name, cipher, self.connection).map(Cow::Owned);
        found.ok_or_else(|| Failure::bad("the name of a member is no key that can be decrypted (key_cipher)"))
    }

    fn list<'t>(&self, data: JsonValue<'t>) -> Result<Vec<JsonValue<'t>>, Failure> {
        let root = Pointer::default();
        let at = self.reading().items.as_ref().unwrap_or(&root);
        match json::find(data, at) {
            Some(list) if list.is_list() => Ok(list.elements().collect()),
            Some(none) if none.is_null() => Ok(Vec::new()),
            Some(none) if self.xml && none.raw() == "\"\"" => Ok(Vec::new()),
            Some(alone) if self.xml => Ok(vec![alone]),
            None if self.left_out(data, at) => Ok(Vec::new()),
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
    fn left_out(&self, data: JsonValue<'_>, at: &Pointer) -> bool {
        let Some((_, parents)) = at.segments().split_last() else { return false };
        if self.xml {
            let root = at.segments().get(..1).unwrap_or_default();
            return !self.reading().data.is_root() || data.find(root).is_some();
        }
        self.reading().ok.is_some() && data.find(parents).is_some_and(JsonValue::is_object)
    }
}

pub(crate) fn holds(condition: &Condition, json: JsonValue<'_>) -> Result<bool, Failure> {
    match json::find(json, &condition.at) {
        Some(found) => Ok(condition.holds(&json::text(found)?)),
        None => Ok(condition.holds("null")),
    }
}

/// Rows with the names of their columns are at most this many times `answer_bytes_max`.
const ROWS_FACTOR: usize = 8;

/// Rows (lists) as objects with the columns' names.
fn rows(names: JsonValue<'_>, found: &Items<'_>, bytes_max: usize) -> Result<json::Reread<Option<u32>>, Failure> {
    let names = names
        .elements()
        .map(|name| {
            let mut member = String::new();
            json_text(&json::text(name)?, &mut member);
            Ok(member)
        })
        .collect::<Result<Vec<_>, Failure>>()?;
    let mut written = json::Rewritten::with_capacity(0);
    // Names stand in every row: a long one would be multiplied by those there are.
    let bytes_max = bytes_max.saturating_mul(ROWS_FACTOR);
    for (key, row) in found {
        if row.is_null() {
            continue;
        }
        if !row.is_list() {
            return Err(Failure::bad("a row of the answer is not a list"));
        }
        if row.elements().count() > names.len() {
            return Err(Failure::bad("a row of the answer has more cells than there are columns"));
        }
        let out = written.next(*key);
        out.push('{');
        for (n, (name, cell)) in names.iter().zip(row.elements()).enumerate() {
            if n > 0 {
                out.push(',');
            }
            out.push_str(name);
            out.push(':');
            out.push_str(cell.raw());
        }
        out.push('}');
        if written.len() > bytes_max {
            return Err(Failure::bad("the rows of the answer, with their columns' names, are too large (columns)"));
        }
    }
    written.read()
}
