//! From text to a tree: the crate's parser behind limits, and its tree made small.
//!
//! The parser is recursive, so length and nesting are checked by a linear scan first, it runs on a thread with a
//! large stack, and its tree (which a chain of operators makes deep) is left there.

use cel::common::ast::{Expr, IdedExpr, LiteralValue, SourceInfo};

use super::{RuleFault, TEXT_MAX};

/// Open brackets (and `?`) inside one another at most.
pub(super) const NESTING_MAX: usize = 32;
/// Levels of the tree at most: a chain of `+` or `.` is as deep as it is long.
pub(super) const DEPTH_MAX: usize = 96;
const STACK_BYTES: usize = 64 << 20;

/// A part of the text, in characters.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct At {
    pub offset: usize,
    pub length: usize,
}

impl At {
    pub(super) fn fault(self, message: impl Into<String>, hint: impl Into<String>) -> RuleFault {
        RuleFault { offset: self.offset, length: self.length.max(1), message: message.into(), hint: hint.into() }
    }
}

#[derive(Debug)]
pub(super) struct Node {
    pub at: At,
    pub kind: Kind,
}

#[derive(Debug)]
pub(super) enum Kind {
    Null,
    Bool(bool),
    Int(i64),
    Text(String),
    Ident(String),
    Select(Box<Node>, String),
    /// Operators are calls by the names of [`cel::common::ast::operators`]; macros stay as they are written.
    Call(String, Option<Box<Node>>, Vec<Node>),
    List(Vec<Node>),
}

/// At most [`TEXT_MAX`] characters; never panics.
pub(super) fn parse(text: &str) -> Result<Node, RuleFault> {
    scan(text)?;
    let lost = || At::default().fault("the expression cannot be read", "write it more simply");
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("rule-compile".to_owned())
            .stack_size(STACK_BYTES)
            .spawn_scoped(scope, || parse_here(text))
            .map_err(|_| lost())?
            .join()
            .map_err(|_| lost())?
    })
}

fn scan(text: &str) -> Result<(), RuleFault> {
    if text.trim().is_empty() {
        return Err(At::default().fault("the expression is empty", "write a condition, such as `true`"));
    }
    let mut depth = 0_usize;
    let mut choices = 0_usize;
    let mut quote = None;
    let mut escaped = false;
    for (offset, c) in text.chars().enumerate() {
        let at = At { offset, length: 1 };
        if offset >= TEXT_MAX {
            return Err(
                at.fault(format!("the expression is longer than {TEXT_MAX} characters"), "split it into several rules")
            );
        }
        if let Some(open) = quote {
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                c if c == open => quote = None,
                _ => {}
            }
            continue;
        }
        match c {
            '\'' | '"' => quote = Some(c),
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth = depth.saturating_sub(1),
            '?' => choices += 1,
            '\u{0}'..='\u{8}' => return Err(at.fault("a control character", "delete it")),
            _ => {}
        }
        if depth + choices > NESTING_MAX {
            return Err(at.fault(
                format!("the expression is nested more than {NESTING_MAX} levels deep"),
                "split it into several rules",
            ));
        }
    }
    Ok(())
}

fn parse_here(text: &str) -> Result<Node, RuleFault> {
    // An environment without the standard library has no macros: `exists` and `has` stay plain calls.
    let parser = cel::Env::default().with_optional_support(false).parser();
    match parser.parse_with_source_info(text) {
        Ok((tree, info)) => node(tree, &info, 0),
        Err(errors) => Err(syntax_fault(text, &errors)),
    }
}

fn syntax_fault(text: &str, errors: &cel::ParseErrors) -> RuleFault {
    let Some(first) = errors.errors.first() else {
        return At::default().fault("the expression is not CEL", "");
    };
    let line = usize::try_from(first.pos.0).unwrap_or(0).saturating_sub(1);
    let column = usize::try_from(first.pos.1).unwrap_or(0).saturating_sub(1);
    let before: usize = text.split_inclusive('\n').take(line).map(|line| line.chars().count()).sum();
    let last = text.chars().count().saturating_sub(1);
    let message = first.msg.strip_prefix("Syntax error: ").unwrap_or(&first.msg);
    let message = message.split(" expecting ").next().unwrap_or(message);
    At { offset: (before + column).min(last), length: 1 }
        .fault(format!("this is not CEL: {message}"), "check brackets, quotes and operators (`&&`, `||`, `==`, `in`)")
}

fn node(tree: IdedExpr, info: &SourceInfo, depth: usize) -> Result<Node, RuleFault> {
    let at = info.offset_for(tree.id).map_or_else(At::default, |(start, stop)| in_chars(&info.source, start, stop));
    if depth > DEPTH_MAX {
        return Err(at.fault("the expression is a chain of too many parts", "split it into several rules"));
    }
    let list =
        |items: Vec<IdedExpr>| items.into_iter().map(|item| node(item, info, depth + 1)).collect::<Result<Vec<_>, _>>();
    let kind = match tree.expr {
        Expr::Ident(name) => Kind::Ident(name),
        Expr::Literal(value) => literal(value, at)?,
        Expr::Select(select) if !select.test => {
            Kind::Select(Box::new(node(*select.operand, info, depth + 1)?), select.field)
        }
        Expr::Call(call) => {
            let target = match call.target {
                Some(target) => Some(Box::new(node(*target, info, depth + 1)?)),
                None => None,
            };
            Kind::Call(call.func_name, target, list(call.args)?)
        }
        Expr::List(items) => Kind::List(list(items.elements)?),
        Expr::Map(_) | Expr::Struct(_) => {
            return Err(at.fault("maps and messages are not part of rules", "compare fields one by one"));
        }
        Expr::Select(_) | Expr::Comprehension(_) | Expr::Unspecified => {
            return Err(at.fault("this is not part of rules", "write it more simply"));
        }
    };
    Ok(Node { at, kind })
}

/// The parser counts bytes, and its end is the last byte.
fn in_chars(text: &str, start: u32, stop: u32) -> At {
    let before = |byte: usize| text.char_indices().take_while(|(index, _)| *index < byte).count();
    let offset = before(start as usize);
    At { offset, length: before(stop as usize + 1).saturating_sub(offset) }
}

fn literal(value: LiteralValue, at: At) -> Result<Kind, RuleFault> {
    Ok(match value {
        LiteralValue::Null => Kind::Null,
        LiteralValue::Boolean(value) => Kind::Bool(value.into_inner()),
        LiteralValue::Int(value) => Kind::Int(value.into_inner()),
        LiteralValue::String(value) => Kind::Text(value.inner().to_owned()),
        LiteralValue::Double(_) => {
            return Err(at.fault("floating-point numbers are not exact", "write `decimal('1.5')`"));
        }
        LiteralValue::UInt(_) => return Err(at.fault("unsigned numbers are not part of rules", "leave out the `u`")),
        LiteralValue::Bytes(_) => return Err(at.fault("bytes are not part of rules", "leave out the `b`")),
    })
}
