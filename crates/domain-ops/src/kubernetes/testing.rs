//! A sandbox cluster for this crate's tests, with a way to spoil what is said to it.

use super::client::{self, Requests};
use super::cluster::Cluster;
use super::gate::{Gate, Listening, Pace};
use super::history::Revision;
use super::once;
use super::restart::{Intent, Job, perform};
use super::rollout::Receipt;
use super::scope::{PATIENCE, Scope};
use super::workload::{Family, Workload};
use super::{RESTARTED_AT, RUN};
use astradesk_core::name::{ClusterName, Namespace};
use astradesk_core::target::Kind;
use astradesk_core::{RunId, Timestamp};
use astradesk_runtime::port::{Clock, Fault, Progress, SystemClock};
use astradesk_sandbox::{Config, Sandbox};
use futures::future::BoxFuture;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::api::{Patch, PatchParams};
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout};
use tower::{BoxError, Layer, Service};

/// What becomes of the next patch, or eviction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Spoil {
    /// It never arrives.
    Request,
    /// It is applied, and the reply is lost.
    Reply,
    /// The server says 409.
    Conflict,
    /// It never arrives, and neither does anything after it.
    Everything,
}

/// The patches that were sent, and what is to become of the next ones.
#[derive(Default)]
pub(crate) struct Wire {
    pub(crate) spoil: VecDeque<Spoil>,
    pub(crate) patches: u32,
    pub(crate) evictions: u32,
    pub(crate) cut: bool,
}

#[derive(Clone)]
struct Faulty(Arc<Mutex<Wire>>);

struct FaultyService<S>(S, Arc<Mutex<Wire>>);

impl<S> Layer<S> for Faulty {
    type Service = FaultyService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        FaultyService(inner, self.0.clone())
    }
}

impl<S, B> Service<http::Request<Body>> for FaultyService<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
    B: Send + 'static,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<S::Response, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, mut request: http::Request<Body>) -> Self::Future {
        let mut wire = self.1.lock().unwrap();
        let patch = request.method() == http::Method::PATCH;
        let eviction = request.uri().path().ends_with("/eviction");
        wire.patches += u32::from(patch);
        wire.evictions += u32::from(eviction);
        let spoil = if patch || eviction { wire.spoil.pop_front() } else { None };
        wire.cut |= spoil == Some(Spoil::Everything);
        if wire.cut || spoil == Some(Spoil::Request) {
            return Box::pin(async { Err("the request was lost".into()) });
        }
        if spoil == Some(Spoil::Conflict) {
            // A precondition that no object fulfils.
            *request.body_mut() = Body::from(br#"{"metadata":{"resourceVersion":"1"}}"#.to_vec());
        }
        let answer = self.0.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            if spoil == Some(Spoil::Reply) { Err("the reply was lost".into()) } else { Ok(answer) }
        })
    }
}

/// A clock whose elapsed time stands still until it is told to go.
#[derive(Default)]
pub(crate) struct Hand(Mutex<Duration>);

impl Hand {
    pub(crate) fn go(&self, time: Duration) {
        *self.0.lock().unwrap() += time;
    }
}

impl Clock for Hand {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn elapsed(&self) -> Duration {
        *self.0.lock().unwrap()
    }

    fn run_id(&self) -> RunId {
        SystemClock.run_id()
    }
}

/// A cluster with these objects, twenty times faster than life.
pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) client: kube::Client,
    pub(crate) wire: Arc<Mutex<Wire>>,
    pub(crate) sandbox: Sandbox,
}

