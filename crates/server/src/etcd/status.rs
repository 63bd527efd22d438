//! etcd's errors: the one file that names gRPC status codes.
//!
//! Clients compare code *and* text, so both are etcd's to the letter wherever etcd has a word for what happened. What it has no word for begins with
//! `tombolo:`.

use http::HeaderMap;
use thiserror::Error;
use tombolo_storage::{CommitError, ReadError, RequestError};
use tonic::{Code, Status};

use crate::committer::Refusal;

mod auth;
pub(crate) mod gateway;
pub(crate) mod line;
mod operator;

pub(crate) use self::{auth::AuthFault, operator::OperatorFault};

/// The number of the code that means success.
pub(crate) const OK: usize = Code::Ok as usize;
/// The number of the code with which a client's going is counted.
pub(crate) const CANCELED: usize = Code::Cancelled as usize;

/// The code that the head, or the trailers, of an answer carry; success when they carry none, as the head of a good answer does. What the RPC library says in its own
/// words is put into those of etcd's library.
pub(crate) fn of_head(headers: &mut HeaderMap) -> usize {
    let Some(status) = Status::from_header_map(headers) else { return OK };
    if let Some(mended) = too_large(&status) {
        // The message is plain text of ours and always fits a header.
        let _ = mended.add_header(headers);
        return mended.code() as usize;
    }
    status.code() as usize
}

/// The answer to a request for a service that is not there.
pub(crate) fn unknown_service(path: &str) -> Status {
    let name = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    Status::unimplemented(format!("unknown service {name}"))
}

/// A message beyond the limit of decoding, in the words of etcd's RPC library; `None` for every other status.
pub(super) fn too_large(status: &Status) -> Option<Status> {
    let numbers = status.message().strip_prefix("Error, decoded message length too large: found ")?;
    let (found, limit) = numbers.split_once(" bytes, the limit is: ")?;
    let limit = limit.strip_suffix(" bytes")?;
    Some(Status::resource_exhausted(format!("grpc: received message larger than max ({found} vs. {limit})")))
}

