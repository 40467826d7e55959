//! 住建局: not built yet.

use serde_json::Value;

use crate::world::{Household, World};

/// DDL and rows of the department's read-only views for these villages (12 digits each).
pub fn housing_sql(_world: &World, _villages: &[String]) -> String {
    String::new()
}

/// The items the department owns, as contract paths and values.
pub fn expected(_world: &World, _household: &Household) -> Value {
    Value::Object(serde_json::Map::new())
}
