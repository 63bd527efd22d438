//! The process from outside: how it refuses to start, and how it stops.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::{
    fs,
    io::Read,
    net::{TcpStream, UdpSocket},
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tempfile::TempDir;
use tombolo_proto::etcdserverpb::{
    LeaseKeepAliveRequest, PutRequest, WatchCreateRequest, WatchRequest, kv_client::KvClient,
    lease_client::LeaseClient, watch_client::WatchClient, watch_request::RequestUnion,
};
use tombolo_proto::v1::{MeshInviteRequest, MeshMembersRequest, mesh_client::MeshClient};
use tonic::{Code, Streaming, transport::Channel};
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

/// Ends with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(folder: &Path) -> Self {
        let port = free_port();
        let child = command(folder, port).spawn().unwrap();
        let server = Self { child, port };
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "it does not listen");
            thread::sleep(Duration::from_millis(5));
        }
        server
    }

    async fn channel(&self) -> Channel {
        let endpoint = format!("http://127.0.0.1:{}", self.port);
        Channel::from_shared(endpoint).unwrap().connect().await.unwrap()
    }

    fn signal(&self) {
        let sent = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }

    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        while started.elapsed() < patience {
            if let Some(status) = self.child.try_wait().unwrap() {
                return Some(status);
            }
            thread::sleep(Duration::from_millis(5));
        }
        None
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    tombolo_rig::ports::free_port().unwrap()
}

fn command(folder: &Path, port: u16) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tombolod"));
    command.arg("--data-dir").arg(folder).args(["--listen-client-urls", &format!("http://127.0.0.1:{port}")]);
    command.args(["--log-level", "error"]).stderr(Stdio::piped());
    command
}

/// The one line that a server says which does not start.
fn refusal(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    text
}

async fn watch(
    channel: Channel,
) -> (tokio::sync::mpsc::Sender<WatchRequest>, Streaming<tombolo_proto::etcdserverpb::WatchResponse>) {
    let (requests, received) = tokio::sync::mpsc::channel(4);
    let create = WatchCreateRequest { key: "k".into(), ..Default::default() };
    requests.send(WatchRequest { request_union: Some(RequestUnion::CreateRequest(create)) }).await.unwrap();
    let stream = tokio_stream::wrappers::ReceiverStream::new(received);
    let mut answers = WatchClient::new(channel).watch(stream).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().unwrap().created);
    (requests, answers)
}

#[test]
fn what_cannot_be_served_is_refused_in_one_line() {
    let home = TempDir::new().unwrap();
    let folder = home.path().join("data");
    let server = Server::start(&folder);

    let locked = refusal(command(&folder, free_port()));
    assert!(locked.contains("in use by another process"), "{locked}");

    let untouched = home.path().join("other");
    let taken = refusal(command(&untouched, server.port));
    assert!(taken.contains(&format!("127.0.0.1:{}", server.port)) && taken.contains("another port"), "{taken}");
    assert!(!untouched.exists(), "an address that is taken is found out before a folder is made");

    let file = home.path().join("file");
    fs::write(&file, "").unwrap();
    let no_folder = refusal(command(&file, free_port()));
    assert!(no_folder.contains("data folder"), "{no_folder}");
}

