//! The groups that an entity is counted in: by a value, by the beginning of a territory's code, by the period of a date.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::base::code::ItemState;
use crate::engine::frame::Failure;
use crate::engine::project::facts::Facts;
use crate::model::contract::SlotId;

/// One thing that is grouped by.
#[derive(Debug, Clone)]
pub struct Grouping {
    pub slot: SlotId,
    /// From the entity.
    pub path: Vec<String>,
    pub by: By,
}

/// What of a value it is that groups have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    Value,
    /// Each value of a list: an entity counts in several groups.
    Each,
    /// One of the levels that a ladder may come to.
    Level,
    /// So many characters of a code from its beginning.
    Digits(usize),
    /// So many characters of a date: its year, its month, its day.
    Date(usize),
}

/// Where an entity stands in one grouping.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// This value; `None`: there is none.
    Known(Option<String>),
    /// Not known, for this reason; one of these values, where that is known.
    Open(ItemState, Option<BTreeSet<String>>),
}

impl Place {
    /// Whether what stands here may be the value.
    pub fn may_be(&self, value: Option<&str>) -> bool {
        match self {
            Self::Known(known) => known.as_deref() == value,
            Self::Open(_, None) => true,
            Self::Open(_, Some(possible)) => value.is_some_and(|value| possible.contains(value)),
        }
    }

    pub fn is_open(&self) -> bool {
        matches!(self, Self::Open(..))
    }

    /// To go on with later; [`Self::restored`] reads it.
    pub fn kept(&self) -> Value {
        match self {
            Self::Known(value) => json!(value),
            Self::Open(state, possible) => json!([state, possible]),
        }
    }

    pub fn restored(kept: &Value) -> Option<Self> {
        Some(match kept {
            Value::Null => Self::Known(None),
            Value::String(value) => Self::Known(Some(value.clone())),
            open => {
                let state = open.get(0)?.as_str()?;
                let state = ItemState::ALL.iter().find(|known| known.as_str() == state)?;
                let value = |value: &Value| value.as_str().map(str::to_owned);
                let possible = match open.get(1)? {
                    Value::Null => None,
                    values => Some(values.as_array()?.iter().map(value).collect::<Option<_>>()?),
                };
                Self::Open(*state, possible)
            }
        })
    }
}

impl Grouping {
    /// Where an entity stands: one place, or several of a list. Nothing is known of one without facts.
    pub fn places(&self, facts: Option<&Facts>) -> Vec<Place> {
        let Some(facts) = facts else { return vec![Place::Open(ItemState::Undetermined, None)] };
        let open = |possible| vec![Place::Open(self.why(facts), possible)];
        let Some(value) = at(&facts.value, &self.path) else { return open(None) };
        let known = |text: Option<&str>| vec![Place::Known(text.map(str::to_owned))];
        match (self.by, value) {
            (_, Value::Null) => known(None),
            (By::Level, Value::Array(levels)) => {
                let levels: BTreeSet<String> = levels.iter().filter_map(text).collect();
                match levels.len() {
                    0 => open(None),
                    1 => levels.into_iter().map(|level| Place::Known(Some(level))).collect(),
                    _ => open(Some(levels)),
                }
            }
            (By::Each, Value::Array(list)) => {
                // A list of which an element is not known may be of any group.
                if self.failure(facts).is_some() {
                    return open(None);
                }
                let each: BTreeSet<String> = list.iter().filter_map(text).collect();
                match each.is_empty() {
                    true => known(None),
                    false => each.into_iter().map(|value| Place::Known(Some(value))).collect(),
                }
            }
            (By::Digits(digits), Value::String(code)) => known(Some(code.get(..digits).unwrap_or(code))),
            // One that is known in part may be of several periods.
            (By::Date(length), Value::String(date)) => match date.get(..length) {
                Some(period) => known(Some(period)),
                None => open(None),
            },
            (_, value) => match text(value) {
                Some(value) => vec![Place::Known(Some(value))],
                None => open(None),
            },
        }
    }

    /// The first reason for which the value is not known.
    fn failure(&self, facts: &Facts) -> Option<Failure> {
        facts.concerning(std::slice::from_ref(&self.path)).map(|missing| missing.failure).min()
    }

    fn why(&self, facts: &Facts) -> ItemState {
        self.failure(facts).map_or(ItemState::Undetermined, |failure| failure.state)
    }
}

/// What stands at a path; `None`: it is not known. What stands in something that is not there is not there either.
pub fn at<'f>(facts: &'f Value, path: &[String]) -> Option<&'f Value> {
    let mut value = facts;
    for name in path {
        match value {
            Value::Null => return Some(value),
            inside => value = inside.get(name)?,
        }
    }
    Some(value)
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(value) => Some(value.to_string()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
