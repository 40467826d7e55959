//! A SQL schema, as databases dump it: a table (or view) with a key of one column is an entity, and a list of them a root
//! query. A column that refers to a table leads to that entity, and back to the records that refer to it.

mod check;
mod ddl;
mod kind;
mod split;
mod tables;
mod tokens;
mod view;

use std::collections::HashSet;
use std::sync::Arc;

use sqlparser::dialect::{
    Dialect, GenericDialect, MsSqlDialect, MySqlDialect, OracleDialect, PostgreSqlDialect, SQLiteDialect,
};

use crate::base::fault::{Faults, Place, SourceText};
use crate::draft::operation::Found;
use crate::draft::types::Types;
use crate::draft::{Limits, Wanted};
use kind::Kind;
use tokens::{Name, Part};

/// The parser needs a stack that the caller's may not have.
const STACK_BYTES: usize = 64 << 20;
/// What a dialect is told by stands at the beginning.
const TELLING_BYTES: usize = 4 << 20;

/// Whose SQL it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flavor {
    Postgres,
    Mysql,
    Sqlite,
    Mssql,
    Oracle,
    Other,
}

#[derive(Debug, Clone)]
pub struct Column {
    pub name: Part,
    pub kind: Kind,
    pub comment: Option<String>,
    pub not_null: bool,
    /// All that may stand there, if that is said.
    pub codes: Vec<String>,
    /// The same, of numbers.
    pub numbers: Vec<String>,
}

#[derive(Debug)]
pub struct Foreign {
    pub columns: Vec<String>,
    pub to: Name,
    /// Empty for the other table's own key.
    pub referred: Vec<String>,
}

#[derive(Debug)]
pub struct Table {
    pub name: Name,
    pub line: usize,
    pub is_view: bool,
    pub columns: Vec<Column>,
    pub primary: Vec<String>,
    pub unique: Vec<Vec<String>>,
    pub foreign: Vec<Foreign>,
    pub comment: Option<String>,
    /// Of a view: what is the key of the first table that it reads.
    pub key_guess: Option<String>,
}

impl Table {
    fn new(name: Name, line: usize, is_view: bool) -> Self {
        Self {
            name,
            line,
            is_view,
            columns: Vec::new(),
            primary: Vec::new(),
            unique: Vec::new(),
            foreign: Vec::new(),
            comment: None,
            key_guess: None,
        }
    }

    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name.folded.eq_ignore_ascii_case(name))
    }

    fn column_mut(&mut self, name: &str) -> Option<&mut Column> {
        self.columns.iter_mut().find(|column| column.name.folded.eq_ignore_ascii_case(name))
    }

    /// The one column that tells its rows apart.
    pub fn key(&self) -> Option<&str> {
        if let [one] = self.primary.as_slice() {
            return self.column(one).map(|column| column.name.folded.as_str());
        }
        let unique = || {
            self.unique.iter().filter_map(|columns| match columns.as_slice() {
                [one] => self.column(one),
                _ => None,
            })
        };
        let whole = unique().find(|column| column.not_null).or_else(|| unique().next());
        whole.map(|column| column.name.folded.as_str()).or(self.key_guess.as_deref())
    }

    fn is_unique(&self, column: &str) -> bool {
        let only = |columns: &Vec<String>| matches!(columns.as_slice(), [one] if one.eq_ignore_ascii_case(column));
        only(&self.primary) || self.unique.iter().any(only)
    }
}

/// Whether a file is called as SQL is.
pub fn is_named_so(file: &SourceText) -> bool {
    file.path.extension().is_some_and(|end| end.eq_ignore_ascii_case("sql"))
}

/// Whether a text looks like SQL that defines tables.
pub fn is_sql(text: &str) -> bool {
    let begins = |line: &str| {
        let head: Vec<String> = line.split_whitespace().take(2).map(str::to_ascii_lowercase).collect();
        matches!(head.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), ["create", "table" | "view"])
    };
    text.contains(';') && text.lines().any(|line| !line.starts_with(char::is_whitespace) && begins(line))
}

