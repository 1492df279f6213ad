//! Every key, once.

/// A key of the configuration.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// `section.key`, or the name of a table or an array of tables that is one value.
    pub path: &'static str,
    /// The environment variables that set it; the first is the one that the docs name.
    pub env: &'static [&'static str],
    /// The default, as TOML.
    pub default: &'static str,
    /// What it means, with its unit and limits.
    pub meaning: &'static str,
}

const fn key(
    path: &'static str,
    env: &'static [&'static str],
    default: &'static str,
    meaning: &'static str,
) -> Key {
    Key { path, env, default, meaning }
}

/// Every key, in the order of the docs.
pub const KEYS: &[Key] = &[
    key(
        "server.listen",
        &["ASTRADESK_SERVER_LISTEN"],
        "\"127.0.0.1:8787\"",
        "address and port of the gateway; loopback unless you change it",
    ),
    key(
        "server.max_body_bytes",
        &["ASTRADESK_SERVER_MAX_BODY_BYTES"],
        "65536",
        "largest request body, in bytes",
    ),
    key(
        "server.max_concurrent_requests",
        &["ASTRADESK_SERVER_MAX_CONCURRENT_REQUESTS"],
        "1024",
        "requests in flight; one more is answered `request.overloaded`",
    ),
    key(
        "server.stop_seconds",
        &["ASTRADESK_SERVER_STOP_SECONDS"],
        "15",
        "how long a stop waits for requests and runs, in seconds",
    ),
    key(
        "server.public_url",
        &["ASTRADESK_SERVER_PUBLIC_URL"],
        "\"\"",
        "how clients reach the gateway, such as `https://ops.example.com`; empty: `server.listen`, by http",
    ),
    key(
        "mcp.allowed_hosts",
        &["ASTRADESK_MCP_ALLOWED_HOSTS"],
        "[]",
        "hosts that a request to `/mcp` may be for, with or without a port, beside loopback, `server.listen` and `server.public_url`",
    ),
    key(
        "mcp.allowed_origins",
        &["ASTRADESK_MCP_ALLOWED_ORIGINS"],
        "[]",
        "origins of web pages that may speak to `/mcp`, such as `https://app.example.com`, or with `:*` for any port, beside loopback and `server.public_url`",
    ),
    key(
        "mcp.wait_seconds",
        &["ASTRADESK_MCP_WAIT_SECONDS"],
        "50",
        "how long an agent's call waits for its run unless it says otherwise, in seconds; 0 to 600. The run goes on",
    ),
    key(
        "mcp.sessions",
        &["ASTRADESK_MCP_SESSIONS"],
        "1024",
        "MCP sessions at the same time, for versions of the protocol that have them; one more is answered `request.overloaded`",
    ),
    key(
        "auth.dev",
        &["ASTRADESK_AUTH_DEV"],
        "false",
        "accept tokens of the built-in development issuer (`astradesk token`); on loopback only",
    ),
    key(
        "auth.issuers",
        &[],
        "[]",
        "issuers whose tokens are accepted: tables with `issuer`, `audience`, `keys` (`{ file = … }` or `{ jwks_url = … }`; else discovered), `algorithms`, `roles_claim` (default `roles`), `required_scope` (default: none), `leeway_seconds` (default 30)",
    ),
    key(
        "policy.allowed_services",
        &["ALLOWED_SERVICES"],
        "[]",
        "services that may be changed, comma-separated in the environment; empty: none",
    ),
    key(
        "policy.allowed_tools",
        &["ALLOWED_TOOLS"],
        "[\"restart_service\"]",
        "tools that may change them, comma-separated in the environment: `restart_service`, `rollback_service`, `scale_service`, …; what else changes something needs a policy of `policy.dir`",
    ),
    key(
        "policy.required_role_restart",
        &["REQUIRED_ROLE_RESTART"],
        "\"sre\"",
        "role that a change of a service needs",
    ),
    key(
        "policy.read_roles",
        &["ASTRADESK_POLICY_READ_ROLES"],
        "[]",
        "further roles that may read services, runs and evidence",
    ),
    key(
        "policy.on_failure",
        &["ASTRADESK_POLICY_ON_FAILURE"],
        "\"leave\"",
        "what becomes of a restart that failed, unless the call says it by its argument `on_failure`: `leave`, or `undo` as a step of its own",
    ),
    key(
        "policy.dir",
        &["ASTRADESK_POLICY_DIR"],
        "\"\"",
        "folder with policy files (`*.cedar`), added to the built-in policies and loaded again when they change; empty: none",
    ),
    key(
        "policy.known_roles",
        &["ASTRADESK_POLICY_KNOWN_ROLES"],
        "[]",
        "roles that the issuers give: a policy that names another one is warned about; empty: no such warnings",
    ),
    key(
        "policy.approval_minutes",
        &["ASTRADESK_POLICY_APPROVAL_MINUTES"],
        "60",
        "how long a run can be approved, and the approved run begun, in minutes; 1 to 10080 (a week)",
    ),
    key(
        "agents.ops.planner",
        &["ASTRADESK_AGENTS_OPS_PLANNER"],
        "\"keyword\"",
        "how the agent `ops` plans: `keyword`, which is deterministic; `llm`, by a language model, after the keyword planner has refused what is no instruction; or `keyword_then_llm`, by a language model only what the keyword planner has no words for. See [llm.md](llm.md)",
    ),
    key(
        "llm.base_url",
        &["ASTRADESK_LLM_BASE_URL"],
        "\"\"",
        "where the language model is: the address to which `/chat/completions` is added, such as `http://127.0.0.1:11434/v1`",
    ),
    key(
        "llm.allow_http",
        &["ASTRADESK_LLM_ALLOW_HTTP"],
        "false",
        "whether `llm.base_url` may be `http://` elsewhere than on loopback: everybody on the way can read what is said then",
    ),
    key("llm.model", &["ASTRADESK_LLM_MODEL"], "\"\"", "the model that is asked for"),
    key(
        "llm.key",
        &["ASTRADESK_LLM_KEY"],
        "\"\"",
        "where the key is: `env:NAME` (of the process's environment) or `file:/PATH`, looked up when it is used; empty: none is sent. The key itself never stands here",
    ),
    key(
        "llm.mode",
        &["ASTRADESK_LLM_MODE"],
        "\"tools\"",
        "how the model answers: `tools`, by calling functions, or `json_schema`, by one JSON document",
    ),
    key(
        "llm.timeout_seconds",
        &["ASTRADESK_LLM_TIMEOUT_SECONDS"],
        "30",
        "how long a plan may take, with everything that is sent again, in seconds; 1 to 300",
    ),
    key(
        "llm.retries",
        &["ASTRADESK_LLM_RETRIES"],
        "2",
        "how often a question is sent again that was not answered (429, 5xx, a broken connection); 0 to 5",
    ),
    key("llm.max_tokens", &["ASTRADESK_LLM_MAX_TOKENS"], "1024", "tokens of one answer"),
    key("llm.max_steps", &["ASTRADESK_LLM_MAX_STEPS"], "4", "steps of a plan; 1 to 16"),
    key(
        "llm.max_prompt_bytes",
        &["ASTRADESK_LLM_MAX_PROMPT_BYTES"],
        "65536",
        "size of a question with the definitions of the tools, in bytes; 4096 to 1048576",
    ),
    key(
        "llm.seed",
        &["ASTRADESK_LLM_SEED"],
        "0",
        "what makes the model's choices repeatable, as far as its server honours it",
    ),
    key(
        "llm.tokens_per_hour",
        &["ASTRADESK_LLM_TOKENS_PER_HOUR"],
        "500000",
        "tokens of questions and answers in any hour, of this process; one more question is answered `llm.budget_exhausted`",
    ),
    key(
        "llm.cost_per_hour",
        &["ASTRADESK_LLM_COST_PER_HOUR"],
        "0.0",
        "cost of any hour, in whatever the prices are in, of this process; 0: only tokens are limited",
    ),
    key("llm.prompt_price", &["ASTRADESK_LLM_PROMPT_PRICE"], "0.0", "price of 1000 tokens of questions"),
    key(
        "llm.completion_price",
        &["ASTRADESK_LLM_COMPLETION_PRICE"],
        "0.0",
        "price of 1000 tokens of answers",
    ),
    key(
        "scale.min",
        &["ASTRADESK_SCALE_MIN"],
        "1",
        "the fewest replicas that `scale_service` gives a service; fewer are answered `guard.scale_bounds`, and 0 needs `accept_downtime` unless this is 0",
    ),
    key(
        "scale.max",
        &["ASTRADESK_SCALE_MAX"],
        "20",
        "the most replicas that `scale_service` gives a service, at most 10000",
    ),
    key(
        "prometheus.base_url",
        &["ASTRADESK_PROMETHEUS_BASE_URL"],
        "\"\"",
        "where Prometheus is, or what speaks its API: the address to which `/api/v1/query` is added; empty: there is none, and neither its tools nor checks. See [prometheus.md](prometheus.md)",
    ),
    key(
        "prometheus.allow_http",
        &["ASTRADESK_PROMETHEUS_ALLOW_HTTP"],
        "false",
        "whether `prometheus.base_url` may be `http://` elsewhere than on loopback: everybody on the way can read and change what is said then",
    ),
    key(
        "prometheus.name",
        &["ASTRADESK_PROMETHEUS_NAME"],
        "\"main\"",
        "what it is called in targets: `external/prometheus/server/main`",
    ),
    key(
        "prometheus.bearer",
        &["ASTRADESK_PROMETHEUS_BEARER"],
        "\"\"",
        "where the bearer token for it is: `env:NAME` or `file:/PATH`, looked up when it is used; empty: none is sent",
    ),
    key(
        "prometheus.user",
        &["ASTRADESK_PROMETHEUS_USER"],
        "\"\"",
        "the name for basic authentication, instead of a bearer token",
    ),
    key(
        "prometheus.password",
        &["ASTRADESK_PROMETHEUS_PASSWORD"],
        "\"\"",
        "where the password for it is: `env:NAME` or `file:/PATH`",
    ),
    key(
        "prometheus.ca_file",
        &["ASTRADESK_PROMETHEUS_CA_FILE"],
        "\"\"",
        "file with certificates of further authorities that it may have its own from, in PEM; empty: those of the machine",
    ),
    key(
        "prometheus.timeout_seconds",
        &["ASTRADESK_PROMETHEUS_TIMEOUT_SECONDS"],
        "10",
        "how long one query may take, which Prometheus is told as well, in seconds; 1 to 60",
    ),
    key(
        "prometheus.max_answer_bytes",
        &["ASTRADESK_PROMETHEUS_MAX_ANSWER_BYTES"],
        "1048576",
        "size of an answer, in bytes; 4096 to 67108864",
    ),
    key(
        "prometheus.max_series",
        &["ASTRADESK_PROMETHEUS_MAX_SERIES"],
        "50",
        "series of an answer of `query_metrics`; 1 to 1000. The rest is left out, and that is said",
    ),
    key(
        "prometheus.check_seconds",
        &["ASTRADESK_PROMETHEUS_CHECK_SECONDS"],
        "60",
        "how far each measurement of a `check` looks back, in seconds: at least four times as long as the interval of scraping; 2 to 600",
    ),
    key(
        "prometheus.cluster_label",
        &["ASTRADESK_PROMETHEUS_CLUSTER_LABEL"],
        "\"\"",
        "label whose value is the cluster's name as targets have it, for a Prometheus with series of several clusters: the built-in queries ask for it; empty: none. Needed when [several clusters](kubernetes.md) are managed",
    ),
    key(
        "prometheus.queries",
        &[],
        "{}",
        "named queries beside the built-in ones or in their place: `p99 = \"…\"`, or `apdex = { query = \"…\", unit = \"ratio\" }`; an empty one leaves the built-in one out; at most 32",
    ),
    key(
        "alertmanager.base_url",
        &["ASTRADESK_ALERTMANAGER_BASE_URL"],
        "\"\"",
        "where the Alertmanager is, such as `https://alertmanager.example.com`; empty: there is none, nor its tools. See [alertmanager.md](alertmanager.md)",
    ),
    key(
        "alertmanager.allow_http",
        &["ASTRADESK_ALERTMANAGER_ALLOW_HTTP"],
        "false",
        "whether `alertmanager.base_url` may be `http://` elsewhere than on loopback: everybody on the way can read what is said then",
    ),
    key(
        "alertmanager.bearer",
        &["ASTRADESK_ALERTMANAGER_BEARER"],
        "\"\"",
        "where the bearer token for it is: `env:NAME` or `file:/PATH`; empty: none",
    ),
    key(
        "alertmanager.user",
        &["ASTRADESK_ALERTMANAGER_USER"],
        "\"\"",
        "name for basic authentication, instead of a token; empty: none",
    ),
    key(
        "alertmanager.password",
        &["ASTRADESK_ALERTMANAGER_PASSWORD"],
        "\"\"",
        "where the password of `alertmanager.user` is: `env:NAME` or `file:/PATH`",
    ),
    key(
        "alertmanager.ca_file",
        &["ASTRADESK_ALERTMANAGER_CA_FILE"],
        "\"\"",
        "file with the certificates of further authorities, in PEM; empty: the system's only",
    ),
    key(
        "alertmanager.timeout_seconds",
        &["ASTRADESK_ALERTMANAGER_TIMEOUT_SECONDS"],
        "10",
        "how long one request to it may take, in seconds; 1 to 60",
    ),
    key(
        "alertmanager.max_answer_bytes",
        &["ASTRADESK_ALERTMANAGER_MAX_ANSWER_BYTES"],
        "8388608",
        "largest answer of it, in bytes; 4096 to 67108864. It lists every silence of its retention (5 days), about 500 bytes each",
    ),
    key(
        "alertmanager.service_labels",
        &[],
        "[\"namespace={namespace},service={service}\", \"namespace={namespace},deployment={service}\", \"namespace={namespace},statefulset={service}\", \"namespace={namespace},daemonset={service}\", \"namespace={namespace},app={service}\", \"namespace={namespace},container={service}\"]",
        "labels that mean a service, with `{namespace}` and `{service}` in them, the likeliest first; at most 16. See [alertmanager.md](alertmanager.md#which-alerts-are-a-services)",
    ),
    key(
        "alertmanager.max_silence_minutes",
        &["ASTRADESK_ALERTMANAGER_MAX_SILENCE_MINUTES"],
        "240",
        "longest silence, in minutes; 1 to 10080 (a week)",
    ),
    key(
        "aws.region",
        &["ASTRADESK_AWS_REGION"],
        "\"\"",
        "region of AWS, such as `eu-central-1`; empty: there are no tools for it. Credentials are looked for as the AWS SDKs do. See [aws.md](aws.md)",
    ),
    key(
        "aws.profile",
        &["ASTRADESK_AWS_PROFILE"],
        "\"\"",
        "profile of the shared AWS configuration; empty: the one that the environment names, else `default`",
    ),
    key(
        "aws.endpoint",
        &["ASTRADESK_AWS_ENDPOINT"],
        "\"\"",
        "address in the place of AWS's own, such as that of a VPC endpoint; empty: AWS's own",
    ),
    key(
        "aws.allow_http",
        &["ASTRADESK_AWS_ALLOW_HTTP"],
        "false",
        "whether `aws.endpoint` may be `http://` elsewhere than on loopback",
    ),
    key(
        "aws.timeout_seconds",
        &["ASTRADESK_AWS_TIMEOUT_SECONDS"],
        "15",
        "how long one request to it may take, in seconds; 1 to 60",
    ),
    key(
        "packs.folder",
        &["ASTRADESK_PACKS_FOLDER"],
        "\"\"",
        "folder with packs, each a folder with a `pack.toml`, at most 256; loaded again when they change; empty: none. See [packs.md](packs.md)",
    ),
    key(
        "ansible.folder",
        &["ASTRADESK_ANSIBLE_FOLDER"],
        "\"\"",
        "folder with playbooks (`NAME.yml`), each with a manifest (`NAME.toml`), at most 4096 files and 32 MiB; empty: there is no `run_playbook`. See [ansible.md](ansible.md)",
    ),
    key(
        "ansible.inventory",
        &["ASTRADESK_ANSIBLE_INVENTORY"],
        "\"inventory\"",
        "Ansible's inventory, a file or a folder; in `ansible.folder` unless it is an absolute path",
    ),
    key(
        "ansible.programs",
        &["ASTRADESK_ANSIBLE_PROGRAMS"],
        "\"\"",
        "folder with `ansible-playbook`; empty: it is searched for in `PATH`",
    ),
    key(
        "ansible.vault_password",
        &["ASTRADESK_ANSIBLE_VAULT_PASSWORD"],
        "\"\"",
        "where the password of vaults is: `env:NAME` (of the process's environment) or `file:/PATH`; empty: none. The password itself never stands here",
    ),
    key(
        "ansible.environment",
        &["ASTRADESK_ANSIBLE_ENVIRONMENT"],
        "[]",
        "names of environment variables that Ansible is given, such as `SSH_AUTH_SOCK`, beside `HOME` and `PATH`",
    ),
    key(
        "ansible.max_hosts",
        &["ASTRADESK_ANSIBLE_MAX_HOSTS"],
        "20",
        "the most hosts of one run of a playbook, 1 to 200; more are answered `ansible.hosts_refused`",
    ),
    key(
        "guardrails",
        &[],
        "[]",
        "rules on the moment: tables with `name`, `tools` and `targets` (absent: all), and one of `freeze`, `cool_down`, `budget`, `max_unavailable`, `disruption_budgets`, `gitops`; see [guardrails.md](guardrails.md)",
    ),
    key(
        "webhooks",
        &[],
        "[]",
        "who is told that a run awaits approval: tables with `name`, `url`, and `secret_env` (the environment variable) or `secret_file` (the file) that holds the signing secret `whsec_…`, which never stands here",
    ),
    key(
        "aliases",
        &[],
        "{}",
        "what people call services in sentences, in the managed namespace: `payments = \"payments-api\"`; an alias has 1 to 4 words, and there may be 1024. See [sentences.md](sentences.md)",
    ),
    key("kubernetes.namespace", &["KUBERNETES_NAMESPACE"], "\"default\"", "namespace that is managed"),
    key(
        "kubernetes.kubeconfig",
        &["ASTRADESK_KUBERNETES_KUBECONFIG", "KUBECONFIG"],
        "\"\"",
        "kubeconfig file, or several as in `KUBECONFIG`; empty: `~/.kube/config`, or the pod's service account",
    ),
    key(
        "kubernetes.context",
        &["ASTRADESK_KUBERNETES_CONTEXT"],
        "\"\"",
        "context of the kubeconfig; empty: its current one",
    ),
    key(
        "kubernetes.cluster",
        &["ASTRADESK_KUBERNETES_CLUSTER"],
        "\"\"",
        "name of the cluster in targets; empty: the context's name",
    ),
    key(
        "kubernetes.contexts",
        &["ASTRADESK_KUBERNETES_CONTEXTS"],
        "[]",
        "contexts of further clusters, each called like its context or as `NAME=CONTEXT` says; there may be 16 clusters. With more than one every call names its `cluster`. See [kubernetes.md](kubernetes.md)",
    ),
    key(
        "kubernetes.requests_per_second",
        &["ASTRADESK_KUBERNETES_REQUESTS_PER_SECOND"],
        "50",
        "requests a second that this process sends to the API server, on average; the others wait for their turn",
    ),
    key(
        "kubernetes.request_burst",
        &["ASTRADESK_KUBERNETES_REQUEST_BURST"],
        "100",
        "requests that may go to the API server at once after a quiet time",
    ),
    key(
        "local.roles",
        &["ASTRADESK_LOCAL_ROLES"],
        "[]",
        "roles of the operating-system user without a gateway; empty: the required role",
    ),
    key(
        "store.path",
        &["ASTRADESK_STORE_PATH"],
        "\"\"",
        "folder of the database and the evidence key; empty: `$XDG_STATE_HOME/astradesk`",
    ),
    key(
        "limits.concurrent_runs",
        &["ASTRADESK_LIMITS_CONCURRENT_RUNS"],
        "64",
        "runs that are executed at the same time",
    ),
    key(
        "limits.concurrent_per_tool",
        &["ASTRADESK_LIMITS_CONCURRENT_PER_TOOL"],
        "64",
        "runs with a step of the same tool that are executed at the same time",
    ),
    key(
        "limits.queued_runs",
        &["ASTRADESK_LIMITS_QUEUED_RUNS"],
        "1024",
        "runs that may wait for their turn; one more is answered `guard.queue_full`",
    ),
    key(
        "limits.queued_per_target",
        &["ASTRADESK_LIMITS_QUEUED_PER_TARGET"],
        "0",
        "runs that may wait for a target on which another run works; one more is answered `guard.target_locked`",
    ),
    key(
        "limits.awaiting_approval",
        &["ASTRADESK_LIMITS_AWAITING_APPROVAL"],
        "256",
        "runs that may await approval; one more is answered `guard.queue_full`",
    ),
    key(
        "limits.run_minutes",
        &["ASTRADESK_LIMITS_RUN_MINUTES"],
        "120",
        "how long a run may take from its admission to the beginning of its last step, also across restarts, in minutes; then it ends `run.timed_out`",
    ),
    key(
        "limits.idempotency_hours",
        &["ASTRADESK_LIMITS_IDEMPOTENCY_HOURS"],
        "24",
        "how long an `Idempotency-Key` is remembered, in hours",
    ),
    key(
        "evidence.checkpoint_minutes",
        &["ASTRADESK_EVIDENCE_CHECKPOINT_MINUTES"],
        "10",
        "how often a signed checkpoint of the evidence is kept, in minutes; one is kept at the end as well",
    ),
    key(
        "evidence.keep_days",
        &["ASTRADESK_EVIDENCE_KEEP_DAYS"],
        "0",
        "how long evidence is kept, in days; 0: for ever. What is removed stays pinned by a signed checkpoint",
    ),
    key(
        "runs.keep_days",
        &["ASTRADESK_RUNS_KEEP_DAYS"],
        "0",
        "how long runs and their events are kept after they ended, in days; 0: for ever. At least as long as `limits.idempotency_hours`",
    ),
    key(
        "log.level",
        &["ASTRADESK_LOG_LEVEL"],
        "\"info\"",
        "what is logged: a level, or `tracing` directives such as `astradesk_gateway=debug`",
    ),
    key("log.format", &["ASTRADESK_LOG_FORMAT"], "\"text\"", "`text` or `json`"),
];

/// The known key that is nearest to `unknown`, if one is near enough to be meant.
pub fn nearest(unknown: &str) -> Option<&'static str> {
    let near = KEYS.iter().map(|key| (strsim::jaro_winkler(unknown, key.path), key.path));
    near.filter(|(score, _)| *score > 0.75).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, path)| path)
}
