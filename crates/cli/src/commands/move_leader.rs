//! `move-leader`: asks the leader to hand its office on. Every Tombolo replica is its own leader; the command is for etcd.

use clap::Args;
use tombolo_client::Endpoint;
use tombolo_proto::etcdserverpb::{MoveLeaderRequest, StatusRequest};

use super::user::done;
use crate::{
    context::Context,
    exit::{Exit, Failure},
    notation::integer,
};

#[derive(Debug, Args)]
pub(crate) struct MoveLeaderArgs {
    /// The member that shall lead, in hexadecimal
    #[arg(value_name = "MEMBER_ID")]
    args: Vec<String>,
}

pub(crate) async fn run(context: &Context, args: &MoveLeaderArgs) -> Result<(), Failure> {
    let [target] = args.args.as_slice() else {
        return Err(Failure::arguments("move-leader command needs 1 argument"));
    };
    let target_id = integer::parse_id(target).map_err(|error| Failure::arguments(error.to_string()))?;
    context.printer.refuse_table_and_fields()?;
    let (leader, leader_id) = leader(context).await?;
    let request = MoveLeaderRequest { target_id };
    let response = leader.call(leader.client.maintenance().move_leader(request)).await?;
    done(context, &response.header, format!("Leadership transferred from {leader_id:x} to {target_id:x}"))
}

/// The endpoint that leads.
async fn leader(context: &Context) -> Result<(Context, u64), Failure> {
    for endpoint in context.client.endpoints() {
        let only = context.only(endpoint)?;
        let asked = only.call(only.client.maintenance().status(StatusRequest {})).await;
        let status = asked.map_err(|failure| failure.exits(Exit::Error))?;
        if status.header.unwrap_or_default().member_id == status.leader {
            return Ok((only, status.leader));
        }
    }
    let names: Vec<String> = context.client.endpoints().iter().map(Endpoint::to_string).collect();
    Err(Failure::arguments(format!("no leader endpoint given at [{}]", names.join(" "))))
}