/// A refusal in etcd's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum Fault {
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    #[error("etcdserver: key not found")]
    KeyNotFound,
    #[error("etcdserver: value is provided")]
    ValueProvided,
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    #[error("etcdserver: mvcc: database space exceeded")]
    NoSpace,
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    #[error("etcdserver: too many requests")]
    TooManyRequests,
    #[error("etcdserver: server stopped")]
    Stopped,
    #[error("etcdserver: corrupt cluster")]
    Corrupt,
    #[error(
        "tombolo: no writes are taken: this replica's records are disputed by another site: see `tombolo mesh status`"
    )]
    Disowned,
    #[error("tombolo: no writes are taken: this replica was removed from the mesh: see `tombolo mesh status`")]
    Removed,
    #[error("tombolo: {what}")]
    CannotChangeMember { what: String },
    #[error("tombolo: {what}")]
    NoSuchMember { what: String },
    #[error("tombolo: {what}")]
    CannotRepair { what: String },
    #[error("tombolo: {what}")]
    BadTail { what: String },
    #[error("tombolo: {what}")]
    BadInvitation { what: String },
    #[error("tombolo: {what}")]
    CannotInvite { what: String },
    #[error("tombolo: lease {id:016x} lives at {home}, where its time is counted: {why}")]
    LeaseElsewhere { id: i64, home: String, why: String },
    #[error("tombolo: an import is under way or was interrupted, and nothing else is served before its end")]
    Importing,
    #[error("tombolo: {what}")]
    BadImport { what: String },
    #[error("tombolo: {what}")]
    CannotImport { what: String },
    #[error("tombolo: NOSLOT: this replica has no revisions left")]
    RevisionsExhausted,
    #[error("tombolo: the store takes no more writes until it is reopened: {cause}")]
    Poisoned { cause: String },
    #[error(transparent)]
    Auth(#[from] AuthFault),
    #[error(transparent)]
    Operator(#[from] OperatorFault),
    #[error("tombolo: {what}")]
    Internal { what: String },
}

impl Fault {
    /// As the errors of etcd's RPC library print: where etcd puts one into a text, its clients compare that.
    pub(crate) fn as_go_error(&self) -> String {
        format!("rpc error: code = {:?} desc = {self}", self.code())
    }

    fn code(&self) -> Code {
        match self {
            Self::EmptyKey
            | Self::KeyNotFound
            | Self::ValueProvided
            | Self::LeaseProvided
            | Self::TooManyOps
            | Self::DuplicateKey
            | Self::InvalidSortOption
            | Self::RequestTooLarge
            | Self::BadInvitation { .. }
            | Self::BadTail { .. }
            | Self::BadImport { .. } => Code::InvalidArgument,
            Self::Compacted | Self::FutureRevision | Self::LeaseTtlTooLarge => Code::OutOfRange,
            Self::NoSpace | Self::TooManyRequests => Code::ResourceExhausted,
            Self::LeaseNotFound | Self::NoSuchMember { .. } => Code::NotFound,
            Self::LeaseExists
            | Self::CannotChangeMember { .. }
            | Self::CannotInvite { .. }
            | Self::CannotRepair { .. }
            | Self::CannotImport { .. }
            | Self::RevisionsExhausted => Code::FailedPrecondition,
            Self::Stopped
            | Self::Disowned
            | Self::Removed
            | Self::Importing
            | Self::Poisoned { .. }
            | Self::LeaseElsewhere { .. } => Code::Unavailable,
            Self::Corrupt => Code::DataLoss,
            Self::Auth(fault) => fault.code(),
            Self::Operator(fault) => fault.code(),
            Self::Internal { .. } => Code::Internal,
        }
    }
}

impl From<Fault> for Status {
    fn from(fault: Fault) -> Self {
        Self::new(fault.code(), fault.to_string())
    }
}

impl From<&ReadError> for Fault {
    fn from(why: &ReadError) -> Self {
        match why {
            ReadError::Compacted { .. } => Self::Compacted,
            ReadError::FutureRevision { .. } => Self::FutureRevision,
            ReadError::Rot { .. } => Self::Corrupt,
            ReadError::Engine(engine) => Self::Internal { what: format!("{why}: {engine}") },
        }
    }
}

impl From<&RequestError> for Fault {
    fn from(why: &RequestError) -> Self {
        match why {
            RequestError::LeaseNotFound { .. } | RequestError::LeaseAmbiguous { .. } => Self::LeaseNotFound,
            // Whoever asks for this asks again, or was held back until it can be: it is told to no client.
            RequestError::LeaseHoldsOthers { .. } | RequestError::Joining => Self::Internal { what: why.to_string() },
            RequestError::LeaseExists { .. } => Self::LeaseExists,
            RequestError::KeyNotFound => Self::KeyNotFound,
            RequestError::RecordTooLarge { .. }
            | RequestError::TooManyOperations { .. }
            | RequestError::SystemTooLarge { .. } => Self::RequestTooLarge,
            RequestError::LeaseTtl { .. } => Self::LeaseTtlTooLarge,
            RequestError::Importing => Self::Importing,
            RequestError::Import(why) => why.into(),
            RequestError::RevisionsExhausted => Self::RevisionsExhausted,
            RequestError::NoSpace => Self::NoSpace,
            RequestError::Poisoned { cause } => Self::Poisoned { cause: cause.clone() },
            RequestError::Read(read) => read.into(),
        }
    }
}

impl From<&CommitError> for Fault {
    fn from(why: &CommitError) -> Self {
        match why {
            CommitError::Poisoned { cause } => Self::Poisoned { cause: cause.clone() },
            CommitError::Read(read) => read.into(),
        }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Request(why) => why.as_ref().into(),
            Refusal::Commit(why) => why.as_ref().into(),
            Refusal::QueueFull => Self::TooManyRequests,
            Refusal::Disowned => Self::Disowned,
            Refusal::Removed => Self::Removed,
            Refusal::Corrupt => Self::Corrupt,
            Refusal::Stopped => Self::Stopped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_too_large_to_decode_is_refused_in_the_words_of_etcds_library() {
        let text = "Error, decoded message length too large: found 3000000 bytes, the limit is: 2097152 bytes";
        let mut headers = HeaderMap::new();
        Status::out_of_range(text).add_header(&mut headers).unwrap();
        assert_eq!(of_head(&mut headers), Code::ResourceExhausted as usize);
        let status = Status::from_header_map(&headers).unwrap();
        assert_eq!(status.code(), Code::ResourceExhausted);
        assert_eq!(status.message(), "grpc: received message larger than max (3000000 vs. 2097152)");
    }

    #[test]
    fn the_names_of_codes_in_the_metrics_stand_at_their_numbers() {
        for code in [Code::Ok, Code::OutOfRange, Code::Unauthenticated] {
            assert_eq!(crate::metrics::CODES[code as usize], format!("{code:?}").replace("Ok", "OK"));
        }
    }

    #[test]
    fn the_head_of_a_good_answer_carries_no_code() {
        assert_eq!(of_head(&mut HeaderMap::new()), OK);
    }

    #[test]
    fn codes_and_texts_are_those_that_clients_compare() {
        for (fault, code, text) in [
            (Fault::EmptyKey, 3, "etcdserver: key is not provided"),
            (Fault::KeyNotFound, 3, "etcdserver: key not found"),
            (Fault::TooManyOps, 3, "etcdserver: too many operations in txn request"),
            (Fault::DuplicateKey, 3, "etcdserver: duplicate key given in txn request"),
            (Fault::RequestTooLarge, 3, "etcdserver: request is too large"),
            (Fault::LeaseNotFound, 5, "etcdserver: requested lease not found"),
            (Fault::NoSpace, 8, "etcdserver: mvcc: database space exceeded"),
            (Fault::TooManyRequests, 8, "etcdserver: too many requests"),
            (Fault::LeaseExists, 9, "etcdserver: lease already exists"),
            (Fault::Compacted, 11, "etcdserver: mvcc: required revision has been compacted"),
            (Fault::FutureRevision, 11, "etcdserver: mvcc: required revision is a future revision"),
            (Fault::LeaseTtlTooLarge, 11, "etcdserver: too large lease TTL"),
            (Fault::Stopped, 14, "etcdserver: server stopped"),
            (Fault::Corrupt, 15, "etcdserver: corrupt cluster"),
        ] {
            let status = Status::from(fault);
            assert_eq!((status.code() as i32, status.message()), (code, text));
        }
    }
}
