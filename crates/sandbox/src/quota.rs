//! `ResourceQuota`s: what all pods of a namespace may take together. The rules and the words are those of the quota
//! admission plugin (`pkg/quota/v1` of Kubernetes), for the number of pods and for what they request of `cpu` and
//! `memory`; other resources are kept and not enforced, and so are scopes.

use crate::json::{Map, Value};
use crate::object::{self, name, namespace, quantity, text};
use crate::resource::{PODS, RESOURCE_QUOTAS};
use crate::storage::Storage;

/// Refuses a pod with which its namespace would exceed a quota. `Err` says which, as the real server's message ends.
pub(crate) fn admit(storage: &Storage, pod: &Value) -> Result<(), String> {
    for quota in storage.list(&RESOURCE_QUOTAS, namespace(pod)) {
        let (mut requested, mut used, mut limited) = (Vec::new(), Vec::new(), Vec::new());
        for (resource, hard) in hard(&quota) {
            let wanted = share(pod, resource);
            if wanted == 0.0 {
                return Err(format!("failed quota: {}: must specify {resource}", name(&quota)));
            }
            let taken = taken(storage, namespace(pod), resource);
            if taken + wanted > hard {
                for (amounts, amount) in [(&mut requested, wanted), (&mut used, taken), (&mut limited, hard)]
                {
                    amounts.push(format!("{resource}={}", shown(resource, amount)));
                }
            }
        }
        if !requested.is_empty() {
            let [requested, used, limited] = [requested, used, limited].map(|amounts| amounts.join(","));
            return Err(format!(
                "exceeded quota: {}, requested: {requested}, used: {used}, limited: {limited}",
                name(&quota)
            ));
        }
    }
    Ok(())
}

/// What a quota's status says is used.
pub(crate) fn used(storage: &Storage, quota: &Value) -> Value {
    let mut used = Map::default();
    for (resource, _) in hard(quota) {
        used.insert(resource, shown(resource, taken(storage, namespace(quota), resource)));
    }
    used.into()
}

/// What is enforced of a quota, in the order of its resources' names.
fn hard(quota: &Value) -> impl Iterator<Item = (&str, f64)> {
    let hard = quota.pointer("/spec/hard").and_then(Value::as_object).into_iter().flat_map(Map::iter);
    hard.filter(|(resource, _)| requested(resource).is_some() || *resource == "pods")
        .map(|(resource, hard)| (resource, quantity(Some(hard))))
}

/// What a quota's resource counts of the pods' requests.
fn requested(resource: &str) -> Option<&'static str> {
    match resource {
        "cpu" | "requests.cpu" => Some("cpu"),
        "memory" | "requests.memory" => Some("memory"),
        _ => None,
    }
}

fn taken(storage: &Storage, namespace: &str, resource: &str) -> f64 {
    let pods = storage.list(&PODS, namespace);
    let living = pods.iter().filter(|pod| !matches!(text(pod, "/status/phase"), "Succeeded" | "Failed"));
    // The sum of none is minus zero, which would be shown.
    0.0 + living.map(|pod| share(pod, resource)).sum::<f64>()
}

fn share(pod: &Value, resource: &str) -> f64 {
    requested(resource).map_or(1000.0, |what| object::requests(pod, what))
}

/// A thousandfold amount as the API writes a quantity.
fn shown(resource: &str, amount: f64) -> String {
    let whole = (amount / 1000.0).round();
    match requested(resource) {
        Some("cpu") if amount % 1000.0 != 0.0 => format!("{amount}m"),
        Some("memory") => {
            let units = [("Gi", 1_073_741_824.0), ("Mi", 1_048_576.0), ("Ki", 1024.0)];
            let unit = units.into_iter().find(|(_, size)| whole != 0.0 && whole % size == 0.0);
            unit.map_or_else(|| whole.to_string(), |(unit, size)| format!("{}{unit}", whole / size))
        }
        _ => whole.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::json;

    #[test]
    fn the_words_of_a_quota() {
        let storage = Storage::new();
        let quota = json!({
            "metadata": { "name": "small", "namespace": "default" },
            "spec": { "hard": { "pods": "2", "requests.cpu": "1", "memory": "1Gi", "services": "1" } },
        });
        let pod = |name: &str, cpu: &str| {
            let requests = json!({ "cpu": cpu, "memory": "256Mi" });
            json!({
                "metadata": { "name": name, "namespace": "default" },
                "spec": { "containers": [{ "resources": { "requests": requests } }] },
            })
        };
        storage.create(&RESOURCE_QUOTAS, quota.clone()).unwrap();
        assert_eq!(admit(&storage, &pod("a", "500m")), Ok(()));
        storage.create(&PODS, pod("a", "500m")).unwrap();
        assert_eq!(
            admit(&storage, &pod("b", "600m")).unwrap_err(),
            "exceeded quota: small, requested: requests.cpu=600m, used: requests.cpu=500m, limited: requests.cpu=1"
        );
        storage.create(&PODS, pod("b", "500m")).unwrap();
        assert_eq!(
            admit(&storage, &pod("c", "1m")).unwrap_err(),
            "exceeded quota: small, requested: pods=1,requests.cpu=1m, used: pods=2,requests.cpu=1, \
             limited: pods=2,requests.cpu=1"
        );
        let bare = json!({ "metadata": { "namespace": "default" }, "spec": { "containers": [{}] } });
        assert_eq!(admit(&storage, &bare).unwrap_err(), "failed quota: small: must specify memory");
        assert_eq!(used(&storage, &quota), json!({ "memory": "512Mi", "pods": "2", "requests.cpu": "1" }));
        let elsewhere = json!({ "metadata": { "namespace": "other" } });
        assert_eq!(admit(&storage, &elsewhere), Ok(()));
    }
}
