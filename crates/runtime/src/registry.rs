//! The ToolRegistry: which tools and agents there are, at run time.

use crate::port::{Agent, Pack, Tool};
use arc_swap::ArcSwap;
use astradesk_core::text::shown;
use astradesk_core::{AgentName, Arguments, Code, Effect, Error, FrozenCall, Result, ToolName, ToolSpec};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A tool that was accepted: its definition was checked, its schema compiled.
pub struct Registered {
    /// The tool.
    pub tool: Arc<dyn Tool>,
    /// What it does to the world.
    pub effect: Effect,
    /// The pack that it came with.
    pub pack: String,
    schema: jsonschema::Validator,
}

impl Registered {
    fn new(tool: Arc<dyn Tool>, pack: &str) -> Result<Self> {
        let spec = tool.spec();
        let refuse = |why: String| {
            Error::new(Code::ToolDefinitionInvalid, format!("tool `{}` of pack `{pack}` {why}", spec.name))
        };
        let effect =
            spec.effect.ok_or_else(|| refuse("declares no effect: read, write or execute".into()))?;
        if spec.input_schema.get("type") != Some(&Value::from("object")) {
            return Err(refuse("has an input schema that does not describe an object".into()));
        }
        if spec.input_schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Err(refuse("has an input schema without `additionalProperties: false`".into()));
        }
        let schema = jsonschema::draft202012::options()
            .build(&spec.input_schema)
            .map_err(|error| refuse(format!("has an input schema that is not valid: {error}")))?;
        if spec.timeout.is_zero() {
            return Err(refuse("has no time limit".into()));
        }
        for slot in &spec.grammar.slots {
            if spec.input_schema.pointer(&format!("/properties/{}", slot.argument)).is_none() {
                return Err(refuse(format!(
                    "has words for `{}`, which its schema does not know",
                    slot.argument
                )));
            }
        }
        Ok(Self { effect, pack: pack.to_owned(), schema, tool })
    }

    /// The tool's description.
    pub fn spec(&self) -> &Arc<ToolSpec> {
        self.tool.spec()
    }

    /// Checks arguments against the schema; the first fault is in the message, all (at most 8) in the details.
    pub fn check(&self, arguments: &Arguments) -> Result<()> {
        let value = Value::Object(arguments.clone());
        if self.schema.is_valid(&value) {
            return Ok(());
        }
        let faults: Vec<String> = self.schema.iter_errors(&value).take(8).map(|e| fault(&e)).collect();
        let first = faults.first().cloned().unwrap_or_default();
        Err(Error::new(Code::ToolArgumentsInvalid, format!("`{}`: {first}", self.spec().name))
            .with_detail("faults", faults))
    }
}

impl Registered {
    /// The call as it is shown and recorded: what the schema says is `writeOnly` is redacted.
    pub fn shown(&self, call: &FrozenCall) -> FrozenCall {
        let mut call = call.clone();
        for (name, value) in &mut call.arguments {
            let property = self.spec().input_schema.get("properties").and_then(|all| all.get(name));
            if property.and_then(|one| one.get("writeOnly")).and_then(Value::as_bool) == Some(true) {
                *value = Value::String("[redacted]".to_owned());
            }
        }
        call
    }
}

/// A sentence on one fault, which shows at most a little of the value.
fn fault(error: &jsonschema::ValidationError<'_>) -> String {
    let path = error.instance_path().to_string();
    let text = shown(&error.to_string(), 200);
    if path.is_empty() { text } else { format!("at `{path}`: {text}") }
}

#[derive(Default, Clone)]
struct Contents {
    tools: BTreeMap<ToolName, Arc<Registered>>,
    agents: BTreeMap<AgentName, (String, Arc<dyn Agent>)>,
    packs: BTreeMap<String, String>,
}

/// Which tools and agents there are. Readers see one consistent set; a pack is registered whole or not at all.
#[derive(Default)]
pub struct ToolRegistry {
    contents: ArcSwap<Contents>,
    writing: Mutex<()>,
}

impl ToolRegistry {
    /// Registers a pack, in place of the pack of the same name if there is one.
    ///
    /// # Errors
    /// [`Code::ToolDefinitionInvalid`] with the reason when a tool has no effect, a bad schema, or a name
    /// that another pack has taken; the registry stays as it was.
    pub fn register(&self, pack: &dyn Pack) -> Result<()> {
        self.change(|contents| {
            contents.remove(pack.name());
            for tool in pack.tools() {
                let registered = Registered::new(tool, pack.name())?;
                let name = registered.spec().name.clone();
                if let Some(other) = contents.tools.get(&name) {
                    return Err(Error::new(
                        Code::ToolDefinitionInvalid,
                        format!(
                            "tool `{name}` of pack `{}` is already in pack `{}`",
                            pack.name(),
                            other.pack
                        ),
                    ));
                }
                contents.tools.insert(name, Arc::new(registered));
            }
            for agent in pack.agents() {
                contents.agents.insert(agent.name().clone(), (pack.name().to_owned(), agent));
            }
            contents.packs.insert(pack.name().to_owned(), pack.version().to_owned());
            Ok(())
        })
    }

    /// Removes a pack with its tools. Runs in progress keep the tool that they began with.
    pub fn remove(&self, pack: &str) -> bool {
        let mut known = false;
        let removed: Result<()> = self.change(|contents| {
            known = contents.remove(pack);
            Ok(())
        });
        removed.is_ok() && known
    }

    fn change(&self, edit: impl FnOnce(&mut Contents) -> Result<()>) -> Result<()> {
        let _one_writer = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut contents = Contents::clone(&self.contents.load());
        edit(&mut contents)?;
        self.contents.store(Arc::new(contents));
        Ok(())
    }

    /// The tool of this name.
    pub fn tool(&self, name: &str) -> Result<Arc<Registered>> {
        self.contents
            .load()
            .tools
            .get(name)
            .cloned()
            .ok_or_else(|| Error::new(Code::ToolNotFound, format!("there is no tool `{}`", shown(name, 64))))
    }

    /// Every tool, by name.
    pub fn tools(&self) -> Vec<Arc<Registered>> {
        self.contents.load().tools.values().cloned().collect()
    }

    /// The agent of this name.
    pub fn agent(&self, name: &str) -> Result<Arc<dyn Agent>> {
        let contents = self.contents.load();
        contents.agents.get(name).map(|(_, agent)| agent.clone()).ok_or_else(|| {
            Error::new(Code::AgentNotFound, format!("there is no agent `{}`", shown(name, 64)))
                .with_candidates(contents.agents.keys().map(ToString::to_string))
        })
    }

    /// Every agent, by name.
    pub fn agents(&self) -> Vec<Arc<dyn Agent>> {
        self.contents.load().agents.values().map(|(_, agent)| agent.clone()).collect()
    }

    /// Every pack with its version.
    pub fn packs(&self) -> Vec<(String, String)> {
        self.contents.load().packs.iter().map(|(name, version)| (name.clone(), version.clone())).collect()
    }
}

impl Contents {
    fn remove(&mut self, pack: &str) -> bool {
        self.tools.retain(|_, tool| tool.pack != pack);
        self.agents.retain(|_, (of, _)| of != pack);
        self.packs.remove(pack).is_some()
    }
}
