//! A file of SQL → its statements, without comments and data. One linear pass that knows quotation marks and comments of
//! all dialects, and builds nothing that is longer than a statement may be.

use super::Flavor;

/// Bytes of one statement that are kept.
const STATEMENT_MAX: usize = 1 << 20;

#[derive(Debug)]
pub struct Statement {
    /// Comments are gone from it, their ends of lines are not.
    pub text: String,
    /// The line that `text` begins at, from 1.
    pub line: usize,
    /// It is longer than what is kept of it.
    pub is_cut: bool,
}

/// All statements, those without a text left out. Tells the line of a quotation mark that nothing closes.
pub fn statements(text: &str, flavor: Flavor) -> (Vec<Statement>, Option<usize>) {
    let mut splitting = Splitting {
        rest: text,
        flavor,
        line: 1,
        before: ' ',
        line_is_blank: true,
        found: Vec::new(),
        current: Statement { text: String::new(), line: 1, is_cut: false },
        delimiter: ";".to_owned(),
        conditional: false,
    };
    let open = splitting.run();
    splitting.end();
    (splitting.found, open)
}

struct Splitting<'a> {
    rest: &'a str,
    flavor: Flavor,
    line: usize,
    /// The character before `rest`.
    before: char,
    /// Nothing but blanks stands before `rest` in its line.
    line_is_blank: bool,
    found: Vec<Statement>,
    current: Statement,
    delimiter: String,
    /// Inside `/*!40101 … */`, which MySQL reads as SQL.
    conditional: bool,
}

impl<'a> Splitting<'a> {
    fn run(&mut self) -> Option<usize> {
        while let Some(next) = self.rest.chars().next() {
            if self.line_is_blank && self.line_of_its_own() {
                continue;
            }
            if self.rest.starts_with(&self.delimiter) {
                let skipped = self.delimiter.len();
                self.skip(skipped);
                self.end();
                continue;
            }
            let begun = self.line;
            let closed = match next {
                '\'' => self.quoted('\'', self.backslashes()),
                '"' => self.quoted('"', self.flavor == Flavor::Mysql),
                '`' => self.quoted('`', false),
                '[' if matches!(self.flavor, Flavor::Mssql | Flavor::Sqlite) => self.quoted(']', false),
                '$' if !is_part_of_name(self.before) && self.flavor != Flavor::Mysql => self.dollar_quoted(),
                '#' if self.flavor == Flavor::Mysql => self.comment_to_end_of_line(),
                '-' if self.rest.starts_with("--") => self.comment_to_end_of_line(),
                '/' if self.rest.starts_with("/*!") => {
                    let digits = self.rest.bytes().skip(3).take_while(u8::is_ascii_digit).count();
                    self.skip(3 + digits);
                    self.conditional = true;
                    true
                }
                '/' if self.rest.starts_with("/*") => self.comment(),
                '*' if self.conditional && self.rest.starts_with("*/") => {
                    self.skip(2);
                    self.conditional = false;
                    true
                }
                _ => {
                    self.take(next.len_utf8());
                    true
                }
            };
            if !closed {
                return Some(begun);
            }
        }
        None
    }

    fn backslashes(&self) -> bool {
        match self.flavor {
            Flavor::Mysql => true,
            Flavor::Postgres | Flavor::Other => matches!(self.before, 'E' | 'e'),
            _ => false,
        }
    }

    /// `GO`, `/`, `DELIMITER //` and what psql takes for itself: each a line of its own.
    fn line_of_its_own(&mut self) -> bool {
        if self.rest.starts_with(char::is_whitespace) {
            return false;
        }
        let line = self.rest.split('\n').next().unwrap_or_default();
        let word = line.trim();
        let begins = self.current.text.is_empty();
        let ends = word == "/" || (word.eq_ignore_ascii_case("go") && self.flavor == Flavor::Mssql);
        let delimiter = word.get(..10).filter(|head| head.eq_ignore_ascii_case("delimiter ") && begins);
        if !ends && delimiter.is_none() && !(begins && word.starts_with('\\')) {
            return false;
        }
        if delimiter.is_some() {
            let own = word.get(10..).unwrap_or_default().trim();
            self.delimiter = if own.is_empty() { ";".to_owned() } else { own.to_owned() };
        }
        self.skip(line.len());
        if ends {
            self.end();
        }
        true
    }

