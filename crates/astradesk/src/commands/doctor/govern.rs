//! What `astradesk doctor` says of policies, guardrails, approvals, webhooks and checkpoints.

use super::{Finding, bad, good, warning};
use crate::app;
use crate::commands::policy::policy_files;
use crate::commands::serve;
use crate::config::Config;
use crate::display::policy::short;
use astradesk_core::guardrail::{Rule, with_builtin};
use astradesk_core::{Guardrail, Result, Timestamp};
use astradesk_runtime::ToolRegistry;
use astradesk_runtime::evidence::Checkpoint;
use astradesk_runtime::port::{Clock as _, Policy as _, Store as _, SystemClock};
use astradesk_store::SqliteStore;

/// How many of each are looked for.
const MOST: u32 = 1000;

/// The policy set as a gateway that is started now would have it.
pub(super) async fn policies(config: &Config, findings: &mut Vec<Finding>) {
    let (registry, policy) = match app::offline(config) {
        Ok(offline) => offline,
        Err(error) => return findings.push(bad(&error)),
    };
    packs(&registry, findings).await;
    let status = policy.status();
    if let Some(problem) = &status.problem {
        findings.push(bad(problem));
    } else {
        let digest = status.digest.to_string();
        let files = match policy_files(&config.policy.dir) {
            0 => "built-in ones only".to_owned(),
            files => format!("with {files} file(s) of `{}`", config.policy.dir.display()),
        };
        findings.push(good(format!("{} policies, {files}; set {}", status.policies, short(&digest))));
    }
    for doubt in app::doubts(config, &registry) {
        findings.push(warning(
            doubt,
            "correct the guardrail's `tools`: `astradesk tools` lists those that there are",
        ));
    }
    for doubt in status.warnings {
        findings.push(warning(doubt, "correct the policy, or the configuration if that is what is wrong"));
    }
}

/// The packs of the configured folder, as a gateway that is started now would have them.
async fn packs(registry: &ToolRegistry, findings: &mut Vec<Finding>) {
    let Some(packs) = registry.followed() else { return };
    packs.tend().await;
    for pack in packs.status() {
        findings.extend(pack.server.iter().filter_map(|server| server.problem.as_ref()).map(bad));
        findings.extend(
            pack.disabled
                .values()
                .map(|fault| warning(format!("{} {}", fault.code, fault.message), fault.remedy.clone())),
        );
        match &pack.problem {
            Some(problem) => findings.push(bad(problem)),
            None => findings.push(good(format!("pack `{}`: {} tool(s)", pack.name, pack.tools.len()))),
        }
        for doubt in pack.doubts {
            findings.push(warning(doubt, "permit it with a policy of `policy.dir`, or remove the tool"));
        }
    }
}

/// The guardrails in force, and whether a freeze is at this moment.
pub(super) fn guardrails(config: &Config, findings: &mut Vec<Finding>) {
    let now = SystemClock.now();
    for guardrail in with_builtin(config.guardrails.clone()) {
        let said = format!("guardrail `{}`: {}", guardrail.name, rule(&guardrail, now));
        let frozen = matches!(&guardrail.rule, Rule::Freeze(freeze) if freeze.until(now).is_some());
        findings.push(if frozen {
            warning(
                said,
                "wait until it is over; what policy permits to break the glass can be done with a reason",
            )
        } else {
            good(said)
        });
    }
}

