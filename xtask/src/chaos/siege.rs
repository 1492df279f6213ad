//! The gateways, and what is done to them: killed, stopped, frozen and started again on one state folder.

use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::clients::Field;
use super::random::Random;
use super::watch::Watch;
use crate::gateway::{Gateway, Program};
use crate::proc::{self, Signal};
use crate::ui;

/// The latest moment after readiness.
const MOMENT: Duration = Duration::from_millis(400);
/// The latest moment after a client has sent a request: while its patch may be under way.
const IN_FLIGHT: Duration = Duration::from_millis(12);
/// The latest moment after the start of a process that is to die before it is ready.
const EARLY: Duration = Duration::from_millis(80);
/// For how long a gateway is frozen at least, and how much longer at most: beyond the age at which a holder
/// that does not beat counts as dead.
const FROZEN: (Duration, Duration) = (Duration::from_secs(11), Duration::from_secs(4));
/// How long a gateway may take to stop: more than `server.stop_seconds`.
const STOPS_WITHIN: Duration = Duration::from_secs(25);

/// How it is to go.
pub(super) struct Plan {
    /// How many kills.
    pub(super) kills: usize,
    /// Gateways at once, at most: 1 or 2.
    pub(super) replicas: usize,
    /// When to stop in any case.
    pub(super) until: Instant,
}

/// What was done.
#[derive(Default)]
pub(super) struct Tally {
    /// With SIGKILL, and of these, before the gateway was ready.
    pub(super) kills: usize,
    pub(super) early: usize,
    /// With SIGTERM, until it ended by itself.
    pub(super) stops: usize,
    pub(super) freezes: usize,
    pub(super) starts: usize,
    /// What the processes did that they should not.
    pub(super) wrong: Vec<String>,
}

/// The gateways on one state folder.
pub(super) struct Siege<'a> {
    pub(super) program: Program,
    pub(super) state: PathBuf,
    pub(super) field: &'a Field<'a>,
    pub(super) random: Random,
    pub(super) tally: Tally,
    folder: PathBuf,
    live: Vec<Gateway>,
    /// Stopped by SIGTERM, and until when it may take.
    leaving: Vec<(Gateway, Instant)>,
    /// Stopped by SIGSTOP, and until when.
    frozen: Option<(Gateway, Instant)>,
}

/// What becomes of a gateway.
enum Fate {
    Early,
    Killed,
    Stopped,
    Frozen,
}

impl<'a> Siege<'a> {
    pub(super) fn new(program: Program, field: &'a Field<'a>, random: Random, folder: &Path) -> Self {
        Self {
            state: folder.join("state"),
            program,
            field,
            random,
            tally: Tally::default(),
            folder: folder.to_owned(),
            live: Vec::new(),
            leaving: Vec::new(),
            frozen: None,
        }
    }

    /// Kills until it was enough. An error means that no gateway can be had any more.
    pub(super) fn run(&mut self, plan: &Plan, sending: &Receiver<()>, watch: &mut Watch) -> Result<()> {
        let began = Instant::now();
        let tenth = plan.kills.div_ceil(10).max(1);
        let mut told = 0;
        while self.tally.kills < plan.kills && Instant::now() < plan.until {
            watch.tend()?;
            self.tend()?;
            self.round(plan.replicas, sending)?;
            if self.tally.kills / tenth > told {
                told = self.tally.kills / tenth;
                ui::heading(&format!("    {} kills after {}", self.tally.kills, ui::human(began.elapsed())));
            }
        }
        // Clients may wait for it.
        self.thaw();
        Ok(())
    }

    /// One gateway, or two, for a while, until one of them meets its fate.
    fn round(&mut self, replicas: usize, sending: &Receiver<()>) -> Result<()> {
        let fate = self.fate(replicas);
        if matches!(fate, Fate::Early) {
            if self.live.len() >= replicas {
                self.strike()?;
            }
            let mut gateway = self.launch()?;
            std::thread::sleep(self.random.time(EARLY));
            self.kill(&mut gateway)?;
            self.tally.early += 1;
            return Ok(());
        }
        let wanted = if self.random.percent(30) { replicas } else { 1 };
        while self.live.len() < wanted {
            self.start()?;
        }
        self.wait(sending);
        match fate {
            Fate::Early | Fate::Killed => self.strike(),
            Fate::Stopped => self.stop(replicas),
            Fate::Frozen => self.freeze(),
        }
    }

    fn fate(&mut self, replicas: usize) -> Fate {
        match self.random.below(1000) {
            0..100 => Fate::Early,
            100..180 => Fate::Stopped,
            // It takes the time of many kills.
            180..190 if replicas > 1 && self.frozen.is_none() => Fate::Frozen,
            _ => Fate::Killed,
        }
    }

    /// Until any moment, or until just after a request was sent.
    fn wait(&mut self, sending: &Receiver<()>) {
        let any = self.random.percent(50);
        let (moment, soon) = (self.random.time(MOMENT), self.random.time(IN_FLIGHT));
        if any {
            std::thread::sleep(moment);
        } else {
            while sending.try_recv().is_ok() {}
            let _ = sending.recv_timeout(MOMENT);
            std::thread::sleep(soon);
        }
    }

    fn launch(&mut self) -> Result<Gateway> {
        self.tally.starts += 1;
        let log = self.folder.join(format!("gateway-{:04}.log", self.tally.starts));
        self.program.launch(&self.state, &log)
    }

