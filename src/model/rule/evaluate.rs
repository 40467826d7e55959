//! The evaluator: total, with bounded steps. What cannot be known is [`Unknown`], never an error and never a guess.

use std::borrow::Cow;

use jiff::civil::Date;
use rust_decimal::Decimal;
use serde_json::Value;

use super::Truth;
use super::date::{Span, days_between, years_between};
use super::ir::{Arithmetic, Between, Compare, Const, Expr, Leaf, Quantifier, TextTest};
use crate::base::decimal;

/// Parts evaluated for one condition at most; beyond that the answer is unknown.
const STEPS_MAX: usize = 200_000;

struct Unknown;

type Evaluated<'a> = Result<Val<'a>, Unknown>;

#[derive(Clone)]
enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Decimal(Decimal),
    Text(Cow<'a, str>),
    Date(Span),
    Json(&'a Value),
    List(Vec<Val<'a>>),
}

struct Run<'a> {
    entity: &'a Value,
    principal: &'a Value,
    today: Date,
    locals: Vec<Val<'a>>,
    /// Steps that are left.
    steps: usize,
}

pub(super) fn evaluate(root: &Expr, entity: &Value, principal: &Value, today: Date) -> Truth {
    let mut run = Run { entity, principal, today, locals: Vec::new(), steps: STEPS_MAX };
    match run.value(root) {
        Ok(Val::Bool(true)) => Truth::True,
        Ok(_) => Truth::False,
        Err(Unknown) => Truth::Unknown,
    }
}

/// The value in the contract's JSON; `None` is unknown.
pub(super) fn value(root: &Expr, entity: &Value, principal: &Value, today: Date) -> Option<Value> {
    let mut run = Run { entity, principal, today, locals: Vec::new(), steps: STEPS_MAX };
    match run.value(root) {
        Ok(Val::Null) => Some(Value::Null),
        Ok(Val::Bool(value)) => Some(Value::Bool(value)),
        // GraphQL's Int has 32 bits.
        Ok(Val::Int(value)) => i32::try_from(value).ok().map(Value::from),
        Ok(Val::Decimal(value)) => Some(Value::String(value.to_string())),
        Ok(Val::Text(value)) => Some(Value::String(value.into_owned())),
        Ok(Val::Date(_) | Val::Json(_) | Val::List(_)) | Err(Unknown) => None,
    }
}

/// `Some(None)` is null.
type Logic = Result<Option<bool>, Unknown>;

impl<'a> Run<'a> {
    fn step(&mut self) -> Result<(), Unknown> {
        self.steps = self.steps.checked_sub(1).ok_or(Unknown)?;
        Ok(())
    }

    fn value(&mut self, expr: &'a Expr) -> Evaluated<'a> {
        self.step()?;
        Ok(match expr {
            Expr::Const(constant) => of_const(constant),
            Expr::Today => Val::Date(Span::day(self.today)),
            Expr::DaysAgo(days) => {
                let day = self.today.checked_sub(jiff::Span::new().days(i64::from(*days)));
                Val::Date(Span::day(day.map_err(|_| Unknown)?))
            }
            Expr::Threshold(threshold) => Val::Decimal(threshold.on(self.today).ok_or(Unknown)?.value),
            Expr::Entity => Val::Json(self.entity),
            Expr::Claim(name, leaf) => match self.principal.get(name.as_ref()) {
                None => Val::Null,
                Some(value) => read(value, *leaf)?,
            },
            Expr::Local(index) => self.locals.get(*index).cloned().ok_or(Unknown)?,
            Expr::Select(object, field, leaf) => match self.value(object)? {
                Val::Json(Value::Object(members)) => read(members.get(field.as_ref()).ok_or(Unknown)?, *leaf)?,
                Val::Null => Val::Null,
                _ => return Err(Unknown),
            },
            Expr::IsNull(of) => Val::Bool(matches!(self.value(of)?, Val::Null)),
            Expr::Not(of) => bool_or_null(self.logic(of)?.map(|value| !value)),
            Expr::And(l, r) => bool_or_null(self.fold(l, r, false)?),
            Expr::Or(l, r) => bool_or_null(self.fold(l, r, true)?),
            Expr::If(condition, then, otherwise) => match self.logic(condition)? {
                Some(true) => self.value(then)?,
                _ => self.value(otherwise)?,
            },
            Expr::Compare(operator, l, r) => {
                let (l, r) = (self.value(l)?, self.value(r)?);
                Val::Bool(compare(*operator, &l, &r)?)
            }
            Expr::Arithmetic(operator, l, r) => {
                let (l, r) = (self.value(l)?, self.value(r)?);
                arithmetic(*operator, &l, &r)?
            }
            Expr::Negate(of) => match self.value(of)? {
                Val::Int(value) => Val::Int(value.checked_neg().ok_or(Unknown)?),
                Val::Decimal(value) => Val::Decimal(-value),
                Val::Null => Val::Null,
                _ => return Err(Unknown),
            },
            Expr::List(items) => Val::List(items.iter().map(|item| self.value(item)).collect::<Result<Vec<_>, _>>()?),
            Expr::In(needle, list, leaf) => self.within(needle, list, *leaf)?,
            Expr::Size(of) => match self.value(of)? {
                Val::Text(text) => count(text.chars().count())?,
                Val::Json(Value::Array(items)) => count(items.len())?,
                Val::List(items) => count(items.len())?,
                Val::Null => Val::Null,
                _ => return Err(Unknown),
            },
            Expr::TextTest(test, text, part) => match (self.value(text)?, self.value(part)?) {
                (Val::Text(text), Val::Text(part)) => Val::Bool(match test {
                    TextTest::StartsWith => text.starts_with(part.as_ref()),
                    TextTest::EndsWith => text.ends_with(part.as_ref()),
                    TextTest::Contains => text.contains(part.as_ref()),
                }),
                (Val::Null, _) | (_, Val::Null) => Val::Null,
                _ => return Err(Unknown),
            },
            Expr::Between(between, from, to) => match (self.value(from)?, self.value(to)?) {
                (Val::Date(from), Val::Date(to)) => Val::Int(
                    match between {
                        Between::Days => days_between(from, to),
                        Between::Years => years_between(from, to),
                    }
                    .ok_or(Unknown)?,
                ),
                (Val::Null, _) | (_, Val::Null) => Val::Null,
                _ => return Err(Unknown),
            },
            Expr::ToDecimal(of) => match self.value(of)? {
                Val::Int(value) => Val::Decimal(Decimal::from(value)),
                Val::Null => Val::Null,
                _ => return Err(Unknown),
            },
            Expr::Quantify(quantifier, list, leaf, body) => {
                let list = self.value(list)?;
                bool_or_null(self.quantify(*quantifier, &list, *leaf, body)?)
            }
        })
    }

    fn logic(&mut self, expr: &'a Expr) -> Logic {
        match self.value(expr)? {
            Val::Bool(value) => Ok(Some(value)),
            Val::Null => Ok(None),
            _ => Err(Unknown),
        }
    }

    /// `&&` where `decides` is false, `||` where it is true: the deciding value wins over unknown, unknown over null.
    fn fold(&mut self, l: &'a Expr, r: &'a Expr, decides: bool) -> Logic {
        let left = self.logic(l);
        if matches!(left, Ok(Some(value)) if value == decides) {
            return Ok(Some(decides));
        }
        let right = self.logic(r);
        if matches!(right, Ok(Some(value)) if value == decides) {
            return Ok(Some(decides));
        }
        match (left?, right?) {
            (Some(_), Some(_)) => Ok(Some(!decides)),
            _ => Ok(None),
        }
    }

    fn within(&mut self, needle: &'a Expr, list: &'a Expr, leaf: Leaf) -> Evaluated<'a> {
        let needle = self.value(needle)?;
        let list = self.value(list)?;
        if matches!(list, Val::Null) || matches!(needle, Val::Null) {
            return Ok(Val::Null);
        }
        let mut unknown = false;
        for element in elements(&list, leaf)? {
            self.step()?;
            match element.and_then(|element| compare(Compare::Eq, &needle, &element)) {
                Ok(true) => return Ok(Val::Bool(true)),
                Ok(false) => {}
                Err(Unknown) => unknown = true,
            }
        }
        if unknown { Err(Unknown) } else { Ok(Val::Bool(false)) }
    }

    fn quantify(&mut self, quantifier: Quantifier, list: &Val<'a>, leaf: Leaf, body: &'a Expr) -> Logic {
        if matches!(list, Val::Null) {
            // Nobody knows what the values may be.
            return if quantifier == Quantifier::Whichever { Err(Unknown) } else { Ok(None) };
        }
        let (mut found, mut refuted, mut unknown) = (0_usize, false, false);
        for element in elements(list, leaf)? {
            self.step()?;
            let held = match element {
                Ok(element) => {
                    self.locals.push(element);
                    let held = self.logic(body);
                    self.locals.pop();
                    held
                }
                Err(Unknown) => Err(Unknown),
            };
            match (quantifier, held) {
                (Quantifier::Exists, Ok(Some(true))) => return Ok(Some(true)),
                (Quantifier::All, Ok(Some(false) | None)) => return Ok(Some(false)),
                (_, Ok(Some(true))) => found += 1,
                (_, Ok(Some(false) | None)) => refuted = true,
                (_, Err(Unknown)) => unknown = true,
            }
        }
        match quantifier {
            Quantifier::ExistsOne if found > 1 => Ok(Some(false)),
            _ if unknown => Err(Unknown),
            Quantifier::Exists => Ok(Some(false)),
            Quantifier::All => Ok(Some(!refuted)),
            Quantifier::ExistsOne => Ok(Some(found == 1)),
            Quantifier::Whichever if (found > 0) == refuted => Err(Unknown),
            Quantifier::Whichever => Ok(Some(!refuted)),
        }
    }
}

fn bool_or_null<'a>(value: Option<bool>) -> Val<'a> {
    value.map_or(Val::Null, Val::Bool)
}

fn count<'a>(size: usize) -> Evaluated<'a> {
    i64::try_from(size).map(Val::Int).map_err(|_| Unknown)
}

fn of_const(constant: &Const) -> Val<'_> {
    match constant {
        Const::Null => Val::Null,
        Const::Bool(value) => Val::Bool(*value),
        Const::Int(value) => Val::Int(*value),
        Const::Decimal(value) => Val::Decimal(*value),
        Const::Text(value) => Val::Text(Cow::Borrowed(value)),
        Const::Date(value) => Val::Date(*value),
    }
}

