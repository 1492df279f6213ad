//! What a policy asks about a request, so that nothing else has to be put into it.
//!
//! Cedar reaches an attribute only by its name in the policy's text, so leaving out what no policy names changes
//! no decision. `scan` finds the names; a policy that takes the whole context at once asks for everything.

/// A set of attributes and of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Needs(u32);

macro_rules! needs {
    ($($constant:ident = $bit:literal, $name:literal;)+) => {
        impl Needs {
            $(pub(crate) const $constant: Self = Self(1 << $bit);)+

            /// The attributes of this name, wherever they are.
            pub(crate) fn of(attribute: &str) -> Self {
                match attribute { $($name => Self::$constant,)+ _ => Self(0) }
            }

            /// Everything there is.
            pub(crate) const ALL: Self = Self(0 $(| Self::$constant.0)+);
        }
    };
}

needs! {
    SUBJECT = 0, "subject";
    ISSUER = 1, "issuer";
    ACTOR = 2, "actor";
    SYSTEM = 3, "system";
    CLUSTER = 4, "cluster";
    NAMESPACE = 5, "namespace";
    KIND = 6, "kind";
    NAME = 7, "name";
    OWNER = 8, "owner";
    TIER = 9, "tier";
    GITOPS = 10, "gitops";
    TOOL = 11, "tool";
    ARGUMENTS = 12, "arguments";
    APPROVALS = 13, "approvals";
    SOURCE = 14, "source";
    PLANNER = 15, "planner";
    DRY_RUN = 16, "dry_run";
    BREAK_GLASS = 17, "break_glass";
    TIME = 18, "time";
    NOW = 19, "now";
    DOWNTIME = 20, "downtime_expected";
    // Not an attribute: no identifier of Cedar has a space.
    LABELS = 21, "the labels";
}

impl Needs {
    /// What a look at the system tells.
    pub(crate) const FACTS: Self =
        Self(Self::OWNER.0 | Self::TIER.0 | Self::GITOPS.0 | Self::DOWNTIME.0 | Self::LABELS.0);

    /// Whether any of `others` is among them.
    pub(crate) const fn any(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    /// Adds `others`.
    pub(crate) fn add(&mut self, others: Self) {
        self.0 |= others.0;
    }
}
