//! Tokens of a statement, walked through.

use sqlparser::tokenizer::{Token, TokenWithSpan};

use super::Flavor;

/// A name as the database knows it, and as people wrote it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// What stands between quotation marks in the gateway's statement.
    pub folded: String,
    pub shown: String,
}

/// A name, perhaps with its schema before it.
#[derive(Debug, Clone, Default)]
pub struct Name(pub Vec<Part>);

impl Name {
    /// As the gateway's binding has it.
    pub fn whole(&self) -> String {
        self.0.iter().map(|part| part.folded.as_str()).collect::<Vec<_>>().join(".")
    }

    pub fn shown(&self) -> String {
        self.0.iter().map(|part| part.shown.as_str()).collect::<Vec<_>>().join(".")
    }

    pub fn last(&self) -> &str {
        self.0.last().map_or("", |part| part.shown.as_str())
    }

    pub fn pop(&mut self) -> Option<Part> {
        self.0.pop()
    }

    /// One of them has a schema that the other does not say; letters count as in no database for sure.
    pub fn is_alike(&self, other: &Self) -> bool {
        let mut pairs = self.0.iter().rev().zip(other.0.iter().rev());
        !self.0.is_empty() && !other.0.is_empty() && pairs.all(|(a, b)| a.folded.eq_ignore_ascii_case(&b.folded))
    }
}

/// An unquoted word, in capitals.
pub fn word(token: &Token) -> Option<String> {
    match token {
        Token::Word(word) if word.quote_style.is_none() => Some(word.value.to_ascii_uppercase()),
        _ => None,
    }
}

/// A text between quotation marks.
pub fn text(token: &Token) -> Option<String> {
    match token {
        Token::SingleQuotedString(text)
        | Token::NationalStringLiteral(text)
        | Token::EscapedStringLiteral(text)
        | Token::DoubleQuotedString(text) => Some(text.clone()),
        _ => None,
    }
}

/// Words that end a column's type.
const OPTIONS: [&str; 32] = [
    "NOT",
    "NULL",
    "DEFAULT",
    "PRIMARY",
    "UNIQUE",
    "CHECK",
    "REFERENCES",
    "CONSTRAINT",
    "COLLATE",
    "GENERATED",
    "AUTO_INCREMENT",
    "AUTOINCREMENT",
    "IDENTITY",
    "COMMENT",
    "KEY",
    "ON",
    "AS",
    "ENCODE",
    "STORAGE",
    "VIRTUAL",
    "STORED",
    "INVISIBLE",
    "VISIBLE",
    "SPARSE",
    "ROWGUIDCOL",
    "CHARSET",
    "FOREIGN",
    "ENABLE",
    "DISABLE",
    "USING",
    "DEFERRABLE",
    "INITIALLY",
];

#[derive(Debug, Clone)]
pub struct Cursor<'t> {
    tokens: &'t [TokenWithSpan],
    flavor: Flavor,
}

impl<'t> Cursor<'t> {
    pub fn new(tokens: &'t [TokenWithSpan], flavor: Flavor) -> Self {
        Self { tokens, flavor }
    }

