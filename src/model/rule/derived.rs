//! Derived fields: a ladder of levels, each reached by any of its rules; one value by one expression; or a checklist, every
//! rule of which is told with what it came to.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Expression, Truth, ValueExpression};
use crate::model::yaml::Spanned;

/// A field that no department answers.
#[derive(Debug, Clone)]
pub enum Derived {
    Ladder(Ladder),
    Value(DerivedValue),
    Checklist(Checklist),
}

/// One value, by one expression: whether an amount is over a line, without the amount.
#[derive(Debug, Clone)]
pub struct DerivedValue {
    /// The field from the entity, dotted; a scalar or an enumeration.
    pub path: String,
    /// The entity type.
    pub on: String,
    /// Why it may be shown to those who may not see its inputs.
    pub declassifies: String,
    pub value: ValueExpression,
}

impl Derived {
    pub fn path(&self) -> &str {
        match self {
            Self::Ladder(ladder) => &ladder.path,
            Self::Value(value) => &value.path,
            Self::Checklist(checklist) => &checklist.path,
        }
    }

    pub fn on(&self) -> &str {
        match self {
            Self::Ladder(ladder) => &ladder.on,
            Self::Value(value) => &value.on,
            Self::Checklist(checklist) => &checklist.on,
        }
    }

    /// All that it reads, sorted, each once.
    pub fn inputs(&self) -> Vec<Vec<String>> {
        match self {
            Self::Ladder(ladder) => inputs(ladder.rules.iter().map(|rule| &rule.when)),
            Self::Checklist(checklist) => inputs(checklist.rules.iter().map(|rule| &rule.when)),
            Self::Value(value) => value.value.inputs().to_vec(),
        }
    }
}

/// All that several conditions read, sorted, each once.
fn inputs<'a>(conditions: impl Iterator<Item = &'a Expression>) -> Vec<Vec<String>> {
    let mut all: Vec<_> = conditions.flat_map(|when| when.inputs().iter().cloned()).collect();
    all.sort();
    all.dedup();
    all
}

/// Rules that are all told, each with what it came to, whatever the others did.
#[derive(Debug, Clone)]
pub struct Checklist {
    /// The field from the entity, dotted: a list of objects, of a type with `id` and an enumeration `verdict` of
    /// [`Self::FLAGGED`] and [`Self::CLEAR`].
    pub path: String,
    /// The entity type.
    pub on: String,
    /// Why the verdicts may be shown to those who may not see all of what they rest on.
    pub declassifies: String,
    /// In the order in which they are told.
    pub rules: Vec<CheckRule>,
}

impl Checklist {
    /// The verdict of a rule whose condition holds.
    pub const FLAGGED: &str = "FLAGGED";
    /// The verdict of a rule whose condition does not hold.
    pub const CLEAR: &str = "CLEAR";

    /// The verdict of a rule whose condition came to this.
    pub fn verdict(holds: bool) -> &'static str {
        if holds { Self::FLAGGED } else { Self::CLEAR }
    }
}

#[derive(Debug, Clone)]
pub struct CheckRule {
    pub id: String,
    pub zh: String,
    pub en: String,
    pub when: Expression,
}

/// The highest level whose rule fired.
#[derive(Debug, Clone)]
pub struct Ladder {
    /// The field from the entity, dotted: `risk.warning`. Its type has a field `level`, an enumeration.
    pub path: String,
    /// The entity type.
    pub on: String,
    /// Why it may be shown to those who may not see all of its inputs.
    pub declassifies: String,
    /// Highest first.
    pub levels: Vec<String>,
    /// The level where no rule fired and none is undetermined.
    pub otherwise: String,
    pub rules: Vec<LadderRule>,
}

#[derive(Debug, Clone)]
pub struct LadderRule {
    pub id: String,
    pub level: String,
    pub zh: String,
    pub en: String,
    pub when: Expression,
}

/// What a ladder came to for one entity.
#[derive(Debug)]
pub struct Decision<'a> {
    /// The highest level that fired; `None`: nothing fired, and a rule that could have is undetermined.
    pub level: Option<String>,
    /// No rule is undetermined.
    pub complete: bool,
    pub fired: Vec<&'a LadderRule>,
    pub undetermined: Vec<&'a LadderRule>,
}

/// The levels that a ladder may come to for one entity, whatever those of its inputs are that are not known.
#[derive(Debug)]
pub struct Levels<'a> {
    /// The highest first; at least one, each once. One alone is the level.
    pub possible: Vec<&'a str>,
    /// The undetermined rules that it depends on; none where there is one level. Others that are undetermined reach no
    /// level that is above one that is reached already.
    pub open: Vec<&'a LadderRule>,
}

