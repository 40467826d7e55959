//! The type check: names against the contract, operands against one another; out comes the tree to evaluate.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use cel::common::ast::operators as op;

use super::ir::{Arithmetic, Compare, Const, Expr, Leaf};
use super::parse::{At, Kind, Node};
use super::{ClaimType, FieldKind, FieldType, RuleFault, Scope, Threshold, Thresholds};
use crate::base::fault::did_you_mean;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    Null,
    Bool,
    Int,
    Decimal,
    Text,
    Date,
    Enum(String),
    Object(String),
    List(Box<Type>),
    /// A scalar that rules cannot look into; only `has` and `== null`.
    Opaque(String),
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Null => f.write_str("null"),
            Self::Bool => f.write_str("a Boolean"),
            Self::Int => f.write_str("an Int"),
            Self::Decimal => f.write_str("a Decimal"),
            Self::Text => f.write_str("a text"),
            Self::Date => f.write_str("a Date"),
            Self::Enum(name) | Self::Opaque(name) | Self::Object(name) => write!(f, "a value of `{name}`"),
            Self::List(element) => write!(f, "a list ({element} each)"),
        }
    }
}

impl Type {
    pub(super) fn of_field(field: &FieldType) -> Self {
        let one = match (field.kind, field.name.as_str()) {
            (FieldKind::Object, name) => Self::Object(name.to_owned()),
            (FieldKind::Enum, name) => Self::Enum(name.to_owned()),
            (FieldKind::Scalar, "Int") => Self::Int,
            (FieldKind::Scalar, "Boolean") => Self::Bool,
            (FieldKind::Scalar, "Decimal") => Self::Decimal,
            (FieldKind::Scalar, "Date" | "DateTime") => Self::Date,
            (FieldKind::Scalar, "String" | "ID" | "IdNumber") => Self::Text,
            (FieldKind::Scalar, name) => Self::Opaque(name.to_owned()),
        };
        if field.list { Self::List(Box::new(one)) } else { one }
    }

    pub(super) fn leaf(&self) -> Leaf {
        match self {
            Self::Bool => Leaf::Bool,
            Self::Int => Leaf::Int,
            Self::Decimal => Leaf::Decimal,
            Self::Text | Self::Enum(_) => Leaf::Text,
            Self::Date => Leaf::Date,
            Self::Null | Self::Object(_) | Self::List(_) | Self::Opaque(_) => Leaf::Json,
        }
    }
}

/// A checked part: what it evaluates, its type, and its path from the entity where it is a field.
pub(super) struct Typed {
    pub expr: Expr,
    pub ty: Type,
    pub path: Option<Vec<String>>,
}

impl Typed {
    pub(super) fn new(expr: Expr, ty: Type) -> Self {
        Self { expr, ty, path: None }
    }

    pub(super) fn boxed(self) -> Box<Expr> {
        Box::new(self.expr)
    }
}

pub(super) struct Local {
    pub name: String,
    pub ty: Type,
    pub path: Option<Vec<String>>,
}

pub(super) struct Checker<'a> {
    pub scope: &'a Scope<'a>,
    pub locals: Vec<Local>,
    pub inputs: BTreeSet<Vec<String>>,
    claims: BTreeSet<String>,
    pub thresholds: Thresholds,
}

pub(super) struct Checked {
    pub root: Expr,
    pub inputs: Vec<Vec<String>>,
    pub claims: Vec<String>,
    pub thresholds: Vec<Arc<Threshold>>,
}

pub(super) fn check(node: &Node, scope: &Scope<'_>) -> Result<Checked, RuleFault> {
    let mut checker = Checker::new(scope);
    let typed = checker.value(node)?;
    if typed.ty != Type::Bool {
        return Err(At::default().fault(
            format!("the expression is {}, and a condition is a Boolean", typed.ty),
            "compare it with something",
        ));
    }
    Ok(checker.checked(typed))
}

