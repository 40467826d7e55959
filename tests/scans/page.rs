//! `docs/questions.md`: its questions, and the page with other answers in their places.

use std::fmt::Write as _;

use serde_json::Value;

/// The plan, and what is answered: the blocks that a test writes.
const MADE: [&str; 2] = ["text", "json"];

/// A part of the page: as it stands there, or a block.
#[derive(Debug, Clone)]
enum Part {
    Line(String),
    Block { language: String, text: String },
}

/// A question with what the page says of it.
#[derive(Debug, Clone, Default)]
pub struct Question {
    pub title: String,
    pub document: String,
    /// Of the document, as it is written.
    pub id: String,
    pub variables: Value,
    /// The first is asked with all departments well, the others while one does not answer.
    pub answers: Vec<Told>,
}

/// What one asking comes to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Told {
    /// The source that does not answer.
    pub silent: Option<String>,
    /// Told of the first alone.
    pub plan: Option<String>,
    pub answer: String,
}

/// Sections of the page, each beginning with its heading.
fn sections(text: &str) -> Vec<Vec<Part>> {
    let mut sections: Vec<Vec<Part>> = vec![Vec::new()];
    let mut block: Option<(String, String)> = None;
    for line in text.lines() {
        if let Some((language, text)) = &mut block {
            if line == "```" {
                let part = Part::Block { language: std::mem::take(language), text: std::mem::take(text) };
                sections.last_mut().unwrap().push(part);
                block = None;
            } else {
                text.push_str(line);
                text.push('\n');
            }
            continue;
        }
        if let Some(language) = line.strip_prefix("```") {
            block = Some((language.to_owned(), String::new()));
            continue;
        }
        if line.starts_with('#') {
            sections.push(Vec::new());
        }
        sections.last_mut().unwrap().push(Part::Line(line.to_owned()));
    }
    assert!(block.is_none(), "a block has no end");
    sections
}

const ID: &str = "`documentId`: `";

/// The source that a line says does not answer.
fn silent(line: &str) -> Option<&str> {
    line.strip_prefix("While `")?.strip_suffix("` does not answer:")
}

fn question(section: &[Part]) -> Option<Question> {
    let asks = |part: &Part| matches!(part, Part::Block { language, .. } if language == "graphql");
    if !section.iter().any(asks) {
        return None;
    }
    let mut question = Question::default();
    let mut told = Told::default();
    let mut blocks = 0;
    for part in section {
        match part {
            Part::Line(line) => {
                if let Some(title) = line.strip_prefix("### ") {
                    title.clone_into(&mut question.title);
                } else if let Some(rest) = line.strip_prefix(ID) {
                    question.id = rest.split('`').next().unwrap_or_default().to_owned();
                } else if let Some(source) = silent(line) {
                    told.silent = Some(source.to_owned());
                }
            }
            Part::Block { language, text } => {
                blocks += 1;
                match (blocks, language.as_str()) {
                    (1, "graphql") => question.document.clone_from(text),
                    (2, "json") => question.variables = serde_json::from_str(text).expect("variables are JSON"),
                    (3, "text") => told.plan = Some(text.clone()),
                    (4.., "json") => {
                        told.answer.clone_from(text);
                        question.answers.push(std::mem::take(&mut told));
                    }
                    _ => panic!("{}: block {blocks} is {language}", question.title),
                }
            }
        }
    }
    assert!(blocks >= 4, "{}: query, variables, plan and answer", question.title);
    Some(question)
}

pub fn questions(page: &str) -> Vec<Question> {
    sections(page).iter().filter_map(|section| question(section)).collect()
}

/// The page with these questions' ids, plans and answers.
pub fn written(page: &str, questions: &[Question]) -> String {
    let mut out = String::new();
    let mut questions = questions.iter();
    for section in sections(page) {
        let made = question(&section).map(|_| questions.next().expect("as many as there are"));
        let mut blocks = 0;
        for part in section {
            match (part, made) {
                (Part::Line(line), Some(made)) if line.starts_with(ID) => {
                    let rest = line[ID.len()..].split_once('`').map_or("", |(_, rest)| rest);
                    let _ = writeln!(out, "{ID}{}`{rest}", made.id);
                }
                (Part::Line(line), _) => {
                    let _ = writeln!(out, "{line}");
                }
                (Part::Block { language, text }, made) => {
                    blocks += 1;
                    let told = made.filter(|_| blocks > 2 && MADE.contains(&language.as_str()));
                    let text = match (told, language.as_str()) {
                        (Some(made), "text") => made.answers[0].plan.clone().unwrap_or_default(),
                        (Some(made), _) => made.answers[blocks - 4].answer.clone(),
                        (None, _) => text,
                    };
                    let _ = writeln!(out, "```{language}\n{text}```");
                }
            }
        }
    }
    out
}

/// JSON for people: what fits on a line stands on one.
pub fn pretty(value: &Value) -> String {
    let mut out = String::new();
    write(value, 0, 0, &mut out);
    out.push('\n');
    out
}

const WIDTH: usize = 130;

/// `used`: what stands on the line before it.
fn write(value: &Value, indent: usize, used: usize, out: &mut String) {
    let short = inline(value);
    if used + width(&short) <= WIDTH {
        out.push_str(&short);
        return;
    }
    let (open, close, lines): (char, char, Vec<(String, &Value)>) = match value {
        Value::Array(values) => ('[', ']', values.iter().map(|value| (String::new(), value)).collect()),
        Value::Object(members) => {
            ('{', '}', members.iter().map(|(name, value)| (format!("\"{name}\": "), value)).collect())
        }
        _ => {
            out.push_str(&short);
            return;
        }
    };
    let within = indent + 2;
    out.push(open);
    for (at, (name, value)) in lines.iter().enumerate() {
        let _ = write!(out, "{}\n{:within$}{name}", if at > 0 { "," } else { "" }, "");
        write(value, within, within + name.len(), out);
    }
    let _ = write!(out, "\n{:indent$}{close}", "");
}

/// As editors have it: a Chinese character takes two places.
fn width(text: &str) -> usize {
    text.chars().map(|letter| if letter.is_ascii() { 1 } else { 2 }).sum()
}

fn inline(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(members) if members.is_empty() => "{}".to_owned(),
        Value::Object(members) => {
            let members: Vec<String> =
                members.iter().map(|(name, value)| format!("\"{name}\": {}", inline(value))).collect();
            format!("{{ {} }}", members.join(", "))
        }
        leaf => leaf.to_string(),
    }
}
