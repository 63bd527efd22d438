//! `elect`: stands for an election until a signal comes, or follows who leads.
//!
//! **An election holds within the replica that is asked.** At another site somebody else may lead at the same time.

use bytes::Bytes;
use clap::Args;
use tombolo_client::prefix_end;
use tombolo_proto::{
    etcdserverpb::{RangeResponse, ResponseHeader, WatchCreateRequest, watch_create_request::FilterType},
    mvccpb::{KeyValue, event::EventType},
};

use super::line::{Following, Place, Session, Signals, first_of};
use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::Answer,
};

#[derive(Debug, Args)]
pub(crate) struct ElectArgs {
    /// Name of the election, and what to propose
    #[arg(value_name = "NAME [PROPOSAL]")]
    args: Vec<String>,
    /// Observation mode
    #[arg(short, long)]
    listen: bool,
}

pub(crate) async fn run(context: &Context, args: &ElectArgs) -> Result<(), Failure> {
    match (args.args.as_slice(), args.listen) {
        ([name], true) => {
            context.printer.refuse_table()?;
            let mut signals = Signals::new()?;
            tokio::select! {
                lost = observe(context, name) => lost,
                () = signals.wanted() => Ok(()),
            }
        }
        ([name, proposal], false) => {
            context.printer.refuse_table()?;
            campaign(context, name, proposal).await
        }
        ([_], false) => Err(Failure::arguments("no proposal argument but -l not set")),
        ([_, _], true) => Err(Failure::arguments("proposal given but -l is set")),
        _ => Err(Failure::arguments("elect takes one election name argument and an optional proposal argument")),
    }
}

async fn campaign(context: &Context, name: &str, proposal: &str) -> Result<(), Failure> {
    let mut signals = Signals::new()?;
    let mut session = Session::begin(context, SESSION_TTL_S).await?;
    let place = Place::enter(context, name, session.lease, proposal).await?;
    place.turn(context, &mut signals).await?;
    context.printer.print(&Answer::Get(&place.read(context).await?))?;
    tokio::select! {
        () = signals.wanted() => place.leave(context).await,
        () = session.ended() => Err(Failure::new(Exit::Error, "elect: session expired")),
    }
}

/// etcd's time to live for a session that nobody chose one for.
const SESSION_TTL_S: i64 = 60;

/// Shows who leads and what the leader proclaims, until a failure.
async fn observe(context: &Context, name: &str) -> Result<(), Failure> {
    let line = Bytes::from(format!("{name}/"));
    loop {
        let read = context.call(context.client.kv().range(first_of(line.clone()))).await?;
        let header = read.header.unwrap_or_default();
        let leader = match read.kvs.first() {
            Some(leader) => Some((leader.clone(), header)),
            None => elected(context, line.clone(), header.revision + 1).await?,
        };
        let Some((leader, header)) = leader else { continue };
        let first = RangeResponse { header: Some(header), kvs: vec![leader.clone()], ..Default::default() };
        context.printer.print(&Answer::Get(&first))?;
        follow(context, leader.key, header.revision + 1, read).await?;
    }
}

/// Waits for somebody to lead; `None` when it is time to read again.
async fn elected(
    context: &Context,
    line: Bytes,
    start_revision: i64,
) -> Result<Option<(KeyValue, ResponseHeader)>, Failure> {
    let request = WatchCreateRequest {
        range_end: prefix_end(&line),
        key: line,
        start_revision,
        filters: vec![FilterType::Nodelete.into()],
        ..Default::default()
    };
    let response = Following::new(context, request).next().await?;
    let pair = response.and_then(|response| {
        let pair = response.events.into_iter().next()?.kv?;
        let header = ResponseHeader { revision: pair.mod_revision, ..response.header.unwrap_or_default() };
        Some((pair, header))
    });
    Ok(pair)
}

/// Shows what a leader proclaims until it is gone. Its answers keep the counts of the reading that it was found by, as etcdctl's do.
async fn follow(context: &Context, key: Bytes, start_revision: i64, mut read: RangeResponse) -> Result<(), Failure> {
    let request = WatchCreateRequest { key, start_revision, ..Default::default() };
    let mut following = Following::new(context, request);
    while let Some(response) = following.next().await? {
        for event in response.events {
            if event.r#type() == EventType::Delete {
                return Ok(());
            }
            read.header = response.header;
            read.kvs = event.kv.into_iter().collect();
            context.printer.print(&Answer::Get(&read))?;
        }
    }
    Ok(())
}
