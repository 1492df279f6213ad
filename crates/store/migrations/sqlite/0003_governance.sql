-- What allowances have given, who is to be told what, and where the chain begins.

-- A row a step of a run that counts against an allowance: a cool-down or a budget. It is kept until it does not
-- count any more, also when its run is gone.
CREATE TABLE spends (
    key        TEXT   NOT NULL,
    run        TEXT   NOT NULL,
    step       BIGINT NOT NULL,
    at         BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (key, run, step)
);
-- With run and step, so that counting reads nothing but the index.
CREATE INDEX spends_by_time ON spends (key, at, run, step);
CREATE INDEX spends_by_expiry ON spends (expires_at);

-- What others are to be told.
CREATE TABLE outbox (
    id       TEXT    NOT NULL PRIMARY KEY,
    receiver TEXT    NOT NULL,
    at       BIGINT  NOT NULL,
    body     TEXT    NOT NULL,
    attempts BIGINT  NOT NULL,
    due_at   BIGINT  NOT NULL,
    error    TEXT,
    dead     INTEGER NOT NULL
);
CREATE INDEX outbox_due ON outbox (receiver, due_at, id) WHERE dead = 0;
CREATE INDEX outbox_dead ON outbox (at, id) WHERE dead = 1;

-- Signed checkpoints, of each record at most one.
CREATE TABLE checkpoints (
    seq  INTEGER NOT NULL PRIMARY KEY,
    at   BIGINT  NOT NULL,
    note TEXT    NOT NULL
);

-- One row, if old records were removed: the last of them, and the signed checkpoint that pins it. What is
-- still in `evidence` up to it is about to be removed, and counts for nothing.
CREATE TABLE cut (
    id   INTEGER NOT NULL PRIMARY KEY,
    seq  BIGINT  NOT NULL,
    hash TEXT    NOT NULL,
    note TEXT    NOT NULL
);

-- The records of a run.
CREATE INDEX evidence_by_run ON evidence (run, seq) WHERE run IS NOT NULL;

-- What each span of 256 records holds: from when to when, and a bit for each kind (several kinds may share
-- one). It tells which spans a search can leave out, and costs next to nothing to keep, where an index costs
-- a row a record. Of what was there before, the kinds are not known: any (63 bits).
CREATE TABLE spans (
    span     INTEGER NOT NULL PRIMARY KEY,
    first_at BIGINT  NOT NULL,
    last_at  BIGINT  NOT NULL,
    kinds    BIGINT  NOT NULL
);
INSERT INTO spans (span, first_at, last_at, kinds)
    SELECT seq / 256, MIN(at), MAX(at), 9223372036854775807 FROM evidence GROUP BY seq / 256;

-- A trigger, because a process of the version before may have the file open, and knows of no spans.
CREATE TRIGGER evidence_spans AFTER INSERT ON evidence BEGIN
    INSERT INTO spans (span, first_at, last_at, kinds)
        VALUES (NEW.seq / 256, NEW.at, NEW.at, 1 << ((length(NEW.kind) + COALESCE(unicode(NEW.kind), 0)
            + 9 * COALESCE(unicode(substr(NEW.kind, instr(NEW.kind, '.') + 1)), 0)) % 63))
        ON CONFLICT (span) DO UPDATE SET kinds = spans.kinds | excluded.kinds,
            first_at = MIN(spans.first_at, excluded.first_at), last_at = MAX(spans.last_at, excluded.last_at);
END;

-- For the removal of runs that ended long ago.
CREATE INDEX run_tools_by_run ON run_tools (run);
CREATE INDEX idempotency_by_run ON idempotency (run);
