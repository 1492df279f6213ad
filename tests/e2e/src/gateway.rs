//! A gateway in this process, put together as `astradesk serve` does it.

use crate::client::Client;
use crate::place::Place;
use astradesk::app::App;
use astradesk::config::{Config, Sources, load};
use astradesk_core::{RoleName, Timestamp};
use astradesk_gateway::{Auth, DevIssuer};
use astradesk_runtime::port::SystemClock;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// `ALLOWED_TOOLS`: every tool that changes a workload.
const ALLOWED_TOOLS: &str =
    "restart_service,scale_service,rollback_service,pause_rollout,resume_rollout,evict_pod,silence_alert";

/// How AstraDesk is configured for a test.
#[derive(Debug, Clone)]
pub struct Settings {
    /// `ALLOWED_SERVICES`.
    pub allowed: Vec<String>,
    /// The folder for its state; everything that shares it shares runs and evidence.
    pub state: PathBuf,
    /// The kubeconfig.
    pub kubeconfig: PathBuf,
    /// `astradesk.toml`.
    pub toml: String,
}

impl Settings {
    /// The place's cluster, a state of its own, and these services.
    pub fn of(place: &Place, allowed: &[&str]) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        Self {
            allowed: allowed.iter().map(|&name| name.to_owned()).collect(),
            state: place.folder(&format!("state-{}", &id[..8])),
            kubeconfig: place.kubeconfig.clone(),
            toml: String::new(),
        }
    }

    /// The environment that says so.
    pub fn environment(&self, place: &Place) -> BTreeMap<String, String> {
        std::fs::write(self.state.join("astradesk.toml"), &self.toml).unwrap();
        let path = |path: &std::path::Path| path.display().to_string();
        [
            ("ALLOWED_SERVICES", self.allowed.join(",")),
            ("ALLOWED_TOOLS", ALLOWED_TOOLS.to_owned()),
            ("KUBERNETES_NAMESPACE", place.namespace.clone()),
            ("KUBECONFIG", path(&self.kubeconfig)),
            ("ASTRADESK_STORE_PATH", path(&self.state)),
            ("ASTRADESK_CONFIG", path(&self.state.join("astradesk.toml"))),
            ("ASTRADESK_LOG_FORMAT", "json".to_owned()),
            ("HOME", path(&self.state)),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
    }

    /// The development issuer of whatever uses this state.
    pub fn issuer(&self) -> DevIssuer {
        DevIssuer::from_file(&self.state.join("dev-issuer.key")).unwrap()
    }

    /// These policies beside the built-in one, in a folder that is looked at.
    #[must_use]
    pub fn policies(mut self, text: &str) -> Self {
        let folder = self.state.join("policies");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("test.cedar"), text).unwrap();
        let folder = toml::Value::from(folder.display().to_string());
        self.toml.extend(["[policy]\ndir = ", &folder.to_string(), "\n"]);
        self
    }

    /// A token of the development issuer.
    pub fn token(&self, subject: &str, role: &str) -> String {
        let roles = [RoleName::parse(role).unwrap()];
        self.issuer().mint(subject, &roles, Duration::from_mins(10), Timestamp::now()).unwrap()
    }

    fn load(&self, place: &Place) -> Config {
        let mut environment = self.environment(place);
        environment.insert("ASTRADESK_AUTH_DEV".to_owned(), "true".to_owned());
        environment.insert("ASTRADESK_SERVER_LISTEN".to_owned(), "127.0.0.1:0".to_owned());
        // The process's own environment is another one.
        let kubeconfig = self.kubeconfig.display().to_string();
        environment.insert("ASTRADESK_KUBERNETES_KUBECONFIG".to_owned(), kubeconfig);
        let file = environment.get("ASTRADESK_CONFIG").map(PathBuf::from);
        load(&Sources { file, environment, flags: Vec::new() }).unwrap().0
    }
}

/// A running gateway.
pub struct Gateway {
    /// Speaks to it as `ada`, who has the role `sre`.
    pub client: Client,
    /// How it is configured.
    pub settings: Settings,
    app: App,
    shutdown: CancellationToken,
    serving: JoinHandle<bool>,
}

impl Gateway {
    /// Starts it on a free port of loopback.
    pub async fn start(place: &Place, settings: Settings) -> Self {
        let config = settings.load(place);
        let app = App::open(&config).await.unwrap();
        let issuer = settings.issuer();
        let auth = Auth::new(config.auth.issuers.clone(), Some(&issuer), Arc::new(SystemClock)).unwrap();
        let bound = astradesk_gateway::Config {
            listen: config.server.listen,
            ..astradesk_gateway::Config::default()
        };
        let gateway = astradesk_gateway::Gateway::bind(bound, app.engine.clone(), auth).unwrap();
        let client = Client::new(&format!("http://{}", gateway.local_addr()), &settings.token("ada", "sre"));
        app.engine.recover();
        app.engine.tend();
        let shutdown = CancellationToken::new();
        let serving = tokio::spawn(gateway.serve(shutdown.clone()));
        Self { client, settings, app, shutdown, serving }
    }

    /// Stops it; whether every request and every run came to a safe point.
    pub async fn stop(self) -> bool {
        self.shutdown.cancel();
        let drained = self.serving.await.unwrap();
        self.app.close(Duration::from_secs(10)).await && drained
    }
}
