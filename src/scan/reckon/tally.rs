//! Numbers of many entities, added up exactly, and what they come to at least and at most where some are not known.

use rust_decimal::Decimal;
use serde_json::{Value, json};

use crate::base::decimal;
use crate::model::contract::scan::Range;

/// Places after the point of averages.
const AVERAGE_DIGITS: u32 = 6;

/// What is known of one number of one entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Known {
    /// There is none: it adds nothing.
    None,
    Value(Decimal),
    /// It may be none, or any value in its range.
    Unknown,
}

/// What a measure came to. Nothing at all: there is no value, or no bound is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Where everything that it rests on is known.
    pub value: Option<Decimal>,
    pub lower: Option<Decimal>,
    pub upper: Option<Decimal>,
}

impl Bounds {
    fn exactly(value: Option<Decimal>) -> Self {
        Self { value, lower: value, upper: value }
    }
}

/// One number of many entities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbers {
    /// Entities of which there is a value.
    values: u64,
    /// Entities of which it is not known.
    unknown: u64,
    /// The negative values and the positive ones, each added up; none: more digits than fit.
    below: Option<Decimal>,
    above: Option<Decimal>,
    least: Option<Decimal>,
    greatest: Option<Decimal>,
}

impl Default for Numbers {
    fn default() -> Self {
        let (below, above) = (Some(Decimal::ZERO), Some(Decimal::ZERO));
        Self { values: 0, unknown: 0, below, above, least: None, greatest: None }
    }
}

impl Numbers {
    fn add(&mut self, known: Known) {
        match known {
            Known::None => {}
            Known::Unknown => self.unknown += 1,
            Known::Value(value) => {
                self.values += 1;
                let side = if value.is_sign_negative() { &mut self.below } else { &mut self.above };
                *side = side.and_then(|side| sum(side, value));
                self.least = Some(self.least.map_or(value, |least| least.min(value)));
                self.greatest = Some(self.greatest.map_or(value, |greatest| greatest.max(value)));
            }
        }
    }

    fn join(&mut self, other: &Self) {
        self.values += other.values;
        self.unknown += other.unknown;
        self.below = both(self.below, other.below, sum);
        self.above = both(self.above, other.above, sum);
        self.least = self.least.into_iter().chain(other.least).min();
        self.greatest = self.greatest.into_iter().chain(other.greatest).max();
    }

    fn total(&self) -> Option<Decimal> {
        both(self.below, self.above, sum)
    }

    fn kept(&self) -> Value {
        let text = |number: Option<Decimal>| number.map(|number| number.to_string());
        json!([self.values, self.unknown, text(self.below), text(self.above), text(self.least), text(self.greatest)])
    }

    fn restored(kept: &Value) -> Option<Self> {
        let number = |at: usize| match kept.get(at)? {
            Value::Null => Some(None),
            text => decimal::exact(text.as_str()?).map(Some),
        };
        Some(Self {
            values: kept.get(0)?.as_u64()?,
            unknown: kept.get(1)?.as_u64()?,
            below: number(2)?,
            above: number(3)?,
            least: number(4)?,
            greatest: number(5)?,
        })
    }
}

/// Entities, and their numbers in the order in which they are measured.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    pub rows: u64,
    numbers: Vec<Numbers>,
}

impl Tally {
    pub fn add(&mut self, numbers: &[Known]) {
        self.rows += 1;
        self.numbers.resize_with(numbers.len().max(self.numbers.len()), Numbers::default);
        self.numbers.iter_mut().zip(numbers).for_each(|(number, known)| number.add(*known));
    }

    pub fn join(&mut self, other: &Self) {
        self.rows += other.rows;
        self.numbers.resize_with(other.numbers.len().max(self.numbers.len()), Numbers::default);
        self.numbers.iter_mut().zip(&other.numbers).for_each(|(number, other)| number.join(other));
    }

    fn number(&self, at: usize) -> Numbers {
        self.numbers.get(at).copied().unwrap_or_default()
    }

