//! The same rules in Rego, evaluated by regorus.

use anyhow::{Result, anyhow};
use regorus::languages::rego::compiler::Compiler;
use regorus::rvm::RegoVM;
use regorus::{Engine, Value};
use std::collections::BTreeSet;

const DECISION: &str = "data.astradesk.decision";

/// Policies, ready to be asked, in whichever of regorus's two ways to evaluate takes them: its virtual machine is
/// the faster one, and has a limit on the size of what it runs.
pub(crate) enum Rego {
    Interpreted(Box<Engine>),
    Compiled(Box<RegoVM>),
}

impl Rego {
    /// Reads modules and data, and evaluates `first` once: only then is everything prepared.
    pub(crate) fn load(modules: Vec<String>, data: &serde_json::Value, first: &Value) -> Result<Self> {
        let mut engine = Engine::new();
        for (number, module) in modules.into_iter().enumerate() {
            engine.add_policy(format!("{number}.rego"), module)?;
        }
        let data = Value::from(data.clone());
        engine.add_data(data.clone())?;
        let compiled = engine.compile_with_entrypoint(&DECISION.into())?;
        let mut rego = match Compiler::compile_from_policy(&compiled, &[DECISION]) {
            Ok(program) => {
                let mut machine = RegoVM::new_with_policy(compiled);
                machine.set_max_instructions(usize::MAX);
                machine.load_program(program);
                machine.set_data(data).map_err(|error| anyhow!("{error}"))?;
                Self::Compiled(Box::new(machine))
            }
            Err(_) => Self::Interpreted(Box::new(engine)),
        };
        rego.evaluate(first)?;
        Ok(rego)
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Interpreted(_) => "interpreter",
            Self::Compiled(_) => "virtual machine",
        }
    }

    /// The whole decision, as Rego gives it.
    pub(crate) fn evaluate(&mut self, input: &Value) -> Result<Value> {
        match self {
            Self::Interpreted(engine) => {
                engine.set_input(input.clone());
                engine.eval_rule(DECISION.to_owned())
            }
            Self::Compiled(machine) => {
                machine.set_input(input.clone());
                machine.execute().map_err(|error| anyhow!("{error}"))
            }
        }
    }
}

/// Whether it permits, and the policies that say so, or that forbid it.
pub(crate) fn decision(value: &Value) -> Result<(bool, BTreeSet<String>)> {
    let set = |name: &str| -> Result<BTreeSet<String>> {
        let set = value[name].as_set()?.iter();
        set.map(|id| Ok(id.as_string()?.to_string())).collect()
    };
    let (permits, forbids) = (set("permits")?, set("forbids")?);
    Ok(if forbids.is_empty() { (!permits.is_empty(), permits) } else { (false, forbids) })
}
