//! Plain HTTP/1.1 over a socket, to see exactly what a server answers, and to say what no client library would.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use anyhow::{Context, Result, bail};

/// An answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Page {
    /// The status code.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, decoded when it came in chunks.
    pub body: String,
}

impl Page {
    /// Fetches `path`, without keeping the connection.
    ///
    /// # Errors
    ///
    /// When there is no answer within five seconds, or one that is not HTTP.
    pub fn get(address: SocketAddr, path: &str) -> Result<Self> {
        Self::ask(address, "GET", path, &[], &[])
    }

    /// Sends `body` to `path` as `curl -d` does.
    ///
    /// # Errors
    ///
    /// When there is no answer within five seconds, or one that is not HTTP.
    pub fn post(address: SocketAddr, path: &str, body: &str) -> Result<Self> {
        Self::ask(address, "POST", path, &[("content-type", "application/x-www-form-urlencoded")], body.as_bytes())
    }

    /// Sends any request, without keeping the connection. A `host` among the headers replaces the real one.
    ///
    /// # Errors
    ///
    /// When there is no answer within five seconds, or one that is not HTTP.
    pub fn ask(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Self> {
        let mut socket = connect(address)?;
        let mut request = head(address, method, path, headers);
        request.push_str(&format!("connection: close\r\ncontent-length: {}\r\n\r\n", body.len()));
        socket.write_all(request.as_bytes())?;
        // Who refuses a request by its head may have gone before its body came; the answer is there all the same.
        let _ = socket.write_all(body);
        let mut answer = Vec::new();
        let ended = socket.read_to_end(&mut answer);
        if answer.is_empty() {
            ended?;
        }
        Self::parse(&String::from_utf8(answer)?).with_context(|| format!("{method} {path}"))
    }

    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn parse(answer: &str) -> Result<Self> {
        let (head, body) = answer.split_once("\r\n\r\n").context("no end of headers")?;
        let (status, headers) = parse_head(head)?;
        let is_chunked = is_chunked(&headers);
        let body = if is_chunked { unchunk(body)? } else { body.to_owned() };
        Ok(Self { status, headers, body })
    }
}

/// A request whose body and answer go on side by side, line by line.
#[derive(Debug)]
pub struct Exchange {
    sending: TcpStream,
    receiving: BufReader<TcpStream>,
    /// What came of a line that is not complete.
    held: String,
}

impl Exchange {
    /// Begins a POST whose body has no end yet. It asks to go on, as curl does with such bodies: a server written in Go would else
    /// wait for the end of the body before it answers.
    ///
    /// # Errors
    ///
    /// When the server cannot be reached.
    pub fn post(address: SocketAddr, path: &str) -> Result<Self> {
        let mut sending = connect(address)?;
        let mut request = head(address, "POST", path, &[("content-type", "application/json")]);
        request.push_str("expect: 100-continue\r\ntransfer-encoding: chunked\r\n\r\n");
        sending.write_all(request.as_bytes())?;
        let mut receiving = BufReader::new(sending.try_clone()?);
        let (status, _) = parse_head(&next_head(&mut receiving)?)?;
        if status != 100 {
            bail!("the body is not wanted: {status}");
        }
        Ok(Self { sending, receiving, held: String::new() })
    }

    /// Sends a piece of the body.
    ///
    /// # Errors
    ///
    /// When the server has gone.
    pub fn send(&mut self, piece: &str) -> Result<()> {
        Ok(write!(self.sending, "{:x}\r\n{piece}\r\n", piece.len())?)
    }

    /// Ends the body; the answer goes on.
    ///
    /// # Errors
    ///
    /// When the server has gone.
    pub fn finish(&mut self) -> Result<()> {
        Ok(self.sending.write_all(b"0\r\n\r\n")?)
    }

    /// The head of the answer: its status. To be asked for once, before the first line.
    ///
    /// # Errors
    ///
    /// When none comes within five seconds, or its body is not in chunks.
    pub fn status(&mut self) -> Result<u16> {
        let head = next_head(&mut self.receiving)?;
        let (status, headers) = parse_head(&head)?;
        if !is_chunked(&headers) {
            bail!("the answer is not in chunks: {head:?}");
        }
        Ok(status)
    }

    /// The next line of the answer; what is left of it when it ends without one, and `None` after that.
    ///
    /// # Errors
    ///
    /// When none comes within five seconds.
    pub fn line(&mut self) -> Result<Option<String>> {
        loop {
            if let Some((line, rest)) = self.held.split_once('\n') {
                let (line, rest) = (line.to_owned(), rest.to_owned());
                self.held = rest;
                return Ok(Some(line));
            }
            let mut length = String::new();
            self.receiving.read_line(&mut length)?;
            let mut chunk = vec![0; usize::from_str_radix(length.trim(), 16).unwrap_or(0)];
            self.receiving.read_exact(&mut chunk)?;
            if chunk.is_empty() {
                let rest = std::mem::take(&mut self.held);
                return Ok((!rest.is_empty()).then_some(rest));
            }
            self.receiving.read_line(&mut String::new())?;
            self.held.push_str(std::str::from_utf8(&chunk)?);
        }
    }
}

fn next_head(socket: &mut BufReader<TcpStream>) -> Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if socket.read_line(&mut head)? == 0 {
            bail!("the connection ended within the head: {head:?}");
        }
    }
    Ok(head.trim_end().to_owned())
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let socket = TcpStream::connect(address)?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    Ok(socket)
}

fn head(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| *name == "host") {
        head.push_str(&format!("host: {address}\r\n"));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head
}

fn parse_head(head: &str) -> Result<(u16, Vec<(String, String)>)> {
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).context("no status line")?.parse()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Ok((status, headers))
}

fn is_chunked(headers: &[(String, String)]) -> bool {
    headers.iter().any(|(name, value)| name == "transfer-encoding" && value == "chunked")
}

fn unchunk(mut rest: &str) -> Result<String> {
    let mut body = String::new();
    loop {
        let (length, tail) = rest.split_once("\r\n").context("a chunk without a length")?;
        let length = usize::from_str_radix(length, 16)?;
        if length == 0 {
            return Ok(body);
        }
        body.push_str(tail.get(..length).context("a short chunk")?);
        rest = tail.get(length + 2..).context("a chunk without an end")?;
    }
}

#[cfg(test)]
mod tests {
    use super::Page;

    #[test]
    fn chunks_are_joined() {
        let answer = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n";
        let page = Page::parse(answer).expect("a page");
        assert_eq!((page.status, page.body.as_str()), (200, "abcde"));
    }
}
