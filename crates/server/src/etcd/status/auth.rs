//! What is wrong with who asks, or with what is asked of the policy, in etcd's words.

use thiserror::Error;
use tombolo_auth::{Denied, Refused};
use tonic::Code;

/// A refusal that concerns users, roles or tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum AuthFault {
    #[error("etcdserver: {}", denied_text(*.0))]
    Denied(Denied),
    #[error("etcdserver: {0}")]
    Refused(Refused),
    #[error("etcdserver: invalid auth token")]
    InvalidToken,
    #[error("etcdserver: authentication is not enabled")]
    NotEnabled,
    #[error("etcdserver: authentication failed, invalid user ID or password")]
    Failed,
    // The following have no word of their own in etcd's contract: they come as they are, and their code says nothing.
    #[error("auth: authentication failed, password was given for no password user")]
    PasswordOfNone,
    #[error("bcrypt: password length exceeds 72 bytes")]
    PasswordTooLong,
    #[error("auth: token signing attempted with verify-only key")]
    VerifyOnly,
}

impl AuthFault {
    pub(super) fn code(self) -> Code {
        match self {
            Self::Denied(Denied::NotPermitted) => Code::PermissionDenied,
            Self::InvalidToken => Code::Unauthenticated,
            Self::Denied(Denied::NoUser | Denied::OldPolicy)
            | Self::Failed
            | Self::Refused(
                Refused::UserEmpty | Refused::RoleEmpty | Refused::PermissionNotGiven | Refused::InvalidManagement,
            ) => Code::InvalidArgument,
            Self::Denied(Denied::UnknownUser) | Self::NotEnabled | Self::Refused(_) => Code::FailedPrecondition,
            Self::PasswordOfNone | Self::PasswordTooLong | Self::VerifyOnly => Code::Unknown,
        }
    }
}

fn denied_text(why: Denied) -> &'static str {
    match why {
        Denied::NoUser => "user name is empty",
        Denied::UnknownUser => "user name not found",
        Denied::OldPolicy => "revision of auth store is old",
        Denied::NotPermitted => "permission denied",
    }
}

impl From<Denied> for super::Fault {
    fn from(why: Denied) -> Self {
        Self::Auth(AuthFault::Denied(why))
    }
}

impl From<Refused> for super::Fault {
    fn from(why: Refused) -> Self {
        Self::Auth(AuthFault::Refused(why))
    }
}

#[cfg(test)]
mod tests {
    use tonic::Status;

    use super::{super::Fault, *};

    #[test]
    fn codes_and_texts_are_those_that_clients_compare() {
        let refused = AuthFault::Refused;
        for (fault, code, text) in [
            (AuthFault::Denied(Denied::NoUser), 3, "etcdserver: user name is empty"),
            (AuthFault::Denied(Denied::UnknownUser), 9, "etcdserver: user name not found"),
            (AuthFault::Denied(Denied::OldPolicy), 3, "etcdserver: revision of auth store is old"),
            (AuthFault::Denied(Denied::NotPermitted), 7, "etcdserver: permission denied"),
            (AuthFault::InvalidToken, 16, "etcdserver: invalid auth token"),
            (AuthFault::NotEnabled, 9, "etcdserver: authentication is not enabled"),
            (AuthFault::Failed, 3, "etcdserver: authentication failed, invalid user ID or password"),
            (AuthFault::PasswordOfNone, 2, "auth: authentication failed, password was given for no password user"),
            (refused(Refused::NoRootUser), 9, "etcdserver: root user does not exist"),
            (refused(Refused::NoRootRole), 9, "etcdserver: root user does not have root role"),
            (refused(Refused::UserEmpty), 3, "etcdserver: user name is empty"),
            (refused(Refused::UserExists), 9, "etcdserver: user name already exists"),
            (refused(Refused::UserNotFound), 9, "etcdserver: user name not found"),
            (refused(Refused::RoleEmpty), 3, "etcdserver: role name is empty"),
            (refused(Refused::RoleExists), 9, "etcdserver: role name already exists"),
            (refused(Refused::RoleNotFound), 9, "etcdserver: role name not found"),
            (refused(Refused::RoleNotGranted), 9, "etcdserver: role is not granted to the user"),
            (refused(Refused::PermissionNotGiven), 3, "etcdserver: permission not given"),
            (refused(Refused::PermissionNotGranted), 9, "etcdserver: permission is not granted to the role"),
            (refused(Refused::InvalidManagement), 3, "etcdserver: invalid auth management"),
        ] {
            let status = Status::from(Fault::Auth(fault));
            assert_eq!((status.code() as i32, status.message()), (code, text));
        }
    }
}
