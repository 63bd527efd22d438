//! `endpoint hashkv`: whether servers hold the same history. Between sites of a mesh revisions differ, and with them the hashes:
//! `mesh status` compares what sites have in common.

use tombolo_client::Endpoint;
use tombolo_proto::etcdserverpb::{HashKvRequest, HashKvResponse};

use crate::{
    context::Context,
    exit::{Exit, Failure},
    output::{Answer, EndpointHash},
};

/// Shows the hash of each endpoint that gives one.
pub(super) async fn show(context: &Context, endpoints: Vec<Endpoint>, revision: i64) -> Result<(), Failure> {
    let mut list = Vec::new();
    let mut last = None;
    for endpoint in endpoints {
        match ask(&context.only(&endpoint)?, revision).await {
            Ok(response) => list.push(EndpointHash { endpoint, response }),
            Err(failure) => {
                eprintln!("Failed to get the hash of endpoint {endpoint} ({})", failure.message());
                last = Some(failure);
            }
        }
    }
    context.printer.print(&Answer::Hashes(&list))?;
    last.map_or(Ok(()), |failure| Err(failure.exits(Exit::Error)))
}

async fn ask(context: &Context, revision: i64) -> Result<HashKvResponse, Failure> {
    context.call(context.client.maintenance().hash_kv(HashKvRequest { revision })).await
}
