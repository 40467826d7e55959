//! `scans:`: what a scan over many entities may take, whoever asks for it. What roles may scan stands in `roles.yaml`.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::reader::Reader;
use crate::model::yaml::{self, Spanned};

/// As it is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ScansEntry {
    /// Comparisons in one condition; absent: 64.
    pub conditions_max: Option<Spanned<u64>>,
    /// Values that one scan lists, in conditions and as keys; absent: 500.
    pub values_max: Option<Spanned<u64>>,
    /// Entities that an ordered scan shows; absent: 1 000.
    pub top_max: Option<Spanned<u64>>,
    /// Groups of one statistic; absent: 10 000.
    pub groups_max: Option<Spanned<u64>>,
    /// Groups of fewer entities are suppressed; 0: none is. Absent: 5.
    pub group_min: Option<Spanned<u64>>,
    /// How long a stream of a scan may run; it ends with what is needed to go on. Absent: 240.
    pub minutes_max: Option<Spanned<u64>>,
    /// Scans under way at once, queries and streams; one more is refused. Absent: 8.
    pub at_once_max: Option<Spanned<u64>>,
    /// Of one principal (without a token: of one address); absent: 2.
    pub per_caller_max: Option<Spanned<u64>>,
    /// The lengths at which the levels of division codes end, ascending: `[2, 4, 6]`. Groups of zeros at the end of a code
    /// are then no part of it. Absent: codes are taken as they are.
    pub division_digits: Vec<Spanned<u64>>,
}

/// Checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scans {
    pub conditions_max: usize,
    /// All of `in` and of listed keys together.
    pub values_max: usize,
    pub top_max: usize,
    pub groups_max: usize,
    /// 0: no group is suppressed.
    pub group_min: usize,
    /// Of one stream.
    pub time_max: Duration,
    pub at_once_max: usize,
    pub per_caller_max: usize,
    /// For [`Prefix::of`](crate::base::prefix::Prefix::of).
    pub division_digits: Vec<usize>,
}

impl Scans {
    pub(super) fn read(entry: &ScansEntry, reader: &mut Reader<'_>) -> Self {
        let mut number =
            |name, at, range, default| usize::try_from(reader.within(name, at, range, default)).unwrap_or(usize::MAX);
        let at_once_max = number("at_once_max", &entry.at_once_max, 1..=1_000, 8);
        let scans = Self {
            conditions_max: number("conditions_max", &entry.conditions_max, 1..=1_000, 64),
            values_max: number("values_max", &entry.values_max, 1..=10_000, 500),
            top_max: number("top_max", &entry.top_max, 1..=100_000, 1_000),
            groups_max: number("groups_max", &entry.groups_max, 1..=1_000_000, 10_000),
            group_min: number("group_min", &entry.group_min, 0..=1_000, 5),
            at_once_max,
            per_caller_max: number(
                "per_caller_max",
                &entry.per_caller_max,
                1..=1_000,
                2.min(u64::try_from(at_once_max).unwrap_or(u64::MAX)),
            ),
            time_max: Duration::ZERO,
            division_digits: Vec::new(),
        };
        let minutes = reader.within("minutes_max", &entry.minutes_max, 1..=10_080, 240);
        Self {
            time_max: Duration::from_secs(minutes.saturating_mul(60)),
            division_digits: levels(&entry.division_digits, reader),
            ..scans
        }
    }
}

fn levels(written: &[Spanned<u64>], reader: &mut Reader<'_>) -> Vec<usize> {
    let mut levels: Vec<usize> = Vec::with_capacity(written.len());
    for at in written {
        let level = usize::try_from(at.value).unwrap_or(usize::MAX);
        if level == 0 || level > 64 || levels.last().is_some_and(|before| *before >= level) {
            let hint = "write how long a code is at each level, the shortest first: `[2, 4, 6, 9, 12]`; 64 at most";
            let message = format!("`division_digits`: {} is not a longer code than the one before", at.value);
            reader.faults.add(reader.text, yaml::span(at), message, hint);
        }
        levels.push(level);
    }
    levels
}
