//! 交通运输局: commercial vehicles and ships by owner, road access by village; REST JSON.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::world::{Date, Household, Member, Roll, World};

/// A vehicle or ship with a licence to carry for hire.
#[derive(Debug, Clone)]
pub struct Licensed {
    pub licence: String,
    pub ship: bool,
    /// Tonnes × 10.
    pub load: i64,
    pub valid_until: Date,
}

impl Licensed {
    fn kind(&self) -> &'static str {
        if self.ship { "ship" } else { "vehicle" }
    }

    fn load_tonnes(&self) -> String {
        format!("{}.{}", self.load / 10, self.load % 10)
    }
}

/// Few have one.
pub fn licensed(household: &Household, member: &Member) -> Option<Licensed> {
    let mut roll = member.roll("transport/licensed");
    let may = !household.almost_nothing() && member.alive && (20..66).contains(&member.age());
    if !may || !roll.chance(8) {
        return None;
    }
    Some(Licensed {
        licence: format!("浙交运管丽字{}{:06}号", &household.id[..6], roll.below(1_000_000)),
        ship: roll.chance(8),
        load: 15 + roll.below(300) as i64,
        valid_until: roll.date(household.today.y - 1, household.today.y + 3),
    })
}

pub fn router(world: World) -> Router {
    Router::new()
        .route("/transport/licences/search", post(licences))
        .route("/transport/villages/{code}/road", get(road))
        .with_state(world)
}

/// Owners in one call at most.
const BATCH_MAX: usize = 200;

async fn licences(State(world): State<World>, Json(body): Json<Value>) -> Response {
    let Some(owners) = body.get("owners").and_then(Value::as_array).filter(|owners| owners.len() <= BATCH_MAX) else {
        return (StatusCode::BAD_REQUEST, Json(json!({"message": "owners: up to 200 id numbers"}))).into_response();
    };
    let found: Vec<Value> = owners
        .iter()
        .filter_map(Value::as_str)
        .filter_map(|id| world.person(id))
        .filter_map(|(household, index)| {
            let member = household.members.get(index)?;
            let one = licensed(&household, member)?;
            Some(json!({
                "owner": member.id_number, "ownerName": member.name, "licence": one.licence, "kind": one.kind(),
                "loadTonnes": one.load_tonnes(), "validUntil": one.valid_until.to_string(),
            }))
        })
        .collect();
    Json(json!({"licences": found})).into_response()
}

async fn road(State(world): State<World>, Path(code): Path<String>) -> Response {
    let Some(division) = world.division(&code).filter(|division| division.level == 5) else {
        return (StatusCode::NOT_FOUND, Json(json!({"message": "no such village"}))).into_response();
    };
    let mut roll = Roll::new(world.seed(), &code, "transport/road");
    Json(json!({
        "village": division.code, "name": division.name, "paved": roll.chance(98), "bus": roll.chance(90),
        "roadWidthMetres": roll.pick(&["3.5", "4.5", "6.0"]), "kilometresToTown": 1 + roll.below(24),
    }))
    .into_response()
}

/// What a check of recognition reads.
pub fn expected(_world: &World, household: &Household) -> Value {
    let licences = household.members.iter().filter_map(|member| {
        let found = licensed(household, member)?;
        Some(json!({
            "name": member.name, "idNumber": member.id_number, "number": found.licence,
            "kind": if found.ship { "SHIP" } else { "VEHICLE" }, "kindCode": found.kind(),
            "loadTonnes": found.load_tonnes(), "validUntil": found.valid_until.to_string(),
        }))
    });
    json!({"recognition.licences": licences.collect::<Vec<_>>()})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn licences_come_by_owners_and_roads_by_village() {
        let (world, _) = ask::world();
        let ids: Vec<String> = world
            .village_household_ids("331122101348")
            .filter_map(|id| world.household(&id))
            .flat_map(|household| household.members.into_iter().map(|member| member.id_number))
            .collect();
        let (_, answer) = ask::post(router(world.clone()), "/transport/licences/search", json!({"owners": ids})).await;
        let few = answer["licences"].as_array().unwrap().len();
        assert!((1..ids.len() / 2).contains(&few), "{few}");
        let (status, _) = ask::get(router(world.clone()), "/transport/villages/331122101348/road", &[]).await;
        assert_eq!(status, StatusCode::OK);
        let (status, _) = ask::get(router(world), "/transport/villages/331122101999/road", &[]).await;
        assert_eq!(status, StatusCode::NOT_FOUND);
    }

    #[test]
    fn licences_are_there_in_some_households() {
        ask::some(expected, &["recognition.licences"]);
    }
}
