//! A client for plain HTTP on loopback: one request a connection.
//!
//! It speaks HTTP/1.0, so an answer ends with its connection and is never chunked.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

/// The longest wait for the next bytes of an answer. An event stream says something every 15 s.
const SILENCE: Duration = Duration::from_mins(1);

/// A request.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    pub(crate) headers: &'a [(&'a str, &'a str)],
    pub(crate) body: &'a str,
}

/// An answer whose body has not been read yet.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Name and value, as they were sent.
    pub(crate) headers: Vec<(String, String)>,
    /// When the request was begun to be sent, over a connection that was there already.
    pub(crate) sent: Instant,
    reader: BufReader<TcpStream>,
}

impl Request<'_> {
    /// Sends it and reads the answer's head.
    pub(crate) fn send(&self, to: SocketAddr) -> Result<Answer> {
        let mut stream = TcpStream::connect_timeout(&to, SILENCE).context("cannot connect")?;
        stream.set_nodelay(true).context("cannot set TCP_NODELAY")?;
        stream.set_read_timeout(Some(SILENCE)).context("cannot set a time limit")?;
        let text = self.text(to);
        let sent = Instant::now();
        stream.write_all(text.as_bytes()).context("cannot send the request")?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        reader.read_line(&mut line).context("there is no answer")?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("`{}` is no HTTP status line", line.trim()))?;
        let mut headers = Vec::new();
        loop {
            line.clear();
            ensure!(
                reader.read_line(&mut line).context("the answer breaks off")? > 0,
                "the answer breaks off"
            );
            let Some((name, value)) = line.split_once(':') else { break };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
        Ok(Answer { status, headers, sent, reader })
    }

    fn text(&self, to: SocketAddr) -> String {
        let Self { method, path, headers, body } = self;
        let headers: Vec<String> =
            headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let headers = headers.concat();
        let length = body.len();
        format!("{method} {path} HTTP/1.0\r\nHost: {to}\r\n{headers}Content-Length: {length}\r\n\r\n{body}")
    }
}

impl Answer {
    /// The value of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// The whole body.
    pub(crate) fn text(mut self) -> Result<String> {
        let mut body = String::new();
        self.reader.read_to_string(&mut body).context("the answer breaks off")?;
        Ok(body)
    }

    /// The body line by line, as it comes.
    pub(crate) fn lines(self) -> std::io::Lines<BufReader<TcpStream>> {
        self.reader.lines()
    }
}
