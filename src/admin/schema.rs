//! The schema: every topic's fields together.

use std::sync::LazyLock;

use async_graphql::{EmptySubscription, MergedObject, Object, Schema};

use super::alerts::{AlertMutation, AlertQuery};
use super::operate::OperatorQuery;
use super::records::RecordQuery;
use super::registry::{RegistryMutation, RegistryQuery};
use super::revocations::{RevocationMutation, RevocationQuery};
use super::second::{SecondMutation, SecondQuery};
use super::session::session;
use super::sources::SourceQuery;
use super::statistics::StatisticsQuery;
use crate::model::config::admin::Part;

const DEPTH_MAX: usize = 12;
/// Fields of one operation, fragments written out.
const FIELDS_MAX: usize = 400;

/// Questions.
#[derive(MergedObject, Default)]
#[graphql(name = "Query")]
pub struct Query(
    Caller,
    OperatorQuery,
    SourceQuery,
    AlertQuery,
    StatisticsQuery,
    RecordQuery,
    RevocationQuery,
    SecondQuery,
    RegistryQuery,
);

/// Changes.
#[derive(MergedObject, Default)]
#[graphql(name = "Mutation")]
pub struct Mutation(AlertMutation, RevocationMutation, SecondMutation, RegistryMutation);

pub type AdminSchema = Schema<Query, Mutation, EmptySubscription>;

/// Made once; a request brings its session with it.
pub fn schema() -> &'static AdminSchema {
    static SCHEMA: LazyLock<AdminSchema> = LazyLock::new(|| {
        Schema::build(Query::default(), Mutation::default(), EmptySubscription)
            .limit_depth(DEPTH_MAX)
            .limit_complexity(FIELDS_MAX)
            .limit_recursive_depth(DEPTH_MAX * 2)
            .limit_directives(4)
            .disable_suggestions()
            .finish()
    });
    &SCHEMA
}

/// The whole schema as SDL.
pub fn sdl() -> String {
    schema().sdl()
}

#[derive(Default)]
struct Caller;

#[Object]
impl Caller {
    /// The parts that the caller has here: roles that count from this network.
    async fn parts(&self, context: &async_graphql::Context<'_>) -> async_graphql::Result<Vec<&'static str>> {
        let session = session(context)?;
        session.note("parts", true);
        let names = [
            (Part::Operator, "operator"),
            (Part::SecurityOfficer, "security_officer"),
            (Part::Auditor, "auditor"),
            (Part::Supervisor, "supervisor"),
            (Part::Steward, "steward"),
            (Part::DepartmentHead, "department_head"),
        ];
        Ok(names.into_iter().filter(|(part, _)| session.has(*part)).map(|(_, name)| name).collect())
    }
}
