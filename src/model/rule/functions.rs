//! The functions that rules have, and how their arguments are checked.

use std::sync::Arc;

use super::RuleFault;
use super::check::{Checker, Local, Type, Typed};
use super::date::Span;
use super::ir::{Between, Const, Expr, Quantifier, TextTest};
use super::parse::{At, Kind, Node};
use crate::base::decimal;
use crate::base::fault::did_you_mean;

const KNOWN: [&str; 13] = [
    "size",
    "startsWith",
    "endsWith",
    "contains",
    "exists",
    "all",
    "exists_one",
    "has",
    "decimal",
    "date",
    "daysBetween",
    "yearsBetween",
    "threshold",
];

impl Checker<'_> {
    pub(super) fn function(
        &mut self,
        name: &str,
        target: Option<&Node>,
        args: &[Node],
        at: At,
    ) -> Result<Typed, RuleFault> {
        match (name, target, args) {
            ("has", None, [field]) => self.has(field),
            ("size", None, [of]) | ("size", Some(of), []) => self.size(of),
            ("decimal", None, [of]) => self.decimal(of),
            ("date", None, [of]) => date(of),
            ("daysBetween", None, [from, to]) => self.between(Between::Days, from, to),
            ("yearsBetween", None, [from, to]) => self.between(Between::Years, from, to),
            ("threshold", None, [name]) => self.threshold(name),
            ("startsWith", Some(text), [part]) => self.text_test(TextTest::StartsWith, text, part),
            ("endsWith", Some(text), [part]) => self.text_test(TextTest::EndsWith, text, part),
            ("contains", Some(text), [part]) => self.text_test(TextTest::Contains, text, part),
            ("exists", Some(list), [variable, body]) => self.quantify(Quantifier::Exists, list, variable, body),
            ("all", Some(list), [variable, body]) => self.quantify(Quantifier::All, list, variable, body),
            ("exists_one", Some(list), [variable, body]) => self.quantify(Quantifier::ExistsOne, list, variable, body),
            _ if KNOWN.contains(&name) => {
                Err(at.fault(format!("`{name}` is not called in this way"), format!("write {}", usage(name))))
            }
            _ => {
                let hint = did_you_mean(name, KNOWN, &format!("rules have {}", KNOWN.join(", ")));
                Err(at.fault(format!("there is no function `{name}`"), hint))
            }
        }
    }

    fn has(&mut self, field: &Node) -> Result<Typed, RuleFault> {
        if !matches!(field.kind, Kind::Select(..)) {
            return Err(field.at.fault("`has` takes a field", "write `has(entity.section.field)`"));
        }
        let typed = self.value(field)?;
        Ok(Typed::new(Expr::Not(Box::new(Expr::IsNull(typed.boxed()))), Type::Bool))
    }

    fn size(&mut self, of: &Node) -> Result<Typed, RuleFault> {
        let typed = self.value(of)?;
        if !matches!(typed.ty, Type::Text | Type::List(_)) {
            return Err(of.at.fault(format!("{} has no size", typed.ty), "texts and lists have one"));
        }
        Ok(Typed::new(Expr::Size(typed.boxed()), Type::Int))
    }

    fn decimal(&mut self, of: &Node) -> Result<Typed, RuleFault> {
        if let Kind::Text(text) = &of.kind {
            return match decimal::exact(text) {
                Some(value) => Ok(Typed::new(Expr::Const(Const::Decimal(value)), Type::Decimal)),
                None => Err(of.at.fault("this is not a decimal number", "write it as `decimal('1234.50')`")),
            };
        }
        let typed = self.of(of, &Type::Int)?;
        Ok(Typed::new(Expr::ToDecimal(typed.boxed()), Type::Decimal))
    }

    fn threshold(&mut self, name: &Node) -> Result<Typed, RuleFault> {
        let Kind::Text(text) = &name.kind else {
            return Err(name.at.fault("`threshold` takes a name as a text", "as in `threshold('low-income')`"));
        };
        let Some(thresholds) = self.scope.thresholds else {
            return Err(name
                .at
                .fault("this expression knows no thresholds", "rules of derived fields compare with them"));
        };
        let Some(threshold) = thresholds.get(text) else {
            let known = thresholds.keys().map(String::as_str);
            let hint = did_you_mean(text, known, "declare it under `thresholds` in config/rules/");
            return Err(name.at.fault(format!("there is no threshold `{text}`"), hint));
        };
        self.thresholds.insert(text.clone(), Arc::clone(threshold));
        Ok(Typed::new(Expr::Threshold(Arc::clone(threshold)), Type::Decimal))
    }

    fn between(&mut self, between: Between, from: &Node, to: &Node) -> Result<Typed, RuleFault> {
        let (from, to) = (self.of(from, &Type::Date)?, self.of(to, &Type::Date)?);
        Ok(Typed::new(Expr::Between(between, from.boxed(), to.boxed()), Type::Int))
    }

    fn text_test(&mut self, test: TextTest, text: &Node, part: &Node) -> Result<Typed, RuleFault> {
        let (text, part) = (self.of(text, &Type::Text)?, self.of(part, &Type::Text)?);
        Ok(Typed::new(Expr::TextTest(test, text.boxed(), part.boxed()), Type::Bool))
    }

    fn quantify(
        &mut self,
        quantifier: Quantifier,
        list: &Node,
        variable: &Node,
        body: &Node,
    ) -> Result<Typed, RuleFault> {
        let Kind::Ident(name) = &variable.kind else {
            return Err(variable.at.fault("the first argument names an element", "as in `list.exists(x, x > 1)`"));
        };
        if name == self.scope.entity_variable || name == "principal" || name == "today" {
            return Err(variable.at.fault(format!("`{name}` has a meaning already"), "choose another name"));
        }
        let over = self.part(list)?;
        let Type::List(element) = &over.ty else {
            return Err(list.at.fault(format!("this is {}, not a list", over.ty), ""));
        };
        let element = element.as_ref().clone();
        let path = over.path.clone();
        self.locals.push(Local { name: name.clone(), ty: element.clone(), path: path.clone() });
        let checked = self.of(body, &Type::Bool);
        self.locals.pop();
        let checked = checked?;
        if let Some(path) = path
            && !self.inputs.iter().any(|input| input.starts_with(&path))
        {
            self.inputs.insert(path);
        }
        let expr = Expr::Quantify(quantifier, over.boxed(), element.leaf(), checked.boxed());
        Ok(Typed::new(expr, Type::Bool))
    }
}

