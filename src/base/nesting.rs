//! A linear look at a text before any parser that recursion could hurt.

/// Depth or length was over the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TooMuch {
    Nesting,
    Tokens,
}

/// Counts the depth of `{ [ (` and, roughly, the tokens of a GraphQL text, skipping strings and comments.
/// Linear, without recursion or allocation.
pub fn check(text: &str, nesting_max: usize, tokens_max: usize) -> Result<(), TooMuch> {
    let mut bytes = text.as_bytes();
    let (mut depth, mut tokens, mut in_word) = (0_usize, 0_usize, false);
    while let Some((byte, rest)) = bytes.split_first() {
        bytes = rest;
        let word = byte.is_ascii_alphanumeric() || *byte == b'_' || *byte >= 0x80;
        match byte {
            b'{' | b'[' | b'(' => {
                depth += 1;
                tokens += 1;
                if depth > nesting_max {
                    return Err(TooMuch::Nesting);
                }
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                tokens += 1;
            }
            b'#' => bytes = after_line(bytes),
            b'"' => {
                tokens += 1;
                bytes = after_string(bytes);
            }
            b' ' | b'\t' | b'\n' | b'\r' | b',' => {}
            _ if word => tokens += usize::from(!in_word),
            _ => tokens += 1,
        }
        in_word = word;
        if tokens > tokens_max {
            return Err(TooMuch::Tokens);
        }
    }
    Ok(())
}

fn after_line(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(bytes.len());
    bytes.get(end..).unwrap_or_default()
}

/// What stands behind a string whose first quote has been read.
fn after_string(bytes: &[u8]) -> &[u8] {
    if let Some(mut block) = bytes.strip_prefix(b"\"\"") {
        while !block.is_empty() {
            if let Some(rest) = block.strip_prefix(b"\\\"\"\"") {
                block = rest;
            } else if let Some(rest) = block.strip_prefix(b"\"\"\"") {
                return rest;
            } else {
                block = block.get(1..).unwrap_or_default();
            }
        }
        return block;
    }
    let mut rest = bytes;
    while let Some((byte, after)) = rest.split_first() {
        match byte {
            b'\\' => rest = after.get(1..).unwrap_or_default(),
            b'"' | b'\n' | b'\r' => return after,
            _ => rest = after,
        }
    }
    rest
}
