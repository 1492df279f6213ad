//! Tools of an MCP server, given an effect and targets by their pack, and pinned to the definitions that a person has
//! accepted.
//!
//! | module | what it holds |
//! |---|---|
//! | `server` | `[server]`: how it is reached |
//! | `program` | one that is started |
//! | `transport` | what comes from it, bounded |
//! | `session` | a connection: its tools, a call |
//! | `trouble` | what an error of the transport means for a call |
//! | `upstream` | the server while its pack is in force |
//! | `definition` | what it says of a tool, its digest, and what is different in another one |
//! | `lock` | `pack.lock`: what was accepted |
//! | `accept` | what there is to accept, and accepting it |
//! | `import` | a `pack.toml` to begin with, from what a server has |

pub mod accept;
mod definition;
pub(crate) mod import;
pub(crate) mod lock;
mod program;
pub(crate) mod server;
mod session;
#[cfg(test)]
mod tests;
mod transport;
mod trouble;
mod upstream;

use crate::declared::{Filling, unclear, unrepeatable};
use crate::http::json::Node;
use crate::manifest::section::{Fault, Section};
use crate::parameters::Parameters;
use crate::secret::Secrets;
use crate::template::{Place, Values};
use astradesk_core::text::shown;
use astradesk_core::{Code, Effect, Error, Result};
use astradesk_runtime::port;
use lock::Pin;
use serde_json::{Map, Value, json};
use session::{Answer, Outcome};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};
pub(crate) use upstream::Upstream;

const KEYS: &[&str] = &["tool", "arguments", "idempotent", "max_answer_bytes", "against_hints"];
/// The size of an answer, in bytes: unless the tool says so, and at most.
const ANSWER: (u64, u64) = (256 << 10, 4 << 20);
/// How often a call that may be repeated is sent, and the pause before it is sent again.
const TRIES: u32 = 3;
const PAUSE: Duration = Duration::from_millis(500);
/// The most characters of what a tool says of its failure that an error shows.
const EXCERPT: usize = 1000;

/// A tool of a server.
pub(crate) struct Mcp {
    upstream: Arc<Upstream>,
    /// Its name in the server.
    tool: String,
    /// The definition that was accepted.
    pin: Option<Pin>,
    /// What is sent; without it the arguments as they are.
    arguments: Option<Node>,
    effect: Effect,
    idempotent: bool,
    max_answer: usize,
}

/// The server of a pack, with what was accepted of it.
pub(crate) struct Served {
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) lock: lock::Lock,
    /// What `[server]` says.
    pub(crate) meaning: Value,
}

impl Served {
    pub(crate) fn new(pack: &str, server: server::Server, lock: lock::Lock) -> Self {
        let meaning = server.meaning.clone();
        let upstream = Arc::new(Upstream::new(pack, server, lock.server.clone()));
        Self { upstream, lock, meaning }
    }
}

impl Mcp {
    pub(crate) fn read(
        tool: &mut Section,
        parameters: &Parameters,
        effect: Effect,
        served: Option<&Served>,
    ) -> Result<Self, Fault> {
        let Some(mut mcp) = tool.section("mcp", KEYS)? else {
            return Err(tool.fault("has no table `mcp`"));
        };
        let served =
            served.ok_or_else(|| mcp.fault("needs a server: add the table `[server]` to the pack"))?;
        let name = mcp.text("tool", 128)?;
        let pin = served.lock.pins.get(&name).cloned();
        let against_hints = mcp.flag("against_hints")?;
        let no_read = pin.as_ref().and_then(|pin| pin.definition.is_no_read());
        if let (Effect::Read, Some(hint), false) = (effect, no_read, against_hints) {
            let why = format!(
                "it is declared a `read`, and its server says that it is none ({hint}): give it the effect `write`, or \
                 say `against_hints = true` if you know better"
            );
            return Err(mcp.fault_of("tool", why));
        }
        let arguments = match mcp.value("arguments") {
            Some(arguments @ Value::Object(_)) => {
                Some(Node::document(&mcp, "arguments", arguments, parameters, Place::Plain)?)
            }
            Some(_) => return Err(mcp.fault_of("arguments", "it must be a table")),
            None => None,
        };
        Ok(Self {
            upstream: served.upstream.clone(),
            tool: name,
            pin,
            arguments,
            effect,
            idempotent: mcp.flag("idempotent")?,
            max_answer: mcp.number("max_answer_bytes", ANSWER.0, 1..=ANSWER.1)? as usize,
        })
    }

