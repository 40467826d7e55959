//! The checked tree that is evaluated.

use std::sync::Arc;

use rust_decimal::Decimal;

use super::date::Span;
use super::thresholds::Threshold;

/// How the JSON of a field is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leaf {
    Bool,
    Int,
    Decimal,
    /// Text, identifiers and enumerations.
    Text,
    Date,
    /// Objects, lists and scalars that rules do not look into.
    Json,
}

#[derive(Debug, Clone)]
pub(super) enum Const {
    Null,
    Bool(bool),
    Int(i64),
    Decimal(Decimal),
    Text(Box<str>),
    Date(Span),
}

/// How two values are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compare {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Add,
    Subtract,
    Multiply,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextTest {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Between {
    Days,
    Years,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantifier {
    Exists,
    All,
    ExistsOne,
    /// Over the values that one thing may have: what is so of each of them is so, and else nothing is known.
    /// Expressions have no word for it.
    Whichever,
}

#[derive(Debug, Clone)]
pub(super) enum Expr {
    Const(Const),
    Today,
    /// The day that many days before today.
    DaysAgo(u32),
    Entity,
    /// A claim, and how it is read.
    Claim(Box<str>, Leaf),
    /// The variable of the enclosing quantifier, counted from the outermost.
    Local(usize),
    Select(Box<Expr>, Box<str>, Leaf),
    IsNull(Box<Expr>),
    Not(Box<Expr>),
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    If(Box<Expr>, Box<Expr>, Box<Expr>),
    Compare(Compare, Box<Expr>, Box<Expr>),
    Arithmetic(Arithmetic, Box<Expr>, Box<Expr>),
    Negate(Box<Expr>),
    List(Vec<Expr>),
    /// Needle, list, how the list's elements are read.
    In(Box<Expr>, Box<Expr>, Leaf),
    Size(Box<Expr>),
    TextTest(TextTest, Box<Expr>, Box<Expr>),
    Between(Between, Box<Expr>, Box<Expr>),
    ToDecimal(Box<Expr>),
    /// What holds today.
    Threshold(Arc<Threshold>),
    Quantify(Quantifier, Box<Expr>, Leaf, Box<Expr>),
}
