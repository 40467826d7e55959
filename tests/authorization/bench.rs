//! One worker's stage, and how a case is run on it.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::LazyLock;

use departments::Logged;
use regex::Regex;
use serde_json::{Value, json};

use crate::access_oracle::{self, Caller, Endpoint, Field};
use crate::case::{Case, Drawn, HOUSEHOLDS, Root, Transport, VILLAGE};
use crate::check;
use crate::document::{LEFT_OUT, Rooted, Selected, Writer, name};
use crate::facts::{Facts, Home};
use crate::odds;
use crate::scan::{self, Chance, Drawing, Scan};
use crate::scan_oracle::{self, Marked};
use crate::stage::{Asked, Gate, PATIENCE, Reply, Stage, curl};
use crate::tally::Tally;

pub struct Bench {
    pub stage: Stage,
    pub drawn: Drawn,
    pub endpoints: Vec<Endpoint>,
    pub withheld: Vec<access_oracle::WithheldCodes>,
    pub held_twice: Vec<access_oracle::HeldTwice>,
    pub derived: BTreeMap<String, BTreeSet<String>>,
    pub checklists: BTreeSet<String>,
    pub told_by_checklists: BTreeSet<String>,
    pub purposes: BTreeSet<String>,
    pub titles: BTreeSet<String>,
    pub marked: Marked,
    /// Households of the village, to take values from.
    examples: OnceCell<Vec<Value>>,
    households: RefCell<BTreeMap<String, Option<Rc<Home>>>>,
    portraits: RefCell<BTreeMap<String, Option<Rc<Value>>>>,
    leaves: RefCell<BTreeMap<&'static str, Rc<Vec<Vec<Field>>>>>,
    pub tally: RefCell<Tally>,
    /// What the caller may have, the department holds, and the answer does not.
    pub missing: RefCell<Vec<String>>,
    pub key: Regex,
}

/// One case, written out.
#[derive(Clone)]
struct Written {
    caller: Caller,
    selected: Vec<Selected>,
    items: Vec<Field>,
    person: String,
    scan: Option<Scan>,
    asked: Asked,
}

impl Bench {
    pub fn new(stage: Stage, drawn: Drawn) -> Self {
        let root = stage.root.clone();
        Self {
            stage,
            drawn,
            held_twice: access_oracle::held_twice(&access_oracle::endpoints(&root)),
            endpoints: access_oracle::endpoints(&root),
            withheld: access_oracle::withheld_codes(&root),
            derived: access_oracle::derived_inputs(&root),
            checklists: access_oracle::checklists(&root),
            told_by_checklists: access_oracle::told_by_checklists(&root),
            purposes: access_oracle::purposes(&root),
            titles: access_oracle::titles(&root),
            marked: Marked::read(&root),
            examples: OnceCell::new(),
            households: RefCell::default(),
            portraits: RefCell::default(),
            leaves: RefCell::default(),
            tally: RefCell::default(),
            missing: RefCell::default(),
            key: Regex::new(r"\b[0-9]{17}[0-9Xx]\b").expect("a pattern"),
        }
    }

    pub fn household(&self, id: &str) -> Option<Rc<Home>> {
        let make = || self.stage.facts.home(id).map(Rc::new);
        self.households.borrow_mut().entry(id.to_owned()).or_insert_with(make).clone()
    }

    pub fn portrait(&self, id: &str) -> Option<Rc<Value>> {
        let make = || self.stage.facts.portrait(id).map(Rc::new);
        self.portraits.borrow_mut().entry(id.to_owned()).or_insert_with(make).clone()
    }

