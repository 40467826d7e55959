//! A case that fails, made smaller: what is left of it shows what is wrong.

use serde_json::{Map, Value};

use crate::draw::{Asked, Case};

/// Cases that may be tried for one that fails.
const TRIES: usize = 60;

/// The smallest that was found to fail, with what is told of it.
pub fn smaller(case: Case, error: String, fails: impl Fn(&Case) -> Option<String>) -> (Case, String) {
    let (mut least, mut told) = (case, error);
    let mut tries = 0;
    'next: loop {
        for one in variants(&least) {
            if tries == TRIES {
                break 'next;
            }
            tries += 1;
            if let Some(error) = fails(&one) {
                (least, told) = (one, error);
                continue 'next;
            }
        }
        break;
    }
    (least, told)
}

/// With one thing less.
fn variants(case: &Case) -> Vec<Case> {
    let with = |asked: Asked| Case { asked, ..case.clone() };
    let mut found: Vec<Case> = Vec::new();
    for source in &case.silent {
        let mut less = case.clone();
        less.silent.remove(source);
        found.push(less);
    }
    let Asked::Scan(scan) = &case.asked else { return found };
    if scan.order.is_some() {
        found.push(with(Asked::Scan(crate::reference::Scan { order: None, ..scan.clone() })));
    }
    let less = scan.condition.iter().flat_map(of_condition);
    found.extend(less.map(|less| with(Asked::Scan(crate::reference::Scan { condition: Some(less), ..scan.clone() }))));
    found
}

/// A condition without one of its parts, or one of its parts in its place.
fn of_condition(condition: &Value) -> Vec<Value> {
    let Value::Object(members) = condition else { return Vec::new() };
    let mut found = Vec::new();
    for (name, part) in members {
        match (name.as_str(), part) {
            ("and" | "or", Value::Array(parts)) => found.extend(parts.iter().cloned()),
            ("not", part) => found.push(part.clone()),
            _ => {}
        }
        if members.len() > 1 {
            let mut rest: Map<String, Value> = members.clone();
            rest.remove(name);
            found.push(Value::Object(rest));
        }
        let put = |part: Value| {
            let mut with = members.clone();
            with.insert(name.clone(), part);
            Value::Object(with)
        };
        match part {
            Value::Object(_) => found.extend(of_condition(part).into_iter().map(put)),
            Value::Array(parts) => {
                for (at, part) in parts.iter().enumerate() {
                    let with = |part: Value| {
                        let mut parts = parts.clone();
                        parts[at] = part;
                        put(Value::Array(parts))
                    };
                    found.extend(of_condition(part).into_iter().map(with));
                }
            }
            _ => {}
        }
    }
    found
}
