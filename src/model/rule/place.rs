//! Where in a YAML file a part of an expression stands.

use super::RuleFault;
use crate::base::fault::{Place, SourceText};
use crate::model::yaml::Spanned;
use crate::model::yaml::place;

/// The place of a fault inside an expression written as a YAML text of any style: the text is followed through the
/// file, whose quotes, escapes, line breaks and indentation it has lost. Where that fails, where the text begins.
pub(super) fn in_text(file: &SourceText, text: &Spanned<String>, fault: &RuleFault) -> Place {
    let start = place(text);
    follow(&file.text, start, &text.value, fault.offset).map_or(start, |(line, column)| Place {
        line,
        column,
        length: fault.length,
    })
}

fn follow(source: &str, start: Place, text: &str, offset: usize) -> Option<(usize, usize)> {
    let skipped_lines = start.line.checked_sub(1)?;
    let mut line = start.line;
    let mut column = 1;
    let mut chars = source.split_inclusive('\n').skip(skipped_lines).flat_map(str::chars).peekable();
    while column < start.column {
        chars.next()?;
        column += 1;
    }
    // A block text's header (`|`, `>-`) is a line of its own.
    let block = matches!(chars.peek(), Some('|' | '>'));
    let mut in_header = block;
    let mut wanted = text.chars().enumerate().filter(|(_, c)| !c.is_whitespace());
    let mut next = wanted.next();
    for c in chars {
        let (at_line, at_column) = (line, column);
        if c == '\n' {
            line += 1;
            column = 1;
            in_header = false;
            continue;
        }
        column += 1;
        if in_header || c.is_whitespace() {
            continue;
        }
        let (index, wanted_char) = next?;
        if c != wanted_char {
            if matches!(c, '"' | '\'' | '\\') {
                continue;
            }
            return None;
        }
        if index >= offset {
            return Some((at_line, at_column));
        }
        next = wanted.next();
    }
    None
}
