//! SQL sources: one parameterised SELECT over a view, on a connection that cannot write.
//!
//! Every column is cast to text, so that no digit is lost on the way. Rows become one JSON array of objects.

mod pool;

use std::net::IpAddr;
use std::time::Duration;

use futures::{Stream, TryStreamExt};
use sqlx::postgres::{PgConnectOptions, PgSslMode};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ColumnIndex, Decode, Row, Type};
use tokio::time::{Instant, timeout_at};

use super::connector::Call;
use super::failure::Failure;
use super::guard::Lane;
use super::guard::breaker::Health;
use super::json::Rewritten;
use super::records::PageEnd;
use super::{Fetched, PageAt, Record, cipher};
use crate::base::code::ErrorCode;
use crate::base::json::JsonValue;
use crate::base::places::Place;
use crate::base::pointer::Pointer;
use crate::model::binding::connection::sign::Secret;
use crate::model::binding::connection::{Connection, TlsFiles};
use crate::model::binding::format::KeyType;
use crate::model::binding::request::SqlAsk;
use crate::model::binding::request::template::json_text;
use crate::model::config::egress::EgressConfig;

/// Of one address, whatever `limits.in_flight_max` says.
pub(crate) const CONNECTIONS_MAX: usize = 16;

/// A database, connected to at the first call.
#[derive(Debug)]
pub(crate) enum Pool {
    Sqlite(Box<pool::Sqlite>),
    Postgres(Box<pool::Postgres>),
}

impl Pool {
    /// Of the source's own address, or of one of its standbys.
    pub fn new(connection: &Connection, url: &Secret, egress: &EgressConfig) -> Result<Self, String> {
        let url = url.reveal();
        if url.starts_with("sqlite:") {
            let options: SqliteConnectOptions =
                url.parse().map_err(|_| "`base_url` is not the address of a SQLite file".to_owned())?;
            let options = options
                .read_only(true)
                .create_if_missing(false)
                .pragma("query_only", "ON")
                .busy_timeout(Duration::from_millis(connection.limits.timeout_ms));
            return Ok(Self::Sqlite(Box::new(pool::Sqlite::new(options))));
        }
        let options: PgConnectOptions =
            url.parse().map_err(|_| "`base_url` is not the address of a PostgreSQL database".to_owned())?;
        // What the driver will really ask: a host may stand in the URL's parameters too.
        if options.get_socket().is_none() && !options.get_host().starts_with('/') {
            egress.check(options.get_host(), options.get_port()).map_err(|refused| refused.to_string())?;
        }
        let options = encrypted(options, &connection.tls)
            .application_name("huxiang")
            .options([("default_transaction_read_only", "on")]);
        Ok(Self::Postgres(Box::new(pool::Postgres::new(options))))
    }
}

/// Nothing crosses a network unencrypted or unverified: only a socket or loopback address may be spoken to plainly.
pub(crate) fn encrypted(options: PgConnectOptions, tls: &TlsFiles) -> PgConnectOptions {
    let host = options.get_host();
    let here = options.get_socket().is_some()
        || host.starts_with('/')
        || host == "localhost"
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    let mut options = match &tls.ca {
        Some(ca) => options.ssl_root_cert_from_pem(ca.reveal().as_bytes().to_vec()).ssl_mode(PgSslMode::VerifyFull),
        None if here => options.ssl_mode(PgSslMode::Prefer),
        None => options.ssl_mode(PgSslMode::VerifyFull),
    };
    if let Some((certificate, key)) = tls.certificate.as_ref().zip(tls.key.as_ref()) {
        options = options.ssl_client_cert_from_pem(certificate.reveal()).ssl_client_key_from_pem(key.reveal());
    }
    options
}

