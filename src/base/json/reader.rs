//! Going through a text once, as RFC 8259 has it: strictly, and without recursion.

use wide::u8x16;

use super::{ESCAPED, NESTING_MAX, Node, content, index};

/// Why it stops before the end.
pub(super) enum Stop {
    /// It is not JSON from this byte on.
    Broken(usize),
    /// Nested more than [`NESTING_MAX`] deep.
    Deep,
}

/// What stops a step, which knows where it is.
enum Halt {
    Broken,
    Deep,
}

/// No more room is made at first: a long text may be one value.
const NODES_ROOM_MAX: usize = 64 << 10;

/// The values and member names of a text, in their order.
pub(super) fn read(text: &str) -> Result<Vec<Node>, Stop> {
    let bytes = text.as_bytes();
    // Records have a value or a name every ten bytes: too little room costs more, since what is there is then moved.
    let nodes = Vec::with_capacity((bytes.len() / 8 + 4).min(NODES_ROOM_MAX));
    let mut reader = Reader { bytes, at: 0, marks: marks(bytes, 0), block: 0, nodes, open: Vec::with_capacity(16) };
    match reader.document() {
        Ok(()) => Ok(reader.nodes),
        Err(Halt::Deep) => Err(Stop::Deep),
        Err(Halt::Broken) => Err(Stop::Broken(reader.at)),
    }
}

struct Reader<'t> {
    bytes: &'t [u8],
    at: usize,
    /// What may end a text, in the block of [`BLOCK`] bytes that was looked at last.
    marks: u64,
    /// Where that block begins.
    block: usize,
    nodes: Vec<Node>,
    /// Objects and lists that have not ended: their nodes, and whether each is an object.
    open: Vec<(usize, bool)>,
}