impl<'a> Levels<'a> {
    pub fn highest(&self) -> Option<&'a str> {
        self.possible.first().copied()
    }

    pub fn lowest(&self) -> Option<&'a str> {
        self.possible.last().copied()
    }

    /// Whether the level is one of these.
    pub fn is_one_of(&self, levels: &[&str]) -> Truth {
        let among = self.possible.iter().filter(|level| levels.contains(level)).count();
        match among {
            0 => Truth::False,
            all if all == self.possible.len() => Truth::True,
            _ => Truth::Unknown,
        }
    }
}

impl Ladder {
    /// Rules of every level are evaluated, so that the reasons are complete.
    pub fn decide(&self, entity: &Value, principal: &Value, today: jiff::civil::Date) -> Decision<'_> {
        let (mut fired, mut undetermined) = (Vec::new(), Vec::new());
        for rule in &self.rules {
            match rule.when.evaluate(entity, principal, today) {
                Truth::True => fired.push(rule),
                Truth::Unknown => undetermined.push(rule),
                Truth::False => {}
            }
        }
        let highest = self.levels.iter().find(|level| fired.iter().any(|rule| rule.level == **level));
        let level = match highest {
            Some(level) => Some(level.clone()),
            None => undetermined.is_empty().then(|| self.otherwise.clone()),
        };
        Decision { level, complete: undetermined.is_empty(), fired, undetermined }
    }

    /// What [`Self::decide`] could come to if everything were known. It tells YELLOW where a rule of RED is
    /// undetermined, which is right to show and no ground to decide on: here that is YELLOW or RED. Rules are taken
    /// one by one: of two that read the same input, more may seem possible than is, and never less.
    pub fn bounds(&self, entity: &Value, principal: &Value, today: jiff::civil::Date) -> Levels<'_> {
        let Decision { fired, undetermined, .. } = self.decide(entity, principal, today);
        let rank = |level: &str| self.levels.iter().position(|known| known == level);
        // No rule raises it above what is reached, and where none is, `otherwise` is above nothing.
        let reached = fired.iter().filter_map(|rule| rank(&rule.level)).min();
        let raises =
            |rule: &&LadderRule| rank(&rule.level).is_some_and(|at| reached.is_none_or(|reached| at < reached));
        let open: Vec<&LadderRule> = undetermined.into_iter().filter(raises).collect();
        let mut ranks: Vec<usize> = open.iter().filter_map(|rule| rank(&rule.level)).chain(reached).collect();
        let mut otherwise = reached.is_none().then_some(self.otherwise.as_str());
        if let Some(at) = otherwise.and_then(rank) {
            // A level of the ladder by itself.
            ranks.push(at);
            otherwise = None;
        }
        ranks.sort_unstable();
        ranks.dedup();
        let reachable = ranks.into_iter().filter_map(|at| self.levels.get(at)).map(String::as_str);
        let possible: Vec<&str> = reachable.chain(otherwise).collect();
        let open = if possible.len() > 1 { open } else { Vec::new() };
        Levels { possible, open }
    }
}

/// A field that no department answers: one value by an expression, the highest level of a ladder whose rule fires, or a
/// checklist of rules.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DerivedFile {
    /// The entity type.
    pub on: Spanned<String>,
    /// Why the field may be shown to those who may not see all of its inputs.
    pub declassifies: Spanned<String>,
    /// The field's value: an expression of its type. Else it has a ladder or a checklist.
    pub value: Option<Spanned<String>>,
    /// Levels, the highest first.
    #[serde(default)]
    pub ladder: Vec<Spanned<String>>,
    /// The level where no rule fires.
    pub otherwise: Option<Spanned<String>>,
    /// Rules that each reach a level.
    #[serde(default)]
    pub rules: Vec<Spanned<LadderRuleFile>>,
    /// Rules that are all told, in this order, each with its verdict: the field is a list of objects.
    #[serde(default)]
    pub checklist: Vec<Spanned<CheckRuleFile>>,
}

/// A rule of a checklist.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct CheckRuleFile {
    /// A name of the rule, which callers know it by.
    pub id: Spanned<String>,
    /// What it says where it holds, in Chinese.
    pub zh: String,
    /// What it says where it holds, in English.
    pub en: String,
    /// A CEL condition over the entity and `today`: it holds where there is something to look into.
    pub when: Spanned<String>,
}

/// A rule that reaches a level.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LadderRuleFile {
    /// A name of the rule, shown where it fires.
    pub id: Spanned<String>,
    /// The level it reaches.
    pub level: Spanned<String>,
    /// What it says, in Chinese.
    pub zh: String,
    /// What it says, in English.
    pub en: String,
    /// A CEL condition over the entity and `today`.
    pub when: Spanned<String>,
}

#[cfg(test)]
mod tests;
