//! The binding file as it is written: one YAML file a source. `docs/bindings.md` is its reference.
//!
//! These types only read; [`super::compile`] checks them against the contract and makes what the
//! engine runs on. Unknown keys are faults.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

pub use super::connection::cipher::CipherEntry;
pub use super::connection::sign::format::Sign;
pub use super::hand::format::{Quota, Withhold};
pub use super::limits::Limits;
pub use super::request::format::{Fallback, GraphqlArgument, GraphqlConstant, KeyType, Pages, Ticket};
use crate::model::yaml::Spanned;

/// Keys in the order of the file are not needed: a `BTreeMap` keeps errors and prints stable.
pub type Named<T> = BTreeMap<String, Spanned<T>>;

/// One source: where it is, what it bears, how it is asked, and which contract fields its answers fill.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SourceFile {
    /// The source's id: lower-case letters, digits and `-`.
    pub source: Spanned<String>,
    /// The department's name, as people read it.
    pub title: String,
    /// Who answers for the source.
    pub steward: Option<Steward>,
    /// What the source speaks.
    #[serde(default)]
    pub protocol: Protocol,
    /// The platform of `config/platforms.yaml` that it stands on, with other sources: its limits, its breaker and its session
    /// are shared, and it says how requests are signed.
    pub platform: Option<Spanned<String>>,
    /// Where the source is: `http(s)://…`, `sqlite:…` or `postgres://…`; `${NAME}` stands for a variable. On a
    /// platform, a path below its address is enough. Absent for `audit`, which is the gateway's own records, and where it is
    /// the platform's.
    pub base_url: Option<Spanned<String>>,
    /// Prefixes of the division codes the source covers; empty: everywhere. Elsewhere it is not asked, and its fields are
    /// UNDETERMINED (`OUTSIDE_TERRITORY`), never "no record".
    #[serde(default)]
    pub territory: Vec<Spanned<String>>,
    /// Under whose name the source is called.
    #[serde(default)]
    pub authority: Authority,
    /// Requests that are the same to the last byte share the one call that is under way. Nothing is kept when it has ended, but
    /// an answer may have been asked for a moment before the request came.
    pub shares_calls: Option<Spanned<bool>>,
    /// Sent with every request; `${NAME}` stands for a variable.
    #[serde(default)]
    pub headers: BTreeMap<String, Spanned<String>>,
    /// How requests and answers are encoded on the wire.
    #[serde(default)]
    pub encoding: Encoding,
    /// What answers are written in; `soap` sources always speak XML.
    #[serde(default)]
    pub format: Format,
    /// How requests are signed.
    pub sign: Option<Spanned<Sign>>,
    /// The source's authority, and the gateway's client certificate; absent: the system's authorities.
    pub tls: Option<Tls>,
    /// How single values are encrypted, by name: fields name it as `cipher`, requests as `{key|NAME}`.
    #[serde(default)]
    pub ciphers: Named<CipherEntry>,
    /// What the source bears: deadline, calls at once, rate, size.
    #[serde(default)]
    pub limits: Limits,
    /// What every answer is wrapped in.
    pub envelope: Option<Envelope>,
    /// What errors beside the data mean (GraphQL); absent: each costs its key, or the whole answer.
    pub errors: Option<Spanned<ErrorsEntry>>,
    /// Where an answer lists the paths of values that are shown in part (GraphQL): a JSON Pointer. They are MASKED.
    pub masked: Option<Spanned<String>>,
    /// Makes one source of many that speak alike.
    pub instances: Option<Spanned<Instances>>,
    /// What the department keeps from roles, whatever grants say.
    #[serde(default)]
    pub withhold: Vec<Spanned<Withhold>>,
    /// Roles that get nothing of this source.
    #[serde(default)]
    pub switched_off_for: Vec<Spanned<String>>,
    /// How much roles may ask of it.
    #[serde(default)]
    pub quota: Vec<Spanned<Quota>>,
    /// Operations that fill fields, by name.
    #[serde(default)]
    pub endpoints: Named<Endpoint>,
    /// Root queries this source answers with the keys of entities.
    #[serde(default)]
    pub queries: Named<Query>,
}

