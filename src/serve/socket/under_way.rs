//! Since when a message has been under way. The library tells of whole messages only, and of the control frames between the parts
//! of one: who sends a message for ever says nothing that it would tell of.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// A connection whose frames are read along (RFC 6455, section 5.2): where they end, and which ends a message.
#[derive(Debug)]
pub struct Watched<S> {
    inner: S,
    frames: Frames,
    since: watch::Sender<Option<Instant>>,
}

/// When the message that is under way began to come.
#[derive(Debug)]
pub struct UnderWay(watch::Receiver<Option<Instant>>);

impl<S> Watched<S> {
    pub fn new(inner: S) -> (Self, UnderWay) {
        let (since, under_way) = watch::channel(None);
        (Self { inner, frames: Frames::default(), since }, UnderWay(under_way))
    }
}

impl UnderWay {
    /// Ends once a message has been under way for so long, since it began or since the given time, when reading went on.
    pub async fn too_long(&mut self, takes: Duration, reading_since: Instant) {
        loop {
            let since = *self.0.borrow_and_update();
            let end = async {
                match since {
                    Some(since) => sleep_until(since.max(reading_since) + takes).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = end => return,
                changed = self.0.changed() => if changed.is_err() {
                    // Nothing comes any more.
                    std::future::pending::<()>().await;
                },
            }
        }
    }
}

/// Where in a frame, and whether in a message.
#[derive(Debug, Default)]
struct Frames {
    /// Of its head, what has come.
    head: Vec<u8>,
    /// Bytes of its payload that are left; 0: its head comes.
    payload: u64,
    is_control: bool,
    is_last: bool,
    /// A message has parts to come.
    is_open: bool,
}

impl Frames {
    /// Takes what came; whether a message, or a frame, is under way after it, and whether one ended in it.
    fn take(&mut self, mut bytes: &[u8]) -> (bool, bool) {
        let mut has_ended = false;
        while let Some((byte, rest)) = bytes.split_first() {
            if self.payload > 0 {
                let left = usize::try_from(self.payload).unwrap_or(usize::MAX);
                let taken = left.min(bytes.len());
                self.payload = self.payload.saturating_sub(u64::try_from(taken).unwrap_or(u64::MAX));
                bytes = bytes.get(taken..).unwrap_or_default();
            } else {
                self.head.push(*byte);
                bytes = rest;
                let Some((first, payload)) = head(&self.head) else { continue };
                self.payload = payload;
                self.is_last = first & 0x80 != 0;
                self.is_control = first & 0x08 != 0;
                self.head.clear();
            }
            if self.payload == 0 && !self.is_control {
                self.is_open = !self.is_last;
            }
            has_ended |= self.payload == 0 && !self.is_open;
        }
        (self.is_open || self.payload > 0 || !self.head.is_empty(), has_ended)
    }
}

/// The first byte of a frame's head, and the length of its payload; `None`: the head is not whole yet.
fn head(head: &[u8]) -> Option<(u8, u64)> {
    let (first, second) = (*head.first()?, *head.get(1)?);
    let mask = if second & 0x80 != 0 { 4 } else { 0 };
    let more = match second & 0x7f {
        126 => 2,
        127 => 8,
        _ => 0,
    };
    if head.len() < 2 + more + mask {
        return None;
    }
    let length = match more {
        0 => u64::from(second & 0x7f),
        _ => head.get(2..2 + more)?.iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
    };
    Some((first, length))
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        let read = Pin::new(&mut this.inner).poll_read(context, buffer);
        let come = buffer.filled().get(before..).unwrap_or_default();
        if !come.is_empty() {
            let (is_under_way, has_ended) = this.frames.take(come);
            this.since.send_if_modified(|since| {
                let is_same = is_under_way == since.is_some() && !(is_under_way && has_ended);
                if !is_same {
                    *since = is_under_way.then(Instant::now);
                }
                !is_same
            });
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().inner).poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().inner).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_under_way_from_its_first_byte_to_its_last_whatever_comes_between() {
        let long = [&[0x82, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 1, 2, 3, 4][..], &[7; 65_536]].concat();
        let medium = [&[0x81, 0xfe, 1, 0, 1, 2, 3, 4][..], &[7; 256]].concat();
        let whole: [&[u8]; 5] =
            [b"\x81\x82abcd{}", b"\x89\x80abcd", b"\x01\x81abcd{\x89\x82abcdxy\x80\x81abcd}", &medium, &long];
        for message in whole {
            let mut frames = Frames::default();
            let (last, rest) = message.split_last().unwrap();
            for byte in rest {
                assert_eq!(frames.take(&[*byte]), (true, false), "{byte}");
            }
            assert_eq!(frames.take(&[*last]), (false, true));
            assert_eq!(Frames::default().take(message), (false, true), "at once");
            assert_eq!(Frames::default().take(&[message, b"\x01"].concat()), (true, true), "and the next begins");
        }
        let mut frames = Frames::default();
        assert_eq!(frames.take(b"\x01\x80abcd"), (true, false), "an empty part");
        assert_eq!(frames.take(b"\x8a\x80abcd"), (true, false), "a control frame ends no message");
        assert_eq!(frames.take(b"\x00\x80abcd\x80\x80abcd"), (false, true));
    }
}
