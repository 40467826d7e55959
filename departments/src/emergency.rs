//! 应急管理局: disaster events by division, REST JSON, each in the form of a CloudEvent (1.0, structured mode).
//!
//! An event strikes a village; who is struck in it is for the village to say. Times are `+08:00`.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::world::{Date, Household, Roll, World};

const KINDS: [(&str, &str); 5] =
    [("typhoon", "台风"), ("flood", "洪涝"), ("landslide", "地质灾害"), ("fire", "火灾"), ("drought", "干旱")];

/// A disaster that struck one village.
#[derive(Debug, Clone)]
pub struct Disaster {
    pub id: String,
    pub village: String,
    pub kind: &'static str,
    pub zh: &'static str,
    /// 1 worst to 4.
    pub level: u64,
    pub on: Date,
    pub hour: u64,
    pub households_hit: u64,
}

/// The disasters of a village in the three years up to today.
pub fn disasters(world: &World, village: &str) -> Vec<Disaster> {
    let (mut roll, today) = (Roll::new(world.seed(), village, "emergency"), world.today());
    let count = roll.below(3);
    (0..count)
        .map(|index| {
            let (kind, zh) = roll.pick(&KINDS);
            Disaster {
                id: format!("ZH{village}{index:02}"),
                village: village.to_owned(),
                kind,
                zh,
                level: 1 + roll.below(4),
                on: today.plus_days(-(roll.below(1_095) as i64)),
                hour: roll.below(24),
                households_hit: 1 + roll.below(u64::from(world.households_per_village()).max(1)),
            }
        })
        .collect()
}

/// The event as it is listed, and as it would be sent.
pub fn cloud_event(disaster: &Disaster) -> Value {
    json!({
        "specversion": "1.0", "id": disaster.id, "source": "/emergency/jinyun",
        "type": format!("cn.gov.emergency.disaster.{}", disaster.kind), "subject": disaster.village,
        "time": format!("{}T{:02}:00:00+08:00", disaster.on, disaster.hour), "datacontenttype": "application/json",
        "data": {
            "division": disaster.village, "kind": disaster.zh, "level": disaster.level,
            "householdsHit": disaster.households_hit,
        },
    })
}

pub fn router(world: World) -> Router {
    Router::new().route("/emergency/disasters", get(list)).with_state(world)
}

/// Events in one answer at most; `more` says that there are further ones.
const LIMIT: usize = 500;

async fn list(State(world): State<World>, Query(parameters): Query<Vec<(String, String)>>) -> Response {
    let parameter = |name: &str| parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str());
    let Some(division) = parameter("division").filter(|code| code.len() >= 6) else {
        let body = json!({"message": "division: a county's code (6 digits) or a longer one"});
        return (StatusCode::BAD_REQUEST, Json(body)).into_response();
    };
    let since = parameter("since").and_then(Date::parse).unwrap_or(Date::new(1970, 1, 1));
    let mut villages: Vec<String> = world.village_household_ids(division).map(|id| id[..12].to_owned()).collect();
    villages.dedup();
    let mut events: Vec<Value> = villages
        .iter()
        .flat_map(|village| disasters(&world, village))
        .filter(|disaster| disaster.on >= since)
        .take(LIMIT + 1)
        .map(|disaster| cloud_event(&disaster))
        .collect();
    let more = events.len() > LIMIT;
    events.truncate(LIMIT);
    Json(json!({"events": events, "more": more})).into_response()
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
    async fn disasters_of_a_county_come_as_cloud_events() {
        let (world, _) = ask::world();
        let (_, text) = ask::get(router(world.clone()), "/emergency/disasters", &[("division", "331122")]).await;
        let answer: Value = serde_json::from_str(&text).unwrap();
        assert!(answer["events"].as_array().unwrap().len() > 20);
        assert_eq!(answer["events"][0]["specversion"], "1.0");
        let query = [("division", "331122"), ("since", "2999-01-01")];
        let (_, text) = ask::get(router(world), "/emergency/disasters", &query).await;
        assert_eq!(text, r#"{"events":[],"more":false}"#);
    }
}
