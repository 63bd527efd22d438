//! `endpoint health`, `endpoint status` and `endpoint hashkv`: what each server says of itself.
//!
//! Every endpoint is asked on a connection of its own, and all at the same time for health; the lines come in the order
//! of the endpoints. An endpoint that does not answer is one line and does not hide the others.

use std::time::Instant;

use clap::{Args, Subcommand};
use tokio::task::JoinSet;
use tombolo_client::{Endpoint, EndpointError};
use tombolo_proto::etcdserverpb::{AlarmRequest, AlarmType, RangeRequest, StatusRequest, StatusResponse};
use tonic::Code;

use super::member;
use crate::{
    context::Context,
    exit::{Exit, Failure},
    notation::duration::GoDuration,
    output::{Answer, EndpointHealth, EndpointStatus, Format},
};

mod hash_kv;

#[derive(Debug, Args)]
pub(crate) struct EndpointArgs {
    /// Use all endpoints from the cluster member list
    #[arg(long, global = true)]
    cluster: bool,
    #[command(subcommand)]
    command: EndpointCommand,
}

#[derive(Debug, Subcommand)]
enum EndpointCommand {
    /// Checks the healthiness of endpoints specified in `--endpoints` flag
    Health,
    /// Prints out the status of endpoints specified in `--endpoints` flag
    ///
    /// When --write-out is set to simple, this command prints out comma-separated status lists for each endpoint.
    /// The items in the lists are endpoint, ID, version, db size, is leader, is learner, raft term, raft index,
    /// raft applied index, errors.
    Status,
    /// Prints the KV history hash for each endpoint in --endpoints
    Hashkv {
        /// Maximum revision to hash (default: all revisions)
        #[arg(long, default_value_t = 0)]
        rev: i64,
    },
}

pub(crate) async fn run(context: &Context, args: &EndpointArgs) -> Result<(), Failure> {
    let endpoints = chosen(context, args.cluster).await?;
    match args.command {
        EndpointCommand::Hashkv { rev } => hash_kv::show(context, endpoints, rev).await,
        EndpointCommand::Health => health(context, endpoints).await,
        EndpointCommand::Status => status(context, endpoints).await,
    }
}

/// The endpoints of `--endpoints`, or those of all members.
pub(super) async fn chosen(context: &Context, cluster: bool) -> Result<Vec<Endpoint>, Failure> {
    if cluster { of_members(context).await } else { Ok(context.client.endpoints().to_vec()) }
}

/// The client addresses that the members advertise.
async fn of_members(context: &Context) -> Result<Vec<Endpoint>, Failure> {
    let members = member::list(context).await.map_err(|failure| {
        failure.prefixed("failed to fetch endpoints from etcd cluster member list").exits(Exit::Error)
    })?;
    let urls = members.members.iter().flat_map(|member| &member.client_ur_ls);
    let parsed: Result<Vec<Endpoint>, EndpointError> = urls.map(|url| url.parse()).collect();
    parsed.map_err(|error| Failure::new(Exit::BadFeature, format!("a member advertises an unusable address: {error}")))
}

async fn health(context: &Context, endpoints: Vec<Endpoint>) -> Result<(), Failure> {
    let mut checks = JoinSet::new();
    for (index, endpoint) in endpoints.into_iter().enumerate() {
        let context = context.only(&endpoint)?;
        checks.spawn(async move { (index, check(&context, endpoint).await) });
    }
    let mut checked = checks.join_all().await;
    checked.sort_by_key(|(index, _)| *index);
    let list: Vec<EndpointHealth> = checked.into_iter().map(|(_, health)| health).collect();
    context.printer.print(&Answer::Health(&list))?;
    let sick = list.iter().filter_map(|health| Some((&health.endpoint, health.error.as_ref()?)));
    if context.printer.format == Format::Simple {
        sick.clone().for_each(|(endpoint, error)| {
            eprintln!("{endpoint} is unhealthy: failed to commit proposal: {error}");
        });
    }
    match sick.count() {
        0 => Ok(()),
        count => Err(Failure::new(Exit::Error, format!("unhealthy cluster: {count} of {} endpoints", list.len()))),
    }
}

/// A server is healthy when it answers a read and has no alarm.
async fn check(context: &Context, endpoint: Endpoint) -> EndpointHealth {
    let started = Instant::now();
    let error = read(context).await.err();
    let took = GoDuration(started.elapsed());
    let error = match error {
        Some(error) => Some(error),
        None => alarms(context).await,
    };
    EndpointHealth { endpoint, took, error }
}

async fn read(context: &Context) -> Result<(), String> {
    let request = RangeRequest { key: "health".into(), ..Default::default() };
    let read = async {
        match context.client.kv().range(request).await {
            // A server that checks permissions has done its work.
            Err(status) if status.code() == Code::PermissionDenied => Ok(tonic::Response::new(())),
            other => other.map(|_| tonic::Response::new(())),
        }
    };
    context.call(read).await.map_err(|failure| failure.message().to_owned())
}

async fn alarms(context: &Context) -> Option<String> {
    let Ok(response) = context.call(context.client.maintenance().alarm(AlarmRequest::default())).await else {
        return Some("Unable to fetch the alarm list".to_owned());
    };
    if response.alarms.is_empty() {
        return None;
    }
    let names = response.alarms.iter().map(|member| match member.alarm() {
        AlarmType::Nospace => "NOSPACE ",
        AlarmType::Corrupt => "CORRUPT ",
        AlarmType::None => "UNKNOWN ",
    });
    Some(format!("Active Alarm(s): {}", names.collect::<String>()))
}

async fn status(context: &Context, endpoints: Vec<Endpoint>) -> Result<(), Failure> {
    let mut list = Vec::new();
    let mut failures = 0;
    for endpoint in endpoints {
        match ask_status(&context.only(&endpoint)?).await {
            Ok(response) => list.push(EndpointStatus { endpoint, response }),
            Err(failure) => {
                failures += 1;
                eprintln!("Failed to get the status of endpoint {endpoint} ({})", failure.message());
            }
        }
    }
    context.printer.print(&Answer::Status(&list))?;
    match failures {
        0 => Ok(()),
        _ => {
            Err(Failure::new(Exit::Error, format!("{failures} of {} endpoints have no status", list.len() + failures)))
        }
    }
}

async fn ask_status(context: &Context) -> Result<StatusResponse, Failure> {
    context.call(context.client.maintenance().status(StatusRequest {})).await
}
