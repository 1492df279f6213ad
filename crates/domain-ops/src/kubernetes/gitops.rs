//! Which GitOps controller manages an object, by the signs that it leaves on it. Pure.
//!
//! | sign | controller | its name for the source |
//! |---|---|---|
//! | labels `kustomize.toolkit.fluxcd.io/name` and `/namespace` | `flux` | the Kustomization: `NAMESPACE/NAME` |
//! | labels `helm.toolkit.fluxcd.io/name` and `/namespace` | `flux` | the HelmRelease: `NAMESPACE/NAME` |
//! | annotation `argocd.argoproj.io/tracking-id` that is about this object | `argocd` | the Application |
//! | label `argocd.argoproj.io/instance` | `argocd` | the Application |
//! | a field manager of theirs in `managedFields` | as above | `field manager NAME` |

use super::workload::Workload;
use astradesk_core::facts::GitOps;
use astradesk_core::text::shown;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;

/// The most characters of a source: as many as a name may have.
const SOURCE: usize = 253;

/// The field managers of the controllers.
const MANAGERS: [(&str, &str); 4] = [
    ("kustomize-controller", "flux"),
    ("helm-controller", "flux"),
    ("argocd-controller", "argocd"),
    ("argocd-application-controller", "argocd"),
];

/// Who manages an object of this kind (its case does not matter), if it carries a sign of it.
pub fn manager(kind: &str, meta: &ObjectMeta) -> Option<GitOps> {
    flux(meta, "kustomize.toolkit.fluxcd.io")
        .or_else(|| flux(meta, "helm.toolkit.fluxcd.io"))
        .or_else(|| argo_tracking(kind, meta))
        .or_else(|| Some(gitops("argocd", label(meta, "argocd.argoproj.io/instance")?)))
        .or_else(|| field_manager(meta))
}

/// What is to be said to whoever is about to change a workload that somebody else manages.
pub fn warning(workload: &Workload) -> Option<String> {
    workload.gitops.as_ref().map(may_revert)
}

/// The same of any object that is managed so.
pub(crate) fn may_revert(GitOps { controller, source }: &GitOps) -> String {
    format!("managed by {controller} from `{source}`: it may revert the change")
}

/// What is to be said when a change of a managed workload did not last; begins with a semicolon.
pub fn suspicion(workload: &Workload) -> Option<String> {
    let GitOps { controller, source } = workload.gitops.as_ref()?;
    Some(format!("; {controller} manages it from `{source}` and may have reverted the change"))
}

fn gitops(controller: &str, source: &str) -> GitOps {
    GitOps { controller: controller.to_owned(), source: shown(source, SOURCE) }
}

fn label<'a>(meta: &'a ObjectMeta, name: &str) -> Option<&'a str> {
    meta.labels.as_ref()?.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

fn flux(meta: &ObjectMeta, prefix: &str) -> Option<GitOps> {
    let name = label(meta, &format!("{prefix}/name"))?;
    let namespace = label(meta, &format!("{prefix}/namespace"))?;
    Some(gitops("flux", &format!("{namespace}/{name}")))
}

/// `APPLICATION:GROUP/KIND:NAMESPACE/NAME`. One that is about another object came here by a copy, and does not
/// count, as Argo CD has it; one that cannot be read does.
fn argo_tracking(kind: &str, meta: &ObjectMeta) -> Option<GitOps> {
    let id = meta.annotations.as_ref()?.get("argocd.argoproj.io/tracking-id")?;
    let mut parts = id.splitn(3, ':');
    let application = parts.next().filter(|name| !name.is_empty())?;
    if let (Some(of), Some(object)) = (parts.next(), parts.next()) {
        let is_kind = of.rsplit('/').next().is_some_and(|of| of.eq_ignore_ascii_case(kind));
        let is_name = object.rsplit('/').next() == meta.name.as_deref();
        if !is_kind || !is_name {
            return None;
        }
    }
    // An Application outside Argo CD's own namespace is called `NAMESPACE_NAME`.
    Some(gitops("argocd", &application.replacen('_', "/", 1)))
}

fn field_manager(meta: &ObjectMeta) -> Option<GitOps> {
    let managers = meta.managed_fields.iter().flatten().filter_map(|entry| entry.manager.as_deref());
    managers.into_iter().find_map(|manager| {
        let (name, controller) = MANAGERS.iter().find(|(name, _)| *name == manager)?;
        Some(gitops(controller, &format!("field manager {name}")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn of(meta: Value) -> Option<(String, String)> {
        let mut meta: ObjectMeta = serde_json::from_value(meta).unwrap();
        (meta.name, meta.namespace) = (Some("webapp".into()), Some("shop".into()));
        manager("deployment", &meta).map(|found| (found.controller, found.source))
    }

    #[test]
    fn each_sign_names_its_controller_and_source() {
        let flux = |part: &str| {
            json!({
                format!("{part}.toolkit.fluxcd.io/name"): "apps",
                format!("{part}.toolkit.fluxcd.io/namespace"): "flux-system",
            })
        };
        let argo = |id: &str| json!({"annotations": {"argocd.argoproj.io/tracking-id": id}});
        let by = |manager: &str| json!({"managedFields": [{"manager": "kubectl"}, {"manager": manager}]});
        let kustomize = flux("kustomize");
        let both = json!({"labels": kustomize, "managedFields": [{"manager": "argocd-controller"}]});
        for (meta, expected) in [
            (json!({}), None),
            (json!({"labels": {"app.kubernetes.io/instance": "web", "app": "web"}}), None),
            (json!({"labels": flux("kustomize")}), Some(("flux", "flux-system/apps"))),
            (json!({"labels": flux("helm")}), Some(("flux", "flux-system/apps"))),
            (json!({"labels": {"kustomize.toolkit.fluxcd.io/name": "apps"}}), None),
            (json!({"annotations": flux("kustomize")}), None),
            (argo("web:apps/Deployment:shop/webapp"), Some(("argocd", "web"))),
            (argo("team-a_web:apps/Deployment:shop/webapp"), Some(("argocd", "team-a/web"))),
            (argo("web:apps/Deployment:shop/other"), None),
            (argo("web:apps/ReplicaSet:shop/webapp"), None),
            (argo("web"), Some(("argocd", "web"))),
            (argo(""), None),
            (json!({"labels": {"argocd.argoproj.io/instance": "web"}}), Some(("argocd", "web"))),
            (by("kustomize-controller"), Some(("flux", "field manager kustomize-controller"))),
            (by("helm-controller"), Some(("flux", "field manager helm-controller"))),
            (by("argocd-controller"), Some(("argocd", "field manager argocd-controller"))),
            (by("kubectl-client-side-apply"), None),
            (both, Some(("flux", "flux-system/apps"))),
        ] {
            let expected = expected.map(|(controller, source)| (controller.to_owned(), source.to_owned()));
            assert_eq!(of(meta.clone()), expected, "{meta}");
        }
    }

    #[test]
    fn a_source_is_bounded_and_safe_to_show() {
        let id = format!("\u{1b}[2J{}", "a".repeat(100_000));
        let (_, source) = of(json!({"annotations": {"argocd.argoproj.io/tracking-id": id}})).unwrap();
        assert!(source.len() < 300 && !source.contains('\u{1b}'), "{source}");
    }
}
