//! 发展改革局: projects that help households, as an Apollo Federation 2 subgraph.
//!
//! The subgraph keeps agriculture's household number as the key of `Household`. A project belongs to a village and
//! counts many households in; what one of them receives is its grant. Money is fen, written as text.

use async_graphql::{
    ComplexObject, Context, EmptyMutation, EmptySubscription, Enum, ID, Object, Request, Schema, SimpleObject,
};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};

use crate::world::{Date, Household, Roll, World};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum Category {
    Industry,
    Infrastructure,
    Housing,
    PublicService,
    /// Several households' shares in one enterprise (抱团增收).
    GroupIncome,
}

impl Category {
    /// As people read it.
    pub fn text(self) -> &'static str {
        match self {
            Self::Industry => "产业发展",
            Self::Infrastructure => "基础设施",
            Self::Housing => "住房安全",
            Self::PublicService => "公共服务",
            Self::GroupIncome => "抱团增收",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub enum Stage {
    Approved,
    UnderWay,
    Finished,
    Overdue,
}

/// A project's identity card, with what it gives to one household.
#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Project {
    pub code: String,
    pub title: String,
    pub category: Category,
    pub stage: Stage,
    /// The unit that answers for it.
    pub undertaker: &'static str,
    #[graphql(skip)]
    pub budget: i64,
    #[graphql(skip)]
    pub paid: i64,
    #[graphql(skip)]
    pub held_back: i64,
    #[graphql(skip)]
    pub grant: i64,
    /// Percent done.
    pub progress: i32,
    #[graphql(skip)]
    pub started_on: Date,
    #[graphql(skip)]
    pub due_on: Date,
    pub inspections: Vec<Inspection>,
}

/// Dates are `20260310`, money is fen.
#[ComplexObject]
impl Project {
    async fn budget_fen(&self) -> String {
        self.budget.to_string()
    }
    async fn paid_fen(&self) -> String {
        self.paid.to_string()
    }
    async fn held_back_fen(&self) -> String {
        self.held_back.to_string()
    }
    async fn grant_fen(&self) -> String {
        self.grant.to_string()
    }
    async fn start_date(&self) -> String {
        self.started_on.compact()
    }
    async fn due_date(&self) -> String {
        self.due_on.compact()
    }
}

#[derive(Debug, Clone, SimpleObject)]
#[graphql(complex)]
pub struct Inspection {
    #[graphql(skip)]
    pub on: Date,
    pub inspector: &'static str,
    pub finding: &'static str,
    pub passed: bool,
}

#[ComplexObject]
impl Inspection {
    async fn date(&self) -> String {
        self.on.compact()
    }
}

// Title, category, undertaker.
const KINDS: [(&str, Category, &str); 6] = [
    ("茭白产业提升项目", Category::Industry, "县农业农村局"),
    ("光伏小康工程", Category::GroupIncome, "县发展和改革局"),
    ("来料加工共富工坊", Category::GroupIncome, "镇人民政府"),
    ("农村饮水提升工程", Category::Infrastructure, "县水利局"),
    ("安居圆梦危旧房改造", Category::Housing, "县住房和城乡建设局"),
    ("村级养老服务站", Category::PublicService, "县民政局"),
];

/// The projects that count the household in.
pub fn projects(household: &Household) -> Vec<Project> {
    if household.almost_nothing() {
        return Vec::new();
    }
    let mut roll = household.roll("projects");
    let (first, count) = (roll.below(KINDS.len() as u64) as usize, roll.below(3) as usize);
    let count = if household.one_in(3, "projects") { count.max(1) } else { count };
    (0..count).map(|index| project(household, (first + index) % KINDS.len())).collect()
}

fn project(household: &Household, kind: usize) -> Project {
    let (name, category, undertaker) = KINDS[kind];
    // What all households of the village share is rolled by the village, the grant by the household.
    let village = household.division.code.as_str();
    let mut roll = Roll::new(0, village, name);
    let started_on = roll.date(2023, household.today.y - 1);
    let due_on = started_on.plus_days(240 + roll.below(500) as i64);
    let budget = roll.amount_fen(8_000_000, 90_000_000) / 10_000 * 10_000;
    let progress = if roll.chance(50) { 100 } else { 20 + roll.below(75) as i32 };
    let held_back = if roll.chance(35) { budget * roll.below(12) as i64 / 100 } else { 0 };
    let paid = (budget * i64::from(progress) / 100 - held_back).max(0);
    let stage = match progress {
        100 => Stage::Finished,
        _ if due_on < household.today => Stage::Overdue,
        ..30 => Stage::Approved,
        _ => Stage::UnderWay,
    };
    let inspections = inspections(&mut roll, started_on, household.today);
    let grant = household.roll(name).amount_fen(50_000, 1_200_000);
    Project {
        code: format!("XM{}{village}{kind:02}", started_on.y),
        title: format!("{}{name}", household.division.village),
        category,
        stage,
        undertaker,
        budget,
        paid,
        held_back,
        grant,
        progress,
        started_on,
        due_on,
        inspections,
    }
}

fn inspections(roll: &mut Roll, started_on: Date, today: Date) -> Vec<Inspection> {
    let count = roll.below(4);
    (0..count)
        .map(|index| {
            let on = started_on.plus_days(60 + index as i64 * 90 + roll.below(30) as i64);
            let passed = roll.chance(80);
            let inspector = roll.pick(&["县纪委监委派驻组", "县审计局", "县发展和改革局", "镇纪委"]);
            Inspection {
                on, inspector, finding: if passed { "符合要求" } else { "资金拨付滞后，限期整改" }, passed
            }
        })
        .filter(|inspection| inspection.on <= today)
        .collect()
}

/// The subgraph's `Household`.
pub struct Helped(Household);

#[Object(name = "Household")]
impl Helped {
    /// Agriculture's household number.
    async fn id(&self) -> ID {
        ID(self.0.id.clone())
    }