    /// All leaves that can be asked below a root, by the path of fields from it.
    fn leaves(&self, entity: &'static str) -> Rc<Vec<Vec<Field>>> {
        if let Some(known) = self.leaves.borrow().get(entity) {
            return Rc::clone(known);
        }
        let contract = &self.stage.contract;
        let mut found = Vec::new();
        for field in contract.fields.values().filter(|field| field.entity == entity && !field.hidden) {
            if field.leaf {
                // What some grant masks is asked for more often: it is little.
                let often = if self.stage.gates.iter().any(|gate| gate.roles.masks(field)) { 8 } else { 1 };
                found.extend(std::iter::repeat_n(vec![field.clone()], often));
            } else if field.type_name == "Person" || (field.type_name == "Household" && entity == "Person") {
                let below = |of: &str| {
                    let of = of.to_owned();
                    contract.fields.values().filter(move |below| below.entity == of && !below.hidden && below.leaf)
                };
                // Beyond an entity, every third leaf is enough; round again to where one came from, a few.
                let step = if entity == "Person" { 3 } else { 1 };
                found.extend(below(&field.type_name).step_by(step).map(|below| vec![field.clone(), below.clone()]));
                let back =
                    contract.fields.values().find(|back| back.entity == field.type_name && back.type_name == entity);
                if let Some(back) = back {
                    let round = below(entity).step_by(40);
                    found.extend(round.map(|below| vec![field.clone(), back.clone(), below.clone()]));
                }
            }
        }
        let found = Rc::new(found);
        self.leaves.borrow_mut().insert(entity, Rc::clone(&found));
        found
    }

    fn select(&self, case: &Case, entity: &'static str) -> Vec<Selected> {
        let leaves = self.leaves(entity);
        let mut tree = Vec::new();
        // What a scan compares says enough.
        let most = if case.root.is_scan() { 8 } else { usize::MAX };
        for (at, index) in case.leaves.iter().take(most).enumerate() {
            let leaf = &leaves[index.index(leaves.len())];
            let mut level = &mut tree;
            for field in leaf {
                for above in self.stage.contract.above(field) {
                    level = enter(level, above, None);
                }
                level = enter(level, field, case.aliases.then_some(at));
            }
        }
        // What an approval opens is asked for with one, whatever else is.
        let opened = case.roles.iter().flat_map(|role| self.opened_by_approval(role));
        for field in opened.filter(|_| case.approved && case.root == Root::Household) {
            let mut level = &mut tree;
            for above in self.stage.contract.above(&field) {
                level = enter(level, above, None);
            }
            enter(level, &field, None);
        }
        // What two departments hold is asked for with the claims that tell of both, some fields of it or all.
        if entity == "Household" && case.items && case.claims && case.shape % 4 == 1 {
            for (at, field) in self.held_twice.iter().flat_map(|held| self.fields_of(held)).enumerate() {
                if case.shape >> (at % 32 + 8) & 3 == 0 {
                    continue;
                }
                let mut level = &mut tree;
                for above in self.stage.contract.above(field) {
                    level = enter(level, above, None);
                }
                enter(level, field, case.aliases.then_some(case.leaves.len() + at));
            }
        }
        let key = if entity == "Household" { "id" } else { "idNumber" };
        if !tree.iter().any(|one: &Selected| one.key == key) && (case.root == Root::Listing || case.root.is_scan()) {
            enter(&mut tree, self.stage.contract.field(entity, key), None);
        }
        tree
    }

    /// The fields of its elements, in one order.
    fn fields_of<'s>(&'s self, held: &'s access_oracle::HeldTwice) -> impl Iterator<Item = &'s Field> {
        let names: BTreeSet<&String> = held.fields.values().flatten().collect();
        names.into_iter().map(|name| self.stage.contract.field("Household", &format!("{}.{name}", held.list)))
    }

    /// One leaf of each field that a role's grants with an approval name.
    fn opened_by_approval(&self, role: &str) -> Vec<Field> {
        let grants = self.stage.gates[0].roles.role(role)["grants"].as_array().map_or(&[][..], Vec::as_slice);
        let named =
            grants.iter().filter(|grant| !grant["approval"].is_null()).filter_map(|grant| grant["fields"].as_array());
        let leaf = |named: &str| {
            let mut fields =
                self.stage.contract.fields.values().filter(|field| field.entity == "Household" && field.leaf);
            fields.find(|field| !field.hidden && field.path.starts_with(&format!("{named}."))).cloned()
        };
        named.flatten().filter_map(Value::as_str).filter_map(leaf).collect()
    }