/// A value that does not look like its type is as good as not there.
fn read(value: &Value, leaf: Leaf) -> Evaluated<'_> {
    if value.is_null() {
        return Ok(Val::Null);
    }
    let read = match (leaf, value) {
        (Leaf::Json, value) => Some(Val::Json(value)),
        (Leaf::Bool, Value::Bool(value)) => Some(Val::Bool(*value)),
        (Leaf::Int, value) => value.as_i64().map(Val::Int),
        (Leaf::Decimal, Value::String(text)) => decimal::exact(text).map(Val::Decimal),
        (Leaf::Decimal, Value::Number(number)) => number.as_i64().map(|value| Val::Decimal(Decimal::from(value))),
        (Leaf::Text, Value::String(text)) => Some(Val::Text(Cow::Borrowed(text))),
        (Leaf::Text, Value::Number(number)) => Some(Val::Text(Cow::Owned(number.to_string()))),
        (Leaf::Date, Value::String(text)) => Span::parse(text).map(Val::Date),
        _ => None,
    };
    read.ok_or(Unknown)
}

fn elements<'v, 'a>(list: &'v Val<'a>, leaf: Leaf) -> Result<Box<dyn Iterator<Item = Evaluated<'a>> + 'v>, Unknown> {
    match list {
        Val::Json(Value::Array(items)) => Ok(Box::new(items.iter().map(move |item| read(item, leaf)))),
        Val::List(items) => Ok(Box::new(items.iter().map(|item| Ok(item.clone())))),
        _ => Err(Unknown),
    }
}

