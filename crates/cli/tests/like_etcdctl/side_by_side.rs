//! The bench that all comparisons stand on: a server, the two programs, and how their runs are compared.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use bytes::Bytes;
use tombolo_client::{Client, KeyRange};
use tombolo_proto::{
    authpb::permission::Type,
    etcdserverpb::{DeleteRangeRequest, LeaseGrantRequest, LeaseRevokeRequest, PutRequest, RangeRequest},
};
use tombolo_rig::{
    process::{Launch, Server},
    requirement::Tool,
};

use crate::mask;

/// The formats that most commands are compared in.
pub(crate) const FORMATS: [&str; 4] = ["simple", "json", "fields", "table"];

/// A server and the two programs.
pub(crate) struct SideBySide {
    pub(crate) server: Server,
    pub(crate) client: Client,
    etcdctl: PathBuf,
    /// etcdctl is older than the release whose output is followed.
    pub(crate) older: bool,
}

/// What was there before a command ran.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Put(&'static str, &'static str),
    Del(&'static str),
    /// Grants a lease; `<lease>` in the command is its id.
    Grant,
    /// Puts a key on that lease.
    PutLeased(&'static str),
    /// Revokes that lease.
    Revoke,
    User(&'static str),
    Role(&'static str),
    /// Gives a user a role.
    GiveRole(&'static str, &'static str),
    /// Gives a role a permission.
    Permit(&'static str, Type, &'static str, &'static str),
}

/// One command to compare.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Case {
    pub(crate) before: &'static [Step],
    /// The words, separated by spaces. `~` is a space within a word, and `<lease>` the id of the lease.
    pub(crate) command: &'static str,
    pub(crate) input: &'static str,
    /// Why etcdctl 3.4 prints something else, and in which formats.
    pub(crate) older: Option<(&'static [&'static str], &'static str)>,
}

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) stdout: String,
    pub(crate) code: Option<i32>,
    pub(crate) stderr: String,
}

/// The state a case starts from.
struct Start {
    revision: i64,
    lease: i64,
}

pub(crate) fn case(before: &'static [Step], command: &'static str) -> Case {
    Case { before, command, input: "", older: None }
}

impl Case {
    pub(crate) fn with_input(self, input: &'static str) -> Self {
        Self { input, ..self }
    }

    pub(crate) fn older_differs(self, formats: &'static [&'static str], why: &'static str) -> Self {
        Self { older: Some((formats, why)), ..self }
    }

    fn words(&self, start: &Start) -> Vec<String> {
        let lease = format!("{:016x}", start.lease);
        let words = self.command.split(' ').filter(|word| !word.is_empty());
        words.map(|word| word.replace('~', " ").replace("<lease>", &lease).replace("<empty>", "")).collect()
    }
}

impl SideBySide {
    /// The bench, or `None` with a printed line when the machine has no etcd or no etcdctl.
    pub(crate) async fn new() -> Option<Self> {
        Self::of(Server::etcd()?).await
    }

    /// The same on another server.
    pub(crate) async fn of(server: Launch) -> Option<Self> {
        let etcdctl = Tool::Etcdctl.find()?;
        let server = server.in_memory().start().await.expect("the server starts");
        let client = Client::parse(&server.address().to_string()).expect("an endpoint");
        let version = Command::new(&etcdctl).env("ETCDCTL_API", "3").arg("version").output().expect("etcdctl runs");
        let older = String::from_utf8_lossy(&version.stdout).contains("etcdctl version: 3.4");
        Some(Self { server, client, etcdctl, older })
    }

    /// Compares each case in each format.
    pub(crate) async fn compare(&self, formats: &[&str], cases: &[Case]) {
        for case in cases {
            for format in formats {
                self.compare_one(format, case).await;
            }
        }
    }

    async fn compare_one(&self, format: &str, case: &Case) {
        if let Some((formats, why)) = case.older.filter(|_| self.older)
            && (formats.contains(&format) || formats.is_empty())
        {
            println!("not compared with etcdctl 3.4: `{}` as {format}: {why}", case.command);
            return;
        }
        let expected = self.run_case(&self.etcdctl, format, case).await;
        let found = self.run_case(tombolo(), format, case).await;
        let place = format!("`{}` as {format}", case.command);
        assert_eq!(found.stdout, expected.stdout, "{place}\netcdctl: {expected:?}\ntombolo: {found:?}");
        assert_eq!(found.code, expected.code, "{place}\netcdctl: {expected:?}\ntombolo: {found:?}");
        let error = mask::error(&expected.stderr);
        assert!(found.stderr.contains(&error), "{place}: {error:?} is not in {:?}", found.stderr);
    }

