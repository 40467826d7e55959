//! What a grant requires, in words and as JSON.

use serde_json::{Map, Value, json};

use crate::model::access::{Conditions, Grant, Role};

/// What a grant requires, each named as `roles.yaml` names it: `purposes` → `help or duty`. With what its role asks for.
pub fn words(role: &Role, grant: &Grant) -> Vec<(&'static str, String)> {
    let Conditions { purposes, case: _, networks, people, from, until, hours, approval, break_glass } =
        &grant.conditions;
    let mut out: Vec<(&'static str, String)> = Vec::new();
    let mut add = |name, value: Option<String>| out.extend(value.map(|value| (name, value)));
    add("certificate", role.certificate.is_some().then(|| "asked for".to_owned()));
    add("issuers", role.issuers.as_ref().map(|issuers| issuers.join(" or ")));
    add("networks", networks.as_ref().map(|networks| networks.join(" or ")));
    add("people", people.as_ref().map(|people| format!("{} named", people.len())));
    add("purposes", (!purposes.is_empty()).then(|| purposes.join(" or ")));
    add("case", case(grant).map(str::to_owned));
    add("from", from.map(|from| from.to_string()));
    add("until", until.map(|until| until.to_string()));
    add("hours", hours.as_ref().map(ToString::to_string));
    add(
        "approval",
        approval.as_ref().map(|approval| {
            let (minutes, uses) = (approval.valid_minutes_max, approval.uses);
            format!("by {}, {minutes} min, {uses} use{}", approval.by.join(" or "), if uses == 1 { "" } else { "s" })
        }),
    );
    add(
        "break_glass",
        break_glass
            .as_ref()
            .map(|rule| format!("reviewed by {} within {} h", rule.review_by.join(" or "), rule.review_hours_max)),
    );
    out
}

/// The same as JSON.
pub fn as_json(role: &Role, grant: &Grant) -> Value {
    Value::Object(
        words(role, grant).into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect::<Map<_, _>>(),
    )
}

/// In one line: `purposes help; hours 08:00-18:00`.
pub fn line(role: &Role, grant: &Grant) -> String {
    words(role, grant).iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join("; ")
}

/// The pattern of case numbers as it was written, without the anchors the loader adds.
pub fn case(grant: &Grant) -> Option<&str> {
    let pattern = grant.conditions.case.as_ref()?.as_str();
    let inner = pattern.strip_prefix("^(?:").and_then(|rest| rest.strip_suffix(")$"));
    Some(inner.unwrap_or(pattern))
}
