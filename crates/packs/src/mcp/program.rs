//! A server that is a program: started, listened to, killed with its group.

use super::transport::{Ended, Lines, MAX_MESSAGE};
use astradesk_core::text::shown;
use astradesk_runtime::process::{Group, command};
use rmcp::RoleClient;
use rmcp::transport::Transport;
use rmcp::transport::async_rw::AsyncRwTransport;
use std::io;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::Child;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};

/// How much is kept of what it said last on standard error, in bytes, and how many characters of it an error shows.
const SAID: usize = 4096;
const SHOWN: usize = 300;
/// How long what it says last is waited for.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// A program that was started. The group goes before the child, which keeps the group's id from becoming another's.
pub(super) struct Program {
    _group: Group,
    _child: Child,
    said: Arc<Mutex<Vec<u8>>>,
    /// Ends when it has said everything.
    saying: Mutex<Option<JoinHandle<()>>>,
}

/// Starts a program, and speaks to it over its standard input and output.
pub(super) fn start(
    argv: Vec<String>,
    env: Vec<(String, String)>,
    directory: &Path,
    ended: &Ended,
) -> io::Result<(Program, impl Transport<RoleClient> + 'static)> {
    let mut child = command(argv, env, directory).stdin(Stdio::piped()).spawn()?;
    let group = Group::of(&child)?;
    let none = || io::Error::other("it has no standard input and output");
    let (stdin, stdout) = (child.stdin.take().ok_or_else(none)?, child.stdout.take().ok_or_else(none)?);
    let said = Arc::default();
    let saying = child.stderr.take().map(|stderr| tokio::spawn(keep_last(stderr, Arc::clone(&said))));
    let transport = AsyncRwTransport::new_client(Lines::new(stdout, ended.clone()), stdin)
        .with_max_line_length(MAX_MESSAGE);
    Ok((Program { _group: group, _child: child, said, saying: Mutex::new(saying) }, transport))
}

/// Reads all of it and keeps the end.
async fn keep_last(mut from: impl AsyncRead + Unpin, said: Arc<Mutex<Vec<u8>>>) {
    let mut chunk = vec![0; SAID];
    while let Ok(read @ 1..) = from.read(&mut chunk).await {
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        said.extend_from_slice(chunk.get(..read).unwrap_or_default());
        let over = said.len().saturating_sub(SAID);
        said.drain(..over);
    }
}

/// The last line that a program said on standard error, as the end of a sentence. It may just have ended, and what it
/// said still be on its way.
pub(super) async fn last_words(program: Option<&Program>) -> String {
    let Some(program) = program else { return String::new() };
    let saying = program.saying.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(saying) = saying {
        let _ = timeout_at(Instant::now() + LAST_WORDS, saying).await;
    }
    let said = program.said.lock().unwrap_or_else(PoisonError::into_inner);
    let text = String::from_utf8_lossy(&said);
    let last = text.lines().rev().map(str::trim).find(|line| !line.is_empty());
    last.map(|last| format!("; it said last `{}`", shown(last, SHOWN))).unwrap_or_default()
}
