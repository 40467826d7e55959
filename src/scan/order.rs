//! The first so many of a whole scan, in an order of the caller's: nothing is kept of the others.

use std::cmp::Ordering;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde_json::Value;

use super::condition::enter_path;
use crate::base::code::ErrorCode;
use crate::base::decimal;
use crate::engine::error::RequestError;
use crate::engine::operation::Selection;
use crate::model::access::SlotSet;
use crate::model::binding::conversion::Kind;
use crate::model::contract::scan::ScanRoot;
use crate::model::contract::{Contract, Shape, SlotId};
use crate::model::snapshot::Snapshot;

/// By what matches are sorted, the first first.
#[derive(Debug, Clone, Default)]
pub struct Order {
    by: Vec<By>,
    /// What it reads of an entity.
    pub reads: Vec<Selection>,
    pub slots: SlotSet,
}

#[derive(Debug, Clone)]
struct By {
    /// Names from the entity.
    path: Vec<String>,
    descending: bool,
    is_number: bool,
}

/// One value to sort by. What a department has nothing of comes last, whichever way is sorted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SortValue {
    Number(Decimal),
    Text(String),
    Nothing,
}

impl Order {
    /// Reads the argument: a list of objects with `by` and `descending`.
    pub fn read(snapshot: &Snapshot, scan: &ScanRoot, value: &Value) -> Result<Self, RequestError> {
        let mut order = Self::default();
        let contract = &snapshot.contract;
        let sortable = format!("{}Sortable", contract.entity(scan.entity).name);
        for by in value.as_array().into_iter().flatten() {
            let name = by.get("by").and_then(Value::as_str).unwrap_or_default();
            let slot = scan.filter.slot_of_value(&sortable, name).ok_or_else(|| {
                let message = format!("`orderBy`: nothing is sorted by `{name}`");
                RequestError::new(ErrorCode::ValidationFailed, message)
            })?;
            let mut path: Vec<SlotId> = contract.above(slot).collect();
            path.reverse();
            path.push(slot);
            enter_path(snapshot, &path, &mut order.reads, &mut order.slots);
            order.by.push(By {
                path: path.iter().map(|slot| contract.slot(*slot).name.to_string()).collect(),
                descending: by.get("descending").and_then(Value::as_bool) == Some(true),
                is_number: is_number(contract, slot),
            });
        }
        Ok(order)
    }

    pub fn is_empty(&self) -> bool {
        self.by.is_empty()
    }

    /// The paths that it sorts by.
    pub fn paths(&self) -> Vec<Vec<String>> {
        self.by.iter().map(|by| by.path.clone()).collect()
    }

    /// The values of an entity; `None`: one of them is not known.
    pub fn values(&self, facts: &Value) -> Option<Vec<SortValue>> {
        self.by.iter().map(|by| by.value(facts)).collect()
    }

    /// Which comes first; equals come in the order of their keys.
    pub fn compare(&self, a: (&[SortValue], Option<&Arc<str>>), b: (&[SortValue], Option<&Arc<str>>)) -> Ordering {
        let by_value = self.by.iter().zip(a.0.iter().zip(b.0)).map(|(by, (a, b))| by.compare(a, b));
        by_value.fold(Ordering::Equal, Ordering::then).then_with(|| a.1.cmp(&b.1))
    }
}

fn is_number(contract: &Contract, slot: SlotId) -> bool {
    matches!(contract.slot(slot).shape, Shape::Leaf(Kind::Int | Kind::Decimal))
}

impl By {
    fn value(&self, facts: &Value) -> Option<SortValue> {
        let mut value = facts;
        for name in &self.path {
            value = match value {
                Value::Null => return Some(SortValue::Nothing),
                object => object.get(name)?,
            };
        }
        match value {
            Value::Null => Some(SortValue::Nothing),
            Value::String(text) if self.is_number => decimal::exact(text).map(SortValue::Number),
            Value::Number(number) => decimal::exact(&number.to_string()).map(SortValue::Number),
            Value::String(text) => Some(SortValue::Text(text.clone())),
            Value::Bool(value) => Some(SortValue::Text(value.to_string())),
            _ => None,
        }
    }

    fn compare(&self, a: &SortValue, b: &SortValue) -> Ordering {
        let forwards = match (a, b) {
            (SortValue::Nothing, SortValue::Nothing) => return Ordering::Equal,
            (SortValue::Nothing, _) => return Ordering::Greater,
            (_, SortValue::Nothing) => return Ordering::Less,
            (SortValue::Number(a), SortValue::Number(b)) => a.cmp(b),
            (SortValue::Text(a), SortValue::Text(b)) => a.cmp(b),
            (SortValue::Number(_), SortValue::Text(_)) => Ordering::Less,
            (SortValue::Text(_), SortValue::Number(_)) => Ordering::Greater,
        };
        if self.descending { forwards.reverse() } else { forwards }
    }
}

/// The first so many of those that were offered.
#[derive(Debug)]
pub struct Top<'o, T> {
    order: &'o Order,
    most: usize,
    /// By place in the order, sorted; never more than `most`.
    kept: Vec<(Vec<SortValue>, Option<Arc<str>>, T)>,
}

impl<'o, T> Top<'o, T> {
    pub fn new(order: &'o Order, most: usize) -> Self {
        Self { order, most, kept: Vec::new() }
    }

    /// Keeps it, where it is among the first; what falls out is let go.
    pub fn offer(&mut self, values: Vec<SortValue>, key: Option<Arc<str>>, one: T) {
        let before = |(other, other_key, _): &(Vec<SortValue>, Option<Arc<str>>, T)| {
            self.order.compare((other, other_key.as_ref()), (&values, key.as_ref())) != Ordering::Greater
        };
        let at = self.kept.partition_point(before);
        if at < self.most {
            self.kept.insert(at, (values, key, one));
            self.kept.truncate(self.most);
        }
    }

    pub fn into_sorted(self) -> Vec<T> {
        self.kept.into_iter().map(|(_, _, one)| one).collect()
    }
}
