//! What the answer to a scan may be, and what may be asked for it; and that a hole in it is found.

use std::collections::BTreeSet;

use departments::{Logged, World};
use serde_json::Value;

use crate::access_oracle;
use crate::check::Asked;
use crate::facts::Facts;
use crate::scan::Scan;
use crate::scan_oracle::{Read, Truths, also, gives, significant};
use crate::stage::Stage;
use crate::{bench::Bench, drawn, tree};

/// Why something is not known, of what the gateway itself could not or would not do: none of it may be in an answer.
const NOT_OF_DEPARTMENTS: [&str; 6] =
    ["FORBIDDEN", "SOURCE_BUSY", "LIMIT_EXCEEDED", "DEADLINE_EXCEEDED", "INTERNAL", "NO_SOURCE"];

/// What a scan looks at: a household, or which of its members.
#[derive(Debug, Clone)]
struct Candidate {
    key: String,
    household: String,
    member: Option<usize>,
}

/// By a key, where it is anybody's.
fn of_key(world: &World, key: &str, of_persons: bool) -> Option<Candidate> {
    let (household, member) = match of_persons {
        true => world.person(key).map(|(household, at)| (household, Some(at)))?,
        false => (world.household(key)?, None),
    };
    Some(Candidate { key: key.to_owned(), household: household.id, member })
}

/// Those of a household.
fn of_household(world: &World, household: String, of_persons: bool) -> Vec<Candidate> {
    if !of_persons {
        return vec![Candidate { key: household.clone(), household, member: None }];
    }
    let members = world.household(&household).expect("a household that is").members;
    let of = |(at, member): (usize, departments::world::Member)| Candidate {
        key: member.id_number,
        household: household.clone(),
        member: Some(at),
    };
    members.into_iter().enumerate().map(of).collect()
}