    /// To go on with later; [`Self::restored`] reads it.
    pub fn kept(&self) -> Value {
        json!([self.rows, self.numbers.iter().map(Numbers::kept).collect::<Vec<_>>()])
    }

    pub fn restored(kept: &Value) -> Option<Self> {
        let numbers = kept.get(1)?.as_array()?.iter().map(Numbers::restored);
        Some(Self { rows: kept.get(0)?.as_u64()?, numbers: numbers.collect::<Option<_>>()? })
    }
}

/// What is known of one group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Group {
    /// Entities that are in it.
    pub sure: Tally,
    /// Entities that may be: of which the condition, or the group, is not known.
    pub maybe: Tally,
    /// There may be any number of others: not all were looked at.
    pub is_open: bool,
}

impl Group {
    pub fn count(&self) -> Bounds {
        let (lower, more) = (Decimal::from(self.sure.rows), self.maybe.rows);
        let is_exact = !self.is_open && more == 0;
        Bounds {
            value: is_exact.then_some(lower),
            lower: Some(lower),
            upper: (!self.is_open).then(|| lower.saturating_add(Decimal::from(more))),
        }
    }

    pub fn number(&self, at: usize, range: Option<Range>) -> OfNumber {
        let (sure, maybe) = (self.sure.number(at), self.maybe.number(at));
        OfNumber { sure, maybe, unknown: sure.unknown + maybe.unknown, range, is_open: self.is_open }
    }
}

/// What is known of one number in one group.
#[derive(Debug)]
pub struct OfNumber {
    sure: Numbers,
    maybe: Numbers,
    /// Entities, sure and not, of which the number is not known.
    unknown: u64,
    range: Option<Range>,
    is_open: bool,
}

impl OfNumber {
    /// Entities whose values show in what is told.
    pub fn values(&self) -> u64 {
        self.sure.values + self.maybe.values
    }

    /// Entities that may have a value; `None`: any number.
    pub fn values_at_most(&self) -> Option<u64> {
        (!self.is_open).then(|| self.values() + self.unknown)
    }

    /// Values that may be there or not.
    fn optional(&self) -> u64 {
        self.maybe.values + self.unknown
    }

    fn is_exact(&self) -> bool {
        !self.is_open && self.optional() == 0
    }

    /// The least that a value that may be there or not can be.
    fn optional_least(&self) -> Option<Decimal> {
        let of_range = self.range.map(|range| range.min);
        match (self.unknown > 0 || self.is_open, self.maybe.least) {
            (true, Some(known)) => of_range.map(|least| least.min(known)),
            (true, None) => of_range,
            (false, known) => known,
        }
    }

    fn optional_greatest(&self) -> Option<Decimal> {
        let of_range = self.range.and_then(|range| range.max);
        match (self.unknown > 0 || self.is_open, self.maybe.greatest) {
            (true, Some(known)) => of_range.map(|greatest| greatest.max(known)),
            (true, None) => of_range,
            (false, known) => known,
        }
    }

    /// A sum of more digits than fit has neither value nor bounds.
    pub fn sum(&self) -> Bounds {
        if self.is_exact() {
            return Bounds::exactly(self.sure.total());
        }
        let (least, greatest) = (self.range.map(|range| range.min), self.range.and_then(|range| range.max));
        // One that is not there adds nothing, whatever the least value is.
        let each = |bound: Option<Decimal>, side: fn(Decimal, Decimal) -> Decimal| match self.unknown {
            0 => Some(Decimal::ZERO),
            unknown => times(side(bound?, Decimal::ZERO), unknown),
        };
        let from = |known: Option<Decimal>, more: Option<Decimal>| both(both(self.sure.total(), known, sum), more, sum);
        let none_is_negative = least.is_some_and(|least| !least.is_sign_negative());
        let lower = from(self.maybe.below, each(least, Decimal::min)).filter(|_| !self.is_open || none_is_negative);
        let upper = from(self.maybe.above, each(greatest, Decimal::max)).filter(|_| !self.is_open);
        Bounds { value: None, lower, upper }
    }

