//! What is drawn beside roles and purposes, for gateways of its own: the hour of day, the client certificate, and what a
//! second person approved.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use huxiang::base::clock::Clock;
use jiff::Timestamp;
use jiff::tz::{TimeZone, offset};
use serde_json::{Value, json};

use crate::access_oracle::Caller;
use crate::case::Case;
use crate::pki::Authority;

/// Times of day; each is within some of the hours below and beyond others.
const TIMES: [(i8, i8); 4] = [(2, 30), (9, 0), (13, 59), (21, 0)];
/// Hours that grants in turn are limited to: none, office hours (of which the last minute ends at 14:00), the night.
const HOURS: [Option<&[&str]>; 3] =
    [None, Some(&["08:00-12:00", "13:00-14:00"]), Some(&["00:00-06:00", "21:00-24:00"])];
/// The common names of certificates that callers may show; and none.
const SHOWN: [&str; 3] = ["a.help.example", "b.help.example", "a.b.help.example"];

/// A gateway whose roles ask for hours and certificates: its clock, and the certificates that are shown to it.
pub struct Odds {
    seconds: Arc<AtomicI64>,
    /// Each as a proxy forwards it, and what the model is told of it.
    certificates: Vec<(String, Value)>,
    pub authority: String,
}

impl Odds {
    pub fn new() -> Self {
        let authority = Authority::new("Departments");
        let of = |name: &str| {
            let shown = json!({
                "subject": format!("CN={name}"), "issuer": "CN=Departments", "san": [format!("dns:{name}")],
            });
            // The name alone, not the word that libraries put before it.
            let made = authority.make(name, |params| params.distinguished_name = named(name));
            (made.forwarded(), shown)
        };
        Self {
            seconds: Arc::new(AtomicI64::new(Timestamp::now().as_second())),
            certificates: SHOWN.iter().map(|name| of(name)).collect(),
            authority: authority.pem(),
        }
    }

    pub fn clock(&self) -> Clock {
        let seconds = Arc::clone(&self.seconds);
        Clock::new(move || Timestamp::from_second(seconds.load(Ordering::SeqCst)).expect("a time of these days"))
    }

    /// The roles, asking for hours and certificates in turn.
    pub fn asked_for(roles: &mut Value) {
        let mut grants = 0;
        for (at, role) in roles["roles"].as_object_mut().expect("roles").values_mut().enumerate() {
            match at % 5 {
                1 => role["certificate"] = json!("required"),
                2 => role["certificate"] = json!({"san": ["dns:*.help.example"]}),
                3 => role["certificate"] = json!({"subject": "CN=b.help.example", "issuer": "CN=Departments"}),
                _ => {}
            }
            for grant in role["grants"].as_array_mut().into_iter().flatten() {
                if let Some(hours) = HOURS[grants % HOURS.len()] {
                    grant["hours"] = json!(hours);
                }
                grants += 1;
            }
        }
    }

    /// Sets the clock, and says of the caller what the model is to know: the time, and the certificate it shows.
    pub fn set(&self, case: &Case, caller: &mut Caller) {
        // An emergency is one for an hour: at another time it would be another, and of those one has few.
        let (hour, minute) = if caller.emergency { TIMES[3] } else { TIMES[case.time % TIMES.len()] };
        let zone = TimeZone::fixed(offset(8));
        let now = Timestamp::now().to_zoned(zone).with().hour(hour).minute(minute).second(30).build();
        let now = now.expect("a time of this day");
        self.seconds.store(now.timestamp().as_second(), Ordering::SeqCst);
        caller.now = Some((now.strftime("%Y-%m-%d %H:%M").to_string(), now.strftime("%a").to_string().to_lowercase()));
        caller.certificate = self.certificates.get(case.certificate).map(|(_, shown)| shown.clone());
    }

    /// What the proxy forwards for this caller.
    pub fn forwarded(&self, caller: &Caller) -> Option<String> {
        let shown = caller.certificate.as_ref()?;
        self.certificates.iter().find(|(_, known)| known == shown).map(|(forwarded, _)| forwarded.clone())
    }
}

fn named(name: &str) -> rcgen::DistinguishedName {
    let mut distinguished = rcgen::DistinguishedName::new();
    distinguished.push(rcgen::DnType::CommonName, name);
    distinguished
}

/// What somebody else is to approve for this caller, as the admin API takes it: the role, and the approver.
pub fn approval(case: &Case, caller: &Caller, household: &str) -> Option<(Value, Caller)> {
    let verifies =
        caller.roles.iter().any(|role| role == "verifier") && caller.purpose.as_deref() == Some("recognition");
    if !case.approved || !verifies || caller.networks != ["gov"] {
        return None;
    }
    let variables = json!({
        "requester": caller.id, "issuer": caller.issuer,
        "approval": {
            "role": "verifier", "purpose": caller.purpose, "case": caller.case, "entity": "Household", "key": household,
            "reason": "deposits to be compared", "minutes": 2,
        },
    });
    let approver = Caller {
        id: "approver".to_owned(),
        roles: vec!["supervisor".to_owned()],
        networks: vec!["gov".to_owned()],
        issuer: caller.issuer.clone(),
        ..Caller::default()
    };
    Some((variables, approver))
}
