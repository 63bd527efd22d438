//! `lease keep-alive`: renews a lease once, or for as long as it lives.
//!
//! A renewal is due when a third of the time to live has passed. When the stream breaks it is opened again, until the
//! lease must have expired.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use tokio::time::{self, Instant};
use tombolo_proto::etcdserverpb::{LeaseKeepAliveRequest, LeaseKeepAliveResponse};
use tonic::{Response, Status};

use super::bad_connection;
use crate::{
    context::Context,
    exit::{Exit, Failure, hint},
    output::{Answer, Format},
};

/// How long to wait before a broken stream is opened again.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// Renews the lease once.
pub(super) async fn once(context: &Context, id: i64) -> Result<(), Failure> {
    let response = context.call(renew(context, id)).await.map_err(bad_connection)?;
    if response.ttl <= 0 {
        let message = "etcdserver: requested lease not found";
        return Err(Failure::new(Exit::BadConnection, message).hint(hint::for_message(message)));
    }
    context.printer.print(&Answer::KeepAlive(&response))
}

/// Renews the lease until it is revoked or has expired; both are an orderly end.
pub(super) async fn forever(context: &Context, id: i64) -> Result<(), Failure> {
    let mut deadline: Option<Instant> = None;
    loop {
        let response = match context.call(renew(context, id)).await {
            Ok(response) => response,
            Err(_) if deadline.is_some_and(|deadline| Instant::now() < deadline) => {
                time::sleep(RETRY_AFTER).await;
                continue;
            }
            // Nothing was ever renewed, so nothing is known about the lease.
            Err(failure) if deadline.is_none() => return Err(bad_connection(failure)),
            Err(_) => break,
        };
        if response.ttl <= 0 {
            break;
        }
        context.printer.print(&Answer::KeepAlive(&response))?;
        let lifetime = Duration::from_secs(response.ttl.unsigned_abs());
        deadline = Some(Instant::now() + lifetime);
        time::sleep(lifetime / 3).await;
    }
    if context.printer.format == Format::Simple {
        writeln!(io::stdout(), "lease {id:016x} expired or revoked.")?;
    }
    Ok(())
}

/// One renewal on a stream of its own: they are seconds apart, and a stream that is not held open cannot break unseen.
pub(in crate::commands) async fn renew(context: &Context, id: i64) -> Result<Response<LeaseKeepAliveResponse>, Status> {
    let requests = tokio_stream::once(LeaseKeepAliveRequest { id });
    let mut answers = context.client.lease().lease_keep_alive(requests).await?.into_inner();
    match answers.message().await? {
        Some(response) => Ok(Response::new(response)),
        None => Err(Status::unavailable("the server ended the stream without an answer")),
    }
}
