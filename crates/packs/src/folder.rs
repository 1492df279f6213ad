//! The packs of a folder: each folder in it is one. They are looked at again and again, and put in force as a whole,
//! replaced or removed while AstraDesk runs.
//!
//! A pack that is not valid leaves the one before it in force. A pack goes when its folder goes.

use crate::kubernetes::Objects;
use crate::manifest::FILE;
use crate::mcp::Upstream;
use crate::pack::DeclaredPack;
use crate::source::Source;
use astradesk_core::canonical::Digest;
use astradesk_core::text::shown;
use astradesk_core::{Code, Error, Result, Timestamp};
use astradesk_runtime::ToolRegistry;
use astradesk_runtime::folder::settled;
use astradesk_runtime::port::{Clock, Pack, PackStatus, Packs, Policy};
use async_trait::async_trait;
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::task::JoinSet;

/// The most packs of a folder.
pub const MAX_PACKS: usize = 256;

/// The packs of a folder.
pub struct Folder {
    dir: PathBuf,
    objects: Arc<dyn Objects>,
    registry: Arc<ToolRegistry>,
    policy: Arc<dyn Policy>,
    clock: Arc<dyn Clock>,
    /// Held by whoever looks at the folder, which may take a while.
    looking: Mutex<()>,
    /// What came of the last look.
    state: Mutex<State>,
}

#[derive(Default, Clone)]
struct State {
    packs: BTreeMap<String, Known>,
    /// Why the folder itself cannot be read.
    problem: Option<Error>,
}

/// What is known of a pack.
#[derive(Default, Clone)]
struct Known {
    in_force: Option<InForce>,
    /// The files that were tried last, and beside what.
    tried: Option<(Digest, Beside)>,
    /// Why it is not in force as it is now.
    problem: Option<Error>,
}

/// The digest of what else decides whether a pack can be put in force: the policies, and the other packs.
type Beside = Digest;

#[derive(Clone)]
struct InForce {
    pack: Arc<DeclaredPack>,
    since: Timestamp,
}

/// A pack that was not tried as it is now.
struct Anew {
    name: String,
    digest: Digest,
    pack: Result<DeclaredPack>,
}