    /// Items beside the first leaves: the ones selected, and five that are not.
    fn items(&self, selected: &[Selected]) -> Vec<Field> {
        let mut found: Vec<&Field> = self.stage.contract.fields.values().filter(|field| field.item.is_some()).collect();
        found.retain(|field| {
            ["3", "11", "14", "54", "61"].contains(&field.item.as_deref().unwrap_or_default())
                || selected.iter().any(|one| within(one, &field.path))
        });
        found.into_iter().cloned().collect()
    }

    fn write(&self, case: &Case) -> Written {
        let caller = self.stage.facts.caller(case, &self.drawn);
        let target = self.target(case);
        let known = self.household(target);
        let entity = case.root.entity();
        let selected = self.select(case, entity);
        let mut writer = Writer::new(&self.stage.contract, case.shape);
        let mut body = writer.set(entity, &selected);
        let items = if case.items && entity == "Household" { self.items(&selected) } else { Vec::new() };
        if !items.is_empty() {
            let numbers: Vec<&str> = items.iter().filter_map(|field| field.item.as_deref()).collect();
            let claims = if case.claims { "claims { source value }" } else { "" };
            let insert = format!(" items(no: {}) {{ no state code message {claims} }} }}", json!(numbers));
            body.truncate(body.rfind('}').unwrap_or(body.len()));
            body.push_str(&insert);
        }
        let person = self.person(case, known.as_deref());
        let code = known.as_ref().and_then(|known| known.code.clone()).unwrap_or_else(|| self.drawn.no_code.clone());
        let by = |query, declared, argument, value: &str| Rooted {
            query,
            declared,
            argument,
            value: value.to_owned(),
            more: String::new(),
        };
        let scan = case.root.is_scan().then(|| self.scan(case, &caller));
        let rooted = match case.root {
            Root::Household => by("household", "$key: ID!", "id", target),
            Root::ByCode => by("householdByCode", "$key: String!", "code", &code),
            Root::Person => by("person", "$key: IdNumber!", "idNumber", &person),
            Root::Listing => {
                let division = self.drawn.division.as_deref().unwrap_or_default();
                Rooted { more: ", first: 3".to_owned(), ..by("households", "$key: ID!", "division", division) }
            }
            Root::Scan | Root::PersonScan => {
                let query = if case.root == Root::Scan { "households" } else { "persons" };
                by(query, "$key: ID!", "division", scan.as_ref().map_or("", |scan| &scan.division))
            }
        };
        let mut rooted = rooted;
        if let Some(scan) = &scan {
            let (arguments, told) = scan.write(&mut writer);
            rooted.more = arguments;
            body = format!("{{ nodes {body} {told} }}");
        }
        if case.root == Root::Listing {
            body = format!("{{ nodes {body} }}");
        }
        let named = case.transport == Transport::PostNamed;
        let (query, variables) = writer.document(&rooted, &body, named);
        let operation = named.then(|| "Wanted".to_owned());
        let asked = Asked { query, variables, operation, in_extensions: case.extensions, approval: None };
        Written { caller, selected, items, person, scan, asked }
    }

