//! `--user`, `--password` and what comes of them on a server that asks who calls.

use tombolo_client::KeyRange;
use tombolo_rig::process::{Launch, Server};

use crate::{
    mask,
    side_by_side::{SideBySide, tombolo},
};

/// A whole life of users, from the first to the last. `<` introduces what is typed.
const LIFE: &[&str] = &[
    "user add root:rootpw",
    "get k",
    "auth enable",
    "get k",
    "put k 0",
    "user list",
    "--user root:rootpw put k 1",
    "--user root --password rootpw get k",
    "--user root get k < rootpw",
    "--user root get k < wrong",
    "--user root:wrong get k",
    "--user root:wrong user list",
    "--user nobody:x get k",
    "--user root: get k",
    "--password rootpw get k",
    "--user root:rootpw user add ann --new-user-password annpw",
    "--user root:rootpw user add bob --no-password",
    "--user root:rootpw role add r",
    "--user root:rootpw role grant-permission r read k",
    "--user root:rootpw role grant-permission r readwrite mine/ --prefix",
    "--user root:rootpw user grant-role ann r",
    "--user ann:annpw get k",
    "--user ann:annpw get k kk",
    "--user ann:annpw get --prefix mine/",
    "--user ann:annpw put k 2",
    "--user ann:annpw put mine/1 2",
    "--user ann:annpw del mine/1 --prev-kv",
    "--user ann:annpw user get ann",
    "--user ann:annpw user get ann --detail",
    "--user ann:annpw user get root",
    "--user ann:annpw role get r",
    "--user ann:annpw user list",
    "--user ann:annpw role list",
    "--user ann:annpw user add eve:x",
    "--user ann:annpw auth disable",
    "--user bob:x get k",
    "--user root:rootpw user passwd ann --interactive=false < newpw",
    "--user ann:annpw get k",
    "--user ann:newpw get k",
    "--user root:rootpw user revoke-role ann r",
    "--user ann:newpw get k",
    "--user root:rootpw user delete root",
    "--user root:rootpw role delete root",
    "--user root:rootpw user revoke-role root root",
    "--user root:rootpw auth enable",
    "--user root:rootpw user delete bob",
    "--user root:rootpw user list",
    "--user root:rootpw role get r",
    "--user root:rootpw auth disable",
    "auth disable",
    "--user root:wrong get k",
    "get k",
];

async fn lives_alike(launch: Launch) {
    // Every line signs in, and at its least cost a password is not what takes the time.
    let Some(bench) = SideBySide::of(launch.with("--bcrypt-cost", "4")).await else { return };
    let mut lives = Vec::new();
    for program in [bench.etcdctl(), tombolo()] {
        bench.del(KeyRange::prefix("")).await;
        let mut life = Vec::new();
        for line in LIFE {
            let (words, input) = line.split_once(" < ").unwrap_or((line, ""));
            let words: Vec<&str> = words.split(' ').collect();
            let outcome = bench.run(program, &words, input);
            life.push((*line, outcome));
        }
        bench.clear_accounts().await;
        lives.push(life);
    }
    let [expected, found] = &lives[..] else { panic!("two programs") };
    for ((line, expected), (_, found)) in expected.iter().zip(found) {
        assert_eq!((&found.stdout, found.code), (&expected.stdout, expected.code), "`{line}`: {expected:?}, {found:?}");
        let error = mask::error(&expected.stderr);
        assert!(found.stderr.contains(&error), "`{line}`: {error:?} is not in {:?}", found.stderr);
        assert!(!["rootpw", "annpw", "newpw"].iter().any(|secret| found.stderr.contains(secret)), "{found:?}");
    }
}

#[tokio::test]
async fn a_life_of_users_goes_alike_on_etcd() {
    let Some(etcd) = Server::etcd() else { return };
    lives_alike(etcd).await;
}

#[tokio::test]
async fn a_life_of_users_goes_alike_on_tombolo() {
    lives_alike(Server::tombolo()).await;
}

#[tokio::test]
async fn who_calls_can_stand_in_the_environment() {
    let Some(bench) = SideBySide::new().await else { return };
    let setup = [&["user", "add", "root:rootpw"][..], &["auth", "enable"], &["--user", "root:rootpw", "put", "k", "1"]];
    for words in setup {
        assert_eq!(bench.run(tombolo(), words, "").code, Some(0), "{words:?}");
    }
    let run = |program, variables: &[(&str, &str)], words: &[&str]| {
        let mut command = bench.command(program);
        let output = command.envs(variables.iter().copied()).args(words).output().expect("it runs");
        (String::from_utf8_lossy(&output.stdout).into_owned(), output.status.code())
    };
    let pairs: [&[(&str, &str)]; 3] = [
        &[("ETCDCTL_USER", "root:rootpw")],
        &[("ETCDCTL_USER", "root"), ("ETCDCTL_PASSWORD", "rootpw")],
        &[("ETCDCTL_USER", "root:wrong")],
    ];
    for variables in pairs {
        let expected = run(bench.etcdctl(), variables, &["get", "k"]);
        assert_eq!(run(tombolo(), variables, &["get", "k"]), expected, "{variables:?}");
    }
    // A flag outranks the environment here, where etcdctl refuses to have both.
    let found = run(tombolo(), &[("ETCDCTL_USER", "root:wrong")], &["--user", "root:rootpw", "get", "k"]);
    assert_eq!(found, ("k\n1\n".to_owned(), Some(0)));
    // A token is sent as it is.
    let refused = bench.run(tombolo(), &["--auth-jwt-token", "no.such.token", "get", "k"], "");
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("etcdserver: invalid auth token"), "{refused:?}");
}
