//! 帮扶: paired cadres, plans, visits and needs, an Apollo Federation 2 subgraph.
//!
//! The key travels in the header `X-Api-Key`. What is written here is kept for as long as the server runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_graphql::{Context, EmptySubscription, ID, Object, Schema, SimpleObject};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::world::{Date, Exception, Household, Roll, World, full_name};
use crate::{health, photo, standing};

/// A cadre is paired with five households that follow one another.
#[derive(Debug, Clone, SimpleObject)]
pub struct Cadre {
    pub id: ID,
    pub name: String,
    pub unit: String,
    pub phone: String,
    /// First and last day of the pairing.
    pub since: String,
    pub until: Option<String>,
}

/// A cadre whom a member lets act for the household.
#[derive(Debug, Clone, SimpleObject)]
pub struct Delegation {
    pub cadre: ID,
    /// Id number of the member who gave it.
    pub by: String,
    /// Table delegation-scope.
    pub scope: String,
    pub since: String,
    pub until: Option<String>,
    pub withdrawn_on: Option<String>,
}

fn delegations(household: &Household) -> Vec<Delegation> {
    let day = |day: Option<Date>| day.map(|day| day.to_string());
    standing::delegations(household)
        .into_iter()
        .map(|one| Delegation {
            cadre: ID(one.cadre_id),
            by: one.by,
            scope: one.scope.to_owned(),
            since: one.term.since.to_string(),
            until: day(one.term.until),
            withdrawn_on: day(one.term.withdrawn_on),
        })
        .collect()
}

#[derive(Debug, Clone, SimpleObject)]
pub struct Measure {
    pub id: ID,
    /// Table measure-kind.
    pub kind: String,
    pub text: String,
    pub responsible: String,
    pub started_on: String,
    pub finished_on: Option<String>,
    /// Table measure-state.
    pub state: String,
}

#[derive(Debug, Clone, SimpleObject)]
pub struct Visit {
    pub on: String,
    pub by: String,
    pub found: String,
    pub photo: Option<Photo>,
}

/// What the cadre's telephone took.
#[derive(Debug, Clone, SimpleObject)]
pub struct Photo {
    pub taken_on: String,
    pub media_type: String,
    /// With the telephone's EXIF.
    pub base64: String,
}

impl Photo {
    fn taken(on: Date) -> Self {
        let base64 = photo::with_exif(&format!("{:04}:{:02}:{:02} 15:20:00", on.y, on.m, on.d));
        Self { taken_on: on.to_string(), media_type: "image/jpeg".to_owned(), base64 }
    }
}

#[derive(Debug, Clone, SimpleObject)]
pub struct Need {
    pub id: ID,
    pub raised_on: String,
    /// Table need-origin.
    pub raised_by: String,
    pub kind: String,
    pub text: String,
    /// Table need-state.
    pub state: String,
    pub closed_by: Option<String>,
    pub closed_on: Option<String>,
}

/// Whom the cadre calls when somebody is ill. The health department holds the contract.
#[derive(Debug, Clone, SimpleObject)]
pub struct FamilyDoctor {
    pub name: String,
    pub organisation: String,
    pub phone: String,
}

/// As the cadre wrote it down, once.
pub fn family_doctor(household: &Household) -> Option<FamilyDoctor> {
    let health::Doctor { name, organisation, phone, .. } = health::doctor(household)?;
    let (name, phone) = match household.exception {
        // Who is no longer there, at a number of another block.
        Some(Exception::DoctorDisagrees) => {
            ("郑国强", format!("139004{:05}", household.roll("help/doctor").below(100_000)))
        }
        _ => (name, phone),
    };
    Some(FamilyDoctor { name: name.to_owned(), organisation, phone })
}

