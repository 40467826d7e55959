//! How a raw value becomes the contract's: compiled from a binding's field and the type of its slot.

pub mod codes;
pub mod date_pattern;

use std::collections::BTreeSet;
use std::sync::Arc;

use super::format::{FullField, OneOrMany};
use crate::base::fault::{Faults, Place, SourceText, did_you_mean};
use crate::model::yaml::{self, Spanned};
use codes::{CodeTable, CodeTables};
use date_pattern::DatePattern;

/// The type of a leaf of the contract, as far as conversion goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Text,
    Id,
    /// 32 bits, as GraphQL has it.
    Int,
    Decimal,
    Boolean,
    Date,
    DateTime,
    /// The enumeration's values.
    Enum(Arc<[String]>),
    GeoJson,
    /// Passed on as it is.
    Any,
}

impl Kind {
    /// As people read it.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Text => "a String",
            Self::Id => "an ID",
            Self::Int => "an Int",
            Self::Decimal => "a Decimal",
            Self::Boolean => "a Boolean",
            Self::Date => "a Date",
            Self::DateTime => "a DateTime",
            Self::Enum(_) => "an enumeration",
            Self::GeoJson => "a GeoJSON",
            Self::Any => "any value",
        }
    }
}

/// Stands where a value could not be decrypted: it fits nothing.
pub const UNDECIPHERED: &str = r#"{"undeciphered":true}"#;

/// One value out of several records'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Combine {
    /// The first that is not null.
    #[default]
    First,
    /// Exact; nulls do not count.
    Sum,
    All,
    Any,
    Max,
    Min,
}

/// What `engine::convert` runs on. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Conversion {
    pub(crate) kind: Kind,
    pub(crate) codes: Option<Arc<CodeTable>>,
    /// The value is multiplied by this power of ten: fen is -2.
    pub(crate) shift: i32,
    pub(crate) thousands: bool,
    pub(crate) date: DatePattern,
    pub(crate) yes: Option<Arc<[String]>>,
    pub(crate) no: Option<Arc<[String]>>,
    pub(crate) nulls: Arc<[String]>,
    pub(crate) image: bool,
}

impl Conversion {
    /// Whether the value's text passes through as it is.
    pub fn is_plain_text(&self) -> bool {
        matches!(self.kind, Kind::Text | Kind::Id) && self.codes.is_none() && self.nulls.is_empty() && !self.image
    }

    /// A value that is already as the contract has it, or nearly (a number for an ID, ISO dates).
    pub fn plain(kind: Kind) -> Self {
        Self {
            kind,
            codes: None,
            shift: 0,
            thousands: false,
            date: DatePattern::Iso,
            yes: None,
            no: None,
            nulls: Arc::from([]),
            image: false,
        }
    }

    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Options that do not fit the kind are faults. `place` is where the field stands, for options without a place.
    pub fn compile(
        field: &FullField,
        kind: Kind,
        codes: &CodeTables,
        text: &Arc<SourceText>,
        place: Place,
        faults: &mut Faults,
    ) -> Self {
        let mut compiling = Compiling { field, kind: &kind, text, place, faults };
        let table = compiling.table(codes);
        let shift = compiling.shift();
        let date = compiling.date();
        compiling.flags();
        Self {
            codes: table,
            shift,
            thousands: field.thousands,
            date,
            yes: texts(field.yes.as_ref()),
            no: texts(field.no.as_ref()),
            nulls: texts(field.null.as_ref()).unwrap_or_else(|| Arc::from([])),
            image: field.image,
            kind,
        }
    }
}

fn texts(values: Option<&OneOrMany>) -> Option<Arc<[String]>> {
    values.map(|values| values.texts().into())
}

struct Compiling<'a> {
    field: &'a FullField,
    kind: &'a Kind,
    text: &'a Arc<SourceText>,
    place: Place,
    faults: &'a mut Faults,
}

