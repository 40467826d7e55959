//! A stream whose peer must go on reading: one that takes too little of what waits for it ends the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::unsent::Cut;

pub struct WriteLimit<S> {
    stream: S,
    limit: Duration,
    /// Runs from the first write that waits until all is written.
    waiting: Option<Pin<Box<Sleep>>>,
    /// Bytes written since it began.
    written: usize,
    /// That others need the room of what waits.
    cut: Cut,
}

/// What must be taken within the limit, while more is waiting: a byte now and then does not keep a connection.
const BYTES_MIN: usize = 16 << 10;

impl<S> WriteLimit<S> {
    /// With what ends it where it waits to write.
    pub fn new(stream: S, limit: Duration) -> (Self, Cut) {
        let cut = Cut::default();
        (Self { stream, limit, waiting: None, written: 0, cut: cut.clone() }, cut)
    }

    fn limited<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            return polled;
        }
        if self.cut.poll(context) {
            let message = "the client takes its answer slowly, and others' answers need the room";
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
        }
        let limit = self.limit;
        loop {
            ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(context));
            if std::mem::take(&mut self.written) < BYTES_MIN {
                let message = "the client does not take its answer";
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, message)));
            }
            self.waiting = None;
        }
    }

    fn count(&mut self, polled: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Ok(bytes)) = polled {
            self.written = self.written.saturating_add(*bytes);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteLimit<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteLimit<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write(context, bytes);
        this.count(&polled);
        this.limited(context, polled)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_write_vectored(context, slices);
        this.count(&polled);
        this.limited(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_flush(context);
        if polled.is_ready() {
            (this.waiting, this.written) = (None, 0);
            this.cut.forget();
        }
        this.limited(context, polled)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let polled = Pin::new(&mut this.stream).poll_shutdown(context);
        this.limited(context, polled)
    }
}
