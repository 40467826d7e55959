//! Statements that define → tables and views. Only as much of a statement is read as a binding needs: an option that
//! nobody knows costs nothing, and what cannot be read is told with its line.

use std::collections::HashMap;
use std::sync::Arc;

use sqlparser::dialect::Dialect;
use sqlparser::tokenizer::{Token, TokenWithSpan, Tokenizer};

use super::check;
use super::kind::{self, Kind};
use super::split::Statement;
use super::tokens::{Cursor, Name, Part, text, word};
use super::view;
use super::{Column, Flavor, Foreign, Table};
use crate::base::fault::{Faults, Place, SourceText};

/// What is told of one file at most.
const TOLD_MAX: usize = 50;
const TABLES_MAX: usize = 10_000;
const COLUMNS_MAX: usize = 2_000;

pub struct Reading<'a> {
    pub file: &'a Arc<SourceText>,
    pub flavor: Flavor,
    pub dialect: &'a dyn Dialect,
    pub warnings: &'a mut Faults,
    pub tables: Vec<Table>,
    by_name: HashMap<String, usize>,
    /// Types that the file defines: enumerations, and other names for types.
    types: HashMap<String, Kind>,
    told: usize,
    pass: Pass,
    /// Where what has no schema of its own is created, if that is not where names are looked for anyhow.
    schema: Option<Part>,
}

/// Views are read when all keys are known, which dumps tell at their end; comments when there is what they are on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pass {
    Tables,
    Views,
    Comments,
}

impl<'a> Reading<'a> {
    pub fn new(file: &'a Arc<SourceText>, flavor: Flavor, dialect: &'a dyn Dialect, warnings: &'a mut Faults) -> Self {
        Self {
            file,
            flavor,
            dialect,
            warnings,
            tables: Vec::new(),
            by_name: HashMap::new(),
            types: HashMap::new(),
            told: 0,
            pass: Pass::Tables,
            schema: None,
        }
    }

    pub fn tell(&mut self, line: usize, message: String) {
        self.told += 1;
        if self.told > TOLD_MAX {
            return;
        }
        let (place, message, hint) = match self.told {
            TOLD_MAX => (Place::default(), "more statements are left out".to_owned(), "correct those that are told"),
            _ => {
                (Place { line, column: 1, length: 1 }, message, "it is left out of the draft: write that part by hand")
            }
        };
        self.warnings.add(self.file, place, message, hint);
    }

    pub fn read(&mut self, statements: &[Statement]) {
        for pass in [Pass::Tables, Pass::Views, Pass::Comments] {
            (self.pass, self.schema) = (pass, None);
            statements.iter().for_each(|statement| self.statement(statement));
        }
    }

