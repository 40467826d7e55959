//! One value out of several records' values, in the contract's JSON.

use std::cmp::Ordering;

use rust_decimal::Decimal;

use super::{ConvertError, decimal};
use crate::base::decimal::exact;
use crate::model::binding::conversion::{Combine, Kind};

/// Appends the combined value to `out`. `values` are the contract's JSON of each record; nulls do not count, and
/// where nothing counts the result is `null`.
///
/// `all` and `any` are for Booleans, `sum` for Decimals and Ints; `max` and `min` for those, for dates (a partial
/// date sorts before the days in it) and for enumerations, in the order of their values (`UNRECOGNIZED` only where
/// there is nothing else).
pub fn combine<'a>(
    values: impl IntoIterator<Item = &'a str>,
    how: Combine,
    kind: &Kind,
    out: &mut Vec<u8>,
) -> Result<(), ConvertError> {
    let mut values = values.into_iter().filter(|value| *value != "null").peekable();
    if values.peek().is_none() {
        out.extend_from_slice(b"null");
        return Ok(());
    }
    match how {
        Combine::First => values.next().into_iter().for_each(|value| out.extend_from_slice(value.as_bytes())),
        Combine::Sum => return sum(values, kind, out),
        Combine::All => write_bool(values.all(|value| value == "true"), out),
        Combine::Any => write_bool(values.any(|value| value == "true"), out),
        Combine::Max | Combine::Min => {
            let wanted = if how == Combine::Max { Ordering::Greater } else { Ordering::Less };
            let mut best: Option<&str> = None;
            for value in values {
                let better = match best {
                    None => true,
                    Some(current) => is_better(value, current, wanted, kind)?,
                };
                if better {
                    best = Some(value);
                }
            }
            out.extend_from_slice(best.unwrap_or("null").as_bytes());
        }
    }
    Ok(())
}

fn write_bool(value: bool, out: &mut Vec<u8>) {
    out.extend_from_slice(if value { b"true" } else { b"false" });
}

fn sum<'a>(values: impl Iterator<Item = &'a str>, kind: &Kind, out: &mut Vec<u8>) -> Result<(), ConvertError> {
    let too_large = ConvertError::new("the sum does not fit exactly");
    let mut total = Decimal::ZERO;
    for value in values {
        let value = number(value)?;
        let scale = total.scale().max(value.scale());
        total = total.checked_add(value).ok_or(too_large)?;
        if total.scale() < scale {
            return Err(too_large);
        }
    }
    if *kind == Kind::Int {
        let total = i32::try_from(total).map_err(|_| too_large)?;
        out.extend_from_slice(total.to_string().as_bytes());
        return Ok(());
    }
    decimal::write(total, out).map(|_| ())
}

fn number(json: &str) -> Result<Decimal, ConvertError> {
    exact(json.trim_matches('"')).ok_or(ConvertError::new("this is not a number"))
}

fn is_better(value: &str, current: &str, wanted: Ordering, kind: &Kind) -> Result<bool, ConvertError> {
    Ok(match kind {
        Kind::Decimal | Kind::Int => number(value)?.cmp(&number(current)?) == wanted,
        Kind::Enum(values) => {
            let rank = |json: &str| {
                let name = json.trim_matches('"');
                values.iter().position(|value| value == name).filter(|_| name != "UNRECOGNIZED")
            };
            match (rank(value), rank(current)) {
                (Some(value), Some(current)) => value.cmp(&current) == wanted,
                (value, current) => value.is_some() && current.is_none(),
            }
        }
        _ => value.trim_matches('"').cmp(current.trim_matches('"')) == wanted,
    })
}