impl Compiling<'_> {
    fn fault(&mut self, at: Place, message: impl Into<String>, hint: impl Into<String>) {
        self.faults.add(self.text, at, message, hint);
    }

    /// The place of an option; where the file's reader lost it, the field's.
    fn at(&self, spanned: &Spanned<String>) -> Place {
        let at = yaml::place_of(spanned);
        if at.line == 0 { self.place } else { at }
    }

    fn unfit(&mut self, at: Place, option: &str, fits: &str) {
        let kind = self.kind.name();
        self.fault(at, format!("`{option}` is for {fits}, and the field is {kind}"), format!("delete `{option}`"));
    }

    fn table(&mut self, codes: &CodeTables) -> Option<Arc<CodeTable>> {
        let (table, at, origin) = match (&self.field.codes, &self.field.map) {
            (Some(name), None) => {
                let at = self.at(name);
                let Some(table) = codes.get(&name.value) else {
                    let hint = did_you_mean(&name.value, codes.names(), "add the table to config/codes/");
                    self.fault(at, format!("there is no code table `{}`", name.value), hint);
                    return None;
                };
                (Arc::clone(table), at, format!("the code table `{}`", name.value))
            }
            (None, Some(map)) => {
                let pairs = map.iter().map(|(code, value)| (code.clone(), value.0.clone()));
                (Arc::new(CodeTable::of(pairs)), self.place, "`map`".to_owned())
            }
            (Some(name), Some(_)) => {
                let at = self.at(name);
                self.fault(at, "the field has both `codes` and `map`", "delete one of them");
                return None;
            }
            (None, None) => return None,
        };
        if !matches!(self.kind, Kind::Enum(_) | Kind::Text | Kind::Id | Kind::Boolean) {
            self.unfit(at, "codes", "enumerations, Strings and Booleans");
            return None;
        }
        self.check_values(&table, at, &origin);
        Some(table)
    }

    /// Every value of the table must be one that the slot can take.
    fn check_values(&mut self, table: &CodeTable, at: Place, origin: &str) {
        let booleans = ["true".to_owned(), "false".to_owned()];
        let values: &[String] = match self.kind {
            Kind::Enum(values) => values,
            Kind::Boolean => &booleans,
            _ => return,
        };
        let wrong: BTreeSet<&str> = table
            .rows()
            .map(|(_, row)| row.value.as_str())
            .filter(|value| !values.iter().any(|v| v == value))
            .collect();
        for value in wrong {
            let hint = did_you_mean(value, values.iter().map(String::as_str), "add it to the contract's enumeration");
            let kind = self.kind.name();
            self.faults.add(
                self.text,
                at,
                format!("{origin} gives `{value}`, which the field ({kind}) cannot take"),
                hint,
            );
        }
    }

    fn shift(&mut self) -> i32 {
        let Some(unit) = &self.field.unit else {
            return 0;
        };
        let at = self.at(unit);
        if *self.kind != Kind::Decimal {
            self.unfit(at, "unit", "Decimals");
        }
        match unit.value.as_str() {
            "fen" => -2,
            "jiao" => -1,
            "yuan" => 0,
            "wan" => 4,
            other => {
                let hint = did_you_mean(other, ["fen", "jiao", "yuan", "wan"], "units are fen, jiao, yuan and wan");
                self.fault(at, format!("there is no unit `{other}`"), hint);
                0
            }
        }
    }

    fn date(&mut self) -> DatePattern {
        let Some(pattern) = &self.field.date else {
            return DatePattern::Iso;
        };
        let at = self.at(pattern);
        if !matches!(self.kind, Kind::Date | Kind::DateTime) {
            self.unfit(at, "date", "Dates and DateTimes");
        }
        match DatePattern::parse(&pattern.value) {
            Ok(parsed) => {
                if *self.kind == Kind::DateTime && !parsed.has_time() {
                    self.fault(at, "the field is a DateTime, and the pattern has no time of day", "add `HHmmss`");
                }
                parsed
            }
            Err(reason) => {
                self.fault(at, reason, "patterns are made of yyyy, MM, dd, HH, mm, ss and what stands between them");
                DatePattern::Iso
            }
        }
    }

    fn flags(&mut self) {
        let at = self.place;
        if self.field.thousands && !matches!(self.kind, Kind::Decimal | Kind::Int) {
            self.unfit(at, "thousands", "Decimals and Ints");
        }
        if (self.field.yes.is_some() || self.field.no.is_some()) && *self.kind != Kind::Boolean {
            self.unfit(at, "yes / no", "Booleans");
        }
        if self.field.image && *self.kind != Kind::Text {
            self.unfit(at, "image", "Strings");
        }
    }
}