/// Who answers for the source.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Steward {
    /// The head of the department, who is answerable.
    pub head: Option<String>,
    /// Who does the work.
    pub person: Option<String>,
}

/// What the source speaks.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// JSON or XML over HTTP.
    #[default]
    Rest,
    /// Also subgraphs of Apollo Federation 2.
    Graphql,
    /// SOAP 1.1.
    Soap,
    /// Views of SQLite or PostgreSQL.
    Sql,
    /// The gateway's own audit records: who read what of an entity.
    Audit,
}

/// Under whose name the source is called.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Authority {
    /// The gateway's own; calls may be shared between callers.
    #[default]
    Gateway,
    /// The caller's: the call carries who asks (`X-Principal`, `X-Purpose`, `X-Case`) and is never merged.
    Caller,
}

/// How requests and answers are encoded on the wire.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Answers as their `Content-Type` (or XML declaration) says, else UTF-8; requests in UTF-8. A byte order mark is passed over; UTF-8's says
    /// that the answer is UTF-8.
    #[default]
    Auto,
    /// Requests (queries, forms, bodies) are written and answers read so.
    Gbk,
    /// As `gbk`.
    Gb18030,
}

/// What answers are written in.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    #[default]
    Json,
    Xml,
}

/// PEM files beside the binding, or variables that hold PEM.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// The only authority trusted for this source; absent: the system's.
    pub ca: Option<String>,
    /// The client certificate, for mutual TLS.
    pub client_cert: Option<String>,
    /// Its private key.
    pub client_key: Option<String>,
}

/// What every JSON answer of the source is wrapped in. Pointers are JSON Pointers.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    /// The answer counts only where this holds; else it is the source's error.
    pub ok: Option<Test>,
    /// The answer means "no record" where this holds; looked at before `ok`.
    pub absent: Option<Test>,
    /// Where the data is; absent: the whole answer.
    pub data: Option<Spanned<String>>,
    /// Where the source says what went wrong; `huxiang source try` shows it, nothing logs it, and callers never see it.
    pub message: Option<Spanned<String>>,
}

/// Of which fields an answer's errors are, and which of them say that something is not permitted.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ErrorsEntry {
    /// Where this holds of an error, what it is about is REFUSED; it is UNAVAILABLE otherwise.
    pub refused: Option<Test>,
    /// Where an error lists the paths of all fields that it is about; absent, or not there: its `path` alone.
    pub paths: Option<Spanned<String>>,
}

/// `{at: /code, is: 0}`: the value at the pointer, as text, is one of those.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Test {
    /// Where the value is: a JSON Pointer.
    pub at: Spanned<String>,
    /// The value is this, or one of these.
    pub is: Option<OneOrMany>,
    /// The value is not this, or none of these.
    pub not: Option<OneOrMany>,
}

/// A scalar as text, whatever YAML type it was written in.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Scalar(pub String);

impl JsonSchema for Scalar {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": ["string", "number", "boolean", "null"]})
    }
}

