//! Builds `kube-apiserver`, `kube-controller-manager` and `kube-scheduler` from Debian's source package.
//!
//! Once, into a cache outside the checkout. A build works in a folder of its own and is renamed into
//! place at the end, under a lock: two builds at once cost time, never a half-written binary.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use super::{packages, source};
use crate::proc;
use crate::ui::{self, Pace};

/// The version that Debian 12 has (its package is named `1.20.5+really1.20.2`).
const VERSION: &str = "v1.20.2";
/// The Go that builds it: Debian's, since that version knows no newer.
pub(super) const GO: &str = "/usr/lib/go-1.19/bin/go";
/// Which recipe built them, in a file beside them: a change of the recipe is a reason to build again.
const RECIPE: &str = "3: reflect2 1.0.2";
/// What is built.
pub(super) const BUILT: [&str; 3] = ["kube-apiserver", "kube-controller-manager", "kube-scheduler"];

/// Where the programs of a control plane are.
pub(super) struct Programs {
    folder: PathBuf,
    /// etcd is Debian's, or lies beside the others.
    pub(super) etcd: PathBuf,
}

impl Programs {
    /// The path of one of [`BUILT`].
    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }
}

/// Finds the programs, and builds and installs what is missing.
pub(super) fn ensure() -> Result<Programs> {
    if let Some(folder) = std::env::var_os("KUBEBUILDER_ASSETS").filter(|value| !value.is_empty()) {
        return given(Path::new(&folder));
    }
    let home = cache()?.join(format!("kubernetes-{VERSION}"));
    let folder = home.join("bin");
    fs::create_dir_all(&home).with_context(|| format!("cannot create `{}`", home.display()))?;
    if !is_complete(&folder) || proc::find("etcd").is_none() {
        build(&home, &folder)?;
    }
    let etcd = proc::find("etcd").context("there is no `etcd`: install Debian's etcd-server")?;
    Ok(Programs { folder, etcd })
}

/// The folder of `KUBEBUILDER_ASSETS`: taken as it is, or refused with what it lacks.
fn given(folder: &Path) -> Result<Programs> {
    let lacks = |name: &&str| !proc::is_program(&folder.join(name));
    let missing: Vec<&str> = BUILT.into_iter().chain(["etcd"]).filter(lacks).collect();
    if !missing.is_empty() {
        bail!(
            "KUBEBUILDER_ASSETS `{}` lacks {} (envtest's download brings no controllers); add them, or unset \
             it to have the control plane built",
            folder.display(),
            missing.join(", ")
        );
    }
    Ok(Programs { folder: folder.to_owned(), etcd: folder.join("etcd") })
}

/// `$XDG_CACHE_HOME/astradesk`, or `~/.cache/astradesk`.
pub(crate) fn cache() -> Result<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let base = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
    Ok(base
        .context("neither XDG_CACHE_HOME nor HOME is set: where shall the built binaries go?")?
        .join("astradesk"))
}

fn is_complete(folder: &Path) -> bool {
    BUILT.iter().all(|name| proc::is_program(&folder.join(name)))
        && fs::read_to_string(folder.join("recipe")).is_ok_and(|recipe| recipe == RECIPE)
}

fn build(home: &Path, folder: &Path) -> Result<()> {
    let lock = File::create(home.join("lock")).context("cannot create the build's lock")?;
    if lock.try_lock().is_err() {
        ui::stage("wait for another build of the control plane", Pace::Slow, || {
            lock.lock().context("cannot take the build's lock")
        })?;
    }
    let log = home.join("build.log");
    // Another build may have done it all while this one waited.
    packages::ensure(packages::ETCD, &log)?;
    if is_complete(folder) {
        return Ok(());
    }
    packages::ensure(packages::BUILD, &log)?;
    remove_leftovers(home)?;
    let work = home.join(format!("build-{}", std::process::id()));
    fs::create_dir_all(&work).with_context(|| format!("cannot create `{}`", work.display()))?;
    proc::remove_at_end(&work);
    ui::note(&format!(
        "the control plane is built once, in about 8 minutes on two cores; log: {}",
        log.display()
    ));
    let result = in_folder(&work, &log).and_then(|built| {
        if folder.exists() {
            fs::remove_dir_all(folder).context("cannot remove an incomplete build")?;
        }
        fs::rename(&built, folder).with_context(|| format!("cannot move the build to `{}`", folder.display()))
    });
    let _ = fs::remove_dir_all(&work);
    result
}

