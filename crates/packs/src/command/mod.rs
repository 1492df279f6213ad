//! Tools that run a program: a list of arguments, never a shell.

#[cfg(test)]
mod tests;

use crate::declared::{Filling, unclear, unrepeatable};
use crate::expectation::{self, Expectation};
use crate::manifest::section::{Fault, Section};
use crate::manifest::{code, template};
use crate::parameters::Parameters;
use crate::secret::Secrets;
use crate::template::{Place, Template, Values, unfit};
use astradesk_core::text::shown;
use astradesk_core::{Code, Effect, Error, Result};
use astradesk_runtime::port;
use astradesk_runtime::process::{Ended, Program, run};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tokio::sync::Semaphore;
use tokio::time::timeout_at;

const KEYS: &[&str] = &[
    "argv",
    "env",
    "directory",
    "stdin",
    "stdout",
    "success",
    "exit_codes",
    "expect",
    "max_output_bytes",
    "idempotent",
];
/// The size of what a program prints, in bytes: unless the tool says so, and at most.
const OUTPUT: (u64, u64) = (256 << 10, 4 << 20);
/// The most arguments.
const MAX_ARGV: usize = 64;
/// The programs of one tool that run at the same time.
const AT_ONCE: usize = 16;
/// The most lines of what a program said last that an error shows, and the most characters of each.
const LINES: usize = 20;
const LINE: usize = 400;

/// A tool that runs a program.
pub(crate) struct Command {
    argv: Vec<Template>,
    env: Vec<(String, Template)>,
    directory: PathBuf,
    stdin: Option<Template>,
    is_json: bool,
    success: Vec<i32>,
    exit_codes: BTreeMap<i32, Code>,
    expect: Option<Expectation>,
    max_output: usize,
    idempotent: bool,
    turns: Semaphore,
}

impl Command {
    pub(crate) fn read(tool: &mut Section, parameters: &Parameters) -> Result<Self, Fault> {
        let Some(mut command) = tool.section("command", KEYS)? else {
            return Err(tool.fault("has no table `command`"));
        };
        let directory = directory(&mut command)?;
        let stdin = command.text_if("stdin")?;
        let stdin =
            stdin.map(|text| template(&command, "stdin", &text, parameters, Place::Secret)).transpose()?;
        let is_json = match command.text_if("stdout")?.as_deref() {
            None | Some("text") => false,
            Some("json") => true,
            Some(_) => return Err(command.fault_of("stdout", "it must be `text` or `json`")),
        };
        let expect = match command.section("expect", expectation::KEYS)? {
            Some(_) if !is_json => return Err(command.fault_of("expect", "it needs `stdout = \"json\"`")),
            Some(mut section) => Some(Expectation::read(&mut section, parameters)?),
            None => None,
        };
        let success = success(&mut command)?;
        let exit_codes = exit_codes(&mut command, &success)?;
        Ok(Self {
            argv: argv(&mut command, parameters)?,
            env: env(&mut command, parameters, Place::Secret)?,
            directory,
            stdin,
            is_json,
            success,
            exit_codes,
            expect,
            max_output: command.number("max_output_bytes", OUTPUT.0, 1..=OUTPUT.1)? as usize,
            idempotent: command.flag("idempotent")?,
            turns: Semaphore::new(AT_ONCE),
        })
    }

    /// What would be run.
    pub(crate) fn preview(&self, values: &mut Values<'_>) -> Result<Value> {
        let program = self.program(values)?;
        let env: serde_json::Map<String, Value> =
            program.env.into_iter().map(|(name, value)| (name, value.into())).collect();
        let mut shown = json!({"argv": program.argv, "env": env, "directory": self.directory});
        if let (Some(stdin), Some(fields)) = (program.stdin, shown.as_object_mut()) {
            fields.insert("stdin".to_owned(), stdin.into());
        }
        Ok(shown)
    }

