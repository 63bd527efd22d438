//! The client: a list of endpoints and the stubs of the API on one shared connection.

use tombolo_proto::{
    etcdserverpb::{
        auth_client::AuthClient, cluster_client::ClusterClient, kv_client::KvClient, lease_client::LeaseClient,
        maintenance_client::MaintenanceClient, watch_client::WatchClient,
    },
    v1::{backup_client::BackupClient, import_client::ImportClient, mesh_client::MeshClient},
    v3electionpb::election_client::ElectionClient,
    v3lockpb::lock_client::LockClient,
};

use crate::{ClientError, ClientOptions, Endpoint, Transport};

/// A client of one site. Clones are cheap and share the connection.
///
/// Making one connects to nothing; the first call does. Each accessor gives a new stub, which is a small value to use and
/// drop.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
}

impl Client {
    /// A client of the servers at `endpoints`, which are tried in this order.
    ///
    /// # Errors
    /// [`ClientError::NoEndpoint`] if the list is empty, [`ClientError::Tls`] if an endpoint wants TLS and the files that
    /// the options name are no use.
    pub fn new(endpoints: Vec<Endpoint>, options: ClientOptions) -> Result<Self, ClientError> {
        if endpoints.is_empty() {
            return Err(ClientError::NoEndpoint);
        }
        if endpoints.iter().any(|endpoint| endpoint.is_secure(options.tls_without_scheme)) {
            options.tls.load()?;
        }
        Ok(Self { transport: Transport::new(endpoints, options) })
    }

    /// A client of the servers in a comma list of endpoints, with the default options.
    ///
    /// # Errors
    /// [`ClientError::Endpoint`] if one of them is not an endpoint.
    pub fn parse(endpoints: &str) -> Result<Self, ClientError> {
        Self::new(Endpoint::parse_list(endpoints)?, ClientOptions::default())
    }

    /// The endpoints in the order in which they are tried.
    pub fn endpoints(&self) -> &[Endpoint] {
        self.transport.endpoints()
    }

    /// Reads, writes, transactions and compaction.
    pub fn kv(&self) -> KvClient<Transport> {
        KvClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Event streams.
    pub fn watch(&self) -> WatchClient<Transport> {
        WatchClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Leases and their renewal.
    pub fn lease(&self) -> LeaseClient<Transport> {
        LeaseClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The list of members.
    pub fn cluster(&self) -> ClusterClient<Transport> {
        ClusterClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Status, alarms and upkeep of the server that answers.
    pub fn maintenance(&self) -> MaintenanceClient<Transport> {
        MaintenanceClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Users, roles and what they may do.
    pub fn auth(&self) -> AuthClient<Transport> {
        AuthClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Locks that the server keeps. They hold within the replica that answers.
    pub fn lock(&self) -> LockClient<Transport> {
        LockClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Elections that the server keeps. They hold within the replica that answers.
    pub fn election(&self) -> ElectionClient<Transport> {
        ElectionClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// Copies of everything that the server which answers holds. etcd does not have it.
    pub fn backup(&self) -> BackupClient<Transport> {
        BackupClient::new(self.transport.clone())
    }

    /// Moving the contents of an etcd into the server that answers. etcd does not have it.
    pub fn import(&self) -> ImportClient<Transport> {
        ImportClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }

    /// The mesh of the server that answers: invitations, members and how far each is behind. etcd does not have it.
    pub fn mesh(&self) -> MeshClient<Transport> {
        MeshClient::new(self.transport.clone()).max_decoding_message_size(ANSWER_BYTES_MAX)
    }
}

/// A range of the API is one message however large it is, and gRPC's own default of 4 MiB would refuse answers that
/// servers rightly give. This is the largest length etcd's clients accept.
const ANSWER_BYTES_MAX: usize = i32::MAX as usize;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_needs_an_endpoint() {
        let refused = Client::new(Vec::new(), ClientOptions::default());
        assert!(matches!(refused, Err(ClientError::NoEndpoint)));
        assert!(matches!(Client::parse("nowhere"), Err(ClientError::Endpoint(_))));
    }

    #[test]
    fn making_a_client_connects_to_nothing() {
        let client = Client::parse("127.0.0.1:1,127.0.0.1:2").expect("two endpoints");
        assert_eq!(client.endpoints().len(), 2);
        let _stubs = (client.kv(), client.watch(), client.lease(), client.cluster(), client.maintenance());
    }
}