impl<'de> Deserialize<'de> for Scalar {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Scalar;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a text, a number, true, false or null")
            }
            fn visit_bool<E>(self, v: bool) -> Result<Scalar, E> {
                Ok(Scalar(v.to_string()))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Scalar, E> {
                Ok(Scalar(v.to_string()))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Scalar, E> {
                Ok(Scalar(v.to_string()))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Scalar, E> {
                Ok(Scalar(v.to_string()))
            }
            fn visit_str<E>(self, v: &str) -> Result<Scalar, E> {
                Ok(Scalar(v.to_owned()))
            }
            fn visit_unit<E>(self) -> Result<Scalar, E> {
                Ok(Scalar("null".to_owned()))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// A scalar, or any of several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum OneOrMany {
    Many(Vec<Scalar>),
    One(Scalar),
}

impl OneOrMany {
    pub fn texts(&self) -> Vec<String> {
        match self {
            Self::One(one) => vec![one.0.clone()],
            Self::Many(many) => many.iter().map(|scalar| scalar.0.clone()).collect(),
        }
    }
}

/// Many systems that speak alike (73 banks) behind one file. Every instance is called with its own variables:
/// `${instance.COLUMN}` in `base_url`, `headers`, `sign` and `tls`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Instances {
    /// A CSV file beside the binding, with a header line; columns `id` and `title` are required.
    pub file: String,
    /// What decides which instance is asked; absent: all of them are.
    pub by: Option<DividedBy>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DividedBy {
    /// The entity's division: the one instance whose column `territory` covers it, on the days between the columns
    /// `from` and `until`.
    Territory,
}

/// One operation of the source: what it is asked with, and which contract fields its answer fills.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// The contract's entity type whose fields this fills.
    pub entity: Spanned<String>,
    /// A field of the entity (dotted path) whose value, or each of whose values, the source knows records by;
    /// absent: the entity's own key.
    pub key: Option<Spanned<String>>,
    /// Where this has no record, the entity does not exist (one endpoint an entity type).
    #[serde(default)]
    pub establishes: bool,
    /// How to ask for one key.
    pub one: Option<Spanned<Request>>,
    /// How to ask for many keys at once. Where both are there, `one` serves a single key.
    pub many: Option<Spanned<Request>>,
    /// Who is asked instead where this endpoint does not answer.
    pub fallback: Option<Spanned<Fallback>>,
    /// Further inputs of `one`'s templates: a name and a field (dotted path) of the entity.
    #[serde(default)]
    pub with: BTreeMap<String, Spanned<String>>,
    /// A condition (CEL over the entity's fields and `today`); where it is not true, the source is not asked
    /// and the fields are UNDETERMINED.
    pub requires: Option<Spanned<String>>,
    /// Overrides the source's deadline.
    pub timeout_ms: Option<u64>,
    /// Overrides how long the source is given to begin an answer.
    pub first_byte_ms: Option<Spanned<u64>>,
    /// Where a record says the day it is of, read as a Date: told beside the values as `validOn`.
    pub valid_on: Option<Spanned<Field>>,
    /// Fields of the entity by dotted path, and where each is in a record.
    #[serde(default)]
    pub fields: Named<Field>,
    /// Fields that another source answers for and this one holds too, single values and lists; compared when the caller
    /// asks for claims, and where a derived field decides on them.
    #[serde(default)]
    pub also: Named<Field>,
}

/// A request template. `{key}` is the key, `{keys}` all keys of a batch, `{name}` an input of `with`,
/// `{arg.name}` an argument of a root query, `{year}` and `{today}` the date (+08:00).
/// In `body`, a text that is exactly `{keys}` becomes a JSON list and `{key#}` a JSON number;
/// in paths and query values the text is percent-encoded.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Request {
    // --- REST and SOAP: exactly one of `get` and `post`, relative to `base_url`
    /// A path below `base_url`, asked with GET.
    pub get: Option<Spanned<String>>,
    /// A path below `base_url`, asked with POST.
    pub post: Option<Spanned<String>>,
    /// Query parameters. `{keys}` repeats the parameter, `{keys:,}` joins the keys with what follows the colon.
    #[serde(default)]
    pub query: BTreeMap<String, Spanned<Scalar>>,
    /// Headers of this request, beside the source's.
    #[serde(default)]
    pub headers: BTreeMap<String, Spanned<String>>,
    /// A JSON body, written in YAML.
    pub body: Option<Spanned<serde_json::Value>>,
    /// A body as forms have it (`application/x-www-form-urlencoded`): names and values, written as those of `query` are.
    pub form: Option<Spanned<BTreeMap<String, Spanned<Scalar>>>>,
    /// An XML body (for SOAP: what stands inside `soap:Body`). `{key}` is escaped; what stands between
    /// `{#keys}` and `{/keys}` is repeated for every key.
    pub xml: Option<Spanned<String>>,
    /// SOAP 1.1: the `SOAPAction` header.
    pub action: Option<String>,

    // --- GraphQL
    /// A root field of the source's schema.
    pub field: Option<Spanned<String>>,
    /// The argument that takes the key (in `one`) or the list of keys (in `many`), and its type.
    pub argument: Option<GraphqlArgument>,
    /// Further arguments of `field`, each with the value that it always has.
    #[serde(default)]
    pub constants: Vec<Spanned<GraphqlConstant>>,
    /// `many` only: ask `field` once a key under an alias, all in one document.
    #[serde(default)]
    pub aliases: bool,
    /// Apollo Federation 2: read through `_entities`, the representation's type name and key field.
    pub entities: Option<Entities>,

    // --- SQL
    /// A view (or table); the statement reads only the columns that `fields` name and the caller may have.
    pub view: Option<Spanned<String>>,
    /// The view's column that holds the key.
    pub key_column: Option<Spanned<String>>,
    /// What that column holds; absent: `text`. A key that is no such value has no record, and is not asked for.
    pub key_type: Option<Spanned<KeyType>>,

    // --- reading the answer, all protocols
    /// The cipher that records tell their keys in (`item_key`, `items_by_key`, and a query's `key_at`).
    pub key_cipher: Option<Spanned<String>>,
    /// Where the list of records is, inside the envelope's data; absent: the data is the record (in `many`: the list).
    pub items: Option<Spanned<String>>,
    /// `many`: where each record holds its key. Several records of one key all count.
    pub item_key: Option<Spanned<String>>,
    /// `many`: `items` is an object whose member names are the keys.
    #[serde(default)]
    pub items_by_key: bool,
    /// Records are arrays; the pointer names the list of their column names.
    pub columns: Option<Spanned<String>>,
    /// Only records for which this holds count.
    pub only: Option<Test>,
    /// Keys in one call at most; default 100.
    pub batch_max: Option<usize>,
    /// Further pages are fetched until there is none.
    pub pages: Option<Spanned<Pages>>,
    /// The answer is a ticket, with which the answer is asked for.
    pub ticket: Option<Spanned<Ticket>>,
}

/// Apollo Federation 2: entities by their representations.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entities {
    /// `__typename` of the representation.
    pub typename: String,
    /// The key field in the representation.
    pub key: String,
}