    /// What a scan of this caller's asks, mostly by what the caller may compare.
    fn scan(&self, case: &Case, caller: &Caller) -> Scan {
        let grants = self.marked.grants(&self.stage.gates[0].roles, caller);
        let leaves = self.leaves(case.root.entity());
        // Of how rules come to their level or verdict nothing is asked, and shapes are not compared.
        let told = |field: &Field| match self.check_line(field) {
            Some(inside) => inside == "id" || inside == "verdict",
            None => !field.path.starts_with("risk.warning.") || field.path == "risk.warning.level",
        };
        let can_be = |leaf: &&Vec<Field>| leaf.iter().all(|field| told(field) && field.type_name != "GeoJSON");
        let all: Vec<&Vec<Field>> = leaves.iter().filter(can_be).collect();
        let given = |field: &Field| field.class.is_none() || scan_oracle::gives(&grants, field);
        let open: Vec<&Vec<Field>> = all.iter().copied().filter(|leaf| leaf.iter().all(given)).collect();
        let from = if open.is_empty() || case.shape.is_multiple_of(5) { &all } else { &open };
        let mut chance = Chance::new(case.shape);
        let most = if chance.one_of(12) == 0 { 0 } else { 1 + chance.one_of(scan::FIELDS_MAX) };
        let fields = case.leaves.iter().take(most);
        let leaves: Vec<Vec<Field>> = fields.map(|index| from[index.index(from.len())].clone()).collect();
        let portraits = self.examples.get_or_init(|| {
            let ids = (1..=21).map(|sequence| format!("{VILLAGE}{sequence:06}"));
            ids.filter_map(|id| self.portrait(&id)).map(|portrait| Value::clone(&portrait)).collect()
        });
        let homes = HOUSEHOLDS.iter().filter_map(|id| self.household(id));
        let persons: Vec<String> =
            homes.flat_map(|home| home.members.iter().map(|one| one.id_number.clone()).collect::<Vec<_>>()).collect();
        let mut drawing = Drawing { contract: &self.stage.contract, chance, portraits, persons: &persons };
        Scan::draw(case, &leaves, &mut drawing)
    }

