//! The stable codes of everything that can go wrong: one enum, one page in the docs.
//!
//! `docs/errors.md` is written from [`Code::ALL`]: `tests/docs.rs` holds the two together, and writes the page
//! anew when `ASTRADESK_UPDATE_DOCS` is set.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a code means for a caller: the edge maps it to an HTTP status and an exit code, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The request cannot be understood (HTTP 400, exit 2).
    Invalid,
    /// The request is understood but cannot be planned or does not fit the schema (HTTP 422, exit 2).
    Unprocessable,
    /// Nobody proved who asks (HTTP 401, exit 3).
    Unauthenticated,
    /// Who asks may not do this (HTTP 403, exit 3).
    Denied,
    /// There is no such thing (HTTP 404, exit 1).
    NotFound,
    /// The door exists, the verb does not (HTTP 405, exit 2).
    MethodNotAllowed,
    /// The client did not send its request in time (HTTP 408, exit 1).
    RequestTimeout,
    /// The moment or the state of the target forbids it (HTTP 409, exit 1).
    Conflict,
    /// More bytes than the limit (HTTP 413, exit 2).
    TooLarge,
    /// Not a media type that is spoken here (HTTP 415, exit 2).
    UnsupportedMediaType,
    /// More requests than the limit; retry later (HTTP 429, exit 6).
    Overloaded,
    /// The action was performed or attempted, and failed (HTTP 502, exit 1).
    Failed,
    /// The truth could not be established (HTTP 502, exit 5).
    Unknown,
    /// A person must agree first (HTTP 202, exit 4).
    ApprovalNeeded,
    /// Something that is needed cannot be reached (HTTP 503, exit 6).
    Unavailable,
    /// A defect of AstraDesk (HTTP 500, exit 1).
    Internal,
}

macro_rules! codes {
    ($($(#[doc = $meaning:literal])+ $variant:ident = $text:literal, $class:ident, $remedy:literal;)+) => {
        /// A stable error code, `namespace.name`. Codes are added, never renamed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Code {
            $($(#[doc = $meaning])+ $variant,)+
        }

        impl Code {
            /// Every code, in the order of the docs page.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The code as it is written in every interface.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)+ }
            }

            /// What the code means for a caller.
            pub const fn class(self) -> Class {
                match self { $(Self::$variant => Class::$class,)+ }
            }

            /// One sentence on what the code means.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => concat!($($meaning,)+).trim_ascii(),)+ }
            }

            /// What to do about it.
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)+ }
            }

            /// Reads a code as it is written.
            pub fn parse(text: &str) -> Option<Self> {
                match text { $($text => Some(Self::$variant),)+ _ => None }
            }
        }
    };
}