    fn program(&self, values: &mut Values<'_>) -> Result<Program> {
        let mut argv = Vec::with_capacity(self.argv.len());
        let mut options_are_over = false;
        for template in &self.argv {
            let argument = template.fill(values, without_nul)?;
            if template.prefix().is_empty() && argument.starts_with('-') && !options_are_over {
                return Err(unfit(format!(
                    "the argument `{}` would begin with `-` and be taken for an option",
                    shown(&argument, 80)
                )));
            }
            options_are_over |= template.is_fixed() && argument == "--";
            argv.push(argument);
        }
        let mut env = Vec::with_capacity(self.env.len());
        for (name, template) in &self.env {
            env.push((name.clone(), template.fill(values, without_nul)?));
        }
        let stdin = self.stdin.as_ref().map(|template| template.fill_plain(values)).transpose()?;
        Ok(Program { argv, env, stdin, directory: self.directory.clone(), max_output: self.max_output })
    }

    pub(crate) async fn perform(&self, filling: &Filling<'_>) -> Result<Value, port::Fault> {
        let step = filling.step;
        if step.repeated && filling.effect != Effect::Read && !self.idempotent {
            let remedy = "look whether it was done; its pack can say `idempotent = true` if running it again does no harm";
            return Err(unrepeatable(step, remedy));
        }
        let mut secrets = Secrets::default();
        let program = self.program(&mut filling.values(&mut secrets))?;
        let Ok(Ok(_turn)) = timeout_at(step.deadline, self.turns.acquire()).await else {
            let message =
                format!("{AT_ONCE} programs of `{}` were running until its time was over", step.call.tool);
            return Err(port::Fault::Failed(Error::new(Code::ToolTimedOut, message)));
        };
        let path = program.argv.first().cloned().unwrap_or_default();
        let ended = run(program, step.deadline).await.map_err(|error| {
            let message = format!("`{path}` cannot be started: {error}");
            port::Fault::Failed(Error::new(Code::UpstreamUnreachable, message))
        })?;
        self.receipt(filling, &path, &ended, &secrets)
    }

    fn receipt(
        &self,
        filling: &Filling<'_>,
        path: &str,
        ended: &Ended,
        secrets: &Secrets,
    ) -> Result<Value, port::Fault> {
        let name = Path::new(path).file_name().map_or_else(|| path.into(), |name| name.to_string_lossy());
        let said = secrets.hide(&ended.said());
        let Some(code) = ended.code else {
            let (code, how) = if ended.timed_out {
                (Code::ToolTimedOut, "did not end in time and was killed, with all that it had started")
            } else {
                (Code::UpstreamFailed, "was killed by a signal")
            };
            return Err(failed(filling, code, &format!("`{name}` {how}"), &said));
        };
        if let Some(known) = self.exit_codes.get(&code) {
            let error = Error::new(*known, format!("`{name}` ended with the exit code {code}"));
            return Err(port::Fault::Failed(with_output(error, &said)));
        }
        if !self.success.contains(&code) {
            let why = format!("`{name}` ended with the exit code {code}");
            return Err(failed(filling, Code::UpstreamFailed, &why, &said));
        }
        let out = secrets.hide(&String::from_utf8_lossy(&ended.stdout));
        let receipt = json!({"exit_code": code});
        match self.output(&name, out, ended.cut) {
            Ok(output) => {
                let receipt = json!({"exit_code": code, "output": output});
                let Some(expect) = &self.expect else { return Ok(receipt) };
                let expected = expect.with(&mut filling.preview_values())?;
                if expected.is_met(&output) {
                    return Ok(receipt);
                }
                let message = format!("`{name}` printed {}", expected.instead(&output));
                filling.unmet(receipt, Error::new(Code::UpstreamNotVerified, message))
            }
            Err(why) if self.expect.is_some() || filling.effect == Effect::Read => {
                filling.unmet(receipt, with_output(Error::new(Code::UpstreamAnswerInvalid, why), &said))
            }
            Err(why) => Ok(json!({"exit_code": code, "output": null, "note": why})),
        }
    }

    fn output(&self, name: &str, out: String, cut: bool) -> Result<Value, String> {
        if !self.is_json {
            return Ok(if cut { json!(format!("{out}…")) } else { out.into() });
        }
        if cut {
            return Err(format!("`{name}` printed more than {} bytes", self.max_output));
        }
        serde_json::from_str(&out).map_err(|_| format!("`{name}` did not print JSON"))
    }
}

