//! What ought to become of a call: from what it does, as etcd's newest release sees it, and from who makes it.

use tombolo_proto::Method;

use super::{Caller, Verdict};

/// What a call needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Nothing, whatever the token is.
    Nothing,
    /// Nothing, but a token that is given must be one.
    GoodToken,
    /// Some user.
    User,
    /// The right to read the secret keys.
    Read,
    /// The right to write them.
    Write,
    /// Both rights.
    ReadWrite,
    /// The role `root`.
    Root,
    /// To be the reader, or `root`.
    Reader,
}

/// What ought to become of a call of this method.
#[must_use]
pub fn expected(method: Method, needs: Needs, caller: Caller) -> Verdict {
    let verdict = judged(needs, caller);
    let is_client = ["v3lockpb.Lock", "v3electionpb.Election"].contains(&method.service());
    if is_client { verdict.without_code() } else { verdict }
}

fn judged(needs: Needs, caller: Caller) -> Verdict {
    if needs == Needs::Nothing || caller == Caller::WithoutPolicy {
        return Verdict::Passed;
    }
    match caller {
        Caller::Forger | Caller::Foreigner | Caller::Expired => return Verdict::bad_token(),
        Caller::Nobody if needs != Needs::GoodToken => return Verdict::no_user(),
        _ => {}
    }
    let may = match needs {
        Needs::Nothing | Needs::GoodToken | Needs::User => true,
        Needs::Read => caller.reads(),
        Needs::Write => caller.writes(),
        Needs::ReadWrite => caller.reads() && caller.writes(),
        Needs::Root => caller == Caller::Root,
        Needs::Reader => matches!(caller, Caller::Reader | Caller::Root),
    };
    if may { Verdict::Passed } else { Verdict::denied() }
}
