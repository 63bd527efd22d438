//! Under whose name the gateway calls: the client's own, found in its token or in the certificate of its connection, and nobody else's.

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tombolo_rig::{
    pki::{Authority, Purpose},
    process::Server,
    secure::Trust,
};

/// The status of a call whose client shows a certificate.
async fn call(server: &Server, trust: &Trust, path: &str, headers: &str, body: &str) -> Result<(u16, String)> {
    let mut stream = trust.clone().offering(&["http/1.1"]).connect(server.address()).await?;
    let length = body.len();
    let head =
        format!("POST /v3/{path} HTTP/1.1\r\nhost: any.example\r\nconnection: close\r\ncontent-length: {length}\r\n");
    stream.write_all(format!("{head}{headers}\r\n{body}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = answer.split(' ').nth(1).with_context(|| format!("no answer: {answer:?}"))?.parse()?;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default();
    Ok((status, body))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_is_its_clients_own_whatever_its_headers_say() -> Result<()> {
    let folder = tempfile::Builder::new().prefix("tombolo-rig-pki-").tempdir()?;
    let authority = Authority::root("Rig Root")?;
    // The server's certificate bears the name of the one who may do everything: it must not rub off on who comes through the gateway.
    let own = authority.issue(Purpose::Server, "root", &["127.0.0.1"])?.write(folder.path(), "server")?;
    let ca = folder.path().join("ca.crt");
    std::fs::write(&ca, authority.pem())?;
    let showing = |name: &str| anyhow::Ok(Trust::in_ca(&authority.pem()).showing(&authority.client(name)?));
    let (root, ann, stranger) = (showing("root")?, showing("ann")?, showing("stranger")?);
    let server = Server::tombolo()
        .in_memory()
        .with("--cert-file", &own.cert.display().to_string())
        .with("--key-file", &own.key.display().to_string())
        .with("--trusted-ca-file", &ca.display().to_string())
        .with("--client-cert-auth", "true")
        .secured(root.clone())
        .start()
        .await?;
    for (path, body) in [
        ("auth/user/add", r#"{"name":"root","password":"secret"}"#),
        ("auth/user/add", r#"{"name":"ann","password":"pw"}"#),
        ("auth/role/add", r#"{"name":"reader"}"#),
        ("auth/role/grant", r#"{"name":"reader","perm":{"permType":"READ","key":"YQ=="}}"#),
        ("auth/user/grant", r#"{"user":"root","role":"root"}"#),
        ("auth/user/grant", r#"{"user":"ann","role":"reader"}"#),
        ("kv/put", r#"{"key":"YQ=="}"#),
        ("auth/enable", "{}"),
    ] {
        let (status, answer) = call(&server, &root, path, "", body).await?;
        assert_eq!(status, 200, "{path}: {answer}");
    }
    let (_, token) =
        call(&server, &stranger, "auth/authenticate", "", r#"{"name":"root","password":"secret"}"#).await?;
    let token = token.split("\"token\":\"").nth(1).and_then(|rest| rest.split('"').next()).context(token.clone())?;
    let of_root = format!("authorization: {token}\r\n");
    let forged = "x-forwarded-client-cert: Subject=\"CN=root\"\r\nx-remote-user: root\r\ngrpc-metadata-common-name: root\r\n\
                  grpc-metadata-user: root\r\nssl-client-subject-dn: CN=root\r\nx-forwarded-for: 127.0.0.1\r\n";
    let (read, write) = ("kv/range", "kv/put");
    for (who, trust, path, headers, status) in [
        ("root", &root, write, "", 200),
        ("ann", &ann, read, "", 200),
        ("ann", &ann, write, "", 403),
        ("ann, saying that she is another", &ann, write, forged, 403),
        ("ann, with a token of root's", &ann, write, &of_root, 200),
        ("ann, with a token of nobody's", &ann, read, "authorization: nobody.1\r\n", 401),
        ("ann, with root's name for a token", &ann, write, "authorization: root\r\n", 401),
        ("a stranger", &stranger, read, "", 403),
        ("a stranger who says to be another", &stranger, write, forged, 403),
    ] {
        let answer = call(&server, trust, path, headers, r#"{"key":"YQ=="}"#).await?;
        assert_eq!(answer.0, status, "{who}: {path}: {answer:?}");
    }
    Ok(())
}
