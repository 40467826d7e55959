//! Filters: conditions that a caller puts together out of fields, operators and values, made into the tree that rules
//! are evaluated as. There is no second evaluator, so a filter and a rule that say the same come to the same.
//!
//! Where a filter differs from an expression, since it is read by people who do not think of null:
//! - What a department has **nothing** of (null) is a value like others: it is neither less nor greater than anything,
//!   nor equal to it. A comparison with it is false, the opposite of one true; a list that is null is empty.
//! - Nothing that is known makes a filter null: it is true, false, or unknown where it depends on what is **absent**.
//!
//! | of a field that is | null | absent |
//! | --- | --- | --- |
//! | `eq`, `lt`, `lte`, `gt`, `gte`, `in`, `startsWith`, days ago | false | unknown |
//! | `ne` | true | unknown |
//! | `exists: true`, `exists: false` | false, true | unknown |
//! | `some`, `every`, `none` of a list | false, true, true | unknown |
//! | `count` of a list | 0 | unknown |
//! | any field of an object | as if it were null | unknown |

use std::collections::BTreeSet;
use std::sync::Arc;

use rust_decimal::Decimal;
use serde_json::Value;

use super::check::{Type, longest};
use super::date::Span;
use super::ir::{Compare, Const, Expr, Leaf, Quantifier, TextTest};
use super::parse::{DEPTH_MAX, NESTING_MAX};
use super::{Expression, FieldTypes, Inner};
use crate::base::code::ItemState;
use crate::base::decimal;

/// Days back from today at most: what lies before is no date of a living register.
const DAYS_MAX: u32 = 100_000;

/// A condition on one thing: the entity, a field of it, an element of a list. It holds the caller's values.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Each of these is so; there is at least one.
    All(Vec<Filter>),
    /// One of these is so; there is at least one.
    Any(Vec<Filter>),
    Not(Box<Filter>),
    /// What stands in this field of the object is so.
    Field(String, Box<Filter>),
    /// There is something, or there is not. An object that is nothing but its fields is always there.
    Exists(bool),
    Compare(Compare, Value),
    /// It equals one of these; there is at least one.
    In(Vec<Value>),
    StartsWith(String),
    /// A date, fewer days ago than this; so is what is still to come.
    WithinDays(u32),
    /// A date, so many days ago or more.
    DaysAgo(u32),
    /// An element of the list is so.
    Some(Box<Filter>),
    /// All elements of the list are so; of an empty one they are.
    Every(Box<Filter>),
    /// No element of the list is so.
    None(Box<Filter>),
    /// How many elements the list has is so.
    Count(Box<Filter>),
    /// For a field of which the facts hold a list of the values that it may have ([`super::Levels`]): known is what is
    /// so of each. The values are told apart one by one, so this stands around all that is asked of the field.
    Whichever(Box<Filter>),
    /// The state of the field is one of these. Facts tell it beside the field, see [`state_member`].
    State(Vec<ItemState>),
}

/// What is wrong with a filter. It names fields, and never a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FilterFault {
    /// The field, from the entity.
    pub path: Vec<String>,
    pub message: String,
}

/// The name of a field's state beside the field: no field of a contract can have it.
pub fn state_member(field: &str) -> String {
    format!("{field}.state")
}

impl Expression {
    /// A filter on entities of a type, checked against the contract. Its text is empty.
    pub fn filter(filter: &Filter, entity_type: &str, fields: &dyn FieldTypes) -> Result<Self, FilterFault> {
        let mut making = Making { fields, inputs: BTreeSet::new(), states: BTreeSet::new(), locals: 0, nesting: 0 };
        let entity = Type::Object(entity_type.to_owned());
        let root = making.of(filter, &Subject { expr: Expr::Entity, ty: entity, path: Vec::new(), stands_in: None })?;
        // The evaluator goes as deep as the tree.
        if depth(&root) > DEPTH_MAX {
            return Err(FilterFault { path: Vec::new(), message: "the condition is nested too deep".to_owned() });
        }
        Ok(Self {
            inner: Arc::new(Inner {
                text: String::new(),
                root,
                inputs: longest(&making.inputs),
                claims: Vec::new(),
                states: making.states.into_iter().collect(),
                thresholds: Vec::new(),
            }),
        })
    }
}

struct Making<'a> {
    fields: &'a dyn FieldTypes,
    inputs: BTreeSet<Vec<String>>,
    states: BTreeSet<Vec<String>>,
    /// Lists that are being looked through.
    locals: usize,
    nesting: usize,
}

