//! What most would write first: axum and async-graphql with a static schema, reqwest, serde, and a data loader where
//! there would be a call for each row. Every request asks live; loaders are each request's own, so that nobody's batch has
//! another's keys.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use async_graphql::dataloader::{DataLoader, Loader};
use async_graphql::{ComplexObject, Context, EmptyMutation, EmptySubscription, Object, Result, Schema, SimpleObject};
use axum::extract::State;
use axum::routing::post;
use axum::{Json, Router};
use futures::future::try_join_all;
use serde::Deserialize;
use serde::de::DeserializeOwned;

#[derive(Clone)]
struct Up {
    http: reqwest::Client,
    base: Arc<str>,
}

impl Up {
    async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T> {
        let answer = self.http.get(format!("{}{path}", self.base)).send().await?.error_for_status()?;
        Ok(serde_json::from_slice(&answer.bytes().await?)?)
    }
}

#[derive(Deserialize)]
struct Wrapped<T> {
    data: T,
}

#[derive(SimpleObject, Deserialize, Clone)]
struct User {
    id: i32,
    name: String,
    username: String,
    email: String,
    phone: Option<String>,
}

#[derive(SimpleObject, Deserialize)]
#[graphql(complex)]
#[serde(rename_all = "camelCase")]
struct Post {
    id: i32,
    user_id: i32,
    title: String,
    body: String,
}

struct Users(Up);

impl Loader<i32> for Users {
    type Value = User;
    type Error = async_graphql::Error;

    async fn load(&self, keys: &[i32]) -> Result<HashMap<i32, User>> {
        let each = keys.iter().map(|key| async move {
            let user: User = self.0.get(&format!("/users/{key}")).await?;
            Ok::<_, async_graphql::Error>((*key, user))
        });
        Ok(try_join_all(each).await?.into_iter().collect())
    }
}

#[ComplexObject]
impl Post {
    async fn user(&self, context: &Context<'_>) -> Result<Option<User>> {
        context.data_unchecked::<DataLoader<Users>>().load_one(self.user_id).await
    }
}

#[derive(SimpleObject, Deserialize, Clone)]
#[serde(rename_all = "camelCase")]
struct Department {
    household_id: i32,
    status: String,
    amount: f64,
    level: i32,
    officer: String,
    updated_at: String,
    note: Option<String>,
}

struct Departments(Up);

impl Loader<(u8, i32)> for Departments {
    type Value = Department;
    type Error = async_graphql::Error;

    async fn load(&self, keys: &[(u8, i32)]) -> Result<HashMap<(u8, i32), Department>> {
        let mut queries: HashMap<u8, String> = HashMap::new();
        for (department, id) in keys {
            let query = queries.entry(*department).or_default();
            query.push(if query.is_empty() { '?' } else { '&' });
            let _ = write!(query, "id={id}");
        }
        let each = queries.into_iter().map(|(n, query)| async move {
            let all: Wrapped<Vec<Department>> = self.0.get(&format!("/dept{n}/households{query}")).await?;
            Ok::<_, async_graphql::Error>((n, all.data))
        });
        let all = try_join_all(each).await?.into_iter();
        Ok(all.flat_map(|(n, all)| all.into_iter().map(move |one| ((n, one.household_id), one))).collect())
    }
}

#[derive(SimpleObject, Deserialize)]
#[graphql(complex)]
struct HouseholdItem {
    id: i32,
    name: String,
}

macro_rules! batched {
    ($($name:ident = $n:literal),*) => {
        #[ComplexObject]
        impl HouseholdItem {
            $(async fn $name(&self, context: &Context<'_>) -> Result<Option<Department>> {
                context.data_unchecked::<DataLoader<Departments>>().load_one(($n, self.id)).await
            })*
        }
    };
}
batched!(dept1 = 1, dept2 = 2, dept3 = 3);

struct Household {
    id: i32,
}

macro_rules! single {
    ($($name:ident = $n:literal),*) => {
        #[Object]
        impl Household {
            async fn id(&self) -> i32 {
                self.id
            }

            $(async fn $name(&self, context: &Context<'_>) -> Result<Department> {
                let path = format!(concat!("/dept", $n, "/household/{}"), self.id);
                Ok(context.data_unchecked::<Up>().get::<Wrapped<Department>>(&path).await?.data)
            })*
        }
    };
}
single!(
    dept1 = 1,
    dept2 = 2,
    dept3 = 3,
    dept4 = 4,
    dept5 = 5,
    dept6 = 6,
    dept7 = 7,
    dept8 = 8,
    dept9 = 9,
    dept10 = 10,
    dept11 = 11,
    dept12 = 12
);

struct Query;

#[Object]
impl Query {
    async fn posts(&self, context: &Context<'_>) -> Result<Vec<Post>> {
        context.data_unchecked::<Up>().get("/posts").await
    }

    async fn household(&self, id: i32) -> Household {
        Household { id }
    }

    async fn households(&self, context: &Context<'_>) -> Result<Vec<HouseholdItem>> {
        Ok(context.data_unchecked::<Up>().get::<Wrapped<_>>("/households").await?.data)
    }
}

type All = Schema<Query, EmptyMutation, EmptySubscription>;

async fn answer(
    State((schema, up)): State<(All, Up)>,
    Json(request): Json<async_graphql::Request>,
) -> Json<async_graphql::Response> {
    let request = request
        .data(DataLoader::new(Users(up.clone()), tokio::spawn))
        .data(DataLoader::new(Departments(up), tokio::spawn));
    Json(schema.execute(request).await)
}

pub fn run(port: u16, upstream: &str) {
    let http = reqwest::Client::builder().tcp_nodelay(true).pool_max_idle_per_host(4096).build().expect("a client");
    let up = Up { http, base: format!("http://{upstream}").into() };
    let schema = Schema::build(Query, EmptyMutation, EmptySubscription).data(up.clone()).finish();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async move {
        let routes = Router::new().route("/graphql", post(answer)).with_state((schema, up));
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", port)).await.expect("a free port");
        axum::serve(listener, routes).await.expect("it serves");
    });
}
