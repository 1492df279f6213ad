//! The ToolRegistry: which tools and agents there are, and what agents can read, at run time.

use crate::planner::Language;
use crate::port::{Agent, OWN_PROMPTS, OWN_SCHEME, Pack, Packs, Prompt, Resource, Tool};
use crate::schema::Schema;
use arc_swap::ArcSwap;
use astradesk_core::text::shown;
use astradesk_core::{AgentName, Arguments, Code, Effect, Error, FrozenCall, Result, ToolName, ToolSpec};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use tokio::sync::watch;

/// A tool that was accepted: its definition was checked, its schema compiled.
pub struct Registered {
    /// The tool.
    pub tool: Arc<dyn Tool>,
    /// What it does to the world.
    pub effect: Effect,
    /// The pack that it came with.
    pub pack: String,
    /// JSON Schema of its arguments, to be shared by everybody who is told of it.
    pub input_schema: Arc<Map<String, Value>>,
    schema: Schema,
}

/// What stands in the place of an argument that is `writeOnly`.
const REDACTED: &str = "[redacted]";

impl Registered {
    fn new(tool: Arc<dyn Tool>, pack: &str) -> Result<Self> {
        let spec = tool.spec();
        let refuse = |why: String| {
            Error::new(Code::ToolDefinitionInvalid, format!("tool `{}` of pack `{pack}` {why}", spec.name))
        };
        let effect =
            spec.effect.ok_or_else(|| refuse("declares no effect: read, write or execute".into()))?;
        let input_schema =
            spec.input_schema.as_object().filter(|schema| schema.get("type") == Some(&"object".into()));
        let Some(input_schema) = input_schema.cloned() else {
            return Err(refuse("has an input schema that does not describe an object".into()));
        };
        if spec.input_schema.get("additionalProperties") != Some(&Value::Bool(false)) {
            return Err(refuse("has an input schema without `additionalProperties: false`".into()));
        }
        let schema = Schema::compile(&spec.input_schema).map_err(refuse)?;
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
        let write_only = &schema.write_only;
        if let (Some(argument), true) = (write_only.first(), effect != Effect::Read) {
            return Err(refuse(format!(
                "has the `writeOnly` argument `{argument}` and is not a read: its run is kept in the store with its \
                 arguments, so that it can be gone on with; let it take the name of a secret, not the secret"
            )));
        }
        if let Some(slot) = spec.grammar.slots.iter().find(|slot| write_only.contains(&slot.argument)) {
            return Err(refuse(format!(
                "has words for the `writeOnly` argument `{}`, and what somebody says is recorded as it is",
                slot.argument
            )));
        }
        Ok(Self { effect, pack: pack.to_owned(), input_schema: Arc::new(input_schema), schema, tool })
    }

    /// The tool's description.
    pub fn spec(&self) -> &Arc<ToolSpec> {
        self.tool.spec()
    }

    /// The arguments as they are shown and recorded: `[redacted]` in the place of each that is `writeOnly`.
    pub fn redacted(&self, arguments: &Arguments) -> Arguments {
        let mut shown = arguments.clone();
        for argument in &self.schema.write_only {
            if let Some(value) = shown.get_mut(argument) {
                *value = REDACTED.into();
            }
        }
        shown
    }

    /// Whether one of the arguments is `writeOnly`.
    pub fn has_secrets(&self, arguments: &Arguments) -> bool {
        self.schema.write_only.iter().any(|argument| arguments.contains_key(argument))
    }

    /// The call with its arguments as they are shown and recorded; its digest is that of the call as it is.
    pub fn shown(&self, call: &FrozenCall) -> FrozenCall {
        FrozenCall { arguments: self.redacted(&call.arguments), ..call.clone() }
    }

    /// Checks arguments against the schema; the first fault is in the message, all (at most 8) in the details.
    /// What is wrong is shown, unless the tool has an argument that is `writeOnly`.
    pub fn check(&self, arguments: &Arguments) -> Result<()> {
        let faults = self.schema.faults(arguments);
        if faults.is_empty() {
            return Ok(());
        }
        let first = faults.first().cloned().unwrap_or_default();
        Err(Error::new(Code::ToolArgumentsInvalid, format!("`{}`: {first}", self.spec().name))
            .with_detail("faults", faults))
    }
}

