//! 纪委监委: takes reports (from anybody) and prompts (from one department to another), gives statistics of
//! inspections by division; REST JSON. What it took lives here, in memory, and is gone with the process.

use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::world::{Household, Roll, World};

#[derive(Clone)]
struct Office {
    world: World,
    taken: Arc<Mutex<Vec<Value>>>,
}

/// Reports and prompts kept at most; further ones are refused.
const TAKEN_MAX: usize = 10_000;

pub fn router(world: World) -> Router {
    Router::new()
        .route("/discipline/reports", post(report))
        .route("/discipline/prompts", post(prompt))
        .route("/discipline/taken/{id}", get(taken))
        .route("/discipline/statistics", get(statistics))
        .with_state(Office { world, taken: Arc::default() })
}

async fn report(State(office): State<Office>, Json(body): Json<Value>) -> Response {
    office.take("JB", &body, &["division", "text"])
}

async fn prompt(State(office): State<Office>, Json(body): Json<Value>) -> Response {
    office.take("TX", &body, &["to", "about", "text"])
}

impl Office {
    fn take(&self, kind: &str, body: &Value, needed: &[&str]) -> Response {
        if let Some(missing) = needed.iter().find(|name| body.get(**name).and_then(Value::as_str).is_none()) {
            let message = format!("{missing} is missing");
            return (StatusCode::BAD_REQUEST, Json(json!({"message": message}))).into_response();
        }
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() >= TAKEN_MAX {
            return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"message": "full"}))).into_response();
        }
        let id = format!("{kind}{:06}", taken.len() + 1);
        taken.push(json!({"id": id, "state": "TAKEN", "takenOn": self.world.today().to_string(), "content": body}));
        (StatusCode::CREATED, Json(json!({"id": id, "state": "TAKEN"}))).into_response()
    }
}

async fn taken(State(office): State<Office>, Path(id): Path<String>) -> Response {
    let taken = office.taken.lock().unwrap_or_else(PoisonError::into_inner);
    match taken.iter().find(|one| one["id"] == id) {
        Some(one) => Json(one.clone()).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn statistics(State(office): State<Office>, Query(parameters): Query<Vec<(String, String)>>) -> Response {
    let division = parameters.iter().find(|(name, _)| name == "division").map_or("", |(_, code)| code.as_str());
    let Some(found) = office.world.division(division) else { return StatusCode::NOT_FOUND.into_response() };
    let mut roll = Roll::new(office.world.seed(), division, "discipline");
    let inspections = 5 + roll.below(60);
    let problems = roll.below(inspections / 3 + 1);
    Json(json!({
        "division": found.code, "name": found.name, "year": office.world.today().y, "inspections": inspections,
        "problemsFound": problems, "problemsMended": roll.below(problems + 1), "peopleSpokenTo": roll.below(9),
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
    async fn a_report_is_taken_and_found_again() {
        let (world, _) = ask::world();
        let office = router(world);
        let body = json!({"division": "331122101348", "text": "补助未到账"});
        let (status, answer) = ask::post(office.clone(), "/discipline/reports", body).await;
        assert_eq!((status, answer["id"].as_str()), (StatusCode::CREATED, Some("JB000001")));
        let (_, text) = ask::get(office.clone(), "/discipline/taken/JB000001", &[]).await;
        assert!(text.contains("补助未到账"));
        let (status, _) = ask::post(office.clone(), "/discipline/prompts", json!({"to": "finance"})).await;
        assert_eq!(status, StatusCode::BAD_REQUEST);
        let (status, _) = ask::get(office, "/discipline/statistics", &[("division", "331122101348")]).await;
        assert_eq!(status, StatusCode::OK);
    }
}