    /// The path inside a line of a checklist, of a field of one.
    pub fn check_line<'f>(&self, field: &'f Field) -> Option<&'f str> {
        self.checklists.iter().find_map(|list| field.path.strip_prefix(list.as_str())?.strip_prefix('.'))
    }

    fn target(&self, case: &Case) -> &str {
        &self.drawn.households[case.target]
    }

    /// A member of the household; where they are not known, somebody of whom nothing is.
    fn person(&self, case: &Case, known: Option<&Home>) -> String {
        let strangers = self.stage.facts.learned().map_or(&[][..], |learned| &learned.strangers);
        match known {
            Some(known) if !known.members.is_empty() => known.members[known.members.len() / 2].id_number.clone(),
            Some(_) if !strangers.is_empty() => strangers[case.member % strangers.len()].clone(),
            _ => self.drawn.nobody.clone(),
        }
    }

    pub async fn run(&self, case: &Case) -> Result<(), String> {
        let gate = &self.stage.gates[case.gate.index(self.stage.gates.len())];
        let mut written = self.write(case);
        match &gate.odds {
            Some(odds) => odds.set(case, &mut written.caller),
            None => self.approve(gate, case, &mut written).await,
        }
        let approved = written.asked.approval.is_some();
        let (reply, calls, line) = self.ask(gate, &written, case.transport, &written.asked).await?;
        let told = |what: String| {
            let without = gate.without.as_ref().map_or(String::new(), |gone| format!("\nwithout the grant {gone:?}"));
            format!(
                "{what}{without}\ncaller {:?}\nquery {}\nanswer {}\n{line}",
                written.caller, written.asked.query, reply.json
            )
        };
        self.check(case, gate, &written, &reply, calls.as_deref()).map_err(&told)?;
        self.count_odds(gate, &written, &reply);
        // An approval is good for one request.
        if approved {
            return Ok(());
        }
        if reply.json["data"]["root"].is_null() && case.root != Root::Listing && !case.root.is_scan() {
            self.is_as_absent(gate, case, &written, &reply, calls.as_deref()).await.map_err(&told)?;
        }
        // What a gateway tells of looks at it is another's than what the next one does.
        if (gate.without.is_some() || gate.odds.is_some()) && !asks_for(&written.selected, "accessLog") {
            self.gives_no_more(&written, case, &reply).await.map_err(&told)?;
        }
        if self.stage.facts.learned().is_some() && !asks_for(&written.selected, "accessLog") {
            self.gives_more_to_more(case, &written, &reply).await.map_err(&told)?;
        }
        Ok(())
    }

    /// Has a second person approve, for the household that is asked for or for another.
    async fn approve(&self, gate: &Gate, case: &Case, written: &mut Written) {
        let at = if case.approved_for_another { case.target + 1 } else { case.target };
        let household = &self.drawn.households[at % self.drawn.households.len()];
        let wanted = odds::approval(case, &written.caller, household);
        let Some((variables, approver)) =
            wanted.filter(|_| case.root == Root::Household && self.stage.own_departments())
        else {
            return;
        };
        written.asked.approval = self.stage.approve(gate, &variables, &approver).await;
        if written.asked.approval.is_some() {
            written.caller.approved = Some((household.clone(), "verifier".to_owned(), "supervisor".to_owned()));
        }
    }

    fn count_odds(&self, gate: &Gate, written: &Written, reply: &Reply) {
        let mut saw = Vec::new();
        let answered =
            if reply.json["data"]["root"].is_null() { "nothing is answered" } else { "something is answered" };
        if gate.odds.is_some() {
            let time = written.caller.now.as_ref().map_or("", |(now, _)| &now[11..]);
            let shown = written.caller.certificate.as_ref().and_then(|shown| shown["subject"].as_str());
            saw.extend([
                format!("at {time}: {answered}"),
                format!("{}: {answered}", shown.unwrap_or("no certificate")),
            ]);
        }
        if let Some((household, ..)) = &written.caller.approved {
            let asked = [&written.asked.query, &written.asked.variables.to_string()];
            let same = asked.iter().any(|text| text.contains(&format!("\"{household}\"")));
            saw.push(if same { "approved".to_owned() } else { "approved for another household".to_owned() });
        }
        let mut tally = self.tally.borrow_mut();
        for one in saw {
            *tally.odds.entry(one).or_default() += 1;
        }
    }

    /// Whether an answer with this text somewhere in it would be a fault.
    pub async fn notices(&self, case: &Case, text: &str) -> bool {
        let (gate, written) = (&self.stage.gates[0], self.write(case));
        let (mut reply, ..) = self.ask(gate, &written, case.transport, &written.asked).await.expect("an answer");
        reply.whole.push_str(text);
        self.check(case, gate, &written, &reply, None).is_err()
    }

    async fn ask(
        &self,
        gate: &Gate,
        written: &Written,
        transport: Transport,
        asked: &Asked,
    ) -> Result<(Reply, Option<Vec<(String, Logged)>>, String), String> {
        self.stage.forget_calls();
        let request = self.stage.request(gate, &written.caller, transport, asked);
        let line = curl(&request);
        let reply = tokio::time::timeout(PATIENCE, self.stage.send(request)).await;
        let reply = reply.map_err(|_| format!("no answer within {PATIENCE:?}\n{line}"))?;
        Ok((reply, self.stage.calls(), line))
    }

    fn check(
        &self,
        case: &Case,
        gate: &Gate,
        written: &Written,
        reply: &Reply,
        calls: Option<&[(String, Logged)]>,
    ) -> Result<(), String> {
        if !matches!(reply.status, 200 | 400 | 403) {
            return Err(format!("the status is {}", reply.status));
        }
        if shows_left_out(&reply.whole) {
            return Err("what a directive took out is in the answer".to_owned());
        }
        let target = self.target(case);
        let known = self.household(target);
        let items: Vec<&Field> = written.items.iter().collect();
        let scan = written.scan.as_ref();
        let condition = scan.and_then(|scan| scan.condition.as_ref());
        let compared =
            condition.map_or_else(Vec::new, |condition| scan_oracle::compared(&self.stage.contract, condition));
        let grants = gate.roles.grants(&written.caller);
        let asked = check::Asked {
            bench: self,
            caller: &written.caller,
            for_emergencies: grants.iter().any(|grant| !grant.written["break_glass"].is_null()),
            grants: if scan.is_some() { self.marked.grants(&gate.roles, &written.caller) } else { grants },
            compared: &compared,
            case,
            selected: &written.selected,
            items: &items,
            person: &written.person,
            standings: RefCell::default(),
        };
        self.missing.borrow_mut().clear();
        asked.answer(&reply.json, &reply.whole, target, scan)?;
        let unexplained = reply.json["errors"]
            .as_array()
            .is_none_or(|errors| errors.iter().all(|error| error["extensions"]["code"] == "FORBIDDEN"));
        if let Some(path) = self.missing.borrow().first().filter(|_| unexplained) {
            return Err(format!("{path} is given and held, and is not there"));
        }
        let scope: Vec<String> = match case.root {
            Root::Scan => ids_in(&reply.json, &written.selected),
            Root::PersonScan => {
                let persons = ids_in(&reply.json, &written.selected);
                persons.iter().filter_map(|id| Some(self.stage.facts.person(id)?.0.id)).collect()
            }
            Root::Listing => match &self.stage.facts {
                Facts::Generated(world) => world.village_household_ids(VILLAGE).collect(),
                Facts::Learned(_) => ids_in(&reply.json, &written.selected),
            },
            _ => known.iter().map(|known| known.id.clone()).collect(),
        };
        match (calls, scan) {
            (Some(calls), Some(scan)) => asked.scanned_calls(scan, calls)?,
            (Some(calls), None) => asked.calls(&scope, calls)?,
            (None, _) => {}
        }
        self.count(case, written, &scope, &asked);
        Ok(())
    }

    /// A caller who is told nothing of a household is told the same of none, and the departments are asked the same.
    async fn is_as_absent(
        &self,
        gate: &Gate,
        case: &Case,
        written: &Written,
        reply: &Reply,
        calls: Option<&[(String, Logged)]>,
    ) -> Result<(), String> {
        let target = self.target(case);
        let known = self.household(target);
        let (this, nobodys) = match (case.root, &known) {
            (_, None) => return Ok(()),
            (Root::ByCode, Some(known)) => match &known.code {
                Some(code) => (code.as_str(), self.drawn.no_code.as_str()),
                None => return Ok(()),
            },
            (Root::Person, _) => (written.person.as_str(), self.drawn.nobody.as_str()),
            _ => (target, self.drawn.absent()),
        };
        let moved = |text: &str| text.replace(this, nobodys);
        let mut asked = written.asked.clone();
        asked.query = moved(&asked.query);
        asked.variables = serde_json::from_str(&moved(&asked.variables.to_string())).expect("JSON as it was");
        let (other, other_calls, line) = self.ask(gate, written, case.transport, &asked).await?;
        // Where the caller's own person is among the members, or its token names the household, it is asked further whether
        // it stands in a relation.
        let own = written.caller.claims.get("person").and_then(Value::as_str);
        let named = written.caller.claims.values().any(|claim| claim.as_str() == Some(target));
        let among = named || known.iter().any(|known| !known.known || own.is_some_and(|own| known.has(own)));
        let answered = |json: &Value| {
            let mut json = json.clone();
            if among {
                json["extensions"]["sourcesCalled"].take();
            }
            moved(&alike(&json.to_string()))
        };
        if answered(&reply.json) != answered(&other.json) {
            return Err(format!("nobody's household is answered otherwise: {}\n{line}", other.json));
        }
        let paths = |calls: &[(String, Logged)]| {
            let path = |(source, call): &(String, Logged)| format!("{source} {} {}", call.method, moved(&call.path));
            let mut paths: Vec<String> = calls.iter().map(path).collect();
            paths.sort();
            paths
        };
        if let (Some(calls), Some(other_calls), false) = (calls, other_calls, among)
            && paths(calls) != paths(&other_calls)
        {
            return Err(format!("for nobody's household departments are asked otherwise: {:?}", paths(&other_calls)));
        }
        self.tally.borrow_mut().absent += 1;
        Ok(())
    }

    /// What a gateway with a grant less answers is in the answer of one with it.
    async fn gives_no_more(&self, written: &Written, case: &Case, narrowed: &Reply) -> Result<(), String> {
        let (whole, _, line) = self.ask(&self.stage.gates[0], written, case.transport, &written.asked).await?;
        // With less to decide by, others may be found: that shows nothing of what is given of them.
        let ids = |reply: &Reply| ids_in(&reply.json, &written.selected);
        if case.root.is_scan() && ids(narrowed) != ids(&whole) {
            return Ok(());
        }
        let (mut less, mut more) = (BTreeMap::new(), BTreeMap::new());
        values(&narrowed.json["data"], "", &mut less);
        values(&whole.json["data"], "", &mut more);
        for (path, count) in less {
            if more.get(&path).copied().unwrap_or(0) < count {
                let errors = whole.json["errors"].as_array().into_iter().flatten();
                let others: Vec<&Value> = errors.filter(|error| error["extensions"]["code"] != "FORBIDDEN").collect();
                return Err(format!(
                    "{path} is there {count} times with a grant less, more than with it; {others:?}\n{line}"
                ));
            }
        }
        self.tally.borrow_mut().narrowed += 1;
        Ok(())
    }

    /// What a caller with one of two roles is answered is in the answer of the same caller with both.
    async fn gives_more_to_more(&self, case: &Case, written: &Written, reply: &Reply) -> Result<(), String> {
        let roles = &written.caller.roles;
        let learned = self.stage.facts.learned().expect("a deployment whose data is not known");
        // Another role beside, or one of two less; where there are tokens, one that says the same and has more roles.
        let beside = self.drawn.granted.get((case.member + case.target) % self.drawn.granted.len().max(1));
        let with = |roles: Vec<String>| Caller { roles, ..written.caller.clone() };
        let (caller, wider) = match (roles.as_slice(), beside) {
            _ if !learned.tokens.is_empty() => match learned.beside(&written.caller) {
                Some(found) => (found, true),
                None => return Ok(()),
            },
            ([first, _, ..], _) => (with(vec![first.clone()]), false),
            ([one], Some(beside)) if one != beside => (with(vec![one.clone(), beside.clone()]), true),
            _ => return Ok(()),
        };
        let other = Written { caller, ..written.clone() };
        let (second, _, line) = self.ask(&self.stage.gates[0], &other, case.transport, &written.asked).await?;
        let (less, more) = if wider { (reply, &second) } else { (&second, reply) };
        let failed = |reply: &Reply| {
            let errors = reply.json["errors"].as_array().into_iter().flatten();
            errors.into_iter().any(|error| error["extensions"]["code"] != "FORBIDDEN")
        };
        // A list that is filled up otherwise, and a department that failed meanwhile, show nothing of grants.
        let listing = case.root == Root::Listing;
        if failed(more) || listing && ids_in(&less.json, &written.selected) != ids_in(&more.json, &written.selected) {
            return Ok(());
        }
        let (mut few, mut many) = (BTreeMap::new(), BTreeMap::new());
        values(&less.json["data"], "", &mut few);
        values(&more.json["data"], "", &mut many);
        for (path, count) in few {
            if many.get(&path).copied().unwrap_or(0) < count {
                return Err(format!(
                    "{path} is there {count} times with a role less, more than with it
{line}"
                ));
            }
        }
        self.tally.borrow_mut().narrowed += 1;
        Ok(())
    }

    fn count(&self, case: &Case, written: &Written, scope: &[String], asked: &check::Asked) {
        let mut tally = self.tally.borrow_mut();
        tally.cases += 1;
        tally.unsure += usize::from(asked.unsure());
        for role in &written.caller.roles {
            *tally.roles.entry(role.clone()).or_default() += 1;
        }
        let mut classes = BTreeSet::new();
        classes_of(&written.selected, &mut classes);
        let mut relations = BTreeSet::new();
        for id in scope {
            if self.portrait(id).is_some() {
                let standing = asked.standing(id);
                relations.extend(standing.own.iter().cloned());
                relations.extend(standing.persons.values().flatten().cloned());
            }
        }
        let purpose = written.caller.purpose.clone().unwrap_or_else(|| "none".to_owned());
        tally.together(
            &classes,
            &relations,
            [
                format!("network {}", written.caller.networks.first().map_or("", String::as_str)),
                format!("purpose {purpose}"),
                format!("transport {}", case.transport.name()),
            ],
        );
    }
}