/// Removes what a killed build left. The lock is held: nobody works there.
fn remove_leftovers(home: &Path) -> Result<()> {
    for entry in fs::read_dir(home).context("cannot list the cache")?.flatten() {
        if entry.file_name().to_string_lossy().starts_with("build-") {
            fs::remove_dir_all(entry.path()).context("cannot remove a leftover build")?;
        }
    }
    Ok(())
}

/// Downloads, generates and compiles in `work`; the folder with the binaries.
fn in_folder(work: &Path, log: &Path) -> Result<PathBuf> {
    let source = work.join("gopath/src/k8s.io/kubernetes");
    ui::stage("download Kubernetes' source from Debian", Pace::Quick, || {
        source::download(work, VERSION, log)
    })?;
    fs::create_dir_all(work.join("gopath/src/k8s.io")).context("cannot create the GOPATH")?;
    symlink(work.join("src"), &source).context("cannot link the source into the GOPATH")?;
    ui::stage("generate its code (about 2 minutes)", Pace::Slow, || {
        // Its makefile makes a GOPATH of its own.
        let mut make = go_env(Command::new("make"), work);
        make.env_remove("GOPATH")
            .env("KUBE_GIT_VERSION", VERSION)
            .arg("generated_files")
            .current_dir(&source);
        proc::logged(&make, log)
    })?;
    let built = work.join("out");
    ui::stage(
        "compile kube-apiserver, kube-controller-manager, kube-scheduler (about 5 minutes)",
        Pace::Slow,
        || {
            fs::create_dir_all(&built).context("cannot create the output folder")?;
            let mut compile = go_env(Command::new(GO), work);
            compile.env("GOPATH", work.join("gopath")).current_dir(&source);
            compile
                .args(["build", "-trimpath", "-ldflags", &linker_flags(), "-o"])
                .arg(format!("{}/", built.display()));
            compile.args(BUILT.map(|name| format!("k8s.io/kubernetes/cmd/{name}")));
            proc::logged(&compile, log)
        },
    )?;
    fs::write(built.join("recipe"), RECIPE).context("cannot write the recipe")?;
    if !is_complete(&built) {
        bail!("the compiler was content and left no binaries in `{}`", built.display());
    }
    Ok(built)
}

fn go_env(mut command: Command, work: &Path) -> Command {
    let path = std::env::var("PATH").unwrap_or_default();
    let go = Path::new(GO).parent().unwrap_or(Path::new("/"));
    command
        .env("PATH", format!("{}:{path}", go.display()))
        .env("GOCACHE", work.join("gocache"))
        .env("GOTMPDIR", work)
        .envs([("GO111MODULE", "off"), ("GOFLAGS", ""), ("CGO_ENABLED", "0"), ("GOPROXY", "off")]);
    command
}

/// The version in the binaries: clients ask the API server for it.
fn linker_flags() -> String {
    let package = "k8s.io/component-base/version";
    let (major, minor) = VERSION.trim_start_matches('v').split_once('.').unwrap_or(("", ""));
    let minor = minor.split('.').next().unwrap_or_default();
    format!(
        "-s -w -X {package}.gitVersion={VERSION} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_linker_writes_the_version() {
        let flags = linker_flags();
        for part in ["gitVersion=v1.20.2", "gitMajor=1 ", "gitMinor=20"] {
            assert!(flags.contains(part), "{flags}");
        }
    }
}