    fn end(&mut self) {
        let ended =
            std::mem::replace(&mut self.current, Statement { text: String::new(), line: self.line, is_cut: false });
        let words: Vec<String> = ended.text.split_whitespace().take(200).map(str::to_ascii_lowercase).collect();
        let copied = words.first().is_some_and(|word| word == "copy") && words.iter().any(|word| word == "stdin");
        if copied {
            self.skip_data();
        }
        if !words.is_empty() {
            self.found.push(ended);
        }
        self.current.line = self.line;
    }

    /// The rows after `COPY … FROM stdin;`, up to `\.`.
    fn skip_data(&mut self) {
        while let Some(at) = self.rest.find('\n') {
            let line = self.rest.get(..at).unwrap_or_default().trim_end();
            let is_end = line == "\\.";
            self.skip(at + 1);
            if is_end {
                return;
            }
        }
        self.skip(self.rest.len());
    }

    fn quoted(&mut self, mark: char, backslashes: bool) -> bool {
        let bytes = self.rest.as_bytes();
        let mut at = 1;
        // Marks and backslashes are ASCII: no other character holds such a byte.
        while let Some(byte) = bytes.get(at) {
            if *byte == b'\\' && backslashes {
                at += 2;
            } else if char::from(*byte) == mark {
                // A doubled one opens again at once.
                self.take(at + 1);
                return true;
            } else {
                at += 1;
            }
        }
        self.take(self.rest.len());
        false
    }

    fn dollar_quoted(&mut self) -> bool {
        let inside = self.rest.get(1..).unwrap_or_default();
        let Some(end) = inside.find('$').filter(|end| inside.chars().take(*end).all(is_part_of_name)) else {
            self.take(1);
            return true;
        };
        let tag = self.rest.get(..end + 2).unwrap_or("$$");
        let body = self.rest.get(tag.len()..).unwrap_or_default();
        match body.find(tag) {
            Some(close) => {
                self.take(close + 2 * tag.len());
                true
            }
            None => {
                self.take(self.rest.len());
                false
            }
        }
    }

    fn comment_to_end_of_line(&mut self) -> bool {
        self.skip(self.rest.find('\n').unwrap_or(self.rest.len()));
        true
    }

    fn comment(&mut self) -> bool {
        let nests = matches!(self.flavor, Flavor::Postgres | Flavor::Mssql);
        let bytes = self.rest.as_bytes();
        let (mut at, mut depth) = (2, 1_usize);
        while let Some(pair) = bytes.get(at..at + 2) {
            match pair {
                b"*/" => {
                    depth -= 1;
                    at += 2;
                    if depth == 0 {
                        self.skip(at);
                        return true;
                    }
                }
                b"/*" if nests => {
                    depth += 1;
                    at += 2;
                }
                _ => at += 1,
            }
        }
        self.skip(self.rest.len());
        false
    }

    /// The next bytes belong to the statement.
    fn take(&mut self, length: usize) {
        let Some((taken, rest)) = self.rest.split_at_checked(length) else {
            self.rest = "";
            return;
        };
        if self.current.text.is_empty() && taken.trim().is_empty() {
            self.pass(taken, rest);
            self.current.line = self.line;
            return;
        }
        if self.current.text.len() + taken.len() > STATEMENT_MAX {
            self.current.is_cut = true;
        } else {
            self.current.text.push_str(taken);
        }
        self.pass(taken, rest);
    }

    /// The next bytes belong to nothing; lines are counted on, and words stay apart.
    fn skip(&mut self, length: usize) {
        let Some((skipped, rest)) = self.rest.split_at_checked(length) else {
            self.rest = "";
            return;
        };
        let ends = skipped.matches('\n').count();
        self.pass(skipped, rest);
        if self.current.text.is_empty() {
            self.current.line = self.line;
        } else if self.current.text.len() + ends < STATEMENT_MAX {
            self.current.text.push(' ');
            self.current.text.extend(std::iter::repeat_n('\n', ends));
        }
    }

    fn pass(&mut self, passed: &str, rest: &'a str) {
        self.line += passed.matches('\n').count();
        let (last, ends) = match passed.rsplit_once('\n') {
            Some((_, last)) => (last, true),
            None => (passed, false),
        };
        self.line_is_blank = (ends || self.line_is_blank) && last.trim().is_empty();
        self.before = passed.chars().next_back().unwrap_or(self.before);
        self.rest = rest;
    }
}

fn is_part_of_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