/// The keys of a list, in its order.
fn ids_in(answer: &Value, selected: &[Selected]) -> Vec<String> {
    let is_key = |one: &&Selected| one.field.path == if one.field.entity == "Person" { "idNumber" } else { "id" };
    let Some(id) = selected.iter().find(is_key) else { return Vec::new() };
    let nodes = answer["data"]["root"]["nodes"].as_array().into_iter().flatten();
    nodes.filter_map(|node| node[&id.key].as_str().map(str::to_owned)).collect()
}

fn asks_for(selected: &[Selected], path: &str) -> bool {
    selected.iter().any(|one| one.field.path.starts_with(path) || asks_for(&one.children, path))
}

fn classes_of(selected: &[Selected], into: &mut BTreeSet<String>) {
    for one in selected {
        into.extend(one.field.class.clone());
        classes_of(&one.children, into);
    }
}

/// Without what differs between two requests of the same.
fn alike(json: &str) -> String {
    static REQUEST: LazyLock<Regex> = LazyLock::new(|| Regex::new(r#""requestId":"[^"]*""#).expect("a pattern"));
    REQUEST.replace_all(json, "").into_owned()
}

/// How many values stand at each path; places in lists are not told apart.
fn values(value: &Value, path: &str, into: &mut BTreeMap<String, usize>) {
    match value {
        Value::Null => {}
        Value::Array(list) => list.iter().for_each(|one| values(one, path, into)),
        // That an item is refused, in whole or in part, and why, is said the more the less is given.
        Value::Object(members) if members.contains_key("no") && members.get("state") == Some(&"REFUSED".into()) => {}
        Value::Object(members) => {
            let item = members.contains_key("no") && members.contains_key("state");
            for (name, one) in members.iter().filter(|(name, _)| !item || !["code", "message"].contains(&name.as_str()))
            {
                values(one, &format!("{path}.{name}"), into);
            }
        }
        _ => *into.entry(path.to_owned()).or_default() += 1,
    }
}

fn within(one: &Selected, path: &str) -> bool {
    one.field.path == path || one.children.iter().any(|child| within(child, path))
}

fn enter<'s>(level: &'s mut Vec<Selected>, field: &Field, alias: Option<usize>) -> &'s mut Vec<Selected> {
    let found = level.iter().position(|one| one.field.entity == field.entity && one.field.path == field.path);
    let at = found.unwrap_or_else(|| {
        let key = alias.map_or(name(field), |at| format!("a{at}"));
        level.push(Selected { field: field.clone(), key, children: Vec::new() });
        level.len() - 1
    });
    &mut level[at].children
}

/// Whether a key that a directive took out is there. A cursor may begin so too.
fn shows_left_out(answer: &str) -> bool {
    let opening = format!("\"{LEFT_OUT}");
    let mut after = answer.split(&*opening).skip(1);
    after.any(|rest| rest.trim_start_matches(|c: char| c.is_ascii_digit()).starts_with("\":"))
}

#[test]
fn a_key_that_was_left_out_is_told_from_a_cursor_that_begins_as_it_does() {
    assert!(shows_left_out(r#"{"data":{"zz1":null}}"#));
    assert!(!shows_left_out(r#"{"data":{"cursor":"zz1"}}"#) && !shows_left_out(r#"{"data":{"cursor":"zzAx"}}"#));
}
