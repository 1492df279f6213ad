//! The clusters of the configuration: that of the kubeconfig's current context, or of the one that is named, and those
//! of further contexts.

use crate::config::{Config, Kubernetes};
use astradesk_core::name::ClusterName;
use astradesk_core::{Code, Error, Result};
use astradesk_domain_ops::{Cluster, Pace};
use astradesk_runtime::port::SystemClock;
use kube::config::{KubeConfigOptions, Kubeconfig, KubeconfigError};
use std::fmt::Display;
use std::sync::Arc;

/// Every cluster, the main one first. Nothing is sent to them yet.
pub async fn connect(config: &Config) -> Result<Vec<Cluster>> {
    let settings = &config.kubernetes;
    let kubeconfig = match settings.kubeconfig.as_str() {
        "" => Kubeconfig::read(),
        paths => read_all(paths),
    };
    let mut clusters = vec![main(settings, kubeconfig.as_ref()).await?];
    for text in &settings.contexts {
        let (name, context) = further(text)?;
        let file = kubeconfig.as_ref().map_err(unusable)?.clone();
        clusters.push(cluster(settings, name, of_context(file, Some(context.to_owned())).await?)?);
    }
    Ok(clusters)
}

/// The same clusters, where nobody can reach them: for what needs only the tools' definitions.
pub fn nowhere(config: &Config) -> Result<Vec<Cluster>> {
    let settings = &config.kubernetes;
    let main = settings.cluster.clone().map_or_else(|| ClusterName::parse("offline"), Ok);
    let others = settings.contexts.iter().map(|text| further(text).map(|(name, _)| name));
    let nowhere: kube::Config = kube::Config::new(
        "http://127.0.0.1:1".parse().map_err(|_| Error::internal("the address cannot be read"))?,
    );
    std::iter::once(main).chain(others).map(|name| cluster(settings, name?, nowhere.clone())).collect()
}

/// The cluster of the kubeconfig, else the one that this process runs in.
async fn main(
    settings: &Kubernetes,
    kubeconfig: std::result::Result<&Kubeconfig, &KubeconfigError>,
) -> Result<Cluster> {
    let context = (!settings.context.is_empty()).then(|| settings.context.clone());
    let (kube, context) = match kubeconfig {
        Ok(file) => {
            let context = context.or_else(|| file.current_context.clone());
            (of_context(file.clone(), context.clone()).await?, context.unwrap_or_default())
        }
        Err(error) => match kube::Config::incluster() {
            Ok(kube) => (kube, "in-cluster".to_owned()),
            Err(_) => return Err(unusable(error)),
        },
    };
    let name = settings.cluster.clone().map_or_else(|| named_after(&context), Ok)?;
    cluster(settings, name, kube)
}

async fn of_context(file: Kubeconfig, context: Option<String>) -> Result<kube::Config> {
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    kube::Config::from_custom_kubeconfig(file, &options).await.map_err(|error| unusable(&error))
}

fn cluster(settings: &Kubernetes, name: ClusterName, kube: kube::Config) -> Result<Cluster> {
    let pace = Pace { per_second: settings.requests_per_second, burst: settings.request_burst };
    Cluster::connect(kube, name, settings.namespace.clone(), Arc::new(SystemClock), pace)
}

/// A cluster's name and context, from `CONTEXT` or `NAME=CONTEXT`.
fn further(text: &str) -> Result<(ClusterName, &str)> {
    match text.split_once('=') {
        Some((name, context)) => Ok((ClusterName::parse(name)?, context)),
        None => Ok((named_after(text)?, text)),
    }
}

/// A cluster that has no name of its own is called like its context.
fn named_after(context: &str) -> Result<ClusterName> {
    ClusterName::parse(context.replace('/', "_")).map_err(|error| {
        error.with_remedy(
            "name the cluster with `kubernetes.cluster`, or in `kubernetes.contexts` with `NAME=CONTEXT`",
        )
    })
}

fn unusable(error: &impl Display) -> Error {
    Error::new(Code::ConfigInvalid, format!("the kubeconfig cannot be used: {error}"))
        .with_remedy("set `KUBECONFIG`, or try everything without a cluster: `astradesk demo`")
}

/// The kubeconfigs of a list of paths, as `KUBECONFIG` has it, merged as kubectl merges them.
fn read_all(paths: &str) -> std::result::Result<Kubeconfig, KubeconfigError> {
    let mut merged = Kubeconfig::default();
    for path in std::env::split_paths(paths).filter(|path| !path.as_os_str().is_empty()) {
        merged = merged.merge(Kubeconfig::read_from(path)?)?;
    }
    Ok(merged)
}