    async fn projects(&self) -> Vec<Project> {
        projects(&self.0)
    }
}

pub struct Query;

#[Object]
impl Query {
    #[graphql(entity)]
    async fn household_by_id(&self, context: &Context<'_>, id: ID) -> Option<Helped> {
        context.data_unchecked::<World>().household(&id).map(Helped)
    }

    /// The codes of the categories, with their text.
    async fn categories(&self) -> Vec<Category> {
        KINDS.iter().map(|(_, category, _)| *category).collect()
    }
}

type Subgraph = Schema<Query, EmptyMutation, EmptySubscription>;

pub fn router(world: World) -> Router {
    let schema =
        Schema::build(Query, EmptyMutation, EmptySubscription).enable_federation().data(world).limit_depth(12).finish();
    Router::new().route("/graphql", post(graphql)).with_state(schema)
}

async fn graphql(State(schema): State<Subgraph>, Json(request): Json<Request>) -> Json<async_graphql::Response> {
    Json(schema.execute(request).await)
}

fn yuan(fen: i64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

/// Item 60.
pub fn expected(_world: &World, household: &Household) -> Value {
    let list: Vec<Value> = projects(household)
        .into_iter()
        .map(|project| {
            let inspections: Vec<Value> = project
                .inspections
                .iter()
                .map(|one| json!({"on": one.on.to_string(), "by": one.inspector, "result": one.finding}))
                .collect();
            json!({
                "id": project.code, "name": project.title, "kind": project.category.text(),
                "budget": yuan(project.budget), "paid": yuan(project.paid), "heldBack": yuan(project.held_back),
                "grant": yuan(project.grant), "progress": project.progress,
                "startedOn": project.started_on.to_string(), "dueOn": project.due_on.to_string(),
                "inspections": inspections,
            })
        })
        .collect();
    // The subgraph knows every household: one without projects has an empty list, not no record.
    json!({"projects": list})
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ask;

    #[tokio::test]
    async fn households_are_read_as_entities_of_a_federation_2_subgraph() {
        let (world, household) = ask::world();
        let document = "query($r: [_Any!]!) { _entities(representations: $r) { ... on Household \
                        { projects { code budgetFen startDate inspections { date finding } } } } }";
        let representations = json!([
            {"__typename": "Household", "id": household.id}, {"__typename": "Household", "id": "nobody"},
        ]);
        let body = json!({"query": document, "variables": {"r": representations}});
        let (_, answer) = ask::post(router(world.clone()), "/graphql", body).await;
        let entities = &answer["data"]["_entities"];
        assert_eq!(entities[0]["projects"].as_array().map(Vec::len), Some(projects(&household).len()), "{answer}");
        assert!(entities[1].is_null());
        let (_, answer) = ask::post(router(world), "/graphql", json!({"query": "{ _service { sdl } }"})).await;
        assert!(answer["data"]["_service"]["sdl"].as_str().unwrap().contains("@key(fields: \"id\")"), "{answer}");
    }

    #[test]
    fn one_project_is_the_same_for_all_its_households_but_for_the_grant() {
        let (world, _) = ask::world();
        let mut seen = std::collections::HashMap::new();
        for id in world.village_household_ids("331122101348") {
            for project in projects(&world.household(&id).unwrap()) {
                let shared = (project.budget, project.paid, project.held_back, project.progress, project.due_on);
                assert_eq!(*seen.entry(project.code).or_insert(shared), shared);
            }
        }
        ask::dense(expected, &["projects"]);
    }
}