/// As [`check`], for an expression that makes a value of a field.
pub(super) fn check_value(node: &Node, field: &FieldType, scope: &Scope<'_>) -> Result<Checked, RuleFault> {
    let wanted = Type::of_field(field);
    let mut checker = Checker::new(scope);
    let typed = checker.value(node)?;
    let fits = match &wanted {
        Type::Bool | Type::Int | Type::Decimal | Type::Text => typed.ty == wanted,
        Type::Enum(name) => typed.ty == wanted || checker.are_values_of(name, node)?,
        _ => {
            let hint = "derive a Boolean, an Int, a Decimal, a String or an enumeration";
            return Err(At::default().fault(format!("the field is {wanted}, which cannot be derived"), hint));
        }
    };
    if !fits {
        return Err(At::default()
            .fault(format!("the expression is {}, and the field is {wanted}", typed.ty), literal_hint(node, &wanted)));
    }
    Ok(checker.checked(typed))
}

/// Paths that are read, each in its longest form: what leads to another is none of its own.
pub(super) fn longest(paths: &BTreeSet<Vec<String>>) -> Vec<Vec<String>> {
    // In sorted order whatever has a path as its prefix follows it.
    let next = paths.iter().skip(1).map(Some).chain(std::iter::once(None));
    let alone = paths.iter().zip(next).filter(|(path, next)| next.is_none_or(|next| !next.starts_with(path)));
    alone.map(|(path, _)| path.clone()).collect()
}

impl<'a> Checker<'a> {
    fn new(scope: &'a Scope<'a>) -> Self {
        let (inputs, claims) = (BTreeSet::new(), BTreeSet::new());
        Self { scope, locals: Vec::new(), inputs, claims, thresholds: Thresholds::new() }
    }

    fn checked(self, typed: Typed) -> Checked {
        let inputs = longest(&self.inputs);
        let thresholds = self.thresholds.into_values().collect();
        Checked { root: typed.expr, inputs, claims: self.claims.into_iter().collect(), thresholds }
    }

    /// Whether a node is a literal value of an enumeration, null, or a choice between such.
    fn are_values_of(&self, name: &str, node: &Node) -> Result<bool, RuleFault> {
        match &node.kind {
            Kind::Text(_) => self.enum_literal(name, node),
            Kind::Null => Ok(true),
            Kind::Call(call, None, arguments) if call == op::CONDITIONAL => match arguments.as_slice() {
                [_, then, otherwise] => Ok(self.are_values_of(name, then)? && self.are_values_of(name, otherwise)?),
                _ => Ok(false),
            },
            _ => Ok(false),
        }
    }
}

fn misfit(node: &Node, is: &Type, needed: &Type) -> RuleFault {
    node.at.fault(format!("this is {is}, and {needed} is needed"), literal_hint(node, needed))
}