#[derive(Default, Clone)]
struct Contents {
    tools: BTreeMap<ToolName, Arc<Registered>>,
    agents: BTreeMap<AgentName, (String, Arc<dyn Agent>)>,
    packs: BTreeMap<String, String>,
    /// By the names of their packs.
    languages: BTreeMap<String, Vec<Arc<Language>>>,
    /// By their URIs.
    resources: BTreeMap<String, OfPack<dyn Resource>>,
    /// By their names.
    prompts: BTreeMap<String, OfPack<dyn Prompt>>,
}

/// Something with the name of the pack that it came with.
pub struct OfPack<T: ?Sized> {
    /// The pack's name.
    pub pack: Arc<str>,
    /// What came with it.
    pub it: Arc<T>,
}

impl<T: ?Sized> Clone for OfPack<T> {
    fn clone(&self) -> Self {
        Self { pack: self.pack.clone(), it: self.it.clone() }
    }
}

/// Which tools and agents there are. Readers see one consistent set; a pack is registered whole or not at all.
#[derive(Default)]
pub struct ToolRegistry {
    contents: ArcSwap<Contents>,
    /// Counts twice for each replacement: when it begins, and when whoever must know of the tools does.
    replaced: watch::Sender<u64>,
    writing: Mutex<()>,
    followed: OnceLock<Arc<dyn Packs>>,
}

impl ToolRegistry {
    /// Registers a pack, in place of the pack of the same name if there is one.
    ///
    /// # Errors
    /// [`Code::ToolDefinitionInvalid`] with the reason when a tool has no effect, a bad schema, or a name
    /// that another pack has taken; the registry stays as it was.
    pub fn register(&self, pack: &dyn Pack) -> Result<()> {
        self.replace(&[(pack.name(), Some(pack))], |_, swap| {
            swap();
            Ok(())
        })
    }

    /// Removes a pack with its tools. Runs in progress keep the tool that they began with.
    pub fn remove(&self, pack: &str) -> bool {
        let known = self.contents.load().packs.contains_key(pack);
        let removed = self.replace(&[(pack, None)], |_, swap| {
            swap();
            Ok(())
        });
        removed.is_ok() && known
    }

    /// Puts packs in the place of those called so, or removes these, all of them at once. `agree` is given every tool
    /// that there will be, and what makes it so, which it calls when whoever must know of them is ready.
    ///
    /// # Errors
    /// As [`register`](Self::register), or what `agree` says; the registry stays as it was.
    pub fn replace(
        &self,
        changes: &[(&str, Option<&dyn Pack>)],
        agree: impl FnOnce(Vec<Arc<ToolSpec>>, &mut dyn FnMut()) -> Result<()>,
    ) -> Result<()> {
        let _one_writer = self.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut contents = Contents::clone(&self.contents.load());
        for (name, _) in changes {
            contents.remove(name);
        }
        for pack in changes.iter().filter_map(|(_, pack)| *pack) {
            contents.add(pack)?;
        }
        let specs = contents.tools.values().map(|tool| tool.spec().clone()).collect();
        let contents = Arc::new(contents);
        let _settles = Settles(&self.replaced);
        agree(specs, &mut || {
            self.replaced.send_modify(|count| *count |= 1);
            self.contents.store(contents.clone());
        })
    }

    /// A number that is another one after every replacement, once none is under way.
    pub async fn settled(&self) -> u64 {
        let mut replaced = self.replaced.subscribe();
        let settled = replaced.wait_for(|count| count.is_multiple_of(2)).await;
        settled.map(|count| *count).unwrap_or_default()
    }

    /// Whether nothing was replaced since [`settled`](Self::settled) gave this number.
    pub fn is_settled_at(&self, number: u64) -> bool {
        *self.replaced.borrow() == number
    }

