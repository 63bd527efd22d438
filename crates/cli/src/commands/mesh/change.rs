//! `mesh park|unpark|remove|lease-heir|repair`: what is said of a member, and what is taken from one. Members go by their replica or, where it is one member's alone, their name.

use tombolo_proto::v1::{
    Member, MemberState, MeshLeaseHeirRequest, MeshMembersRequest, MeshParkRequest, MeshRemoveRequest,
    MeshRepairRequest, MeshUnparkRequest,
};

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::Answer,
};

pub(super) async fn park(context: &Context, member: &str) -> Result<(), Failure> {
    let member = find(context, member).await?;
    let response = context.call(context.client.mesh().park(MeshParkRequest { member })).await?;
    show(context, response.member.as_ref())
}

pub(super) async fn unpark(context: &Context, member: &str) -> Result<(), Failure> {
    let member = find(context, member).await?;
    let response = context.call(context.client.mesh().unpark(MeshUnparkRequest { member })).await?;
    show(context, response.member.as_ref())
}

pub(super) async fn remove(context: &Context, member: &str) -> Result<(), Failure> {
    let member = find(context, member).await?;
    let response = context.call(context.client.mesh().remove(MeshRemoveRequest { member })).await?;
    show(context, response.member.as_ref())
}

pub(super) async fn lease_heir(context: &Context, from: &str, to: &str) -> Result<(), Failure> {
    let (from, to) = (find(context, from).await?, find(context, to).await?);
    let response = context.call(context.client.mesh().lease_heir(MeshLeaseHeirRequest { from, to })).await?;
    show(context, response.member.as_ref())
}

pub(super) async fn repair(context: &Context, from: &str, dry_run: bool) -> Result<(), Failure> {
    let from = find(context, from).await?;
    // It takes as long as it takes to look at every key at both sites, and no attempt is worth more than the one before.
    let repaired = context.client.mesh().repair(MeshRepairRequest { from, dry_run }).await;
    let response = repaired.map_err(|status| context.explain(status))?.into_inner();
    context.printer.print(&Answer::MeshRepaired(&response))
}

fn show(context: &Context, member: Option<&Member>) -> Result<(), Failure> {
    match member {
        Some(member) => context.printer.print(&Answer::MeshMember(member)),
        None => Err(Failure::new(Exit::Error, "the server did not say what became of the member")),
    }
}

/// The replica that a word means.
async fn find(context: &Context, word: &str) -> Result<u64, Failure> {
    let response = context.call(context.client.mesh().members(MeshMembersRequest {})).await?;
    pick(&response.members, word)
}

/// An id is what has the form of one. Of the members of one name those count that are not removed, or else all.
fn pick(members: &[Member], word: &str) -> Result<u64, Failure> {
    if word.len() == 16
        && let Ok(id) = u64::from_str_radix(word, 16)
    {
        return Ok(id);
    }
    let named = || members.iter().filter(|member| member.name == word);
    let present: Vec<&Member> = named().filter(|member| member.state() != MemberState::Removed).collect();
    let found = if present.is_empty() { named().collect() } else { present };
    match found.as_slice() {
        [member] => Ok(member.replica),
        [] => Err(Failure::arguments(format!("no member is called {word}"))
            .hint("a member goes by its name or its replica, 16 hexadecimal digits: see `tombolo mesh members`")),
        several => Err(Failure::arguments(format!("{} members are called {word}", several.len()))
            .hint("say which by its replica: see `tombolo mesh members`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_goes_by_its_replica_or_a_name_that_is_its_alone() {
        let member = |replica, name: &str, state: MemberState| Member {
            replica,
            name: name.into(),
            state: state.into(),
            ..Default::default()
        };
        let members = [
            member(0xa1, "office", MemberState::Active),
            member(0xb2, "ship", MemberState::Removed),
            member(0xc3, "ship", MemberState::Active),
            member(0xd4, "twin", MemberState::Active),
            member(0xe5, "twin", MemberState::Parked),
        ];
        assert_eq!(pick(&members, "office").ok(), Some(0xa1));
        assert_eq!(pick(&members, "ship").ok(), Some(0xc3), "who is there goes before who is gone");
        assert_eq!(pick(&members[..2], "ship").ok(), Some(0xb2));
        assert_eq!(pick(&members, "00000000000000e5").ok(), Some(0xe5));
        assert_eq!(pick(&members, "00000000000000ff").ok(), Some(0xff), "the server says whether there is one");
        assert!(pick(&members, "twin").is_err() && pick(&members, "nobody").is_err());
    }
}
