//! The JSON gateway: etcd's API for whoever has HTTP and nothing else, on the port of the clients.
//!
//! A request is turned into the gRPC call that it stands for, which then takes the way of all calls: what guards, counts and bounds those does so here.
//! The call carries the connection's own extensions and the request's own metadata, so that nobody speaks under the server's name. Paths, answers and
//! the form of errors are those of etcd 3.5's gateway.

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::IntoResponse,
    routing::any,
};
use http::{HeaderMap, HeaderValue, Method as Verb, Response, StatusCode, header};
use tombolo_proto::{
    Kind, Method,
    json::{self, Call},
};
use tonic::Status;

use self::{call::Outgoing, requests::Requests};
use crate::{etcd::status::gateway as fault, front::Calls, limits};

mod answers;
mod call;
mod metadata;
mod path;
mod requests;
mod value;

/// The gateway; clones are cheap.
#[derive(Clone)]
pub(crate) struct Gateway {
    calls: Calls,
    /// Bytes that the JSON of one request may have.
    request_bytes_max: usize,
}

/// The gateway's routes, before those calls. A message's bytes grow by a third in base64; names and quotes come on top.
pub(crate) fn routes(calls: Calls, message_bytes_max: usize) -> Router {
    let request_bytes_max = (message_bytes_max / 3).saturating_mul(4).saturating_add(limits::JSON_OVERHEAD_BYTES);
    let gateway = Gateway { calls, request_bytes_max };
    let mut router = Router::new();
    for prefix in path::PREFIXES {
        router = router.route(&format!("{prefix}{{*rest}}"), any(serve));
    }
    router.with_state(gateway)
}

async fn serve(State(gateway): State<Gateway>, request: Request) -> Response<Body> {
    let Some((method, shapes)) =
        path::method(request.uri().path()).and_then(|method| Some((method, json::call(method)?)))
    else {
        return plain(StatusCode::NOT_FOUND, "Not Found\n");
    };
    if request.method() != Verb::POST {
        return plain(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n");
    }
    let answered = match method.kind() {
        Kind::Unary => gateway.unary(method, shapes, request).await,
        Kind::ServerStream | Kind::ClientStream | Kind::BidiStream => gateway.stream(method, shapes, request).await,
    };
    answered.unwrap_or_else(|status| answers::refusal(&status))
}

impl Gateway {
    async fn unary(&self, method: Method, shapes: Call, request: Request) -> Result<Response<Body>, Status> {
        let (outgoing, mut requests) = self.taken_apart(shapes, request)?;
        let message = requests.only().await?;
        let answer = outgoing.unary(self.calls.clone(), method, message).await?;
        let mut body = String::new();
        json::write(shapes.answer, answer.get_ref(), &mut body).map_err(|why| fault::unwritable(&why))?;
        Ok(success(answer.metadata(), Body::from(body)))
    }

    /// One object a line. As in etcd the head waits for the first, so that a call which is refused has the status of its refusal.
    async fn stream(&self, method: Method, shapes: Call, request: Request) -> Result<Response<Body>, Status> {
        let (outgoing, requests) = self.taken_apart(shapes, request)?;
        let answer = match method.kind() {
            Kind::Unary | Kind::ServerStream => {
                let mut requests = requests;
                let message = requests.only().await?;
                outgoing.stream(self.calls.clone(), method, futures_util::stream::iter([message])).await
            }
            Kind::ClientStream | Kind::BidiStream => {
                let messages = requests.each().await?;
                outgoing.stream(self.calls.clone(), method, messages).await
            }
        };
        Ok(answers::lines(answer?, shapes.answer).await)
    }

    fn taken_apart(&self, shapes: Call, request: Request) -> Result<(Outgoing, Requests), Status> {
        let (head, body) = request.into_parts();
        let outgoing = Outgoing::new(&head.headers, head.extensions)?;
        Ok((outgoing, Requests::new(body, shapes.request, self.request_bytes_max)))
    }
}

fn success(metadata: &tonic::metadata::MetadataMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    metadata::outward(metadata, response.headers_mut());
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

const JSON: HeaderValue = HeaderValue::from_static("application/json");

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    (status, headers, text).into_response()
}