/// What a filter is about.
struct Subject {
    expr: Expr,
    ty: Type,
    path: Vec<String>,
    /// The object that it is a field of; none for elements of lists.
    stands_in: Option<Expr>,
}

impl Subject {
    fn fault(&self, message: impl Into<String>) -> FilterFault {
        FilterFault { path: self.path.clone(), message: message.into() }
    }

    /// The field by which it stands in its object.
    fn field(&self) -> Option<(&Expr, &str)> {
        self.stands_in.as_ref().zip(self.path.last().map(String::as_str))
    }
}

impl Making<'_> {
    /// Never null: true, false or unknown.
    fn of(&mut self, filter: &Filter, subject: &Subject) -> Result<Expr, FilterFault> {
        if self.nesting >= NESTING_MAX {
            return Err(subject.fault(format!("the condition is nested more than {NESTING_MAX} levels deep")));
        }
        self.nesting += 1;
        let made = self.inside(filter, subject);
        self.nesting -= 1;
        made
    }

    fn inside(&mut self, filter: &Filter, subject: &Subject) -> Result<Expr, FilterFault> {
        match filter {
            Filter::All(parts) => self.joined(parts, subject, Expr::And),
            Filter::Any(parts) => self.joined(parts, subject, Expr::Or),
            Filter::Not(part) => Ok(Expr::Not(Box::new(self.of(part, subject)?))),
            Filter::Field(name, part) => {
                let field = self.field(name, subject)?;
                self.of(part, &field)
            }
            Filter::Exists(there) => {
                if matches!(subject.ty, Type::List(_)) {
                    return Err(subject.fault("a list is always there: ask for its `count`"));
                }
                self.read(subject);
                let is_null = Expr::IsNull(Box::new(subject.expr.clone()));
                Ok(if *there { Expr::Not(Box::new(is_null)) } else { is_null })
            }
            Filter::Compare(compare, value) => {
                self.compares(*compare, subject)?;
                let value = self.constant(value, subject)?;
                Ok(self.compare(*compare, Expr::Const(value), subject))
            }
            Filter::In(values) => {
                if values.is_empty() {
                    return Err(subject.fault("`in` has no value"));
                }
                self.compares(Compare::Eq, subject)?;
                let values = values.iter().map(|value| Ok(Expr::Const(self.constant(value, subject)?)));
                let values = values.collect::<Result<Vec<_>, _>>()?;
                self.read(subject);
                Ok(is_in(subject.expr.clone(), values, subject.ty.leaf()))
            }
            Filter::StartsWith(start) => {
                if subject.ty != Type::Text {
                    return Err(subject.fault(format!("{} does not start with a text", subject.ty)));
                }
                self.read(subject);
                let start = Box::new(Expr::Const(Const::Text(start.as_str().into())));
                Ok(holds(Expr::TextTest(TextTest::StartsWith, Box::new(subject.expr.clone()), start)))
            }
            // Against the day, and not by the number of days: a partial date goes as far as it goes.
            Filter::WithinDays(days) => self.days_ago(Compare::Gt, *days, subject),
            Filter::DaysAgo(days) => self.days_ago(Compare::Le, *days, subject),
            Filter::Some(part) => Ok(holds(self.exists(part, false, subject)?)),
            Filter::None(part) => Ok(Expr::Not(Box::new(holds(self.exists(part, false, subject)?)))),
            Filter::Every(part) => Ok(Expr::Not(Box::new(holds(self.exists(part, true, subject)?)))),
            Filter::Count(part) => {
                let Type::List(_) = subject.ty else {
                    return Err(subject.fault(format!("{} has no count", subject.ty)));
                };
                self.read(subject);
                let list = || Box::new(subject.expr.clone());
                let none = Box::new(Expr::Const(Const::Int(0)));
                let count = Expr::If(Box::new(Expr::IsNull(list())), none, Box::new(Expr::Size(list())));
                let count = Subject { expr: count, ty: Type::Int, path: subject.path.clone(), stands_in: None };
                self.of(part, &count)
            }
            Filter::Whichever(part) => self.whichever(part, subject),
            Filter::State(states) => self.state(states, subject),
        }
    }

    /// In pairs of pairs, so that the tree is no deeper than it must be.
    fn joined(
        &mut self,
        parts: &[Filter],
        subject: &Subject,
        join: fn(Box<Expr>, Box<Expr>) -> Expr,
    ) -> Result<Expr, FilterFault> {
        let mut made = parts.iter().map(|part| self.of(part, subject)).collect::<Result<Vec<_>, _>>()?;
        while made.len() > 1 {
            let mut pairs = Vec::with_capacity(made.len().div_ceil(2));
            let mut left = made.into_iter();
            while let Some(one) = left.next() {
                pairs.push(match left.next() {
                    Some(other) => join(Box::new(one), Box::new(other)),
                    None => one,
                });
            }
            made = pairs;
        }
        made.pop().ok_or_else(|| subject.fault("the condition says nothing"))
    }

    fn field(&self, name: &str, subject: &Subject) -> Result<Subject, FilterFault> {
        let Type::Object(type_name) = &subject.ty else {
            let hint = if matches!(subject.ty, Type::List(_)) { ": ask `some`, `every` or `none` of it" } else { "" };
            return Err(subject.fault(format!("{} has no fields{hint}", subject.ty)));
        };
        let Some(found) = self.fields.field(type_name, name) else {
            return Err(subject.fault(format!("`{type_name}` has no field `{name}`")));
        };
        let ty = Type::of_field(&found);
        let path = subject.path.iter().cloned().chain([name.to_owned()]).collect();
        let expr = Expr::Select(Box::new(subject.expr.clone()), name.into(), ty.leaf());
        Ok(Subject { expr, ty, path, stands_in: Some(subject.expr.clone()) })
    }

    fn read(&mut self, subject: &Subject) {
        if !subject.path.is_empty() {
            self.inputs.insert(subject.path.clone());
        }
    }

    /// Whether a value can be compared with another in this way.
    fn compares(&self, compare: Compare, subject: &Subject) -> Result<(), FilterFault> {
        let equality = matches!(compare, Compare::Eq | Compare::Ne);
        match subject.ty {
            Type::Int | Type::Decimal | Type::Date => Ok(()),
            Type::Bool | Type::Text | Type::Enum(_) if equality => Ok(()),
            Type::Bool | Type::Text | Type::Enum(_) => Err(subject.fault(format!("{} has no order", subject.ty))),
            _ => Err(subject.fault(format!("{} is not compared as a whole", subject.ty))),
        }
    }

    fn compare(&mut self, compare: Compare, with: Expr, subject: &Subject) -> Expr {
        self.read(subject);
        Expr::Compare(compare, Box::new(subject.expr.clone()), Box::new(with))
    }

    fn days_ago(&mut self, compare: Compare, days: u32, subject: &Subject) -> Result<Expr, FilterFault> {
        if subject.ty != Type::Date {
            return Err(subject.fault(format!("{} is not so many days ago", subject.ty)));
        }
        if days > DAYS_MAX {
            return Err(subject.fault(format!("that is more than {DAYS_MAX} days ago")));
        }
        Ok(self.compare(compare, Expr::DaysAgo(days), subject))
    }

    /// Whether an element is so (`not`: is not so); null of a list that is null.
    fn exists(&mut self, part: &Filter, not: bool, subject: &Subject) -> Result<Expr, FilterFault> {
        let Type::List(element) = &subject.ty else {
            return Err(subject.fault(format!("{} is not a list", subject.ty)));
        };
        self.read(subject);
        let body = self.of_element(part, element, subject)?;
        let body = if not { Expr::Not(Box::new(body)) } else { body };
        Ok(Expr::Quantify(Quantifier::Exists, Box::new(subject.expr.clone()), element.leaf(), Box::new(body)))
    }

    fn of_element(&mut self, part: &Filter, ty: &Type, list: &Subject) -> Result<Expr, FilterFault> {
        let expr = Expr::Local(self.locals);
        let element = Subject { expr, ty: ty.clone(), path: list.path.clone(), stands_in: None };
        self.locals += 1;
        let made = self.of(part, &element);
        self.locals -= 1;
        made
    }

    fn whichever(&mut self, part: &Filter, subject: &Subject) -> Result<Expr, FilterFault> {
        let (Some((object, name)), Type::Bool | Type::Int | Type::Decimal | Type::Text | Type::Date | Type::Enum(_)) =
            (subject.field(), &subject.ty)
        else {
            return Err(subject.fault(format!("{} is not one of several values", subject.ty)));
        };
        let values = Expr::Select(Box::new(object.clone()), name.into(), Leaf::Json);
        self.read(subject);
        let body = self.of_element(part, &subject.ty, subject)?;
        Ok(Expr::Quantify(Quantifier::Whichever, Box::new(values), subject.ty.leaf(), Box::new(body)))
    }

    fn state(&mut self, states: &[ItemState], subject: &Subject) -> Result<Expr, FilterFault> {
        let Some((object, name)) = subject.field() else {
            return Err(subject.fault("only a field has a state"));
        };
        if states.is_empty() {
            return Err(subject.fault("`itemState` has no state"));
        }
        let told = |state: &ItemState| matches!(state, ItemState::Answered | ItemState::NoRecord | ItemState::Conflict);
        if let Some(state) = states.iter().find(|state| !told(state)) {
            return Err(subject.fault(format!("what is {state} is not known: ask ANSWERED, NO_RECORD or CONFLICT")));
        }
        let state = Expr::Select(Box::new(object.clone()), state_member(name).into(), Leaf::Text);
        self.read(subject);
        self.states.insert(subject.path.clone());
        let states = states.iter().map(|state| Expr::Const(Const::Text(state.as_str().into()))).collect();
        Ok(is_in(state, states, Leaf::Text))
    }

    /// A caller's value, as a value of the field's type.
    fn constant(&self, value: &Value, subject: &Subject) -> Result<Const, FilterFault> {
        let made = match (&subject.ty, value) {
            (_, Value::Null) => return Err(subject.fault("nothing is compared with null: ask `exists`")),
            (Type::Bool, Value::Bool(value)) => Some(Const::Bool(*value)),
            (Type::Int, value) => value.as_i64().map(Const::Int),
            (Type::Decimal, value) => decimal_of(value).map(Const::Decimal),
            (Type::Text, Value::String(text)) => Some(Const::Text(text.as_str().into())),
            (Type::Text, Value::Number(number)) => Some(Const::Text(number.to_string().into())),
            (Type::Enum(name), Value::String(text)) => {
                let values = self.fields.enum_values(name).unwrap_or_default();
                values.contains(text).then(|| Const::Text(text.as_str().into()))
            }
            // What is compared with is not in doubt itself.
            (Type::Date, Value::String(text)) => {
                Span::parse(text).filter(|span| span.whole().is_some()).map(Const::Date)
            }
            _ => None,
        };
        made.ok_or_else(|| {
            let wanted = match subject.ty {
                Type::Date => "a whole date, as in \"2021-03-10\"".to_owned(),
                Type::Decimal => "a decimal number that fits exactly, as in \"12.50\"".to_owned(),
                _ => subject.ty.to_string(),
            };
            subject.fault(format!("what it is compared with must be {wanted}"))
        })
    }
}