pub fn cadre(household: &Household) -> Option<Cadre> {
    if household.almost_nothing() {
        return None;
    }
    let (since, until) = standing::pairing(household);
    let mut roll = Roll::new(0, &household.cadre_id, "help/cadre");
    let male = roll.chance(60);
    Some(Cadre {
        id: ID(household.cadre_id.clone()),
        name: full_name(&mut roll, male),
        unit: format!(
            "{}{}",
            household.division.county,
            roll.pick(&["农业农村局", "财政局", "教育局", "税务局", "人民医院"])
        ),
        phone: format!("139001{:05}", roll.below(100_000)),
        since: since.to_string(),
        until: until.map(|day| day.to_string()),
    })
}

const MEASURES: &[(&str, &str)] = &[
    ("1", "发展茶叶种植两亩，提供种苗与技术指导"),
    ("1", "入股村光伏电站抱团增收"),
    ("2", "推荐到镇来料加工点就业"),
    ("3", "落实最低生活保障与临时救助"),
    ("4", "落实助学金与营养餐"),
    ("5", "家庭医生签约并代办慢特病证"),
    ("6", "纳入危旧房改造计划"),
    ("7", "协助申请小额信贷"),
    ("8", "水利局联户解决饮水管网"),
    ("9", "邻里互助照料老人"),
];

pub fn plan(household: &Household) -> Vec<Measure> {
    let Some(cadre) = cadre(household) else { return Vec::new() };
    let mut roll = household.roll("help/plan");
    let count = 1 + roll.below(3) as usize;
    let from = roll.below(MEASURES.len() as u64) as usize;
    (0..count)
        .map(|at| {
            let (kind, text) = MEASURES[(from + at * 3) % MEASURES.len()];
            let state = roll.pick(&["0", "1", "1", "2", "9"]);
            let started = roll.date(2023, 2024);
            let finished = (state == "2").then(|| started.plus_days(60 + roll.below(200) as i64));
            Measure {
                id: ID(format!("CS{}{:02}", household.id, at + 1)),
                kind: kind.to_owned(),
                text: text.to_owned(),
                responsible: cadre.name.clone(),
                started_on: started.to_string(),
                finished_on: finished.map(|day| day.to_string()),
                state: state.to_owned(),
            }
        })
        .collect()
}

const FOUND: &[&str] = &[
    "家中一切正常，老人身体平稳",
    "屋顶有渗漏，已联系住建部门",
    "孩子开学费用有困难，已申请助学",
    "茶园长势良好，需要采摘工",
    "用药费用较高，已代办慢特病",
    "饮水水压不足，已报水利站",
];

/// The latest first; one in three with a photo.
pub fn visits(household: &Household) -> Vec<Visit> {
    let Some(cadre) = cadre(household) else { return Vec::new() };
    let mut roll = household.roll("help/visits");
    let mut photographed = household.roll("help/visits/photo");
    // Paired in name only: nobody has come for a quarter of a year.
    let away = if household.one_in(7, "help/in name only") { 100 } else { 0 };
    let mut day = household.today.plus_days(-(roll.below(25) as i64) - away);
    let count = 6 + roll.below(20);
    (0..count)
        .map(|_| {
            let found = roll.pick(FOUND).to_owned();
            let photo = (photographed.below(3) == 0).then(|| Photo::taken(day));
            let visit = Visit { on: day.to_string(), by: cadre.name.clone(), found, photo };
            day = day.plus_days(-(20 + roll.below(20) as i64));
            visit
        })
        .collect()
}

const NEEDS: &[(&str, &str)] = &[
    ("就业", "希望就近找一份工"),
    ("住房", "厨房漏雨需要修缮"),
    ("医疗", "希望有人陪同去县医院复查"),
    ("就学", "孩子上学路远，希望住校"),
    ("生产", "需要采茶季的劳力"),
];

