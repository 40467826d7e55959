//! 水利局: REST JSON that sends the names of the columns once and then rows without keys. The house's connection
//! stands under its head; reservoir migrants stand under their own numbers.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::post};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::money::yuan;
use crate::photo;
use crate::world::{Date, Household, World};

const IDS_MAX: usize = 200;

/// Kinds of supply: the department's code and the contract's name.
const SUPPLIES: [(&str, &str); 4] = [("1", "CENTRAL"), ("2", "DISPERSED"), ("3", "WELL"), ("4", "SPRING")];

struct Connection {
    safe: bool,
    supply: (&'static str, &'static str),
    photographed: Option<Date>,
}

/// The water of the house, which the department knows by the head's number.
fn connection(household: &Household) -> Option<Connection> {
    if household.almost_nothing() {
        return None;
    }
    let mut roll = household.roll("water");
    let supply = SUPPLIES[if roll.chance(70) { 0 } else { 1 + roll.below(3) as usize }];
    let safe = supply.0 == "1" || roll.chance(70);
    let photographed = roll.chance(65).then(|| roll.date(2023, 2025));
    Some(Connection { safe, supply, photographed })
}

/// What one living reservoir migrant gets in a year (in fen): the same for everyone since 2006.
fn migrant_fen(household: &Household, index: usize) -> Option<i64> {
    let member = household.members.get(index)?;
    (member.alive && household.one_in(3, "reservoir migrants")).then_some(60_000)
}

/// The department's server.
pub fn router(world: World) -> Router {
    Router::new()
        .route("/ysaq/query", post(supplies))
        .route("/ysaq/photos", post(photos))
        .route("/skym/query", post(migrants))
        .with_state(world)
}

#[derive(Deserialize)]
struct Ask {
    #[serde(rename = "SFZH")]
    ids: Vec<String>,
}

fn table(world: &World, ask: &Ask, columns: &[&str], row: impl Fn(&Household, usize) -> Option<Value>) -> Response {
    if ask.ids.len() > IDS_MAX {
        let body = Json(json!({"state": "E", "info": "一次最多200人"}));
        return (StatusCode::BAD_REQUEST, body).into_response();
    }
    let known = ask.ids.iter().filter_map(|id| world.person(id));
    let rows: Vec<Value> = known.filter_map(|(household, index)| row(&household, index)).collect();
    Json(json!({"state": "S", "info": "", "columns": columns, "rows": rows})).into_response()
}

async fn supplies(State(world): State<World>, Json(ask): Json<Ask>) -> Response {
    table(&world, &ask, &["SFZH", "XM", "SFDB", "GSFS"], |household, index| {
        let connection = connection(household).filter(|_| index == 0)?;
        let head = &household.members[0];
        Some(json!([head.id_number, head.name, if connection.safe { "Y" } else { "N" }, connection.supply.0]))
    })
}

async fn photos(State(world): State<World>, Json(ask): Json<Ask>) -> Response {
    table(&world, &ask, &["SFZH", "PSSJ", "ZP"], |household, index| {
        let taken = connection(household).filter(|_| index == 0)?.photographed?;
        let at = format!("{:04}:{:02}:{:02} 10:15:00", taken.y, taken.m, taken.d);
        Some(json!([household.members[0].id_number, taken.compact(), photo::with_exif(&at)]))
    })
}

async fn migrants(State(world): State<World>, Json(ask): Json<Ask>) -> Response {
    table(&world, &ask, &["SFZH", "XM", "BZJE"], |household, index| {
        let amount = migrant_fen(household, index)?;
        let member = &household.members[index];
        Some(json!([member.id_number, member.name, yuan(amount)]))
    })
}

/// Items 42 to 44 and P2, from the facts alone.
pub fn expected(_world: &World, household: &Household) -> Value {
    let connection = connection(household);
    let photo = connection
        .as_ref()
        .and_then(|connection| connection.photographed.as_ref())
        .map(|taken| json!({"takenOn": taken.to_string(), "mediaType": "image/jpeg", "base64": photo::bare()}));
    let migrants: Vec<i64> = (0..household.members.len()).filter_map(|index| migrant_fen(household, index)).collect();
    json!({
        "water.safe": connection.as_ref().map(|connection| connection.safe),
        "water.supply": connection.as_ref().map(|connection| connection.supply.1),
        "water.supplyCode": connection.as_ref().map(|connection| connection.supply.0),
        "water.migrantSubsidy": (!migrants.is_empty()).then(|| yuan(migrants.iter().sum())),
        "photos.water": photo,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn rows_come_without_keys_in_the_order_of_the_columns() {
        let (world, household) = ask::world();
        let ids: Vec<&str> = household.members.iter().map(|member| member.id_number.as_str()).collect();
        let (_, answer) = ask::post(router(world), "/ysaq/query", json!({"SFZH": ids})).await;
        assert_eq!(answer["columns"], json!(["SFZH", "XM", "SFDB", "GSFS"]));
        assert_eq!(answer["rows"].as_array().unwrap().len(), 1);
        assert_eq!(answer["rows"][0][0], ids[0]);
    }

    #[test]
    fn every_item_is_answered_in_five_of_21_households() {
        ask::dense(expected, &["water.safe", "water.supply", "water.migrantSubsidy", "photos.water"]);
    }
}