/// One page of a read.
pub(crate) async fn page(
    call: &Call<'_>,
    pool: &Pool,
    ask: &SqlAsk,
    at: &PageAt,
    out: &mut Fetched,
) -> Result<PageEnd, Failure> {
    let keys = keys(call, ask);
    if keys.as_ref().is_some_and(Vec::is_empty) {
        return Ok(PageEnd::default());
    }
    let mut permit = call.admit().await?;
    // Opened before its turn of the rate: what takes long to open would come together with those behind it. It counts
    // while that is under way, and again when its turn has come: in between, the database is not what is waited for.
    call.count();
    let opened = within(call, open(call, pool, permit.hand_over())).await;
    let found = match opened {
        Ok(opened) => {
            call.uncount();
            call.go(&mut permit).await?;
            call.count();
            within(call, run(call, opened, ask, at, keys.as_deref())).await
        }
        Err(failure) => {
            permit.failed_before(&call.connector.tally);
            Err(failure)
        }
    };
    let ended = Instant::now();
    let health = match found.as_ref().map_err(|failure| failure.code) {
        Err(ErrorCode::SourceTimeout) => Health::unanswered(ended - permit.sent, call.patience()),
        Err(ErrorCode::SourceUnreachable) => Health::Ill,
        _ => Health::Well,
    };
    permit.end(health, ended);
    let rows = found?;
    out.strangers |= rows.strangers;
    let (mut json, mut found) = rows.written.read()?;
    let places = call.fetch.template.encrypted();
    if !places.is_empty() {
        let written: Vec<(u32, JsonValue<'_>)> = found.iter().map(|(key, record)| (*key, record.value())).collect();
        (json, found) = cipher::decrypted(&written, places, call.connection())?;
    }
    out.bytes += json.text().len();
    out.records.extend(found.into_iter().map(|(key, json)| Record { key, json }));
    Ok(PageEnd { count: rows.seen, ..PageEnd::default() })
}

/// No longer than the call's deadline.
async fn within<T>(call: &Call<'_>, what: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    timeout_at(call.deadline, what).await.unwrap_or_else(|_| Err(Failure::timeout()))
}

/// A connection for one call, with its place.
enum Connected {
    Sqlite(pool::Opened),
    Postgres(pool::Lent),
}

async fn open(call: &Call<'_>, pool: &Pool, place: Option<Place<Lane>>) -> Result<Connected, Failure> {
    match pool {
        Pool::Sqlite(pool) => {
            let mut opened = pool.open(place).await?;
            let deadline = call.deadline;
            // The statement itself stops at the deadline, not only the wait for it.
            let mut handle = opened.connection()?.lock_handle().await.map_err(failed)?;
            handle.set_progress_handler(1_000, move || tokio::time::Instant::now() < deadline);
            drop(handle);
            Ok(Connected::Sqlite(opened))
        }
        Pool::Postgres(pool) => Ok(Connected::Postgres(pool.lend(place, call.deadline).await?)),
    }
}

async fn run(
    call: &Call<'_>,
    connected: Connected,
    ask: &SqlAsk,
    at: &PageAt,
    keys: Option<&[&str]>,
) -> Result<Rows, Failure> {
    let columns = columns(call.fetch.wanted)?;
    let key_given = keys.is_some();
    let keys = keys.unwrap_or_default();
    match connected {
        Connected::Sqlite(mut opened) => {
            let mark = if ask.key_type == KeyType::Integer { "CAST(? AS INTEGER)" } else { "?" };
            let marks = vec![mark; keys.len()].join(",");
            let condition = key_given.then(|| format!("IN ({marks})"));
            let statement = statement(call, ask, (&columns, &|text| text), at, condition);
            let mut query = sqlx::query(AssertSqlSafe(statement));
            for key in keys {
                query = query.bind(*key);
            }
            collect(call, &columns, key_given, query.fetch(opened.connection()?)).await.map_err(Uncollected::failure)
        }
        Connected::Postgres(mut lent) => {
            let all = match ask.key_type {
                KeyType::Text => "= ANY($1)",
                KeyType::Integer => "= ANY($1::text[]::bigint[])",
                KeyType::Uuid => "= ANY($1::text[]::uuid[])",
            };
            // One more than may come: a row is read whole before it can be seen that it is too large.
            let max = call.connection().limits.answer_bytes_max.saturating_add(1);
            let cut = |text: String| format!("left({text},{})", i32::try_from(max).unwrap_or(i32::MAX));
            let statement = statement(call, ask, (&columns, &cut), at, key_given.then(|| all.to_owned()));
            let mut query = sqlx::query(AssertSqlSafe(statement));
            if key_given {
                query = query.bind(keys.iter().map(|key| (*key).to_owned()).collect::<Vec<String>>());
            }
            let collected = collect(call, &columns, key_given, query.fetch(lent.connection()?)).await;
            match collected {
                Ok(_) => lent.give_back(),
                Err(Uncollected::Database(ref error)) if pool::is_of_statement(error) => lent.give_back(),
                Err(_) => lent.cut(),
            }
            collected.map_err(Uncollected::failure)
        }
    }
}

/// The keys to ask for, those left out that the key column cannot hold; `None` where every row is asked for.
fn keys<'a>(call: &Call<'a>, ask: &SqlAsk) -> Option<Vec<&'a str>> {
    ask.key_column.as_ref()?;
    let values = call.values();
    let keys: Vec<&str> = match values.keys {
        [] => values.key().into_iter().collect(),
        several => several.iter().map(AsRef::as_ref).collect(),
    };
    (!keys.is_empty()).then(|| keys.into_iter().filter(|key| ask.key_type.holds(key)).collect())
}