pub fn needs(household: &Household) -> Vec<Need> {
    if !household.one_in(2, "help/needs") {
        return Vec::new();
    }
    let mut roll = household.roll("help/needs");
    let count = 1 + roll.below(2);
    (0..count)
        .map(|at| {
            let (kind, text) = roll.pick(NEEDS);
            let raised = household.today.plus_days(-(30 + roll.below(300) as i64));
            let state = roll.pick(&["0", "1", "2", "2", "9"]);
            let closed = (state == "2").then(|| raised.plus_days(5 + roll.below(20) as i64));
            Need {
                id: ID(format!("XQ{}{:02}", household.id, at + 1)),
                raised_on: raised.to_string(),
                raised_by: roll.pick(&["1", "2"]).to_owned(),
                kind: kind.to_owned(),
                text: text.to_owned(),
                state: state.to_owned(),
                closed_by: closed.and(cadre(household)).map(|cadre| cadre.name),
                closed_on: closed.map(|day| day.to_string()),
            }
        })
        .collect()
}

/// What was written since the start, by household id.
#[derive(Default, Clone)]
struct Written(Arc<Mutex<BTreeMap<String, Additions>>>);

#[derive(Default, Clone)]
struct Additions {
    visits: Vec<Visit>,
    needs: Vec<Need>,
    /// Closed needs: who, and when.
    closed: BTreeMap<String, (String, String)>,
}

impl Written {
    fn of(&self, id: &str) -> Additions {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id).cloned().unwrap_or_default()
    }

    fn change<T>(&self, id: &str, change: impl FnOnce(&mut Additions) -> T) -> T {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(id.to_owned()).or_default())
    }

    fn needs(&self, household: &Household) -> Vec<Need> {
        let additions = self.of(&household.id);
        let mut needs = needs(household);
        needs.extend(additions.needs);
        for need in &mut needs {
            if let Some((by, on)) = additions.closed.get(need.id.as_str()) {
                need.state = "2".to_owned();
                need.closed_by = Some(by.clone());
                need.closed_on = Some(on.clone());
            }
        }
        needs
    }
}

/// The subgraph's `Household`.
struct Helped(Household);

#[Object(name = "Household")]
impl Helped {
    /// Agriculture's household number.
    async fn id(&self) -> ID {
        ID(self.0.id.clone())
    }

    async fn cadre(&self) -> Option<Cadre> {
        cadre(&self.0)
    }

    async fn family_doctor(&self) -> Option<FamilyDoctor> {
        family_doctor(&self.0)
    }

    async fn delegations(&self) -> Vec<Delegation> {
        delegations(&self.0)
    }

    async fn plan(&self) -> Vec<Measure> {
        plan(&self.0)
    }

    /// The latest first.
    async fn visits(&self, context: &Context<'_>) -> Vec<Visit> {
        let mut visits = context.data_unchecked::<Written>().of(&self.0.id).visits;
        visits.reverse();
        visits.extend(self::visits(&self.0));
        visits
    }

    async fn needs(&self, context: &Context<'_>) -> Vec<Need> {
        context.data_unchecked::<Written>().needs(&self.0)
    }
}

struct Query;

#[Object]
impl Query {
    #[graphql(entity)]
    async fn household_by_id(&self, context: &Context<'_>, id: ID) -> Option<Helped> {
        let household = context.data_unchecked::<World>().household(&id)?;
        (!household.almost_nothing()).then_some(Helped(household))
    }

    /// For callers that do not federate.
    async fn household(&self, context: &Context<'_>, id: ID) -> Option<Helped> {
        self.household_by_id(context, id).await.ok().flatten()
    }
}

struct Mutation;

#[Object]
impl Mutation {
    async fn record_visit(&self, context: &Context<'_>, household: ID, by: String, found: String) -> Option<Visit> {
        let known = context.data_unchecked::<World>().household(&household)?;
        let visit = Visit { on: known.today.to_string(), by, found, photo: None };
        context.data_unchecked::<Written>().change(&household, |added| added.visits.push(visit.clone()));
        Some(visit)
    }

