//! The grammar of approvals, packs, policies, evidence and webhooks.

use clap::{Args, Subcommand, ValueEnum};
use std::path::PathBuf;

/// `astradesk approvals`
#[derive(Debug, Subcommand)]
pub enum Approvals {
    /// List the runs that await approval, oldest first
    List {
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
    /// Show what an approver should know: who asks for what and why, what it would do, who must agree
    Show {
        /// The run's id
        id: String,
    },
    /// Agree to a run
    Approve {
        #[command(flatten)]
        #[expect(missing_docs, reason = "flattened: the fields carry the help")]
        verdict: Verdict,
        /// Only with --server: do not watch the run if this was the last approval that it needed
        #[arg(long)]
        no_wait: bool,
    },
    /// Say no to a run, which ends it
    Reject {
        #[command(flatten)]
        #[expect(missing_docs, reason = "flattened: the fields carry the help")]
        verdict: Verdict,
    },
    /// Take one's approval back, which is possible until the run has begun
    Revoke {
        /// The run's id
        id: String,
    },
}

/// What somebody says about a run.
#[derive(Debug, Clone, Args)]
pub struct Verdict {
    /// The run's id
    pub id: String,
    /// The digest that was seen, or at least its first 8 characters; at a terminal it is asked for
    #[arg(long, value_name = "DIGEST")]
    pub digest: Option<String>,
    /// Why; at a terminal it is asked for
    #[arg(long, value_name = "TEXT")]
    pub reason: Option<String>,
}

/// `astradesk packs`
#[derive(Debug, Subcommand)]
pub enum Packs {
    /// List the packs, with their tools and what is wrong with them
    List,
    /// Make a folder with a pack to begin with
    New {
        /// The pack's name, which is its folder's, too
        name: String,
        /// With every tool of the MCP server at this address
        #[arg(long, value_name = "URL", conflicts_with = "program")]
        mcp: Option<String>,
        /// With every tool of the MCP server that is this program
        #[arg(last = true, value_name = "PROGRAM")]
        program: Vec<String>,
    },
    /// Show what the MCP server of a pack defines, and accept it
    Accept {
        /// A pack of `packs.folder`, or the folder of one
        pack: PathBuf,
        /// One of its tools [default: all]
        tool: Option<String>,
        /// The digest that was seen, or at least its first 8 characters; at a terminal it is asked for
        #[arg(long, value_name = "DIGEST")]
        digest: Option<String>,
    },
    /// Check a pack; reaches nobody
    Check {
        /// Its folder
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
    /// Try the cases of a pack; reaches nobody
    Test {
        /// Its folder
        #[arg(default_value = ".")]
        dir: PathBuf,
    },
}

/// `astradesk policy`
#[derive(Debug, Subcommand)]
pub enum Policy {
    /// Check policy files against the schema; needs neither a cluster nor a gateway
    Check {
        /// Their folder [default: `policy.dir`]
        dir: Option<PathBuf>,
    },
    /// Try cases: who asks for what, and what policy should say
    Test {
        /// Files with cases, in YAML or JSON
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
        /// The policies' folder [default: `policy.dir`; with --server: the gateway's policies]
        #[arg(long)]
        dir: Option<PathBuf>,
    },
    /// Say which policies decide, and what would change the decision
    Explain(Explain),
}

/// `astradesk policy explain`
#[derive(Debug, Args)]
pub struct Explain {
    /// A run's id, or a tool
    #[arg(value_name = "RUN|TOOL", required_unless_present = "case")]
    pub what: Option<String>,
    /// The tool's arguments
    #[arg(value_name = "KEY=VALUE", requires = "what")]
    pub arguments: Vec<String>,
    /// Cases, in YAML or JSON
    #[arg(long, value_name = "FILE", conflicts_with_all = ["what", "subject", "roles", "actor", "targets"])]
    pub case: Option<PathBuf>,
    /// Who asks [default: the operating-system user]
    #[arg(long = "as", value_name = "SUBJECT")]
    pub subject: Option<String>,
    /// The roles that they have
    #[arg(long = "role", value_name = "ROLE")]
    pub roles: Vec<String>,
    /// The agent that acts for them
    #[arg(long, value_name = "ACTOR")]
    pub actor: Option<String>,
    /// What the tool would act on, such as `kubernetes/prod/default/deployment/webapp`
    #[arg(long = "target", value_name = "TARGET")]
    pub targets: Vec<String>,
    /// The policies' folder [default: `policy.dir`; with --server: the gateway's policies]
    #[arg(long)]
    pub dir: Option<PathBuf>,
}

/// `astradesk audit`
#[derive(Debug, Subcommand)]
pub enum Audit {
    /// Show the last records
    Tail {
        /// How many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        lines: u32,
    },
    /// Tell the story of a run
    Show {
        /// The run's id
        id: String,
    },
    /// Write records as JSON lines with their signed checkpoints, or as CloudEvents
    Export(Export),
    /// Verify the chain: this machine's, the gateway's, an export's or a database's
    Verify {
        /// An export, verified offline
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// A database file, verified offline
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        database: Option<PathBuf>,
        /// An export kept elsewhere: the chain must still hold what it was signed for
        #[arg(long, value_name = "FILE", conflicts_with = "file")]
        against: Option<PathBuf>,
        /// The key that the checkpoints must be signed with: `NAME+ID+KEY`, or 64 hexadecimal digits
        #[arg(long, value_name = "VKEY")]
        key: Option<String>,
    },
    /// Remove old records up to a signed checkpoint, which pins what was removed
    Prune {
        /// Only records before this day or time, such as `2026-01-31` or `2026-01-31T12:00:00Z`
        #[arg(long, value_name = "DATE")]
        before: String,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

/// `astradesk audit export`
#[derive(Debug, Args)]
pub struct Export {
    /// The file [default: standard output]
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// In which form
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub format: Format,
    /// Which records
    #[command(flatten)]
    pub selection: Selection,
}

/// Which records.
#[derive(Debug, Clone, Default, Args)]
pub struct Selection {
    /// Only those after this number
    #[arg(long, value_name = "N")]
    pub after: Option<u64>,
    /// Only those up to this number
    #[arg(long, value_name = "N")]
    pub up_to: Option<u64>,
    /// Only those of this run
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Only those of this kind, such as `approval.given`; may be repeated
    #[arg(long = "kind", value_name = "KIND")]
    pub kinds: Vec<String>,
    /// Only those from this day or time on
    #[arg(long, value_name = "DATE")]
    pub since: Option<String>,
    /// Only those before this day or time
    #[arg(long, value_name = "DATE")]
    pub until: Option<String>,
}

/// In which form records are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A record a line, and the signed checkpoints: it can be verified
    Jsonl,
    /// A CloudEvent a line, for other systems: it cannot
    Cloudevents,
}

/// `astradesk webhooks`
#[derive(Debug, Subcommand)]
pub enum Webhooks {
    /// List what could not be told, newest first
    Dead {
        /// At most so many
        #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=200))]
        limit: u32,
    },
    /// Try to tell it again
    Retry {
        /// The announcement's id
        id: String,
    },
}
