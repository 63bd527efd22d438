//! What two sites change without knowing of one another: it merges, in either order to the same, and where it contradicts itself the careful reading holds.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use tombolo_auth::{
    Access, Caller, Change, Concerned, Denied, Needs, PasswordHash, Permission, Policy, ROOT, Register, Span,
};

/// A site's registers: the values of each with the writes that made them. A write supersedes what its site holds.
#[derive(Clone, Default)]
struct Site {
    name: u64,
    written: u64,
    live: BTreeMap<Bytes, BTreeMap<(u64, u64), Bytes>>,
    seen: BTreeMap<u64, u64>,
}

impl Site {
    fn policy(&self) -> Policy {
        let registers = self.live.iter().filter(|(_, siblings)| !siblings.is_empty());
        Policy::read(
            registers.map(|(key, siblings)| Register {
                key: key.clone(),
                siblings: siblings.values().rev().cloned().collect(),
            }),
        )
    }

    fn change(&mut self, change: Change) -> &mut Self {
        let writes = self.policy().plan(&change, self.name).unwrap_or_else(|why| panic!("{change:?}: {why}"));
        self.written += 1;
        self.seen.insert(self.name, self.written);
        for write in writes {
            let siblings = self.live.entry(write.key).or_default();
            siblings.clear();
            siblings.extend(write.value.map(|value| ((self.written, self.name), value)));
        }
        self
    }

    /// An element stays when both hold it, or when one holds it that the other has not seen.
    fn merge(&mut self, other: &Self) {
        let keys: Vec<_> = self.live.keys().chain(other.live.keys()).cloned().collect();
        for key in keys {
            let theirs = other.live.get(&key).cloned().unwrap_or_default();
            let mine = self.live.entry(key).or_default();
            let unseen = |seen: &BTreeMap<u64, u64>, (number, site): &(u64, u64)| seen.get(site) < Some(number);
            mine.retain(|element, _| theirs.contains_key(element) || unseen(&other.seen, element));
            let news = theirs.into_iter().filter(|(element, _)| unseen(&self.seen, element));
            mine.extend(news.collect::<Vec<_>>());
        }
        for (site, number) in &other.seen {
            let seen = self.seen.entry(*site).or_default();
            *seen = (*seen).max(*number);
        }
    }
}

fn hash(text: &'static str) -> PasswordHash {
    PasswordHash::from_bytes(text)
}

fn user(name: &str) -> Change {
    Change::AddUser { name: name.into(), password: Some(hash("first")) }
}

fn role(name: &str) -> Change {
    Change::AddRole { name: name.into() }
}

fn grant(user: &str, role: &str) -> Change {
    Change::GrantRole { user: user.into(), role: role.into() }
}

fn permit(role: &str, access: Access, key: &'static str) -> Change {
    let permission = Permission { access, key: key.into(), range_end: Bytes::new() };
    Change::GrantPermission { role: role.into(), permission: Some(permission) }
}

/// Two sites that agree on root, ann, bob and two roles, enabled.
fn sites() -> (Site, Site) {
    let mut first = Site { name: 1, ..Site::default() };
    for change in [user(ROOT), grant(ROOT, ROOT), user("ann"), user("bob"), role("r"), role("s"), Change::Enable] {
        first.change(change);
    }
    let mut second = Site { name: 2, ..Site::default() };
    second.merge(&first);
    second.written = first.written;
    (first, second)
}

/// Lets both hear of one another, and gives what they agree on.
fn heal(first: &mut Site, second: &mut Site) -> Policy {
    let before = first.clone();
    first.merge(second);
    second.merge(&before);
    assert_eq!(first.policy(), second.policy(), "both read the same");
    first.policy()
}

fn may(policy: &Policy, name: &str, access: Access, key: &'static str) -> bool {
    let caller = Caller::User { name: name.into(), revision: policy.revision() };
    let span = vec![Span::key(key)];
    let needs = match access {
        Access::Read => Needs::Keys { read: span, write: vec![] },
        _ => Needs::Keys { read: vec![], write: span },
    };
    policy.judge(&caller, &needs).is_ok()
}

