//! The API of a control plane in plain HTTP, through a proxy that brings the certificate and the token.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::http::Page;

/// Where the API answers.
#[derive(Clone, Debug)]
pub struct Door(SocketAddr);

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// The object, or what was said instead of one.
    pub object: Value,
}

impl Reply {
    /// The object of an answer that must be good.
    ///
    /// # Errors
    ///
    /// When it is not.
    pub fn good(self) -> Result<Value> {
        ensure!((200..300).contains(&self.status), "status {}: {}", self.status, self.object);
        Ok(self.object)
    }
}

impl Door {
    pub(super) const fn new(address: SocketAddr) -> Self {
        Self(address)
    }

    /// Reads `path`.
    ///
    /// # Errors
    ///
    /// When there is no answer within five seconds.
    pub fn get(&self, path: &str) -> Result<Reply> {
        self.ask("GET", path, &Value::Null)
    }

    /// Does something to `path`, with an object unless that is null.
    ///
    /// # Errors
    ///
    /// When there is no answer within five seconds.
    pub fn ask(&self, method: &str, path: &str, object: &Value) -> Result<Reply> {
        let body = if object.is_null() { String::new() } else { object.to_string() };
        let page = Page::ask(self.0, method, path, &[("content-type", "application/json")], body.as_bytes())?;
        let object = serde_json::from_str(&page.body).unwrap_or_else(|_| Value::String(page.body.clone()));
        Ok(Reply { status: page.status, object })
    }

    /// Asks for `path` until the answer is as wanted.
    ///
    /// # Errors
    ///
    /// When it is not within the time; the error shows the last one.
    pub fn wait(&self, path: &str, within: Duration, is_wanted: impl Fn(&Reply) -> bool) -> Result<Reply> {
        let since = Instant::now();
        loop {
            let reply = self.get(path);
            match reply {
                Ok(reply) if is_wanted(&reply) => return Ok(reply),
                late if since.elapsed() > within => bail!("{path} is not as wanted after {within:?}: {late:?}"),
                _ => std::thread::sleep(Duration::from_millis(100)),
            }
        }
    }

    /// Watches `path`, which has its query: what happens comes object by object.
    ///
    /// # Errors
    ///
    /// When the watch is refused.
    pub fn watch(&self, path: &str) -> Result<Watch> {
        let mut socket = TcpStream::connect(self.0)?;
        socket.set_read_timeout(Some(Duration::from_secs(30)))?;
        // Version 1.0 of the protocol: the answer comes as it is, without chunks.
        write!(socket, "GET {path} HTTP/1.0\r\nhost: localhost\r\n\r\n")?;
        let mut answer = BufReader::new(socket);
        let mut line = String::new();
        answer.read_line(&mut line)?;
        let status = line.split(' ').nth(1).context("no status line")?.parse()?;
        while line.trim_end() != "" {
            line.clear();
            ensure!(answer.read_line(&mut line)? > 0, "the watch of {path} ended within its head");
        }
        Ok(Watch { status, answer })
    }
}

/// A watch under way.
#[derive(Debug)]
pub struct Watch {
    /// The status code.
    pub status: u16,
    answer: BufReader<TcpStream>,
}

impl Watch {
    /// The next event; `None` when the server has ended the watch.
    ///
    /// # Errors
    ///
    /// When none comes within thirty seconds.
    pub fn event(&mut self) -> Result<Option<Value>> {
        let mut line = String::new();
        if self.answer.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        Ok(Some(serde_json::from_str(&line).with_context(|| format!("an event: {line}"))?))
    }
}
