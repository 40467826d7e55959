//! 工商联、慈善总会: enterprises and their jobs, wishes and who took them up, claims of households; REST JSON.
//!
//! Wishes are the world's; what was claimed or taken up lives here, in memory, and is gone with the process.
//! An enterprise that claims a household needs the household's consent (`consent`, its number).

use std::collections::BTreeMap;
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
    kept: Arc<Mutex<Kept>>,
}

#[derive(Default)]
struct Kept {
    claims: Vec<Value>,
    /// Wish id → enterprise.
    taken_up: BTreeMap<String, String>,
}

/// Claims kept at most, and wishes taken up; further ones are refused.
const KEPT_MAX: usize = 10_000;
const ENTERPRISES: u64 = 40;

/// An enterprise's number (`QY0001` …), name, trade and open jobs.
fn enterprise(world: &World, number: u64) -> Value {
    let id = format!("QY{number:04}");
    let mut roll = Roll::new(world.seed(), &id, "charity/enterprise");
    let trade = roll.pick(&["机械制造", "食品加工", "茶叶", "来料加工", "电商", "文旅"]);
    let name = format!("缙云县{}{trade}有限公司", roll.pick(&["仙都", "鼎湖", "好溪", "括苍", "黄帝", "铁城"]));
    let jobs: Vec<Value> = (0..roll.below(4))
        .map(|index| {
            let monthly = 3_000 + roll.below(40) * 100;
            let title = roll.pick(&["包装工", "缝纫工", "保洁", "采茶工", "仓管"]);
            json!({"id": format!("{id}-{index}"), "title": title, "monthlyWage": monthly, "places": 1 + roll.below(6)})
        })
        .collect();
    json!({"id": id, "name": name, "trade": trade, "jobs": jobs})
}

/// A household's wish, if it has one: id and text.
pub fn wish(household: &Household) -> Option<(String, &'static str)> {
    let mut roll = household.roll("charity/wish");
    (!household.almost_nothing() && roll.chance(25)).then(|| {
        let text = roll.pick(&["一张书桌", "一台轮椅", "子女学费资助", "一份家门口的工作", "代销土蜂蜜"]);
        (format!("XY{}", household.id), text)
    })
}

pub fn router(world: World) -> Router {
    Router::new()
        .route("/charity/enterprises", get(enterprises))
        .route("/charity/wishes", get(wishes))
        .route("/charity/wishes/{id}/take-up", post(take_up))
        .route("/charity/claims", get(claims).post(claim))
        .with_state(Office { world, kept: Arc::default() })
}

async fn enterprises(State(office): State<Office>) -> Json<Value> {
    Json(json!({"enterprises": (1..=ENTERPRISES).map(|number| enterprise(&office.world, number)).collect::<Vec<_>>()}))
}

/// Wishes in one answer at most.
const WISHES_MAX: usize = 200;

async fn wishes(State(office): State<Office>, Query(parameters): Query<Vec<(String, String)>>) -> Response {
    let division = parameters.iter().find(|(name, _)| name == "division").map_or("", |(_, code)| code.as_str());
    if division.len() < 9 {
        return refused(StatusCode::BAD_REQUEST, "division: a town's code (9 digits) or a longer one");
    }
    let kept = office.kept.lock().unwrap_or_else(PoisonError::into_inner);
    let list: Vec<Value> = office
        .world
        .village_household_ids(division)
        .filter_map(|id| wish(&office.world.household(&id)?))
        .take(WISHES_MAX)
        .map(|(id, text)| json!({"takenUpBy": kept.taken_up.get(&id), "id": id, "text": text}))
        .collect();
    Json(json!({"wishes": list})).into_response()
}

fn refused(status: StatusCode, message: &str) -> Response {
    (status, Json(json!({"message": message}))).into_response()
}

fn known(body: &Value) -> Option<&str> {
    let id = body.get("enterprise")?.as_str()?;
    let number: u64 = id.strip_prefix("QY")?.parse().ok()?;
    ((1..=ENTERPRISES).contains(&number) && id.len() == 6).then_some(id)
}

async fn take_up(State(office): State<Office>, Path(id): Path<String>, Json(body): Json<Value>) -> Response {
    let household = id.strip_prefix("XY").and_then(|id| office.world.household(id));
    if household.and_then(|household| wish(&household)).is_none() {
        return refused(StatusCode::NOT_FOUND, "no such wish");
    }
    let Some(enterprise) = known(&body) else { return refused(StatusCode::BAD_REQUEST, "no such enterprise") };
    let mut kept = office.kept.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.taken_up.contains_key(&id) || kept.taken_up.len() >= KEPT_MAX {
        return refused(StatusCode::CONFLICT, "taken up already");
    }
    kept.taken_up.insert(id.clone(), enterprise.to_owned());
    Json(json!({"id": id, "takenUpBy": enterprise})).into_response()
}

async fn claim(State(office): State<Office>, Json(body): Json<Value>) -> Response {
    let text = |name: &str| body.get(name).and_then(Value::as_str);
    let Some(enterprise) = known(&body) else { return refused(StatusCode::BAD_REQUEST, "no such enterprise") };
    let Some(household) = text("household").and_then(|id| office.world.household(id)) else {
        return refused(StatusCode::BAD_REQUEST, "no such household");
    };
    let Some(consent) = text("consent").filter(|consent| !consent.is_empty()) else {
        return refused(StatusCode::FORBIDDEN, "the household's consent is missing");
    };
    let mut kept = office.kept.lock().unwrap_or_else(PoisonError::into_inner);
    if kept.claims.len() >= KEPT_MAX {
        return refused(StatusCode::SERVICE_UNAVAILABLE, "full");
    }
    let made = json!({
        "id": format!("RL{:06}", kept.claims.len() + 1), "enterprise": enterprise, "household": household.id,
        "consent": consent, "since": household.today.to_string(),
    });
    kept.claims.push(made.clone());
    (StatusCode::CREATED, Json(made)).into_response()
}

async fn claims(State(office): State<Office>, Query(parameters): Query<Vec<(String, String)>>) -> Json<Value> {
    let kept = office.kept.lock().unwrap_or_else(PoisonError::into_inner);
    let wanted = |claim: &&Value| {
        let of = |name: &str| ["household", "enterprise"].contains(&name);
        parameters.iter().filter(|(name, _)| of(name)).all(|(name, value)| claim[name] == *value)
    };
    Json(json!({"claims": kept.claims.iter().filter(wanted).collect::<Vec<_>>()}))
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
    async fn a_claim_needs_consent_and_a_wish_is_taken_up_once() {
        let (world, household) = ask::world();
        let office = router(world);
        let mut body = json!({"enterprise": "QY0001", "household": household.id});
        let (status, _) = ask::post(office.clone(), "/charity/claims", body.clone()).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
        body["consent"] = json!("TY2026-001");
        let (status, _) = ask::post(office.clone(), "/charity/claims", body).await;
        assert_eq!(status, StatusCode::CREATED);
        let (_, text) = ask::get(office.clone(), "/charity/claims", &[("household", &household.id)]).await;
        assert!(text.contains("RL000001"));
        let (_, text) = ask::get(office.clone(), "/charity/wishes", &[("division", "331122101348")]).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        let path = format!("/charity/wishes/{}/take-up", answer["wishes"][0]["id"].as_str().unwrap());
        let (status, _) = ask::post(office.clone(), &path, json!({"enterprise": "QY0002"})).await;
        assert_eq!(status, StatusCode::OK);
        let (status, _) = ask::post(office, &path, json!({"enterprise": "QY0003"})).await;
        assert_eq!(status, StatusCode::CONFLICT);
    }
}