#[test]
fn grants_of_both_sides_are_there() {
    let (mut here, mut there) = sites();
    here.change(grant("ann", "r")).change(permit("r", Access::Read, "k"));
    there.change(grant("ann", "s")).change(permit("s", Access::Write, "k"));
    let policy = heal(&mut here, &mut there);
    assert!(policy.user("ann").unwrap().roles().eq(["r", "s"]));
    assert!(may(&policy, "ann", Access::Read, "k") && may(&policy, "ann", Access::Write, "k"));
    assert_eq!(policy.revision(), 1 + 6 + 4, "every change counts, wherever it was made");
}

#[test]
fn of_two_rights_to_one_key_what_both_allow_is_left() {
    for (one, other, reads, writes) in [
        (Access::ReadWrite, Access::Read, true, false),
        (Access::Write, Access::ReadWrite, false, true),
        (Access::Read, Access::Write, false, false),
        (Access::ReadWrite, Access::ReadWrite, true, true),
        (Access::ReadWrite, Access::Unknown(9), false, false),
    ] {
        let (mut here, mut there) = sites();
        here.change(grant("ann", "r")).change(permit("r", one, "k"));
        there.change(permit("r", other, "k"));
        let policy = heal(&mut here, &mut there);
        let rights = (may(&policy, "ann", Access::Read, "k"), may(&policy, "ann", Access::Write, "k"));
        assert_eq!(rights, (reads, writes), "{one:?} and {other:?}");
        // Whoever decides anew is heard.
        here.change(permit("r", Access::Read, "k"));
        assert!(may(&here.policy(), "ann", Access::Read, "k"));
    }
}

#[test]
fn a_user_that_one_side_removed_is_gone_whatever_the_other_did_to_it() {
    let (mut here, mut there) = sites();
    here.change(Change::DeleteUser { name: "ann".into() });
    there.change(Change::ChangePassword { name: "ann".into(), password: hash("second") }).change(grant("ann", ROOT));
    let policy = heal(&mut here, &mut there);
    assert_eq!(policy.user("ann"), None);
    // A new one of the name has nothing of the old one.
    here.change(Change::AddUser { name: "ann".into(), password: Some(hash("third")) });
    let policy = here.policy();
    let ann = policy.user("ann").unwrap();
    assert!(!ann.is_root() && ann.password() == Some(&hash("third")));
}

#[test]
fn a_role_that_one_side_removed_gives_nothing_any_more() {
    let (mut here, mut there) = sites();
    here.change(Change::DeleteRole { name: "r".into() });
    there.change(permit("r", Access::ReadWrite, "k")).change(grant("ann", "r"));
    let policy = heal(&mut here, &mut there);
    assert!(policy.user("ann").unwrap().roles().eq::<[&str; 0]>([]));
    assert!(!may(&policy, "ann", Access::Read, "k"));
    here.change(role("r"));
    assert_eq!(here.policy().role("r").unwrap().permissions().count(), 0);
    assert!(here.policy().user("ann").unwrap().roles().eq::<[&str; 0]>([]));
}

#[test]
fn judging_wins_over_not_judging() {
    let (mut here, mut there) = sites();
    // Whichever write is the later one.
    for delays in [0, 9] {
        for number in 0..delays {
            here.change(role(&format!("{number}")));
        }
        here.change(Change::Disable);
        there.change(Change::Disable).change(Change::Enable);
        assert!(heal(&mut here, &mut there).is_enabled(), "{delays}");
    }
    here.change(Change::Disable);
    assert!(!heal(&mut here, &mut there).is_enabled(), "who has seen both decides");
}

#[test]
fn one_of_two_new_passwords_holds_and_it_is_the_same_everywhere() {
    let (mut here, mut there) = sites();
    here.change(Change::ChangePassword { name: "ann".into(), password: hash("here") });
    there.change(Change::ChangePassword { name: "ann".into(), password: hash("there") });
    let policy = heal(&mut here, &mut there);
    let password = policy.user("ann").unwrap().password().unwrap().clone();
    assert!([hash("here"), hash("there")].contains(&password));
}