impl World {
    pub(crate) async fn start(objects: Vec<Value>) -> Self {
        let sandbox = Sandbox::start(Config { objects, pace: 0.05, ..Config::default() }).await.unwrap();
        let kubeconfig = Kubeconfig::from_yaml(&sandbox.kubeconfig()).unwrap();
        let options = KubeConfigOptions::default();
        let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &options).await.unwrap();
        client::limit(&mut config);
        let client = kube::Client::try_from(config.clone()).unwrap();
        let wire = Arc::new(Mutex::new(Wire::default()));
        let gate = Arc::new(Gate::new(Pace::default()));
        let spoiled = ClientBuilder::try_from(config).unwrap().with_layer(&Listening(gate.clone()));
        let spoiled = spoiled.with_layer(&Faulty(wire.clone())).build();
        let cluster = Cluster::with(
            Requests::with(spoiled, gate),
            ClusterName::parse("sandbox").unwrap(),
            Namespace::parse("default").unwrap(),
            Arc::new(SystemClock),
        );
        Self { cluster, client, wire, sandbox }
    }

    /// The same cluster, of which nothing is known yet, with another clock.
    pub(crate) fn anew(&self, clock: Arc<dyn Clock>) -> Cluster {
        let (name, namespace) = (self.cluster.name().clone(), self.cluster.namespace().clone());
        Cluster::with(self.cluster.requests().clone(), name, namespace, clock)
    }

    pub(crate) fn spoil(&self, spoil: &[Spoil]) {
        self.wire.lock().unwrap().spoil = spoil.iter().copied().collect();
    }

    pub(crate) fn patches(&self) -> u32 {
        self.wire.lock().unwrap().patches
    }

    pub(crate) fn evictions(&self) -> u32 {
        self.wire.lock().unwrap().evictions
    }

    pub(crate) fn job(&self, kind: Kind, run: &str, seconds: u64) -> Job {
        let once = once::Job {
            target: format!("kubernetes/sandbox/default/{kind}/webapp"),
            kind,
            namespace: self.cluster.namespace().clone(),
            name: "webapp".to_owned(),
            mark: run.to_owned(),
            is_undo: false,
            repeated: false,
            deadline: Instant::now() + Duration::from_secs(seconds),
            progress: Progress::default(),
        };
        Job { once, accept_downtime: false, undoes: None, back_to: None }
    }

    /// The undo of a restart, as a later step of its run.
    pub(crate) fn undo(&self, kind: Kind, restart: &Receipt, seconds: u64) -> Job {
        let mark = format!("{}/1", restart.run);
        Job { undoes: Some(restart.clone()), ..self.job(kind, &mark, seconds) }
    }

    /// What the object is like now, as a job is bound to it.
    pub(crate) async fn intend(&self, job: &Job) -> astradesk_core::Result<Intent> {
        Intent::of(job, &self.now(job.once.kind).await, self.cluster.now())
    }

    /// Intends and performs a restart, as often as the Engine would.
    pub(crate) async fn perform(&self, job: &Job) -> Result<Receipt, Fault> {
        as_the_engine(async || perform(&self.cluster, job, &self.intend(job).await?).await).await
    }

    /// `webapp` as the API server has it.
    pub(crate) async fn now(&self, kind: Kind) -> Workload {
        self.cluster.get(kind, self.cluster.namespace(), "webapp").await.unwrap()
    }

    /// The same, unless there is none.
    pub(crate) async fn now_or_none(&self, kind: Kind) -> Option<Workload> {
        self.cluster.get(kind, self.cluster.namespace(), "webapp").await.ok()
    }

    /// The same, as the watches have it: nothing is sent.
    pub(crate) async fn peek(&self, kind: Kind) -> Arc<Workload> {
        self.until(kind, |_, _| true).await
    }

    /// Changes `webapp` behind our back.
    pub(crate) async fn change(&self, kind: Kind, patch: &Value) {
        async fn send<K>(client: kube::Client, patch: &Value)
        where
            K: kube::Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
                + Clone
                + serde::de::DeserializeOwned
                + std::fmt::Debug,
        {
            let api: kube::Api<K> = kube::Api::namespaced(client, "default");
            let params = PatchParams { field_manager: Some("somebody".into()), ..PatchParams::default() };
            api.patch("webapp", &params, &Patch::Merge(patch)).await.unwrap();
        }
        let client = self.client.clone();
        match kind {
            Kind::StatefulSet => send::<StatefulSet>(client, patch).await,
            Kind::DaemonSet => send::<DaemonSet>(client, patch).await,
            _ => send::<Deployment>(client, patch).await,
        }
    }

    /// Takes the marks of a restart off, as `kubectl rollout undo` or a reconciler does.
    pub(crate) async fn roll_back(&self, kind: Kind) {
        let marks = json!({RESTARTED_AT: null, RUN: null});
        self.change(kind, &json!({"spec": {"template": {"metadata": {"annotations": marks}}}})).await;
    }

    /// Waits until the controller keeps a template with this mark.
    pub(crate) async fn kept(&self, kind: Kind, mark: &str) {
        let wait = async {
            loop {
                let history = self.cluster.history(&self.now(kind).await).await.unwrap();
                let kept = |r: &Revision| r.template_annotations.get(RUN).is_some_and(|run| run == mark);
                if history.revisions.iter().any(kept) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(20), wait).await.unwrap();
    }

    /// Waits until what the watches show fulfils `done`.
    pub(crate) async fn until(&self, kind: Kind, done: impl Fn(&Workload, &Family) -> bool) -> Arc<Workload> {
        let scope: Arc<Scope> = self.cluster.scope(self.cluster.namespace());
        scope.ready(PATIENCE).await.unwrap();
        let mut changes = scope.changes();
        let wait = async {
            loop {
                changes.mark_unchanged();
                if let Some((workload, family)) = scope.family(kind, "webapp")
                    && done(&workload, &family)
                {
                    return workload;
                }
                changes.changed().await.unwrap();
            }
        };
        let Ok(workload) = timeout(Duration::from_secs(20), wait).await else {
            panic!("still {:?}", scope.family(kind, "webapp"));
        };
        workload
    }

    /// Waits until `webapp` serves.
    pub(crate) async fn healthy(&self, kind: Kind) -> Arc<Workload> {
        self.until(kind, |workload, family| {
            super::rollout::stage(workload) == super::rollout::Stage::Complete
                && family.pods.iter().filter(|pod| pod.ready).count()
                    == usize::try_from(workload.wanted).unwrap()
        })
        .await
    }
}

/// Intends and performs, again as long as the object moves in between, and as often as the Engine would.
pub(crate) async fn as_the_engine<R>(attempt: impl AsyncFn() -> Result<R, Fault>) -> Result<R, Fault> {
    let mut moved = Box::pin(attempt()).await;
    for _ in 0..5 {
        if !matches!(moved, Err(Fault::Moved(_))) {
            break;
        }
        moved = Box::pin(attempt()).await;
    }
    moved
}

/// The same job, which an earlier process may have performed already.
pub(crate) fn repeated(mut job: Job) -> Job {
    job.once.repeated = true;
    job
}

/// `webapp`, with changes to its specification.
pub(crate) fn webapp(kind: &str, replicas: u32, annotations: &Value, spec: &Value) -> Value {
    let mut object = json!({
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "webapp", "namespace": "default"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "webapp"}},
            "template": {
                "metadata": {"labels": {"app": "webapp"}, "annotations": annotations},
                "spec": {"containers": [{"name": "app", "image": "webapp:1"}]},
            },
        },
    });
    if kind == "DaemonSet" {
        object["spec"].as_object_mut().unwrap().remove("replicas");
    }
    for (key, value) in spec.as_object().into_iter().flatten() {
        object["spec"][key] = value.clone();
    }
    object
}

/// The annotation that makes new pods behave so.
pub(crate) fn once_restarted(behaviour: &str) -> Value {
    json!({"sandbox.astradesk.dev/behaviour-once-restarted": behaviour})
}