    /// Starts a gateway and waits until it is ready.
    fn start(&mut self) -> Result<()> {
        for attempt in 0.. {
            let mut gateway = self.launch()?;
            let failed = loop {
                match gateway.is_ready() {
                    Ok(true) => break None,
                    Ok(false) => std::thread::sleep(Duration::from_millis(1)),
                    Err(error) => break Some(error),
                }
                // A frozen gateway may hold the database's lock: it must not stay frozen for long.
                self.tend()?;
            };
            let Some(error) = failed else {
                self.field.board.lock().unwrap_or_else(PoisonError::into_inner).push(gateway.address);
                self.live.push(gateway);
                return Ok(());
            };
            proc::kill(&mut gateway.child)?;
            let taken = format!("{error:#}").contains("in use");
            // Another process may have been quicker with the port, and a frozen one may be in the way.
            if attempt > 3 || !(taken || self.frozen.is_some()) {
                return Err(error);
            }
        }
        bail!("no gateway starts")
    }

    fn take(&mut self) -> Option<Gateway> {
        let index = self.random.below(self.live.len() as u64) as usize;
        (index < self.live.len()).then(|| self.live.swap_remove(index))
    }

    fn strike(&mut self) -> Result<()> {
        match self.take() {
            Some(mut gateway) => self.kill(&mut gateway),
            None => Ok(()),
        }
    }

    fn kill(&mut self, gateway: &mut Gateway) -> Result<()> {
        proc::kill(&mut gateway.child)?;
        self.tally.kills += 1;
        self.forget(gateway);
        Ok(())
    }

    /// Sends SIGTERM. Where there may be two, the next one is started meanwhile; some do not live to the end.
    fn stop(&mut self, replicas: usize) -> Result<()> {
        let Some(mut gateway) = self.take() else { return Ok(()) };
        proc::send(&gateway.child, Signal::TERM);
        if self.random.percent(30) {
            std::thread::sleep(self.random.time(MOMENT));
            return self.kill(&mut gateway);
        }
        self.leaving.push((gateway, Instant::now() + STOPS_WITHIN));
        while replicas < 2 && !self.leaving.is_empty() {
            std::thread::sleep(Duration::from_millis(1));
            self.tend()?;
        }
        Ok(())
    }

    fn freeze(&mut self) -> Result<()> {
        let Some(gateway) = self.take() else { return Ok(()) };
        proc::send(&gateway.child, Signal::STOP);
        // Those who have asked it wait for it; nobody else is sent there.
        self.forget(&gateway);
        self.tally.freezes += 1;
        self.frozen = Some((gateway, Instant::now() + FROZEN.0 + self.random.time(FROZEN.1)));
        self.tend()
    }

    fn forget(&self, gateway: &Gateway) {
        let mut board = self.field.board.lock().unwrap_or_else(PoisonError::into_inner);
        board.retain(|address| *address != gateway.address);
    }

    /// Lets go on what was frozen long enough, and takes note of who has ended.
    fn tend(&mut self) -> Result<()> {
        if self.frozen.as_ref().is_some_and(|(_, until)| Instant::now() >= *until) {
            self.thaw();
        }
        for (mut gateway, until) in std::mem::take(&mut self.leaving) {
            match proc::ended(&mut gateway.child)? {
                Some(status) => {
                    self.forget(&gateway);
                    self.tally.stops += 1;
                    if !status.success() {
                        self.accuse(&gateway, &format!("ended with {status} after SIGTERM"));
                    }
                }
                None if Instant::now() > until => {
                    self.accuse(&gateway, "did not stop after SIGTERM");
                    self.kill(&mut gateway)?;
                }
                None => self.leaving.push((gateway, until)),
            }
        }
        for mut gateway in std::mem::take(&mut self.live) {
            match proc::ended(&mut gateway.child)? {
                Some(status) => {
                    self.forget(&gateway);
                    self.accuse(&gateway, &format!("ended by itself with {status}"));
                }
                None => self.live.push(gateway),
            }
        }
        Ok(())
    }

    fn thaw(&mut self) {
        if let Some((gateway, _)) = self.frozen.take() {
            proc::send(&gateway.child, Signal::CONT);
            self.field.board.lock().unwrap_or_else(PoisonError::into_inner).push(gateway.address);
            self.live.push(gateway);
        }
    }

    fn accuse(&mut self, gateway: &Gateway, what: &str) {
        let log = proc::tail(&gateway.log, 5);
        self.tally.wrong.push(format!("a gateway {what}; the end of `{}`:\n{log}", gateway.log.display()));
    }

    /// One gateway at least, none frozen, and none leaving; its address.
    pub(super) fn settle(&mut self) -> Result<std::net::SocketAddr> {
        self.thaw();
        loop {
            self.tend()?;
            if self.leaving.is_empty()
                && let Some(gateway) = self.live.first()
            {
                return Ok(gateway.address);
            }
            if self.live.is_empty() {
                self.start()?;
            }
            std::thread::sleep(proc::POLL);
        }
    }

    /// Stops all of them.
    pub(super) fn end(&mut self) -> Result<()> {
        while let Some(gateway) = self.take() {
            proc::send(&gateway.child, Signal::TERM);
            self.leaving.push((gateway, Instant::now() + STOPS_WITHIN));
        }
        while !self.leaving.is_empty() {
            self.tend()?;
            std::thread::sleep(proc::POLL);
        }
        Ok(())
    }
}
