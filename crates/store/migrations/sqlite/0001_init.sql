-- Times are microseconds since 1970, ids are UUIDs of version 7 in their hyphenated form (so they sort by
-- time), bodies are JSON. There are no foreign keys into `runs` from the tables below but one: a change
-- that names a run which does not exist must not take the others of its group down with it.

CREATE TABLE runs (
    id         TEXT    NOT NULL PRIMARY KEY,
    version    BIGINT  NOT NULL,
    state      TEXT    NOT NULL,
    principal  TEXT    NOT NULL,
    -- The tool of the first step; those of the others, if they differ, stand in `run_tools`.
    tool       TEXT    NOT NULL,
    created_at BIGINT  NOT NULL,
    updated_at BIGINT  NOT NULL,
    finished   INTEGER NOT NULL,
    body       TEXT    NOT NULL
);
CREATE INDEX runs_unfinished ON runs (id) WHERE finished = 0;
CREATE INDEX runs_by_principal ON runs (principal, id);
CREATE INDEX runs_by_state ON runs (state, id);

CREATE TABLE run_tools (
    tool TEXT NOT NULL,
    run  TEXT NOT NULL REFERENCES runs (id),
    PRIMARY KEY (tool, run)
);

-- The chain. `body` is the canonical JSON that `hash` is the SHA-256 of; the other columns only repeat
-- what it says.
CREATE TABLE evidence (
    seq  INTEGER NOT NULL PRIMARY KEY,
    hash TEXT    NOT NULL,
    body TEXT    NOT NULL,
    kind TEXT    NOT NULL,
    run  TEXT,
    at   BIGINT  NOT NULL
);

CREATE TABLE events (
    seq  INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT,
    run  TEXT    NOT NULL,
    at   BIGINT  NOT NULL,
    kind TEXT    NOT NULL,
    data TEXT    NOT NULL
);
CREATE INDEX events_by_run ON events (run, seq);

CREATE TABLE locks (
    target     TEXT   NOT NULL PRIMARY KEY,
    run        TEXT   NOT NULL,
    expires_at BIGINT NOT NULL
);
CREATE INDEX locks_by_run ON locks (run);
CREATE INDEX locks_by_expiry ON locks (expires_at);

CREATE TABLE idempotency (
    principal  TEXT   NOT NULL,
    key        TEXT   NOT NULL,
    request    TEXT   NOT NULL,
    run        TEXT   NOT NULL,
    expires_at BIGINT NOT NULL,
    PRIMARY KEY (principal, key)
);
CREATE INDEX idempotency_by_expiry ON idempotency (expires_at);

-- One row, written to find out whether the store can write.
CREATE TABLE probe (
    id INTEGER NOT NULL PRIMARY KEY,
    n  BIGINT  NOT NULL
);
