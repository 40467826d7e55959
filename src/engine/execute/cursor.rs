//! Cursors of listings: places in a source's own listing, sealed.
//!
//! A source's cursor may be an id that the caller has nothing to do with, and how many entities were left out is not the
//! caller's to know either. So a cursor is encrypted and bound to its listing: AES-256-GCM under a key that only the
//! gateway has, with the query and its arguments as associated data.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::source::PageAt;

/// Longest cursor that is looked at.
const CURSOR_CHARS_MAX: usize = 4_096;
/// Longest text to go on with that is looked at: it holds what was reckoned so far.
pub const RESUME_CHARS_MAX: usize = 65_536;

/// A page of a listing, and which instance's; none where the source has none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct At {
    pub instance: Option<String>,
    pub page: PageAt,
}

/// Where in a listing: a page, and how many of its records lie before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Position {
    pub page: At,
    pub skip: usize,
}

/// Seals and opens cursors. Gateways with the same secret open each other's.
pub struct CursorSeal {
    key: Option<RandomizedNonceKey>,
}

impl fmt::Debug for CursorSeal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CursorSeal")
    }
}

impl CursorSeal {
    /// The key is derived from the secret, which may serve other purposes too.
    pub fn new(secret: &[u8]) -> Self {
        let key = Hmac::<Sha256>::new_from_slice(secret).ok().and_then(|mut mac| {
            mac.update(b"huxiang listing cursors");
            RandomizedNonceKey::new(&AES_256_GCM, &mac.finalize().into_bytes()).ok()
        });
        Self { key }
    }

    /// A cursor for a place of `listing`; empty, which opens nothing, should sealing ever fail.
    pub(super) fn seal(&self, listing: &str, position: &Position) -> String {
        self.seal_text(listing, position.encode())
    }

    /// Any text for `listing`; empty, should sealing ever fail.
    pub(crate) fn seal_text(&self, listing: &str, text: String) -> String {
        let mut sealed = text.into_bytes();
        let nonce = self
            .key
            .as_ref()
            .and_then(|key| key.seal_in_place_append_tag(Aad::from(listing.as_bytes()), &mut sealed).ok());
        match nonce {
            Some(nonce) => URL_SAFE_NO_PAD.encode([nonce.as_ref().as_slice(), sealed.as_slice()].concat()),
            None => String::new(),
        }
    }

    /// The place a cursor of `listing` stands for; `None` for anything else.
    pub(super) fn open(&self, listing: &str, cursor: &str) -> Option<Position> {
        Position::decode(&self.open_text(listing, cursor)?)
    }

    pub(super) fn open_text(&self, listing: &str, cursor: &str) -> Option<String> {
        self.open_within(CURSOR_CHARS_MAX, listing, cursor)
    }

    /// As [`Self::open_text`], of what a caller goes on with.
    pub(crate) fn open_resume(&self, bound: &str, resume: &str) -> Option<String> {
        self.open_within(RESUME_CHARS_MAX, bound, resume)
    }

    fn open_within(&self, chars_max: usize, listing: &str, cursor: &str) -> Option<String> {
        if cursor.len() > chars_max {
            return None;
        }
        let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let mut sealed = sealed.to_vec();
        let opened = self.key.as_ref()?.open_in_place(nonce, Aad::from(listing.as_bytes()), &mut sealed).ok()?;
        std::str::from_utf8(opened).ok().map(str::to_owned)
    }
}

impl Position {
    pub(super) fn encode(&self) -> String {
        let page = match &self.page.page {
            PageAt::First => String::new(),
            PageAt::Number(number) => format!("n{number}"),
            PageAt::Cursor(cursor) => format!("c{cursor}"),
            PageAt::Link(address) => format!("l{address}"),
        };
        match &self.page.instance {
            Some(instance) => format!("{}i{} {instance}{page}", self.skip, instance.len()),
            None => format!("{} {page}", self.skip),
        }
    }

    pub(super) fn decode(text: &str) -> Option<Self> {
        let (skip, rest) = text.split_once(' ')?;
        let (skip, instance, page) = match skip.split_once('i') {
            Some((skip, length)) => {
                let (instance, page) = rest.split_at_checked(length.parse().ok()?)?;
                (skip, Some(instance.to_owned()), page)
            }
            None => (skip, None, rest),
        };
        let page = match page.split_at_checked(1) {
            None => PageAt::First,
            Some(("n", number)) => PageAt::Number(number.parse().ok()?),
            Some(("c", cursor)) => PageAt::Cursor(cursor.to_owned()),
            Some(("l", address)) => PageAt::Link(address.to_owned()),
            Some(_) => return None,
        };
        Some(Self { page: At { instance, page }, skip: skip.parse().ok()? })
    }
}
