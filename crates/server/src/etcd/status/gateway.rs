//! What goes wrong in the JSON gateway before there is a call, and the status of HTTP for each code: both as etcd's gateway has them.

use std::fmt::Display;

use http::StatusCode;
use tombolo_proto::json::{ReadError, WriteError};
use tonic::{Code, Status};

/// The status of an answer with this code.
pub(crate) fn http_status(code: Code) -> StatusCode {
    match code {
        Code::Ok => StatusCode::OK,
        Code::Cancelled => StatusCode::REQUEST_TIMEOUT,
        Code::InvalidArgument | Code::FailedPrecondition | Code::OutOfRange => StatusCode::BAD_REQUEST,
        Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::AlreadyExists | Code::Aborted => StatusCode::CONFLICT,
        Code::PermissionDenied => StatusCode::FORBIDDEN,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::Unimplemented => StatusCode::NOT_IMPLEMENTED,
        Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Code::Unknown | Code::Internal | Code::DataLoss => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// A body that is no message.
pub(crate) fn unreadable(why: &ReadError) -> Status {
    Status::invalid_argument(why.to_string())
}

/// A stream that does not begin with a message. etcd has no code for this.
pub(crate) fn unreadable_stream(why: &ReadError) -> Status {
    Status::unknown(why.to_string())
}

/// A body that did not come to its end.
pub(crate) fn broken_body(why: &impl Display) -> Status {
    Status::invalid_argument(format!("tombolo: the request's body: {why}"))
}

/// A body that is not read to its end.
pub(crate) fn body_too_large(max: usize) -> Status {
    Status::resource_exhausted(format!("tombolo: a request's JSON may have {max} bytes"))
}

/// An answer of a service that is no message: a fault of ours.
pub(crate) fn unwritable(why: &WriteError) -> Status {
    Status::internal(format!("tombolo: an answer has no form in JSON: {why}"))
}

pub(crate) fn bad_timeout(given: &str) -> Status {
    Status::invalid_argument(format!("invalid grpc-timeout: {given}"))
}

/// The client's time is over.
pub(crate) fn too_late() -> Status {
    Status::deadline_exceeded("context deadline exceeded")
}
