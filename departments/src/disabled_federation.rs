//! 残联: REST JSON, one person a call and no batch; slow; at most 10 calls in any second, else 429 with Retry-After.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router, routing::get};
use serde_json::{Value, json};

use crate::money::yuan;
use crate::world::{Date, Household, World};

/// Calls the federation takes in any sliding second.
pub const PER_SECOND_MAX: usize = 10;

/// Kinds of disability by GB/T 26341.
const KINDS: [(&str, &str); 7] = [
    ("1", "VISUAL"),
    ("2", "HEARING"),
    ("3", "SPEECH"),
    ("4", "PHYSICAL"),
    ("5", "INTELLECTUAL"),
    ("6", "PSYCHIATRIC"),
    ("7", "MULTIPLE"),
];
/// Grades by GB/T 26341, the most severe first.
const GRADES: [(&str, &str); 4] = [("1", "ONE"), ("2", "TWO"), ("3", "THREE"), ("4", "FOUR")];

struct Certificate {
    /// The holder's id number, the kind and the grade: 20 characters.
    number: String,
    kind: (&'static str, &'static str),
    grade: (&'static str, &'static str),
    issued: Date,
    until: Date,
    living_fen: Option<i64>,
    nursing_fen: Option<i64>,
}

fn certificate(household: &Household, index: usize) -> Option<Certificate> {
    let member = household.members.get(index).filter(|member| member.alive)?;
    let mut roll = member.roll("disabled-federation");
    // The head of every third household, severely; now and then someone else.
    let head = index == 0 && household.one_in(3, "disability");
    if !(head || roll.chance(4) && !household.almost_nothing()) {
        return None;
    }
    let kind = roll.pick(&KINDS);
    let grade = roll.pick(if head { &GRADES[..2] } else { &GRADES });
    let severe = matches!(grade.0, "1" | "2");
    let issued = roll.date(2018, 2023);
    Some(Certificate {
        number: format!("{}{}{}", member.id_number, kind.0, grade.0),
        kind,
        grade,
        until: issued.plus_days(10 * 365),
        issued,
        living_fen: (head || roll.chance(60)).then_some(if severe { 34_500 } else { 28_800 }),
        nursing_fen: severe.then(|| if grade.0 == "1" { 50_000 } else { 25_000 }),
    })
}

#[derive(Clone)]
struct Office {
    world: World,
    /// When the calls of the last second came.
    recent: Arc<Mutex<VecDeque<Instant>>>,
}

/// The department's server.
pub fn router(world: World) -> Router {
    let office = Office { world, recent: Arc::default() };
    Router::new().route("/api/cert/{id}", get(person)).with_state(office)
}

impl Office {
    /// Counts a call in, or says how long to wait.
    fn admit(&self) -> Result<(), Duration> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        while recent.front().is_some_and(|first| now.duration_since(*first) >= Duration::from_secs(1)) {
            recent.pop_front();
        }
        match recent.front() {
            Some(first) if recent.len() >= PER_SECOND_MAX => Err(Duration::from_secs(1) - now.duration_since(*first)),
            _ => {
                recent.push_back(now);
                Ok(())
            }
        }
    }
}

async fn person(State(office): State<Office>, Path(id): Path<String>) -> Response {
    if let Err(wait) = office.admit() {
        let seconds = wait.as_secs_f64().ceil().max(1.0).to_string();
        let body = Json(json!({"status": "busy", "msg": "请求过于频繁"}));
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, seconds)], body).into_response();
    }
    let found = office.world.person(&id).and_then(|(household, index)| {
        certificate(&household, index).map(|certificate| (household.members[index].name.clone(), certificate))
    });
    let Some((name, certificate)) = found else {
        return (StatusCode::NOT_FOUND, Json(json!({"status": "none", "msg": "未查到持证记录"}))).into_response();
    };
    let body = json!({"status": "ok", "person": {
        "cardId": id, "name": name, "certNo": certificate.number,
        "kind": certificate.kind.0, "level": certificate.grade.0,
        "issueDate": certificate.issued.slashed(), "validUntil": certificate.until.slashed(),
        "livingAllowance": certificate.living_fen.map(yuan), "careAllowance": certificate.nursing_fen.map(yuan),
    }});
    Json(body).into_response()
}

/// Items 29 to 31, from the facts alone.
pub fn expected(_world: &World, household: &Household) -> Value {
    let held: Vec<(usize, Certificate)> =
        (0..household.members.len()).filter_map(|index| Some((index, certificate(household, index)?))).collect();
    let shown = |(index, held): &(usize, Certificate)| {
        let member = &household.members[*index];
        json!({
            "name": member.name, "idNumber": member.id_number, "number": held.number,
            "kind": held.kind.1, "kindCode": held.kind.0, "grade": held.grade.1, "gradeCode": held.grade.0,
            "issuedOn": held.issued.to_string(), "expiresOn": held.until.to_string(),
        })
    };
    let sum = |of: fn(&Certificate) -> Option<i64>| held.iter().filter_map(|(_, held)| of(held)).reduce(|a, b| a + b);
    json!({
        "disability.certificates": held.iter().map(shown).collect::<Vec<_>>(),
        "disability.livingSubsidy": sum(|held| held.living_fen).map(yuan),
        "disability.nursingSubsidy": sum(|held| held.nursing_fen).map(yuan),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn the_eleventh_call_of_a_second_is_sent_away() {
        let (world, household) = ask::world();
        let router = router(world);
        let path = format!("/api/cert/{}", household.head().id_number);
        for _ in 0..PER_SECOND_MAX {
            let (status, _) = ask::get(router.clone(), &path, &[]).await;
            assert_ne!(status, StatusCode::TOO_MANY_REQUESTS);
        }
        let (status, _) = ask::get(router, &path, &[]).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    }

    #[tokio::test]
    async fn a_person_without_a_certificate_is_not_found() {
        let (world, household) = ask::world();
        let asked: Vec<_> = (0..household.members.len())
            .map(|index| (household.members[index].id_number.clone(), certificate(&household, index).is_some()))
            .collect();
        for (id, holds) in asked {
            let (status, _) = ask::get(router(world.clone()), &format!("/api/cert/{id}"), &[]).await;
            assert_eq!(status == StatusCode::OK, holds);
        }
    }

    #[test]
    fn every_item_is_answered_in_five_of_21_households() {
        ask::dense(expected, &["disability.certificates", "disability.livingSubsidy", "disability.nursingSubsidy"]);
    }
}
