//! What a view's columns are: of plain columns, their types; of expressions, what their form tells.

use sqlparser::ast::{
    DataType, Expr, Ident, ObjectName, Query, Select, SelectItem, SelectItemQualifiedWildcardKind, SetExpr,
    TableFactor, Value,
};
use sqlparser::dialect::Dialect;
use sqlparser::parser::Parser;

use super::check::NESTING_MAX;
use super::kind::Kind;
use super::tokens::{Cursor, Name, Part, folded};
use super::{Column, Flavor, Table};

const TOKENS_MAX: usize = 5_000;
const COLUMNS_MAX: usize = 2_000;

type Known<'k> = &'k dyn Fn(&Name) -> Option<&'k Table>;

/// The columns of a query, and which of them could be its key: the key of the first table that it reads.
pub fn columns<'k>(
    query: Cursor<'_>,
    dialect: &dyn Dialect,
    known: Known<'k>,
    flavor: Flavor,
) -> Result<(Vec<Column>, Option<String>), String> {
    if query.tokens().len() > TOKENS_MAX {
        return Err("it is too long".to_owned());
    }
    let parser = Parser::new(dialect).with_recursion_limit(NESTING_MAX);
    let parsed = parser.with_tokens_with_locations(query.tokens().to_vec()).parse_query();
    let parsed = parsed.map_err(|error| error.to_string())?;
    let select = select(&parsed).ok_or("it is no SELECT")?;
    let sources = sources(select, known, flavor);
    let mut found = Found { flavor, columns: Vec::new(), key: None };
    for item in &select.projection {
        found.item(item, &sources);
    }
    match found.columns.is_empty() {
        true => Err("it names none".to_owned()),
        false => Ok((found.columns, found.key)),
    }
}

fn select(query: &Query) -> Option<&Select> {
    let mut body = query.body.as_ref();
    loop {
        match body {
            SetExpr::Select(select) => return Some(select),
            SetExpr::Query(query) => body = query.body.as_ref(),
            SetExpr::SetOperation { left, .. } => body = left,
            _ => return None,
        }
    }
}

/// A table that is read, under the name that the query has for it.
struct Source<'k> {
    alias: String,
    table: &'k Table,
}

fn sources<'k>(select: &Select, known: Known<'k>, flavor: Flavor) -> Vec<Source<'k>> {
    let mut next: Vec<&TableFactor> = Vec::new();
    for from in select.from.iter().rev() {
        next.extend(from.joins.iter().rev().map(|join| &join.relation));
        next.push(&from.relation);
    }
    let mut found = Vec::new();
    while let Some(factor) = next.pop() {
        match factor {
            TableFactor::Table { name, alias, .. } => {
                let name = name_of(name, flavor);
                let own = alias.as_ref().map_or_else(|| name.last().to_owned(), |alias| alias.name.value.clone());
                found.extend(known(&name).map(|table| Source { alias: own, table }));
            }
            TableFactor::NestedJoin { table_with_joins, .. } => {
                next.extend(table_with_joins.joins.iter().rev().map(|join| &join.relation));
                next.push(&table_with_joins.relation);
            }
            _ => {}
        }
    }
    found
}

fn name_of(name: &ObjectName, flavor: Flavor) -> Name {
    Name(name.0.iter().filter_map(|part| part.as_ident()).map(|ident| part(ident, flavor)).collect())
}

fn part(ident: &Ident, flavor: Flavor) -> Part {
    folded(ident.value.clone(), ident.quote_style.is_some(), flavor)
}

struct Found {
    flavor: Flavor,
    columns: Vec<Column>,
    key: Option<String>,
}

impl Found {
    fn item(&mut self, item: &SelectItem, sources: &[Source<'_>]) {
        match item {
            SelectItem::UnnamedExpr(expression) => {
                let own = match expression {
                    Expr::Identifier(ident) => Some(ident),
                    Expr::CompoundIdentifier(parts) => parts.last(),
                    _ => None,
                };
                if let Some(own) = own {
                    self.expression(part(own, self.flavor), expression, sources);
                }
            }
            SelectItem::ExprWithAlias { expr, alias } => self.expression(part(alias, self.flavor), expr, sources),
            SelectItem::Wildcard(_) => sources.iter().for_each(|source| self.all(source)),
            SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(name), _) => {
                let name = name_of(name, self.flavor);
                let source = sources.iter().find(|source| source.alias.eq_ignore_ascii_case(name.last()));
                source.into_iter().for_each(|source| self.all(source));
            }
            _ => {}
        }
    }

    fn all(&mut self, source: &Source<'_>) {
        for column in &source.table.columns {
            self.add(Column { not_null: false, ..column.clone() });
        }
    }

    fn add(&mut self, column: Column) {
        let twice = self.columns.iter().any(|known| known.name.folded == column.name.folded);
        if !twice && self.columns.len() < COLUMNS_MAX {
            self.columns.push(column);
        }
    }

    fn expression(&mut self, name: Part, expression: &Expr, sources: &[Source<'_>]) {
        let found = origin(expression, sources);
        if let Some((0, column)) = found
            && sources.first().and_then(|source| source.table.key()) == Some(column.name.folded.as_str())
            && self.key.is_none()
        {
            self.key = Some(name.folded.clone());
        }
        self.add(match found {
            Some((_, column)) => Column { name, not_null: false, ..column.clone() },
            None => Column {
                name,
                kind: guessed(expression),
                comment: None,
                not_null: false,
                codes: Vec::new(),
                numbers: Vec::new(),
            },
        });
    }
}

/// The column that is shown as it is, and which of the tables it is of.
fn origin<'s>(expression: &Expr, sources: &'s [Source<'_>]) -> Option<(usize, &'s Column)> {
    let (of, name) = match expression {
        Expr::Identifier(ident) => (None, &ident.value),
        Expr::CompoundIdentifier(parts) => match parts.as_slice() {
            [.., of, name] => (Some(&of.value), &name.value),
            _ => return None,
        },
        _ => return None,
    };
    let fitting = sources.iter().enumerate();
    let mut fitting = fitting.filter(|(_, source)| of.is_none_or(|of| source.alias.eq_ignore_ascii_case(of)));
    fitting.find_map(|(at, source)| Some((at, source.table.column(name)?)))
}

fn guessed(expression: &Expr) -> Kind {
    match expression {
        Expr::Nested(inner) => guessed(inner),
        Expr::Cast { data_type, .. } => match data_type {
            DataType::Date => Kind::Date,
            DataType::Timestamp(..) | DataType::Datetime(_) => Kind::DateTime,
            DataType::Boolean | DataType::Bool => Kind::Boolean,
            DataType::Numeric(_) | DataType::Decimal(_) | DataType::Float(_) | DataType::DoublePrecision => {
                Kind::Decimal
            }
            DataType::BigInt(_) | DataType::Integer(_) | DataType::Int(_) => Kind::Whole,
            _ => Kind::Text,
        },
        Expr::Function(function) => {
            let name = function.name.0.last().and_then(|part| part.as_ident());
            match name.map(|name| name.value.to_ascii_lowercase()).as_deref() {
                Some("count") => Kind::Whole,
                Some("sum" | "avg") => Kind::Decimal,
                _ => Kind::Text,
            }
        }
        Expr::Value(value) => match &value.value {
            Value::Boolean(_) => Kind::Boolean,
            _ => Kind::Text,
        },
        _ => Kind::Text,
    }
}
