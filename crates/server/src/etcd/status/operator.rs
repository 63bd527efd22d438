//! What is refused to operators' tools, in etcd's words where it has them.

use thiserror::Error;
use tonic::Code;

use crate::keeper::Refused;

/// A refusal of `Maintenance` or `Cluster`.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub(crate) enum OperatorFault {
    #[error("etcdserver: member not found")]
    MemberNotFound,
    #[error("etcdserver: given member URLs are invalid")]
    MemberBadUrls,
    #[error("etcdserver: Peer URLs already exists")]
    PeerUrlExists,
    #[error("etcdserver: re-configuration failed due to not enough started members")]
    MemberNotEnoughStarted,
    #[error("etcdserver: can only promote a learner member")]
    MemberNotLearner,
    #[error("etcdserver: bad leader transferee")]
    BadLeaderTransferee,
    #[error("etcdserver: {}", downgrade_text(*.0))]
    Downgrade(Refused),
    #[error("etcdserver: unknown method")]
    UnknownMethod,
    #[error("tombolo: a server joins a mesh by invitation: see `tombolo mesh invite`")]
    JoinsByInvitation,
    #[error("tombolo: a site announces its own addresses: start it with --initial-advertise-peer-urls")]
    AnnouncesItself,
    #[error("tombolo: the alarm ends by itself when its cause does: see `tombolo mesh status`")]
    AlarmEndsByItself,
    #[error("tombolo: {number} is no alarm")]
    NoSuchAlarm { number: i32 },
}

impl OperatorFault {
    pub(super) fn code(&self) -> Code {
        match self {
            Self::MemberNotFound => Code::NotFound,
            Self::MemberBadUrls | Self::NoSuchAlarm { .. } | Self::Downgrade(Refused::Format | Refused::Target) => {
                Code::InvalidArgument
            }
            Self::PeerUrlExists
            | Self::MemberNotLearner
            | Self::BadLeaderTransferee
            | Self::Downgrade(Refused::UnderWay | Refused::None)
            | Self::JoinsByInvitation
            | Self::AnnouncesItself
            | Self::AlarmEndsByItself => Code::FailedPrecondition,
            // etcd has given them no code.
            Self::MemberNotEnoughStarted | Self::UnknownMethod => Code::Unknown,
        }
    }
}

const fn downgrade_text(refused: Refused) -> &'static str {
    match refused {
        Refused::Format => "wrong downgrade target version format",
        Refused::Target => "invalid downgrade target version",
        Refused::UnderWay => "cluster has a downgrade job in progress",
        Refused::None => "no inflight downgrade job",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_texts_are_those_that_tools_compare() {
        for (fault, code, text) in [
            (OperatorFault::MemberNotFound, 5, "etcdserver: member not found"),
            (OperatorFault::MemberBadUrls, 3, "etcdserver: given member URLs are invalid"),
            (
                OperatorFault::MemberNotEnoughStarted,
                2,
                "etcdserver: re-configuration failed due to not enough started members",
            ),
            (OperatorFault::PeerUrlExists, 9, "etcdserver: Peer URLs already exists"),
            (OperatorFault::MemberNotLearner, 9, "etcdserver: can only promote a learner member"),
            (OperatorFault::BadLeaderTransferee, 9, "etcdserver: bad leader transferee"),
            (OperatorFault::Downgrade(Refused::Format), 3, "etcdserver: wrong downgrade target version format"),
            (OperatorFault::Downgrade(Refused::Target), 3, "etcdserver: invalid downgrade target version"),
            (OperatorFault::Downgrade(Refused::UnderWay), 9, "etcdserver: cluster has a downgrade job in progress"),
            (OperatorFault::Downgrade(Refused::None), 9, "etcdserver: no inflight downgrade job"),
            (OperatorFault::UnknownMethod, 2, "etcdserver: unknown method"),
        ] {
            assert_eq!((fault.code() as i32, fault.to_string().as_str()), (code, text));
        }
    }
}