    pub fn tokens(&self) -> &'t [TokenWithSpan] {
        self.tokens
    }

    /// All that is left.
    pub fn rest(&self) -> Self {
        self.clone()
    }

    pub fn is_at_end(&self) -> bool {
        self.tokens.is_empty()
    }

    /// The line of the statement, from 1.
    pub fn line(&self) -> usize {
        self.tokens.first().map_or(1, |token| usize::try_from(token.span.start.line).unwrap_or(1))
    }

    pub fn peek(&self) -> Option<&'t Token> {
        self.tokens.first().map(|token| &token.token)
    }

    fn peek_at(&self, at: usize) -> Option<&'t Token> {
        self.tokens.get(at).map(|token| &token.token)
    }

    pub fn next(&mut self) -> Option<&'t Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(&first.token)
    }

    /// The next token, as [`word`] has it.
    pub fn word(&mut self) -> Option<String> {
        self.next().and_then(word)
    }

    pub fn is_word(&self, wanted: &str) -> bool {
        self.peek().and_then(word).as_deref() == Some(wanted)
    }

    pub fn skip_words(&mut self, words: &[&str]) {
        while self.peek().and_then(word).is_some_and(|word| words.contains(&word.as_str())) {
            self.next();
        }
    }

    pub fn skip(&mut self, token: &Token) {
        if self.peek() == Some(token) {
            self.next();
        }
    }

    pub fn single_name(&mut self) -> Option<Part> {
        let part = part(self.peek()?, self.flavor)?;
        self.next();
        Some(part)
    }

    pub fn name(&mut self) -> Option<Name> {
        let mut parts = vec![self.single_name()?];
        while self.peek() == Some(&Token::Period) {
            self.next();
            parts.push(self.single_name()?);
        }
        Some(Name(parts))
    }

    /// What the parentheses hold that begin here.
    pub fn group(&mut self) -> Option<Self> {
        if self.peek() != Some(&Token::LParen) {
            return None;
        }
        let mut depth = 0_usize;
        for (at, token) in self.tokens.iter().enumerate() {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                let inside = self.tokens.get(1..at).unwrap_or_default();
                self.tokens = self.tokens.get(at + 1..).unwrap_or_default();
                return Some(Self { tokens: inside, flavor: self.flavor });
            }
        }
        None
    }

    /// The next parentheses.
    pub fn next_group(&mut self) -> Option<Self> {
        while self.peek().is_some_and(|token| *token != Token::LParen) {
            self.next();
        }
        self.group()
    }

    /// Goes on behind the parentheses whose first has been read.
    pub fn skip_group(&mut self) {
        let mut depth = 1_usize;
        while depth > 0 {
            match self.next() {
                Some(Token::LParen) => depth += 1,
                Some(Token::RParen) => depth -= 1,
                Some(_) => {}
                None => return,
            }
        }
    }

    /// What stands between commas.
    pub fn elements(&self) -> Vec<Self> {
        let mut depth = 0_usize;
        let is_comma = |token: &TokenWithSpan| {
            match token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                _ => {}
            }
            depth == 0 && token.token == Token::Comma
        };
        self.tokens.split(is_comma).map(|tokens| Self { tokens, flavor: self.flavor }).collect()
    }

    /// Columns of a key; none where one of them is an expression, or a part of a column.
    pub fn names(&self) -> Vec<String> {
        let name = |mut element: Self| {
            let name = element.single_name()?;
            let plain = !matches!(element.peek(), Some(Token::LParen | Token::Period | Token::DoubleColon));
            plain.then_some(name.folded)
        };
        self.elements().into_iter().map(name).collect::<Option<Vec<_>>>().unwrap_or_default()
    }

    pub fn shown_names(&self) -> Vec<Part> {
        self.elements().into_iter().filter_map(|mut element| element.single_name()).collect()
    }

    /// A column's type: up to the first option.
    pub fn until_option(&mut self) -> Self {
        let mut depth = 0_usize;
        let mut length = self.tokens.len();
        for (at, token) in self.tokens.iter().enumerate() {
            match &token.token {
                Token::LParen => depth += 1,
                Token::RParen => depth = depth.saturating_sub(1),
                other if depth == 0 && word(other).is_some_and(|word| OPTIONS.contains(&word.as_str())) => {
                    length = at;
                    break;
                }
                _ => {}
            }
        }
        let (of, rest) = self.tokens.split_at_checked(length).unwrap_or((self.tokens, &[]));
        self.tokens = rest;
        Self { tokens: of, flavor: self.flavor }
    }

    /// Whether this element of a table is no column.
    pub fn is_constraint(&self) -> bool {
        let Some(first) = self.peek().and_then(word) else { return false };
        let second = self.peek_at(1);
        let then = |wanted: &str| second.and_then(word).as_deref() == Some(wanted);
        let opens = second == Some(&Token::LParen);
        match first.as_str() {
            "CONSTRAINT" => true,
            "PRIMARY" | "FOREIGN" => then("KEY"),
            "UNIQUE" => {
                let named = matches!(self.peek_at(2), Some(Token::LParen));
                opens || named || ["KEY", "INDEX", "CLUSTERED", "NONCLUSTERED", "NULLS"].iter().any(|word| then(word))
            }
            "CHECK" => opens,
            "EXCLUDE" => opens || then("USING"),
            "FULLTEXT" | "SPATIAL" => then("KEY") || then("INDEX"),
            "KEY" | "INDEX" => matches!(self.flavor, Flavor::Mysql | Flavor::Mssql),
            "LIKE" => second.is_some_and(|token| matches!(token, Token::Word(_))) && self.tokens.len() < 12,
            "SUPPLEMENTAL" => then("LOG"),
            _ => false,
        }
    }
}

/// A name, folded as the database folds it.
pub fn part(token: &Token, flavor: Flavor) -> Option<Part> {
    let (shown, quoted) = match token {
        Token::Word(word) => (word.value.clone(), word.quote_style.is_some()),
        Token::DoubleQuotedString(text) => (text.clone(), true),
        Token::SingleQuotedString(text) if flavor == Flavor::Sqlite => (text.clone(), true),
        _ => return None,
    };
    Some(folded(shown, quoted, flavor))
}

pub fn folded(shown: String, quoted: bool, flavor: Flavor) -> Part {
    let folds = !quoted && matches!(flavor, Flavor::Postgres | Flavor::Other);
    let folded = if folds { shown.to_lowercase() } else { shown.clone() };
    Part { folded, shown }
}