    /// Of those that have a value.
    pub fn average(&self) -> Bounds {
        let (total, count) = (self.sure.total(), self.sure.values);
        if self.is_exact() {
            return Bounds::exactly(total.and_then(|total| share(total, count, Rounding::Nearest)));
        }
        if self.is_open {
            return Bounds::default();
        }
        if count == 0 {
            return Bounds { value: None, lower: self.optional_least(), upper: self.optional_greatest() };
        }
        let many = count.saturating_add(self.optional());
        // Values on one side of the average draw it there; those that do not are left out.
        let drawn = |by: Option<Decimal>, rounding: Rounding| {
            let (total, by) = (total?, by?);
            let alone = share(total, count, rounding)?;
            let with_all = share(sum(total, times(by, self.optional())?)?, many, rounding)?;
            Some(if rounding == Rounding::Down { alone.min(with_all) } else { alone.max(with_all) })
        };
        Bounds {
            value: None,
            lower: drawn(self.optional_least(), Rounding::Down),
            upper: drawn(self.optional_greatest(), Rounding::Up),
        }
    }

    pub fn least(&self) -> Bounds {
        if self.is_exact() {
            return Bounds::exactly(self.sure.least);
        }
        let optional = self.optional_least();
        let lower = match self.sure.least {
            Some(known) => optional.map(|optional| optional.min(known)),
            None => optional,
        };
        Bounds { value: None, lower, upper: self.sure.least.or_else(|| self.optional_greatest()) }
    }

    pub fn greatest(&self) -> Bounds {
        if self.is_exact() {
            return Bounds::exactly(self.sure.greatest);
        }
        let optional = self.optional_greatest();
        let upper = match self.sure.greatest {
            Some(known) => optional.map(|optional| optional.max(known)),
            None => optional,
        };
        Bounds { value: None, lower: self.sure.greatest.or_else(|| self.optional_least()), upper }
    }
}

fn both(a: Option<Decimal>, b: Option<Decimal>, join: fn(Decimal, Decimal) -> Option<Decimal>) -> Option<Decimal> {
    join(a?, b?)
}

/// Exactly, or not at all: [`Decimal`] itself would round what does not fit.
fn sum(a: Decimal, b: Decimal) -> Option<Decimal> {
    let scale = a.scale().max(b.scale());
    let at_scale = |number: Decimal| {
        let more = 10_i128.checked_pow(scale.checked_sub(number.scale())?)?;
        number.mantissa().checked_mul(more)
    };
    let mantissa = at_scale(a)?.checked_add(at_scale(b)?)?;
    Decimal::try_from_i128_with_scale(mantissa, scale).ok()
}

fn times(number: Decimal, count: u64) -> Option<Decimal> {
    let mantissa = number.mantissa().checked_mul(i128::from(count))?;
    Decimal::try_from_i128_with_scale(mantissa, number.scale()).ok()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Rounding {
    Down,
    Nearest,
    Up,
}

/// `None`: of none, or of more digits than fit.
fn share(total: Decimal, count: u64, rounding: Rounding) -> Option<Decimal> {
    let all = total.mantissa().checked_mul(10_i128.checked_pow(AVERAGE_DIGITS)?)?;
    let by = 10_i128.checked_pow(total.scale())?.checked_mul(i128::from(count))?;
    let down = all.checked_div_euclid(by)?;
    let rest = all.checked_rem_euclid(by)?;
    let up = match rounding {
        Rounding::Down => false,
        Rounding::Nearest => rest.checked_mul(2)? >= by,
        Rounding::Up => rest > 0,
    };
    let mantissa = down.checked_add(i128::from(up))?;
    Some(Decimal::try_from_i128_with_scale(mantissa, AVERAGE_DIGITS).ok()?.normalize())
}
