//! The cases of a pack: a call, and what it must act on, would do, or is refused with. They reach nobody.

use crate::kubernetes::{NoCluster, Objects};
use crate::manifest::section::{Fault, Section, json};
use crate::pack::DeclaredPack;
use crate::source::read_text;
use astradesk_core::text::shown;
use astradesk_core::{Arguments, Code, Error, Result, ToolName};
use astradesk_runtime::ToolRegistry;
use astradesk_runtime::port::Pack as _;
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// The name of the file.
pub const FILE: &str = "cases.toml";
/// The most cases of a pack.
const MAX_CASES: usize = 1000;

/// What came of the cases of a pack.
#[derive(Debug, Serialize)]
pub struct Tried {
    /// The pack's name.
    pub pack: String,
    /// The cases, in their order.
    pub cases: Vec<Outcome>,
    /// The tools that no case calls.
    pub untried: Vec<ToolName>,
}

/// What came of a case.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// The case's name.
    pub name: String,
    /// What is not as it should be; empty if the case has passed.
    pub faults: Vec<String>,
}

impl Tried {
    /// How many cases have failed.
    pub fn failed(&self) -> usize {
        self.cases.iter().filter(|case| !case.faults.is_empty()).count()
    }
}

struct Case {
    name: String,
    tool: String,
    arguments: Arguments,
    targets: Option<Vec<String>>,
    effect: Option<String>,
    preview: Option<Value>,
    error: Option<String>,
}

/// Checks the pack of a folder: that it can be read, and that its tools can be registered.
///
/// # Errors
/// `pack.invalid` or `tool.definition_invalid`, with what is wrong.
pub fn check(dir: &Path) -> Result<DeclaredPack> {
    let objects: Arc<dyn Objects> = Arc::new(NoCluster::new()?);
    let pack = DeclaredPack::open(dir, &objects)?;
    ToolRegistry::default().register(&pack)?;
    Ok(pack)
}

/// Tries the cases of the pack of a folder. The cluster is called `cluster` in them.
///
/// # Errors
/// The pack or its cases cannot be read.
pub fn test(dir: &Path) -> Result<Tried> {
    let pack = check(dir)?;
    let registry = ToolRegistry::default();
    registry.register(&pack)?;
    let dir = dir.canonicalize().map_err(|error| Error::new(Code::PackInvalid, error.to_string()))?;
    let cases = read(&read_text(&dir, FILE)?).map_err(|fault| {
        let error = Error::new(Code::PackInvalid, format!("`{}/{FILE}`: {}", pack.name(), fault.message));
        error.with_remedy(
            fault.remedy.unwrap_or_else(|| "correct the case; docs/packs.md has every key".to_owned()),
        )
    })?;
    let untried = pack.specs().into_iter().map(|spec| spec.name.clone());
    let untried = untried.filter(|name| !cases.iter().any(|case| case.tool == name.as_str())).collect();
    let cases = cases
        .into_iter()
        .map(|case| Outcome { faults: case.faults(&pack, &registry), name: case.name })
        .collect();
    Ok(Tried { pack: pack.name().to_owned(), cases, untried })
}

impl Case {
    fn faults(&self, pack: &DeclaredPack, registry: &ToolRegistry) -> Vec<String> {
        let looked = (|| {
            let registered = registry.tool(&self.tool)?;
            registered.check(&self.arguments)?;
            let tool = pack.tool(&registered.spec().name).ok_or_else(|| Error::internal("no such tool"))?;
            tool.look(&self.arguments).map(|(targets, preview)| (registered.effect, targets, preview))
        })();
        let (effect, targets, preview) = match (looked, &self.error) {
            (Ok(looked), None) => looked,
            (Ok(_), Some(code)) => return vec![format!("it is fine, and should be refused with `{code}`")],
            (Err(error), Some(code)) if error.code.as_str() == code => return Vec::new(),
            (Err(error), _) => {
                return vec![format!("it is refused with `{}`: {}", error.code, error.message)];
            }
        };
        let mut faults = Vec::new();
        if self.effect.as_ref().is_some_and(|expected| expected != effect.as_str()) {
            faults.push(format!("its effect is `{}`", effect.as_str()));
        }
        let targets: Vec<String> = targets.iter().map(ToString::to_string).collect();
        if self.targets.as_ref().is_some_and(|expected| *expected != targets) {
            faults.push(format!("it acts on `{}`", targets.join("`, `")));
        }
        if let Some(expected) = &self.preview {
            differences("", expected, &preview, &mut faults);
        }
        faults
    }
}

/// What is in `expected` and not in `found`.
fn differences(at: &str, expected: &Value, found: &Value, faults: &mut Vec<String>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, value) in expected {
                let at = format!("{at}/{}", key.replace('~', "~0").replace('/', "~1"));
                differences(&at, value, found.get(key).unwrap_or(&Value::Null), faults);
            }
        }
        _ if expected == found => {}
        _ => faults.push(format!(
            "its preview has `{}` at `{at}`, and should have `{}`",
            shown(&found.to_string(), 300),
            shown(&expected.to_string(), 300)
        )),
    }
}

fn read(text: &str) -> Result<Vec<Case>, Fault> {
    let plain = |message: String| Fault { message, remedy: None };
    let table: toml::Table = toml::from_str(text).map_err(|error| plain(shown(error.message(), 300)))?;
    let Value::Object(table) = json(toml::Value::Table(table)).map_err(plain)? else {
        return Err(plain("it is no table".to_owned()));
    };
    let mut file = Section::new("", table, &["cases"])?;
    let tables = match file.value("cases") {
        Some(Value::Array(tables)) if (1..=MAX_CASES).contains(&tables.len()) => tables,
        _ => return Err(file.fault_of("cases", format!("there must be 1 to {MAX_CASES}: write `[[cases]]`"))),
    };
    (1..).zip(tables).map(|(number, table)| read_one(number, table)).collect()
}

fn read_one(number: usize, table: Value) -> Result<Case, Fault> {
    let Value::Object(table) = table else {
        return Err(Fault { message: format!("case {number} is no table: write `[[cases]]`"), remedy: None });
    };
    let mut case = Section::new(format!("case {number}"), table, &["name", "tool", "arguments", "expect"])?;
    let (name, tool) = (case.text("name", 200)?, case.text("tool", 64)?);
    let arguments = case.table("arguments")?.unwrap_or_else(Map::new);
    let Some(mut expect) = case.section("expect", &["targets", "effect", "preview", "error"])? else {
        return Err(case.fault("has no `expect`: say what must be true of it"));
    };
    let targets = if expect.has("targets") { Some(expect.texts("targets")?) } else { None };
    let (effect, error) = (expect.text_if("effect")?, expect.text_if("error")?);
    if let Some(code) = error.as_deref().filter(|code| Code::parse(code).is_none()) {
        return Err(expect.fault_of("error", format!("`{}` is no error code", shown(code, 64))));
    }
    let preview = expect.table("preview")?.map(Value::Object);
    if targets.is_none() && effect.is_none() && preview.is_none() && error.is_none() {
        return Err(expect.fault("is empty: say what must be true of it"));
    }
    Ok(Case { name, tool, arguments, targets, effect, preview, error })
}
