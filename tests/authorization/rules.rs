//! Relations of `config/rules/relations.yaml`, judged by the interpreter of the crate `cel` over what was learned. The
//! gateway has an evaluator of its own; the two share the grammar alone.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use cel::{Context, ExecutionError, Program, Value as Cel};
use serde_json::Value;

use crate::access_oracle::yaml;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    Yes,
    No,
    /// What it reads was not learned, or it says what is not understood here.
    Unknown,
}

/// Relations by name: what each is to, and when it holds.
pub struct Rules(Vec<(String, String, Option<Program>)>);

impl Rules {
    pub fn read(root: &Path) -> Self {
        let file = yaml(&root.join("config/rules/relations.yaml"));
        let relations = file["relations"].as_object().expect("relations").iter().map(|(name, relation)| {
            let text = relation["when"].as_str().expect("a condition");
            // What means something else to the gateway is not judged here.
            let judged = !["has(", "decimal("].iter().any(|word| text.contains(word));
            let program = judged.then(|| Program::compile(text).ok()).flatten();
            (name.clone(), relation["on"].as_str().expect("an entity").to_owned(), program)
        });
        Self(relations.collect())
    }

    pub fn names(&self, on: &str) -> BTreeSet<String> {
        self.0.iter().filter(|(_, of, _)| of == on).map(|(name, ..)| name.clone()).collect()
    }

    /// Each relation to an entity, and whether it holds.
    pub fn holding(&self, on: &str, principal: &Value, entity: &Value) -> Vec<(String, Holds)> {
        let mut context = Context::default();
        let today = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::fixed(jiff::tz::offset(8))).date();
        let variable = on.to_lowercase();
        for (name, value) in [("principal", principal), (variable.as_str(), entity)] {
            context.add_variable(name, value).expect("a value of JSON");
        }
        context.add_variable("today", today.to_string()).expect("a text");
        let added = context.add_function("yearsBetween", years_between).and_then(|()| {
            context.add_function("daysBetween", days_between)?;
            context.add_function("date", |text: Arc<String>| text)
        });
        added.expect("functions that are not there yet");
        let of = self.0.iter().filter(|(_, of, _)| of == on);
        of.map(|(name, _, program)| {
            let holds = match program.as_ref().map(|program| program.execute(&context)) {
                Some(Ok(Cel::Bool(true))) => Holds::Yes,
                Some(Ok(Cel::Bool(false))) => Holds::No,
                _ => Holds::Unknown,
            };
            (name.clone(), holds)
        })
        .collect()
    }
}

fn day(text: &str) -> Result<jiff::civil::Date, ExecutionError> {
    text.parse().map_err(|_| ExecutionError::function_error("date", "not a whole date"))
}

fn years_between(earlier: Arc<String>, later: Arc<String>) -> Result<i64, ExecutionError> {
    let (from, to) = (day(&earlier)?, day(&later)?);
    let had = (to.month(), to.day()) >= (from.month(), from.day());
    Ok(i64::from(to.year()) - i64::from(from.year()) - i64::from(!had))
}

fn days_between(earlier: Arc<String>, later: Arc<String>) -> Result<i64, ExecutionError> {
    let span = day(&earlier)?.until(day(&later)?);
    span.map(|span| i64::from(span.get_days())).map_err(|_| ExecutionError::function_error("daysBetween", "too far"))
}
