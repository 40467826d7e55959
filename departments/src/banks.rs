//! 商业银行: not built yet.

use axum::Router;
use serde_json::Value;

use crate::world::{Household, World};

/// The router of one bank; `instance` from 1 to 73.
pub fn router(_world: World, _instance: usize) -> Router {
    Router::new()
}

/// The items the department owns, as contract paths and values.
pub fn expected(_world: &World, _household: &Household) -> Value {
    Value::Object(serde_json::Map::new())
}