fn date(of: &Node) -> Result<Typed, RuleFault> {
    let Kind::Text(text) = &of.kind else {
        return Err(of.at.fault("`date` takes a text", "write `date('2024-01-31')`; a Date field needs no `date`"));
    };
    match Span::parse(text).filter(|span| span.whole().is_some()) {
        Some(span) => Ok(Typed::new(Expr::Const(Const::Date(span)), Type::Date)),
        None => Err(of.at.fault(format!("`{text}` is not a date"), "write it as `date('2024-01-31')`")),
    }
}

fn usage(name: &str) -> &'static str {
    match name {
        "size" => "`size(list)` or `size(text)`",
        "has" => "`has(entity.section.field)`",
        "decimal" => "`decimal('1234.50')` or `decimal(anInt)`",
        "date" => "`date('2024-01-31')`",
        "daysBetween" => "`daysBetween(earlier, later)`",
        "yearsBetween" => "`yearsBetween(earlier, later)`",
        "threshold" => "`threshold('name')`, of those under `thresholds` in config/rules/",
        "exists" => "`list.exists(x, condition)`",
        "all" => "`list.all(x, condition)`",
        "exists_one" => "`list.exists_one(x, condition)`",
        "startsWith" => "`text.startsWith('part')`",
        "endsWith" => "`text.endsWith('part')`",
        _ => "`text.contains('part')`; in lists `element in list`",
    }
}
