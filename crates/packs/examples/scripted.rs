//! An MCP server for tests that does what a file says, however bad: `scripted stdio DIR`, or `scripted http DIR`.
//!
//! It reads `DIR/script.json` anew for each message, and keeps what it hears in `DIR/heard`, a line each. Over HTTP it
//! writes its address to `DIR/address`.
//!
//! | key | |
//! |---|---|
//! | `tools` | what it lists |
//! | `on` | by method, what it does instead of what it should |
//! | `calls` | by tool, what it does; a list is gone through, its last one again and again |
//!
//! It does one of `result`, `error`, `silence`, `die` (says it on standard error, and ends), `flood` (a message of so
//! many bytes), `status` (over HTTP), after it has told what is in `tell`.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "a tool of tests: whatever goes wrong fails them"
)]

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Read as _, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let dir = PathBuf::from(&arguments[2]);
    match arguments[1].as_str() {
        "stdio" => stdio(&dir),
        _ => http(&dir),
    }
}

/// What it does with a message.
enum Does {
    /// It writes these.
    Says(Vec<Value>),
    /// Nothing, for ever.
    Silence(Vec<Value>),
    /// It ends.
    Dies(String),
    /// A message of so many bytes.
    Floods(usize),
    /// A status.
    Status(u16),
}

fn stdio(dir: &Path) {
    let mut out = std::io::stdout();
    for line in std::io::stdin().lock().lines() {
        let Ok(message) = serde_json::from_str::<Value>(&line.unwrap()) else { continue };
        let mut say = |messages: Vec<Value>| {
            for message in messages {
                writeln!(out, "{message}").unwrap();
            }
            out.flush().unwrap();
        };
        match does(dir, &message, &json!(null)) {
            Does::Says(messages) | Does::Silence(messages) => say(messages),
            Does::Dies(why) => {
                std::io::stderr().write_all(why.as_bytes()).unwrap();
                std::process::exit(1);
            }
            Does::Floods(size) => {
                let chunk = vec![b'x'; 64 << 10];
                for _ in 0..size / chunk.len() {
                    if out.write_all(&chunk).is_err() {
                        return;
                    }
                }
                let _ = out.write_all(b"\n");
            }
            Does::Status(_) => {}
        }
    }
}

fn http(dir: &Path) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let temporary = dir.join("address.new");
    std::fs::write(&temporary, format!("http://{}", listener.local_addr().unwrap())).unwrap();
    std::fs::rename(temporary, dir.join("address")).unwrap();
    for stream in listener.incoming() {
        let dir = dir.to_owned();
        std::thread::spawn(move || serve(&dir, stream.unwrap()));
    }
}

/// One request; the connection ends with it.
fn serve(dir: &Path, mut stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let header = |name: &str| {
        let found = head.iter().filter_map(|line| line.split_once(": "));
        let mut found = found.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value.to_owned())
    };
    let mut body = vec![0; header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)];
    reader.read_exact(&mut body).ok()?;
    if !head.first()?.starts_with("POST") {
        let status = if head.first()?.starts_with("GET") { "405 No" } else { "200 OK" };
        return write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n").ok();
    }
    let message: Value = serde_json::from_slice(&body).ok()?;
    let answer = |stream: &mut TcpStream, status: &str, kind: &str, text: &str| {
        let length = text.len();
        let head = "connection: close\r\nmcp-session-id: one";
        let kind = format!("content-type: {kind}\r\ncontent-length: {length}");
        write!(stream, "HTTP/1.1 {status}\r\n{head}\r\n{kind}\r\n\r\n{text}").ok()
    };
    match does(dir, &message, &json!(header("authorization"))) {
        Does::Says(messages) => match messages.as_slice() {
            [] => answer(&mut stream, "202 Accepted", "text/plain", ""),
            [one] => answer(&mut stream, "200 OK", "application/json", &one.to_string()),
            several => {
                let events: Vec<String> = several.iter().map(|one| format!("data: {one}\n\n")).collect();
                answer(&mut stream, "200 OK", "text/event-stream", &events.concat())
            }
        },
        Does::Silence(_) => {
            let mut rest = Vec::new();
            let _ = reader.read_to_end(&mut rest);
            None
        }
        Does::Dies(_) => None,
        Does::Floods(size) => {
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\"";
            stream.write_all(head.as_bytes()).ok()?;
            let chunk = vec![b'x'; 64 << 10];
            for _ in 0..size / chunk.len() {
                stream.write_all(&chunk).ok()?;
            }
            Some(())
        }
        Does::Status(status) => {
            answer(&mut stream, &format!("{status} Told"), "text/plain", "as it was told")
        }
    }
}

fn does(dir: &Path, message: &Value, authorization: &Value) -> Does {
    let script: Value = serde_json::from_slice(&std::fs::read(dir.join("script.json")).unwrap()).unwrap();
    let earlier = heard(dir, message, authorization);
    let id = &message["id"];
    let method = message["method"].as_str().unwrap_or_default();
    if let Some(told) = script["on"].get(method) {
        return perform(told, message);
    }
    let result = |result: Value| Does::Says(vec![json!({"jsonrpc": "2.0", "id": id, "result": result})]);
    match method {
        "initialize" => result(json!({
            "protocolVersion": message["params"]["protocolVersion"], "capabilities": {"tools": {"listChanged": true}},
            "serverInfo": {"name": "scripted", "version": script["version"].as_str().unwrap_or("1")},
        })),
        "tools/list" => result(json!({"tools": script["tools"]})),
        "tools/call" => {
            let name = message["params"]["name"].as_str().unwrap_or_default();
            let told = &script["calls"][name];
            let told = match told.as_array() {
                Some(several) => several.get(earlier).or(several.last()).unwrap(),
                None => told,
            };
            perform(told, message)
        }
        _ if id.is_null() || method.is_empty() => Does::Says(Vec::new()),
        _ => {
            Does::Says(vec![json!({"jsonrpc": "2.0", "id": id, "error": {"code": -32601, "message": "no"}})])
        }
    }
}

fn perform(told: &Value, message: &Value) -> Does {
    let (id, token) = (&message["id"], &message["params"]["_meta"]["progressToken"]);
    let tell = told["tell"].to_string().replace("\"$token\"", &token.to_string());
    let mut messages: Vec<Value> = serde_json::from_str(&tell).unwrap_or_default();
    if let Some(result) = told.get("result") {
        messages.push(json!({"jsonrpc": "2.0", "id": id, "result": result}));
    } else if let Some(error) = told.get("error") {
        messages.push(json!({"jsonrpc": "2.0", "id": id, "error": error}));
    } else if let Some(why) = told["die"].as_str() {
        return Does::Dies(why.to_owned());
    } else if let Some(size) = told["flood"].as_u64() {
        return Does::Floods(size as usize);
    } else if let Some(status) = told["status"].as_u64() {
        return Does::Status(status as u16);
    } else {
        return Does::Silence(messages);
    }
    Does::Says(messages)
}

/// Keeps what was heard; how many calls of the same tool were heard before.
fn heard(dir: &Path, message: &Value, authorization: &Value) -> usize {
    let path = dir.join("heard");
    let before = std::fs::read_to_string(&path).unwrap_or_default();
    let same = before.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|earlier| {
        earlier["method"] == "tools/call" && earlier["params"]["name"] == message["params"]["name"]
    });
    let count = same.count();
    let mut line = message.clone();
    if !authorization.is_null() {
        line["authorization"] = authorization.clone();
    }
    let mut file = std::fs::OpenOptions::new().create(true).append(true).open(path).unwrap();
    writeln!(file, "{line}").unwrap();
    count
}
