//! Where Tombolo judges otherwise than etcd 3.4, on purpose, and why: the one list of it.
//!
//! Newer releases of etcd have mended most of it, each as a hole of its own; where they differ among themselves the newest decides here.

use tombolo_proto::Method;

use super::Needs;

/// A reason to judge otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// etcd did not ask who calls (CVE-2026-33413, CVE-2023-32082; mended in 3.5 and 3.6).
    Unguarded,
    /// etcd looked at the first level of a transaction only (CVE-2026-33343; mended in 3.5 and 3.6).
    NestedUnseen,
    /// etcd forgot that a put in a transaction may show what was there, or attach to a lease that has other keys (CVE-2026-44283; mended since).
    EffectUnseen,
    /// etcd took a watch without end for one of a single key (GHSA-xg4h-6gfc-h4m8; mended in 3.6.14).
    OpenEndUnseen,
    /// etcd refused to let somebody log in who came with an old token (mended in 3.5).
    LoginNeedsGoodToken,
    /// No etcd minds: to keep the value or the lease that is there fails where there is none, and so tells whether there is.
    KeepingTells,
    /// No etcd minds: a transaction that does nothing still tells the revision. Here only Auth's own open calls answer somebody who is nobody.
    NothingAsked,
    /// No etcd says so: it ends the stream as if there were nobody to observe.
    SilentEnd,
}

/// What etcd 3.4 needs for a call, where that is something else than here, and why.
#[must_use]
pub fn difference(method: Method, shape: &str) -> Option<(Difference, Needs)> {
    use Difference::{
        EffectUnseen, KeepingTells, LoginNeedsGoodToken, NestedUnseen, NothingAsked, OpenEndUnseen, SilentEnd,
        Unguarded,
    };
    Some(match (method, shape) {
        (Method::Authenticate, _) => (LoginNeedsGoodToken, Needs::GoodToken),
        (
            Method::ClusterMemberList
            | Method::LeaseKeepAlive
            | Method::LeaseLeases
            | Method::LeaseTimeToLive
            | Method::MaintenanceAlarm
            | Method::MaintenanceDefragment
            | Method::MaintenanceHash
            | Method::MaintenanceHashKv
            | Method::MaintenanceMoveLeader
            | Method::MaintenanceSnapshot
            | Method::MaintenanceStatus,
            _,
        ) => (Unguarded, Needs::Nothing),
        (Method::KvCompact | Method::LeaseGrant, _) | (Method::LeaseRevoke, "of none") => (Unguarded, Needs::GoodToken),
        (Method::KvTxn, "of nothing") => (NothingAsked, Needs::GoodToken),
        (Method::KvTxn, nested) if nested.contains("within which") => (NestedUnseen, Needs::GoodToken),
        (Method::KvTxn, "whose put shows what was" | "that might attach to a lease") => (EffectUnseen, Needs::Write),
        (Method::KvPut, "that keeps the value" | "that keeps the lease") => (KeepingTells, Needs::Write),
        (Method::Watch, "to the end") => (OpenEndUnseen, Needs::Read),
        (Method::ElectionObserve, _) => (SilentEnd, Needs::Nothing),
        _ => return None,
    })
}
