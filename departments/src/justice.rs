//! 司法局: legal aid by id number, one person a call; REST JSON. Who never asked for aid is 404.

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::world::{Date, Household, Member, World};

/// One case of legal aid.
#[derive(Debug, Clone)]
pub struct Aid {
    pub case_number: String,
    pub matter: &'static str,
    pub lawyer: String,
    pub granted_on: Date,
    pub closed_on: Option<Date>,
}

/// Few have one.
pub fn aid(household: &Household, member: &Member) -> Option<Aid> {
    let mut roll = member.roll("justice/aid");
    let may = !household.almost_nothing() && member.alive && member.age() >= 18;
    if !may || !roll.chance(10) {
        return None;
    }
    let granted_on = roll.date(household.today.y - 3, household.today.y - 1);
    Some(Aid {
        case_number: format!("缙援民字{}第{:04}号", granted_on.y, roll.below(2_000) + 1),
        matter: roll.pick(&["追索劳动报酬", "工伤赔偿", "赡养纠纷", "交通事故赔偿", "土地承包纠纷"]),
        lawyer: crate::world::full_name(&mut roll, true),
        granted_on,
        closed_on: roll.chance(70).then(|| granted_on.plus_days(40 + roll.below(200) as i64)),
    })
}

pub fn router(world: World) -> Router {
    Router::new().route("/legal-aid/persons/{id}", get(of_person)).with_state(world)
}

async fn of_person(State(world): State<World>, Path(id): Path<String>) -> Response {
    let found = world.person(&id).and_then(|(household, index)| aid(&household, household.members.get(index)?));
    let Some(aid) = found else {
        return (StatusCode::NOT_FOUND, Json(json!({"message": "no case"}))).into_response();
    };
    Json(json!({
        "caseNumber": aid.case_number, "matter": aid.matter, "lawyer": aid.lawyer,
        "grantedOn": aid.granted_on.slashed(), "closedOn": aid.closed_on.map(Date::slashed),
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
    async fn who_had_aid_is_found_and_who_had_not_is_404() {
        let (world, _) = ask::world();
        let mut found = 0;
        for id in world.village_household_ids("331122101348") {
            let household = world.household(&id).unwrap();
            for member in &household.members {
                let path = format!("/legal-aid/persons/{}", member.id_number);
                let (status, _) = ask::get(router(world.clone()), &path, &[]).await;
                assert_eq!(status == StatusCode::OK, aid(&household, member).is_some());
                found += usize::from(status == StatusCode::OK);
            }
        }
        assert!(found > 0);
    }
}