    fn statement(&mut self, statement: &Statement) {
        let head: Vec<String> = statement.text.split_whitespace().take(3).map(str::to_ascii_uppercase).collect();
        let head: Vec<&str> = head.iter().map(String::as_str).collect();
        let first = self.pass == Pass::Tables;
        let matters = match head.as_slice() {
            ["CREATE", rest @ ..] => {
                self.pass != Pass::Comments
                    && !rest.iter().any(|word| matches!(*word, "FUNCTION" | "PROCEDURE" | "TRIGGER" | "EXTENSION"))
            }
            ["ALTER", "TABLE", ..] => first,
            ["SET", "SEARCH_PATH" | "LOCAL" | "SESSION", ..] => true,
            ["COMMENT", "ON", ..] => self.pass == Pass::Comments,
            _ => false,
        };
        if !matters {
            return;
        }
        if statement.is_cut {
            if first {
                self.tell(statement.line, "the statement is too long".to_owned());
            }
            return;
        }
        let tokens = match Tokenizer::new(self.dialect, &statement.text).tokenize_with_location() {
            Ok(tokens) => tokens,
            Err(error) => {
                let line = statement.line + usize::try_from(error.location.line).unwrap_or(1).saturating_sub(1);
                if self.pass != Pass::Views {
                    self.tell(line, format!("the statement cannot be read: {}", error.message));
                }
                return;
            }
        };
        let tokens: Vec<TokenWithSpan> =
            tokens.into_iter().filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF)).collect();
        let mut cursor = Cursor::new(&tokens, self.flavor);
        match head.first() {
            Some(&"CREATE") => self.create(&mut cursor, statement.line),
            Some(&"ALTER") => self.alter(&mut cursor, statement.line),
            Some(&"SET") => self.set(&mut cursor),
            _ => self.comment(&mut cursor),
        }
    }

    fn create(&mut self, cursor: &mut Cursor, line: usize) {
        // What may stand before what is created: OR REPLACE, TEMPORARY, ALGORITHM=…, DEFINER=….
        for _ in 0..40 {
            match cursor.word().as_deref() {
                Some("VIEW") if self.pass == Pass::Views => return self.create_view(cursor, line),
                Some("TABLE") if self.pass == Pass::Tables => return self.create_table(cursor, line),
                Some("TYPE" | "DOMAIN") if self.pass == Pass::Tables => return self.create_type(cursor),
                Some("UNIQUE") if self.pass == Pass::Tables => return self.create_unique_index(cursor),
                Some("TABLE" | "VIEW" | "TYPE" | "DOMAIN" | "UNIQUE") => return,
                Some("TEMP" | "TEMPORARY") => return,
                Some(
                    "INDEX" | "SEQUENCE" | "FUNCTION" | "PROCEDURE" | "TRIGGER" | "SCHEMA" | "DATABASE" | "ROLE"
                    | "EVENT" | "RULE" | "POLICY" | "EXTENSION" | "VIRTUAL",
                ) => return,
                _ if cursor.is_at_end() => return,
                _ => {}
            }
        }
    }

    fn create_table(&mut self, cursor: &mut Cursor, line: usize) {
        cursor.skip_words(&["IF", "NOT", "EXISTS"]);
        let Some(name) = cursor.name() else {
            return self.tell(line, "the table's name cannot be read".to_owned());
        };
        if cursor.is_word("PARTITION") {
            return;
        }
        let Some(inside) = cursor.group() else {
            return self.tell(line, format!("table {}: its columns are not said", name.shown()));
        };
        let mut table = Table::new(self.placed(name), line, false);
        for element in inside.elements() {
            self.element(&mut table, element, line);
        }
        // MySQL: `) ENGINE=InnoDB COMMENT='…'`.
        while let Some(token) = cursor.next() {
            if self.flavor == Flavor::Mysql && word(token).as_deref() == Some("COMMENT") {
                cursor.skip(&Token::Eq);
                table.comment = cursor.peek().and_then(text);
            }
        }
        if table.columns.is_empty() {
            return self.tell(line, format!("table {}: it has no columns that can be read", table.name.shown()));
        }
        self.keep(table);
    }

    fn keep(&mut self, table: Table) {
        let key = table.name.whole();
        // A view stands twice in dumps of MySQL, first with the names of its columns alone.
        if let Some(known) = self.by_name.get(&key).copied().and_then(|at| self.tables.get_mut(at)) {
            *known = table;
        } else if self.tables.len() < TABLES_MAX {
            self.by_name.insert(key, self.tables.len());
            self.tables.push(table);
        } else {
            self.tell(table.line, "the file has too many tables".to_owned());
        }
    }

    /// The table of this name; without its schema, where only one has it.
    pub fn find(&self, name: &Name) -> Option<usize> {
        find(&self.tables, &self.by_name, name)
    }

    fn table(&mut self, name: &Name) -> Option<&mut Table> {
        let at = self.find(name)?;
        self.tables.get_mut(at)
    }

    /// `SET search_path TO x, public`: what is created from here on stands in `x`.
    fn set(&mut self, cursor: &mut Cursor) {
        cursor.skip_words(&["SET", "LOCAL", "SESSION"]);
        if !cursor.is_word("SEARCH_PATH") {
            return;
        }
        cursor.next();
        cursor.skip_words(&["TO"]);
        cursor.skip(&Token::Eq);
        self.schema = cursor.single_name().filter(|schema| schema.folded != "public" && !schema.folded.is_empty());
    }

    /// With the schema that it is created in, where that is said.
    fn placed(&self, mut name: Name) -> Name {
        if let (1, Some(schema)) = (name.0.len(), &self.schema) {
            name.0.insert(0, schema.clone());
        }
        name
    }

    /// A column, or a constraint.
    fn element(&mut self, table: &mut Table, mut element: Cursor<'_>, line: usize) {
        if element.is_at_end() {
            return;
        }
        if element.is_constraint() {
            self.constraint(table, element);
            return;
        }
        let at = line + element.line().saturating_sub(1);
        let Some(name) = element.single_name() else {
            return self.tell(at, format!("table {}: a column's name cannot be read", table.name.shown()));
        };
        if table.columns.len() >= COLUMNS_MAX {
            return;
        }
        let of = element.until_option();
        let kind = kind::kind(&of, self.flavor);
        let kind = self.resolved(kind);
        let mut column = Column { name, kind, comment: None, not_null: false, codes: Vec::new(), numbers: Vec::new() };
        while let Some(token) = element.next() {
            match word(token).as_deref() {
                Some("NOT") if element.is_word("NULL") => column.not_null = true,
                Some("PRIMARY") if element.is_word("KEY") => table.primary = vec![column.name.folded.clone()],
                Some("UNIQUE") => table.unique.push(vec![column.name.folded.clone()]),
                Some("REFERENCES") => {
                    if let Some(to) = element.name() {
                        let referred = element.group().map(|group| group.names()).unwrap_or_default();
                        table.foreign.push(Foreign { columns: vec![column.name.folded.clone()], to, referred });
                    }
                }
                Some("COMMENT") => column.comment = element.peek().and_then(text),
                Some("CHECK") => {
                    if let Some(group) = element.group() {
                        check::apply(&group, self.dialect, std::slice::from_mut(&mut column));
                    }
                }
                _ if *token == Token::LParen => element.skip_group(),
                _ => {}
            }
        }
        table.columns.push(column);
    }

    fn resolved(&self, kind: Kind) -> Kind {
        match &kind {
            Kind::Named(name) => self.types.get(name).cloned().unwrap_or(kind),
            _ => kind,
        }
    }

    fn constraint(&mut self, table: &mut Table, mut element: Cursor<'_>) {
        if element.is_word("CONSTRAINT") {
            element.next();
            if !element.is_constraint() {
                element.single_name();
            }
        }
        while let Some(token) = element.next() {
            match word(token).as_deref() {
                Some("PRIMARY") => {
                    table.primary = element.next_group().map(|group| group.names()).unwrap_or_default();
                    return;
                }
                Some("UNIQUE") => {
                    table.unique.extend(element.next_group().map(|group| group.names()));
                    return;
                }
                Some("FOREIGN") => {
                    let columns = element.next_group().map(|group| group.names()).unwrap_or_default();
                    while element.peek().is_some() && !element.is_word("REFERENCES") {
                        element.next();
                    }
                    element.next();
                    if let Some(to) = element.name() {
                        let referred = element.group().map(|group| group.names()).unwrap_or_default();
                        table.foreign.push(Foreign { columns, to, referred });
                    }
                    return;
                }
                Some("CHECK") => {
                    if let Some(group) = element.group() {
                        check::apply(&group, self.dialect, &mut table.columns);
                    }
                    return;
                }
                _ => {}
            }
        }
    }

    fn create_view(&mut self, cursor: &mut Cursor, line: usize) {
        cursor.skip_words(&["IF", "NOT", "EXISTS"]);
        let Some(name) = cursor.name() else {
            return self.tell(line, "the view's name cannot be read".to_owned());
        };
        let names = cursor.group().map(|group| group.shown_names()).unwrap_or_default();
        while cursor.peek().is_some() && !cursor.is_word("AS") {
            cursor.next();
        }
        cursor.next();
        let mut table = Table::new(self.placed(name), line, true);
        match view::columns(
            cursor.rest(),
            self.dialect,
            &|name| self.find(name).and_then(|at| self.tables.get(at)),
            self.flavor,
        ) {
            Ok(found) => (table.columns, table.key_guess) = found,
            Err(why) => {
                return self.tell(line, format!("view {}: its columns cannot be told: {why}", table.name.shown()));
            }
        }
        for (column, given) in table.columns.iter_mut().zip(names) {
            if table.key_guess.as_ref() == Some(&column.name.folded) {
                table.key_guess = Some(given.folded.clone());
            }
            column.name = given;
        }
        self.keep(table);
    }

    /// `CREATE TYPE x AS ENUM ('a', 'b')`, `CREATE DOMAIN x AS text`, `CREATE TYPE x FROM varchar(10)`.
    fn create_type(&mut self, cursor: &mut Cursor) {
        let Some(name) = cursor.name() else { return };
        cursor.skip_words(&["AS", "FROM"]);
        let of = cursor.until_option();
        let kind = self.resolved(kind::kind(&of, self.flavor));
        self.types.insert(name.last().to_lowercase(), kind);
    }

    fn create_unique_index(&mut self, cursor: &mut Cursor) {
        while cursor.peek().is_some() && !cursor.is_word("ON") {
            cursor.next();
        }
        cursor.next();
        cursor.skip_words(&["ONLY"]);
        let Some(name) = cursor.name() else { return };
        let Some(columns) = cursor.next_group().map(|group| group.names()) else { return };
        // With a condition, it is not unique in the whole table.
        while let Some(token) = cursor.next() {
            if word(token).as_deref() == Some("WHERE") {
                return;
            }
        }
        if let Some(table) = self.table(&name) {
            table.unique.push(columns);
        }
    }

    fn alter(&mut self, cursor: &mut Cursor, line: usize) {
        cursor.next();
        cursor.next();
        cursor.skip_words(&["IF", "EXISTS", "ONLY"]);
        let Some(at) = cursor.name().and_then(|name| self.find(&name)) else { return };
        let Some(table) = self.tables.get_mut(at) else { return };
        let mut own = std::mem::replace(table, Table::new(Name::default(), line, false));
        for mut part in cursor.rest().elements() {
            // `WITH CHECK ADD CONSTRAINT` of SQL Server.
            while part.peek().is_some() && !part.is_word("ADD") {
                part.next();
            }
            part.next();
            part.skip_words(&["COLUMN", "IF", "NOT", "EXISTS"]);
            match part.peek() {
                Some(Token::LParen) => {
                    if let Some(group) = part.group() {
                        group.elements().into_iter().for_each(|element| self.element(&mut own, element, line));
                    }
                }
                Some(_) => self.element(&mut own, part, line),
                None => {}
            }
        }
        if let Some(table) = self.tables.get_mut(at) {
            *table = own;
        }
    }

    /// `COMMENT ON TABLE x IS '…'`, `COMMENT ON COLUMN x.y IS '…'`.
    fn comment(&mut self, cursor: &mut Cursor) {
        cursor.next();
        cursor.next();
        let what = cursor.word();
        let Some(mut name) = cursor.name() else { return };
        if !cursor.is_word("IS") {
            return;
        }
        cursor.next();
        let Some(said) = cursor.peek().and_then(text) else { return };
        match what.as_deref() {
            Some("TABLE" | "VIEW") => {
                if let Some(table) = self.table(&name) {
                    table.comment = Some(said);
                }
            }
            Some("COLUMN") => {
                let Some(column) = name.pop() else { return };
                let found = self.table(&name);
                if let Some(column) = found.and_then(|table| table.column_mut(&column.folded)) {
                    column.comment = Some(said);
                }
            }
            _ => {}
        }
    }
}

fn find(tables: &[Table], by_name: &HashMap<String, usize>, name: &Name) -> Option<usize> {
    if let Some(at) = by_name.get(&name.whole()) {
        return Some(*at);
    }
    let mut alike = tables.iter().enumerate().filter(|(_, table)| table.name.is_alike(name));
    match (alike.next(), alike.next()) {
        (Some((at, _)), None) => Some(at),
        _ => None,
    }
}
