//! `alarm list|disarm`: what the servers complain of.

use clap::Subcommand;
use tombolo_proto::etcdserverpb::{AlarmRequest, AlarmResponse, alarm_request::AlarmAction};
use tonic::{Response, Status};

use crate::{context::Context, exit::Failure, output::Answer};

#[derive(Debug, Subcommand)]
pub(crate) enum AlarmCommand {
    /// Disarms all alarms
    Disarm {
        #[arg(hide = true)]
        args: Vec<String>,
    },
    /// Lists all alarms
    List {
        #[arg(hide = true)]
        args: Vec<String>,
    },
}

pub(crate) async fn run(context: &Context, command: &AlarmCommand) -> Result<(), Failure> {
    let (name, args) = match command {
        AlarmCommand::Disarm { args } => ("disarm", args),
        AlarmCommand::List { args } => ("list", args),
    };
    if !args.is_empty() {
        return Err(Failure::arguments(format!("alarm {name} command accepts no arguments")));
    }
    context.printer.refuse_table()?;
    let mut response = context.call(list(context)).await?;
    if let AlarmCommand::Disarm { .. } = command {
        response = disarm(context, response).await?;
    }
    context.printer.print(&Answer::Alarms(&response))
}

async fn list(context: &Context) -> Result<Response<AlarmResponse>, Status> {
    context.client.maintenance().alarm(AlarmRequest::default()).await
}

/// Disarms each alarm that there is. What the server says of each is one answer in the end, and has no head, as with etcdctl.
async fn disarm(context: &Context, listed: AlarmResponse) -> Result<AlarmResponse, Failure> {
    let mut disarmed = AlarmResponse::default();
    for alarm in listed.alarms {
        let action = AlarmAction::Deactivate.into();
        let request = AlarmRequest { action, member_id: alarm.member_id, alarm: alarm.alarm };
        let response = context.call(context.client.maintenance().alarm(request)).await?;
        disarmed.alarms.extend(response.alarms);
    }
    Ok(disarmed)
}
