//! How far a scan is, on standard error: one line that is rewritten at a terminal, a line every few seconds elsewhere.

use std::io::{IsTerminal as _, Write as _};
use std::pin::Pin;
use std::time::{Duration, Instant};

use super::tally::Tally;
use crate::cli::text;

/// Between two lines, where they stay.
const LINES_EVERY: Duration = Duration::from_secs(5);
/// Between two looks of a line that is rewritten.
const REWRITTEN_EVERY: Duration = Duration::from_millis(250);
/// Columns of a line that is rewritten: a longer one would not be taken back.
const COLUMNS: usize = 100;

/// What is told while it goes on, and what stops it.
pub struct Watch<'s> {
    stop: Pin<&'s mut dyn Future<Output = ()>>,
    terminal: bool,
    quiet: bool,
    began: Instant,
    /// Time that runs before this one took.
    before: Duration,
    told: Option<Instant>,
    line: String,
    /// How many keys it is asked about, where it is.
    keys: Option<u64>,
    /// How many there are in all, where that is known.
    total: Option<u64>,
    done: u64,
    /// Where this run began.
    from: u64,
}

impl<'s> Watch<'s> {
    pub fn new(stop: Pin<&'s mut dyn Future<Output = ()>>, quiet: bool) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let (began, before) = (Instant::now(), Duration::ZERO);
        let (line, told) = (String::new(), None);
        Self { stop, terminal, quiet, began, before, told, line, keys: None, total: None, done: 0, from: 0 }
    }

    /// `keys`: how many it is asked about, where they are given; `tally`: what runs before this one came to.
    pub fn begin(&mut self, keys: Option<u64>, tally: &Tally) {
        self.began = Instant::now();
        // A short one is told of at its end alone.
        self.told = Some(self.began);
        (self.keys, self.done, self.from) = (keys, tally.evaluated, tally.evaluated);
        self.before = Duration::from_millis(tally.elapsed_ms);
        self.look(tally);
    }

    /// All the time that it took, earlier runs' too.
    pub fn elapsed(&self) -> Duration {
        self.before.saturating_add(self.began.elapsed())
    }

    /// Waits for something, and shows that time goes on; none, where it was stopped first.
    pub async fn over<T>(&mut self, doing: impl Future<Output = T>) -> Option<T> {
        let mut doing = std::pin::pin!(doing);
        loop {
            let tick = tokio::time::sleep(REWRITTEN_EVERY);
            tokio::select! {
                biased;
                () = &mut self.stop => return None,
                done = &mut doing => return Some(done),
                () = tick => self.show(),
            }
        }
    }

    /// How far it is now.
    pub fn look(&mut self, tally: &Tally) {
        self.done = tally.evaluated;
        // Of keys it is known from the beginning.
        self.total = tally.total.or(self.keys);
        let share = |total: u64| self.done.saturating_mul(100).checked_div(total).map(|share| (total, share.min(100)));
        let of = self.total.and_then(share).map_or(String::new(), |(total, share)| format!(" of {total} ({share} %)"));
        self.line = format!(
            "{}{of} looked at, {} match, {} undetermined, {} calls",
            tally.candidates, tally.matched, tally.undetermined, tally.calls
        );
        self.show();
    }

    /// What is waited for.
    pub fn say(&mut self, what: &str) {
        if !self.quiet {
            self.clear();
            text::note(what);
        }
    }

    /// Time left, where it is known of how many.
    fn left(&self) -> Option<Duration> {
        let (done, left) = (self.done.checked_sub(self.from)?, self.total?.checked_sub(self.done)?);
        let each = self.began.elapsed().checked_div(u32::try_from(done).ok().filter(|done| *done > 0)?)?;
        each.checked_mul(u32::try_from(left).ok()?)
    }

    fn show(&mut self) {
        if self.quiet || self.line.is_empty() {
            return;
        }
        let left = self.left().map_or(String::new(), |left| format!(", about {} left", span(left)));
        let line = format!("{}, {}{left}", self.line, span(self.elapsed()));
        if self.terminal {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r\u{1b}[K… {}", text::shorten(&line, COLUMNS));
            let _ = stderr.flush();
        } else if self.told.is_none_or(|told| told.elapsed() >= LINES_EVERY) {
            text::note(&line);
            self.told = Some(Instant::now());
        }
    }

    /// Takes back what is rewritten.
    pub fn clear(&self) {
        if self.terminal && !self.quiet {
            let mut stderr = std::io::stderr().lock();
            let _ = write!(stderr, "\r\u{1b}[K");
            let _ = stderr.flush();
        }
    }
}

/// `1 h 02 min`, `3 min 05 s`, `12 s`.
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}