/// A root query answered with entity keys: a lookup (one key) or a listing. Exactly one of `key_at` and `key`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Query {
    /// How it is asked; `{arg.NAME}` is an argument of the query.
    pub ask: Spanned<Request>,
    /// Where each record holds the entity's key.
    pub key_at: Option<Spanned<String>>,
    /// The key of what has none in its record: a text, perhaps with the query's arguments as `{arg.name}`. Of a query
    /// that answers one entity.
    pub key: Option<Spanned<String>>,
    /// Where each division has an instance of its own: the argument that is a division's code, or the beginning of one. The
    /// instances that cover any of it are asked; absent: all that count today.
    pub division: Option<Spanned<String>>,
    /// Of a listing: where the answer's data holds how many there are in all, as a whole number. Absent: nobody knows before all
    /// were looked at.
    pub total: Option<Spanned<String>>,
    /// Fields of the entity that the listing's records hold already.
    #[serde(default)]
    pub fields: Named<Field>,
}

/// How one contract field is read from a record: a pointer, or this.
#[derive(Debug)]
pub enum Field {
    Pointer(String),
    Full(Box<FullField>),
}

impl JsonSchema for Field {
    fn schema_name() -> Cow<'static, str> {
        "Field".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let full = generator.subschema_for::<FullField>();
        let pointer = "A JSON Pointer: where the value is in the record.";
        json_schema!({
            "description": "Where a field's value is, and how it is converted: a JSON Pointer (`/dbje`), or a mapping.",
            "anyOf": [{"type": "string", "description": pointer, "pattern": "^(/.*)?$"}, full],
        })
    }
}

