//! Signed tokens: Tombolo and etcd with the same keys take each other's, and judge by them alike.

use std::{fs, path::Path};

use anyhow::Result;
use rcgen::{KeyPair, PKCS_ECDSA_P384_SHA384};
use tombolo_rig::{
    differential::Run,
    process::{Launch, Server},
    random::{seeds, size},
};

use super::{
    beside_etcd::dialect,
    calls::{DENIED, INVALID_TOKEN, furnish, get, grant, log_in, must, put, refusal, role_add, tombolo},
};

const OLD: &str = "etcdserver: revision of auth store is old";

/// A pair of keys in a folder.
struct Keys(tempfile::TempDir);

impl Keys {
    fn new() -> Result<Self> {
        let (folder, pair) = (tempfile::tempdir()?, KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?);
        fs::write(folder.path().join("private"), pair.serialize_pem())?;
        fs::write(folder.path().join("public"), pair.public_key_pem())?;
        Ok(Self(folder))
    }

    fn file(&self, name: &str) -> String {
        Path::join(self.0.path(), name).display().to_string()
    }

    fn both(&self) -> String {
        format!("jwt,sign-method=ES384,pub-key={},priv-key={},ttl=10m", self.file("public"), self.file("private"))
    }

    fn public(&self) -> String {
        format!("jwt,sign-method=ES384,pub-key={}", self.file("public"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tombolo_judges_by_signed_tokens_as_etcd_does() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    let keys = Keys::new()?;
    for seed in seeds(&[4]) {
        let launch = |launch: Launch| launch.in_memory().with("--bcrypt-cost", "4").with("--auth-token", &keys.both());
        let (reference, subject) = (launch(etcd.clone()), launch(tombolo()));
        let (reference, subject) = tokio::try_join!(reference.start(), subject.start())?;
        let (mut left, mut right) = (reference.connect().await?, subject.connect().await?);
        let mut run = Run::with_users(seed, dialect(&reference).await?);
        let tally = run.go_on(size("TOMBOLO_STEPS", 2_000), &mut left, &mut right).await?;
        println!("seed {seed}: {tally:?}");
    }
    Ok(())
}

#[tokio::test]
async fn tombolo_and_etcd_take_each_others_tokens() -> Result<()> {
    let Some(etcd) = Server::etcd() else { return Ok(()) };
    let keys = Keys::new()?;
    let launch = |launch: Launch| launch.in_memory().with("--bcrypt-cost", "4").with("--auth-token", &keys.both());
    let (etcd, tombolo) = (launch(etcd).start().await?, launch(tombolo()).start().await?);
    let (mut left, mut right) = (etcd.connect().await?, tombolo.connect().await?);
    for connection in [&mut left, &mut right] {
        furnish(connection).await?;
        log_in(connection, "ann", "window").await?;
    }
    std::mem::swap(&mut left.wallet, &mut right.wallet);
    for connection in [&mut left, &mut right] {
        assert_eq!(refusal(connection, "ann", put("a1")).await?, "");
        assert_eq!(refusal(connection, "ann", put("b1")).await?, DENIED);
    }
    Ok(())
}

#[tokio::test]
async fn a_signed_token_is_known_to_whoever_has_the_public_key_until_the_policy_changes() -> Result<()> {
    let keys = Keys::new()?;
    let mut server = tombolo().with("--auth-token", &keys.both()).start().await?;
    let mut connection = server.connect().await?;
    furnish(&mut connection).await?;
    log_in(&mut connection, "root", "master").await?;
    log_in(&mut connection, "ann", "window").await?;
    server.set("--auth-token", &keys.public());
    server.restart().await?;
    let mut reader = server.connect().await?;
    reader.wallet = connection.wallet.clone();
    assert_eq!(refusal(&mut reader, "ann", put("a1")).await?, "", "it outlives a restart");
    let refused = log_in(&mut reader, "ann", "window").await.unwrap_err().to_string();
    assert!(refused.contains("verify-only"), "{refused}");
    must(&mut reader, "root", role_add("s")).await?;
    assert_eq!(refusal(&mut reader, "ann", put("a1")).await?, OLD);
    // As in etcd, what only root may does not ask for the revision.
    must(&mut reader, "root", grant("ann", "s")).await?;
    let foreign = Keys::new()?;
    server.set("--auth-token", &foreign.public());
    server.restart().await?;
    let mut stranger = server.connect().await?;
    stranger.wallet = connection.wallet.clone();
    assert_eq!(refusal(&mut stranger, "root", get("a1")).await?, INVALID_TOKEN);
    Ok(())
}
