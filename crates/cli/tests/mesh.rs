//! `tombolo mesh` against real servers: what it prints, and how it ends.

use std::{
    process::{Command, Output},
    time::Duration,
};

use tombolo_rig::{
    mesh::{Mesh, Shape},
    process::Server,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn run(server: &Server, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tombolo"));
    command.env_clear().args(["--endpoints", &server.address().to_string()]).args(words);
    command.output().expect("it runs")
}

fn printed(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn complained(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

async fn two_sites() -> Mesh {
    let launch = Server::tombolo().in_memory();
    let mut mesh = Mesh::prepare(&launch, &["factory", "ship"], Shape::full(2), 5).expect("two sites");
    mesh.start().await.expect("they start");
    mesh.converge(PATIENCE).await.expect("they converge");
    mesh
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invitation_is_one_line_on_standard_output() {
    let server = Server::tombolo().in_memory().start().await.expect("it starts");
    let output = run(&server, &["mesh", "invite", "--ttl", "10m"]);
    let ticket = printed(&output);
    assert!(ticket.starts_with("tmb1") && ticket.lines().count() == 1, "{output:?}");
    assert!(complained(&output).contains("--join") && output.status.success(), "{output:?}");
    let json = printed(&run(&server, &["mesh", "invite", "-w", "json"]));
    assert!(json.starts_with(r#"{"ticket":"tmb1"#) && json.lines().count() == 1, "{json}");
    assert_ne!(ticket, printed(&run(&server, &["mesh", "invite"])), "every ticket is another");
    for (words, code) in [
        (&["mesh", "invite", "--ttl", "0s"][..], 128),
        (&["mesh", "invite", "--ttl", "1y"], 128),
        (&["mesh", "invite", "-w", "table"], 4),
        (&["mesh", "invite", "--ttl", "1000h"], 1),
    ] {
        let output = run(&server, words);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_and_status_are_shown_in_every_format() {
    let mesh = two_sites().await;
    let [factory, ship] = mesh.sites() else { panic!("two sites") };
    for format in ["simple", "table", "json", "fields"] {
        let members = run(factory, &["mesh", "members", "-w", format]);
        let (here, there) = (printed(&members), printed(&run(ship, &["mesh", "members", "-w", format])));
        assert!(members.status.success() && here.contains("factory") && here.contains("ship"), "{here}");
        if matches!(format, "simple" | "table") {
            assert_eq!(here, there, "both sites say the same");
        }
        let status = run(factory, &["mesh", "status", "--wait", "20s", "-w", format]);
        let text = printed(&status);
        assert!(status.status.success() && text.contains("connected") && text.contains("equal"), "{status:?}");
    }
    let ids = printed(&run(factory, &["mesh", "members"]));
    let replica = ids.split(',').next().expect("an id");
    assert_eq!((replica.len(), u64::from_str_radix(replica, 16).is_ok()), (16, true), "{ids}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wait_in_vain_ends_with_7_and_says_what_was_waited_for() {
    let mut mesh = two_sites().await;
    mesh.site(1).kill().expect("it dies");
    let factory = &mesh.sites()[0];
    // A killed peer is known to be gone only after a while; what is written then is what it lacks.
    let put = run(factory, &["put", "k", "1"]);
    assert!(put.status.success(), "{put:?}");
    let output = run(factory, &["mesh", "status", "--wait", "300ms"]);
    assert_eq!(output.status.code(), Some(7), "{output:?}");
    assert!(complained(&output).contains("not converged after 300ms: ship "), "{output:?}");
    assert!(printed(&output).contains("ship"), "the status is shown all the same");
    assert!(run(factory, &["mesh", "status"]).status.success(), "to look is no failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_knows_no_mesh_is_said_to_be_none_of_ours() {
    let Some(etcd) = Server::etcd() else { return };
    let etcd = etcd.in_memory().start().await.expect("etcd starts");
    for words in [&["mesh", "invite"][..], &["mesh", "members"], &["mesh", "status"]] {
        let output = run(&etcd, words);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(complained(&output).contains("no Tombolo"), "{output:?}");
    }
}
