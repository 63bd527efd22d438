//! What became of a call, as far as rights are concerned.

use prost::Message as _;
use tombolo_proto::{Method, etcdserverpb::WatchResponse};
use tonic::Code;

use super::Answer;

/// Whether a call was let through.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It was carried out, or failed for another reason than a lack of rights.
    Passed,
    /// It was refused, with this code and text.
    Refused(i32, String),
    /// The server does not know the call.
    Absent,
}

impl Verdict {
    /// A refusal that is given before anything else is looked at, if the answer is one.
    #[must_use]
    pub fn of(method: Method, answer: &Answer) -> Self {
        if method == Method::Watch
            && let Some(reason) = cancelled(answer)
        {
            return Self::of_text(&reason);
        }
        let (code, text) = (answer.status.code(), answer.status.message());
        // Servers differ in what they call it, and agree on the code. What is known and not served begins in another way.
        if code == Code::Unimplemented && text.starts_with("unknown ") {
            return Self::Absent;
        }
        if TEXTS.iter().any(|(_, known)| *known == text) {
            return Self::Refused(code as i32, text.to_owned());
        }
        Self::Passed
    }

    /// A watch says as a text what other calls say as code and text.
    fn of_text(reason: &str) -> Self {
        let known = TEXTS.iter().find(|(code, text)| reason == format!("rpc error: code = {code:?} desc = {text}"));
        known.map_or(Self::Passed, |(code, text)| Self::Refused(*code as i32, (*text).to_owned()))
    }

    /// Nobody was named.
    #[must_use]
    pub fn no_user() -> Self {
        Self::refused(Code::InvalidArgument)
    }

    /// The token is none.
    #[must_use]
    pub fn bad_token() -> Self {
        Self::refused(Code::Unauthenticated)
    }

    /// The right is lacking.
    #[must_use]
    pub fn denied() -> Self {
        Self::refused(Code::PermissionDenied)
    }

    /// The same for a call that etcd carries out as a client of its own: a refusal loses its code there, and keeps its text.
    #[must_use]
    pub fn without_code(self) -> Self {
        match self {
            Self::Refused(_, text) => Self::Refused(Code::Unknown as i32, text),
            verdict => verdict,
        }
    }

    fn refused(code: Code) -> Self {
        let text = TEXTS.iter().find(|(known, _)| *known == code).map_or("", |(_, text)| text);
        Self::Refused(code as i32, text.to_owned())
    }
}

/// What etcd says to those who lack a right.
const TEXTS: [(Code, &str); 4] = [
    (Code::InvalidArgument, "etcdserver: user name is empty"),
    (Code::Unauthenticated, "etcdserver: invalid auth token"),
    (Code::PermissionDenied, "etcdserver: permission denied"),
    (Code::FailedPrecondition, "etcdserver: user name not found"),
];

/// Why a watch was not begun.
fn cancelled(answer: &Answer) -> Option<String> {
    let first = answer.messages.first()?;
    let response = WatchResponse::decode(first.clone()).ok()?;
    response.canceled.then_some(response.cancel_reason)
}
