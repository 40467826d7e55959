//! A stream that notices requests whose length can be read in two ways: with `Content-Length` and `Transfer-Encoding`, or
//! with more than one `Content-Length`. A front that reads the other one would take the rest for the next request.
//!
//! The HTTP library reads such requests in the right way and does not tell; they are refused all the same, so that nobody
//! depends on both ends reading alike. Only heads are looked at. A chunked request is the last of its connection (see
//! `around`), so what follows one needs no reading.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Characters of a line that are kept, blanks apart: `transfer-encoding:`, or `content-length:` with its digits.
const LINE_MAX: usize = 40;

const DOUBTFUL: u8 = 1;
const UPGRADED: u8 = 2;

/// Whether a connection carried such a request.
#[derive(Debug, Clone, Default)]
pub struct Doubtful(Arc<AtomicU8>);

impl Doubtful {
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Acquire) & DOUBTFUL != 0
    }

    fn set(&self) {
        self.0.fetch_or(DOUBTFUL, Ordering::AcqRel);
    }

    /// What comes from now on is no HTTP any more, and is not read along.
    pub fn upgraded(&self) {
        self.0.fetch_or(UPGRADED, Ordering::AcqRel);
    }

    fn is_upgraded(&self) -> bool {
        self.0.load(Ordering::Acquire) & UPGRADED != 0
    }
}

#[derive(Debug)]
enum At {
    Head(Head),
    /// Bytes of a body that are left.
    Body(u64),
    /// Behind a chunked request.
    Last,
}

#[derive(Debug, Default)]
struct Head {
    line: Vec<u8>,
    /// The line is longer than what is kept.
    long: bool,
    /// A line that is not empty was read.
    begun: bool,
    lengths: usize,
    length: Option<u64>,
    chunked: bool,
}

/// Reads along.
#[derive(Debug)]
struct Scanner {
    at: At,
    doubtful: Doubtful,
}

impl Scanner {
    fn scan(&mut self, mut bytes: &[u8]) {
        while let Some((byte, rest)) = bytes.split_first() {
            match &mut self.at {
                At::Last => return,
                At::Body(left) => {
                    let skipped = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
                    *left -= u64::try_from(skipped).unwrap_or(*left);
                    if *left == 0 {
                        self.at = At::Head(Head::default());
                    }
                    bytes = bytes.get(skipped..).unwrap_or_default();
                }
                At::Head(head) => {
                    if let Some(next) = head.read(*byte, &self.doubtful) {
                        self.at = next;
                    }
                    bytes = rest;
                }
            }
        }
    }
}

impl Head {
    /// What comes next, at the head's end.
    fn read(&mut self, byte: u8, doubtful: &Doubtful) -> Option<At> {
        match byte {
            b'\n' if self.line.is_empty() && !self.begun => None,
            b'\n' if self.line.is_empty() => Some(self.end(doubtful)),
            b'\n' => {
                self.line_end();
                None
            }
            b'\r' | b' ' | b'\t' => None,
            byte => {
                if self.line.len() < LINE_MAX {
                    self.line.push(byte.to_ascii_lowercase());
                } else {
                    self.long = true;
                }
                None
            }
        }
    }

    fn line_end(&mut self) {
        if let Some(value) = self.line.strip_prefix(b"content-length:") {
            self.lengths += 1;
            let digits = std::str::from_utf8(value).ok().filter(|_| !self.long);
            self.length = digits.and_then(|digits| digits.parse().ok());
        }
        self.chunked |= self.line.starts_with(b"transfer-encoding:");
        self.begun = true;
        self.line.clear();
        self.long = false;
    }

    fn end(&self, doubtful: &Doubtful) -> At {
        let unreadable = self.lengths == 1 && self.length.is_none();
        if self.lengths > 1 || unreadable || (self.chunked && self.lengths > 0) {
            doubtful.set();
            return At::Last;
        }
        match self.length {
            _ if self.chunked => At::Last,
            Some(length) if length > 0 => At::Body(length),
            _ => At::Head(Self::default()),
        }
    }
}

pub struct Framing<S> {
    stream: S,
    scanner: Scanner,
}

impl<S> Framing<S> {
    pub fn new(stream: S) -> (Self, Doubtful) {
        let doubtful = Doubtful::default();
        let scanner = Scanner { at: At::Head(Head::default()), doubtful: doubtful.clone() };
        (Self { stream, scanner }, doubtful)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Framing<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let polled = Pin::new(&mut this.stream).poll_read(context, buffer);
        if !this.scanner.doubtful.is_upgraded() {
            this.scanner.scan(buffer.filled().get(before..).unwrap_or_default());
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framing<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// However the bytes are cut.
    fn doubtful(text: &str) -> bool {
        let whole = |size: usize| {
            let mut scanner = Scanner { at: At::Head(Head::default()), doubtful: Doubtful::default() };
            text.as_bytes().chunks(size).for_each(|bytes| scanner.scan(bytes));
            scanner.doubtful.is_set()
        };
        let (one, three, all) = (whole(1), whole(3), whole(usize::MAX));
        assert!(one == three && three == all, "{text}");
        all
    }

    #[test]
    fn lengths_that_can_be_read_in_two_ways_are_noticed() {
        let post = "POST / HTTP/1.1\r\nhost: x\r\n";
        for (rest, expected) in [
            ("content-length: 2\r\n\r\n{}", false),
            ("transfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", false),
            ("content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n", true),
            ("transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n", true),
            ("Transfer-Encoding:chunked\r\nCONTENT-LENGTH:2\r\n\r\n", true),
            ("transfer-encoding: \t x\ncontent-length: 2\n\n", true),
            ("content-length: 2\r\ncontent-length: 2\r\n\r\n{}", true),
            ("content-length: 2\r\ncontent-length: 3\r\n\r\n{}", true),
            ("content-length: 2, 2\r\n\r\n{}", true),
            ("content-length: +2\r\n\r\n{}", false),
            ("content-length: 0x2\r\n\r\n{}", true),
            (&format!("content-length: {}2\r\n\r\n{{}}", "0".repeat(60)), true),
            (&format!("content-length:{}2\r\n\r\n{{}}", " ".repeat(600)), false),
            (&format!("x-{}: transfer-encoding: chunked\r\ncontent-length: 2\r\n\r\n{{}}", "a".repeat(60)), false),
        ] {
            assert_eq!(doubtful(&format!("{post}{rest}")), expected, "{rest}");
        }
    }

    #[test]
    fn bodies_are_not_read_and_what_follows_them_is() {
        let body = "content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
        let first = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{body}", body.len());
        assert!(!doubtful(&first));
        assert!(!doubtful(&format!("{first}\r\n\r\nGET / HTTP/1.1\r\n\r\n{first}")));
        assert!(doubtful(&format!("{first}POST / HTTP/1.1\r\n{body}")));
    }
}