#[test]
fn the_data_folder_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;

    let home = TempDir::new().unwrap();
    let folder = home.path().join("deep/data");
    let _server = Server::start(&folder);
    assert_eq!(folder.metadata().unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_ends_streams_so_that_clients_come_back_and_exits_with_success() {
    let home = TempDir::new().unwrap();
    let mut server = Server::start(home.path());
    let channel = server.channel().await;
    KvClient::new(channel.clone()).put(PutRequest { key: "k".into(), ..Default::default() }).await.unwrap();
    let (_requests, mut events) = watch(channel.clone()).await;
    let (_renewals, received) = tokio::sync::mpsc::channel::<LeaseKeepAliveRequest>(1);
    let renewals = tokio_stream::wrappers::ReceiverStream::new(received);
    let mut renewed = LeaseClient::new(channel.clone()).lease_keep_alive(renewals).await.unwrap().into_inner();

    server.signal();
    assert_eq!(events.message().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(renewed.message().await.unwrap_err().code(), Code::Unavailable);
    let status = server.wait(Duration::from_secs(10)).expect("it stops");
    let mut said = String::new();
    server.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert!(status.success() && said.is_empty(), "{status} {said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_does_not_wait_for_connections() {
    let home = TempDir::new().unwrap();
    let mut server = Server::start(home.path());
    let (_open, received) = tokio::sync::mpsc::channel(1);
    let requests = tokio_stream::wrappers::ReceiverStream::new(received);
    let mut reflection = ServerReflectionClient::new(server.channel().await);
    let _answers = reflection.server_reflection_info(requests).await.unwrap();

    server.signal();
    assert!(server.wait(Duration::from_millis(500)).is_none(), "an open stream of a client is waited for");
    server.signal();
    let status = server.wait(Duration::from_secs(2)).expect("it exits at once");
    assert_eq!(status.code(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_before_a_stop_is_there_after_it() {
    let home = TempDir::new().unwrap();
    let mut server = Server::start(home.path());
    let mut kv = KvClient::new(server.channel().await);
    let put = PutRequest { key: "k".into(), value: "v".into(), ..Default::default() };
    let revision = kv.put(put).await.unwrap().into_inner().header.unwrap().revision;
    server.signal();
    assert!(server.wait(Duration::from_secs(10)).expect("it stops").success());

    let server = Server::start(home.path());
    let mut kv = KvClient::new(server.channel().await);
    let range = tombolo_proto::etcdserverpb::RangeRequest { key: "k".into(), ..Default::default() };
    let answer = kv.range(range).await.unwrap().into_inner();
    assert_eq!((answer.kvs[0].value.clone(), answer.kvs[0].mod_revision), (Bytes::from("v"), revision));
    assert_eq!(answer.header.unwrap().revision, revision);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_too_large_in_two_steps() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path());
    let mut kv = KvClient::new(server.channel().await);
    let mut put = async |bytes: usize| {
        let request = PutRequest { key: "k".into(), value: vec![0; bytes].into(), ..Default::default() };
        kv.put(request).await.map(drop).map_err(|status| (status.code(), status.message().to_owned()))
    };
    assert_eq!(put(1_500_000).await, Ok(()));
    let refused = put(1_572_864).await.unwrap_err();
    assert_eq!(refused, (Code::InvalidArgument, "etcdserver: request is too large".to_owned()));
    let (code, text) = put(3_000_000).await.unwrap_err();
    assert_eq!(code, Code::ResourceExhausted);
    assert_eq!(text, "grpc: received message larger than max (3000008 vs. 2097152)");
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_lists_every_service_and_health_knows_each() {
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path());
    let request = ServerReflectionRequest {
        message_request: Some(MessageRequest::ListServices(String::new())),
        ..Default::default()
    };
    let mut reflection = ServerReflectionClient::new(server.channel().await);
    let mut answers = reflection.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response.unwrap();
    let MessageResponse::ListServicesResponse(list) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.into_iter().map(|service| service.name).collect();
    let mut health = HealthClient::new(server.channel().await);
    for service in ["etcdserverpb.KV", "etcdserverpb.Watch", "etcdserverpb.Lease", "tombolo.v1.Mesh"] {
        assert!(names.iter().any(|name| name == service), "{service} is not in {names:?}");
        let answer = health.check(HealthCheckRequest { service: service.to_owned() }).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
}

/// Takes the port that servers listen on for peers when none is given. A server of another test may have it for a while.
async fn usual_peer_port() -> Option<UdpSocket> {
    for _ in 0..1_000 {
        if let Ok(taken) = UdpSocket::bind("127.0.0.1:2380") {
            return Some(taken);
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Whoever has kept it so long keeps it.
    None
}

/// The address that nobody chose may be taken: a server alone does without peers, and says so to whoever invites one.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_peer_address_a_server_serves_and_does_not_invite() {
    let _taken = usual_peer_port().await;
    let home = TempDir::new().unwrap();
    let server = Server::start(home.path());
    let mut mesh = MeshClient::new(server.channel().await);
    let refused = mesh.invite(MeshInviteRequest { ttl_s: 60 }).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("2380"), "{refused:?}");
    let members = mesh.members(MeshMembersRequest {}).await.unwrap().into_inner();
    assert_eq!((members.members.len(), members.members[0].replica), (1, members.replica));

    // One that was chosen has to be had.
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", taken.local_addr().unwrap());
    let other = TempDir::new().unwrap();
    let mut command = command(other.path(), free_port());
    command.args(["--listen-peer-urls", &address]);
    let line = refusal(command);
    assert!(line.contains("listen for peers") && line.contains("--listen-peer-urls"), "{line}");
}
