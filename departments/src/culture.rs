//! 文旅局: public services by village, few fields; REST JSON.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::world::{Household, Roll, World};

pub fn router(world: World) -> Router {
    Router::new().route("/culture/villages/{code}", get(village)).with_state(world)
}

async fn village(State(world): State<World>, Path(code): Path<String>) -> Response {
    let Some(division) = world.division(&code).filter(|division| division.level == 5) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let mut roll = Roll::new(world.seed(), &code, "culture");
    Json(json!({
        "village": division.code, "name": division.name, "culturalHall": roll.chance(85), "library": roll.chance(60),
        "performancesThisYear": roll.below(12), "homestays": roll.below(9),
    }))
    .into_response()
}

/// None of the 61 items.
pub fn expected(_world: &World, _household: &Household) -> Value {
    json!({})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn a_village_has_its_services_and_a_stranger_has_none() {
        let (world, _) = ask::world();
        let (status, text) = ask::get(router(world.clone()), "/culture/villages/331122101348", &[]).await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("culturalHall"));
        let (status, _) = ask::get(router(world), "/culture/villages/331122", &[]).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }
}
