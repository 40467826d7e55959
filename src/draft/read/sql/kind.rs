//! Types of columns, as far as they matter to a contract.

use sqlparser::tokenizer::Token;

use super::Flavor;
use super::tokens::{Cursor, text};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Text,
    /// Fits 32 bits.
    Int,
    /// A whole number that may not.
    Whole,
    Decimal,
    Boolean,
    Date,
    DateTime,
    Uuid,
    /// One of these texts.
    Values(Vec<String>),
    /// Bytes, and what has no text that would tell something.
    Bytes,
    /// A list, as the database writes it.
    List,
    /// A type that is not known (yet), in small letters.
    Named(String),
}

pub fn kind(of: &Cursor<'_>, flavor: Flavor) -> Kind {
    let mut cursor = of.clone();
    let Some(name) = cursor.name() else { return Kind::Text };
    let first = name.last().to_lowercase();
    let group = cursor.clone().next_group();
    let is_list = of.tokens().iter().any(|token| token.token == Token::LBracket)
        || cursor.tokens().iter().any(|token| super::tokens::word(&token.token).as_deref() == Some("ARRAY"));
    if is_list {
        return Kind::List;
    }
    let arguments: Vec<String> = group
        .iter()
        .flat_map(|group| group.tokens())
        .filter_map(|token| match &token.token {
            Token::Number(number, _) => Some(number.clone()),
            other => text(other),
        })
        .collect();
    let only = |wanted: &str| arguments.iter().map(String::as_str).eq([wanted]);
    let has =
        |wanted: &str| of.tokens().iter().any(|token| super::tokens::word(&token.token).as_deref() == Some(wanted));
    match first.as_str() {
        "tinyint" if only("1") && flavor == Flavor::Mysql => Kind::Boolean,
        "int" | "integer" | "int4" | "mediumint" if has("UNSIGNED") => Kind::Whole,
        "int" | "integer" | "int4" | "int2" | "smallint" | "mediumint" | "tinyint" | "serial" | "serial4"
        | "serial2" | "smallserial" | "year" => Kind::Int,
        "bigint" | "int8" | "bigserial" | "serial8" | "pls_integer" => Kind::Whole,
        "numeric" | "decimal" | "dec" | "number" | "fixed" => {
            let whole = arguments.len() == 1 || arguments.get(1).is_some_and(|scale| scale == "0");
            if whole { Kind::Whole } else { Kind::Decimal }
        }
        "real" | "float" | "double" | "float4" | "float8" | "binary_float" | "binary_double" => Kind::Decimal,
        "money" | "smallmoney" if flavor == Flavor::Mssql => Kind::Decimal,
        "bool" | "boolean" => Kind::Boolean,
        "bit" if flavor == Flavor::Mssql || (flavor == Flavor::Mysql && arguments.iter().all(|size| size == "1")) => {
            Kind::Boolean
        }
        "date" => Kind::Date,
        "timestamp" | "timestamptz" | "datetime" | "datetime2" | "smalldatetime" | "datetimeoffset" => match flavor {
            Flavor::Mssql if first == "timestamp" => Kind::Bytes,
            _ => Kind::DateTime,
        },
        "uuid" | "uniqueidentifier" => Kind::Uuid,
        "enum" => Kind::Values(arguments),
        "bytea" | "blob" | "tinyblob" | "mediumblob" | "longblob" | "binary" | "varbinary" | "image" | "raw"
        | "geometry" | "geography" | "point" | "polygon" | "linestring" | "multipoint" | "multipolygon"
        | "tsvector" | "tsquery" | "rowversion" | "bfile" | "vector" => Kind::Bytes,
        "long" if has("RAW") => Kind::Bytes,
        "char" | "character" | "varchar" | "varchar2" | "nvarchar" | "nvarchar2" | "nchar" | "text" | "ntext"
        | "tinytext" | "mediumtext" | "longtext" | "clob" | "nclob" | "citext" | "name" | "string" | "bpchar"
        | "xml" | "json" | "jsonb" | "inet" | "cidr" | "macaddr" | "ltree" | "hstore" | "set" | "time" | "timetz"
        | "interval" | "long" | "sysname" | "national" | "money" | "bit" | "varbit" | "native" | "varying" => {
            Kind::Text
        }
        // SQLite goes by what a type's name holds.
        other if flavor == Flavor::Sqlite && other.contains("int") => Kind::Int,
        other if flavor == Flavor::Sqlite && ["char", "text", "clob"].iter().any(|part| other.contains(part)) => {
            Kind::Text
        }
        other => Kind::Named(other.to_owned()),
    }
}
