//! 公积金中心: not built yet.

use axum::Router;
use serde_json::Value;

use crate::world::{Household, World};

pub fn router(_world: World) -> Router {
    Router::new()
}

/// The items the department owns, as contract paths and values.
pub fn expected(_world: &World, _household: &Household) -> Value {
    Value::Object(serde_json::Map::new())
}
