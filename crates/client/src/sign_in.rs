//! Signing in: a token for the password before the first call, and another when a server does not take the first one any more.
//!
//! A call that a server refuses for its token changed nothing, so it is the one kind of call that is sent twice. Only requests of
//! one message can be; a stream of requests gets a fresh token each time it is opened, as etcd's own client does. A server on which nobody
//! needs to sign in says so, and calls then go without a token.

use http_body_util::{BodyExt as _, Full};
use tokio::sync::Mutex;
use tombolo_proto::{
    Kind, Method,
    etcdserverpb::{AuthenticateRequest, auth_client::AuthClient},
};
use tonic::{
    Code, Status,
    body::Body,
    codegen::{
        Bytes,
        http::{HeaderMap, HeaderValue, Request, Response, request::Parts},
    },
};

use crate::{Credentials, error::NotSignedIn, transport::Bare};

/// Adds tokens to the calls of one client.
#[derive(Debug)]
pub(crate) struct SignIn {
    credentials: Credentials,
    /// The token in use, and how many were there before.
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    generation: u64,
    token: Token,
}

#[derive(Clone, Debug, Default)]
enum Token {
    #[default]
    Wanted,
    /// The server asks nobody to sign in.
    NotNeeded,
    Known(HeaderValue),
}

impl SignIn {
    pub(crate) fn new(credentials: Credentials) -> Self {
        Self { credentials, held: Mutex::default() }
    }

    /// Sends a request in the user's name.
    pub(crate) async fn send(&self, transport: Bare, request: Request<Body>) -> Result<Response<Body>, Status> {
        let kind = Method::of_path(request.uri().path()).map(Method::kind);
        if !matches!(kind, Some(Kind::Unary | Kind::ServerStream)) {
            let generation = self.held.lock().await.generation;
            let (token, _) = self.token(&transport, Some(generation)).await?;
            let (head, body) = request.into_parts();
            return transport.send(signed(head, &token, body)).await;
        }
        let (head, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let mut unfit = None;
        for _ in 0..ATTEMPTS {
            let (token, generation) = self.token(&transport, unfit).await?;
            let response = transport.send(signed(head.clone(), &token, whole(&body))).await?;
            let can_renew = matches!(self.credentials, Credentials::Password { .. });
            if !can_renew || !refuses_token(response.headers()) {
                return Ok(response);
            }
            unfit = Some(generation);
        }
        let (token, _) = self.token(&transport, unfit).await?;
        transport.send(signed(head, &token, whole(&body))).await
    }

    /// The token to use and its generation; another one than that of `unfit`. The lock is held while one is fetched: calls that come meanwhile
    /// want the same.
    async fn token(&self, transport: &Bare, unfit: Option<u64>) -> Result<(Token, u64), Status> {
        let mut held = self.held.lock().await;
        if matches!(held.token, Token::Wanted) || unfit == Some(held.generation) {
            held.token = self.fetch(transport).await?;
            held.generation += 1;
        }
        Ok((held.token.clone(), held.generation))
    }

    async fn fetch(&self, transport: &Bare) -> Result<Token, Status> {
        let token = match &self.credentials {
            Credentials::Token(token) => token.clone(),
            Credentials::Password { name, password } => {
                let request = AuthenticateRequest { name: name.clone(), password: password.clone() };
                match AuthClient::new(transport.clone()).authenticate(request).await {
                    Ok(answer) => answer.into_inner().token,
                    Err(status) if says_nobody_signs_in(&status) => return Ok(Token::NotNeeded),
                    Err(status) => return Err(NotSignedIn::explain(status)),
                }
            }
        };
        let mut value = HeaderValue::try_from(token)
            .map_err(|_| NotSignedIn::explain(Status::invalid_argument("the token cannot be sent in a header")))?;
        value.set_sensitive(true);
        Ok(Token::Known(value))
    }
}

/// How often a request is sent with one token after the other, before the last word of the server is taken.
const ATTEMPTS: usize = 2;

/// The name under which etcd's clients send their tokens.
const TOKEN_FIELD: &str = "token";

fn signed(mut head: Parts, token: &Token, body: Body) -> Request<Body> {
    if let Token::Known(token) = token {
        head.headers.insert(TOKEN_FIELD, token.clone());
    }
    Request::from_parts(head, body)
}

fn whole(bytes: &Bytes) -> Body {
    Body::new(Full::new(bytes.clone()))
}

fn says_nobody_signs_in(status: &Status) -> bool {
    status.code() == Code::FailedPrecondition && status.message() == "etcdserver: authentication is not enabled"
}

/// Whether an answer that is nothing but a status refuses the request for its token: it ran out, its user was changed since, or the server
/// has begun to ask for one.
fn refuses_token(headers: &HeaderMap) -> bool {
    let Some(status) = Status::from_header_map(headers) else { return false };
    matches!(
        status.message(),
        "etcdserver: invalid auth token"
            | "etcdserver: revision of auth store is old"
            | "etcdserver: user name is empty"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(status: &Status) -> HeaderMap {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).expect("plain text");
        headers
    }

    #[test]
    fn only_refusals_of_the_token_are_worth_another_one() {
        assert!(refuses_token(&head(&Status::unauthenticated("etcdserver: invalid auth token"))));
        assert!(refuses_token(&head(&Status::invalid_argument("etcdserver: revision of auth store is old"))));
        assert!(!refuses_token(&head(&Status::permission_denied("etcdserver: permission denied"))));
        assert!(!refuses_token(&HeaderMap::new()));
    }

    #[test]
    fn a_token_travels_as_metadata_and_is_marked_as_a_secret() {
        let head = Request::new(()).into_parts().0;
        let mut token = HeaderValue::from_static("abc.1");
        token.set_sensitive(true);
        let request = signed(head.clone(), &Token::Known(token), Body::empty());
        assert_eq!(request.headers()["token"], "abc.1");
        assert!(!format!("{:?}", request.headers()).contains("abc"));
        assert!(signed(head, &Token::NotNeeded, Body::empty()).headers().is_empty());
    }
}
