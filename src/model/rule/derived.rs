//! Derived fields: a ladder of levels, each reached by any of its rules; or one value by one expression.

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
        }
    }

    pub fn on(&self) -> &str {
        match self {
            Self::Ladder(ladder) => &ladder.on,
            Self::Value(value) => &value.on,
        }
    }

    /// All that it reads, sorted, each once.
    pub fn inputs(&self) -> Vec<Vec<String>> {
        match self {
            Self::Ladder(ladder) => ladder.inputs(),
            Self::Value(value) => value.value.inputs().to_vec(),
        }
    }
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

impl Ladder {
    /// All inputs of all rules, sorted, each once.
    pub fn inputs(&self) -> Vec<Vec<String>> {
        let mut all: Vec<_> = self.rules.iter().flat_map(|rule| rule.when.inputs().iter().cloned()).collect();
        all.sort();
        all.dedup();
        all
    }

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
}

/// A field that no department answers: one value by an expression, or the highest level of a ladder whose rule
/// fires.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DerivedFile {
    /// The entity type.
    pub on: Spanned<String>,
    /// Why the field may be shown to those who may not see all of its inputs.
    pub declassifies: Spanned<String>,
    /// The field's value: an expression of its type. Else it has a ladder.
    pub value: Option<Spanned<String>>,
    /// Levels, the highest first.
    #[serde(default)]
    pub ladder: Vec<Spanned<String>>,
    /// The level where no rule fires.
    pub otherwise: Option<Spanned<String>>,
    /// Rules that each reach a level.
    #[serde(default)]
    pub rules: Vec<Spanned<LadderRuleFile>>,
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