    /// What of a call is not in its table: the server, and the definition that was accepted.
    pub(crate) fn meaning(&self, served: &Served) -> Value {
        json!({"server": served.meaning, "definition": self.pin.as_ref().map(|pin| pin.digest)})
    }

    /// Why it is disabled, if it is.
    pub(crate) fn fault(&self) -> Option<Error> {
        self.upstream.fault(&self.tool, self.pin.as_ref())
    }

    /// The same with what is different, for who may look after packs.
    pub(crate) fn fault_in_full(&self) -> Option<Error> {
        self.upstream.fault_in_full(&self.tool, self.pin.as_ref())
    }

    /// Its name in the server.
    pub(crate) fn name(&self) -> &str {
        &self.tool
    }

    /// What would be called.
    pub(crate) fn preview(&self, values: &mut Values<'_>) -> Result<Value> {
        let arguments = self.arguments(values)?;
        Ok(json!({"server": self.upstream.name(), "tool": self.tool, "arguments": arguments}))
    }

    fn arguments(&self, values: &mut Values<'_>) -> Result<Map<String, Value>> {
        if let Some(arguments) = &self.arguments {
            return match arguments.fill(values)? {
                Some(Value::Object(arguments)) => Ok(arguments),
                _ => Err(Error::internal("arguments that are no object")),
            };
        }
        let names: Vec<&String> = values.parameters.iter().map(|(name, _)| name).collect();
        let given = names.into_iter().filter_map(|name| Some((name.clone(), values.value(name)?)));
        Ok(given.collect())
    }

    fn is_repeatable(&self) -> bool {
        self.effect == Effect::Read || self.idempotent
    }

    /// Calls it until the effect is clear, as far as it may be repeated.
    pub(crate) async fn perform(&self, filling: &Filling<'_>) -> Result<Value, port::Fault> {
        let step = filling.step;
        if step.repeated && !self.is_repeatable() {
            let remedy = "look whether it was done; its pack can say `idempotent = true` if calling it again does no harm";
            return Err(unrepeatable(step, remedy));
        }
        let mut secrets = Secrets::default();
        let arguments = self.arguments(&mut filling.values(&mut secrets))?;
        let what = (self.tool.as_str(), self.pin.as_ref());
        let (mut tries, mut pause, mut arrived) = (0, PAUSE, step.repeated);
        loop {
            tries += 1;
            let calling = self.upstream.call(what, arguments.clone(), step.deadline, &step.progress);
            let why = match calling.await {
                Answer::Result(result) => return self.receipt(filling, result),
                // What was refused now may have been done by what was sent before.
                Answer::Refused(error) if !arrived || self.effect == Effect::Read => {
                    return Err(port::Fault::Failed(error));
                }
                Answer::Failed(error) if self.effect == Effect::Read => {
                    return Err(port::Fault::Failed(error));
                }
                Answer::Refused(error) | Answer::Failed(error) => return Err(unclear(step, &error.message)),
                Answer::Never(why) => why,
                Answer::Unanswered(why) => {
                    arrived = true;
                    why
                }
            };
            let again = Instant::now() + pause;
            if self.is_repeatable() && tries < TRIES && again < step.deadline {
                tracing::debug!(tool = %step.call.tool, why, "called again");
                sleep_until(again).await;
                pause *= 3;
                continue;
            }
            if self.effect == Effect::Read || !arrived {
                return Err(port::Fault::Failed(Error::new(Code::UpstreamUnreachable, why)));
            }
            return Err(unclear(step, &why));
        }
    }

    /// What the result means. The server has performed the call, and may say that it did not come out well.
    fn receipt(&self, filling: &Filling<'_>, result: Outcome) -> Result<Value, port::Fault> {
        if result.is_error {
            let said = shown(result.text().trim(), EXCERPT);
            let said = if said.is_empty() { said } else { format!(": {said}") };
            let message = format!("`{}` of `{}` failed{said}", self.tool, self.upstream.name());
            return filling.unmet(json!({}), Error::new(Code::UpstreamRejected, message));
        }
        if result.output.to_string().len() <= self.max_answer {
            return Ok(result.output);
        }
        let why = format!("its answer is larger than {} bytes", self.max_answer);
        if self.effect == Effect::Read {
            return Err(port::Fault::Failed(Error::new(Code::UpstreamAnswerInvalid, why)));
        }
        Ok(json!({"content": [], "note": why}))
    }
}
