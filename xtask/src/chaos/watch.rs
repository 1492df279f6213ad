//! An independent watch of the workloads, kept during the whole time: raw lines of the API, in files.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::history::History;
use super::place::{RESOURCES, collection};
use crate::api::Api;
use crate::proc::{self, Life};

/// After so many seconds a watch ends and is resumed: what is seldom needed would else never be tried.
const LASTS: u32 = 45;
/// How long the watch may take to show the state at the end.
const CATCH_UP: Duration = Duration::from_secs(20);

/// The watches of all resources.
pub(super) struct Watch<'a> {
    api: &'a Api,
    folder: PathBuf,
    parts: Vec<Part>,
    history: History,
}

/// The watch of one resource.
struct Part {
    resource: &'static str,
    /// What curl writes.
    file: PathBuf,
    /// How many files there were.
    files: usize,
    /// How much of the file was read.
    read: u64,
    /// The last version that was read.
    version: String,
    /// That version is too old: everything must be listed again.
    expired: bool,
    child: Option<Child>,
}

impl<'a> Watch<'a> {
    /// Lists everything and watches from there.
    pub(super) fn start(api: &'a Api, folder: &Path) -> Result<Self> {
        let mut watch =
            Self { api, folder: folder.to_owned(), parts: Vec::new(), history: History::default() };
        for resource in RESOURCES {
            let mut part = Part {
                resource,
                file: PathBuf::new(),
                files: 0,
                read: 0,
                version: String::new(),
                expired: true,
                child: None,
            };
            watch.tend_part(&mut part)?;
            watch.parts.push(part);
        }
        Ok(watch)
    }

    /// Reads what was written, and resumes the watches that have ended. Only the main thread may call it:
    /// see [`proc`].
    pub(super) fn tend(&mut self) -> Result<()> {
        let mut parts = std::mem::take(&mut self.parts);
        let result = parts.iter_mut().try_for_each(|part| self.tend_part(part));
        self.parts = parts;
        result
    }

    fn tend_part(&mut self, part: &mut Part) -> Result<()> {
        let alive = match &mut part.child {
            Some(child) => proc::ended(child)?.is_none(),
            None => false,
        };
        if part.child.is_some() {
            part.read(&mut self.history)?;
        }
        if alive {
            return Ok(());
        }
        if std::mem::take(&mut part.expired) {
            let list = json!({"type": "LIST", "object": self.api.get(&collection(part.resource))?});
            let file = part.next_file(&self.folder);
            fs::write(&file, format!("{list}\n"))
                .with_context(|| format!("cannot write `{}`", file.display()))?;
            part.read(&mut self.history)?;
        }
        let path = format!(
            "{}?watch=1&timeoutSeconds={LASTS}&resourceVersion={}",
            collection(part.resource),
            part.version
        );
        let mut curl = self.api.curl(&path);
        curl.arg("--no-buffer");
        let file = part.next_file(&self.folder);
        part.child = Some(proc::background(&curl, &file, Life::Bound)?);
        Ok(())
    }

    /// Waits until the watches have shown everything that is there now, and ends them; whether they have.
    pub(super) fn finish(mut self) -> Result<(History, bool)> {
        let mut now = Vec::new();
        for resource in RESOURCES {
            now.push((resource, self.api.get(&collection(resource))?));
        }
        let deadline = Instant::now() + CATCH_UP;
        let shown = loop {
            self.tend()?;
            let shown = now.iter().all(|(resource, list)| self.history.has_shown(resource, list));
            if shown || Instant::now() > deadline {
                break shown;
            }
            std::thread::sleep(proc::POLL);
        };
        for child in self.parts.iter_mut().filter_map(|part| part.child.as_mut()) {
            proc::kill(child)?;
        }
        Ok((self.history, shown))
    }
}

impl Part {
    fn next_file(&mut self, folder: &Path) -> PathBuf {
        self.files += 1;
        self.read = 0;
        self.file = folder.join(format!("watch-{}-{:03}.jsonl", self.resource, self.files));
        self.file.clone()
    }

    /// Takes in the complete lines that were written since the last time.
    fn read(&mut self, history: &mut History) -> Result<()> {
        let cannot = || format!("cannot read `{}`", self.file.display());
        let mut file = File::open(&self.file).with_context(cannot)?;
        file.seek(SeekFrom::Start(self.read)).with_context(cannot)?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).with_context(cannot)?;
        let Some(end) = bytes.iter().rposition(|byte| *byte == b'\n') else { return Ok(()) };
        self.read += end as u64 + 1;
        bytes.truncate(end);
        for line in bytes.split(|byte| *byte == b'\n') {
            let line: Value = serde_json::from_slice(line).with_context(|| {
                format!("`{}` has `{}`", self.file.display(), String::from_utf8_lossy(line))
            })?;
            match line.pointer("/object/metadata/resourceVersion").and_then(Value::as_str) {
                _ if line["type"] == "ERROR" => self.expired = true,
                Some(version) => version.clone_into(&mut self.version),
                None => bail!("`{}` has a line without a version: {line}", self.file.display()),
            }
            history.take(self.resource, &line);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_read_once_and_when_it_is_complete() {
        let file = std::env::temp_dir().join(format!("xtask-chaos-watch-{}", std::process::id()));
        let mut part = Part {
            resource: "deployments",
            file: file.clone(),
            files: 1,
            read: 0,
            version: String::new(),
            expired: false,
            child: None,
        };
        let event = |version: &str| {
            let metadata = json!({"name": "a", "generation": 1, "resourceVersion": version});
            json!({"type": "ADDED", "object": {"metadata": metadata}}).to_string()
        };
        let (first, second) = (event("7"), event("8"));
        let (head, rest) = second.split_at(9);
        let mut history = History::default();
        let mut step = |text: String| {
            fs::write(&file, text).unwrap();
            part.read(&mut history).unwrap();
            (part.version.clone(), part.expired)
        };
        assert_eq!(step(format!("{first}\n{head}")), ("7".to_owned(), false));
        assert_eq!(step(format!("{first}\n{head}{rest}\n")), ("8".to_owned(), false));
        let error = json!({"type": "ERROR", "object": {"code": 410}});
        assert_eq!(step(format!("{first}\n{second}\n{error}\n")), ("8".to_owned(), true));
        fs::remove_file(&file).unwrap();
    }
}