codes! {
    /// The request carries no bearer token.
    AuthTokenMissing = "auth.token_missing", Unauthenticated, "send `Authorization: Bearer TOKEN`";
    /// The token is not a signed JWT.
    AuthTokenMalformed = "auth.token_malformed", Unauthenticated, "send the token exactly as the issuer gave it";
    /// The token's `exp` has passed.
    AuthTokenExpired = "auth.token_expired", Unauthenticated, "get a new token from the issuer";
    /// The token's `nbf` is in the future.
    AuthTokenNotYetValid = "auth.token_not_yet_valid", Unauthenticated, "wait, or check the clocks of the issuer and of the gateway";
    /// The token's signature does not match its key.
    AuthSignatureInvalid = "auth.signature_invalid", Unauthenticated, "get a new token from the issuer";
    /// The token is signed with an algorithm that its key does not permit (`none` and HMAC never are).
    AuthAlgorithmNotAllowed = "auth.algorithm_not_allowed", Unauthenticated, "sign with RS256, ES256 or EdDSA, as the key says";
    /// The token's issuer is not configured.
    AuthIssuerUnknown = "auth.issuer_unknown", Unauthenticated, "use a token of a configured issuer, or add it under `[auth]`";
    /// The token is meant for another audience.
    AuthAudienceMismatch = "auth.audience_mismatch", Unauthenticated, "ask the issuer for a token with this gateway's audience";
    /// The token lacks the scope that its issuer's configuration asks for.
    AuthScopeMissing = "auth.scope_missing", Denied, "ask the issuer for a token with the scope that the message names";
    /// The token's key id is not among the issuer's keys.
    AuthKeyUnknown = "auth.key_unknown", Unauthenticated, "get a new token; the key may have been rotated";
    /// A claim that is needed is missing or has the wrong type.
    AuthClaimsInvalid = "auth.claims_invalid", Unauthenticated, "check the issuer's claims against `[auth]` in the configuration";
    /// The issuer's keys cannot be fetched, so nobody can be authenticated.
    AuthIssuerUnreachable = "auth.issuer_unreachable", Unavailable, "check the issuer's address and the network, then repeat";

    /// The request is not valid JSON, lacks a field, or has an unknown one.
    RequestMalformed = "request.malformed", Invalid, "send the fields that `/openapi.json` names";
    /// The body is larger than the limit.
    RequestTooLarge = "request.too_large", TooLarge, "send less, or raise `server.max_body_bytes`";
    /// The body has a media type that is not spoken here.
    RequestUnsupportedMediaType = "request.unsupported_media_type", UnsupportedMediaType, "send `content-type: application/json`";
    /// There is no such path, or nothing with this id.
    RequestNotFound = "request.not_found", NotFound, "see `/openapi.json` for the paths";
    /// The path does not speak this method.
    RequestMethodNotAllowed = "request.method_not_allowed", MethodNotAllowed, "see `/openapi.json` for the methods";
    /// The client did not finish its request in time.
    RequestTimeout = "request.timeout", RequestTimeout, "repeat the request on a faster connection";
    /// More requests are in flight than the limit.
    RequestOverloaded = "request.overloaded", Overloaded, "wait for `Retry-After` and repeat";
    /// A reason is needed, or the one given is too long or has characters that nobody sees.
    RequestReasonRequired = "request.reason_required", Unprocessable, "say why, in 1 to 1000 characters";
    /// The same `Idempotency-Key` was used with another request.
    RequestIdempotencyConflict = "request.idempotency_conflict", Conflict, "use a new key for a new request";

    /// The input is empty, or longer than its limit.
    PlanInputInvalid = "plan.input_invalid", Unprocessable, "say what to do in 1 to 8192 characters, without control characters";
    /// No word of the input names an action.
    PlanNoAction = "plan.no_action", Unprocessable, "use a word that `GET /v1/tools` lists";
    /// The input says that something must not be done.
    PlanNegated = "plan.negated", Unprocessable, "say only what is to be done";
    /// The input is a question or a condition, not an instruction.
    PlanNotInstruction = "plan.not_an_instruction", Unprocessable, "give an instruction, such as `restart webapp`";
    /// Part of the input can be read in more than one way, or not at all.
    PlanAmbiguous = "plan.ambiguous", Unprocessable, "leave out the words that are named, or say it as separate requests";
    /// The input does not say which target is meant.
    PlanMissingTarget = "plan.missing_target", Unprocessable, "name one of the candidates";
    /// The input names more than one possible target.
    PlanAmbiguousTarget = "plan.ambiguous_target", Unprocessable, "name exactly one, with its namespace and kind if need be";
    /// The input names a target that does not exist.
    PlanUnknownTarget = "plan.unknown_target", Unprocessable, "name one of the candidates";
    /// The plan has more steps than the limit.
    PlanTooLong = "plan.too_long", Unprocessable, "split it into several requests";
    /// What a language model answered is no plan that can be taken.
    PlanInvalid = "plan.invalid", Unprocessable, "say it in other words, or call the tool with its arguments yourself";

    /// The language model that plans cannot be reached, does not answer in time, or takes no more requests.
    LlmUnreachable = "llm.unreachable", Unavailable, "repeat it in a while, or use words that `GET /v1/tools` lists: they need no model";
    /// The language model's server does not accept the request or the key.
    LlmRejected = "llm.rejected", Unavailable, "correct `[llm]` as the message says; `astradesk doctor` asks the server again";
    /// What the language model's server answered is not what its protocol says.
    LlmAnswerInvalid = "llm.answer_invalid", Failed, "check that `llm.base_url` speaks the OpenAI protocol";
    /// The key of the language model's server is not where it should be.
    LlmKeyMissing = "llm.key_missing", Unavailable, "provide the key where AstraDesk runs, as `llm.key` says";
    /// What would be sent to the language model is larger than the limit.
    LlmPromptTooLarge = "llm.prompt_too_large", Unprocessable, "say less, or raise `llm.max_prompt_bytes`";
    /// The tokens or the cost of this hour are used up.
    LlmBudgetExhausted = "llm.budget_exhausted", Overloaded, "wait, raise `llm.tokens_per_hour` or `llm.cost_per_hour`, or use words that `GET /v1/tools` lists";

    /// There is no agent of this name.
    AgentNotFound = "agent.not_found", NotFound, "see `GET /v1/agents`";
    /// There is no tool of this name, or it may not be used by who asks.
    ToolNotFound = "tool.not_found", NotFound, "see `GET /v1/tools`";
    /// The arguments do not fit the tool's schema.
    ToolArgumentsInvalid = "tool.arguments_invalid", Unprocessable, "see `GET /v1/tools/{tool}` for the schema";
    /// The tool cannot be registered as it is defined.
    ToolDefinitionInvalid = "tool.definition_invalid", Unprocessable, "correct the definition as the message says";
    /// The tool did not finish within its time limit.
    ToolTimedOut = "tool.timed_out", Failed, "look at the target, then repeat with a larger `timeout` if it is sound";

    /// No policy permits this.
    PolicyDenied = "policy.denied", Denied, "ask whoever maintains the policy";
    /// Who asks lacks the role that this needs.
    PolicyRoleRequired = "policy.role_required", Denied, "ask for the role, or ask somebody who has it";
    /// The target is not on the allowlist.
    PolicyTargetNotAllowed = "policy.target_not_allowed", Denied, "add the service to `ALLOWED_SERVICES` if it may be changed";
    /// The tool is not on the list of those that may change services.
    PolicyToolNotAllowed = "policy.tool_not_allowed", Denied, "add the tool to `ALLOWED_TOOLS`, or permit it with a policy of `policy.dir`";
    /// The target is in a namespace that is not managed here.
    PolicyNamespaceNotAllowed = "policy.namespace_not_allowed", Denied, "use the namespace of `KUBERNETES_NAMESPACE`";
    /// A policy could not be evaluated, which counts as a denial.
    PolicyEvaluationFailed = "policy.evaluation_failed", Denied, "correct the policy that the message names";

    /// The policies could not be loaded, so everything is denied.
    PolicySetInvalid = "policy.set_invalid", Denied, "correct what `astradesk policy check` names";
    /// No policy set is in force, so everything is denied.
    PolicyUnavailable = "policy.unavailable", Unavailable, "correct what `astradesk policy check` names";
    /// No policy permits this principal to override guardrails here.
    PolicyBreakGlassDenied = "policy.break_glass_denied", Denied, "ask somebody who may, or wait for a better moment";

    /// A person must approve this first.
    ApprovalRequired = "approval.required", ApprovalNeeded, "wait for an approver";
    /// Who asked for a run cannot approve it, nor can an agent that acts for them.
    ApprovalBySelf = "approval.by_self", Denied, "ask somebody else to approve it";
    /// An agent cannot approve, whoever it acts for.
    ApprovalByAgent = "approval.by_agent", Denied, "approve it in person, with a token of your own";
    /// Who approves lacks a role that counts.
    ApprovalRoleRequired = "approval.role_required", Denied, "ask somebody who has one of the roles";
    /// What the approver saw is not what is asked for.
    ApprovalDigestMismatch = "approval.digest_mismatch", Conflict, "look at the run as it is now, then approve that";
    /// The same person has approved it already.
    ApprovalAlreadyGiven = "approval.already_given", Conflict, "ask somebody else for the next approval";
    /// There is no approval of this person that could be revoked.
    ApprovalNotGiven = "approval.not_given", Conflict, "look at the run's approvals";
    /// The time in which it could be approved, and the approved run begun, has passed.
    ApprovalExpired = "approval.expired", Conflict, "submit it again";
    /// An approver said no.
    ApprovalRejected = "approval.rejected", Denied, "talk to who rejected it before you submit it again";
    /// What was approved is not what would be done by now, or policy asks for more by now.
    ApprovalWithdrawn = "approval.withdrawn", Conflict, "submit it again, and have it approved again";

    /// Another run is writing to this target.
    GuardTargetLocked = "guard.target_locked", Conflict, "wait until the run that is named has finished";
    /// A rollout of this workload is in progress already.
    GuardRolloutInProgress = "guard.rollout_in_progress", Conflict, "wait until the rollout has finished";
    /// The workload's rollout cannot be paused.
    GuardNotPausable = "guard.not_pausable", Conflict, "only a Deployment's rollout can be paused";
    /// The workload's rollout is paused.
    GuardPaused = "guard.paused", Conflict, "resume the rollout first";
    /// The action means downtime, which was not accepted.
    GuardDowntime = "guard.downtime", Conflict, "pass `accept_downtime: true` if the downtime is acceptable";
    /// The workload runs no replica, so there is nothing to restart, and nothing for its autoscaler to scale.
    GuardScaledToZero = "guard.scaled_to_zero", Conflict, "scale the workload up first";
    /// The number of replicas is outside of the configured bounds.
    GuardScaleBounds = "guard.scale_bounds", Conflict, "ask for a number within the bounds, or let `scale.min` and `scale.max` in the configuration be changed";
    /// An autoscaler of the cluster sets the number of replicas.
    GuardAutoscaled = "guard.autoscaled", Conflict, "change the autoscaler's minimum: pass `autoscaler_minimum: true`, or say `to at least` so many";
    /// The workload is at the revision that it is to be rolled back to.
    GuardRevisionCurrent = "guard.revision_current", Conflict, "name another revision";
    /// The workload has no number of replicas.
    GuardNotScalable = "guard.not_scalable", Conflict, "let more or fewer nodes fit it: change its node selector, or the nodes' labels";
    /// The workload's update strategy does not replace pods by itself.
    GuardStrategyOnDelete = "guard.strategy_on_delete", Conflict, "change the strategy to `RollingUpdate`, or delete the pods yourself";
    /// A rolling update would leave some pods on the old revision.
    GuardPartitioned = "guard.partitioned", Conflict, "set the strategy's `partition` to 0 first";

    /// A freeze is in force.
    GuardFrozen = "guard.frozen", Conflict, "wait until the freeze is over";
    /// The target was acted on a moment ago.
    GuardCoolDown = "guard.cool_down", Conflict, "wait until the cool-down is over";
    /// The budget for such actions is used up.
    GuardBudgetExhausted = "guard.budget_exhausted", Conflict, "wait until the budget allows another one";
    /// More of the service's pods would be unavailable than the cap allows.
    GuardAvailability = "guard.availability", Conflict, "wait until more pods are available, or let the workload's strategy take fewer away at once";
    /// A PodDisruptionBudget allows fewer disruptions than the action would cause.
    GuardDisruptionBudget = "guard.disruption_budget", Conflict, "wait until the budget allows a disruption";
    /// A pod would be lost that nothing brings back, or data that only a pod has.
    GuardPodLoss = "guard.pod_loss", Conflict, "pass `force: true` or `delete_emptydir_data: true`, as the message says, if that may be lost";
    /// A GitOps controller manages the target and could revert the action.
    GuardGitOpsManaged = "guard.gitops_managed", Conflict, "make the change in the repository that the controller follows";
    /// More runs are waiting than the limit.
    GuardQueueFull = "guard.queue_full", Overloaded, "wait for `Retry-After` and repeat";

    /// There is no such object in the cluster.
    KubernetesNotFound = "kubernetes.not_found", NotFound, "check the name, the namespace and the kind";
    /// The controller keeps no such revision of the workload.
    KubernetesRevisionNotFound = "kubernetes.revision_not_found", NotFound, "look at `kubectl rollout history`, and name one of those";
    /// Several kinds have an object of this name.
    KubernetesAmbiguousKind = "kubernetes.ambiguous_kind", Conflict, "say which `kind` is meant";
    /// The cluster does not know the credentials of AstraDesk.
    KubernetesUnauthorized = "kubernetes.unauthorized", Unavailable, "renew the credentials in the kubeconfig";
    /// The cluster does not permit this to AstraDesk's own identity.
    KubernetesForbidden = "kubernetes.forbidden", Failed, "give AstraDesk's identity the permission; `astradesk doctor` lists what it needs";
    /// The cluster refused the change.
    KubernetesRejected = "kubernetes.rejected", Failed, "correct what the cluster's message names";
    /// The object changed in between.
    KubernetesConflict = "kubernetes.conflict", Conflict, "repeat the request";
    /// The cluster cannot be reached, or does not answer in time.
    KubernetesUnavailable = "kubernetes.unavailable", Unavailable, "check the cluster and the kubeconfig with `astradesk doctor`";

    /// New pods cannot pull their image.
    RolloutImagePull = "rollout.image_pull", Failed, "correct the image or its registry's credentials, or undo the rollout";
    /// New pods crash again and again.
    RolloutCrashLoop = "rollout.crash_loop", Failed, "read the last log lines, then correct the cause or undo the rollout";
    /// New pods run but do not become ready.
    RolloutNotReady = "rollout.not_ready", Failed, "look at the readiness probe and its dependencies, or undo the rollout";
    /// New pods find no node.
    RolloutUnschedulable = "rollout.unschedulable", Failed, "free or add capacity, or correct the pod's constraints";
    /// New pods may not be created because of a quota.
    RolloutQuotaExceeded = "rollout.quota_exceeded", Failed, "raise the quota or free some of it";
    /// The rollout made no progress within the workload's own deadline.
    RolloutDeadlineExceeded = "rollout.deadline_exceeded", Failed, "look at the new pods, then undo the rollout or correct the cause";
    /// The rollout did not finish within the call's `timeout`.
    RolloutTimedOut = "rollout.timed_out", Failed, "look at the new pods; the rollout may still go on";
    /// Another change replaced this one before it was complete.
    RolloutSuperseded = "rollout.superseded", Failed, "look at who changed the workload; restart again if it is still needed";
    /// The workload was deleted during the rollout.
    RolloutWorkloadDeleted = "rollout.workload_deleted", Failed, "look at who deleted the workload";

    /// A pack cannot be read, or cannot be put in force.
    PackInvalid = "pack.invalid", Unprocessable, "correct what the message names; `astradesk packs check` checks it again";
    /// The definition of a tool in an MCP server was never accepted, so the tool is disabled.
    PackNotAccepted = "pack.not_accepted", Conflict, "look at its definition and accept it with `astradesk packs accept`";
    /// The MCP server defines a tool otherwise than was accepted, so the tool is disabled.
    PackDefinitionChanged = "pack.definition_changed", Conflict, "look at the difference with `astradesk packs accept`, and accept it if it is meant";
    /// What a tool speaks to cannot be reached, or takes no more requests; nothing was done.
    UpstreamUnreachable = "upstream.unreachable", Unavailable, "check the address and the network, then repeat";
    /// What a tool speaks to does not permit this to the pack's credentials.
    UpstreamForbidden = "upstream.forbidden", Failed, "give its credentials the permission";
    /// What a tool speaks to knows no such thing.
    UpstreamNotFound = "upstream.not_found", NotFound, "check the arguments";
    /// What a tool speaks to is in a state in which this cannot be done.
    UpstreamConflict = "upstream.conflict", Conflict, "look at its state, then repeat";
    /// What a tool speaks to refused the request.
    UpstreamRejected = "upstream.rejected", Failed, "correct what its answer names";
    /// What a tool speaks to, or runs, failed.
    UpstreamFailed = "upstream.failed", Failed, "look at its answer and its logs";
    /// What a tool speaks to answered with something else than it should.
    UpstreamAnswerInvalid = "upstream.answer_invalid", Failed, "check the configuration, or the pack, against what it speaks to";
    /// What was done did not have the effect that the pack says.
    UpstreamNotVerified = "upstream.not_verified", Failed, "look at the target: the request was accepted";

    /// Ansible is not there, does not answer, or cannot read its inventory or the folder of playbooks.
    AnsibleUnavailable = "ansible.unavailable", Unavailable, "check `[ansible]` in the configuration with `astradesk doctor`";
    /// There is no such playbook with a manifest in the configured folder.
    AnsiblePlaybookNotFound = "ansible.playbook_not_found", NotFound, "name one of the candidates";
    /// The folder of playbooks, a manifest or a playbook is not right.
    AnsiblePlaybookInvalid = "ansible.playbook_invalid", Unprocessable, "correct what the message names";
    /// The hosts are not in the inventory, not among those that the manifest names, none at all, or too many.
    AnsibleHostsRefused = "ansible.hosts_refused", Conflict, "name other hosts in `limit`, or let the manifest be changed";
    /// The playbooks or the hosts of the inventory are not what they were when it was asked for.
    AnsibleChanged = "ansible.changed", Conflict, "look at what it would do now, and ask for it again";
    /// The playbook failed on every host.
    AnsibleFailed = "ansible.failed", Failed, "look at what failed: the tasks before it were done";
    /// The playbook failed on some hosts, or could not reach them, and succeeded on others.
    AnsiblePartial = "ansible.partial", Failed, "look at the hosts that are named: the others are done, and `limit` can leave them out";
    /// The playbook could reach none of its hosts.
    AnsibleUnreachable = "ansible.unreachable", Failed, "check the hosts, and how Ansible reaches them";
    /// A query that is to decide about an effect finds nothing that it could decide by, so nothing was done.
    MetricsNoData = "metrics.no_data", Conflict, "correct the query in `prometheus.queries`, or leave out the check";
    /// What was done has come out well, and what was asked of a metric after it did not hold.
    MetricsCheckFailed = "metrics.check_failed", Failed, "look at the service; undo what was done if that is the cause";
    /// What was done has come out well, and whether what was asked of a metric after it held could not be measured.
    MetricsNotMeasured = "metrics.not_measured", Unknown, "look at the metric yourself; what was done is left as it is";

    /// There is no such run, or it may not be seen by who asks.
    RunNotFound = "run.not_found", NotFound, "see `GET /v1/runs`";
    /// The run is in a state in which this cannot be done.
    RunStateConflict = "run.state_conflict", Conflict, "look at the run's state";
    /// The run was cancelled.
    RunCancelled = "run.cancelled", Failed, "submit a new run if it is still needed";
    /// Whether the effect happened could not be established.
    RunOutcomeUnknown = "run.outcome_unknown", Unknown, "look at the target before you repeat anything";
    /// The run's time limit passed before it was done.
    RunTimedOut = "run.timed_out", Failed, "submit a new run if it is still needed";
    /// Another process executes the run by now.
    RunClaimLost = "run.claim_lost", Conflict, "look at the run: whoever claimed it goes on with it";

    /// The store cannot be reached or refuses to write, so nothing is done.
    StoreUnavailable = "store.unavailable", Unavailable, "check the disk and the database, then repeat";
    /// The clock has just stepped, so times cannot be trusted, and nothing new is begun.
    ClockStepped = "clock.stepped", Unavailable, "see to the time synchronization of the machine; it is trusted again once it has been steady for a while";
    /// The evidence does not verify.
    EvidenceBroken = "evidence.broken", Failed, "keep the files as they are and find out who changed them";
    /// A secret that the configuration or a pack names is not there.
    SecretMissing = "secret.missing", Unavailable, "provide the secret where AstraDesk runs";
    /// The configuration is not valid.
    ConfigInvalid = "config.invalid", Invalid, "correct the key that the message names";
    /// The gateway cannot be reached.
    ServerUnreachable = "server.unreachable", Unavailable, "check the address, and that `astradesk serve` runs there";
    /// A defect of AstraDesk.
    Internal = "internal.error", Internal, "report it with the run's id and the logs";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Code {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(format!("unknown error code `{text}`")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_namespaced_unique_and_reads_back() {
        let mut seen = std::collections::BTreeSet::new();
        for &code in Code::ALL {
            assert!(seen.insert(code.as_str()), "{code} stands twice");
            assert_eq!(Code::parse(code.as_str()), Some(code));
            let (namespace, name) = code.as_str().split_once('.').expect("namespace.name");
            let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            assert!(plain(namespace) && plain(name), "{code}");
            assert!(code.meaning().ends_with('.') && !code.remedy().ends_with('.'), "{code}");
        }
        assert_eq!(Code::parse("no.such"), None);
    }
}