// By hand, because `#[serde(untagged)]` would lose the places in the file and the names of unknown keys.
impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Field;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a JSON Pointer (`/dbje`) or a mapping (`{at: /dbje, unit: fen}`)")
            }
            fn visit_str<E>(self, v: &str) -> Result<Field, E> {
                Ok(Field::Pointer(v.to_owned()))
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Field, A::Error> {
                FullField::deserialize(serde::de::value::MapAccessDeserializer::new(map))
                    .map(|full| Field::Full(Box::new(full)))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

/// Where a value is in the record, and how it is converted.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct FullField {
    /// JSON Pointer in the record; for an object with `fields`, where the object is (`""`: the record itself).
    pub at: Option<Spanned<String>>,
    /// A list: `records` (one element a record), `instances` (one element an instance of the source) or
    /// where the array is in the record (arrays of several records are joined; a single value is a list of one).
    pub list: Option<Spanned<String>>,
    /// A reference to another entity by its key: where the key (or the array of keys) is.
    #[serde(rename = "ref")]
    pub reference: Option<Spanned<String>>,
    /// A fixed value.
    #[serde(rename = "const")]
    pub constant: Option<Spanned<Scalar>>,
    /// In a list of `instances`: a column of the instance list (`id`, `title`, …).
    pub instance: Option<Spanned<String>>,
    /// In a list of `instances`: `state` (an ItemState) or `code` (an ErrorCode) of that instance's call.
    pub outcome: Option<Spanned<String>>,

    /// The fields of the object, or of each element of the list.
    pub fields: Named<Field>,
    /// Only elements for which this holds.
    pub only: Option<Test>,
    /// For a field whose type is an interface or a union: where each value says which type it is of …
    pub type_at: Option<Spanned<String>>,
    /// … the types by what stands there …
    pub types: Named<String>,
    /// … and the type of a value of which anything else stands there; without it, such a value is the source's error.
    pub otherwise: Option<Spanned<String>>,

    /// The cipher that the value is encrypted with: it is decrypted first, wherever it is read.
    pub cipher: Option<Spanned<String>>,
    /// A code table of `config/codes/`: raw code → value.
    pub codes: Option<Spanned<String>>,
    /// As `codes`, written in place.
    pub map: Option<BTreeMap<String, Scalar>>,
    /// `fen` (1/100 yuan), `jiao`, `yuan`, `wan` (10 000 yuan).
    pub unit: Option<Spanned<String>>,
    /// Numbers are written with thousands separators.
    pub thousands: bool,
    /// The date's pattern: `yyyyMMdd`, `yyyy-MM-dd`, `yyyy/M/d`, `yyyy年M月d日`, `yyyyMM`, `yyyyMMddHHmmss`,
    /// `yyyy-MM-dd HH:mm:ss`, `epoch-ms`. Without it: ISO 8601.
    pub date: Option<Spanned<String>>,
    /// Raw values that mean true, and false.
    pub yes: Option<OneOrMany>,
    /// Raw values that mean false.
    pub no: Option<OneOrMany>,
    /// A text that is a list, cut at this separator (for list fields, with `at`).
    pub split: Option<String>,
    /// Base64 of an image; metadata (EXIF and the like) is cut out.
    pub image: bool,
    /// A raw value that means the field is empty (`"-"`, `"9999"`).
    pub null: Option<OneOrMany>,
    /// A missing pointer is an error of the source instead of null.
    pub required: bool,
    /// One value out of the records of several keys: `first` (default; the first that is not null), `sum`, `all`,
    /// `any`, `max`, `min`.
    pub combine: Option<Spanned<String>>,
    /// With `all`, `any` or `sum`: what a key without a record counts as; absent: it does not count.
    pub absent: Option<Spanned<Scalar>>,
}
