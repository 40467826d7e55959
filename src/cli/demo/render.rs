//! Portraits, tokens and commands as people read them.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde_json::Value;

use super::ask::{Item, View, headers};
use super::roles::{DemoRole, REGISTERED};
use crate::cli::text::{Paint, pad, shorten};
use crate::model::contract::{Contract, SlotId};

/// Columns of an item's name, and of its value.
const NAME: usize = 24;
const VALUE: usize = 72;
/// Elements of a list, and members of an object, that are shown.
const SHOWN_MAX: usize = 4;

pub fn heading(contract: &Contract, household: &str, paint: Paint) -> String {
    let items = super::query::numbered(contract).count();
    format!("\n{}\n", paint.bold(&format!("Household {household}: {items} items, as each role sees them")))
}

/// One role's view: what is answered, row by row; what is refused, by reason.
pub fn portrait(contract: &Contract, role: &DemoRole, view: &View, paint: Paint) -> String {
    let mut out = format!("\n{}\n", title(role, view, paint));
    let (refused, others): (Vec<&Item>, Vec<&Item>) = view.items.iter().partition(|item| item.state == "REFUSED");
    for item in others {
        out.push_str(&row(contract, item, paint));
    }
    for (reason, numbers) in by_reason(&refused, &view.errors) {
        let line = format!("  not given: {}", ranges(&numbers));
        let why = if reason.is_empty() { "no grant gives it to this caller".to_owned() } else { reason };
        out.push_str(&format!("{}\n    {}\n", paint.dim(&line), paint.dim(&why)));
    }
    out
}

fn title(role: &DemoRole, view: &View, paint: Paint) -> String {
    let name = paint.bold(&format!("── {} {}", role.title, role.name));
    let mut facts = vec![role.who.clone(), format!("network {}", role.network)];
    facts.extend(role.purpose.map(|purpose| format!("purpose {purpose}")));
    facts.extend(role.case.map(|case| format!("case {case}")));
    facts.extend(role.break_glass.map(|reason| format!("emergency “{reason}”")));
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for item in &view.items {
        *counts.entry(&item.state).or_default() += 1;
    }
    let counts: Vec<String> =
        counts.iter().map(|(state, count)| format!("{count} {}", state.to_lowercase().replace('_', " "))).collect();
    let asked = match view.sources.len() {
        0 => "no department asked".to_owned(),
        count => format!("{count} sources asked"),
    };
    format!("{name}  {}\n   {}; {asked}; {} ms", paint.dim(&facts.join("; ")), counts.join(", "), view.millis)
}

fn row(contract: &Contract, item: &Item, paint: Paint) -> String {
    let found = contract.items.iter().find(|known| known.no.parse() == Ok(item.no));
    let name = found.map_or(item.path.as_str(), |known| &*known.zh);
    let is_money = found.is_some_and(|known| is_money(contract, known.slot));
    let value = match item.state.as_str() {
        "ANSWERED" | "MASKED" | "CONFLICT" => shown(&item.value, is_money),
        "NO_RECORD" => "none".to_owned(),
        state => format!("{}: {}", state.to_lowercase(), item.message),
    };
    let cell = pad(&shorten(&value, VALUE), VALUE);
    let cell = match item.state.as_str() {
        "ANSWERED" => cell,
        "MASKED" | "CONFLICT" => paint.yellow(&cell),
        "NO_RECORD" => paint.dim(&cell),
        _ => paint.red(&cell),
    };
    let note = match item.state.as_str() {
        "MASKED" => "  masked",
        "CONFLICT" => "  departments disagree",
        _ => "",
    };
    let line = format!(
        "  {:>2}  {}  {cell}  {}{note}",
        item.no,
        pad(&shorten(name, NAME), NAME),
        paint.green(&item.source_title)
    );
    format!("{}\n", line.trim_end())
}

/// The contract says so in the field's description.
fn is_money(contract: &Contract, slot: SlotId) -> bool {
    let slot = contract.slot(slot);
    if &*slot.type_name != "Decimal" {
        return false;
    }
    let holder = match slot.parent {
        Some(parent) => &contract.slot(parent).type_name,
        None => &contract.entity(slot.entity).name,
    };
    let field = contract.published.get_object(holder).and_then(|object| object.fields.get(&*slot.name));
    field.and_then(|field| field.description.as_ref()).is_some_and(|text| text.contains("yuan") || text.contains('元'))
}

fn shown(value: &Value, is_money: bool) -> String {
    match value {
        Value::Null => "—".to_owned(),
        Value::Bool(true) => "是".to_owned(),
        Value::Bool(false) => "否".to_owned(),
        Value::String(text) if is_money => format!("{} 元", thousands(text)),
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Array(list) => {
            let shown: Vec<String> = list.iter().take(SHOWN_MAX).map(one_of_list).collect();
            let more = if list.len() > SHOWN_MAX { "; …" } else { "" };
            if list.is_empty() { "0".to_owned() } else { format!("{}: {}{more}", list.len(), shown.join("; ")) }
        }
        Value::Object(_) => one_of_list(value),
    }
}