/// What a guardrail asks for, and of what.
fn rule(guardrail: &Guardrail, now: Timestamp) -> String {
    let asks = match &guardrail.rule {
        Rule::Freeze(freeze) => match freeze.until(now) {
            Some(until) => format!("A FREEZE IS IN FORCE until {until:.0}"),
            None => "no freeze is in force now".to_owned(),
        },
        Rule::CoolDown(period) => format!("a target rests for {period:#} after each action"),
        Rule::Budget { runs, per } => format!("at most {runs} actions in {per:#}"),
        Rule::MaxUnavailable(percent) => format!("at most {percent} % of the pods may be unavailable"),
        Rule::DisruptionBudgets(true) => "disruption budgets are respected".to_owned(),
        Rule::DisruptionBudgets(false) => "disruption budgets are ignored".to_owned(),
        Rule::GitOps(true) => "what a GitOps controller manages is left alone".to_owned(),
        Rule::GitOps(false) => "what a GitOps controller manages may be acted on".to_owned(),
    };
    let tools: Vec<&str> = guardrail.tools.iter().map(astradesk_core::ToolName::as_str).collect();
    let targets: Vec<String> = guardrail.targets.iter().map(ToString::to_string).collect();
    match (tools.is_empty(), targets.is_empty()) {
        (true, true) => asks,
        (true, false) => format!("{asks} ({})", targets.join(", ")),
        (false, true) => format!("{asks} ({})", tools.join(", ")),
        (false, false) => format!("{asks} ({} on {})", tools.join(", "), targets.join(", ")),
    }
}

/// Whether each webhook could be told something.
pub(super) fn webhooks(config: &Config, findings: &mut Vec<Finding>) {
    match serve::webhooks(config) {
        Ok(webhooks) if webhooks.is_empty() => {}
        Ok(webhooks) => {
            let names: Vec<&str> = webhooks.iter().map(astradesk_gateway::Webhook::name).collect();
            findings.push(good(format!("{} webhook(s): {}", names.len(), names.join(", "))));
        }
        Err(error) => findings.push(bad(&error)),
    }
}

/// What the store knows: runs that await approval, announcements that died, the last checkpoint.
pub(super) async fn kept(store: &SqliteStore, findings: &mut Vec<Finding>) {
    for looked in [awaiting(store).await, dead(store).await, checkpoint(store).await] {
        findings.extend(looked.unwrap_or_else(|error| Some(bad(&error))));
    }
}

async fn awaiting(store: &SqliteStore) -> Result<Option<Finding>> {
    let runs = store.awaiting(None, MOST).await?;
    let Some(oldest) = runs.first().and_then(|run| run.approvals.as_ref()) else { return Ok(None) };
    let what = format!("{} run(s) await approval, the oldest since {:.0}", runs.len(), oldest.asked_at);
    Ok(Some(warning(what, "look at them with `astradesk approvals`")))
}

async fn dead(store: &SqliteStore) -> Result<Option<Finding>> {
    let dead = store.dead_announcements(MOST).await?.len();
    let remedy =
        "look at them with `astradesk webhooks`, and `astradesk webhooks retry ID` when it is repaired";
    Ok((dead > 0)
        .then(|| warning(format!("{dead} announcement(s) could not be told to their webhook"), remedy)))
}

async fn checkpoint(store: &SqliteStore) -> Result<Option<Finding>> {
    let head = store.head().await?;
    // Near the end first: there is one every few minutes.
    let near = last_checkpoint(store, head.seq.saturating_sub(100_000)).await?;
    let last = if near.is_none() { last_checkpoint(store, 0).await? } else { near };
    Ok(match last {
        Some(last) => {
            let (seq, at, behind) = (last.head().seq, last.at(), head.seq.saturating_sub(last.head().seq));
            Some(good(format!("last kept checkpoint: record {seq}, at {at:.0}; {behind} record(s) since")))
        }
        None if head.seq == 0 => None,
        None => Some(warning(
            format!("no checkpoint of the {} record(s) of evidence was kept yet", head.seq),
            "one is kept when a command or `astradesk serve` ends, and every `evidence.checkpoint_minutes`",
        )),
    })
}

async fn last_checkpoint(store: &SqliteStore, mut after: u64) -> Result<Option<Checkpoint>> {
    let mut last = None;
    while let Some(note) = store.checkpoints(after, MOST).await?.last() {
        let checkpoint = Checkpoint::parse(note)?;
        after = checkpoint.head().seq;
        last = Some(checkpoint);
    }
    Ok(last)
}
