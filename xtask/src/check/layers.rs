//! `core ← runtime ← {the middle} ← astradesk`: nobody depends on a crate of its own layer or above.
//!
//! Development dependencies are free: a test may bring together what the product keeps apart.

use anyhow::{Result, bail};
use serde_json::Value;

/// The product's crates from the inside out.
const LAYERS: [&[&str]; 4] = [
    &["astradesk-core"],
    &["astradesk-runtime"],
    &[
        "astradesk-policy",
        "astradesk-store",
        "astradesk-llm",
        "astradesk-packs",
        "astradesk-domain-ops",
        "astradesk-gateway",
        "astradesk-sandbox",
    ],
    &["astradesk"],
];

/// Checks `cargo metadata`.
pub(super) fn check(metadata: &Value) -> Result<()> {
    let faults = faults(metadata);
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

fn layer_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&name))
}

fn faults(metadata: &Value) -> Vec<String> {
    let packages = || list(&metadata["packages"]);
    let ours: Vec<&str> = packages().filter_map(|package| package["name"].as_str()).collect();
    let mut faults = Vec::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap_or_default();
        // Tests and tasks stand outside the layers: they may use everything.
        let is_product = package["manifest_path"].as_str().is_some_and(|path| path.contains("/crates/"));
        if !is_product {
            continue;
        }
        let Some(layer) = layer_of(name) else {
            faults.push(format!("`{name}` has no layer: give it one in xtask/src/check/layers.rs"));
            continue;
        };
        for dependency in list(&package["dependencies"]).filter(|dependency| dependency["kind"] != "dev") {
            let target = dependency["name"].as_str().unwrap_or_default();
            match layer_of(target) {
                Some(below) if below < layer => {}
                Some(_) => {
                    faults.push(format!("`{name}` may not depend on `{target}`: it is not in a layer below"));
                }
                None if ours.contains(&target) => {
                    faults
                        .push(format!("`{name}` may not depend on `{target}`: it is no part of the product"));
                }
                None => {}
            }
        }
    }
    faults
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn metadata(folder: &str, name: &str, dependency: &str, kind: Option<&str>) -> Value {
        json!({"packages": [
            {"name": "astradesk-test-kubelet", "manifest_path": "/w/tests/kubelet/Cargo.toml", "dependencies": []},
            {"name": name, "manifest_path": format!("/w/{folder}/x/Cargo.toml"),
             "dependencies": [{"name": dependency, "kind": kind}]},
        ]})
    }

    #[test]
    fn the_graph_runs_one_way() {
        for (folder, name, dependency, kind, allowed) in [
            ("crates", "astradesk-runtime", "astradesk-core", None, true),
            ("crates", "astradesk", "astradesk-core", None, true),
            ("crates", "astradesk-store", "sqlx", None, true),
            ("crates", "astradesk-core", "astradesk-runtime", None, false),
            ("crates", "astradesk-gateway", "astradesk-store", None, false),
            ("crates", "astradesk-gateway", "astradesk-store", Some("build"), false),
            ("crates", "astradesk-gateway", "astradesk-store", Some("dev"), true),
            ("crates", "astradesk-gateway", "astradesk", None, false),
            ("crates", "astradesk", "astradesk-test-kubelet", None, false),
            ("crates", "astradesk-new", "serde", None, false),
            ("tests", "astradesk-tests", "astradesk", None, true),
        ] {
            let faults = faults(&metadata(folder, name, dependency, kind));
            assert_eq!(faults.is_empty(), allowed, "{name} → {dependency} ({kind:?}): {faults:?}");
        }
    }
}
