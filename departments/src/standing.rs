//! Who may act for whom: guardianships and consents (civil affairs), delegations to cadres (the help department).
//!
//! Pure functions of the household, with a case of each kind at fixed places of a village, so that tests can name them.

use serde_json::{Value, json};

use crate::world::{Date, Household, Member, Role};

/// How far a consent or delegation is: by household sequence, round and round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Sequences 5, 10, 15 …
    InForce,
    /// Sequences 1, 6, 11 …: there is none.
    None,
    /// Sequences 2, 7, 12 …: since yesterday.
    Withdrawn,
    /// Sequences 3, 8, 13 …: since yesterday.
    Expired,
    /// Sequences 4, 9, 14 …: from tomorrow.
    Future,
}

/// What a person or household has agreed to, and until when.
#[derive(Debug, Clone, Copy)]
pub struct Term {
    pub since: Date,
    pub until: Option<Date>,
    pub withdrawn_on: Option<Date>,
}

impl Term {
    fn of(stage: Stage, today: Date) -> Option<Self> {
        let (long_ago, yesterday, tomorrow) = (today.plus_days(-200), today.plus_days(-1), today.plus_days(1));
        let next_year = Some(today.plus_days(365));
        match stage {
            Stage::None => None,
            Stage::InForce => Some(Self { since: long_ago, until: next_year, withdrawn_on: None }),
            Stage::Withdrawn => Some(Self { since: long_ago, until: next_year, withdrawn_on: Some(yesterday) }),
            Stage::Expired => Some(Self { since: long_ago, until: Some(yesterday), withdrawn_on: None }),
            Stage::Future => Some(Self { since: tomorrow, until: next_year, withdrawn_on: None }),
        }
    }
}

/// A guardian of a member.
#[derive(Debug, Clone)]
pub struct Guardianship {
    pub guardian: String,
    /// Table guardianship-kind: `1` of a minor, `2` of an adult who cannot act.
    pub kind: &'static str,
    pub since: Date,
    pub until: Option<Date>,
}

/// Of children, head and spouse, grown ones too: nobody ends the record when they come of age. Of the head's father,
/// the head: in force in household 15 of a village, ended yesterday in household 8.
pub fn guardianships(household: &Household, member: &Member) -> Vec<Guardianship> {
    if household.almost_nothing() {
        return Vec::new();
    }
    let by = |guardian: &Member, kind, since, until| Guardianship {
        guardian: guardian.id_number.clone(),
        kind,
        since,
        until,
    };
    match (member.role, (household.sequence - 1) % 21 + 1) {
        (Role::Child | Role::GrownChild, _) => household
            .living()
            .filter(|other| matches!(other.role, Role::Head | Role::Spouse))
            .map(|parent| by(parent, "1", member.birth, None))
            .collect(),
        (Role::Father, 15) => vec![by(household.head(), "2", household.today.plus_days(-400), None)],
        (Role::Father, 8) => {
            let yesterday = household.today.plus_days(-1);
            vec![by(household.head(), "2", household.today.plus_days(-400), Some(yesterday))]
        }
        _ => Vec::new(),
    }
}

/// What a member has agreed that another may know.
#[derive(Debug, Clone)]
pub struct Consent {
    /// An id number, or the code of an enterprise.
    pub to: String,
    /// Table consent-class, several joined by commas.
    pub classes: &'static str,
    pub purpose: &'static str,
    pub term: Term,
}

/// The enterprise that some heads let know of their work.
pub const ENTERPRISE: &str = "91331122DEMO000017";

pub fn consent_stage(household: &Household) -> Stage {
    match household.sequence % 5 {
        0 => Stage::InForce,
        1 => Stage::None,
        2 => Stage::Withdrawn,
        3 => Stage::Expired,
        _ => Stage::Future,
    }
}

/// Every adult to the head, and the head to the first other adult; in household 20 for disability alone.
pub fn consents(household: &Household, member: &Member) -> Vec<Consent> {
    if household.almost_nothing() || member.age() < 18 || !member.alive {
        return Vec::new();
    }
    let Some(term) = Term::of(consent_stage(household), household.today) else { return Vec::new() };
    let classes = if household.sequence % 21 == 20 { "2" } else { "1,2,3" };
    let mut adults = household.living().filter(|other| other.age() >= 18 && other.role != Role::Head);
    let to = match member.role {
        Role::Head => adults.next().map(|other| other.id_number.clone()),
        _ => Some(household.head().id_number.clone()),
    };
    let mut found: Vec<Consent> =
        to.into_iter().map(|to| Consent { to, classes, purpose: "家庭共同办理帮扶事项", term }).collect();
    if member.role == Role::Head {
        found.push(Consent { to: ENTERPRISE.to_owned(), classes: "4", purpose: "岗位推荐", term });
    }
    found
}

/// A cadre whom a member lets act for the household.
#[derive(Debug, Clone)]
pub struct Delegation {
    pub cadre_id: String,
    /// The member's id number.
    pub by: String,
    /// Table delegation-scope.
    pub scope: &'static str,
    pub term: Term,
}

pub fn delegation_stage(household: &Household) -> Stage {
    match household.sequence % 5 {
        1 => Stage::InForce,
        2 => Stage::Withdrawn,
        3 => Stage::Expired,
        4 => Stage::Future,
        _ => Stage::None,
    }
}

/// To the paired cadre, by the head; in household 6 by the spouse too, to apply only in household 11.
pub fn delegations(household: &Household) -> Vec<Delegation> {
    if household.almost_nothing() {
        return Vec::new();
    }
    let Some(term) = Term::of(delegation_stage(household), household.today) else { return Vec::new() };
    let place = (household.sequence - 1) % 21 + 1;
    let by = household
        .members
        .iter()
        .filter(|member| member.role == Role::Head || (place == 6 && member.role == Role::Spouse));
    by.map(|member| Delegation {
        cadre_id: household.cadre_id.clone(),
        by: member.id_number.clone(),
        scope: if place == 11 { "2" } else { "9" },
        term,
    })
    .collect()
}

/// When the pairing with the cadre began, and ended: yesterday in household 19 of a village.
pub fn pairing(household: &Household) -> (Date, Option<Date>) {
    let since = Date::new(household.today.y - 2, 3, 1);
    (since, ((household.sequence - 1) % 21 + 1 == 19).then(|| household.today.plus_days(-1)))
}

/// Of a Person of the contract: who is its guardian, and what it has consented to.
pub fn expected_person(household: &Household, member: &Member) -> Value {
    let day = |day: Option<Date>| day.map(|day| day.to_string());
    let guardians: Vec<Value> = guardianships(household, member)
        .iter()
        .map(|one| {
            json!({
                "idNumber": one.guardian, "kind": if one.kind == "1" { "MINOR" } else { "ADULT" },
                "kindCode": one.kind, "since": one.since.to_string(), "until": day(one.until),
            })
        })
        .collect();
    let class = |code: &str| match code {
        "1" => "HEALTH",
        "2" => "DISABILITY",
        "3" => "FINANCE",
        _ => "EMPLOYMENT",
    };
    let consents: Vec<Value> = consents(household, member)
        .iter()
        .map(|one| {
            json!({
                "to": one.to, "classes": one.classes.split(',').map(class).collect::<Vec<_>>(),
                "classesCode": one.classes.split(',').collect::<Vec<_>>(), "purpose": one.purpose,
                "since": one.term.since.to_string(), "until": day(one.term.until),
                "withdrawnOn": day(one.term.withdrawn_on),
            })
        })
        .collect();
    json!({"guardians": guardians, "consents": consents})
}