    /// Reads this and what knows of its tools, such as the policies, together: again, if a replacement was under way,
    /// which takes two steps.
    pub(crate) fn steadily<T>(&self, read: impl Fn() -> T) -> T {
        loop {
            let number = *self.replaced.borrow();
            let value = read();
            if number.is_multiple_of(2) && self.is_settled_at(number) {
                return value;
            }
            std::thread::yield_now();
        }
    }

    /// Lets packs come and go: whoever tends the Engine looks at them. Only the first are followed.
    pub fn follow(&self, packs: Arc<dyn Packs>) {
        let _ = self.followed.set(packs);
    }

    /// The packs that come and go, if there are any.
    pub fn followed(&self) -> Option<&Arc<dyn Packs>> {
        self.followed.get()
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

    /// What agents can read, by its URI.
    pub fn resources(&self) -> Vec<OfPack<dyn Resource>> {
        self.contents.load().resources.values().cloned().collect()
    }

    /// Every prompt, by name.
    pub fn prompts(&self) -> Vec<OfPack<dyn Prompt>> {
        self.contents.load().prompts.values().cloned().collect()
    }

    /// The URIs of the pack's resources, and the names of its prompts.
    pub fn readings_of(&self, pack: &str) -> (Vec<String>, Vec<String>) {
        let contents = self.contents.load();
        let resources = contents.resources.iter().filter(|(_, of)| *of.pack == *pack);
        let prompts = contents.prompts.iter().filter(|(_, of)| *of.pack == *pack);
        (resources.map(|(uri, _)| uri.clone()).collect(), prompts.map(|(name, _)| name.clone()).collect())
    }

    /// The languages that packs bring.
    pub fn languages(&self) -> Vec<Arc<Language>> {
        self.contents.load().languages.values().flatten().cloned().collect()
    }

    /// Every pack with its version.
    pub fn packs(&self) -> Vec<(String, String)> {
        self.contents.load().packs.iter().map(|(name, version)| (name.clone(), version.clone())).collect()
    }
}

/// Ends a replacement, whatever became of it.
struct Settles<'a>(&'a watch::Sender<u64>);

impl Drop for Settles<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count = count.next_multiple_of(2));
    }
}

impl Contents {
    fn add(&mut self, pack: &dyn Pack) -> Result<()> {
        for tool in pack.tools() {
            let registered = Registered::new(tool, pack.name())?;
            let name = registered.spec().name.clone();
            if let Some(other) = self.tools.get(&name) {
                let text =
                    format!("tool `{name}` of pack `{}` is already in pack `{}`", pack.name(), other.pack);
                return Err(Error::new(Code::ToolDefinitionInvalid, text));
            }
            self.tools.insert(name, Arc::new(registered));
        }
        for agent in pack.agents() {
            self.agents.insert(agent.name().clone(), (pack.name().to_owned(), agent));
        }
        self.add_readings(pack)?;
        self.languages.insert(pack.name().to_owned(), pack.languages());
        self.packs.insert(pack.name().to_owned(), pack.version().to_owned());
        Ok(())
    }

    fn add_readings(&mut self, pack: &dyn Pack) -> Result<()> {
        let name: Arc<str> = pack.name().into();
        let refuse = |why: String| Err(Error::new(Code::PackInvalid, format!("pack `{name}` has {why}")));
        for it in pack.resources() {
            let uri = it.uri().to_owned();
            if uri.split_once(':').is_none_or(|(scheme, _)| scheme.eq_ignore_ascii_case(OWN_SCHEME)) {
                return refuse(format!(
                    "the resource `{uri}`, whose scheme is AstraDesk's own: choose another one"
                ));
            }
            let same = self.resources.get(&uri).map(|other| (&uri, &other.pack));
            let others = self.resources.iter().filter(|(_, other)| other.pack != name);
            let alike = same.or_else(|| {
                others.map(|(of, other)| (of, &other.pack)).find(|(of, _)| could_be_the_same(of, &uri))
            });
            if let Some((of, other)) = alike {
                return refuse(format!("the resource `{uri}`, which could be `{of}` of pack `{other}`"));
            }
            self.resources.insert(uri, OfPack { pack: name.clone(), it });
        }
        for it in pack.prompts() {
            let prompt = it.about().name.clone();
            if OWN_PROMPTS.contains(&prompt.as_str()) {
                return refuse(format!(
                    "the prompt `{prompt}`, whose name is that of one of AstraDesk's own"
                ));
            }
            if let Some(other) = self.prompts.get(&prompt) {
                return refuse(format!("the prompt `{prompt}`, which is already in pack `{}`", other.pack));
            }
            self.prompts.insert(prompt, OfPack { pack: name.clone(), it });
        }
        Ok(())
    }

