//! Thresholds: numbers that rules compare with, set by the departments that own them and changed on a day, not in the rules.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::Date;
use rust_decimal::Decimal;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::base::decimal;
use crate::base::fault::{Faults, SourceText};
use crate::model::yaml::{Spanned, place};

/// By name.
pub type Thresholds = BTreeMap<String, Arc<Threshold>>;

/// A number that rules compare with, as `threshold('name')`.
#[derive(Debug, PartialEq, Eq)]
pub struct Threshold {
    pub name: String,
    pub zh: String,
    pub en: String,
    pub unit: String,
    /// At least one; the earliest first, each from another day.
    values: Vec<ThresholdValue>,
}

/// What a threshold is from a day on.
#[derive(Debug, PartialEq, Eq)]
pub struct ThresholdValue {
    pub since: Date,
    pub value: Decimal,
    /// The document that sets it.
    pub document: Option<String>,
}

impl Threshold {
    /// What holds on a day; `None` before the first.
    pub fn on(&self, day: Date) -> Option<&ThresholdValue> {
        self.values.iter().rev().find(|value| value.since <= day)
    }
}

/// A number that rules compare with.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ThresholdFile {
    /// What it is, in Chinese.
    zh: String,
    /// What it is, in English.
    en: String,
    /// What it counts, as it is shown: `元/人·年`.
    unit: String,
    /// What it is, from which day on; the last that has begun holds. Before the first, rules that compare with it are
    /// undetermined.
    values: Vec<Spanned<ThresholdValueFile>>,
}

/// What a threshold is from a day on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ThresholdValueFile {
    /// The first day, as `2026-01-01`.
    since: Spanned<String>,
    /// A decimal number, quoted.
    value: Spanned<String>,
    /// The document that sets it.
    document: Option<String>,
}

/// Whatever is faulty is reported, and the threshold left out.
pub(super) fn read(
    name: &str,
    written: &Spanned<ThresholdFile>,
    source: &Arc<SourceText>,
    faults: &mut Faults,
) -> Option<Threshold> {
    let before = faults.len();
    let file = &written.value;
    let mut values: Vec<ThresholdValue> = Vec::with_capacity(file.values.len());
    for one in &file.values {
        let ThresholdValueFile { since, value, document } = &one.value;
        let Ok(day) = since.value.parse::<Date>() else {
            let message = format!("`{}` is not a day", since.value);
            faults.add(source, place(since), message, "write it as 2026-01-31");
            continue;
        };
        let Some(number) = decimal::exact(&value.value) else {
            let message = format!("`{}` is not a decimal number", value.value);
            faults.add(source, place(value), message, "write it as \"1234.50\"");
            continue;
        };
        if values.iter().any(|known| known.since == day) {
            let message = format!("the threshold `{name}` has two values from {day} on");
            faults.add(source, place(since), message, "delete one, or give it another day");
        }
        values.push(ThresholdValue { since: day, value: number, document: document.clone() });
    }
    if file.values.is_empty() {
        let message = format!("the threshold `{name}` has no value");
        faults.add(source, place(written), message, "add one: `values: [{since: 2026-01-01, value: \"100\"}]`");
    }
    values.sort_by_key(|value| value.since);
    let (zh, en, unit) = (file.zh.clone(), file.en.clone(), file.unit.clone());
    (faults.len() == before).then(|| Threshold { name: name.to_owned(), zh, en, unit, values })
}
