//! Connections of a rig to one server: etcd's services over one HTTP/2 connection each.

use std::time::Duration;

use anyhow::{Context, Result};
use tombolo_proto::{
    etcdserverpb::{
        auth_client::AuthClient, cluster_client::ClusterClient, kv_client::KvClient, lease_client::LeaseClient,
        maintenance_client::MaintenanceClient, watch_client::WatchClient,
    },
    v3electionpb::election_client::ElectionClient,
    v3lockpb::lock_client::LockClient,
};
use tonic::transport::{Channel, Endpoint};

use crate::{
    request::{auth::Wallet, operator::Identity},
    secure::{Connector, Trust},
};

/// The services of one server over one connection. Clones share the connection.
#[derive(Clone, Debug)]
pub struct Connection {
    /// The connection itself, for services that are not etcd's.
    pub channel: Channel,
    /// Keys and values.
    pub kv: KvClient<Channel>,
    /// Watches.
    pub watch: WatchClient<Channel>,
    /// Leases.
    pub lease: LeaseClient<Channel>,
    /// Users, roles and logins.
    pub auth: AuthClient<Channel>,
    /// Members.
    pub cluster: ClusterClient<Channel>,
    /// Status.
    pub maintenance: MaintenanceClient<Channel>,
    /// Locks.
    pub lock: LockClient<Channel>,
    /// Elections.
    pub election: ElectionClient<Channel>,
    /// The tokens that the server gave over this connection, for requests of the differential rig.
    pub wallet: Wallet,
    /// Who the server is, once it was asked.
    pub identity: Identity,
}

impl Connection {
    /// Connects to `http://host:port`.
    ///
    /// # Errors
    ///
    /// When nobody listens there.
    pub async fn open(endpoint: &str) -> Result<Self> {
        let channel = Endpoint::from_shared(endpoint.to_owned())?
            .connect_timeout(Duration::from_secs(2))
            .connect()
            .await
            .with_context(|| format!("connect to {endpoint}"))?;
        Ok(Self::over(channel))
    }

    /// Connects to `https://address:port`.
    ///
    /// # Errors
    ///
    /// When nobody listens there, or the two do not accept each other.
    pub async fn open_secure(endpoint: &str, trust: &Trust) -> Result<Self> {
        let channel = Endpoint::from_shared(endpoint.to_owned())?
            .connect_timeout(Duration::from_secs(5))
            .connect_with_connector(Connector(trust.clone()))
            .await
            .with_context(|| format!("connect to {endpoint}"))?;
        Ok(Self::over(channel))
    }

    fn over(channel: Channel) -> Self {
        Self {
            kv: KvClient::new(channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX),
            watch: WatchClient::new(channel.clone()).max_decoding_message_size(RESPONSE_BYTES_MAX),
            lease: LeaseClient::new(channel.clone()),
            auth: AuthClient::new(channel.clone()),
            cluster: ClusterClient::new(channel.clone()),
            maintenance: MaintenanceClient::new(channel.clone()),
            lock: LockClient::new(channel.clone()),
            election: ElectionClient::new(channel.clone()),
            wallet: Wallet::default(),
            identity: Identity::default(),
            channel,
        }
    }
}

/// A history of a whole run may come back in one answer.
const RESPONSE_BYTES_MAX: usize = 1 << 30;
