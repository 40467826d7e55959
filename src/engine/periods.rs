//! The periods that an operation cuts its lists of audit records to, so that no more records are read than are shown.

use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};
use serde_json::{Map, Value};

use super::error::RequestError;
use super::operation::{Operation, Selection, What};
use crate::base::code::ErrorCode;
use crate::model::binding::format::Protocol;
use crate::model::contract::SlotId;
use crate::model::snapshot::Snapshot;
use crate::source::Period;

/// Different periods of one operation.
const PERIODS_MAX: usize = 16;

/// Each once. Refuses an operation that asks for more different ones than the records are read for.
pub fn periods(
    snapshot: &Snapshot,
    operation: &Operation,
    variables: &Map<String, Value>,
) -> Result<Arc<[Period]>, RequestError> {
    let mut found: Vec<Period> = Vec::new();
    let mut next: Vec<&Selection> = operation.roots.iter().collect();
    while let Some(selection) = next.pop() {
        next.extend(&selection.children);
        let What::Slot(slot) = selection.what else { continue };
        if !is_log(snapshot, slot) {
            continue;
        }
        let day = |name: &str| selection.argument(name, variables).as_str();
        let period = Period { from: day("from").and_then(begin), to: day("to").and_then(end) };
        if !found.contains(&period) {
            found.push(period);
        }
    }
    if found.len() > PERIODS_MAX {
        let message = format!("one request may ask for at most {PERIODS_MAX} different periods of an access log");
        return Err(RequestError::new(ErrorCode::LimitExceeded, message));
    }
    Ok(found.into())
}

/// Whether a slot is a list of audit records.
fn is_log(snapshot: &Snapshot, slot: SlotId) -> bool {
    let bindings = &snapshot.bindings;
    let endpoint = bindings.provider(slot).filter(|_| snapshot.contract.slot(slot).list.is_some());
    let connections = endpoint.map(|id| &bindings.source(bindings.endpoint(id).source).connections);
    connections.is_some_and(|all| all.iter().any(|connection| connection.protocol == Protocol::Audit))
}

/// The first moment of a day, month or year, +08:00.
fn begin(date: &str) -> Option<Timestamp> {
    moment(whole(date)?.0)
}

/// The first moment after it.
fn end(date: &str) -> Option<Timestamp> {
    moment(whole(date)?.1)
}

fn moment(day: Date) -> Option<Timestamp> {
    let zone = TimeZone::fixed(Offset::constant(8));
    day.to_zoned(zone).ok().map(|at| at.timestamp())
}

/// The first day of a date, which may be partial, and the first day after it.
fn whole(date: &str) -> Option<(Date, Date)> {
    let mut parts = date.split('-').map(|part| part.parse::<i16>().ok());
    let year = parts.next().flatten()?;
    let of = |month: Option<i16>, day: Option<i16>| {
        let part = |n: Option<i16>| n.map_or(Some(1), |n| i8::try_from(n).ok());
        Date::new(year, part(month)?, part(day)?).ok()
    };
    let (month, day) = (parts.next().flatten(), parts.next().flatten());
    let first = of(month, day)?;
    let span = match (month, day) {
        (_, Some(_)) => jiff::Span::new().days(1),
        (Some(_), None) => jiff::Span::new().months(1),
        (None, None) => jiff::Span::new().years(1),
    };
    Some((first, first.checked_add(span).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_partial_date_is_the_whole_of_it() {
        let text = |at: Option<Timestamp>| at.map(|at| at.to_string());
        for (date, from, to) in [
            ("2026-03-10", "2026-03-09T16:00:00Z", "2026-03-10T16:00:00Z"),
            ("2026-02", "2026-01-31T16:00:00Z", "2026-02-28T16:00:00Z"),
            ("2025", "2024-12-31T16:00:00Z", "2025-12-31T16:00:00Z"),
        ] {
            assert_eq!((text(begin(date)), text(end(date))), (Some(from.to_owned()), Some(to.to_owned())), "{date}");
        }
        for wrong in ["", "x", "2026-13", "2026-02-30", "2026-99-99"] {
            assert_eq!(begin(wrong), None, "{wrong}");
        }
    }
}