/// An object as its values, without nulls, raw codes, and what is deep inside.
fn one_of_list(value: &Value) -> String {
    let Value::Object(members) = value else { return shown(value, false) };
    let values: Vec<String> = members
        .iter()
        .filter(|(name, value)| !(value.is_null() || name.ends_with("Code") || name.ends_with("IdNumber")))
        .filter_map(|(name, value)| match value {
            Value::Bool(true) => Some(name.clone()),
            Value::Bool(false) => None,
            Value::Array(list) if list.is_empty() => None,
            Value::Array(list) => Some(format!("{name} {}", list.len())),
            Value::Object(inside) => inside.values().find(|value| !value.is_null()).map(|value| shown(value, false)),
            value => Some(shown(value, false)),
        })
        .take(SHOWN_MAX + 2)
        .collect();
    values.join(" ")
}

/// `12345.60` → `12,345.60`.
fn thousands(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(whole, fraction)| (whole, Some(fraction)));
    let count = whole.chars().count();
    let mut out = sign.to_owned();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (count - at) % 3 == 0 {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// Refused items by what is missing.
fn by_reason(refused: &[&Item], errors: &[(String, String)]) -> Vec<(String, Vec<u32>)> {
    let mut reasons: Vec<(String, Vec<u32>)> = Vec::new();
    for item in refused {
        let reason = match (item.message.is_empty(), errors.first()) {
            (true, Some((_, message))) if refused.len() > 60 => message.clone(),
            _ => item.message.clone(),
        };
        match reasons.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, numbers)) => numbers.push(item.no),
            None => reasons.push((reason, vec![item.no])),
        }
    }
    reasons
}

/// `1–3, 7, 9–12`.
fn ranges(numbers: &[u32]) -> String {
    let mut runs: Vec<(u32, u32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *number => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let shown: Vec<String> = runs
        .iter()
        .map(|(first, last)| if first == last { first.to_string() } else { format!("{first}–{last}") })
        .collect();
    shown.join(", ")
}

/// Where to ask, and as whom.
pub fn endpoints(address: SocketAddr, roles: &[DemoRole], household: &str, paint: Paint) -> String {
    let mut out = format!(
        "\n{}\n  GraphQL   http://{address}/graphql\n  GraphiQL  http://{address}/graphiql\n\nTokens (valid for 12 \
         hours), each with a command to try:\n",
        paint.bold("Serving until Ctrl-C")
    );
    out.push_str(&tokens(address, roles, household, paint));
    out
}

/// Who scans here.
const SCANS: &str = "supervisor";

/// Each role's token and a command with it.
pub fn tokens(address: SocketAddr, roles: &[DemoRole], household: &str, paint: Paint) -> String {
    let mut out = String::new();
    for role in roles {
        out.push_str(&format!(
            "\n{} {}\n{}\n{}\n",
            paint.bold(&role.name),
            role.title,
            role.token,
            curl(address, role, household)
        ));
    }
    out
}

/// How many households are gone through at once.
pub fn scan(address: SocketAddr, roles: &[DemoRole], division: &str, paint: Paint) -> String {
    let Some((role, (purpose, case))) =
        roles.iter().find(|role| role.name == SCANS).and_then(|role| Some((role, role.purpose.zip(role.case)?)))
    else {
        return String::new();
    };
    format!(
        "\n{}\n  HUXIANG_GATEWAY=http://{address} HUXIANG_TOKEN=… huxiang scan --purpose {purpose} --case {case} --division \
         {division} --where '{{\"assistance\": {{\"dibaoStatus\": {{\"eq\": \"RECEIVING\"}}}}}}' --csv FILE    as {}\n",
        paint.bold("A scan over all of a division (docs/supervisors.md)"),
        role.name
    )
}

/// How a source is brought into service.
pub fn registry(address: SocketAddr, registrars: &[DemoRole], paint: Paint) -> String {
    let mut out = format!(
        "\n{}\n  export HUXIANG_GATEWAY=http://{address}\n  HUXIANG_TOKEN=… huxiang source submit \
         examples/registry/{REGISTERED}.yaml --note …    as steward; then review, approve, publish (README)\n",
        paint.bold("A department's source, into service by the registry")
    );
    for role in registrars {
        out.push_str(&format!("\n{} {}\n{}\n", paint.bold(&role.name), role.title, role.token));
    }
    out
}

fn curl(address: SocketAddr, role: &DemoRole, household: &str) -> String {
    let sent: String = headers(role).iter().map(|(name, value)| format!(" -H '{name}: {value}'")).collect();
    let query = r#"query($id:ID!){household(id:$id){id registry{headName phone} assistance{dibaoStatus} items(no:[\"3\",\"4\",\"16\"]){no zh state sourceTitle message}}}"#;
    format!(
        "curl -s http://{address}/graphql -H 'Authorization: Bearer {}' -H 'Content-Type: application/json'{sent} -d \
         '{{\"query\":\"{query}\",\"variables\":{{\"id\":\"{household}\"}}}}'",
        role.token
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_short_and_readable() {
        assert_eq!(shown(&serde_json::json!("12345.60"), true), "12,345.60 元");
        assert_eq!(shown(&serde_json::json!("-100.00"), true), "-100.00 元");
        assert_eq!(shown(&serde_json::json!([{"a": "x", "aCode": "1", "b": null}, {"a": "y"}]), false), "2: x; y");
        assert_eq!(shown(&serde_json::json!([]), false), "0");
        assert_eq!(shown(&serde_json::json!(true), false), "是");
        assert_eq!(ranges(&[1, 2, 3, 7, 9, 10]), "1–3, 7, 9–10");
    }
}