impl Checker<'_> {
    /// A part whose value is used: its path is an input.
    pub(super) fn value(&mut self, node: &Node) -> Result<Typed, RuleFault> {
        let typed = self.part(node)?;
        self.read(&typed);
        Ok(typed)
    }

    fn read(&mut self, typed: &Typed) {
        if let Some(path) = typed.path.as_ref().filter(|path| !path.is_empty()) {
            self.inputs.insert(path.clone());
        }
    }

    /// A part that may be looked into further.
    pub(super) fn part(&mut self, node: &Node) -> Result<Typed, RuleFault> {
        Ok(match &node.kind {
            Kind::Null => Typed::new(Expr::Const(Const::Null), Type::Null),
            Kind::Bool(value) => Typed::new(Expr::Const(Const::Bool(*value)), Type::Bool),
            Kind::Int(value) => Typed::new(Expr::Const(Const::Int(*value)), Type::Int),
            Kind::Text(value) => Typed::new(Expr::Const(Const::Text(value.as_str().into())), Type::Text),
            Kind::Ident(name) => self.ident(name, node.at)?,
            Kind::Select(operand, field) => self.select(operand, field, node.at)?,
            Kind::List(items) => self.list(items)?,
            Kind::Call(name, target, args) => self.call(name, target.as_deref(), args, node.at)?,
        })
    }

    fn ident(&mut self, name: &str, at: At) -> Result<Typed, RuleFault> {
        if let Some((index, local)) = self.locals.iter().enumerate().rfind(|(_, local)| local.name == name) {
            return Ok(Typed { expr: Expr::Local(index), ty: local.ty.clone(), path: local.path.clone() });
        }
        if name == self.scope.entity_variable {
            let ty = Type::Object(self.scope.entity_type.to_owned());
            return Ok(Typed { expr: Expr::Entity, ty, path: Some(Vec::new()) });
        }
        if name == "today" {
            return Ok(Typed::new(Expr::Today, Type::Date));
        }
        if name == "principal" {
            return Err(at.fault("`principal` is not a value by itself", "name one of its claims, as `principal.id`"));
        }
        let locals = self.locals.iter().map(|local| local.name.as_str());
        let known = [self.scope.entity_variable, "principal", "today"].into_iter().chain(locals);
        let hint = did_you_mean(
            name,
            known,
            &format!("a rule knows `{}`, `principal` and `today`", self.scope.entity_variable),
        );
        Err(at.fault(format!("there is nothing named `{name}` here"), hint))
    }

    fn select(&mut self, operand: &Node, field: &str, at: At) -> Result<Typed, RuleFault> {
        if matches!(&operand.kind, Kind::Ident(name) if name == "principal") {
            return self.claim(field, at);
        }
        let object = self.part(operand)?;
        let at = after_dot(at, field);
        let type_name = match &object.ty {
            Type::Object(name) => name.clone(),
            Type::List(_) => {
                return Err(at.fault(
                    format!("`{field}` is asked of a list"),
                    "ask its elements: `list.exists(x, x.field == …)`",
                ));
            }
            other => return Err(at.fault(format!("`{field}` is asked of {other}, which has no fields"), "")),
        };
        let Some(found) = self.scope.fields.field(&type_name, field) else {
            let names = self.scope.fields.fields(&type_name);
            let hint = did_you_mean(field, names.iter().map(String::as_str), "see the contract in schema/");
            return Err(at.fault(format!("`{type_name}` has no field `{field}`"), hint));
        };
        let ty = Type::of_field(&found);
        let path = object.path.clone().map(|mut path| {
            path.push(field.to_owned());
            path
        });
        let leaf = ty.leaf();
        Ok(Typed { expr: Expr::Select(object.boxed(), field.into(), leaf), ty, path })
    }

    fn claim(&mut self, name: &str, at: At) -> Result<Typed, RuleFault> {
        let at = after_dot(at, name);
        let Some(claim) = self.scope.principal.get(name) else {
            let known = self.scope.principal.keys().map(String::as_str);
            let hint = did_you_mean(name, known, "claims are declared in config/gateway.yaml");
            return Err(at.fault(format!("the principal has no claim `{name}`"), hint));
        };
        let ty = match claim {
            ClaimType::String => Type::Text,
            ClaimType::StringList => Type::List(Box::new(Type::Text)),
            ClaimType::Int => Type::Int,
            ClaimType::Bool => Type::Bool,
        };
        self.claims.insert(name.to_owned());
        Ok(Typed::new(Expr::Claim(name.into(), ty.leaf()), ty))
    }

    fn list(&mut self, items: &[Node]) -> Result<Typed, RuleFault> {
        let mut element = Type::Null;
        let mut checked = Vec::with_capacity(items.len());
        for item in items {
            let typed = self.value(item)?;
            if matches!(typed.ty, Type::Null | Type::List(_) | Type::Object(_) | Type::Opaque(_)) {
                return Err(item.at.fault(format!("a list cannot hold {}", typed.ty), "list plain values"));
            }
            if element == Type::Null {
                element = typed.ty.clone();
            } else if element != typed.ty {
                return Err(item.at.fault(
                    format!("the list holds {element}, and this is {}", typed.ty),
                    "make all elements of one type",
                ));
            }
            checked.push(typed.expr);
        }
        Ok(Typed::new(Expr::List(checked), Type::List(Box::new(element))))
    }

    fn call(&mut self, name: &str, target: Option<&Node>, args: &[Node], at: At) -> Result<Typed, RuleFault> {
        match (name, target, args) {
            (op::LOGICAL_NOT, None, [one]) => Ok(Typed::new(Expr::Not(self.of(one, &Type::Bool)?.boxed()), Type::Bool)),
            (op::LOGICAL_AND, None, [l, r]) => {
                let (l, r) = (self.of(l, &Type::Bool)?, self.of(r, &Type::Bool)?);
                Ok(Typed::new(Expr::And(l.boxed(), r.boxed()), Type::Bool))
            }
            (op::LOGICAL_OR, None, [l, r]) => {
                let (l, r) = (self.of(l, &Type::Bool)?, self.of(r, &Type::Bool)?);
                Ok(Typed::new(Expr::Or(l.boxed(), r.boxed()), Type::Bool))
            }
            (op::CONDITIONAL, None, [condition, l, r]) => {
                let condition = self.of(condition, &Type::Bool)?;
                let then = self.value(l)?;
                let otherwise = self.value(r)?;
                // Null is of every type.
                let ty = if then.ty == Type::Null { otherwise.ty.clone() } else { then.ty.clone() };
                if otherwise.ty != ty && otherwise.ty != Type::Null {
                    return Err(misfit(r, &otherwise.ty, &ty));
                }
                Ok(Typed::new(Expr::If(condition.boxed(), then.boxed(), otherwise.boxed()), ty))
            }
            (op::EQUALS, None, [l, r]) => self.compare(Compare::Eq, l, r, at),
            (op::NOT_EQUALS, None, [l, r]) => self.compare(Compare::Ne, l, r, at),
            (op::LESS, None, [l, r]) => self.compare(Compare::Lt, l, r, at),
            (op::LESS_EQUALS, None, [l, r]) => self.compare(Compare::Le, l, r, at),
            (op::GREATER, None, [l, r]) => self.compare(Compare::Gt, l, r, at),
            (op::GREATER_EQUALS, None, [l, r]) => self.compare(Compare::Ge, l, r, at),
            (op::ADD, None, [l, r]) => self.arithmetic(Arithmetic::Add, l, r, at),
            (op::SUBSTRACT, None, [l, r]) => self.arithmetic(Arithmetic::Subtract, l, r, at),
            (op::MULTIPLY, None, [l, r]) => self.arithmetic(Arithmetic::Multiply, l, r, at),
            (op::NEGATE, None, [one]) => {
                let typed = self.value(one)?;
                if !matches!(typed.ty, Type::Int | Type::Decimal) {
                    return Err(at.fault(format!("`-` is put before {}", typed.ty), "it takes an Int or a Decimal"));
                }
                let ty = typed.ty.clone();
                Ok(Typed::new(Expr::Negate(typed.boxed()), ty))
            }
            (op::IN, None, [needle, list]) => self.within(needle, list),
            (op::DIVIDE | op::MODULO, None, _) => {
                Err(at.fault("division is not part of rules: it is not exact", "multiply the other side instead"))
            }
            (op::INDEX, None, _) => {
                Err(at.fault("lists have no order that a rule may rely on", "use `exists`, `all` or `exists_one`"))
            }
            _ => self.function(name, target, args, at),
        }
    }

    pub(super) fn of(&mut self, node: &Node, ty: &Type) -> Result<Typed, RuleFault> {
        let typed = self.value(node)?;
        if typed.ty == *ty {
            return Ok(typed);
        }
        Err(misfit(node, &typed.ty, ty))
    }

    fn compare(&mut self, compare: Compare, l: &Node, r: &Node, at: At) -> Result<Typed, RuleFault> {
        let (left, right) = (self.value(l)?, self.value(r)?);
        let equality = matches!(compare, Compare::Eq | Compare::Ne);
        let ok = match (&left.ty, &right.ty) {
            (Type::Null, other) | (other, Type::Null) => {
                if !equality {
                    return Err(at.fault("null has no order", "compare it with `==` or `!=`"));
                }
                let tested = if *other == right.ty { right } else { left };
                let is_null = Expr::IsNull(tested.boxed());
                let expr = if compare == Compare::Eq { is_null } else { Expr::Not(Box::new(is_null)) };
                return Ok(Typed::new(expr, Type::Bool));
            }
            (Type::Enum(name), Type::Text) => equality && self.enum_literal(name, r)?,
            (Type::Text, Type::Enum(name)) => equality && self.enum_literal(name, l)?,
            (Type::Bool, Type::Bool) => equality,
            (Type::Enum(a), Type::Enum(b)) => equality && a == b,
            (Type::List(_) | Type::Object(_) | Type::Opaque(_), _) => false,
            (a, b) => a == b,
        };
        if ok {
            return Ok(Typed::new(Expr::Compare(compare, left.boxed(), right.boxed()), Type::Bool));
        }
        let hint = match (literal_hint(r, &left.ty), literal_hint(l, &right.ty)) {
            (hint, _) if !hint.is_empty() => hint,
            (_, hint) => hint,
        };
        Err(at.fault(format!("{} cannot be compared with {} in this way", left.ty, right.ty), hint))
    }

    /// Whether the node is a literal that the enumeration has.
    fn enum_literal(&self, name: &str, node: &Node) -> Result<bool, RuleFault> {
        let Kind::Text(value) = &node.kind else {
            return Ok(false);
        };
        let values = self.scope.fields.enum_values(name).unwrap_or_default();
        if values.contains(value) {
            return Ok(true);
        }
        let hint =
            did_you_mean(value, values.iter().map(String::as_str), &format!("its values are {}", values.join(", ")));
        Err(node.at.fault(format!("`{name}` has no value `{value}`"), hint))
    }

    fn arithmetic(&mut self, operator: Arithmetic, l: &Node, r: &Node, at: At) -> Result<Typed, RuleFault> {
        let left = self.value(l)?;
        if !matches!(left.ty, Type::Int | Type::Decimal) {
            return Err(at.fault(format!("{} is not a number", left.ty), "reckon with Ints or Decimals"));
        }
        let right = self.of(r, &left.ty)?;
        let ty = left.ty.clone();
        Ok(Typed::new(Expr::Arithmetic(operator, left.boxed(), right.boxed()), ty))
    }

    fn within(&mut self, needle: &Node, list: &Node) -> Result<Typed, RuleFault> {
        let value = self.value(needle)?;
        let elements = self.value(list)?;
        let Type::List(element) = &elements.ty else {
            return Err(list.at.fault(format!("`in` looks into a list, and this is {}", elements.ty), ""));
        };
        match (&value.ty, element.as_ref()) {
            (_, Type::Null) => {}
            (Type::Enum(name), Type::Text) => {
                let Kind::List(items) = &list.kind else {
                    return Err(list.at.fault(format!("these texts are not values of `{name}`"), ""));
                };
                for item in items {
                    if !self.enum_literal(name, item)? {
                        return Err(item.at.fault(format!("this is not a value of `{name}`"), "write its name"));
                    }
                }
            }
            (Type::Text, Type::Enum(name)) => {
                if !self.enum_literal(name, needle)? {
                    return Err(needle.at.fault(format!("this is not a value of `{name}`"), "write its name"));
                }
            }
            (Type::Object(_) | Type::Opaque(_) | Type::List(_) | Type::Null, _) => {
                return Err(needle.at.fault(format!("{} cannot be looked for in a list", value.ty), "use `exists`"));
            }
            (a, b) if a == b => {}
            (a, b) => {
                return Err(needle.at.fault(format!("this is {a}, and the list holds {b} each"), ""));
            }
        }
        let leaf = element.leaf();
        Ok(Typed::new(Expr::In(value.boxed(), elements.boxed(), leaf), Type::Bool))
    }
}

/// The place of a selected name: the parser gives the dot.
fn after_dot(at: At, field: &str) -> At {
    At { offset: at.offset + usize::from(at.length == 1), length: field.chars().count() }
}

/// How a literal of the wrong type should have been written.
fn literal_hint(node: &Node, wanted: &Type) -> String {
    match (&node.kind, wanted) {
        (Kind::Int(value), Type::Decimal) => format!("write `decimal('{value}')`"),
        (Kind::Text(value), Type::Decimal) => format!("write `decimal('{value}')`"),
        (Kind::Text(value), Type::Date) => format!("write `date('{value}')`"),
        (Kind::Text(value), Type::Int) => format!("write `{value}` without quotes"),
        (Kind::Int(value), Type::Text) => format!("write `'{value}'`"),
        (_, Type::Decimal) => "both sides must be Decimals: an Int is made one by `decimal(…)`".to_owned(),
        _ => String::new(),
    }
}
