//! Starts etcd, the API server, the controllers, the scheduler and the stand-in kubelet.
#![expect(clippy::indexing_slicing, reason = "a `serde_json::Value` that lacks a key yields null")]

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use serde_json::Value;

use super::build::{self, Programs};
use super::{client, packages, pids};
use crate::cargo;
use crate::proc::{self, Life};
use crate::ui::{self, Pace};

/// How long the whole may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// The controllers that run: those of the workloads, and what the tests look at.
///
/// Not among them is node lifecycle, which would taint the only node when the machine is busy.
const CONTROLLERS: &str = "deployment,replicaset,statefulset,daemonset,namespace,garbagecollector,disruption,\
                           resourcequota,serviceaccount,horizontalpodautoscaling";
/// What a start writes into its folder, and the next start removes.
const WRITTEN: [&str; 4] = ["etcd", "certs", "kubeconfig", "kubeconfig-astradesk"];

/// The programs of a control plane, built and found.
pub(crate) struct Ready {
    programs: Programs,
    kubelet: PathBuf,
}

/// Builds and installs what is missing.
pub(crate) fn prepare() -> Result<Ready> {
    let programs = build::ensure()?;
    packages::ensure(packages::START, &build::cache()?.join("apt.log"))?;
    let kubelet =
        ui::stage("build the stand-in kubelet", Pace::Slow, || cargo::binary("astradesk-test-kubelet"))?;
    Ok(Ready { programs, kubelet })
}

/// Starts the control plane in `dir`; the path of the administrator's kubeconfig.
///
/// Without a `port` it takes free ones, and others when somebody was quicker.
pub(crate) fn start(ready: &Ready, dir: &Path, port: Option<u16>, life: Life) -> Result<PathBuf> {
    create_private(dir)?;
    let dir = dir.canonicalize().with_context(|| format!("cannot find `{}`", dir.display()))?;
    if pids::running(&dir) {
        bail!(
            "a control plane runs in `{0}`; stop it with `cargo xtask cluster stop --dir {0}`",
            dir.display()
        );
    }
    ui::stage("start the control plane", Pace::Quick, || {
        for attempt in 1.. {
            let ports = Ports::choose(port)?;
            let start = Start { ready, dir: &dir, ports, life, children: Vec::new() };
            match start.run() {
                Err(error) if port.is_none() && attempt < 3 && is_taken(&error) => {}
                result => return result,
            }
        }
        bail!("no free ports")
    })
}

fn is_taken(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("address already in use")
}

/// The three ports, all on loopback.
#[derive(Clone, Copy)]
struct Ports {
    api: u16,
    etcd: u16,
    /// etcd insists on a port for its peers; there are none.
    peers: u16,
}

impl Ports {
    fn choose(port: Option<u16>) -> Result<Self> {
        if let Some(api) = port {
            let last =
                api.checked_add(2).with_context(|| format!("port `{api}` leaves no room for etcd's two"))?;
            for port in api..=last {
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| {
                    format!("port {port} is taken; choose another with --port, or 0 for free ones")
                })?;
            }
            return Ok(Self { api, etcd: api + 1, peers: last });
        }
        // Held together, so that they differ.
        let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("there is no free port");
        let (api, etcd, peers) = (free()?, free()?, free()?);
        let number = |listener: &TcpListener| Ok::<_, std::io::Error>(listener.local_addr()?.port());
        Ok(Self { api: number(&api)?, etcd: number(&etcd)?, peers: number(&peers)? })
    }
}

/// One attempt.
struct Start<'a> {
    ready: &'a Ready,
    dir: &'a Path,
    ports: Ports,
    life: Life,
    children: Vec<(&'static str, Child)>,
}