    /// `raised_by`: table need-origin.
    async fn raise_need(
        &self,
        context: &Context<'_>,
        household: ID,
        raised_by: String,
        kind: String,
        text: String,
    ) -> Option<Need> {
        let known = context.data_unchecked::<World>().household(&household)?;
        let raised_on = known.today.to_string();
        Some(context.data_unchecked::<Written>().change(&household, |added| {
            let id = ID(format!("XQ{}{:02}", known.id, 51 + added.needs.len()));
            let need =
                Need { id, raised_on, raised_by, kind, text, state: "0".to_owned(), closed_by: None, closed_on: None };
            added.needs.push(need.clone());
            need
        }))
    }

    async fn close_need(&self, context: &Context<'_>, household: ID, need: ID, by: String) -> Option<Need> {
        let known = context.data_unchecked::<World>().household(&household)?;
        let written = context.data_unchecked::<Written>();
        let found = |needs: Vec<Need>| needs.into_iter().find(|one| one.id == need);
        found(written.needs(&known))?;
        let on = Date::today().to_string();
        written.change(&household, |added| added.closed.insert(need.to_string(), (by, on)));
        found(written.needs(&known))
    }
}

type Subgraph = Schema<Query, Mutation, EmptySubscription>;

pub fn router(world: World) -> Router {
    let schema = Schema::build(Query, Mutation, EmptySubscription)
        .enable_federation()
        .data(world)
        .data(Written::default())
        .limit_depth(12)
        .finish();
    Router::new().route("/graphql", post(graphql)).with_state(schema)
}

async fn graphql(
    State(schema): State<Subgraph>,
    headers: HeaderMap,
    Json(request): Json<async_graphql::Request>,
) -> Response {
    if headers.get("x-api-key").is_none_or(|key| key.as_bytes() != crate::server::secret("help").as_bytes()) {
        let error = json!({"errors": [{"message": "X-Api-Key is missing or wrong"}]});
        return (StatusCode::UNAUTHORIZED, Json(error)).into_response();
    }
    Json(schema.execute(request).await).into_response()
}