    fn remove(&mut self, pack: &str) -> bool {
        self.tools.retain(|_, tool| tool.pack != pack);
        self.agents.retain(|_, (of, _)| of != pack);
        self.resources.retain(|_, of| *of.pack != *pack);
        self.prompts.retain(|_, of| *of.pack != *pack);
        self.languages.remove(pack);
        self.packs.remove(pack).is_some()
    }
}

/// Whether two URIs, or templates of URIs, of different packs may have one in common: one of them is a template, and
/// what is fixed at its beginning fits the other's.
fn could_be_the_same(one: &str, other: &str) -> bool {
    let (mine, yours) = (one.split('{').next().unwrap_or(one), other.split('{').next().unwrap_or(other));
    match (mine.len() < one.len(), yours.len() < other.len()) {
        (false, false) => one == other,
        (true, false) => yours.starts_with(mine),
        (false, true) => mine.starts_with(yours),
        (true, true) => mine.starts_with(yours) || yours.starts_with(mine),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Permit;
    use crate::port::{Fault, StepContext};
    use astradesk_core::tool::{Form, Grammar, Slot};
    use astradesk_core::{FrozenCall, Target};
    use async_trait::async_trait;
    use serde_json::json;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    struct Scripted(Arc<ToolSpec>);

    #[async_trait]
    impl Tool for Scripted {
        fn spec(&self) -> &Arc<ToolSpec> {
            &self.0
        }

        async fn targets(&self, _: &Arguments) -> Result<Vec<Target>> {
            Ok(Vec::new())
        }

        async fn preview(&self, _: &FrozenCall) -> Result<Value> {
            Ok(Value::Null)
        }

        async fn perform(&self, _: &Permit, _: &StepContext) -> Result<Value, Fault> {
            Ok(Value::Null)
        }
    }

    fn registered(effect: Effect, properties: &Value) -> Result<Registered> {
        with_words(effect, properties, Grammar::default())
    }

    fn with_words(effect: Effect, properties: &Value, grammar: Grammar) -> Result<Registered> {
        let spec = ToolSpec {
            name: ToolName::parse("look_up").unwrap(),
            version: "1".to_owned(),
            description: "looks something up".to_owned(),
            effect: Some(effect),
            input_schema: json!({"type": "object", "additionalProperties": false, "properties": properties}),
            timeout: Duration::from_secs(1),
            grammar,
        };
        Registered::new(Arc::new(Scripted(Arc::new(spec))), "pack")
    }

    fn arguments(value: &Value) -> Arguments {
        value.as_object().unwrap().clone()
    }

    /// A pack without anything.
    struct Empty;

    impl Pack for Empty {
        fn name(&self) -> &'static str {
            "empty"
        }

        fn version(&self) -> &'static str {
            "1"
        }

        fn tools(&self) -> Vec<Arc<dyn Tool>> {
            Vec::new()
        }

        fn agents(&self) -> Vec<Arc<dyn Agent>> {
            Vec::new()
        }
    }

    #[test]
    fn what_is_read_between_the_steps_of_a_replacement_is_read_again() {
        let (registry, known) = (ToolRegistry::default(), AtomicUsize::new(0));
        let (reads, has_read) = mpsc::channel();
        std::thread::scope(|scope| {
            let mut seen = None;
            let replaced = registry.replace(&[("empty", Some(&Empty))], |_, swap| {
                swap();
                seen = Some(scope.spawn(|| {
                    registry.steadily(|| {
                        let both = (registry.packs().len(), known.load(Ordering::SeqCst));
                        // Whoever waits for the first does not wait for those after it.
                        let _ = reads.send(());
                        both
                    })
                }));
                has_read.recv().unwrap();
                known.store(1, Ordering::SeqCst);
                Ok(())
            });
            replaced.unwrap();
            assert_eq!(seen.unwrap().join().unwrap(), (1, 1));
        });
    }

    #[test]
    fn what_is_write_only_is_neither_shown_nor_told_of_in_faults() {
        let password = json!({"type": "string", "minLength": 12, "writeOnly": true});
        let user = json!({"type": "string", "writeOnly": false});
        let tool = registered(Effect::Read, &json!({"user": user, "password": password})).unwrap();
        let asked = arguments(&json!({"user": "anna", "password": "hunter2"}));
        let shown = tool.redacted(&asked);
        assert_eq!(Value::Object(shown), json!({"user": "anna", "password": "[redacted]"}));
        let structured = tool.redacted(&arguments(&json!({"password": {"value": "hunter2"}})));
        assert_eq!(Value::Object(structured), json!({"password": "[redacted]"}));
        assert_eq!(tool.redacted(&Arguments::new()), Arguments::new());

        let error = tool.check(&asked).unwrap_err();
        assert!(error.message.contains("at `/password`"), "{}", error.message);
        assert!(!serde_json::to_string(&error).unwrap().contains("hunter2"), "{error:?}");
        let plain = registered(Effect::Write, &json!({"user": {"type": "string"}})).unwrap();
        let error = plain.check(&arguments(&json!({"user": 7}))).unwrap_err();
        assert!(error.message.contains('7'), "{}", error.message);
        assert_eq!(plain.redacted(&asked), asked);
    }

    #[test]
    fn what_cannot_be_kept_from_the_store_is_not_registered() {
        let secret = json!({"password": {"type": "string", "writeOnly": true}});
        let within = json!({"login": {"type": "object", "properties": secret.clone()}});
        let listed = json!({"logins": {"type": "array", "items": {"anyOf": [secret["password"]]}}});
        for (effect, properties, accepted, why) in [
            (Effect::Read, &secret, true, ""),
            (Effect::Write, &secret, false, "`writeOnly` argument `password` and is not a read"),
            (Effect::Execute, &secret, false, "`writeOnly` argument `password` and is not a read"),
            (Effect::Read, &within, false, "not directly in a property"),
            (Effect::Write, &within, false, "not directly in a property"),
            (Effect::Read, &listed, false, "not directly in a property"),
        ] {
            let answer = registered(effect, properties);
            assert_eq!(answer.is_ok(), accepted, "{effect:?} {properties}");
            if let Err(error) = answer {
                assert_eq!(error.code, Code::ToolDefinitionInvalid);
                assert!(
                    error.message.contains(why) && error.message.contains("look_up"),
                    "{}",
                    error.message
                );
            }
        }
        let slot = Slot { argument: "password".into(), form: Form::Name, required: false, locates: false };
        let grammar = Grammar { slots: vec![slot], ..Grammar::default() };
        let error = with_words(Effect::Read, &secret, grammar).err().unwrap();
        assert!(error.message.contains("has words for the `writeOnly`"), "{}", error.message);
    }

    #[test]
    fn uris_that_could_be_the_same_are_found() {
        for (one, other, alike) in [
            ("a://x", "a://x", true),
            ("a://x", "a://xy", false),
            ("a://x/{y}", "a://x/z", true),
            ("a://x/{y}", "a://xz", false),
            ("a://x/{y}/z", "a://x/b/{y}", true),
            ("a://x/{y}", "a://z/{y}", false),
            ("a://x/{y}", "b://x/{y}", false),
        ] {
            assert_eq!(could_be_the_same(one, other), alike, "{one} {other}");
            assert_eq!(could_be_the_same(other, one), alike, "{other} {one}");
        }
    }
}
