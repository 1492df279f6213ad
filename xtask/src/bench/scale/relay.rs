//! A relay before an API server that counts what passes: requests, and the watches that are open.
//!
//! It reads HTTP/1.1 without TLS and changes nothing. What it cannot read is counted too, and spoils the measurement.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

/// The longest head of a request.
const LONGEST_HEAD: usize = 64 * 1024;
/// What a thread that only copies needs of a stack.
const STACK: usize = 128 * 1024;
/// How a chunked answer ends.
const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// A request that passed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Passed {
    /// When its head was complete.
    pub(super) at: Instant,
    pub(super) method: String,
    /// With the query.
    pub(super) path: String,
}

/// The relay. It ends with this process.
pub(super) struct Relay {
    pub(super) address: SocketAddr,
    ledger: Arc<Mutex<Ledger>>,
}

#[derive(Default)]
struct Ledger {
    passed: Vec<Passed>,
    /// Watches that are open now, and the most that ever were, by resource.
    watches: BTreeMap<String, (usize, usize)>,
    connections: (usize, usize),
    unreadable: usize,
}

impl Relay {
    /// Listens on loopback, and passes everything on to `server`.
    pub(super) fn start(server: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no free port")?;
        let address = listener.local_addr().context("a listener has no address")?;
        let ledger = Arc::new(Mutex::new(Ledger::default()));
        let relay = Self { address, ledger: ledger.clone() };
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let _ = TcpStream::connect(server).and_then(|server| pair(client, server, &ledger));
            }
        });
        Ok(relay)
    }

    /// Forgets the requests and the peaks until now; gives the requests.
    pub(super) fn take(&self) -> Result<Vec<Passed>> {
        let mut ledger = lock(&self.ledger);
        ensure!(ledger.unreadable == 0, "the relay could not read {} requests", ledger.unreadable);
        for (now, most) in ledger.watches.values_mut() {
            *most = *now;
        }
        ledger.connections.1 = ledger.connections.0;
        Ok(std::mem::take(&mut ledger.passed))
    }

    /// When the first request of this method passed since [`Relay::take`].
    pub(super) fn first(&self, method: &str) -> Option<Instant> {
        lock(&self.ledger).passed.iter().find(|passed| passed.method == method).map(|passed| passed.at)
    }

    /// The most watches that were open at the same time since [`Relay::take`], by resource.
    pub(super) fn most_watches(&self) -> BTreeMap<String, usize> {
        let ledger = lock(&self.ledger);
        ledger.watches.iter().map(|(resource, (_, most))| (resource.clone(), *most)).collect()
    }

    /// The most connections that were open at the same time since [`Relay::take`].
    pub(super) fn most_connections(&self) -> usize {
        lock(&self.ledger).connections.1
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A connection, and the resource whose watch it carries now, if it does.
struct Connection {
    ledger: Arc<Mutex<Ledger>>,
    watch: Mutex<Option<String>>,
}

impl Connection {
    fn open(ledger: &Arc<Mutex<Ledger>>) -> Self {
        let (now, most) = &mut lock(ledger).connections;
        *now += 1;
        *most = (*most).max(*now);
        Self { ledger: ledger.clone(), watch: Mutex::default() }
    }

    fn passed(&self, method: String, path: String) {
        self.watch_ended();
        let resource = watched(&path).filter(|_| method == "GET").map(str::to_owned);
        {
            let mut ledger = lock(&self.ledger);
            ledger.passed.push(Passed { at: Instant::now(), method, path });
            if let Some(resource) = &resource {
                let (now, most) = ledger.watches.entry(resource.clone()).or_default();
                *now += 1;
                *most = (*most).max(*now);
            }
        }
        *self.watch.lock().unwrap_or_else(PoisonError::into_inner) = resource;
    }

    fn watch_ended(&self) {
        let ended = self.watch.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut ledger = lock(&self.ledger);
        if let Some((now, _)) = ended.and_then(|resource| ledger.watches.get_mut(&resource)) {
            *now -= 1;
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.watch_ended();
        lock(&self.ledger).connections.0 -= 1;
    }
}

/// Passes on both ways, a thread each, until either side ends.
fn pair(client: TcpStream, server: TcpStream, ledger: &Arc<Mutex<Ledger>>) -> std::io::Result<()> {
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let connection = Arc::new(Connection::open(ledger));
    let (mut from_client, mut to_client) = (client.try_clone()?, client);
    let (mut from_server, mut to_server) = (server.try_clone()?, server);
    let there = connection.clone();
    let thread = || std::thread::Builder::new().stack_size(STACK);
    thread().spawn(move || {
        let mut heads = Heads::default();
        copy(&mut from_client, &mut to_server, |bytes| match heads.read(bytes) {
            Some(requests) => requests.into_iter().for_each(|(method, path)| there.passed(method, path)),
            None => lock(&there.ledger).unreadable += 1,
        });
    })?;
    thread().spawn(move || {
        let mut end: Vec<u8> = Vec::new();
        copy(&mut from_server, &mut to_client, |bytes| {
            end.extend(bytes.iter().skip(bytes.len().saturating_sub(LAST_CHUNK.len())));
            end.drain(..end.len().saturating_sub(LAST_CHUNK.len()));
            if end == LAST_CHUNK {
                connection.watch_ended();
            }
        });
    })?;
    Ok(())
}

/// Passes on what comes until it ends, and shows it before.
fn copy(from: &mut TcpStream, to: &mut TcpStream, mut show: impl FnMut(&[u8])) {
    let mut buffer = vec![0; 32 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..count).unwrap_or_default();
        show(bytes);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Finds the requests in what a client sends.
#[derive(Default)]
struct Heads {
    /// A head that is not complete.
    head: Vec<u8>,
    /// What is left of a request's body.
    body: usize,
}

impl Heads {
    /// The method and path of each request whose head is complete now; nothing when that cannot be told.
    fn read(&mut self, mut bytes: &[u8]) -> Option<Vec<(String, String)>> {
        let mut requests = Vec::new();
        while !bytes.is_empty() {
            let skipped = self.body.min(bytes.len());
            self.body -= skipped;
            bytes = bytes.get(skipped..)?;
            let Some((&byte, rest)) = bytes.split_first() else { break };
            self.head.push(byte);
            bytes = rest;
            if self.head.ends_with(b"\r\n\r\n") {
                let head = String::from_utf8(std::mem::take(&mut self.head)).ok()?;
                let mut line = head.lines().next()?.split(' ');
                requests.push((line.next()?.to_owned(), line.next()?.to_owned()));
                let header = |name: &str| {
                    let mut pairs = head.lines().filter_map(|line| line.split_once(':'));
                    pairs.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
                };
                if header("transfer-encoding").is_some() {
                    return None;
                }
                self.body = header("content-length").map_or(Some(0), |length| length.parse().ok())?;
            }
            if self.head.len() > LONGEST_HEAD {
                return None;
            }
        }
        Some(requests)
    }
}

/// The resource that a path watches, if it does.
fn watched(path: &str) -> Option<&str> {
    let (path, query) = path.split_once('?')?;
    let watches = query.split('&').any(|parameter| matches!(parameter, "watch=1" | "watch=true"));
    path.rsplit('/').next().filter(|_| watches)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_found_however_they_are_cut() {
        let sent = "PATCH /a?x=1 HTTP/1.1\r\nContent-Length: 20\r\n\r\nGET /no HTTP/1.1\r\n\r\nGET /b HTTP/1.1\r\nHost: h\r\n\r\n";
        for size in [1, 7, 4096] {
            let mut heads = Heads::default();
            let found: Vec<_> =
                sent.as_bytes().chunks(size).flat_map(|bytes| heads.read(bytes).unwrap()).collect();
            assert_eq!(found, [("PATCH".into(), "/a?x=1".into()), ("GET".into(), "/b".into())]);
        }
        assert!(Heads::default().read(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n").is_none());
    }

    #[test]
    fn a_watch_is_told_from_a_list() {
        assert_eq!(watched("/api/v1/namespaces/x/pods?limit=5&watch=true"), Some("pods"));
        assert_eq!(watched("/api/v1/namespaces/x/pods?limit=5"), None);
        assert_eq!(watched("/api/v1/namespaces/x/pods"), None);
    }

    #[test]
    fn what_passes_is_counted_and_arrives() {
        let server = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let relay = Relay::start(server.local_addr().unwrap()).unwrap();
        let mut client = TcpStream::connect(relay.address).unwrap();
        let mut peer = server.accept().unwrap().0;
        let request = "GET /api/v1/pods?watch=1 HTTP/1.1\r\n\r\n";
        client.write_all(request.as_bytes()).unwrap();
        let mut there = vec![0; request.len()];
        peer.read_exact(&mut there).unwrap();
        assert_eq!(there, request.as_bytes());
        assert_eq!(relay.most_watches().get("pods"), Some(&1));
        assert_eq!(relay.most_connections(), 1);
        // The watch ends, and its connection is used again.
        for answer in ["5\r\nhello\r\n0", "\r\n\r\n"] {
            peer.write_all(answer.as_bytes()).unwrap();
        }
        let mut back = [0; 15];
        client.read_exact(&mut back).unwrap();
        relay.take().unwrap();
        assert_eq!(relay.most_watches().get("pods"), Some(&0));
        client.write_all(b"PATCH /x HTTP/1.1\r\nContent-Length: 1\r\n\r\n1").unwrap();
        drop(client);
        let mut rest = Vec::new();
        peer.read_to_end(&mut rest).unwrap();
        let passed = relay.take().unwrap();
        assert_eq!(
            passed.iter().map(|p| (p.method.as_str(), p.path.as_str())).collect::<Vec<_>>(),
            [("PATCH", "/x")]
        );
    }
}
