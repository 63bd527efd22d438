//! A server with the services that this is about, and the few calls that every test makes.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use bytes::Bytes;
use tokio::task::JoinHandle;
use tombolo_proto::{
    etcdserverpb::{LeaseGrantRequest, LeaseRevokeRequest, RangeRequest},
    mvccpb::KeyValue,
    v3electionpb::{CampaignRequest, CampaignResponse, election_client::ElectionClient},
    v3lockpb::{LockRequest, LockResponse, UnlockRequest, lock_client::LockClient},
};
use tombolo_rig::{connect::Connection, process::Server};
use tonic::{Status, transport::Channel};

/// One connection to a server.
#[derive(Clone)]
pub(crate) struct Site {
    pub(crate) connection: Connection,
    pub(crate) lock: LockClient<Channel>,
    pub(crate) election: ElectionClient<Channel>,
}

/// A call that may take long.
pub(crate) type Waiting<T> = JoinHandle<Result<T, Status>>;

impl Site {
    pub(crate) async fn of(server: &Server) -> Result<Self> {
        let connection = server.connect().await?;
        let lock = LockClient::new(connection.channel.clone());
        let election = ElectionClient::new(connection.channel.clone());
        Ok(Self { connection, lock, election })
    }

    pub(crate) async fn grant(&self, id: i64, ttl: i64) -> Result<i64> {
        let granted = self.connection.lease.clone().lease_grant(LeaseGrantRequest { ttl, id }).await?;
        Ok(granted.into_inner().id)
    }

    pub(crate) async fn revoke(&self, id: i64) -> Result<()> {
        self.connection.lease.clone().lease_revoke(LeaseRevokeRequest { id }).await?;
        Ok(())
    }

    pub(crate) async fn lock(&self, name: &'static str, lease: i64) -> Result<LockResponse, Status> {
        let request = LockRequest { name: name.into(), lease };
        Ok(self.lock.clone().lock(request).await?.into_inner())
    }

    pub(crate) async fn unlock(&self, key: &Bytes) -> Result<(), Status> {
        self.lock.clone().unlock(UnlockRequest { key: key.clone() }).await.map(drop)
    }

    pub(crate) async fn campaign(
        &self,
        name: &'static str,
        lease: i64,
        value: &'static str,
    ) -> Result<CampaignResponse, Status> {
        let request = CampaignRequest { name: name.into(), lease, value: value.into() };
        Ok(self.election.clone().campaign(request).await?.into_inner())
    }

    /// Calls for a lock that others hold, and returns when the call stands in line.
    pub(crate) async fn wait_for_lock(&self, name: &'static str, lease: i64) -> Result<Waiting<LockResponse>> {
        let site = self.clone();
        let waiting = tokio::spawn(async move { site.lock(name, lease).await });
        self.until_key(&format!("{name}/{lease:x}"), true).await?;
        Ok(waiting)
    }

    /// Stands for an election that another leads, and returns when the call stands in line.
    pub(crate) async fn wait_to_lead(&self, name: &'static str, lease: i64) -> Result<Waiting<CampaignResponse>> {
        let site = self.clone();
        let waiting = tokio::spawn(async move { site.campaign(name, lease, "waiter").await });
        self.until_key(&format!("{name}/{lease:x}"), true).await?;
        Ok(waiting)
    }

    pub(crate) async fn pairs(&self, prefix: &str) -> Result<Vec<KeyValue>> {
        // No key is empty, and this is the smallest one.
        let key = if prefix.is_empty() { Bytes::from("\0") } else { Bytes::from(prefix.to_owned()) };
        let range_end = Bytes::from(format!("{prefix}\u{7f}"));
        let request = RangeRequest { key, range_end, ..Default::default() };
        Ok(self.connection.kv.clone().range(request).await?.into_inner().kvs)
    }

    /// Waits until a key is there, or is not.
    pub(crate) async fn until_key(&self, key: &str, wanted: bool) -> Result<()> {
        let started = Instant::now();
        loop {
            let request = RangeRequest { key: Bytes::from(key.to_owned()), ..Default::default() };
            let is_there = self.connection.kv.clone().range(request).await?.into_inner().count > 0;
            if is_there == wanted {
                return Ok(());
            }
            ensure!(started.elapsed() < Duration::from_secs(15), "{key}: {is_there}, and not {wanted}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Whether a call has had time to end and goes on all the same.
pub(crate) async fn still_waits<T>(waiting: &Waiting<T>) -> bool {
    tokio::time::sleep(Duration::from_millis(150)).await;
    !waiting.is_finished()
}