impl Asked<'_> {
    /// Whether the scan must be refused as a whole; else what it goes through, in order.
    fn candidates(&self, world: &World, scan: &Scan) -> Option<Vec<Candidate>> {
        let contract = &self.bench.stage.contract;
        let found_by: &[(&str, &str)] = match scan.of_persons {
            true => &[("Person", "idNumber"), ("Person", "household"), ("Household", "registry.division.code")],
            false => &[("Household", "id"), ("Household", "registry.division.code")],
        };
        let found_by = found_by.iter().map(|(entity, path)| contract.field(entity, path));
        let refused = |field: &&access_oracle::Field| field.class.is_some() && !gives(&self.grants, field);
        if self.compared.iter().chain(found_by).any(|field| refused(&field)) {
            return None;
        }
        let asked = significant(&scan.division);
        let granted = self.bench.marked.divisions(&self.grants, self.caller);
        if !granted.iter().any(|own| own.starts_with(asked) || asked.starts_with(own.as_str())) {
            return None;
        }
        // The number of a household begins with its village's.
        let is_inside = |one: &Candidate| {
            one.household.starts_with(asked) && granted.iter().any(|own| one.household.starts_with(own.as_str()))
        };
        let mut all = match &scan.among {
            Some(among) => {
                let mut seen = BTreeSet::new();
                let once = among.iter().filter(|id| seen.insert((*id).clone()));
                once.filter_map(|id| of_key(world, id, scan.of_persons)).collect()
            }
            None => {
                // Those of the divisions alone are made: a province has many.
                let narrower = |own: &String| if own.starts_with(asked) { own.clone() } else { asked.to_owned() };
                let parts: BTreeSet<String> = granted.iter().map(narrower).collect();
                let households = parts.iter().flat_map(|part| world.village_household_ids(part).collect::<Vec<_>>());
                households.flat_map(|id| of_household(world, id, scan.of_persons)).collect::<Vec<_>>()
            }
        };
        all.retain(is_inside);
        Some(all)
    }

    /// The answer to a scan: refused as a whole, or found among the caller's own and nowhere else.
    pub fn scanned(&self, answer: &Value, whole: &str, scan: &Scan) -> Result<(), String> {
        let Facts::Generated(world) = &self.bench.stage.facts else { return Err("nothing is known".to_owned()) };
        let forbidden = answer.get("data").is_none() && answer["errors"][0]["extensions"]["code"] == "FORBIDDEN";
        let Some(candidates) = self.candidates(world, scan) else {
            self.bench.tally.borrow_mut().scans_refused += 1;
            return if forbidden {
                Ok(())
            } else {
                Err("what may not be compared, or not there, was scanned".to_owned())
            };
        };
        if answer.get("data").is_none() {
            // More than a request may take, of which nothing is told.
            let too_much = answer["errors"][0]["extensions"]["code"] == "LIMIT_EXCEEDED";
            self.bench.tally.borrow_mut().too_much += usize::from(too_much);
            return if too_much { Ok(()) } else { Err("the scan was not made".to_owned()) };
        }
        let listed = if scan.of_persons { self.listed_persons(answer, whole) } else { self.listed(answer, whole) }?;
        let root = &answer["data"]["root"];
        self.found(world, scan, root, (&candidates, &listed))
    }

    /// Those that are found, in order, and what is counted of the others.
    fn found(
        &self,
        world: &World,
        scan: &Scan,
        root: &Value,
        (candidates, listed): (&[Candidate], &[&str]),
    ) -> Result<(), String> {
        let coverage = &root["coverage"];
        let count = |name: &str| {
            let count = coverage[name].as_u64().and_then(|count| usize::try_from(count).ok());
            count.ok_or_else(|| format!("`{name}` is not counted: {coverage}"))
        };
        let [looked_at, evaluated, matched, undetermined] =
            [count("candidates")?, count("evaluated")?, count("matched")?, count("undetermined")?];
        let first = scan.first.unwrap_or(20);
        match coverage["ended"].as_str() {
            Some("LISTED") if looked_at == candidates.len() => {}
            Some("PAGE_FULL") if looked_at <= candidates.len() && listed.len() == first => {}
            ended => return Err(format!("{ended:?} after {looked_at} of {}: {coverage}", candidates.len())),
        }
        if evaluated != looked_at || matched + undetermined > evaluated || listed.len() > first {
            return Err(format!("what is counted does not add up: {coverage}"));
        }
        let shown = if scan.undetermined { Truths::UNKNOWN } else { Truths::TRUE };
        let also = also(&self.bench.endpoints);
        let (mut least, mut most, mut decided) = ([0, 0], [0, 0], 0);
        let mut order: Vec<&str> = Vec::new();
        for Candidate { key: id, household, member } in &candidates[..looked_at] {
            let standing = self.standing(household);
            let portrait = self.bench.portrait(household).expect("a household that is");
            let told = (&self.bench.stage.contract, self.bench.withheld.as_slice());
            let read = Read::new(world, &portrait, (&self.grants, &standing), told, &also);
            let truths = scan.condition.as_ref().map_or(Truths::TRUE, |condition| read.decides(condition, *member));
            let is_listed = listed.contains(&id.as_str());
            let is_so = if is_listed { truths.may_be(shown) } else { truths != shown };
            if !is_so {
                return Err(format!(
                    "{id} is {}found, and its condition comes to {truths:?}",
                    if is_listed { "" } else { "not " }
                ));
            }
            decided += usize::from([Truths::TRUE, Truths::FALSE, Truths::UNKNOWN].contains(&truths));
            for (at, truth) in [Truths::TRUE, Truths::UNKNOWN].into_iter().enumerate() {
                least[at] += usize::from(truths == truth);
                most[at] += usize::from(truths.may_be(truth));
            }
            order.extend(listed.iter().copied().filter(|listed| listed == id));
        }
        if order != listed {
            return Err("what is found is not in the order of its keys, or not among the caller's own".to_owned());
        }
        for (at, count) in [matched, undetermined].into_iter().enumerate() {
            if count < least[at] || count > most[at] {
                return Err(format!("{count} is not between {} and {}: {coverage}", least[at], most[at]));
            }
        }
        if listed.len() != [matched, undetermined][usize::from(scan.undetermined)] {
            return Err(format!("{} are found: {coverage}", listed.len()));
        }
        self.reasons(root, undetermined)?;
        let mut tally = self.bench.tally.borrow_mut();
        tally.scans += 1;
        tally.scans_of_persons += usize::from(scan.of_persons);
        tally.scanned += looked_at;
        tally.found += listed.len();
        tally.undetermined += undetermined;
        // Of the others the comparison holds whatever comes of them.
        tally.decided += decided;
        Ok(())
    }

    /// Why something is undetermined names departments, and fields that were compared.
    fn reasons(&self, root: &Value, undetermined: usize) -> Result<(), String> {
        let of_all = root["coverage"]["missing"].as_array().ok_or("no reasons")?;
        if of_all.is_empty() != (undetermined == 0) {
            return Err(format!("{undetermined} are undetermined for {of_all:?}"));
        }
        let of_each = root["edges"].as_array().into_iter().flatten().flat_map(|edge| edge["missing"].as_array());
        let along = |field: &str| {
            let within = |path: &str, of: &str| path == of || path.starts_with(&format!("{of}."));
            self.compared.iter().any(|one| within(field, &one.path) || field.ends_with(&one.path))
        };
        for reason in of_all.iter().chain(of_each.flatten()) {
            let code = reason["code"].as_str().unwrap_or_default();
            if NOT_OF_DEPARTMENTS.contains(&code) {
                return Err(format!("undetermined for {code}, which is no department's"));
            }
            let fields = reason["fields"].as_array().into_iter().flatten().filter_map(Value::as_str);
            if let Some(other) = fields.into_iter().find(|field| !along(field)) {
                return Err(format!("undetermined for {other}, which is not compared"));
            }
        }
        Ok(())
    }

    /// Nobody is asked for a scan that is refused; for another one, of nobody outside the caller's divisions.
    pub fn scanned_calls(&self, scan: &Scan, calls: &[(String, Logged)]) -> Result<(), String> {
        let Facts::Generated(world) = &self.bench.stage.facts else { return Ok(()) };
        let Some(candidates) = self.candidates(world, scan) else {
            return match calls.first() {
                Some((source, call)) => Err(format!("the scan is refused, and {source} was asked: {call:?}")),
                None => Ok(()),
            };
        };
        let households: BTreeSet<String> = candidates.iter().map(|one| one.household.clone()).collect();
        let members = households.iter().filter_map(|id| self.bench.household(id));
        let members = members.flat_map(|home| home.members.iter().map(|one| one.id_number.clone()).collect::<Vec<_>>());
        let among = scan.among.iter().flatten();
        // In which division a person is, the household says.
        let of_among = among.clone().filter_map(|key| of_key(world, key, scan.of_persons)).map(|one| one.household);
        let known: BTreeSet<String> =
            members.chain(households.iter().cloned()).chain(among.cloned()).chain(of_among).collect();
        for (source, call) in calls {
            let text = format!("{} {} {}", call.path, call.query, call.body);
            if let Some(other) = self.bench.key.find_iter(&text).find(|key| !known.contains(key.as_str())) {
                return Err(format!("{source} was told {}, who is outside the caller's divisions", other.as_str()));
            }
        }
        let scope: Vec<String> = households.into_iter().collect();
        self.calls(&scope, calls)
    }
}

