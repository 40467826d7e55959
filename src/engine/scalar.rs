//! Scalars of the contract as callers send them: the specification leaves checking custom scalars to the server.

use apollo_compiler::Schema;
use jiff::civil::Date;
use serde_json::Value;

use super::execute::cursor::RESUME_CHARS_MAX;
use crate::base::decimal::is_decimal;
use crate::model::contract::scan::RESUME;

/// Departments are asked with these, in addresses and headers too.
const ID_BYTES_MAX: usize = 256;
const TEXT_BYTES_MAX: usize = 4_096;

fn is_longer(value: &Value, bytes_max: usize) -> bool {
    match value {
        Value::String(text) => text.len() > bytes_max,
        // JSON's nesting was counted when it was read.
        Value::Array(list) => list.iter().any(|value| is_longer(value, bytes_max)),
        _ => false,
    }
}

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
        "ID" if is_longer(value, ID_BYTES_MAX) => Err("is longer than 256 bytes"),
        RESUME if is_longer(value, RESUME_CHARS_MAX) => Err("is longer than 65536 bytes"),
        RESUME => Ok(()),
        _ if is_longer(value, TEXT_BYTES_MAX) => Err("is longer than 4096 bytes"),
        "Date" if !holds(is_date) => Err("must be a date: 2021-03-10, 2021-03 or 2021"),
        "DateTime" if !holds(is_time) => Err("must be a time with an offset: 2021-03-10T08:00:00+08:00"),
        "Decimal" if !holds(is_decimal) => Err("must be a decimal number, as a text: \"12.50\""),
        "IdNumber" if !holds(is_id_number) => Err("must be an id number of 18 characters with its check digit"),
        _ => Ok(()),
    }
}

/// As [`check`], for a value of any input type: the fields of input objects are looked at by their definitions, and the
/// reason names the one that is at fault.
pub fn check_input(schema: &Schema, type_name: &str, value: &Value) -> Result<(), String> {
    inside(schema, type_name, value, &mut Vec::new())
}

/// JSON's nesting was counted when it was read, that of literals before the parser.
fn inside<'v>(schema: &Schema, type_name: &str, value: &'v Value, path: &mut Vec<&'v str>) -> Result<(), String> {
    let Some(input) = schema.get_input_object(type_name) else {
        let told = |reason: &str| match path.is_empty() {
            true => reason.to_owned(),
            false => format!("is not valid: `{}` {reason}", path.join(".")),
        };
        return check(type_name, value).map_err(told);
    };
    match value {
        Value::Array(list) => list.iter().try_for_each(|one| inside(schema, type_name, one, path)),
        Value::Object(members) => {
            for (name, member) in members {
                let Some(field) = input.fields.get(name.as_str()) else { continue };
                path.push(name);
                inside(schema, field.ty.inner_named_type(), member, path)?;
                path.pop();
            }
            Ok(())
        }
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

/// A citizen's number by GB 11643: 17 digits and a check digit (ISO 7064, MOD 11-2), `X` for ten.
fn is_id_number(text: &str) -> bool {
    let digit = |c: char| c.to_digit(10);
    let mut sum = 0;
    for (at, c) in text.chars().enumerate() {
        let value = if c == 'X' && at == 17 { Some(10) } else { digit(c) };
        let Some(value) = value else { return false };
        sum = (sum * 2 + value) % 11;
    }
    text.len() == 18 && sum == 1
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::check;

    #[test]
    fn an_id_number_has_18_characters_and_its_check_digit() {
        for good in ["11010519491231002X", "440524188001010014"] {
            assert_eq!(check("IdNumber", &json!(good)), Ok(()), "{good}");
        }
        for bad in
            ["110105194912310021", "11010519491231002x", "1101051949123100", "", "X10105194912310021", "一二三四五六"]
        {
            assert!(check("IdNumber", &json!(bad)).is_err(), "{bad}");
        }
        assert!(check("IdNumber", &json!(440524188001010014_u64)).is_err());
    }
}
