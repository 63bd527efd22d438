//! What a server keeps and what it forgets, what a login tells, and what it says of itself.

use std::time::{Duration, Instant};

use anyhow::Result;
use tombolo_proto::etcdserverpb::{
    AuthDisableRequest, AuthUserChangePasswordRequest, AuthUserDeleteRequest, AuthenticateRequest,
};
use tombolo_rig::{
    process::Server,
    request::{Answer, Request, auth::AuthRequest},
};

use super::calls::{
    DENIED, INVALID_TOKEN, NO_USER, ask, furnish, get, log_in, must, put, refusal, tombolo, until, user_add,
};

#[tokio::test]
async fn users_survive_a_restart_and_their_tokens_do_not() -> Result<()> {
    let mut server = tombolo().start().await?;
    let mut connection = server.connect().await?;
    furnish(&mut connection).await?;
    log_in(&mut connection, "ann", "window").await?;
    assert_eq!(refusal(&mut connection, "ann", put("a1")).await?, "");
    assert_eq!(refusal(&mut connection, "ann", put("b1")).await?, DENIED);
    for is_orderly in [true, false] {
        if is_orderly {
            server.stop()?;
        }
        server.restart().await?;
        let mut next = server.connect().await?;
        next.wallet = connection.wallet.clone();
        assert_eq!(refusal(&mut next, "ann", get("a1")).await?, INVALID_TOKEN);
        assert_eq!(refusal(&mut next, "", get("a1")).await?, NO_USER);
        log_in(&mut next, "ann", "window").await?;
        assert_eq!(refusal(&mut next, "ann", get("a1")).await?, "");
        assert_eq!(refusal(&mut next, "ann", put("b1")).await?, DENIED);
        connection = next;
    }
    Ok(())
}

#[tokio::test]
async fn a_token_ends_when_it_is_not_used_and_lives_while_it_is() -> Result<()> {
    let server = tombolo().with("--auth-token-ttl", "2").start().await?;
    let mut connection = server.connect().await?;
    furnish(&mut connection).await?;
    log_in(&mut connection, "ann", "window").await?;
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert_eq!(refusal(&mut connection, "ann", get("a1")).await?, "");
    }
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    assert_eq!(refusal(&mut connection, "ann", get("a1")).await?, INVALID_TOKEN);
    Ok(())
}

#[tokio::test]
async fn a_changed_password_ends_what_was_shown_before() -> Result<()> {
    let server = tombolo().start().await?;
    let mut connection = server.connect().await?;
    furnish(&mut connection).await?;
    log_in(&mut connection, "root", "master").await?;
    log_in(&mut connection, "ann", "window").await?;
    let change = AuthUserChangePasswordRequest { name: "ann".into(), password: "door".into(), ..Default::default() };
    must(&mut connection, "root", AuthRequest::UserChangePassword(change)).await?;
    assert_eq!(refusal(&mut connection, "ann", get("a1")).await?, INVALID_TOKEN);
    assert!(log_in(&mut connection, "ann", "window").await.is_err());
    log_in(&mut connection, "ann", "door").await?;
    assert_eq!(refusal(&mut connection, "ann", get("a1")).await?, "");
    must(&mut connection, "root", AuthRequest::UserDelete(AuthUserDeleteRequest { name: "ann".into() })).await?;
    assert_eq!(refusal(&mut connection, "ann", get("a1")).await?, INVALID_TOKEN);
    must(&mut connection, "root", AuthRequest::Disable(AuthDisableRequest {})).await?;
    assert_eq!(refusal(&mut connection, "", get("a1")).await?, "");
    Ok(())
}

/// Whoever tries names learns nothing from how long it takes, for nobody's password is checked as long as somebody's.
#[tokio::test]
async fn an_unknown_user_is_refused_like_a_wrong_password() -> Result<()> {
    let server = tombolo().with("--bcrypt-cost", "9").start().await?;
    let mut connection = server.connect().await?;
    furnish(&mut connection).await?;
    let (mut answers, mut times) = (Vec::new(), Vec::new());
    for name in ["ann", "nobody"] {
        let login = AuthenticateRequest { name: name.into(), password: "guess".into() };
        let mut quickest = Duration::MAX;
        for _ in 0..5 {
            let since = Instant::now();
            answers.push(ask(&mut connection, "", Request::Auth(AuthRequest::Authenticate(login.clone()))).await?);
            quickest = quickest.min(since.elapsed());
        }
        times.push(quickest);
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    assert!(matches!(&answers[0], Answer::Refused { code, .. } if code == "InvalidArgument"), "{answers:?}");
    assert!(times[1] > times[0] / 5, "somebody takes {:?}, nobody {:?}", times[0], times[1]);
    Ok(())
}

#[tokio::test]
async fn changes_at_once_are_all_made_and_counted() -> Result<()> {
    let server = tombolo().start().await?;
    let mut connection = server.connect().await?;
    furnish(&mut connection).await?;
    log_in(&mut connection, "root", "master").await?;
    let before = revision(&mut connection).await?;
    let adding = (0..40).map(|number| {
        let mut connection = connection.clone();
        async move { must(&mut connection, "root", user_add(&format!("user{}", number % 20), "p")).await }
    });
    let mut set = tokio::task::JoinSet::new();
    adding.for_each(|adding| drop(set.spawn(adding)));
    let added = set.join_all().await.into_iter().filter(Result::is_ok).count();
    assert_eq!(added, 20, "each name once");
    assert_eq!(revision(&mut connection).await?, before + 20);
    Ok(())
}

#[tokio::test]
async fn no_password_stands_in_the_log() -> Result<()> {
    let mut server = tombolo().with("--log-level", "debug").start().await?;
    let mut connection = server.connect().await?;
    furnish(&mut connection).await?;
    let token = log_in(&mut connection, "ann", "window").await?;
    assert!(log_in(&mut connection, "ann", "not-the-window").await.is_err());
    assert!(log_in(&mut connection, "password-as-name", "x").await.is_err());
    until(&mut connection, "ann", put("b1"), DENIED).await?;
    server.stop()?;
    let log = server.output();
    assert!(!log.is_empty());
    for secret in ["window", "master", "password-as-name", &token] {
        assert!(!log.contains(secret), "{secret} stands in the log:\n{log}");
    }
    Ok(())
}

#[tokio::test]
async fn tokens_that_cannot_be_are_refused_at_the_start() -> Result<()> {
    for (flag, named) in [
        ("jwt,sign-method=ES256,priv-key=/no/such/file", "/no/such/file"),
        ("jwt,sign-method=ES256", "pub-key"),
        ("kerberos", "kerberos"),
    ] {
        let mut server: Server = tombolo().with("--auth-token", flag).prepare()?;
        let refusal = server.refusal()?;
        assert!(!refusal.status.success() && refusal.output.contains(named), "{flag}: {}", refusal.output);
    }
    Ok(())
}

async fn revision(connection: &mut tombolo_rig::connect::Connection) -> Result<u64> {
    use tombolo_rig::request::auth::AuthAnswer;
    match must(connection, "root", AuthRequest::Status(Default::default())).await? {
        AuthAnswer::Status(status) => Ok(status.auth_revision),
        other => anyhow::bail!("{other:?}"),
    }
}
