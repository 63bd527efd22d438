//! Server processes by handle: started on free loopback ports, made ready, killed or stopped, and started again.
//!
//! A handle ends only the process that it started, and ends it when dropped. Ready means that a TCP connection is
//! accepted *and* a read is answered; the time that took is kept. The server's output goes to a file that failures quote.

use std::{
    env,
    fs::{self, File, OpenOptions},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use tempfile::TempDir;
use tombolo_proto::etcdserverpb::RangeRequest;

use crate::{
    connect::Connection,
    ports::free_port,
    requirement::{self, Tool},
    secure::Trust,
};

/// A running (or stopped) server with a data folder of its own.
#[derive(Debug)]
pub struct Server {
    launch: Launch,
    home: TempDir,
    ports: Ports,
    child: Option<Child>,
    ready_after: Duration,
}

/// How to start a server. Flags are etcd's, which both servers know.
#[derive(Clone, Debug)]
pub struct Launch {
    program: PathBuf,
    name: &'static str,
    flags: Vec<(String, String)>,
    address: IpAddr,
    /// Whose network it sees, if not everybody's.
    namespace: Option<String>,
    in_memory: bool,
    /// How to speak TLS to it, if it does.
    trust: Option<Trust>,
    /// Where homes are made; the system's folder for temporary files when nothing is said.
    homes: Option<PathBuf>,
    patience: Duration,
}

/// What a server said that did not start.
#[derive(Debug)]
pub struct Refusal {
    /// How it ended.
    pub status: ExitStatus,
    /// All of its output.
    pub output: String,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    client: u16,
    peer: u16,
    metrics: u16,
}

impl Server {
    /// The server under test.
    #[must_use]
    pub fn tombolo() -> Launch {
        Launch::new(requirement::tombolod(), "tombolod")
    }

    /// The server at this path, for those who have built it themselves.
    #[must_use]
    pub fn tombolo_at(program: &Path) -> Launch {
        Launch::new(program.to_path_buf(), "tombolod")
    }

    /// A real etcd, if there is one.
    #[must_use]
    pub fn etcd() -> Option<Launch> {
        Tool::Etcd.find().map(|program| Launch::new(program, "etcd"))
    }

    /// The real etcd in the path, if there is one. etcd 3.5.0 to 3.5.2, which measurements are quoted against, count
    /// revisions wrongly after a kill: they are no yardstick for that.
    #[must_use]
    pub fn etcd_in_path() -> Option<Launch> {
        Tool::Etcd.find_in_path().map(|program| Launch::new(program, "etcd"))
    }

    /// `http://host:port` for clients, or `https://`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        let scheme = if self.launch.trust.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", self.address())
    }

    /// The client socket.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.socket(self.ports.client)
    }

    /// The peer socket.
    #[must_use]
    pub fn peer_address(&self) -> SocketAddr {
        self.socket(self.ports.peer)
    }

    /// The socket of `--listen-metrics-urls`.
    #[must_use]
    pub fn metrics_address(&self) -> SocketAddr {
        self.socket(self.ports.metrics)
    }

    /// The data folder.
    #[must_use]
    pub fn folder(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// Adds a flag, or replaces its value, from the next start on.
    pub fn set(&mut self, flag: &str, value: &str) {
        self.launch.flags.push((flag.to_owned(), value.to_owned()));
    }

    /// The file that its output goes to.
    #[must_use]
    pub fn log(&self) -> PathBuf {
        self.home.path().join("output.log")
    }

    /// Leaves data and output behind when this handle is dropped.
    pub fn keep_home(&mut self) {
        self.home.disable_cleanup(true);
    }

    /// Time from the last start until the first read was answered.
    #[must_use]
    pub const fn ready_after(&self) -> Duration {
        self.ready_after
    }

    /// The process id, while it runs.
    #[must_use]
    pub fn process_id(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// A new connection to it.
    ///
    /// # Errors
    ///
    /// When it does not accept one.
    pub async fn connect(&self) -> Result<Connection> {
        self.open().await.with_context(|| self.last_words())
    }

    async fn open(&self) -> Result<Connection> {
        match &self.launch.trust {
            Some(trust) => Connection::open_secure(&self.endpoint(), trust).await,
            None => Connection::open(&self.endpoint()).await,
        }
    }

    /// SIGKILL, at once.
    ///
    /// # Errors
    ///
    /// When the process cannot be signalled or waited for.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// SIGTERM, and waits for the end.
    ///
    /// # Errors
    ///
    /// When it is still there after the launch's patience.
    pub fn stop(&mut self) -> Result<Option<ExitStatus>> {
        if self.child.is_none() {
            return Ok(None);
        }
        self.signal("TERM")?;
        self.ended().map(Some)
    }

    /// Sends a signal: `TERM`, `HUP`.
    ///
    /// # Errors
    ///
    /// When it does not run.
    pub fn signal(&self, name: &str) -> Result<()> {
        let id = self.process_id().context("it does not run")?.to_string();
        ensure!(Command::new("kill").args([&format!("-{name}"), &id]).status()?.success(), "kill -{name} failed");
        Ok(())
    }

    /// Waits for an end that was asked for already.
    ///
    /// # Errors
    ///
    /// When it is still there after the launch's patience.
    pub fn ended(&mut self) -> Result<ExitStatus> {
        let child = self.child.as_mut().context("it does not run")?;
        let status = wait(child, self.launch.patience)?.with_context(|| format!("no end: {}", self.last_words()))?;
        self.child = None;
        Ok(status)
    }

    /// Starts it again on the same folder and ports, with the flags of `launch`.
    ///
    /// # Errors
    ///
    /// When it does not become ready.
    pub async fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.spawn()?;
        self.wait_ready().await
    }

    /// Starts it and returns at once, for a rig that has its own way to see that it is there.
    ///
    /// # Errors
    ///
    /// When it cannot be started at all.
    pub fn start_without_waiting(&mut self) -> Result<()> {
        self.kill()?;
        self.spawn()
    }

    /// Starts it again on the same folder, expecting that it refuses and exits.
    ///
    /// # Errors
    ///
    /// When it goes on running for five seconds.
    pub fn refusal(&mut self) -> Result<Refusal> {
        self.kill()?;
        let before = self.output().len();
        self.spawn()?;
        let child = self.child.as_mut().context("just spawned")?;
        let status = wait(child, Duration::from_secs(5))?;
        let output = self.output().split_off(before);
        match status {
            Some(status) => {
                self.child = None;
                Ok(Refusal { status, output })
            }
            None => {
                self.kill()?;
                bail!("it should have refused to start, but it runs: {output}")
            }
        }
    }

    /// Everything it has printed so far.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read(self.log()).map_or_else(|_| String::new(), |bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    fn last_words(&self) -> String {
        let output = self.output();
        let lines: Vec<&str> = output.lines().collect();
        let tail = &lines[lines.len().saturating_sub(15)..];
        format!("{} said:\n{}", self.launch.name, tail.join("\n"))
    }

    const fn socket(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.launch.address, port)
    }

    fn spawn(&mut self) -> Result<()> {
        let log = OpenOptions::new().create(true).append(true).open(self.log())?;
        let mut command = self.launch.command();
        command.args(self.arguments()).stdin(Stdio::null());
        command.stdout(File::try_clone(&log)?).stderr(log);
        let child = command.spawn().with_context(|| format!("start {}", self.launch.program.display()))?;
        self.child = Some(child);
        Ok(())
    }

    fn arguments(&self) -> Vec<String> {
        let url = |port: u16| format!("http://{}", self.socket(port));
        let mut flags = vec![
            ("--name".to_owned(), "rig".to_owned()),
            ("--data-dir".to_owned(), self.folder().display().to_string()),
            ("--listen-client-urls".to_owned(), self.endpoint()),
            ("--advertise-client-urls".to_owned(), self.endpoint()),
            ("--listen-peer-urls".to_owned(), url(self.ports.peer)),
            ("--initial-advertise-peer-urls".to_owned(), url(self.ports.peer)),
            ("--listen-metrics-urls".to_owned(), url(self.ports.metrics)),
            ("--log-level".to_owned(), "warn".to_owned()),
        ];
        for (flag, value) in &self.launch.flags {
            flags.retain(|(known, _)| known != flag);
            flags.push((flag.clone(), value.clone()));
        }
        let mut arguments: Vec<String> = flags.into_iter().flat_map(|(flag, value)| [flag, value]).collect();
        if !self.launch.address.is_loopback() {
            arguments.push("--insecure-clients".to_owned());
        }
        arguments
    }

    async fn wait_ready(&mut self) -> Result<()> {
        let started = Instant::now();
        loop {
            let child = self.child.as_mut().context("it was started")?;
            if let Some(status) = child.try_wait()? {
                self.child = None;
                bail!("it ended with {status} before it was ready; {}", self.last_words());
            }
            if TcpStream::connect(self.address()).is_ok() && self.answers().await {
                self.ready_after = started.elapsed();
                return Ok(());
            }
            if started.elapsed() > self.launch.patience {
                self.kill()?;
                bail!("not ready after {:?}; {}", self.launch.patience, self.last_words());
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    async fn answers(&self) -> bool {
        let read = async {
            let mut connection = self.open().await?;
            let request = RangeRequest { key: Bytes::from_static(b"ready"), ..Default::default() };
            match connection.kv.range(request).await {
                // A server that asks who calls has answered: it looked into its store to do so.
                Err(status) if status.message() == "etcdserver: user name is empty" => Ok(()),
                other => other.map(drop).map_err(anyhow::Error::from),
            }
        };
        matches!(tokio::time::timeout(Duration::from_secs(10), read).await, Ok(Ok(())))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failing test must not leave its server behind; there is nobody to tell about a failure here.
        drop(self.kill());
    }
}

impl Launch {
    fn new(program: PathBuf, name: &'static str) -> Self {
        Self {
            program,
            name,
            flags: Vec::new(),
            address: Ipv4Addr::LOCALHOST.into(),
            namespace: None,
            in_memory: false,
            trust: None,
            homes: None,
            patience: Duration::from_secs(30),
        }
    }

    /// Starts it in a network namespace of this machine, with all its sockets on an address there that is reached from
    /// here too. Such an address is not loopback; the server is told that this is meant.
    #[must_use]
    pub fn within(mut self, namespace: &str, address: IpAddr) -> Self {
        (self.namespace, self.address) = (Some(namespace.to_owned()), address);
        self
    }

    /// Adds a flag, or replaces its value.
    #[must_use]
    pub fn with(mut self, flag: &str, value: &str) -> Self {
        self.flags.push((flag.to_owned(), value.to_owned()));
        self
    }

    /// Has its client socket speak TLS, and those who wait for it trust it. Where its certificates are is said with [`with`](Self::with).
    #[must_use]
    pub fn secured(mut self, trust: Trust) -> Self {
        self.trust = Some(trust);
        self
    }

    /// Puts the data folder in memory where the system has such a folder: for rigs that are not about durability.
    #[must_use]
    pub const fn in_memory(mut self) -> Self {
        self.in_memory = true;
        self
    }

    /// Makes the home of each server in this folder: for those who care which disk it is on.
    #[must_use]
    pub fn at_home_in(mut self, folder: &Path) -> Self {
        self.homes = Some(folder.to_path_buf());
        self
    }

    /// How long to wait for readiness or for an orderly end.
    #[must_use]
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    fn command(&self) -> Command {
        let Some(namespace) = &self.namespace else { return Command::new(&self.program) };
        // It replaces itself by the program, so that the process is still the one to kill.
        let mut command = Command::new("ip");
        command.args(["netns", "exec", namespace]).arg(&self.program);
        command
    }

    /// Starts it on a fresh folder and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it ends or stays silent; the error quotes its output.
    pub async fn start(self) -> Result<Server> {
        let mut server = self.prepare()?;
        server.spawn()?;
        server.wait_ready().await?;
        Ok(server)
    }

    /// Everything but the process: folder and ports, for a rig that prepares the folder itself.
    ///
    /// # Errors
    ///
    /// When no folder or port is to be had.
    pub fn prepare(self) -> Result<Server> {
        let memory = Path::new("/dev/shm");
        let in_memory = (self.in_memory && memory.is_dir()).then(|| memory.to_path_buf());
        let homes = in_memory.or_else(|| self.homes.clone()).unwrap_or_else(env::temp_dir);
        let home = tempfile::Builder::new().prefix("tombolo-rig-").tempdir_in(homes)?;
        let ports = Ports::free()?;
        Ok(Server { launch: self, home, ports, child: None, ready_after: Duration::ZERO })
    }
}

impl Ports {
    /// Three ports that nobody listens on.
    fn free() -> Result<Self> {
        Ok(Self { client: free_port()?, peer: free_port()?, metrics: free_port()? })
    }
}

fn wait(child: &mut Child, patience: Duration) -> Result<Option<ExitStatus>> {
    let started = Instant::now();
    while started.elapsed() < patience {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(None)
}
