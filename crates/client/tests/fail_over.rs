//! A client with several endpoints, against real connections: which server answers, and when another one does.

use std::net::SocketAddr;

use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};
use tokio_stream::wrappers::TcpListenerStream;
use tombolo_client::{Client, ClientError};
use tombolo_proto::{
    etcdserverpb::{
        CompactionRequest, CompactionResponse, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
        RangeRequest, RangeResponse, ResponseHeader, TxnRequest, TxnResponse,
        kv_server::{Kv, KvServer},
    },
    mvccpb::KeyValue,
};
use tonic::{Code, Request, Response, Status, transport::Server};

/// Answers reads with its own number; the key `large` with many bytes, and writes with an error.
struct Numbered(u64);

#[tonic::async_trait]
impl Kv for Numbered {
    async fn range(&self, request: Request<RangeRequest>) -> Result<Response<RangeResponse>, Status> {
        let header = Some(ResponseHeader { member_id: self.0, ..Default::default() });
        let size = if &request.get_ref().key[..] == b"large" { LARGE } else { 0 };
        let kvs = vec![KeyValue { value: vec![7; size].into(), ..Default::default() }];
        Ok(Response::new(RangeResponse { header, kvs, ..Default::default() }))
    }

    async fn put(&self, _: Request<PutRequest>) -> Result<Response<PutResponse>, Status> {
        Err(Status::unavailable("etcdserver: server stopped"))
    }

    async fn delete_range(&self, _: Request<DeleteRangeRequest>) -> Result<Response<DeleteRangeResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn txn(&self, _: Request<TxnRequest>) -> Result<Response<TxnResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }

    async fn compact(&self, _: Request<CompactionRequest>) -> Result<Response<CompactionResponse>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

const LARGE: usize = 40 << 20;

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    served: JoinHandle<()>,
}

impl Running {
    async fn start(number: u64, address: &str) -> Self {
        let listener = TcpListener::bind(address).await.expect("a socket");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = oneshot::channel::<()>();
        let service = KvServer::new(Numbered(number)).max_encoding_message_size(usize::MAX);
        let server = Server::builder().add_service(service);
        let served = server.serve_with_incoming_shutdown(TcpListenerStream::new(listener), async {
            let _ = stopped.await;
        });
        let served = tokio::spawn(async move { served.await.expect("it serves") });
        Self { address, stop, served }
    }

    async fn stop(self) {
        let _ = self.stop.send(());
        self.served.await.expect("it stops");
    }
}

fn client(endpoints: &[SocketAddr]) -> Client {
    let list: Vec<String> = endpoints.iter().map(ToString::to_string).collect();
    Client::parse(&list.join(",")).expect("endpoints")
}

async fn who_answers(client: &Client) -> Result<u64, ClientError> {
    let response = client.kv().range(RangeRequest::default()).await?.into_inner();
    Ok(response.header.expect("a header").member_id)
}

async fn nobody() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a socket");
    listener.local_addr().expect("an address")
}

#[tokio::test]
async fn an_endpoint_that_refuses_is_passed_over() {
    let (absent, present) = (nobody().await, Running::start(2, "127.0.0.1:0").await);
    let client = client(&[absent, present.address]);
    assert_eq!(who_answers(&client).await.expect("an answer"), 2);
}

#[tokio::test]
async fn calls_stay_with_the_endpoint_that_answered() {
    let (first, second) = (Running::start(1, "127.0.0.1:0").await, Running::start(2, "127.0.0.1:0").await);
    let client = client(&[first.address, second.address]);
    for _ in 0..5 {
        assert_eq!(who_answers(&client.clone()).await.expect("an answer"), 1);
    }
}

#[tokio::test]
async fn the_next_endpoint_answers_when_one_is_gone() {
    let (first, second) = (Running::start(1, "127.0.0.1:0").await, Running::start(2, "127.0.0.1:0").await);
    let client = client(&[first.address, second.address]);
    assert_eq!(who_answers(&client).await.expect("an answer"), 1);
    first.stop().await;
    // The call that finds the connection gone may fail: whether it reached the server is not known.
    if let Err(error) = who_answers(&client).await {
        assert!(matches!(error, ClientError::Disconnected { .. } | ClientError::Unreachable(_)), "{error:?}");
    }
    assert_eq!(who_answers(&client).await.expect("an answer"), 2);
}

#[tokio::test]
async fn a_server_that_comes_back_is_found_again() {
    let first = Running::start(1, "127.0.0.1:0").await;
    let address = first.address;
    let client = client(&[address]);
    assert_eq!(who_answers(&client).await.expect("an answer"), 1);
    first.stop().await;
    while who_answers(&client).await.is_ok() {}
    let _again = Running::start(3, &address.to_string()).await;
    assert_eq!(who_answers(&client).await.expect("an answer"), 3);
}

#[tokio::test]
async fn every_endpoint_that_was_tried_is_named_when_none_answers() {
    let absent = [nobody().await, nobody().await];
    let error = who_answers(&client(&absent)).await.expect_err("nobody is there");
    let ClientError::Unreachable(unreachable) = error else { panic!("{error:?}") };
    let tried: Vec<String> = unreachable.attempts.iter().map(|attempt| attempt.endpoint.to_string()).collect();
    assert_eq!(tried, absent.map(|address| address.to_string()));
    assert!(unreachable.attempts[0].reason.contains("refused"), "{unreachable}");
}

#[tokio::test]
async fn a_server_s_refusal_is_its_own_words_and_moves_nobody() {
    let (first, second) = (Running::start(1, "127.0.0.1:0").await, Running::start(2, "127.0.0.1:0").await);
    let client = client(&[first.address, second.address]);
    let error = ClientError::from(client.kv().put(PutRequest::default()).await.expect_err("refused"));
    assert!(matches!(&error, ClientError::Refused { code: Code::Unavailable, .. }), "{error:?}");
    assert_eq!(error.to_string(), "etcdserver: server stopped");
    assert_eq!(who_answers(&client).await.expect("an answer"), 1);
}

#[tokio::test]
async fn answers_of_tens_of_megabytes_arrive_whole() {
    let server = Running::start(1, "127.0.0.1:0").await;
    let request = RangeRequest { key: "large".into(), ..Default::default() };
    let response = client(&[server.address]).kv().range(request).await.expect("an answer").into_inner();
    assert_eq!(response.kvs[0].value.len(), LARGE);
}