fn decimal_of(value: &Value) -> Option<Decimal> {
    match value {
        Value::String(text) => decimal::exact(text),
        Value::Number(number) => decimal::exact(&number.to_string()),
        _ => None,
    }
}

/// True where it is true, false where it is false or null.
fn holds(expr: Expr) -> Expr {
    let bool = |value| Box::new(Expr::Const(Const::Bool(value)));
    Expr::If(Box::new(expr), bool(true), bool(false))
}

fn is_in(expr: Expr, values: Vec<Expr>, leaf: Leaf) -> Expr {
    holds(Expr::In(Box::new(expr), Box::new(Expr::List(values)), leaf))
}

/// Levels of a tree. As deep itself as filters may be nested, each of which makes few levels.
fn depth(expr: &Expr) -> usize {
    let deepest = |parts: &[&Expr]| parts.iter().map(|part| depth(part)).max().unwrap_or_default();
    1 + match expr {
        Expr::Const(_)
        | Expr::Today
        | Expr::DaysAgo(_)
        | Expr::Threshold(_)
        | Expr::Entity
        | Expr::Claim(..)
        | Expr::Local(_) => 0,
        Expr::Select(of, ..)
        | Expr::IsNull(of)
        | Expr::Not(of)
        | Expr::Negate(of)
        | Expr::Size(of)
        | Expr::ToDecimal(of) => depth(of),
        Expr::And(a, b)
        | Expr::Or(a, b)
        | Expr::Compare(_, a, b)
        | Expr::Arithmetic(_, a, b)
        | Expr::In(a, b, _)
        | Expr::TextTest(_, a, b)
        | Expr::Between(_, a, b)
        | Expr::Quantify(_, a, _, b) => deepest(&[a, b]),
        Expr::If(a, b, c) => deepest(&[a, b, c]),
        Expr::List(items) => items.iter().map(depth).max().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests;
