//! Rules: CEL expressions over contract fields, compiled and type-checked at load.
//!
//! The crate `cel` parses; the check and the evaluation are ours. The crate has no type checker, no decimals, no
//! three-valued logic for values that are not there and no cost budget, and its evaluator recurses as deep as the
//! text does. So the parsed tree is checked against the contract and turned into a small typed tree ([`ir`]), which
//! a total evaluator runs: bounded depth, bounded steps, exact decimals, no errors but "unknown".
//!
//! What an expression means where CEL leaves it open:
//! - A member that is **absent** from the entity is unavailable: whatever depends on it is [`Truth::Unknown`]
//!   (`false && unknown` is false, `true || unknown` is true, as in CEL).
//! - A member that is **null** is a department's "nothing": `<`, `<=`, `>`, `>=` with it are false; it equals the
//!   literal `null` and nothing else, not even another null (two people without a cadre do not share one); anything
//!   else made of it (arithmetic, `!`, `exists`, `startsWith` …) is null, and a condition that is null is false.
//! - A claim that the token does not carry is null.
//! - A partial date (`2021-03`) is compared as far as it goes; beyond that the answer is unknown.
//! - A DateTime is compared by its date.

mod check;
mod date;
pub mod derived;
mod evaluate;
pub mod filter;
mod functions;
mod ir;
mod load;
mod parse;
mod place;
pub mod relations;
mod scans;
#[cfg(test)]
mod tests;
mod thresholds;

use std::collections::BTreeMap;
use std::sync::Arc;

pub use derived::{CheckRule, Checklist, Decision, Derived, DerivedValue, Ladder, LadderRule, Levels};
pub use filter::{Filter, FilterFault};
pub use ir::Compare;
pub(super) use load::RulesFile;
pub use load::{Rules, load};
pub use relations::{OnBehalf, Relation};
pub use scans::RelationScans;
pub use thresholds::{Threshold, ThresholdValue, Thresholds};

/// What a rule may read: answered by the contract.
pub trait FieldTypes {
    /// The type of a field of an object type.
    fn field(&self, type_name: &str, field: &str) -> Option<FieldType>;
    /// The names of an object type's fields; empty where there is no such type.
    fn fields(&self, type_name: &str) -> Vec<String>;
    /// The values of an enumeration; `None` where there is no such enumeration.
    fn enum_values(&self, type_name: &str) -> Option<Vec<String>>;
    /// Whether a type is an entity.
    fn is_entity(&self, _type_name: &str) -> bool {
        false
    }
    /// The entity whose keys a field holds (`@subjects`).
    fn subjects(&self, _type_name: &str, _field: &str) -> Option<String> {
        None
    }
    /// The path of an entity's field that holds the code of its territory (`@territory`).
    fn territory(&self, _type_name: &str) -> Option<Vec<String>> {
        None
    }
}

/// A field's type without its nullability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldType {
    /// The GraphQL named type.
    pub name: String,
    pub list: bool,
    pub kind: FieldKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FieldKind {
    Scalar,
    Enum,
    Object,
}

/// The type of a claim of the principal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClaimType {
    String,
    StringList,
    Int,
    Bool,
}

/// What an expression may name, beside `today`.
pub struct Scope<'a> {
    /// `household`
    pub entity_variable: &'a str,
    /// `Household`
    pub entity_type: &'a str,
    /// Claims readable as `principal.NAME`.
    pub principal: &'a BTreeMap<String, ClaimType>,
    pub fields: &'a dyn FieldTypes,
    /// Readable as `threshold('NAME')`; `None`: the expression compares with none.
    pub thresholds: Option<&'a Thresholds>,
}

/// What is wrong with an expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFault {
    /// Where in the text, in characters from 0.
    pub offset: usize,
    /// How much of it, in characters; at least 1.
    pub length: usize,
    pub message: String,
    /// What to do next; may be empty.
    pub hint: String,
}

/// The outcome of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    True,
    False,
    /// It depends on a value that is not available.
    Unknown,
}

/// Longest text of one expression, in characters.
pub const TEXT_MAX: usize = 4_000;

/// A checked condition. Cheap to clone; holds no data, but for a caller's values where it was made of a [`Filter`].
#[derive(Debug, Clone)]
pub struct Expression {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    text: String,
    root: ir::Expr,
    inputs: Vec<Vec<String>>,
    claims: Vec<String>,
    states: Vec<Vec<String>>,
    thresholds: Vec<Arc<Threshold>>,
}