impl Start<'_> {
    fn run(mut self) -> Result<PathBuf> {
        let result = self.bring_up();
        if result.is_err() {
            let recorded: Vec<_> = self.children.iter().map(|(_, child)| (child.id() as i32, true)).collect();
            proc::end_all(&recorded);
        }
        for (_, child) in &mut self.children {
            // Reaps those that ended, so that no zombie of a failed attempt stays.
            let _ = child.try_wait();
        }
        result
    }

    fn bring_up(&mut self) -> Result<PathBuf> {
        let deadline = Instant::now() + READY_WITHIN;
        let tokens = self.write_credentials()?;
        let server = format!("https://127.0.0.1:{}", self.ports.api);
        self.launch("etcd", &self.etcd())?;
        self.launch("kube-apiserver", &self.api_server())?;
        self.until(deadline, "the API server is ready", || client::is_ready(&server))?;
        let admin = self.write_kubeconfig("kubeconfig", "admin", &server, &tokens.admin)?;
        self.write_kubeconfig("kubeconfig-astradesk", "astradesk", &server, &tokens.astradesk)?;
        let version = self.version()?;
        self.launch("kube-controller-manager", &self.controllers(&admin, version))?;
        self.launch("kube-scheduler", &self.scheduler(&admin, version))?;
        self.launch("kubelet", &self.kubelet(&admin))?;
        let api = client::Client::new(&server, self.dir.join("certs"));
        self.until(deadline, "the node is ready", || {
            api.get("/api/v1/nodes").is_some_and(|nodes| has_ready_node(&nodes))
        })?;
        // Its controller made it: so the controllers run.
        self.until(deadline, "the controllers work", || {
            api.get("/api/v1/namespaces/default/serviceaccounts/default").is_some()
        })?;
        Ok(admin)
    }

    /// Tokens, the key that signs service accounts' tokens, and nothing of a former run.
    fn write_credentials(&self) -> Result<Tokens> {
        for name in WRITTEN {
            let path = self.dir.join(name);
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if let Err(error) = removed
                && path.exists()
            {
                return Err(error).with_context(|| format!("cannot remove `{}`", path.display()));
            }
        }
        let certs = self.dir.join("certs");
        create_private(&certs)?;
        let mut key = Command::new("openssl");
        key.args(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out"]).arg(certs.join("sa.key"));
        proc::output(&mut key)?;
        let tokens = Tokens { admin: random_token()?, astradesk: random_token()? };
        let table = format!(
            "{},admin,admin,\"system:masters\"\n{},astradesk,astradesk,\"\"\n",
            tokens.admin, tokens.astradesk
        );
        write_private(&certs.join("tokens.csv"), &table)?;
        // curl reads the header from here, since arguments are seen by everybody.
        write_private(&certs.join(client::HEADER), &format!("Authorization: Bearer {}\n", tokens.admin))?;
        Ok(tokens)
    }

    fn write_kubeconfig(&self, file: &str, user: &str, server: &str, token: &str) -> Result<PathBuf> {
        let path = self.dir.join(file);
        let authority = self.dir.join("certs/apiserver.crt");
        write_private(&path, &kubeconfig(user, server, &authority.to_string_lossy(), token))?;
        Ok(path)
    }

    fn etcd(&self) -> Command {
        let client = format!("http://127.0.0.1:{}", self.ports.etcd);
        let peers = format!("http://127.0.0.1:{}", self.ports.peers);
        let mut command = Command::new(&self.ready.programs.etcd);
        command.arg("--data-dir").arg(self.dir.join("etcd"));
        command.args(["--listen-client-urls", &client, "--advertise-client-urls", &client]);
        command.args(["--listen-peer-urls", &peers, "--initial-advertise-peer-urls", &peers]);
        command.args(["--initial-cluster", &format!("default={peers}")]);
        // The data dies with the test: waiting for the disk would only slow it.
        command.arg("--unsafe-no-fsync");
        command
    }

    fn api_server(&self) -> Command {
        let certs = self.dir.join("certs");
        let mut command = Command::new(self.ready.programs.path("kube-apiserver"));
        command.arg(format!("--etcd-servers=http://127.0.0.1:{}", self.ports.etcd));
        command.arg(format!("--secure-port={}", self.ports.api));
        command.arg(format!("--cert-dir={}", certs.display()));
        command.arg(format!("--service-account-key-file={}", certs.join("sa.key").display()));
        command.arg(format!("--service-account-signing-key-file={}", certs.join("sa.key").display()));
        command.arg(format!("--token-auth-file={}", certs.join("tokens.csv").display()));
        command.args([
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",
            "--endpoint-reconciler-type=none",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            // A pod would have to wait for its namespace's service account, and mount a token that nobody reads.
            "--disable-admission-plugins=ServiceAccount",
            "--kubelet-preferred-address-types=InternalIP",
            "--max-requests-inflight=2000",
            "--max-mutating-requests-inflight=1000",
        ]);
        command
    }

    fn controllers(&self, kubeconfig: &Path, version: Version) -> Command {
        let mut command = self.client_of("kube-controller-manager", kubeconfig, version);
        command.arg(format!("--controllers={CONTROLLERS}"));
        command
            .arg(format!("--service-account-private-key-file={}", self.dir.join("certs/sa.key").display()));
        command.args(["--concurrent-deployment-syncs=20", "--concurrent-replicaset-syncs=20"]);
        // There are no metrics; but a minimum that is raised is not to be waited for.
        command.arg("--horizontal-pod-autoscaler-sync-period=1s");
        command
    }

    fn scheduler(&self, kubeconfig: &Path, version: Version) -> Command {
        self.client_of("kube-scheduler", kubeconfig, version)
    }

    /// What the controllers and the scheduler have in common.
    fn client_of(&self, name: &str, kubeconfig: &Path, version: Version) -> Command {
        let mut command = Command::new(self.ready.programs.path(name));
        command.arg(format!("--kubeconfig={}", kubeconfig.display()));
        command.args([
            "--leader-elect=false",
            "--kube-api-qps=500",
            "--kube-api-burst=1000",
            "--secure-port=0",
        ]);
        if version < WITHOUT_INSECURE_PORT {
            command.arg("--port=0");
        }
        command
    }

    fn kubelet(&self, kubeconfig: &Path) -> Command {
        let mut command = Command::new(&self.ready.kubelet);
        command.arg("--kubeconfig").arg(kubeconfig);
        command
    }

    fn version(&self) -> Result<Version> {
        let said = proc::output(Command::new(self.ready.programs.path("kube-apiserver")).arg("--version"))?;
        Version::parse(&said).with_context(|| format!("`{}` is no version of Kubernetes", said.trim()))
    }

    fn log(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.log"))
    }

    fn launch(&mut self, name: &'static str, command: &Command) -> Result<()> {
        let child = proc::background(command, &self.log(name), self.life)?;
        pids::record(self.dir, child.id() as i32, name)?;
        self.children.push((name, child));
        Ok(())
    }

    /// Polls `condition`; gives up at the deadline, or as soon as one of the processes ends.
    fn until(&mut self, deadline: Instant, what: &str, condition: impl Fn() -> bool) -> Result<()> {
        while !condition() {
            for (name, child) in &mut self.children {
                if let Some(status) = child.try_wait().context("cannot wait for a process")? {
                    let log = self.dir.join(format!("{name}.log"));
                    bail!(
                        "`{name}` ended ({status}); the end of `{}`:\n{}",
                        log.display(),
                        proc::tail(&log, 15)
                    );
                }
            }
            ensure!(
                Instant::now() < deadline,
                "waited {} until {what}; the logs are in `{}`",
                ui::human(READY_WITHIN),
                self.dir.display()
            );
            std::thread::sleep(proc::POLL);
        }
        Ok(())
    }
}

