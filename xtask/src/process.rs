//! Server processes, `tombolod` or etcd, on free loopback ports with a data folder of their own.
//!
//! A [`Server`] ends exactly the process it started, at the latest when it is dropped. It can be killed and started again
//! on the same folder and the same port, which is what the demo and the restart benchmark are about.

use std::{
    fs::{self, File},
    io,
    net::{Ipv4Addr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tombolo_rig::ports::free_port;

/// A server program. Both kinds take etcd's flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Program {
    /// How it is called in output, with its version.
    pub(crate) name: String,
    path: PathBuf,
}

/// A server, running or not.
#[derive(Debug)]
pub(crate) struct Server {
    program: Program,
    home: PathBuf,
    client_port: u16,
    peer_port: u16,
    child: Option<Child>,
}

impl Program {
    /// Asks the program for its version. `name` is what comes before it.
    pub(crate) fn find(name: &str, path: &Path) -> Result<Self> {
        let output =
            Command::new(path).arg("--version").output().with_context(|| format!("start {}", path.display()))?;
        let version = version(&String::from_utf8_lossy(&output.stdout)).unwrap_or_else(|| "?".to_owned());
        Ok(Self { name: format!("{name} {version}"), path: path.to_path_buf() })
    }
}

impl Server {
    /// Prepares a server whose data and log live in `home`. Nothing is started yet.
    pub(crate) fn prepare(program: &Program, home: &Path) -> Result<Self> {
        fs::create_dir_all(home).with_context(|| format!("create {}", home.display()))?;
        let [client_port, peer_port] = [free_port()?, free_port()?];
        Ok(Self { program: program.clone(), home: home.to_path_buf(), client_port, peer_port, child: None })
    }

    /// Starts the process, and returns at once.
    pub(crate) fn start(&mut self) -> Result<()> {
        let log = File::options().create(true).append(true).open(self.log())?;
        let client = self.url();
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let mut command = Command::new(&self.program.path);
        command.args(["--name", "demo", "--data-dir"]).arg(self.home.join("data"));
        for (flag, value) in [
            ("--listen-client-urls", &client),
            ("--advertise-client-urls", &client),
            ("--listen-peer-urls", &peer),
            ("--initial-advertise-peer-urls", &peer),
            ("--initial-cluster", &format!("demo={peer}")),
        ] {
            command.args([flag, value]);
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let child = command.spawn().with_context(|| format!("start {}", self.program.path.display()))?;
        self.child = Some(child);
        Ok(())
    }

    /// Waits until the client port accepts a connection.
    pub(crate) fn wait_until_listening(&mut self, patience: Duration) -> Result<()> {
        let started = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.client_port)).is_err() {
            let child = self.child.as_mut().context("the server is not running")?;
            if let Some(status) = child.try_wait()? {
                bail!(
                    "{} ended with {status} before it listened; its log: {}",
                    self.program.name,
                    self.log().display()
                );
            }
            if started.elapsed() > patience {
                bail!("{} does not listen after {patience:?}; its log: {}", self.program.name, self.log().display());
            }
            sleep(Duration::from_millis(1));
        }
        Ok(())
    }

    /// SIGKILL: what a crash or an impatient operator does.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// SIGTERM: asks the process to end, and waits for it.
    pub(crate) fn stop(&mut self) -> io::Result<()> {
        let Some(mut child) = self.child.take() else { return Ok(()) };
        let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::TERM)?;
        }
        child.wait()?;
        Ok(())
    }

    /// The process, while it runs.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// `127.0.0.1:port`, for people.
    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.client_port)
    }

    /// `http://127.0.0.1:port`, for clients.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// Where the process writes what it has to say.
    pub(crate) fn log(&self) -> PathBuf {
        self.home.join("server.log")
    }

    /// The program's name and version.
    pub(crate) fn name(&self) -> &str {
        &self.program.name
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = self.kill();
    }
}

/// The first word of a program's `--version` output that looks like one.
fn version(output: &str) -> Option<String> {
    let words = output.split_whitespace();
    let mut versions =
        words.filter(|word| word.contains('.') && word.starts_with(|first: char| first.is_ascii_digit()));
    versions.next().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Program, Server, version};

    #[test]
    fn a_version_is_found_among_other_words() {
        assert_eq!(
            version("etcd Version: 3.5.1\nGit SHA: e8732fb5f\nGo Version: go1.16.3\n").as_deref(),
            Some("3.5.1")
        );
        assert_eq!(version("tombolod 0.1.0").as_deref(), Some("0.1.0"));
        assert_eq!(version("usage: none"), None);
    }

    #[test]
    fn a_program_that_ends_at_once_is_reported_with_its_log() {
        let home = tempfile::tempdir().unwrap();
        let program = Program { name: "false".to_owned(), path: Path::new("/bin/false").to_path_buf() };
        let mut server = Server::prepare(&program, home.path()).unwrap();
        server.start().unwrap();
        let error = server.wait_until_listening(std::time::Duration::from_secs(10)).unwrap_err().to_string();
        assert!(error.contains("server.log"), "{error}");
    }
}
