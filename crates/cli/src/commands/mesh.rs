//! `mesh invite|members|status|park|unpark|remove|repair|export|enter|tail|lease-heir`: the sites that replicate with one another. etcd has none of it.

use clap::{Args, Subcommand};
use tombolo_proto::v1::{MeshInviteRequest, MeshMembersRequest};

use crate::{
    context::Context,
    exit::Failure,
    notation::duration::GoDuration,
    output::{Answer, Format},
};

mod change;
mod status;
mod tail;

#[derive(Debug, Subcommand)]
pub(crate) enum MeshCommand {
    /// Makes a ticket with which one new site can join, once
    ///
    /// Standard output is the ticket and nothing else. Start the new site with `tombolod --join TICKET`, or put the ticket
    /// into a file and start it with `tombolod --join @file`. The endpoint that makes the ticket has to be reachable when
    /// it is used. Whoever has the ticket can join: treat it as a password.
    Invite {
        /// How long the ticket can be used
        #[arg(long, default_value = "1h")]
        ttl: GoDuration,
    },
    /// Lists the sites of the mesh, as the endpoint knows them
    ///
    /// When --write-out is set to simple, this command prints out comma-separated lists.
    /// The items in the lists are replica, state, name, peer addresses, client URLs, slots, issuer, how long it has been in its
    /// state, and a note: where a removed site's records end or who is still waited for, and who counts its leases.
    Members,
    /// Shows how far each site is behind, and what is wrong
    ///
    /// LAG is how long the oldest record that a peer lacks has been here. BEHIND counts records that it lacks, AHEAD those
    /// that it is known to have and the endpoint has not. DIGEST says whether both hold the same data where both have
    /// applied the same records; it is unknown while they have not. HOLDS is how much of the log stays here because a peer
    /// lacks it, which compaction would have dropped.
    ///
    /// With --wait the exit code is 7 when the endpoint has not converged with every peer in that time.
    Status(StatusArgs),
    /// Keeps no log for a site that is away; it stays a member
    ///
    /// A site that was parked while it was away is active again by itself when it is back and level; one that was parked while
    /// it was connected, when it has gone and come again. It may have to be sent the whole state then instead of what it
    /// lacks. Servers park a lost site by themselves: see `tombolod --park-after`.
    Park(MemberArgs),
    /// Keeps the log for a parked site again
    Unpark(MemberArgs),
    /// Takes a site out of the mesh, for ever
    ///
    /// Every site that learns of it refuses the removed one at once. What had reached any other site stays and goes to all. When
    /// all others know of the removal its records end, at the last that any of them has: `mesh members` shows where. What it wrote
    /// beyond that is got out of its folder with `mesh export` and entered at another site with `mesh enter`.
    Remove(MemberArgs),
    /// Makes the endpoint's site hold what another site holds, where both have applied the same records and hold different data
    ///
    /// For a site that the alarm CORRUPT says is the one that differs. What is there and not the same takes the place of what is here, in one
    /// step and at one new revision; watches are told of it. The site keeps its name, serves all the while, and what is written meanwhile stays. With
    /// --dry-run nothing is changed and only counted. Of a site that is repaired from one that is wrong nothing right is left: see first with
    /// which of the two `mesh status` says that others agree.
    Repair {
        /// The site whose data are right: its replica or its name
        #[arg(long)]
        from: String,
        /// Count what would change, and change nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Gets what a site wrote out of its folder, into a file: for a site that was removed, whose server is stopped
    Export(tail::ExportArgs),
    /// Enters what a site wrote and the others do not have as new writes, from a tail: the file that `mesh export` made
    ///
    /// What was written later at the other sites stays. To enter a file again changes nothing, at whatever site. A site that finds that its folder
    /// was set back or cloned, and has written since, sets that aside in such a file of its data folder, TAIL-..., and enters it by itself.
    Enter(tail::EnterArgs),
    /// Shows what is in a tail: a file that `mesh export` made, or TAIL-... of a data folder
    ///
    /// No server is asked. Each line is a change: the record, the milliseconds of its clock, put with key and value or del with the key.
    Tail(tail::ShowArgs),
    /// Has another site count the leases of one that is parked or removed
    ///
    /// Each lease begins there with its full time to live. A site that is named as its own heir counts its leases again.
    LeaseHeir {
        /// Whose leases: its replica or its name
        from: String,
        /// Who counts them
        to: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct MemberArgs {
    /// The site: its replica, 16 hexadecimal digits, or its name
    member: String,
}

#[derive(Debug, Args)]
pub(crate) struct StatusArgs {
    /// Wait up to this long until every peer is connected, nothing is behind and all digests are equal
    #[arg(long, value_name = "DURATION")]
    wait: Option<GoDuration>,
}

pub(crate) async fn run(context: &Context, command: &MeshCommand) -> Result<(), Failure> {
    match command {
        MeshCommand::Invite { ttl } => invite(context, *ttl).await,
        MeshCommand::Members => {
            let response = context.call(context.client.mesh().members(MeshMembersRequest {})).await?;
            context.printer.print(&Answer::MeshMembers(&response))
        }
        MeshCommand::Status(args) => status::run(context, args.wait).await,
        MeshCommand::Park(args) => change::park(context, &args.member).await,
        MeshCommand::Unpark(args) => change::unpark(context, &args.member).await,
        MeshCommand::Remove(args) => change::remove(context, &args.member).await,
        MeshCommand::Repair { from, dry_run } => change::repair(context, from, *dry_run).await,
        MeshCommand::Export(args) => tail::export(args),
        MeshCommand::Enter(args) => tail::enter(context, args).await,
        MeshCommand::LeaseHeir { from, to } => change::lease_heir(context, from, to).await,
        MeshCommand::Tail(args) => tail::show(args),
    }
}

async fn invite(context: &Context, ttl: GoDuration) -> Result<(), Failure> {
    let ttl_s = ttl.0.as_secs();
    if ttl_s == 0 {
        return Err(Failure::arguments(format!("a ticket of {ttl} would end before it could be used"))
            .hint("--ttl is at least 1s"));
    }
    context.printer.refuse_table()?;
    let response = context
        .call(context.client.mesh().invite(MeshInviteRequest { ttl_s }))
        .await
        .map_err(|failure| failure.wrapped("failed to make an invitation"))?;
    context.printer.print(&Answer::Invitation(&response))?;
    if context.printer.format == Format::Simple {
        eprintln!("for one new site, within {ttl}: tombolod --join TICKET");
    }
    Ok(())
}