#[test]
fn the_refusals_come_in_etcds_order() {
    let (here, _) = sites();
    let policy = here.policy();
    let caller = |name: &str, revision| Caller::User { name: name.into(), revision };
    let now = policy.revision();
    let keys = Needs::Keys { read: vec![Span::key("k")], write: vec![] };
    for (caller, needs, judged) in [
        (Caller::Nobody, &keys, Err(Denied::NoUser)),
        (caller("ann", 0), &keys, Err(Denied::NoUser)),
        (caller("ann", now - 1), &keys, Err(Denied::OldPolicy)),
        (caller(ROOT, now - 1), &keys, Err(Denied::OldPolicy)),
        (caller("nobody", now), &keys, Err(Denied::NotPermitted)),
        (caller("ann", now), &keys, Err(Denied::NotPermitted)),
        (caller(ROOT, now), &keys, Ok(())),
        (Caller::Nobody, &Needs::Root, Err(Denied::NoUser)),
        (caller("nobody", now), &Needs::Root, Err(Denied::UnknownUser)),
        (caller("ann", now), &Needs::Root, Err(Denied::NotPermitted)),
        (caller(ROOT, 1), &Needs::Root, Ok(())),
        (caller("ann", now), &Needs::RootOr(Concerned::SelfUser("ann".into())), Ok(())),
        (caller("ann", now), &Needs::RootOr(Concerned::SelfUser("bob".into())), Err(Denied::NotPermitted)),
        (caller("ann", now), &Needs::RootOr(Concerned::HasRole("r".into())), Err(Denied::NotPermitted)),
        (Caller::Nobody, &Needs::RootOr(Concerned::HasRole("r".into())), Err(Denied::NoUser)),
        (Caller::Nobody, &Needs::User, Err(Denied::NoUser)),
        (Caller::Nobody, &Needs::Nothing, Ok(())),
    ] {
        assert_eq!(policy.judge(&caller, needs), judged, "{caller:?} {needs:?}");
    }
    assert_eq!(
        Policy::default().judge(&Caller::Nobody, &Needs::Root),
        Ok(()),
        "nothing is judged before it is enabled"
    );
}

fn changes() -> impl Strategy<Value = Change> {
    let name = || prop::sample::select(vec!["ann", "bob", "r", "s"]).prop_map(str::to_owned);
    let permission = (0..3, prop::sample::select(vec!["k", "l"])).prop_map(|(access, key)| Permission {
        access: Access::of(access),
        key: key.into(),
        range_end: Bytes::new(),
    });
    prop_oneof![
        name().prop_map(|name| Change::AddUser { name, password: None }),
        name().prop_map(|name| Change::DeleteUser { name }),
        name().prop_map(|name| Change::AddRole { name }),
        name().prop_map(|name| Change::DeleteRole { name }),
        (name(), name()).prop_map(|(user, role)| Change::GrantRole { user, role }),
        (name(), name()).prop_map(|(user, role)| Change::RevokeRole { user, role }),
        (name(), permission).prop_map(|(role, one)| Change::GrantPermission { role, permission: Some(one) }),
        (name(), Just("k")).prop_map(|(role, key)| Change::RevokePermission {
            role,
            key: key.into(),
            range_end: Bytes::new()
        }),
        Just(Change::Disable),
        Just(Change::Enable),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn two_sites_agree_once_they_have_heard_the_same(rounds in prop::collection::vec((prop::collection::vec(changes(), 0..6), prop::collection::vec(changes(), 0..6)), 1..4)) {
        let (mut here, mut there) = sites();
        for (mine, theirs) in rounds {
            for (site, changes) in [(&mut here, mine), (&mut there, theirs)] {
                for change in changes {
                    let before = site.policy().revision();
                    if site.policy().plan(&change, site.name).is_ok() {
                        site.change(change);
                    }
                    prop_assert!(site.policy().revision() >= before);
                }
            }
            let (mine, theirs) = (here.policy().revision(), there.policy().revision());
            let healed = heal(&mut here, &mut there);
            prop_assert!(healed.revision() >= mine.max(theirs), "a revision never goes back");
        }
    }
}
