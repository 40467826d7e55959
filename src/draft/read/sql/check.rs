//! `CHECK` conditions that list a column's codes: `x IN ('a', 'b')`, `x = 'a' OR x = 'b'`, `x = ANY (ARRAY['a', 'b'])`.

use sqlparser::ast::{BinaryOperator, Expr, UnaryOperator, Value};
use sqlparser::dialect::Dialect;
use sqlparser::parser::Parser;

use super::Column;
use super::tokens::Cursor;

/// Longer conditions list no codes; and a parser is not asked to build what is too deep to be taken down again.
const TOKENS_MAX: usize = 1_000;
pub const NESTING_MAX: usize = 40;

/// Gives columns the codes that the condition in these parentheses lists.
pub fn apply(group: &Cursor<'_>, dialect: &dyn Dialect, columns: &mut [Column]) {
    if group.tokens().len() > TOKENS_MAX {
        return;
    }
    let parser = Parser::new(dialect).with_recursion_limit(NESTING_MAX);
    let Ok(condition) = parser.with_tokens_with_locations(group.tokens().to_vec()).parse_expr() else { return };
    conjunction(&condition, columns);
}

fn conjunction(condition: &Expr, columns: &mut [Column]) {
    if let Expr::BinaryOp { left, op: BinaryOperator::And, right } = bare(condition) {
        conjunction(left, columns);
        conjunction(right, columns);
        return;
    }
    let mut codes = Vec::new();
    let Some(name) = listed(condition, &mut codes).flatten() else { return };
    let Some(column) = columns.iter_mut().find(|column| column.name.folded.eq_ignore_ascii_case(&name)) else { return };
    let texts: Option<Vec<String>> = codes.iter().map(|(text, is_text)| is_text.then(|| text.clone())).collect();
    match texts {
        Some(texts) => column.codes = texts,
        None => column.numbers = codes.into_iter().map(|(text, _)| text).collect(),
    }
}

/// The column whose codes are listed; `Some(None)` for a condition that takes nothing away (`x IS NULL`).
fn listed(condition: &Expr, codes: &mut Vec<(String, bool)>) -> Option<Option<String>> {
    match bare(condition) {
        Expr::IsNull(_) => Some(None),
        Expr::InList { expr, list, negated: false } => {
            codes.extend(list.iter().map(literal).collect::<Option<Vec<_>>>()?);
            column(expr).map(Some)
        }
        Expr::AnyOp { left, compare_op: BinaryOperator::Eq, right, .. } => {
            let Expr::Array(array) = bare(right) else { return None };
            codes.extend(array.elem.iter().map(literal).collect::<Option<Vec<_>>>()?);
            column(left).map(Some)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Eq, right } => {
            codes.push(literal(right)?);
            column(left).map(Some)
        }
        Expr::BinaryOp { left, op: BinaryOperator::Or, right } => match (listed(left, codes)?, listed(right, codes)?) {
            (Some(one), Some(other)) if one == other => Some(Some(one)),
            (Some(one), None) | (None, Some(one)) => Some(Some(one)),
            _ => None,
        },
        _ => None,
    }
}

/// Without parentheses and casts.
pub fn bare(mut expression: &Expr) -> &Expr {
    while let Expr::Nested(inner) | Expr::Cast { expr: inner, .. } = expression {
        expression = inner;
    }
    expression
}

fn column(expression: &Expr) -> Option<String> {
    match bare(expression) {
        Expr::Identifier(name) => Some(name.value.clone()),
        Expr::CompoundIdentifier(parts) => parts.last().map(|name| name.value.clone()),
        _ => None,
    }
}

/// A text (true) or a number.
fn literal(expression: &Expr) -> Option<(String, bool)> {
    match bare(expression) {
        Expr::Value(value) => match &value.value {
            Value::SingleQuotedString(text) | Value::NationalStringLiteral(text) | Value::DoubleQuotedString(text) => {
                Some((text.clone(), true))
            }
            Value::Number(number, _) => Some((number.clone(), false)),
            _ => None,
        },
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => {
            literal(expr).filter(|(_, text)| !text).map(|(number, _)| (format!("-{number}"), false))
        }
        _ => None,
    }
}
