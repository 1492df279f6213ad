//! Processes that break: each call to the outside goes through a numbered gate.

use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// How long a process is held: longer than its lease.
pub(crate) const HELD: Duration = Duration::from_secs(15);

/// The most calls of one process: more are made by one that goes round in circles.
const MOST_GATES: usize = 20_000;

/// How a call breaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It fails and has no effect.
    Fail,
    /// It has its effect, and its reply is an error.
    LoseReply,
    /// The process dies before it.
    DieBefore,
    /// The process dies when it has had its effect, and never sees the reply.
    DieAfter,
    /// The process stands still for longer than its lease, and then makes the call.
    HoldBefore,
    /// The call has its effect, and then the process stands still for longer than its lease.
    HoldAfter,
    /// Just before it, somebody else touches the services: their status only.
    Touch,
    /// Just before it, somebody else restarts the services.
    Rival,
}

/// What somebody else does to the services; whether it is a restart.
type Meddle = Box<dyn Fn(bool) + Send + Sync>;

/// A fault: at which gate, and how.
pub(crate) type Fault = (usize, Mode);

/// One process.
pub(crate) struct Process {
    pub(crate) name: String,
    faults: Vec<Fault>,
    meddle: Meddle,
    died: CancellationToken,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    gates: usize,
    counting: bool,
    held_until: Option<Instant>,
    log: String,
}

impl Process {
    pub(crate) fn new(name: String, faults: Vec<Fault>, meddle: Meddle) -> Self {
        let state = Mutex::new(State { counting: true, ..State::default() });
        Self { name, faults, meddle, died: CancellationToken::new(), state }
    }

    /// A call: `act` makes it, `broken` is what the caller gets when it fails.
    pub(crate) async fn through<T: Send>(
        &self,
        label: &str,
        act: impl FnOnce() -> T + Send,
        broken: impl FnOnce() -> T + Send,
    ) -> T {
        self.stand().await;
        // Others go on while a call is under way.
        yield_now().await;
        match self.arrive(label) {
            None => act(),
            Some(Mode::Fail) => broken(),
            Some(Mode::LoseReply) => {
                act();
                broken()
            }
            Some(Mode::DieBefore) => self.die().await,
            Some(Mode::DieAfter) => {
                act();
                self.die().await
            }
            Some(Mode::HoldBefore) => {
                self.hold();
                self.stand().await;
                act()
            }
            Some(Mode::HoldAfter) => {
                let reply = act();
                self.hold();
                self.stand().await;
                reply
            }
            Some(mode @ (Mode::Touch | Mode::Rival)) => {
                (self.meddle)(mode == Mode::Rival);
                act()
            }
        }
    }

    /// A call that cannot wait. `false` when it is to fail; a process that dies here dies at its next gate.
    pub(crate) fn pass(&self, label: &str) -> bool {
        match self.arrive(label) {
            Some(Mode::Fail | Mode::LoseReply) => false,
            Some(Mode::DieBefore | Mode::DieAfter) => {
                self.died.cancel();
                true
            }
            Some(Mode::HoldBefore | Mode::HoldAfter) => {
                self.hold();
                true
            }
            Some(mode @ (Mode::Touch | Mode::Rival)) => {
                (self.meddle)(mode == Mode::Rival);
                true
            }
            None => true,
        }
    }

    pub(crate) async fn died(&self) {
        self.died.cancelled().await;
    }

    /// How many gates were passed while they were counted.
    pub(crate) fn gates(&self) -> usize {
        self.state().gates
    }

    /// What follows has no numbers, and is not broken.
    pub(crate) fn stop_counting(&self) {
        self.state().counting = false;
    }

    pub(crate) fn log(&self) -> String {
        self.state().log.clone()
    }

    fn arrive(&self, label: &str) -> Option<Mode> {
        let mut state = self.state();
        if !state.counting {
            return None;
        }
        state.gates += 1;
        let gate = state.gates;
        if gate > MOST_GATES {
            drop(state);
            panic!("{} does not come to rest: {label}", self.name);
        }
        let mode = self.faults.iter().find(|(n, _)| *n == gate).map(|(_, mode)| *mode);
        let told = mode.map(|mode| format!("  <- {mode:?}")).unwrap_or_default();
        let _ = writeln!(state.log, "    {} {gate:>3} {label}{told}", self.name);
        mode
    }

    /// Waits while the process is held; for ever when it is dead.
    async fn stand(&self) {
        if self.died.is_cancelled() {
            std::future::pending::<()>().await;
        }
        loop {
            let held_until = self.state().held_until.filter(|until| *until > Instant::now());
            let Some(until) = held_until else { return };
            sleep_until(until).await;
        }
    }

    fn hold(&self) {
        self.state().held_until = Some(Instant::now() + HELD);
    }

    async fn die<T>(&self) -> T {
        self.died.cancel();
        std::future::pending().await
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}
