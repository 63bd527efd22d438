//! A client that signs in, against a real server that checks who calls.

use anyhow::{Context as _, Result};
use tombolo_client::{Client, ClientError, ClientOptions, Credentials, Endpoint};
use tombolo_proto::etcdserverpb::{
    AuthEnableRequest, AuthRoleAddRequest, AuthUserAddRequest, AuthUserChangePasswordRequest, AuthUserGrantRoleRequest,
    PutRequest, RangeRequest,
};
use tombolo_rig::process::Server;
use tonic::Code;

/// A client of the server in this user's name.
fn client(server: &Server, credentials: Option<Credentials>) -> Result<Client> {
    let mut options = ClientOptions::default();
    options.credentials = credentials;
    Ok(Client::new(Endpoint::parse_list(&server.address().to_string())?, options)?)
}

fn root(password: &str) -> Option<Credentials> {
    Some(Credentials::password("root", password))
}

async fn put(client: &Client) -> Result<(), ClientError> {
    client.kv().put(PutRequest { key: "k".into(), ..Default::default() }).await?;
    Ok(())
}

async fn add_root(client: &Client) -> Result<()> {
    let (name, password) = ("root".to_owned(), "first".to_owned());
    client.auth().user_add(AuthUserAddRequest { name, password, ..Default::default() }).await?;
    client.auth().role_add(AuthRoleAddRequest { name: "root".into() }).await?;
    client.auth().user_grant_role(AuthUserGrantRoleRequest { user: "root".into(), role: "root".into() }).await?;
    Ok(())
}

async fn change_password(client: &Client, password: &str) -> Result<(), ClientError> {
    let (name, password) = ("root".into(), password.into());
    let request = AuthUserChangePasswordRequest { name, password, ..Default::default() };
    client.auth().user_change_password(request).await?;
    Ok(())
}

/// Every step that a client with a password goes through, from a server that asks nobody on.
async fn signs_in(server: Server) -> Result<()> {
    let nobody = client(&server, None)?;
    let early = client(&server, root("first"))?;
    // Nobody needs to sign in, and nothing fails for having tried.
    put(&early).await?;
    add_root(&nobody).await?;
    put(&nobody).await?;
    nobody.auth().auth_enable(AuthEnableRequest {}).await?;
    let refused = put(&nobody).await.err().context("nobody writes")?;
    assert_eq!(refused.to_string(), "etcdserver: user name is empty");
    // The server has begun to ask: the client that had no token gets one.
    put(&early).await?;
    // Every token of the user is void now. The new password gets another.
    change_password(&early, "first").await?;
    put(&early).await?;
    change_password(&early, "second").await?;
    let refused = put(&early).await.err().context("the password is another")?;
    assert!(matches!(&refused, ClientError::NotSignedIn(why) if why.code == Code::InvalidArgument), "{refused:?}");
    put(&client(&server, root("second"))?).await?;
    wrong_credentials(&server).await
}

async fn wrong_credentials(server: &Server) -> Result<()> {
    for credentials in [root("wrong"), Some(Credentials::password("stranger", "x"))] {
        let refused = put(&client(server, credentials)?).await.err().context("refused")?;
        assert!(matches!(&refused, ClientError::NotSignedIn(_)), "{refused:?}");
        assert_eq!(refused.to_string(), "etcdserver: authentication failed, invalid user ID or password");
    }
    // A token is sent as it is: its refusal is the call's.
    let forged = client(server, Some(Credentials::Token("forged.1".into())))?;
    let refused = put(&forged).await.err().context("refused")?;
    assert!(matches!(&refused, ClientError::Refused { code: Code::Unauthenticated, .. }), "{refused:?}");
    let unsendable = client(server, Some(Credentials::Token("two\nlines".into())))?;
    assert!(matches!(put(&unsendable).await, Err(ClientError::NotSignedIn(_))));
    Ok(())
}

/// A restarted server has forgotten its tokens.
async fn outlives_a_restart(mut server: Server) -> Result<()> {
    let nobody = client(&server, None)?;
    add_root(&nobody).await?;
    nobody.auth().auth_enable(AuthEnableRequest {}).await?;
    let signed = client(&server, root("first"))?;
    put(&signed).await?;
    server.restart().await?;
    // The connection broke with the server; who calls next dials again and is told that its token is void.
    while let Err(ClientError::Disconnected { .. }) = put(&signed).await {}
    put(&signed).await?;
    let read = signed.kv().range(RangeRequest { key: "k".into(), ..Default::default() }).await?.into_inner();
    assert!(read.kvs[0].version >= 2);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_got_when_it_is_needed_and_again_when_it_is_void() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    signs_in(etcd.in_memory().start().await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_is_signed_in_to_again() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    outlives_a_restart(etcd.in_memory().start().await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_got_from_tombolo_when_it_is_needed_and_again_when_it_is_void() -> Result<()> {
    signs_in(Server::tombolo().in_memory().start().await?).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_tombolo_is_signed_in_to_again() -> Result<()> {
    outlives_a_restart(Server::tombolo().in_memory().start().await?).await
}
