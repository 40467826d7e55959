//! Scalars of the contract as callers send them: the specification leaves checking custom scalars to the server.

use jiff::civil::Date;
use serde_json::Value;

/// Whether a value can be one of a scalar type; the reason reads on from "the argument `x` …". Types that are only text
/// to the gateway (ID, and the contract's own) pass.
pub fn check(type_name: &str, value: &Value) -> Result<(), &'static str> {
    let holds = |valid: fn(&str) -> bool| match value {
        Value::Null => true,
        Value::String(text) => valid(text),
        Value::Array(list) => list.iter().all(|value| check(type_name, value).is_ok()),
        Value::Number(number) => type_name == "Decimal" && valid(&number.to_string()),
        _ => false,
    };
    match type_name {
        "Date" if !holds(is_date) => Err("must be a date: 2021-03-10, 2021-03 or 2021"),
        "DateTime" if !holds(is_time) => Err("must be a time with an offset: 2021-03-10T08:00:00+08:00"),
        "Decimal" if !holds(is_decimal) => Err("must be a decimal number, as a text: \"12.50\""),
        _ => Ok(()),
    }
}

/// A whole date, or one of month or year alone (ISO 8601).
fn is_date(text: &str) -> bool {
    match text.len() {
        10 => text.parse::<Date>().is_ok(),
        7 => format!("{text}-01").parse::<Date>().is_ok(),
        4 => text.bytes().all(|byte| byte.is_ascii_digit()),
        _ => false,
    }
}

fn is_time(text: &str) -> bool {
    text.parse::<jiff::Timestamp>().is_ok()
}

fn is_decimal(text: &str) -> bool {
    text.parse::<rust_decimal::Decimal>().is_ok()
}
