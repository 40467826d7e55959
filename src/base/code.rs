//! The closed list of error codes that callers see, and the states of an item.

use serde::{Deserialize, Serialize};

/// Why a request, a source's fields or a single field has no value. Closed: a client may match on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The body, the JSON or a parameter is not what GraphQL over HTTP asks for.
    BadRequest,
    /// The document is not GraphQL.
    ParseFailed,
    /// The document is not valid against the contract, or a variable does not fit.
    ValidationFailed,
    /// A limit on size, depth, aliases, tokens or upstream calls was passed.
    LimitExceeded,
    /// The caller, its address or its network asks more than a minute allows.
    RateLimited,
    /// The gateway has more to do than it takes on; nobody was asked for the request.
    Overloaded,
    /// No token, or one that is not accepted.
    Unauthenticated,
    /// No grant of the caller's gives this field here; the grant that would is named.
    Forbidden,
    /// The source did not answer in time.
    SourceTimeout,
    /// The source cannot be reached.
    SourceUnreachable,
    /// The source answered with an error of its own.
    SourceError,
    /// The source's answer is not what its binding says (broken envelope, not JSON, wrong shape).
    SourceBadAnswer,
    /// The department has taken its source out of service.
    SourceWithdrawn,
    /// No source answers for it yet.
    NoSource,
    /// The source is asked more than it allows, and the deadline came first.
    SourceBusy,
    /// The source failed so often just now that it is not asked for some seconds.
    SourceSuspended,
    /// The source works on the answer; asked again, it may have it.
    SourcePending,
    /// A value does not fit its field.
    ValueInvalid,
    /// The source does not cover this division.
    OutsideTerritory,
    /// Something the source's call needs (a key, a mandate) is not there or not known.
    InputMissing,
    /// Two departments hold the fact and disagree.
    Conflict,
    /// The department allows a role only so much, and that is used up for now.
    QuotaExceeded,
    /// The request's own deadline came first.
    DeadlineExceeded,
    /// The audit record could not be written, so nothing is answered.
    AuditUnavailable,
    /// Tokens cannot be checked now (keys or revocations cannot be had), so nobody's counts.
    AuthenticationUnavailable,
    /// A fault of the gateway itself.
    Internal,
}

/// The state of an item, or of any field that is null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ItemState {
    /// The department gave a value (an empty list is a value).
    Answered,
    /// The department answered, and holds nothing for this household or person.
    NoRecord,
    /// There is a value, shown masked.
    Masked,
    /// No grant gives it.
    Refused,
    /// The department works on it; ask again.
    Pending,
    /// The department did not answer, or answered nonsense.
    Unavailable,
    /// It cannot be known: outside the territory, or an input is missing.
    Undetermined,
    /// Two departments disagree.
    Conflict,
}

macro_rules! screaming {
    ($type:ty, $($variant:ident => $text:literal),+ $(,)?) => {
        impl $type {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As it stands in answers and in the contract.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }
        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

screaming!(ErrorCode,
    BadRequest => "BAD_REQUEST", ParseFailed => "PARSE_FAILED", ValidationFailed => "VALIDATION_FAILED",
    LimitExceeded => "LIMIT_EXCEEDED", RateLimited => "RATE_LIMITED", Overloaded => "OVERLOADED", Unauthenticated => "UNAUTHENTICATED", Forbidden => "FORBIDDEN",
    SourceTimeout => "SOURCE_TIMEOUT", SourceUnreachable => "SOURCE_UNREACHABLE", SourceError => "SOURCE_ERROR",
    SourceBadAnswer => "SOURCE_BAD_ANSWER", SourceWithdrawn => "SOURCE_WITHDRAWN", NoSource => "NO_SOURCE",
    SourceBusy => "SOURCE_BUSY", SourceSuspended => "SOURCE_SUSPENDED",
    SourcePending => "SOURCE_PENDING", ValueInvalid => "VALUE_INVALID",
    OutsideTerritory => "OUTSIDE_TERRITORY", InputMissing => "INPUT_MISSING",
    Conflict => "CONFLICT", QuotaExceeded => "QUOTA_EXCEEDED",
    DeadlineExceeded => "DEADLINE_EXCEEDED", AuditUnavailable => "AUDIT_UNAVAILABLE",
    AuthenticationUnavailable => "AUTHENTICATION_UNAVAILABLE", Internal => "INTERNAL",
);

screaming!(ItemState,
    Answered => "ANSWERED", NoRecord => "NO_RECORD", Masked => "MASKED", Refused => "REFUSED", Pending => "PENDING",
    Unavailable => "UNAVAILABLE", Undetermined => "UNDETERMINED", Conflict => "CONFLICT",
);
