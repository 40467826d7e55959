//! Lists that two departments hold: what claims tell of them, and whether the two agree.

use std::collections::BTreeSet;

use departments::expected::at;
use serde_json::Value;

use crate::access_oracle::{Access, Field, HeldTwice, Standing};
use crate::check::Asked;

/// Elements that a claim shows where nobody says how many.
const SHOWN_MAX: usize = 100;
/// Elements that documents ask for where they say how many.
const FIRST: usize = 1;

type Told = (String, Vec<Value>);

impl Asked<'_> {
    /// A claim of a list tells fields of its elements that its source reads and the caller has in full, and what the
    /// generator says; and two that differ in what both read are a conflict, and no others.
    pub fn list_claims(
        &self,
        info: &Value,
        field: &Field,
        relations: &Standing,
        household: &str,
    ) -> Result<(), String> {
        let Some(held) = self.bench.held_twice.iter().find(|held| held.list == field.path) else { return Ok(()) };
        let claims: Vec<Told> = info["claims"].as_array().into_iter().flatten().filter_map(told).collect();
        if !claims.is_empty() && self.in_part(relations, field) {
            return Err(format!("claims tell {}, which is given in part", field.path));
        }
        for (source, list) in &claims {
            self.elements(held, source, list, relations)?;
        }
        let portrait = self.bench.portrait(household).ok_or("a household that is not")?;
        let expected = at(&portrait, &held.list).as_array().cloned().unwrap_or_default();
        let whole = expected.len() <= SHOWN_MAX && self.exact(relations);
        let first = claims.iter().find(|(source, _)| *source == held.answers).filter(|_| whole);
        let mut cut = !whole;
        if let Some((source, list)) = first {
            let fields: BTreeSet<&str> = list.iter().flat_map(keys).collect();
            let (said, mut there) = (bag(list, &fields), bag(&expected, &fields));
            for one in said {
                let Some(at) = there.iter().position(|other| *other == one) else {
                    return Err(format!("{source} is said to say of {} what it does not", held.list));
                };
                there.remove(at);
            }
            // What `first` leaves out is compared all the same, and cannot be looked at here.
            cut = !there.is_empty();
            if cut && list.len() != FIRST {
                return Err(format!("a claim of {source} does not tell all of {}", held.list));
            }
        }
        let [(one, of_one), (other, of_other)] = claims.as_slice() else { return Ok(()) };
        if cut || self.bench.withheld.iter().any(|withheld| withheld.list == held.list) {
            return Ok(());
        }
        let read = |source: &str, list: &[Value]| -> BTreeSet<String> {
            let there = list.iter().flat_map(keys).map(str::to_owned);
            held.fields[source].iter().filter(|_| list.is_empty()).cloned().chain(there).collect()
        };
        let (of_first, of_second) = (read(one, of_one), read(other, of_other));
        let both: BTreeSet<&str> = of_first.intersection(&of_second).map(String::as_str).collect();
        let differ = !both.is_empty() && bag(of_one, &both) != bag(of_other, &both);
        let mut tally = self.bench.tally.borrow_mut();
        tally.lists += 1;
        tally.conflicts += usize::from(differ);
        match (differ, info["state"] == "CONFLICT") {
            (true, false) => Err(format!("{one} and {other} differ in {}, and it is {}", held.list, info["state"])),
            (false, true) => Err(format!("{one} and {other} agree in {}, and it is a conflict", held.list)),
            _ => Ok(()),
        }
    }

    fn elements(&self, held: &HeldTwice, source: &str, list: &[Value], relations: &Standing) -> Result<(), String> {
        for name in list.iter().flat_map(keys) {
            let path = format!("{}.{name}", held.list);
            if !held.fields.get(source).is_some_and(|fields| fields.contains(name)) {
                return Err(format!("{source} claims {path}, which it does not hold"));
            }
            let access = self.access(relations, self.bench.stage.contract.field("Household", &path));
            if access != Access::Plain {
                return Err(format!("a claim of {source} tells {path}, which is {access:?}"));
            }
        }
        Ok(())
    }
}

/// A claim with a value, which of a list is JSON.
fn told(claim: &Value) -> Option<Told> {
    let list = serde_json::from_str(claim["value"].as_str()?).expect("a claim of a list is JSON");
    Some((claim["source"].as_str()?.to_owned(), list))
}

fn keys(element: &Value) -> impl Iterator<Item = &str> {
    element.as_object().into_iter().flatten().map(|(name, _)| name.as_str())
}

/// The elements as far as these fields go, in one order; amounts without the zeros that tell nothing.
fn bag(list: &[Value], fields: &BTreeSet<&str>) -> Vec<String> {
    let text = |value: &Value| match value.as_str() {
        Some(text) if text.contains('.') && text.parse::<f64>().is_ok() => {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        }
        Some(text) => text.to_owned(),
        None => value.to_string(),
    };
    let one = |element: &Value| fields.iter().map(|name| text(&element[*name])).collect::<Vec<_>>().join("\u{1f}");
    let mut all: Vec<String> = list.iter().map(one).collect();
    all.sort();
    all
}