/// The columns that wanted pointers start with, each once.
fn columns(wanted: &[Pointer]) -> Result<Vec<&str>, Failure> {
    let mut columns: Vec<&str> = Vec::new();
    for pointer in wanted {
        let Some(column) = pointer.segments().first() else { continue };
        if column.contains('\0') {
            return Err(Failure::new(ErrorCode::Internal, "a pointer of the binding is not a column"));
        }
        if !columns.contains(&column.as_ref()) {
            columns.push(column);
        }
    }
    Ok(columns)
}

/// `t` before every column: SQLite reads a quoted name it does not know as a text, unless it is qualified.
fn column(name: &str) -> String {
    format!("t.\"{}\"", name.replace('"', "\"\""))
}

/// `cut`: what becomes of each wanted column's text.
fn statement(
    call: &Call<'_>,
    ask: &SqlAsk,
    (columns, cut): (&[&str], &dyn Fn(String) -> String),
    at: &PageAt,
    condition: Option<String>,
) -> String {
    let only = call.fetch.template.reading.only.as_ref();
    let only = only.and_then(|only| only.at.segments().first()).map(AsRef::as_ref);
    let key = ask.key_column.as_deref();
    // The key comes first, what `only` looks at second, then what is wanted.
    let extra =
        [key, only].map(|name| name.map_or("NULL".to_owned(), |name| format!("CAST({} AS TEXT)", column(name))));
    let wanted = columns.iter().map(|name| cut(format!("CAST({} AS TEXT)", column(name))));
    let selected = extra.into_iter().chain(wanted).collect::<Vec<_>>().join(",");
    let mut statement = format!("SELECT {selected} FROM {} AS t", ask.view);
    if let (Some(key), Some(condition)) = (key, condition) {
        statement.push_str(&format!(" WHERE {} {condition}", column(key)));
    }
    if let Some(page) = call.fetch.template.page() {
        let order = key.map_or("1".to_owned(), column);
        let before = match at {
            PageAt::Number(number) => u64::from(number.saturating_sub(1)),
            PageAt::First | PageAt::Cursor(_) | PageAt::Link(_) => 0,
        };
        let offset = before.saturating_mul(u64::try_from(page.size).unwrap_or(u64::MAX));
        statement.push_str(&format!(" ORDER BY {order} LIMIT {} OFFSET {offset}", page.size));
    }
    statement
}

