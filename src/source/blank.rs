//! Secrets in what goes over the wire, in whatever way it is written there, blanked for those who look at it.

use std::fmt::Write as _;

use regex::{NoExpand, Regex};

/// Stands for secrets, signatures and what else signing adds.
pub const BLANK: &str = "•••";
/// A shorter one stands in too much.
const SECRET_MIN: usize = 6;
/// Longer ones are looked for as they are and as JSON has them: no answer gives them back but whole.
const PATTERN_MAX: usize = 256;

/// Finds secrets as they are, and as JSON, XML, addresses and forms escape them.
#[derive(Debug, Default)]
pub struct Blanks {
    patterns: Vec<Regex>,
    long: Vec<String>,
}

impl Blanks {
    /// Without those that are too short to be told from other texts.
    pub fn new<'s>(secrets: impl IntoIterator<Item = &'s str>) -> Self {
        let mut secrets: Vec<&str> = secrets.into_iter().map(str::trim).filter(|one| one.len() >= SECRET_MIN).collect();
        // A secret that holds another is found first.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
        secrets.dedup();
        let mut blanks = Self::default();
        for secret in secrets {
            let pattern = secret.chars().map(written).collect::<String>();
            match Regex::new(&pattern) {
                Ok(pattern) if secret.len() <= PATTERN_MAX => blanks.patterns.push(pattern),
                _ => {
                    let json = serde_json::to_string(secret).unwrap_or_default();
                    blanks.long.extend([secret.to_owned(), json.trim_matches('"').to_owned()]);
                }
            }
        }
        blanks
    }

    /// The text without them.
    pub fn text(&self, text: &str) -> String {
        let text = self.long.iter().fold(text.to_owned(), |text, secret| text.replace(secret, BLANK));
        self.patterns.iter().fold(text, |text, pattern| pattern.replace_all(&text, NoExpand(BLANK)).into_owned())
    }
}

/// A character, in each way that it may be written.
fn written(c: char) -> String {
    let mut all = format!(r"(?:\\*{}", regex::escape(&c.to_string()));
    let mut units = [0; 2];
    all.push('|');
    for unit in c.encode_utf16(&mut units) {
        let _ = write!(all, r"\\+u(?i:{unit:04x})");
    }
    all.push('|');
    for byte in c.encode_utf8(&mut [0; 4]).bytes() {
        let _ = write!(all, "%(?i:{byte:02x})");
    }
    let _ = write!(all, "|&#(?:0*{}|(?i:x0*{:x}));", u32::from(c), u32::from(c));
    all.push_str(match c {
        '&' => "|&amp;",
        '<' => "|&lt;",
        '>' => "|&gt;",
        '"' => "|&quot;",
        '\'' => "|&apos;",
        ' ' => r"|\+",
        '\n' => r"|\\+n",
        '\r' => r"|\\+r",
        '\t' => r"|\\+t",
        _ => "",
    });
    all.push(')');
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_blanked_however_it_is_written() {
        let blanks = Blanks::new(["s3/c\"r&t 密\n'<>", "short", "\"\"\"\"\"\"\"", "a-key\\of-mine"]);
        for written in [
            "s3/c\"r&t 密\n'<>",
            r#"s3/c\"r&t 密\n'<>"#,
            r#"s3\/c\"r\u0026t \u5bC6\n\u0027\u003c\u003E"#,
            r#"s3\\/c\\\"r&t \\u5bc6\\n'<>"#,
            "s3/c&quot;r&amp;t 密\n&apos;&lt;&gt;",
            "s3/c&#34;r&#x26;t&#x20;密&#10;&#039;<>",
            "s3%2Fc%22r%26t+%e5%af%86%0A%27%3C%3E",
        ] {
            assert_eq!(blanks.text(&format!("a {written}z")), "a •••z", "{written}");
        }
        assert_eq!(blanks.text(r"a-key\of-mine and a-key\\of-mine"), "••• and •••");
        assert_eq!(blanks.text("short"), "short");
        let long = "0123456789\n".repeat(60);
        let json = serde_json::to_string(long.trim()).unwrap();
        assert_eq!(Blanks::new([long.as_str()]).text(&format!("{json} {}", long.trim())), "\"•••\" •••");
    }
}
