//! Answers as etcd's gateway writes them: an error as an object with its code and text, a stream as one object a line.

use std::convert::Infallible;

use axum::body::Body;
use futures_util::{StreamExt as _, stream};
use http::{Response, header};
use tombolo_proto::json::{self, Shape};
use tonic::Status;

use super::{JSON, call::Answers, success};
use crate::etcd::status::gateway as fault;

/// The answer to a call that failed before it had an answer.
pub(super) fn refusal(status: &Status) -> Response<Body> {
    let mut body = String::from("{\"error\":");
    json::text(status.message(), &mut body);
    body.push_str(&format!(",\"code\":{},\"message\":", status.code() as i32));
    json::text(status.message(), &mut body);
    body.push('}');
    failure(status, body)
}

/// A line for each answer; an error is the last one, without an end of line. If it is also the first, it decides about the status.
pub(super) async fn lines(response: tonic::Response<Answers>, shape: &'static Shape) -> Response<Body> {
    let (metadata, mut answers, _) = response.into_parts();
    let first = match next(&mut answers, shape).await {
        Ok(first) => first,
        Err(status) => return failure(&status, last_line(&status)),
    };
    // Without a first answer there is no second.
    let later = stream::unfold(first.is_some().then_some(answers), move |answers| async move {
        let mut answers = answers?;
        match next(&mut answers, shape).await {
            Ok(Some(line)) => Some((line, Some(answers))),
            Ok(None) => None,
            Err(status) => Some((last_line(&status), None)),
        }
    });
    success(&metadata, Body::from_stream(stream::iter(first).chain(later).map(Ok::<_, Infallible>)))
}

async fn next(answers: &mut Answers, shape: &'static Shape) -> Result<Option<String>, Status> {
    let Some(answer) = answers.next().await? else { return Ok(None) };
    let mut line = String::from("{\"result\":");
    json::write(shape, &answer, &mut line).map_err(|why| fault::unwritable(&why))?;
    line.push_str("}\n");
    Ok(Some(line))
}

fn last_line(status: &Status) -> String {
    let http = fault::http_status(status.code());
    let mut line =
        format!("{{\"error\":{{\"grpc_code\":{},\"http_code\":{},\"message\":", status.code() as i32, http.as_u16());
    json::text(status.message(), &mut line);
    line.push_str(",\"http_status\":");
    json::text(http.canonical_reason().unwrap_or_default(), &mut line);
    line.push_str("}}");
    line
}

fn failure(status: &Status, body: String) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = fault::http_status(status.code());
    response.headers_mut().insert(header::CONTENT_TYPE, JSON);
    response
}

#[cfg(test)]
mod tests {
    use axum::body;
    use http::StatusCode;

    use super::*;

    #[tokio::test]
    async fn an_error_says_its_text_twice_and_its_code_between() {
        let response = refusal(&Status::invalid_argument("no <key>"));
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let body = body::to_bytes(response.into_body(), 1_000).await.unwrap();
        let text = "no \\u003ckey\\u003e";
        assert_eq!(body, format!("{{\"error\":\"{text}\",\"code\":3,\"message\":\"{text}\"}}"));
    }

    #[test]
    fn a_stream_ends_with_both_codes() {
        let line = last_line(&Status::unavailable("etcdserver: server stopped"));
        let expected = r#"{"error":{"grpc_code":14,"http_code":503,"message":"etcdserver: server stopped","http_status":"Service Unavailable"}}"#;
        assert_eq!(line, expected);
    }
}