impl Folder {
    /// The packs of `dir`. Nothing is read before [`reload`](Packs::reload).
    pub fn new(
        dir: PathBuf,
        objects: Arc<dyn Objects>,
        registry: Arc<ToolRegistry>,
        policy: Arc<dyn Policy>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { dir, objects, registry, policy, clock, looking: Mutex::default(), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the folder. Whether anything else is in force now.
    fn look(&self, state: &mut State) -> bool {
        let read = settled(|| read_all(&self.dir)).unwrap_or_else(|| {
            let text =
                format!("the folder `{}` changes again and again while it is read", self.dir.display());
            Err(Error::new(Code::PackInvalid, text))
        });
        match read {
            Ok(sources) => {
                state.problem = None;
                self.follow(state, sources)
            }
            Err(error) => {
                if state.problem.as_ref() != Some(&error) {
                    tracing::error!(problem = %error.message, "the packs cannot be read; those in force stay");
                }
                state.problem = Some(error);
                false
            }
        }
    }

    /// Puts in force what is there, and lets go of what is not.
    fn follow(&self, state: &mut State, sources: BTreeMap<String, Result<Source>>) -> bool {
        let mut changed = false;
        let gone: Vec<String> =
            state.packs.keys().filter(|name| !sources.contains_key(*name)).cloned().collect();
        for name in gone {
            changed |= self.let_go(state.packs.remove(&name), &name);
        }
        let anew = self.read_anew(state, sources);
        // Together, so that the policies are put together once; if one of them cannot be, each for itself.
        let fine: Vec<&DeclaredPack> = anew.iter().filter_map(|anew| anew.pack.as_ref().ok()).collect();
        let together = fine.len() > 1 && self.put_in_force(state, &fine).is_ok();
        for Anew { name, digest, pack } in anew {
            let put = pack.and_then(|pack| {
                if !together {
                    self.put_in_force(state, &[&pack])?;
                }
                Ok(InForce { pack: Arc::new(pack), since: self.clock.now() })
            });
            let known = state.packs.entry(name.clone()).or_default();
            known.tried = Some((digest, self.beside()));
            changed |= note(known, &name, put);
        }
        changed
    }

    /// The packs that were not tried as they are now.
    fn read_anew(&self, state: &mut State, sources: BTreeMap<String, Result<Source>>) -> Vec<Anew> {
        let mut anew = Vec::new();
        for (name, source) in sources {
            let known = state.packs.entry(name.clone()).or_default();
            match source {
                Ok(source) => {
                    let digest = source.digest();
                    let tried = known.tried.as_ref().filter(|(file, _)| *file == digest);
                    if tried.is_some_and(|(_, beside)| known.problem.is_none() || *beside == self.beside()) {
                        continue;
                    }
                    let pack = DeclaredPack::of(&name, &source, &self.objects);
                    anew.push(Anew { name, digest, pack });
                }
                Err(error) => {
                    known.tried = None;
                    note(known, &name, Err(error));
                }
            }
        }
        anew
    }

    fn let_go(&self, known: Option<Known>, name: &str) -> bool {
        if known.and_then(|known| known.in_force).is_none() {
            return false;
        }
        let removed = self.registry.replace(&[(name, None)], |specs, swap| {
            // Whatever the policies make of it, what is gone cannot be called.
            if self.policy.adopt_tools(specs, swap).is_err() {
                swap();
            }
            Ok(())
        });
        tracing::info!(pack = name, "the pack is gone");
        removed.is_ok()
    }

    fn beside(&self) -> Beside {
        Digest::of_value(&json!({"policies": self.policy.status(), "packs": self.registry.packs()}))
    }

    /// Puts packs in force, all of them or none.
    fn put_in_force(&self, state: &State, packs: &[&DeclaredPack]) -> Result<()> {
        let others = self.registry.packs();
        for pack in packs {
            let is_ours = state.packs.get(pack.name()).is_some_and(|known| known.in_force.is_some());
            if !is_ours && others.iter().any(|(name, _)| name == pack.name()) {
                let name = pack.name();
                let message =
                    format!("`{name}` is the name of a pack that is compiled in: give it another one");
                return Err(Error::new(Code::PackInvalid, message));
            }
        }
        self.check_words(packs)?;
        let changes: Vec<(&str, Option<&dyn Pack>)> =
            packs.iter().map(|pack| (pack.name(), Some(*pack as &dyn Pack))).collect();
        self.registry.replace(&changes, |specs, swap| {
            self.policy.adopt_tools(specs, swap).map_err(|error| {
                let names: Vec<&str> = changes.iter().map(|(name, _)| *name).collect();
                let names = names.join("`, `");
                let message =
                    format!("the policies cannot be put together with `{names}`: {}", error.message);
                Error::new(Code::PackInvalid, message).with_remedy(error.remedy)
            })
        })
    }

    /// A phrase that asked for two tools would ask for none.
    fn check_words(&self, packs: &[&DeclaredPack]) -> Result<()> {
        let mut asking: HashMap<String, (String, String)> = HashMap::new();
        let is_replaced = |name: &str| packs.iter().any(|pack| pack.name() == name);
        for other in self.registry.tools().iter().filter(|tool| !is_replaced(&tool.pack)) {
            for phrase in &other.spec().grammar.phrases {
                asking.insert(phrase.clone(), (other.spec().name.to_string(), other.pack.clone()));
            }
        }
        for pack in packs {
            for spec in pack.specs() {
                for phrase in &spec.grammar.phrases {
                    let own = (spec.name.to_string(), pack.name().to_owned());
                    if let Some((tool, of)) = asking.insert(phrase.clone(), own) {
                        let name = &spec.name;
                        let message = format!(
                            "the phrase `{phrase}` of tool `{name}` asks for `{tool}` of pack `{of}` already"
                        );
                        return Err(
                            Error::new(Code::PackInvalid, message).with_remedy("choose another phrase")
                        );
                    }
                }
            }
        }
        Ok(())
    }

    fn status_of(&self, name: &str, known: &Known) -> PackStatus {
        let pack = known.in_force.as_ref().map(|in_force| &*in_force.pack);
        let specs = pack.map(DeclaredPack::specs).unwrap_or_default();
        let unpermitted = specs.iter().filter(|spec| !self.policy.could_permit(spec)).map(|spec| {
            format!("no policy permits `{}` to anybody, so every call of it is denied", spec.name)
        });
        let read_about = pack.map(DeclaredPack::tools_read_about).unwrap_or_default();
        let missing =
            read_about.iter().filter(|name| self.registry.tool(name.as_str()).is_err()).map(|name| {
                format!("there is no tool `{name}`, so nobody sees what is for those who may use it")
            });
        PackStatus {
            name: name.to_owned(),
            version: pack.map(|pack| pack.version().to_owned()),
            digest: pack.map(DeclaredPack::digest),
            since: known.in_force.as_ref().map(|in_force| in_force.since),
            tools: specs.iter().map(|spec| spec.name.clone()).collect(),
            server: pack.and_then(DeclaredPack::upstream).map(|upstream| upstream.status()),
            disabled: pack.map(DeclaredPack::disabled).unwrap_or_default(),
            problem: known.problem.clone(),
            resources: pack.map(DeclaredPack::resource_uris).unwrap_or_default(),
            prompts: pack.map(DeclaredPack::prompt_names).unwrap_or_default(),
            doubts: unpermitted.chain(missing).collect(),
        }
    }
}

/// Remembers what came of a pack, and tells it when it is new. Whether something else is in force now.
fn note(known: &mut Known, name: &str, put: Result<InForce>) -> bool {
    match put {
        Ok(in_force) => {
            let (version, digest) = (in_force.pack.version(), in_force.pack.digest());
            tracing::info!(pack = name, version, %digest, "the pack is in force");
            known.in_force = Some(in_force);
            known.problem = None;
            true
        }
        Err(error) => {
            if known.problem.as_ref() != Some(&error) {
                let kept = if known.in_force.is_some() {
                    "the one before it stays in force"
                } else {
                    "it is not in force"
                };
                tracing::error!(pack = name, code = %error.code, problem = %error.message, remedy = %error.remedy,
                    "the pack cannot be put in force; {kept}");
            }
            known.problem = Some(error);
            false
        }
    }
}

#[async_trait]
impl Packs for Folder {
    fn reload(&self) -> bool {
        let _one_at_a_time = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.state().clone();
        let changed = self.look(&mut state);
        *self.state() = state;
        changed
    }

    async fn tend(&self) {
        let upstreams: Vec<Arc<Upstream>> = {
            let state = self.state();
            let in_force = state.packs.values().filter_map(|known| known.in_force.as_ref());
            in_force.filter_map(|in_force| in_force.pack.upstream().cloned()).collect()
        };
        // Side by side: one that does not answer keeps nobody waiting but itself.
        let mut tending = JoinSet::new();
        for upstream in upstreams {
            tending.spawn(async move { upstream.tend().await });
        }
        while tending.join_next().await.is_some() {}
    }

    fn status(&self) -> Vec<PackStatus> {
        let state = self.state();
        let folder = state.problem.clone().map(|problem| PackStatus {
            name: self.dir.display().to_string(),
            problem: Some(problem),
            ..PackStatus::default()
        });
        let packs = state.packs.iter().map(|(name, known)| self.status_of(name, known));
        folder.into_iter().chain(packs).collect()
    }
}

/// The files of every folder, by the folder's name.
fn read_all(dir: &Path) -> Result<BTreeMap<String, Result<Source>>> {
    let unreadable = |error: std::io::Error| {
        let text = format!("the folder of packs `{}` cannot be read: {error}", dir.display());
        Error::new(Code::PackInvalid, text)
            .with_remedy("correct `packs.folder`, or leave it empty to have no packs")
    };
    let mut sources = BTreeMap::new();
    for entry in std::fs::read_dir(dir).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if name.starts_with('.') || !path.is_dir() {
            continue;
        }
        if sources.len() == MAX_PACKS {
            let text = format!("the folder `{}` has more than {MAX_PACKS} packs", dir.display());
            return Err(Error::new(Code::PackInvalid, text));
        }
        let text = if path.join(FILE).exists() {
            Source::read(&path)
        } else {
            let text = format!("the folder `{}` has no `{FILE}`", shown(&name, 64));
            Err(Error::new(Code::PackInvalid, text).with_remedy("add it, or remove the folder"))
        };
        sources.insert(name, text);
    }
    Ok(sources)
}
