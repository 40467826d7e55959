//! What was looked at: numbers, and which pairs came together.

use std::collections::{BTreeMap, BTreeSet};

use crate::access_oracle::Access;

#[derive(Debug, Default, Clone)]
pub struct Tally {
    pub cases: usize,
    /// Values of the answers, by what the caller may have of them.
    pub values: BTreeMap<Access, usize>,
    /// Fields that were refused and are null.
    pub refused: usize,
    /// Texts that were looked for in whole answers and must not be there.
    pub secrets: usize,
    /// Answers for households that the caller has nothing to do with, held against those for none.
    pub absent: usize,
    /// Answers of a gateway with a grant less, held against those of one with it.
    pub narrowed: usize,
    /// Cases in which it is not known whether a relation holds that a grant of the caller's rests on.
    pub unsure: usize,
    /// Hours, certificates and approvals, and what came of them.
    pub odds: BTreeMap<String, usize>,
    /// Lists that two departments hold, each with a claim of both; and those in which they differ.
    pub lists: usize,
    pub conflicts: usize,
    /// Scans that were answered, those of persons, households and persons that they looked at, those of which it is known here what must come of them,
    /// those that were found and those that stayed undetermined; and scans that must be refused, and were.
    pub scans: usize,
    pub scans_of_persons: usize,
    pub scanned: usize,
    pub decided: usize,
    pub found: usize,
    pub undetermined: usize,
    pub scans_refused: usize,
    /// Scans that would have taken more calls than a request may make.
    pub too_much: usize,
    /// Calls of departments whose reason was looked for.
    pub calls: usize,
    pub endpoints: BTreeMap<String, usize>,
    pub roles: BTreeMap<String, usize>,
    pub pairs: BTreeSet<[String; 2]>,
}

impl Tally {
    pub fn saw(&mut self, access: Access) {
        *self.values.entry(access).or_default() += 1;
    }

    pub fn called(&mut self, endpoint: &str) {
        self.calls += 1;
        *self.endpoints.entry(endpoint.to_owned()).or_default() += 1;
    }

    /// That these came together in one request.
    pub fn together(&mut self, classes: &BTreeSet<String>, relations: &BTreeSet<String>, rest: [String; 3]) {
        let relations: Vec<String> = relations.iter().map(|name| format!("relation {name}")).collect();
        let classes: Vec<String> = classes.iter().map(|name| format!("class {name}")).collect();
        for class in &classes {
            for other in relations.iter().chain(&rest) {
                self.pairs.insert([class.clone(), other.clone()]);
            }
        }
        for relation in &relations {
            for other in &rest {
                self.pairs.insert([relation.clone(), other.clone()]);
            }
        }
        for (at, one) in rest.iter().enumerate() {
            for other in rest.iter().skip(at + 1) {
                self.pairs.insert([one.clone(), other.clone()]);
            }
        }
    }

    pub fn add(&mut self, other: Self) {
        self.cases += other.cases;
        self.refused += other.refused;
        self.secrets += other.secrets;
        self.absent += other.absent;
        self.narrowed += other.narrowed;
        self.unsure += other.unsure;
        self.calls += other.calls;
        self.lists += other.lists;
        self.scans += other.scans;
        self.scans_of_persons += other.scans_of_persons;
        self.scanned += other.scanned;
        self.decided += other.decided;
        self.found += other.found;
        self.undetermined += other.undetermined;
        self.scans_refused += other.scans_refused;
        self.too_much += other.too_much;
        self.conflicts += other.conflicts;
        for (access, count) in other.values {
            *self.values.entry(access).or_default() += count;
        }
        for (name, count) in other.odds {
            *self.odds.entry(name).or_default() += count;
        }
        for (name, count) in other.endpoints {
            *self.endpoints.entry(name).or_default() += count;
        }
        for (name, count) in other.roles {
            *self.roles.entry(name).or_default() += count;
        }
        self.pairs.extend(other.pairs);
    }

    pub fn summary(&self, seconds: f64) -> String {
        let values = |access| self.values.get(&access).copied().unwrap_or(0);
        format!(
            "{} cases in {seconds:.0} s ({:.0} a second)\n\
             {} values in full, {} masked, 0 of what is refused; {} refused fields are null\n\
             {} refused or masked texts looked for in whole answers, headers included\n\
             {} calls of {} endpoints, each with its reason\n\
             {} lists that two departments hold compared, {} of them in conflict\n\
             {} scans ({} of persons) over {} entities, of which {} are known to be found or not; {} found, {} undetermined; {} scans \
             refused, and nobody asked; {} too much at once\n\
             {} answers for the unrelated equal to those for nobody, in bytes and calls\n\
             {} answers with a grant or a role less hold nothing more\n\
             {} cases in which it was not known whether a relation holds: held as if it did\n\
             hours, certificates, approvals: {}\n\
             {} roles: {}",
            self.cases,
            self.cases as f64 / seconds.max(0.001),
            values(Access::Plain),
            values(Access::Masked),
            self.refused,
            self.secrets,
            self.calls,
            self.endpoints.len(),
            self.lists,
            self.conflicts,
            self.scans,
            self.scans_of_persons,
            self.scanned,
            self.decided,
            self.found,
            self.undetermined,
            self.scans_refused,
            self.too_much,
            self.absent,
            self.narrowed,
            self.unsure,
            self.odds.iter().map(|(what, times)| format!("{what} {times}")).collect::<Vec<_>>().join(", "),
            self.roles.len(),
            self.roles.iter().map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", "),
        )
    }

    /// The pairs of what there is that never came together; and a table of how many did.
    pub fn coverage(&self, there_is: &BTreeMap<&'static str, Vec<String>>) -> (String, Vec<[String; 2]>) {
        let kinds: Vec<(&&str, Vec<String>)> = there_is
            .iter()
            .map(|(kind, names)| (kind, names.iter().map(|name| format!("{kind} {name}")).collect()))
            .collect();
        let (mut table, mut missing) = (String::new(), Vec::new());
        for (at, (kind, names)) in kinds.iter().enumerate() {
            for (other_kind, others) in kinds.iter().skip(at + 1) {
                let mut met = 0;
                for name in names {
                    for other in others {
                        let pairs = [[name.clone(), other.clone()], [other.clone(), name.clone()]];
                        if pairs.iter().any(|pair| self.pairs.contains(pair)) {
                            met += 1;
                        } else {
                            missing.push([name.clone(), other.clone()]);
                        }
                    }
                }
                table.push_str(&format!(
                    "{kind:>10} × {other_kind:<10} {met:>5} of {:>5}\n",
                    names.len() * others.len()
                ));
            }
        }
        (table, missing)
    }
}
