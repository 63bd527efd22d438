//! A Kubernetes control plane on a store: a real kube-apiserver, its controllers, and a door to its API in plain HTTP.
//!
//! The programs are those that `TOMBOLO_KUBERNETES` names a folder of; `cargo xtask kubernetes` builds them. Everything listens on loopback, lives in a
//! folder of its own and ends with the value. What the store is, a control plane does not know: it is given an endpoint.

use std::{
    env, fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use rcgen::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;

use self::{daemon::Daemon, door::Door};
use crate::{ports::free_port, requirement};

mod daemon;
mod door;

pub use self::door::{Reply, Watch};

/// The programs of a control plane.
#[derive(Clone, Debug)]
pub struct Programs(PathBuf);

impl Programs {
    /// Those of the folder that `TOMBOLO_KUBERNETES` names, or `None` after printing that the rig is skipped.
    ///
    /// # Panics
    ///
    /// When `TOMBOLO_REQUIRE` names `kubernetes` and they are not there.
    #[must_use]
    pub fn find() -> Option<Self> {
        let folder = env::var_os("TOMBOLO_KUBERNETES").map(PathBuf::from);
        let whole = |folder: &PathBuf| NAMES.iter().all(|name| folder.join(name).is_file());
        let found = folder.filter(whole).map(Self);
        if found.is_none() {
            requirement::skip("kubernetes", "no kube-apiserver found (run `cargo xtask kubernetes`)");
        }
        found
    }

    fn program(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

const NAMES: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kubectl"];

/// How long a control plane may take to be ready. It makes about a hundred connections and as many lists first.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// A control plane that runs.
#[derive(Debug)]
pub struct ControlPlane {
    programs: Programs,
    folder: TempDir,
    port: u16,
    flags: Vec<String>,
    door: Door,
    /// In the order in which they end: who asks before who answers.
    controllers: Option<Daemon>,
    proxy: Daemon,
    server: Daemon,
}

impl ControlPlane {
    /// Starts an API server on the store at `endpoint`, with flags of its own, and waits until it is ready.
    ///
    /// # Errors
    ///
    /// When it ends, or is not ready in time; the error quotes what it said last.
    pub fn start(programs: &Programs, endpoint: &str, flags: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        prepare(folder.path())?;
        let (port, door_port) = (free_port()?, free_port()?);
        let flags = server_flags(folder.path(), port, endpoint, flags);
        let server = Daemon::start(&programs.program("kube-apiserver"), &flags, &folder.path().join("server.log"))?;
        write_config(folder.path(), port)?;
        let config = format!("--kubeconfig={}", folder.path().join("admin.json").display());
        let proxy = ["proxy", &format!("--port={door_port}"), &config].map(str::to_owned);
        let proxy = Daemon::start(&programs.program("kubectl"), &proxy, &folder.path().join("proxy.log"))?;
        let door = Door::new(SocketAddr::from((Ipv4Addr::LOCALHOST, door_port)));
        let mut plane =
            Self { programs: programs.clone(), folder, port, flags, door, controllers: None, proxy, server };
        plane.wait_ready()?;
        Ok(plane)
    }

    /// Starts the controllers that make objects of objects.
    ///
    /// # Errors
    ///
    /// When they cannot be started at all.
    pub fn start_controllers(&mut self) -> Result<()> {
        let folder = self.folder.path();
        let flags = [
            format!("--kubeconfig={}", folder.join("admin.json").display()),
            format!("--service-account-private-key-file={}", folder.join("sa.key").display()),
            "--leader-elect=false".to_owned(),
            "--port=0".to_owned(),
            format!("--secure-port={}", free_port()?),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--cert-dir={}", folder.join("controllers").display()),
        ];
        let program = self.programs.program("kube-controller-manager");
        self.controllers = Some(Daemon::start(&program, &flags, &folder.join("controllers.log"))?);
        Ok(())
    }

    /// Kills the API server and starts it again.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn restart(&mut self) -> Result<()> {
        self.server.kill()?;
        let log = self.folder.path().join("server.log");
        self.server = Daemon::start(&self.programs.program("kube-apiserver"), &self.flags, &log)?;
        self.wait_ready()
    }

    /// Its API.
    #[must_use]
    pub const fn api(&self) -> &Door {
        &self.door
    }

    /// Waits until it says that it is ready.
    ///
    /// # Errors
    ///
    /// When it ends, or takes too long.
    pub fn wait_ready(&mut self) -> Result<()> {
        let since = Instant::now();
        loop {
            for daemon in [&mut self.server, &mut self.proxy] {
                if daemon.has_ended()? {
                    bail!("it ended before it was ready: {}", daemon.last_words());
                }
            }
            let listens = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
            if listens && self.door.get("/readyz").is_ok_and(|reply| reply.status == 200) {
                return Ok(());
            }
            ensure!(since.elapsed() < READY_WITHIN, "not ready in time: {}", self.server.last_words());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Keys, the one user there is, and folders for what the programs write themselves.
fn prepare(folder: &Path) -> Result<()> {
    let key = KeyPair::generate()?;
    fs::write(folder.join("sa.key"), key.serialize_pem())?;
    fs::write(folder.join("sa.pub"), key.public_key_pem())?;
    fs::write(folder.join("tokens.csv"), "rig,admin,admin,system:masters\n")?;
    Ok(())
}

fn server_flags(folder: &Path, port: u16, endpoint: &str, own: &[&str]) -> Vec<String> {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut flags = vec![
        format!("--etcd-servers={endpoint}"),
        "--bind-address=127.0.0.1".to_owned(),
        // An address of documents: nobody goes there, but it may not be loopback.
        "--advertise-address=192.0.2.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", path("server")),
        "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-key-file={}", path("sa.pub")),
        format!("--service-account-signing-key-file={}", path("sa.key")),
        format!("--token-auth-file={}", path("tokens.csv")),
        "--authorization-mode=RBAC".to_owned(),
    ];
    flags.extend(own.iter().map(|flag| (*flag).to_owned()));
    flags
}

/// How clients find the server. JSON is YAML too.
fn write_config(folder: &Path, port: u16) -> Result<()> {
    let cluster = json!({ "server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true });
    let config: Value = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "rig",
        "contexts": [{ "name": "rig", "context": { "cluster": "rig", "user": "admin" } }],
        "clusters": [{ "name": "rig", "cluster": cluster }],
        "users": [{ "name": "admin", "user": { "token": "rig" } }],
    });
    fs::write(folder.join("admin.json"), config.to_string()).context("write the clients' configuration")
}