/// The items the department owns, as contract paths and values.
pub fn expected(_world: &World, household: &Household) -> Value {
    let Some(cadre) = cadre(household) else { return json!({}) };
    let kinds = ["INDUSTRY", "JOBS", "SOCIAL_SECURITY", "SCHOOLING", "HEALTH", "HOUSING", "CREDIT", "DEPARTMENT_HELP"];
    let kind = |code: &str| code.parse::<usize>().ok().and_then(|n| kinds.get(n - 1)).copied().unwrap_or("OTHER");
    let plan: Vec<Value> = plan(household)
        .iter()
        .map(|one| {
            json!({
                "id": one.id, "kind": kind(&one.kind), "kindCode": one.kind, "text": one.text,
                "responsible": one.responsible, "startedOn": one.started_on, "finishedOn": one.finished_on,
                "state": match one.state.as_str() {
                    "0" => "PLANNED", "1" => "UNDER_WAY", "2" => "DONE", _ => "DROPPED",
                },
                "stateCode": one.state,
            })
        })
        .collect();
    let bare =
        |photo: &Photo| json!({"takenOn": photo.taken_on, "mediaType": photo.media_type, "base64": photo::bare()});
    let visits: Vec<Value> = visits(household)
        .iter()
        .map(|one| json!({"on": one.on, "by": one.by, "found": one.found, "photo": one.photo.as_ref().map(bare)}))
        .collect();
    let needs: Vec<Value> = needs(household)
        .iter()
        .map(|one| {
            json!({
                "id": one.id, "raisedOn": one.raised_on,
                "raisedBy": if one.raised_by == "1" { "HOUSEHOLD" } else { "CADRE" }, "raisedByCode": one.raised_by,
                "kind": one.kind, "text": one.text,
                "state": match one.state.as_str() {
                    "0" => "OPEN", "1" => "ACCEPTED", "2" => "CLOSED", _ => "REJECTED",
                },
                "stateCode": one.state, "closedBy": one.closed_by, "closedOn": one.closed_on,
            })
        })
        .collect();
    json!({
        "help.cadre": {"id": cadre.id, "name": cadre.name, "unit": cadre.unit, "phone": cadre.phone,
            "since": cadre.since, "until": cadre.until},
        "help.plan": plan,
        "help.visits": visits,
        "help.needs": needs,
    })
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use tower::ServiceExt as _;

    use super::*;
    use crate::ask;

    async fn execute(router: &Router, query: &str) -> Value {
        let request = Request::post("/graphql")
            .header("content-type", "application/json")
            .header("x-api-key", crate::server::secret("help"))
            .body(Body::from(json!({"query": query}).to_string()))
            .unwrap();
        let response = router.clone().oneshot(request).await.unwrap();
        serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn entities_are_answered_and_writes_are_seen() {
        let (world, household) = ask::world();
        let router = router(world);
        let entities = r#"{ _entities(representations: [{__typename: "Household", id: "331122101348000001"},
            {__typename: "Household", id: "331122101348000010"}])
            { ... on Household { id cadre { id name } visits { on by found } needs { id state } } } }"#;
        let answer = execute(&router, entities).await;
        assert_eq!(answer["data"]["_entities"][0]["cadre"]["id"], household.cadre_id);
        assert!(answer["data"]["_entities"][1].is_null(), "{answer}");
        let raise = r#"mutation { raiseNeed(household: "331122101348000001", raisedBy: "2", kind: "住房", text: "修") { id } }"#;
        let id = execute(&router, raise).await["data"]["raiseNeed"]["id"].as_str().unwrap().to_owned();
        let close =
            format!(r#"mutation {{ closeNeed(household: "331122101348000001", need: "{id}", by: "x") {{ state }} }}"#);
        assert_eq!(execute(&router, &close).await["data"]["closeNeed"]["state"], "2");
        let sdl = execute(&router, "{ _service { sdl } }").await;
        assert!(sdl["data"]["_service"]["sdl"].as_str().unwrap().contains("@key(fields: \"id\")"));
    }

    #[tokio::test]
    async fn some_visits_carry_a_photo_of_their_day_as_the_telephone_wrote_it() {
        let (world, household) = ask::world();
        let query = r#"{ household(id: "331122101348000001") { visits { on photo { takenOn mediaType base64 } } } }"#;
        let answer = execute(&router(world), query).await;
        let visits = answer["data"]["household"]["visits"].as_array().unwrap();
        assert_eq!(visits.len(), super::visits(&household).len());
        let photos: Vec<_> = visits.iter().filter(|visit| visit["photo"].is_object()).collect();
        assert!(!photos.is_empty() && photos.len() < visits.len(), "{answer}");
        for visit in photos {
            assert_eq!(visit["photo"]["takenOn"], visit["on"]);
            assert_eq!(visit["photo"]["mediaType"], "image/jpeg");
            assert_ne!(visit["photo"]["base64"], photo::bare());
        }
    }

    #[test]
    fn the_family_doctor_is_the_health_departments_but_where_it_changed() {
        let (world, household) = ask::world();
        let named = |household: &Household| {
            let theirs = health::doctor(household).map(|one| (one.name.to_owned(), one.organisation, one.phone));
            (family_doctor(household).map(|one| (one.name, one.organisation, one.phone)), theirs)
        };
        let (ours, theirs) = named(&household);
        assert!(ours.is_some());
        assert_eq!(ours, theirs);
        let (ours, theirs) = named(&world.household("331122101348000016").unwrap());
        let ((name, organisation, phone), theirs) = (ours.unwrap(), theirs.unwrap());
        assert_eq!(organisation, theirs.1);
        assert!(name != theirs.0 && phone != theirs.2);
        assert!(family_doctor(&world.household("331122101348000004").unwrap()).is_none());
    }

    #[test]
    fn every_item_is_dense() {
        ask::dense(expected, &["help.cadre", "help.plan", "help.visits", "help.needs"]);
    }
}