struct Rows {
    /// By place of their keys.
    written: Rewritten<u32>,
    /// Rows, those left out by `only` among them.
    seen: usize,
    /// There were rows of keys that were not asked for, or not written so.
    strangers: bool,
}

async fn collect<R>(
    call: &Call<'_>,
    columns: &[&str],
    key_given: bool,
    mut stream: impl Stream<Item = Result<R, sqlx::Error>> + Unpin,
) -> Result<Rows, Uncollected>
where
    R: Row,
    usize: ColumnIndex<R>,
    for<'r> Option<String>: Decode<'r, R::Database> + Type<R::Database>,
{
    let max = call.connection().limits.answer_bytes_max;
    let only = call.fetch.template.reading.only.as_ref();
    let mut rows = Rows { written: Rewritten::with_capacity(0), seen: 0, strangers: false };
    while let Some(row) = stream.try_next().await.map_err(Uncollected::Database)? {
        rows.seen += 1;
        let cell = |index: usize| row.try_get::<Option<String>, usize>(index).map_err(Uncollected::Database);
        if only.is_some_and(|only| cell(1).is_ok_and(|value| !only.holds(value.as_deref().unwrap_or("null")))) {
            continue;
        }
        let key = match cell(0)? {
            Some(key) if key_given && call.fetch.template.many => call.keys.get(&key),
            _ => Some(0),
        };
        let Some(key) = key else {
            rows.strangers = true;
            continue;
        };
        let json = rows.written.next(key);
        for (n, name) in columns.iter().enumerate() {
            json.push(if n == 0 { '{' } else { ',' });
            json_text(name, json);
            json.push(':');
            match cell(n + 2)? {
                Some(value) => json_text(&value, json),
                None => json.push_str("null"),
            }
        }
        json.push_str(if columns.is_empty() { "{}" } else { "}" });
        if rows.written.len() > max {
            return Err(Uncollected::TooLarge(max));
        }
    }
    Ok(rows)
}

/// Why rows were not collected.
enum Uncollected {
    Database(sqlx::Error),
    /// More than so many bytes.
    TooLarge(usize),
}

impl Uncollected {
    fn failure(self) -> Failure {
        match self {
            Self::Database(error) => failed(error),
            Self::TooLarge(max) => {
                Failure::bad(format!("the answer is larger than {max} bytes (limits.answer_bytes_max)"))
            }
        }
    }
}

/// A database's message may quote values; its code does not.
fn failed(error: sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default().into_owned();
            // SQLite's "interrupted", PostgreSQL's "query canceled".
            if matches!(code.as_str(), "9" | "57014") {
                return Failure::timeout();
            }
            // Shut down, by crash or by its administrator, or not up yet.
            if matches!(code.as_str(), "57P01" | "57P02" | "57P03") {
                return Failure::down(ErrorCode::SourceUnreachable, format!("the database is shut down (code {code})"));
            }
            let hint = if code == "42883" {
                "; the key column must be text, or as `key_type` says; or cast it in the view"
            } else {
                ""
            };
            Failure::new(ErrorCode::SourceError, format!("the database refused the statement (code {code}){hint}"))
        }
        sqlx::Error::Io(_) => Failure::down(ErrorCode::SourceUnreachable, "the connection to the database broke off"),
        _ => Failure::bad("a row of the answer cannot be read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_database_elsewhere_is_spoken_to_encrypted_and_verified() {
        let mode = |url: &str| format!("{:?}", encrypted(url.parse().unwrap(), &TlsFiles::default()).get_ssl_mode());
        for elsewhere in ["postgres://u@db.example/x", "postgres://u@10.1.2.3/x?sslmode=disable"] {
            assert_eq!(mode(elsewhere), "VerifyFull", "{elsewhere}");
        }
        for here in ["postgres://u@127.0.0.1/x", "postgres://u@localhost/x", "postgres://u@[::1]/x"] {
            assert_eq!(mode(here), "Prefer", "{here}");
        }
    }
}