fn compare(operator: Compare, l: &Val<'_>, r: &Val<'_>) -> Result<bool, Unknown> {
    if matches!(l, Val::Null) || matches!(r, Val::Null) {
        return Ok(operator == Compare::Ne);
    }
    if let (Val::Date(l), Val::Date(r)) = (l, r) {
        return match operator {
            Compare::Eq => l.equals(*r),
            Compare::Ne => l.equals(*r).map(|equal| !equal),
            Compare::Lt => l.less(*r),
            Compare::Ge => l.less(*r).map(|less| !less),
            Compare::Gt => r.less(*l),
            Compare::Le => r.less(*l).map(|less| !less),
        }
        .ok_or(Unknown);
    }
    let ordering = match (l, r) {
        (Val::Int(l), Val::Int(r)) => l.cmp(r),
        (Val::Decimal(l), Val::Decimal(r)) => l.cmp(r),
        (Val::Text(l), Val::Text(r)) => l.cmp(r),
        (Val::Bool(l), Val::Bool(r)) => l.cmp(r),
        _ => return Err(Unknown),
    };
    Ok(match operator {
        Compare::Eq => ordering.is_eq(),
        Compare::Ne => ordering.is_ne(),
        Compare::Lt => ordering.is_lt(),
        Compare::Le => ordering.is_le(),
        Compare::Gt => ordering.is_gt(),
        Compare::Ge => ordering.is_ge(),
    })
}

fn arithmetic<'a>(operator: Arithmetic, l: &Val<'_>, r: &Val<'_>) -> Evaluated<'a> {
    match (l, r) {
        (Val::Null, _) | (_, Val::Null) => Ok(Val::Null),
        (Val::Int(l), Val::Int(r)) => match operator {
            Arithmetic::Add => l.checked_add(*r),
            Arithmetic::Subtract => l.checked_sub(*r),
            Arithmetic::Multiply => l.checked_mul(*r),
        }
        .map(Val::Int)
        .ok_or(Unknown),
        (Val::Decimal(l), Val::Decimal(r)) => exact(operator, *l, *r).map(Val::Decimal).ok_or(Unknown),
        _ => Err(Unknown),
    }
}

/// `None` where the result does not fit exactly: the crate would round it.
fn exact(operator: Arithmetic, l: Decimal, r: Decimal) -> Option<Decimal> {
    let (result, scale) = match operator {
        Arithmetic::Add => (l.checked_add(r)?, l.scale().max(r.scale())),
        Arithmetic::Subtract => (l.checked_sub(r)?, l.scale().max(r.scale())),
        Arithmetic::Multiply => (l.checked_mul(r)?, l.normalize().scale() + r.normalize().scale()),
    };
    // A product that is too small for any place is zero too, and not exact.
    let with_zero = [l, r].iter().any(Decimal::is_zero);
    (with_zero || result.scale() >= scale).then_some(result)
}