impl Expression {
    /// Parses and checks; the result must be a Bool. The first fault found is the answer.
    pub fn compile(text: &str, scope: &Scope<'_>) -> Result<Self, RuleFault> {
        let node = parse::parse(text)?;
        let checked = check::check(&node, scope)?;
        Ok(Self {
            inner: Arc::new(Inner {
                text: text.to_owned(),
                root: checked.root,
                inputs: checked.inputs,
                claims: checked.claims,
                states: Vec::new(),
                thresholds: checked.thresholds,
            }),
        })
    }

    /// As it was written; empty where it was made of a [`Filter`].
    pub fn text(&self) -> &str {
        &self.inner.text
    }

    /// Every path read from the entity, in its longest form and sorted; a list's elements are read through the list
    /// (`identity.members.lifeStatus`). A path may end at an object or a list where only its presence or size counts.
    pub fn inputs(&self) -> &[Vec<String>] {
        &self.inner.inputs
    }

    /// Claims read, sorted.
    pub fn principal_claims(&self) -> &[String] {
        &self.inner.claims
    }

    /// The fields whose state is read, sorted: these are read as a whole, whatever else is read of them.
    pub fn states(&self) -> &[Vec<String>] {
        &self.inner.states
    }

    /// What it compares with, by name, each once.
    pub fn thresholds(&self) -> &[Arc<Threshold>] {
        &self.inner.thresholds
    }

    /// Whether it holds only for entities that the token names by their key: then nothing is fetched for others.
    pub fn is_of_the_tokens_own(&self, key: &str) -> bool {
        needs_own_key(&self.inner.root, key)
    }

    /// As [`Self::evaluate`], null told apart: `Some(None)` is null, `None` unknown.
    pub fn decide(
        &self,
        entity: &serde_json::Value,
        principal: &serde_json::Value,
        today: jiff::civil::Date,
    ) -> Option<Option<bool>> {
        evaluate::value(&self.inner.root, entity, principal, today).map(|value| value.as_bool())
    }

    /// `entity` in the contract's JSON; what is absent there is unavailable. `principal` is an object of claims.
    pub fn evaluate(
        &self,
        entity: &serde_json::Value,
        principal: &serde_json::Value,
        today: jiff::civil::Date,
    ) -> Truth {
        evaluate::evaluate(&self.inner.root, entity, principal, today)
    }
}

/// Whether an expression is false for every entity whose key is none that a claim names.
fn needs_own_key(expr: &ir::Expr, key: &str) -> bool {
    use ir::Expr;
    let is_key =
        |expr: &Expr| matches!(expr, Expr::Select(of, name, _) if **name == *key && matches!(**of, Expr::Entity));
    let is_claim = |expr: &Expr| matches!(expr, Expr::Claim(..));
    match expr {
        Expr::And(a, b) => needs_own_key(a, key) || needs_own_key(b, key),
        Expr::Or(a, b) => needs_own_key(a, key) && needs_own_key(b, key),
        Expr::Compare(ir::Compare::Eq, a, b) => is_key(a) && is_claim(b) || is_claim(a) && is_key(b),
        Expr::In(needle, list, _) => is_key(needle) && is_claim(list),
        _ => false,
    }
}

/// A checked expression that makes a value of a field's type. Cheap to clone; holds no data.
#[derive(Debug, Clone)]
pub struct ValueExpression {
    inner: Arc<Inner>,
}

impl ValueExpression {
    /// Parses and checks; the result must be of the field's type: a Boolean, an Int, a Decimal, a String or an
    /// enumeration, whose values are written as texts.
    pub fn compile(text: &str, field: &FieldType, scope: &Scope<'_>) -> Result<Self, RuleFault> {
        let node = parse::parse(text)?;
        let checked = check::check_value(&node, field, scope)?;
        Ok(Self {
            inner: Arc::new(Inner {
                text: text.to_owned(),
                root: checked.root,
                inputs: checked.inputs,
                claims: checked.claims,
                states: Vec::new(),
                thresholds: checked.thresholds,
            }),
        })
    }

    /// As [`Expression::inputs`].
    pub fn inputs(&self) -> &[Vec<String>] {
        &self.inner.inputs
    }

    /// The value in the contract's JSON; `None`: it depends on something that is not available.
    pub fn evaluate(
        &self,
        entity: &serde_json::Value,
        principal: &serde_json::Value,
        today: jiff::civil::Date,
    ) -> Option<serde_json::Value> {
        evaluate::value(&self.inner.root, entity, principal, today)
    }
}

/// `Household` → `household`, `LowIncomeCase` → `lowIncomeCase`.
pub fn variable_name(type_name: &str) -> String {
    let mut chars = type_name.chars();
    chars.next().map_or_else(String::new, |first| first.to_lowercase().chain(chars).collect())
}