/// What may have been done before it went wrong is not known, unless it only reads.
fn failed(filling: &Filling<'_>, code: Code, why: &str, said: &str) -> port::Fault {
    if filling.effect == Effect::Read {
        return port::Fault::Failed(with_output(Error::new(code, why), said));
    }
    match unclear(filling.step, why) {
        port::Fault::Unknown(error) => port::Fault::Unknown(with_output(error, said)),
        fault => fault,
    }
}

fn with_output(error: Error, said: &str) -> Error {
    let lines: Vec<String> = said.trim().lines().map(|line| shown(line, LINE)).collect();
    let last = lines.get(lines.len().saturating_sub(LINES)..).unwrap_or_default();
    if last.is_empty() { error } else { error.with_detail("output", last.to_vec()) }
}

fn without_nul(value: &str) -> Result<String> {
    if value.contains('\0') { Err(unfit("has a NUL character")) } else { Ok(value.to_owned()) }
}

pub(crate) fn directory(command: &mut Section) -> Result<PathBuf, Fault> {
    let directory = PathBuf::from(command.text_if("directory")?.unwrap_or_else(|| "/".to_owned()));
    if directory.is_absolute() {
        Ok(directory)
    } else {
        Err(command.fault_of("directory", "it must be an absolute path"))
    }
}

pub(crate) fn argv(command: &mut Section, parameters: &Parameters) -> Result<Vec<Template>, Fault> {
    let texts = command.texts("argv")?;
    if texts.is_empty() || texts.len() > MAX_ARGV {
        return Err(
            command.fault_of("argv", format!("there are {}, and there must be 1 to {MAX_ARGV}", texts.len()))
        );
    }
    let read = |text: &String| template(command, "argv", text, parameters, Place::Plain);
    let argv = texts.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    if !argv.first().is_some_and(|program| program.is_fixed() && program.prefix().starts_with('/')) {
        return Err(command
            .fault_of("argv", "it must begin with the absolute path of the program, without arguments"));
    }
    let is_dashes = |one: &&Template| {
        !one.is_fixed() && !one.prefix().is_empty() && one.prefix().chars().all(|c| c == '-')
    };
    if argv.iter().any(|one| is_dashes(&one)) {
        return Err(command.fault_of("argv", "an argument would name an option: write the option out"));
    }
    Ok(argv)
}

pub(crate) fn env(
    command: &mut Section,
    parameters: &Parameters,
    place: Place,
) -> Result<Vec<(String, Template)>, Fault> {
    let texts = command.table_of_texts("env")?;
    let read = |(name, text): (String, String)| {
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if name.is_empty() || !name.bytes().all(plain) || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(command.fault_of("env", format!("`{}` is no name of a variable", shown(&name, 64))));
        }
        Ok((name, template(command, "env", &text, parameters, place)?))
    };
    texts.into_iter().map(read).collect()
}

fn success(command: &mut Section) -> Result<Vec<i32>, Fault> {
    let Some(value) = command.value("success") else { return Ok(vec![0]) };
    let codes: Option<Vec<i32>> = value.as_array().filter(|all| !all.is_empty()).and_then(|all| {
        all.iter()
            .map(|code| code.as_i64().filter(|code| (0..256).contains(code)).map(|code| code as i32))
            .collect()
    });
    codes.ok_or_else(|| command.fault_of("success", "it must be a list of exit codes from 0 to 255"))
}

fn exit_codes(command: &mut Section, success: &[i32]) -> Result<BTreeMap<i32, Code>, Fault> {
    let mut read = BTreeMap::new();
    for (number, text) in command.table_of_texts("exit_codes")? {
        let known =
            number.parse::<i32>().ok().filter(|code| (0..256).contains(code) && !success.contains(code));
        let known = known.ok_or_else(|| {
            let why =
                format!("`{}` must be an exit code from 0 to 255 that is no success", shown(&number, 16));
            command.fault_of("exit_codes", why)
        })?;
        read.insert(known, code(command, "exit_codes", &text)?);
    }
    Ok(read)
}