    async fn run_case(&self, program: &Path, format: &str, case: &Case) -> Outcome {
        let start = self.prepare(case.before).await;
        let words = case.words(&start);
        let words: Vec<&str> = ["-w", format].into_iter().chain(words.iter().map(String::as_str)).collect();
        let outcome = self.run(program, &words, case.input);
        if start.lease != 0 {
            // A case may have revoked it already.
            let _ = self.client.lease().lease_revoke(LeaseRevokeRequest { id: start.lease }).await;
        }
        Outcome { stdout: mask::stdout(&outcome.stdout, start.revision, start.lease), ..outcome }
    }

    /// Runs a program on the server, with the environment of neither.
    pub(crate) fn run(&self, program: &Path, words: &[&str], input: &str) -> Outcome {
        let mut child = self.command(program).args(words).spawn().expect("the program starts");
        let mut stdin = child.stdin.take().expect("a pipe");
        // A program that does not read its input may be gone by now.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        let output = child.wait_with_output().expect("the program ends");
        Outcome {
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            code: output.status.code(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// A program pointed at the server, with pipes.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command.env_clear().env("ETCDCTL_API", "3").env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.arg("--endpoints").arg(self.server.address().to_string());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub(crate) fn etcdctl(&self) -> &Path {
        &self.etcdctl
    }

    pub(crate) async fn put(&self, key: &str, value: &str) -> i64 {
        self.put_leased(key, value, 0).await
    }

    async fn put_leased(&self, key: &str, value: &str, lease: i64) -> i64 {
        let (key, value) = (Bytes::from(key.to_owned()), Bytes::from(value.to_owned()));
        let request = PutRequest { key, value, lease, ..Default::default() };
        let response = self.client.kv().put(request).await.expect("a put").into_inner();
        response.header.expect("a header").revision
    }

    pub(crate) async fn del(&self, range: KeyRange) {
        let request = DeleteRangeRequest { key: range.key, range_end: range.end, prev_kv: false };
        self.client.kv().delete_range(request).await.expect("a delete");
    }

    /// Waits until so many keys begin with `prefix`.
    pub(crate) async fn wait_for_keys(&self, prefix: &'static str, wanted: usize) {
        let range = KeyRange::prefix(prefix);
        let started = Instant::now();
        loop {
            let request = RangeRequest { key: range.key.clone(), range_end: range.end.clone(), ..Default::default() };
            let count = self.client.kv().range(request).await.expect("a read").into_inner().count;
            if usize::try_from(count) == Ok(wanted) {
                return;
            }
            assert!(started.elapsed() < Duration::from_secs(15), "{count} keys begin with {prefix}, not {wanted}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn grant(&self, ttl: i64) -> i64 {
        let request = LeaseGrantRequest { ttl, id: 0 };
        self.client.lease().lease_grant(request).await.expect("a lease").into_inner().id
    }

    pub(crate) async fn revision(&self) -> i64 {
        let request = RangeRequest { key: "revision".into(), ..Default::default() };
        let response = self.client.kv().range(request).await.expect("a read").into_inner();
        response.header.expect("a header").revision
    }

    /// Empties the store and takes the steps.
    async fn prepare(&self, steps: &[Step]) -> Start {
        self.del(KeyRange::prefix("")).await;
        if steps.iter().any(|step| matches!(step, Step::User(_) | Step::Role(_))) {
            self.clear_accounts().await;
        }
        let mut start = Start { revision: self.revision().await, lease: 0 };
        for step in steps {
            match *step {
                Step::Put(key, value) => drop(self.put(key, value).await),
                Step::Del(key) => self.del(KeyRange::single(key)).await,
                Step::Grant => start.lease = self.grant(600).await,
                Step::PutLeased(key) => drop(self.put_leased(key, "leased", start.lease).await),
                Step::User(name) => self.add_user(name).await,
                Step::Role(name) => self.add_role(name).await,
                Step::GiveRole(user, role) => self.give_role(user, role).await,
                Step::Permit(role, kind, key, range_end) => self.permit(role, kind, key, range_end).await,
                Step::Revoke => {
                    let request = LeaseRevokeRequest { id: start.lease };
                    self.client.lease().lease_revoke(request).await.expect("revoked");
                }
            }
        }
        start
    }
}

/// The program under test.
pub(crate) fn tombolo() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_tombolo"))
}
