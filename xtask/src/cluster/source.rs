//! Kubernetes' source, as Debian ships it, and made fit for Debian's Go.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::proc;

/// A line of a vendored package that must be changed: file, what is there, what shall be there.
type Change = (&'static str, &'static str, &'static str);

/// The vendored reflect2 1.0.1 calls into the runtime as Go did before 1.18; with a later Go every map that
/// the API server writes as indented JSON crashes it. These are the lines that reflect2 1.0.2 changed.
const REFLECT2: [Change; 3] = [
    (
        "unsafe_link.go",
        "func mapiterinit(rtype unsafe.Pointer, m unsafe.Pointer) *hiter",
        "func mapiterinit(rtype unsafe.Pointer, m unsafe.Pointer, it *hiter)",
    ),
    (
        "unsafe_link.go",
        "\t// rest fields are ignored\n",
        "\tt, h, buckets, bptr unsafe.Pointer
\toverflow, oldoverflow *[]unsafe.Pointer
\tstartBucket uintptr
\toffset uint8
\twrapped bool
\tB, i uint8
\tbucket, checkBucket uintptr
",
    ),
    (
        "unsafe_map.go",
        "\treturn &UnsafeMapIterator{\n\t\thiter:      mapiterinit(type2.rtype, *(*unsafe.Pointer)(obj)),\n",
        "\tvar it hiter
\tmapiterinit(type2.rtype, *(*unsafe.Pointer)(obj), &it)
\treturn &UnsafeMapIterator{
\t\thiter: &it,
",
    ),
];

/// Applies [`REFLECT2`] to the source.
fn repair(source: &Path) -> Result<()> {
    let folder = source.join("vendor/github.com/modern-go/reflect2");
    for (file, from, to) in REFLECT2 {
        let path = folder.join(file);
        let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
        let changed = replace_once(&text, from, to).with_context(|| {
            format!("`{}` is not as expected: has Debian changed its source?", path.display())
        })?;
        fs::write(&path, changed).with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    Ok(())
}

/// `text` with its only `from` replaced; `None` when there is none, or another.
fn replace_once(text: &str, from: &str, to: &str) -> Option<String> {
    let (before, after) = text.split_once(from)?;
    (!after.contains(from)).then(|| format!("{before}{to}{after}"))
}

/// Downloads and unpacks Debian's source package into `work/src`, with the system's own apt configuration
/// left as it is: the source lists are derived from it in `work`.
pub(super) fn download(work: &Path, version: &str, log: &Path) -> Result<()> {
    for folder in ["parts", "lists/partial", "cache/archives/partial"] {
        fs::create_dir_all(work.join("apt").join(folder)).context("cannot create apt's folders")?;
    }
    let parts = work.join("apt/parts");
    let mut found = false;
    for (name, list) in system_lists() {
        let list = if name.ends_with(".sources") { source_stanzas(&list) } else { source_lines(&list) };
        if !list.is_empty() {
            fs::write(parts.join(name), list).context("cannot write a source list")?;
            found = true;
        }
    }
    if !found {
        bail!(
            "apt has no Debian archive configured to take the source from; use Debian 12, or set KUBEBUILDER_ASSETS"
        );
    }
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.current_dir(work).env("DEBIAN_FRONTEND", "noninteractive");
        command.arg("-oDir::Etc::sourcelist=/dev/null");
        command.arg(format!("-oDir::Etc::sourceparts={}", parts.display()));
        command.arg(format!("-oDir::State::lists={}", work.join("apt/lists").display()));
        command.arg(format!("-oDir::Cache={}", work.join("apt/cache").display()));
        // The files lie in this user's folder, where apt's own user may not read.
        command.arg("-oAPT::Sandbox::User=root").args(arguments);
        proc::logged(&command, log)
    };
    apt(&["update", "-qq"])?;
    apt(&["source", "-qq", "--download-only", "kubernetes"])?;
    let description = fs::read_dir(work)
        .context("cannot list the download")?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "dsc"))
        .context("apt downloaded no source package")?;
    if !description.to_string_lossy().contains(version.trim_start_matches('v')) {
        bail!(
            "apt brought `{}`, and {version} is needed: Debian 12 has it; elsewhere set KUBEBUILDER_ASSETS",
            description.file_name().unwrap_or_default().to_string_lossy()
        );
    }
    let mut unpack = Command::new("dpkg-source");
    unpack.arg("-x").arg(description).arg(work.join("src")).current_dir(work);
    proc::logged(&unpack, log)?;
    repair(&work.join("src"))
}

/// Name and text of every list that apt reads here.
fn system_lists() -> Vec<(String, String)> {
    let parts =
        fs::read_dir("/etc/apt/sources.list.d").into_iter().flatten().flatten().map(|entry| entry.path());
    parts
        .chain([PathBuf::from("/etc/apt/sources.list")])
        .filter(|path| {
            path.extension().is_some_and(|extension| extension == "sources" || extension == "list")
        })
        .filter_map(|path| {
            Some((path.file_name()?.to_string_lossy().into_owned(), fs::read_to_string(&path).ok()?))
        })
        .collect()
}

/// The Debian archives of a deb822 list (sources.list(5)), asking for sources.
fn source_stanzas(list: &str) -> String {
    let stanzas = list.split("\n\n").filter(|stanza| {
        let field = |name: &str| stanza.lines().find(|line| line.to_ascii_lowercase().starts_with(name));
        field("uris:").is_some_and(|uris| uris.contains("/debian")) && field("types:").is_some()
    });
    let to_sources = |line: &str| {
        if line.to_ascii_lowercase().starts_with("types:") {
            "Types: deb-src".to_owned()
        } else {
            line.to_owned()
        }
    };
    stanzas.map(|stanza| stanza.lines().map(to_sources).collect::<Vec<_>>().join("\n") + "\n\n").collect()
}

/// The Debian archives of a one-line list, asking for sources.
fn source_lines(list: &str) -> String {
    list.lines()
        .filter_map(|line| line.trim().strip_prefix("deb "))
        .filter(|rest| rest.contains("/debian"))
        .fold(String::new(), |sources, rest| sources + "deb-src " + rest + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deb822_lists_ask_for_sources_of_debian_only() {
        let list = "Types: deb\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm\n\n\
                    Types: deb\nURIs: https://example.org/other\nSuites: x\n";
        assert_eq!(
            source_stanzas(list),
            "Types: deb-src\n# a comment\nURIs: http://mirror.example/debian\nSuites: bookworm\n\n"
        );
    }

    #[test]
    fn one_line_lists_ask_for_sources_of_debian_only() {
        let list = "# deb http://mirror.example/debian old main\n\
                    deb [signed-by=/k] http://mirror.example/debian bookworm main\n\
                    deb-src http://mirror.example/debian bookworm main\ndeb https://example.org/other x y\n";
        assert_eq!(source_lines(list), "deb-src [signed-by=/k] http://mirror.example/debian bookworm main\n");
    }

    #[test]
    fn only_what_is_there_once_is_replaced() {
        assert_eq!(replace_once("a b c", "b", "x").as_deref(), Some("a x c"));
        assert_eq!(replace_once("a c", "b", "x"), None);
        assert_eq!(replace_once("b b", "b", "x"), None);
    }
}