/// Scans of one role, against a gateway that is not what it is said to be, until one fails.
async fn scans(bench: &Bench, role: &str, most: u64) -> Result<(), String> {
    let mut drawn = drawn(&bench.stage);
    (drawn.roles, drawn.granted, drawn.scanning) =
        (vec![role.to_owned()], vec![role.to_owned()], vec![role.to_owned()]);
    let mut scans = 0;
    for at in 0.. {
        let case = proptest::strategy::ValueTree::current(&tree(&drawn, 7, at));
        if case.root.is_scan() {
            bench.run(&case).await.map_err(|fault| format!("CASE={at}: {fault}"))?;
            scans += 1;
        }
        if scans == most {
            break;
        }
    }
    Ok(())
}

/// Scans within which a hole must be found, and that find nothing where there is none.
const FOUND_WITHIN: u64 = 1_000;
const CONTROL: u64 = 12;

fn without(of: &mut Value, key: &str) {
    of.as_object_mut().expect("an object").remove(key);
}

#[test]
fn a_hole_in_what_may_be_scanned_is_found() {
    type Opening = (&'static str, &'static str, fn(&mut Value, &mut Value));
    let openings: [Opening; 5] = [
        ("town-officer", "a mask less", |roles, _| {
            without(&mut roles["town-officer"]["grants"][0]["mask"], "income.perCapita");
        }),
        ("supervisor", "no bound of divisions", |_, relations| {
            relations["jurisdiction"] = serde_json::json!({"on": "Household", "when": "true", "scans": {}});
        }),
        ("department-officer", "a relation marked that is not", |_, relations| {
            for department in ["agriculture", "police", "health", "civil-affairs", "education"] {
                without(&mut relations[format!("of-{department}")], "scans");
            }
        }),
        ("duty-officer", "a role that scans, without an emergency", |roles, _| {
            roles["duty-officer"]["scans"] = roles["supervisor"]["scans"].clone();
            without(&mut roles["duty-officer"]["grants"][0], "break_glass");
        }),
        ("verifier", "deposits without an approval", |roles, _| {
            without(&mut roles["verifier"]["grants"][1], "approval");
        }),
    ];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let own = Stage::own(5_000, 1, 0).await;
        for (role, name, open) in openings {
            let as_said = Bench::new(own.held_against(&own.root, &own.gates[0]), drawn(&own));
            let found = scans(&as_said, role, CONTROL).await;
            found.unwrap_or_else(|fault| panic!("{role} as it is said to be: {fault}"));
            let changed = own.laid_out(&name.replace(' ', "-"), |roles, relations| {
                open(&mut roles["roles"], &mut relations["relations"]);
            });
            // What the gateway has marked and is not said to be: the files that are told are the changed ones.
            let opened = if name.starts_with("a relation") { None } else { Some(own.gate_at(&changed).await) };
            let (gate, told) = opened.as_ref().map_or((&own.gates[0], &changed), |gate| (gate, &own.root));
            let bench = Bench::new(own.held_against(told, gate), drawn(&own));
            let found = scans(&bench, role, FOUND_WITHIN).await;
            let fault = found.err().unwrap_or_else(|| panic!("{role}, {name}: nothing is found"));
            println!("{role}, {name}: {}", fault.lines().next().unwrap_or_default());
        }
    });
}
