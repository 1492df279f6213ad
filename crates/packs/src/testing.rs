//! What the tests of this crate share: packs from text, steps of calls, a server that says what it is told to.

use crate::declared::{Action, Declared, Filling};
use crate::kubernetes::{NoCluster, Objects};
use crate::pack::DeclaredPack;
use crate::source::Source;
use astradesk_core::{Call, Error, FrozenCall, Principal, Result, RunId, ToolName};
use astradesk_runtime::port::{Fault, Progress, StepContext};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::time::Instant;

pub(crate) fn nowhere() -> Arc<dyn Objects> {
    Arc::new(NoCluster::new().unwrap())
}

/// The pack `test` with this tool, called `act`.
pub(crate) fn pack(tool: &str) -> Result<DeclaredPack> {
    pack_on(tool, &nowhere())
}

pub(crate) fn pack_on(tool: &str, objects: &Arc<dyn Objects>) -> Result<DeclaredPack> {
    let head = "name = \"test\"\nversion = \"1\"\ndescription = \"a test\"\n[[tools]]\nname = \"act\"\ndescription = \"acts\"\n";
    DeclaredPack::of("test", &Source::of(&format!("{head}{tool}")), objects)
}

/// A step with this call.
pub(crate) fn step(pack: &DeclaredPack, arguments: &Value, seconds: f64) -> StepContext {
    let tool = pack.tool(&ToolName::parse("act").unwrap()).unwrap();
    let arguments = arguments.as_object().unwrap().clone();
    let targets = tool.targets_of(&arguments).unwrap();
    let call = Call { tool: tool.spec.name.clone(), arguments };
    StepContext {
        run: RunId::parse("01920000-0000-7000-8000-000000000001").unwrap(),
        step: 0,
        call: FrozenCall::new(call, tool.spec.version.clone(), tool.effect(), targets),
        principal: Principal { subject: "ada".into(), issuer: "test".into(), roles: [].into(), actor: None },
        intent: Value::Null,
        undoes: None,
        repeated: false,
        deadline: Instant::now() + Duration::from_secs_f64(seconds),
        progress: Progress::default(),
    }
}

pub(crate) fn act(pack: &DeclaredPack) -> &Declared {
    pack.tool(&ToolName::parse("act").unwrap()).unwrap()
}

/// Performs a step, and verifies it as the Engine would.
pub(crate) async fn live(pack: &DeclaredPack, step: &StepContext) -> Result<Value, Fault> {
    let tool = act(pack);
    let filling = Filling { step, parameters: &tool.parameters, effect: tool.effect() };
    let receipt = match &tool.action {
        Action::Http(http) => http.perform(&filling).await?,
        Action::Command(command) => command.perform(&filling).await?,
        Action::Patch(patch) => patch.perform(&filling).await?,
        Action::Mcp(mcp) => mcp.perform(&filling).await?,
    };
    astradesk_runtime::port::Tool::verify(tool, step, &receipt).await
}

/// How it ended, in a word: `done`, or `failed` or `unknown` with the code.
pub(crate) fn word(ended: &Result<Value, Fault>) -> String {
    match ended {
        Ok(_) => "done".to_owned(),
        Err(Fault::Failed(error)) => format!("failed {}", error.code),
        Err(Fault::Moved(error)) => format!("moved {}", error.code),
        Err(Fault::Unknown(error)) => format!("unknown {}", error.code),
    }
}

pub(crate) fn error(ended: &Result<Value, Fault>) -> &Error {
    match ended {
        Err(Fault::Failed(error) | Fault::Moved(error) | Fault::Unknown(error)) => error,
        Ok(output) => panic!("it is done: {output}"),
    }
}

/// What the server does with a connection that has sent a request.
#[derive(Debug, Clone)]
pub(crate) enum Say {
    /// These bytes, then the end.
    Bytes(Vec<u8>),
    /// These bytes, then nothing for ever.
    Hang(Vec<u8>),
    /// This head, then so many bytes of a body.
    Flood(usize),
}

pub(crate) fn json(status: u16, body: &str) -> Say {
    let length = body.len();
    Say::Bytes(
        format!("HTTP/1.1 {status} X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
            .into_bytes(),
    )
}

/// A server on loopback that answers each request with the next of its answers, the last again and again.
pub(crate) struct Server {
    pub(crate) address: String,
    pub(crate) heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    pub(crate) async fn new(answers: Vec<Say>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let all = Arc::new(Mutex::new(Vec::new()));
        let requests = all.clone();
        tokio::spawn(async move {
            let mut answers = VecDeque::from(answers);
            while let Ok((mut stream, _)) = listener.accept().await {
                let answer = if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() };
                let requests = requests.clone();
                tokio::spawn(async move {
                    let mut heard = Vec::new();
                    let mut chunk = [0; 4096];
                    while !is_whole(&heard) {
                        match stream.read(&mut chunk).await {
                            Ok(read @ 1..) => heard.extend_from_slice(&chunk[..read]),
                            _ => return,
                        }
                    }
                    requests.lock().unwrap().push(String::from_utf8_lossy(&heard).into_owned());
                    match answer.unwrap() {
                        Say::Bytes(bytes) => stream.write_all(&bytes).await.unwrap_or_default(),
                        Say::Hang(bytes) => {
                            stream.write_all(&bytes).await.unwrap_or_default();
                            std::future::pending::<()>().await;
                        }
                        Say::Flood(size) => {
                            let begin = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n\"";
                            let _ = stream.write_all(begin).await;
                            let chunk = vec![b'x'; 64 << 10];
                            for _ in 0..size / chunk.len() {
                                if stream.write_all(&chunk).await.is_err() {
                                    return;
                                }
                            }
                            let _ = stream.write_all(b"\"").await;
                        }
                    }
                });
            }
        });
        Self { address, heard: all }
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }
}

/// Whether a request with its body is there.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head
        .lines()
        .find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:").map(str::to_owned));
    body.len() >= length.and_then(|length| length.trim().parse().ok()).unwrap_or(0)
}
