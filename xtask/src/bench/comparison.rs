//! AstraDesk and the others, line by line.

use super::cluster;
use super::figures::{Aim, Better, Row, Sample};
use super::load::{self, CONNECTIONS, Outcome};
use super::ours::Ours;
use super::theirs::Theirs;
use super::{IDLE, WARM_UP, peer};

/// The lines of the table.
pub(super) fn rows(
    ours: &Ours,
    (restarts, verified): (&Sample, &Sample),
    theirs: Option<&Theirs>,
) -> Vec<Row> {
    let one = |value: f64| Sample::of([value]);
    let row = |what: &str, unit, ours: Sample, peer: Option<Sample>, better, aim| Row {
        what: what.to_owned(),
        unit,
        ours,
        peer,
        better,
        aim,
    };
    let of = |figure: &dyn Fn(&Theirs) -> f64| theirs.map(|theirs| one(figure(theirs)));
    let reads = &ours.reads.outcome;
    let share = &ours.shares;
    let mut rows = vec![
        row(
            "start to ready",
            "ms",
            ours.starts.clone(),
            theirs.map(|t| t.starts.clone()),
            Better::Less,
            Aim::Most(100.0),
        ),
        row(
            "memory, idle after the start",
            "MB",
            one(ours.idle),
            of(&|t| t.idle),
            Better::Less,
            Aim::Most(40.0),
        ),
        row(
            "memory, idle after the first read",
            "MB",
            one(ours.watching),
            of(&|t| t.watching),
            Better::Less,
            Aim::Most(40.0),
        ),
        row("memory, most under load", "MB", one(ours.loaded), of(&|t| t.loaded), Better::Less, Aim::None),
        row("restart: own share", "ms", share.together.clone(), None, Better::Less, Aim::Most(50.0)),
        row("  request to PATCH sent", "ms", share.before.clone(), None, Better::Less, Aim::None),
        row("  rollout complete to run finished", "ms", share.after.clone(), None, Better::Less, Aim::None),
        row(
            "restart: whole, verified | kubectl rollout restart",
            "ms",
            share.whole.clone(),
            Some(restarts.clone()),
            Better::Unlike,
            Aim::None,
        ),
        row(
            "restart: whole, verified | … and rollout status",
            "ms",
            share.whole.clone(),
            Some(verified.clone()),
            Better::Unlike,
            Aim::None,
        ),
    ];
    let loads = [
        ("reads per second | resources_get", reads, theirs.map(|t| &t.reads), Aim::Least(10_000.0)),
        ("  by tools/call of /mcp | resources_get", &ours.mcp_calls, theirs.map(|t| &t.reads), Aim::None),
        ("tools listed per second", &ours.tools, theirs.map(|t| &t.tools), Aim::None),
        ("  by tools/list of /mcp", &ours.mcp_lists, theirs.map(|t| &t.tools), Aim::None),
    ];
    for (what, ours, theirs, aim) in loads {
        let of = |figure: &dyn Fn(&Outcome) -> f64| theirs.map(|theirs| one(figure(theirs)));
        let errors = |outcome: &Outcome| outcome.errors() as f64;
        rows.extend([
            row(what, "/s", one(ours.per_second), of(&|t| t.per_second), Better::More, aim),
            row("    p50", "ms", one(ours.p50), of(&|t| t.p50), Better::Less, Aim::None),
            row("    p99", "ms", one(ours.p99), of(&|t| t.p99), Better::Less, Aim::None),
            row(
                "    errors and time-outs",
                "",
                one(errors(ours)),
                of(&errors),
                Better::Unlike,
                Aim::Most(0.0),
            ),
        ]);
    }
    rows
}

/// What must be known about them.
pub(super) fn notes(seconds: u32, ours: &Ours, theirs: Option<&Theirs>) -> Vec<String> {
    let pods = cluster::pods();
    let mut notes = vec![
        format!("the cluster: a real control plane with {pods} pods, made ready by the stand-in kubelet"),
        format!(
            "start: `astradesk serve --dev` with a fresh state folder and a warm disk, from before the process is made to \
             200 from /readyz, {} times; memory: VmRSS {} s later, VmHWM after the load; 1 MB is a million bytes",
            ours.starts.count(),
            IDLE.as_secs()
        ),
        format!(
            "own share of a restart: from sending the request until a watch independent of astradesk sees the annotation, \
             less the API server's own median for a PATCH of the same object ({}); and from the moment at which such \
             watches have seen the rollout complete and the last old pod gone until the run's `succeeded` arrives by \
             server-sent events. The requests that astradesk makes to the API server before its PATCH are counted as \
             its own share. {} restarts of one Deployment of 3 pods",
            ours.shares.patch.shown("ms"),
            ours.shares.together.count()
        ),
        "kubectl rollout restart verifies nothing, rollout status does not wait for the old pods to be gone; astradesk \
         does both"
            .to_owned(),
        format!(
            "reads: POST /v1/tools/get_service_status/runs with a bearer token, policy and durable evidence, {CONNECTIONS} \
             connections, wrk with one thread for {seconds} s after {WARM_UP} s of warm-up. Before it {} checked reads grew the evidence by \
             exactly {0}. Of the load wrk counts {} answers, the gateway {} with 200 and {} others, the evidence {} records \
             (the load's end cuts off up to {CONNECTIONS} calls under way). The database has {:.0} MB after it",
            ours.checked,
            ours.reads.outcome.answered,
            ours.reads.answered.0,
            ours.reads.answered.1,
            ours.reads.recorded,
            ours.database_mb
        ),
    ];
    if let Some(theirs) = theirs {
        notes.push(format!(
            "the peer: {} over HTTP with no authentication, started to its first `initialize`; the same generator and \
             time; an answer after {} s is a time-out, one without a result an error: resources_get had {} answers, of \
             them {} wrong and {} late, and {} broken connections",
            peer::PACKAGE,
            load::TIMEOUT,
            theirs.reads.answered,
            theirs.reads.wrong,
            theirs.reads.late,
            theirs.reads.broken
        ));
    }
    notes
}
