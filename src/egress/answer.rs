//! Answers: a head, and a body that is read no further than its reader allows.

use std::error::Error;
use std::fmt;
use std::io::{ErrorKind, Write};

use bytes::{Bytes, BytesMut};
use flate2::write::GzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, Response, StatusCode, response};
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use super::pool::Lent;

/// No more room is made for a body because its head announces it.
const ROOM_MAX: usize = 1 << 20;
/// What cannot be compressed grows by less than this part of it, and by a header.
const PACKED_SHARE: usize = 64;
const PACKED_MORE: usize = 1 << 10;
/// Compressed in several members, each but a few holds so much.
const MEMBER_BYTES: usize = 1 << 10;
const MEMBERS_MIN: usize = 16;

/// An answer whose head is there.
#[derive(Debug)]
pub struct Answer {
    head: response::Parts,
    body: Incoming,
    gzip: bool,
    #[expect(dead_code, reason = "gives the connection back when it is dropped, after the body")]
    lent: Lent,
}

/// Why a body could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unread {
    /// It is longer, decompressed, than its reader allows.
    TooLarge,
    /// The connection was cut.
    Cut,
    /// It ends before its end, or is not compressed as its head says.
    Broken,
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLarge => "the answer is too large",
            Self::Cut => "the connection broke off in the answer",
            Self::Broken => "the answer breaks off, or cannot be decompressed",
        })
    }
}

impl Error for Unread {}

impl Answer {
    pub(super) fn new(response: Response<Incoming>, lent: Lent) -> Self {
        let (mut head, body) = response.into_parts();
        let gzip = head.headers.get(CONTENT_ENCODING).is_some_and(|value| {
            let value = value.as_bytes().trim_ascii();
            value.eq_ignore_ascii_case(b"gzip") || value.eq_ignore_ascii_case(b"x-gzip")
        });
        if gzip {
            // They are of what is compressed.
            head.headers.remove(CONTENT_ENCODING);
            head.headers.remove(CONTENT_LENGTH);
        }
        Self { head, body, gzip, lent }
    }

    pub fn status(&self) -> StatusCode {
        self.head.status
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The body, decompressed, at most `max` bytes; one that came in one piece is not copied.
    pub async fn bytes(mut self, max: usize) -> Result<(response::Parts, Bytes), Unread> {
        let body = self.read(max).await?;
        Ok((self.head, body))
    }

    /// As [`Self::bytes`], where the head is to be had later: who waits for it holds the answer once.
    pub fn read(&mut self, max: usize) -> impl Future<Output = Result<Bytes, Unread>> + Send {
        let Self { body, gzip, .. } = self;
        // What decompresses is large, and stands elsewhere.
        async move { if *gzip { Box::pin(unpacked(body, max)).await } else { whole(body, max).await } }
    }

    pub fn into_head(self) -> response::Parts {
        self.head
    }
}

fn whole(body: &mut Incoming, max: usize) -> impl Future<Output = Result<Bytes, Unread>> + Send {
    let announced = body.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    async move {
        if announced.is_some_and(|length| length > max) {
            return Err(Unread::TooLarge);
        }
        let Some(first) = piece(body).await? else { return Ok(Bytes::new()) };
        if first.len() > max {
            return Err(Unread::TooLarge);
        }
        // What has ended needs not be asked for more; chunked, the end comes by itself.
        match if body.is_end_stream() { None } else { piece(body).await? } {
            None => Ok(first),
            Some(second) => Box::pin(joined(body, announced, first, second, max)).await,
        }
    }
}

/// A body that came in several pieces.
async fn joined(
    body: &mut Incoming,
    announced: Option<usize>,
    first: Bytes,
    second: Bytes,
    max: usize,
) -> Result<Bytes, Unread> {
    let mut all = BytesMut::with_capacity(announced.unwrap_or(0).min(ROOM_MAX).max(first.len() + second.len()));
    all.extend_from_slice(&first);
    drop(first);
    let mut next = Some(second);
    while let Some(piece_of_it) = next {
        if all.len() + piece_of_it.len() > max {
            return Err(Unread::TooLarge);
        }
        all.extend_from_slice(&piece_of_it);
        next = piece(body).await?;
    }
    Ok(all.freeze())
}

async fn unpacked(body: &mut Incoming, max: usize) -> Result<Bytes, Unread> {
    let mut unpacking = Unpacking::new(max);
    while let Some(packed) = piece(body).await? {
        unpacking.add(&packed)?;
    }
    unpacking.end()
}

/// What is compressed in several members, as RFC 1952 permits, is one text.
struct Unpacking {
    decoder: GzDecoder<Capped>,
    /// Bytes and members that may yet come: compressed, nothing can be as long as one likes.
    bytes_left: usize,
    members_left: usize,
    empty: bool,
}

impl Unpacking {
    fn new(max: usize) -> Self {
        Self {
            decoder: GzDecoder::new(Capped { bytes: Vec::new(), max, full: false }),
            bytes_left: max.saturating_add(max / PACKED_SHARE).saturating_add(PACKED_MORE),
            members_left: MEMBERS_MIN.saturating_add(max / MEMBER_BYTES),
            empty: true,
        }
    }

    fn add(&mut self, packed: &[u8]) -> Result<(), Unread> {
        self.bytes_left = self.bytes_left.checked_sub(packed.len()).ok_or(Unread::TooLarge)?;
        let mut rest = packed;
        while !rest.is_empty() {
            self.empty = false;
            let taken = self.decoder.write(rest).map_err(|_| self.failed())?;
            rest = rest.get(taken..).unwrap_or_default();
            if taken == 0 {
                self.decoder.try_finish().map_err(|_| self.failed())?;
                self.members_left = self.members_left.checked_sub(1).ok_or(Unread::TooLarge)?;
                self.decoder = GzDecoder::new(std::mem::take(self.decoder.get_mut()));
            }
        }
        Ok(())
    }

    fn end(mut self) -> Result<Bytes, Unread> {
        if self.empty {
            return Ok(Bytes::new());
        }
        self.decoder.try_finish().map_err(|_| self.failed())?;
        Ok(std::mem::take(&mut self.decoder.get_mut().bytes).into())
    }

    fn failed(&self) -> Unread {
        if self.decoder.get_ref().full { Unread::TooLarge } else { Unread::Broken }
    }
}

/// The next piece of the body; trailers are not read.
async fn piece(body: &mut Incoming) -> Result<Option<Bytes>, Unread> {
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
            Err(error) if was_cut(&error) => return Err(Unread::Cut),
            Err(_) => return Err(Unread::Broken),
        }
    }
    Ok(None)
}

fn was_cut(error: &hyper::Error) -> bool {
    let mut source = error.source();
    while let Some(inner) = source {
        let kind = inner.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
        if kind.is_some_and(ends_connections) {
            return true;
        }
        source = inner.source();
    }
    false
}

fn ends_connections(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted | ErrorKind::BrokenPipe | ErrorKind::TimedOut
    )
}

/// Takes so many bytes, and no more.
#[derive(Debug, Default)]
struct Capped {
    bytes: Vec<u8>,
    max: usize,
    full: bool,
}

impl Write for Capped {
    fn write(&mut self, more: &[u8]) -> std::io::Result<usize> {
        if self.bytes.len() + more.len() > self.max {
            self.full = true;
            return Err(ErrorKind::StorageFull.into());
        }
        self.bytes.extend_from_slice(more);
        Ok(more.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