struct Tokens {
    /// Of `system:masters`.
    admin: String,
    /// Of a user without any right.
    astradesk: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Version {
    major: u32,
    minor: u32,
}

/// From here on the controllers have no insecure port that is to be closed, and no flag for it.
const WITHOUT_INSECURE_PORT: Version = Version { major: 1, minor: 23 };

impl Version {
    /// Reads `Kubernetes v1.20.2`.
    fn parse(said: &str) -> Option<Self> {
        let mut parts = said.trim().strip_prefix("Kubernetes v")?.split('.');
        Some(Self { major: parts.next()?.parse().ok()?, minor: parts.next()?.parse().ok()? })
    }
}

fn has_ready_node(nodes: &Value) -> bool {
    let is_ready = |condition: &Value| condition["type"] == "Ready" && condition["status"] == "True";
    let of =
        |node: &Value| node["status"]["conditions"].as_array().is_some_and(|all| all.iter().any(is_ready));
    nodes["items"].as_array().is_some_and(|items| items.iter().any(of))
}

fn kubeconfig(user: &str, server: &str, authority: &str, token: &str) -> String {
    // JSON is YAML, and needs no care with quotes.
    serde_json::json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user, "namespace": "default"}}],
        "current-context": "test",
    })
    .to_string()
}

/// 256 bits from the kernel, in hex.
fn random_token() -> Result<String> {
    let mut bytes = [0; 32];
    fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("cannot read /dev/urandom")?;
    Ok(bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}")))
}

/// Creates a folder that only this user can enter.
pub(super) fn create_private(dir: &Path) -> Result<()> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .with_context(|| format!("cannot create `{}`", dir.display()))
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_read_as_the_binary_prints_it() {
        assert_eq!(Version::parse("Kubernetes v1.20.2\n"), Some(Version { major: 1, minor: 20 }));
        assert_eq!(Version::parse("Kubernetes v1.33.0-rc.1"), Some(Version { major: 1, minor: 33 }));
        assert_eq!(Version::parse("etcd 3.4"), None);
        assert!(Version { major: 1, minor: 9 } < WITHOUT_INSECURE_PORT);
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, other) = (random_token().unwrap(), random_token().unwrap());
        assert_eq!(one.len(), 64);
        assert_ne!(one, other);
    }

    #[test]
    fn a_kubeconfig_names_what_it_is_given() {
        let text = kubeconfig("admin", "https://127.0.0.1:1", "/d/ca.crt", "secret");
        let read: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["clusters"][0]["cluster"]["certificate-authority"], "/d/ca.crt");
        assert_eq!(read["users"][0]["user"]["token"], "secret");
        assert_eq!(read["contexts"][0]["context"]["user"], "admin");
    }

    #[test]
    fn a_node_counts_when_it_is_ready() {
        let nodes = |status: &str| {
            serde_json::json!({"items": [{"status": {"conditions": [
                {"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": status}]}}]})
        };
        assert!(has_ready_node(&nodes("True")));
        assert!(!has_ready_node(&nodes("Unknown")));
        assert!(!has_ready_node(&serde_json::json!({"items": []})));
    }

    #[test]
    fn a_chosen_port_leaves_room_for_etcd() {
        assert!(Ports::choose(Some(65_534)).is_err());
        let free = Ports::choose(None).unwrap();
        assert!(free.api != free.etcd && free.etcd != free.peers);
    }

    #[test]
    fn a_taken_port_is_named() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        if let Some(error) = Ports::choose(Some(port)).err() {
            assert!(error.to_string().contains("is taken"), "{error}");
        } else {
            panic!("port {port} was given twice");
        }
    }
}
