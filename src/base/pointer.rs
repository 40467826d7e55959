//! JSON Pointer (RFC 6901), parsed once at load.

use std::fmt;

/// A parsed JSON Pointer. The empty pointer is the whole document.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Pointer {
    segments: Box<[Box<str>]>,
}

impl Pointer {
    /// `""` or `/a/0/b`; `~1` is `/`, `~0` is `~`. The error says what is wrong.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let Some(rest) = text.strip_prefix('/') else {
            return Err("a JSON Pointer starts with `/`, or is empty for the whole document");
        };
        let segments = rest
            .split('/')
            .map(|part| {
                let mut out = String::with_capacity(part.len());
                let mut chars = part.chars();
                while let Some(c) = chars.next() {
                    match (c, c == '~') {
                        (_, true) => match chars.next() {
                            Some('0') => out.push('~'),
                            Some('1') => out.push('/'),
                            _ => return Err("in a JSON Pointer `~` is written `~0` and `/` inside a name `~1`"),
                        },
                        (c, false) => out.push(c),
                    }
                }
                Ok(out.into_boxed_str())
            })
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { segments: segments.into() })
    }

    pub fn segments(&self) -> &[Box<str>] {
        &self.segments
    }

    /// `other`, read from where this one points to.
    pub fn join(&self, other: &Self) -> Self {
        Self { segments: self.segments.iter().chain(&other.segments).cloned().collect() }
    }

    pub fn is_root(&self) -> bool {
        self.segments.is_empty()
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for segment in &self.segments {
            write!(f, "/{}", segment.replace('~', "~0").replace('/', "~1"))?;
        }
        Ok(())
    }
}