impl Flavor {
    fn of(text: &str) -> Self {
        let end = (0..=TELLING_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        let lower = text.get(..end).unwrap_or_default().to_ascii_lowercase();
        let any = |signs: &[&str]| signs.iter().any(|sign| lower.contains(sign));
        if any(&["engine=", "engine =", " auto_increment", "/*!4", "/*!5", "unsigned"]) {
            Self::Mysql
        } else if any(&["\ngo\n", "\ngo\r\n", "[dbo]", "dbo.", " identity(", " nvarchar", "uniqueidentifier"]) {
            Self::Mssql
        } else if any(&["varchar2", " number(", " number,", " clob"]) {
            Self::Oracle
        } else if any(&["autoincrement", "pragma ", "without rowid", "sqlite"]) {
            Self::Sqlite
        } else if any(&[
            "pg_catalog",
            "owner to",
            "serial",
            "::",
            "plpgsql",
            "timestamptz",
            "bytea",
            "jsonb",
            " as enum",
            "postgres",
        ]) {
            Self::Postgres
        } else {
            Self::Other
        }
    }

    fn dialect(self) -> Box<dyn Dialect> {
        match self {
            Self::Postgres => Box::new(PostgreSqlDialect {}),
            Self::Mysql => Box::new(MySqlDialect {}),
            Self::Sqlite => Box::new(SQLiteDialect {}),
            Self::Mssql => Box::new(MsSqlDialect {}),
            Self::Oracle => Box::new(OracleDialect {}),
            Self::Other => Box::new(GenericDialect {}),
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Postgres => "PostgreSQL",
            Self::Mysql => "MySQL",
            Self::Sqlite => "SQLite",
            Self::Mssql => "SQL Server",
            Self::Oracle => "Oracle",
            Self::Other => "SQL of no special kind",
        }
    }
}

pub fn read(
    file: &Arc<SourceText>,
    wanted: &Wanted,
    limits: Limits,
    taken: HashSet<String>,
    faults: &mut Faults,
    warnings: &mut Faults,
) -> Option<Found> {
    let flavor = Flavor::of(&file.text);
    let read = std::thread::scope(|scope| {
        let named = std::thread::Builder::new().name("sql-import".to_owned()).stack_size(STACK_BYTES);
        let read = || tables_of(file, flavor, warnings);
        named.spawn_scoped(scope, read).ok()?.join().ok()
    });
    let Some(tables) = read else {
        faults.add(file, Place::default(), "the schema cannot be read", "cut it to the tables that are wanted");
        return None;
    };
    let mut types = Types::default();
    types.taken = taken;
    let mut found = Found { protocol: Some("sql"), types, ..Found::default() };
    found.about.push(format!("read as {}", flavor.title()));
    if !matches!(flavor, Flavor::Postgres | Flavor::Sqlite | Flavor::Other) {
        found.decide.push(
            "the gateway reads PostgreSQL and SQLite: which of them has these tables, or views of them?".to_owned(),
        );
    }
    found.decide.push(
        "an account that may read only what is named here; better, views that are made for the gateway".to_owned(),
    );
    found.decide.push("`queries` list whole tables: take out those that nobody should list".to_owned());
    tables::draft(&tables, wanted, limits, &mut found);
    Some(found)
}

fn tables_of(file: &Arc<SourceText>, flavor: Flavor, warnings: &mut Faults) -> Vec<Table> {
    let dialect = flavor.dialect();
    let (statements, open) = split::statements(&file.text, flavor);
    let mut reading = ddl::Reading::new(file, flavor, dialect.as_ref(), warnings);
    if let Some(line) = open {
        reading.tell(line, "a quotation mark or comment begins here and does not end".to_owned());
    }
    reading.read(&statements);
    reading.tables
}