impl Reader<'_> {
    fn document(&mut self) -> Result<(), Halt> {
        self.space();
        loop {
            if self.value()? {
                continue;
            }
            loop {
                self.space();
                let Some((node, is_object)) = self.open.last().copied() else {
                    return if self.at == self.bytes.len() { Ok(()) } else { Err(Halt::Broken) };
                };
                match self.peek() {
                    Some(b',') => {
                        self.at += 1;
                        self.space();
                        if is_object {
                            self.name()?;
                        }
                        break;
                    }
                    Some(end) if end == if is_object { b'}' } else { b']' } => {
                        self.at += 1;
                        self.open.pop();
                        self.close(node);
                    }
                    _ => return Err(Halt::Broken),
                }
            }
        }
    }

    /// One value; of an object or list that is not empty, only its beginning: true, and a value comes next.
    #[inline(always)]
    fn value(&mut self) -> Result<bool, Halt> {
        let start = self.at;
        let (is_object, end) = match self.peek() {
            Some(b'"') => {
                self.text()?;
                return Ok(false);
            }
            Some(b'-' | b'0'..=b'9') => {
                self.number()?;
                self.whole(start, 0);
                return Ok(false);
            }
            Some(b'{') => (true, b'}'),
            Some(b'[') => (false, b']'),
            Some(b't') => return self.literal(b"true"),
            Some(b'f') => return self.literal(b"false"),
            Some(b'n') => return self.literal(b"null"),
            _ => return Err(Halt::Broken),
        };
        if self.open.len() >= NESTING_MAX {
            return Err(Halt::Deep);
        }
        self.at += 1;
        self.space();
        if self.peek() == Some(end) {
            self.at += 1;
            self.whole(start, 0);
            return Ok(false);
        }
        self.open.push((self.nodes.len(), is_object));
        self.whole(start, 0);
        if is_object {
            self.name()?;
        }
        Ok(true)
    }

    /// A member's name and its colon.
    #[inline(always)]
    fn name(&mut self) -> Result<(), Halt> {
        if self.peek() != Some(b'"') {
            return Err(Halt::Broken);
        }
        let start = self.at;
        // What a name with half a character is called, each reader decides for itself.
        if self.text()? && !self.is_text(start) {
            return Err(Halt::Broken);
        }
        self.space();
        if self.peek() != Some(b':') {
            return Err(Halt::Broken);
        }
        self.at += 1;
        self.space();
        Ok(())
    }

    /// What began at `start` and ends here, with nothing inside.
    #[inline]
    fn whole(&mut self, start: usize, escaped: u32) {
        let after = place(self.nodes.len() + 1);
        self.nodes.push(Node { start: place(start), end: place(self.at) | escaped, after });
    }

    /// An object or list ends here.
    #[inline]
    fn close(&mut self, node: usize) {
        let (end, after) = (place(self.at), place(self.nodes.len()));
        if let Some(node) = self.nodes.get_mut(node) {
            (node.end, node.after) = (end, after);
        }
    }

    #[inline]
    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    #[inline(always)]
    fn space(&mut self) {
        if self.peek().is_none_or(|byte| byte <= b' ') {
            self.spaces();
        }
    }

    fn spaces(&mut self) {
        while let Some(b' ' | b'\n' | b'\t' | b'\r') = self.peek() {
            self.at += 1;
        }
    }

    fn literal(&mut self, literal: &[u8]) -> Result<bool, Halt> {
        if !self.bytes.get(self.at..).is_some_and(|rest| rest.starts_with(literal)) {
            return Err(Halt::Broken);
        }
        let start = self.at;
        self.at += literal.len();
        self.whole(start, 0);
        Ok(false)
    }

    fn number(&mut self) -> Result<(), Halt> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One and more.
    #[inline]
    fn digits(&mut self) -> Result<(), Halt> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start { Err(Halt::Broken) } else { Ok(()) }
    }

    /// A text, from its opening quote to behind its closing one; whether something in it is escaped.
    #[inline(always)]
    fn text(&mut self) -> Result<bool, Halt> {
        let start = self.at;
        // Most texts end in the block that they begin in.
        let inside = (start + 1).wrapping_sub(self.block);
        let next = if inside < BLOCK { self.marks >> inside } else { 0 };
        let end = start + 1 + index(next.trailing_zeros());
        if next != 0 && self.bytes.get(end) == Some(&b'"') {
            self.at = end + 1;
            self.whole(start, 0);
            return Ok(false);
        }
        self.long_text()
    }

    #[inline(never)]
    fn long_text(&mut self) -> Result<bool, Halt> {
        let start = self.at;
        self.at += 1;
        let mut escaped = 0;
        loop {
            self.plain();
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    self.whole(start, escaped);
                    return Ok(escaped != 0);
                }
                Some(b'\\') => {
                    self.escape()?;
                    escaped = ESCAPED;
                }
                _ => return Err(Halt::Broken),
            }
        }
    }

    /// Whether what was read from there is a text of whole characters.
    fn is_text(&self, start: usize) -> bool {
        let raw = self.bytes.get(start..self.at).and_then(|raw| std::str::from_utf8(raw).ok());
        raw.is_some_and(|raw| content(raw).is_ok())
    }

    /// Up to the next quote, backslash or control character, or the end.
    #[inline]
    fn plain(&mut self) {
        loop {
            let inside = self.at.wrapping_sub(self.block);
            if inside < BLOCK {
                let next = self.marks >> inside;
                if next != 0 {
                    self.at += index(next.trailing_zeros());
                    return;
                }
                self.at = self.block + BLOCK;
            }
            if self.at >= self.bytes.len() {
                self.at = self.bytes.len();
                return;
            }
            self.block = self.at - self.at % BLOCK;
            self.marks = marks(self.bytes, self.block);
        }
    }

    fn escape(&mut self) -> Result<(), Halt> {
        self.at += 1;
        match self.peek() {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => self.at += 1,
            Some(b'u') => {
                let digits = self.bytes.get(self.at + 1..self.at + 5).unwrap_or_default();
                if digits.len() < 4 || !digits.iter().all(u8::is_ascii_hexdigit) {
                    return Err(Halt::Broken);
                }
                self.at += 5;
            }
            _ => return Err(Halt::Broken),
        }
        Ok(())
    }
}

/// Bytes that are looked at together.
pub(super) const BLOCK: usize = 64;

/// Which of a block's bytes are a quote, a backslash or a control character: a bit each, the first byte's lowest.
fn marks(bytes: &[u8], block: usize) -> u64 {
    let rest = bytes.get(block..).unwrap_or_default();
    if let Some((whole, _)) = rest.split_first_chunk::<BLOCK>() {
        return marks_of(whole);
    }
    let mut padded = [b' '; BLOCK];
    padded.iter_mut().zip(rest).for_each(|(to, from)| *to = *from);
    marks_of(&padded)
}

#[inline]
fn marks_of(block: &[u8; BLOCK]) -> u64 {
    let (quote, backslash, last_control) = (u8x16::splat(b'"'), u8x16::splat(b'\\'), u8x16::splat(0x1f));
    let (lanes, _) = block.as_chunks::<16>();
    lanes.iter().rev().fold(0, |marks, lane| {
        let lane = u8x16::new(*lane);
        let found = lane.simd_eq(quote) | lane.simd_eq(backslash) | lane.simd_eq(lane.min(last_control));
        marks << 16 | u64::from(found.to_bitmask())
    })
}

/// Texts are shorter than 2 GiB, and have no more nodes than bytes.
#[inline]
fn place(at: usize) -> u32 {
    at as u32
}
