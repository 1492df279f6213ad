-- Who executes a run, and who is alive.

-- Null while nobody holds the run: before it is claimed, after it was handed over, when it has finished, and
-- in what the version before this one has left.
ALTER TABLE runs ADD COLUMN holder TEXT;
-- Whether the run is to be cancelled.
ALTER TABLE runs ADD COLUMN cancel INTEGER NOT NULL DEFAULT 0;

-- The conditions stand in the queries in the same words: that is how the indexes are found. What they leave
-- out is what there is most of.
DROP INDEX runs_unfinished;
CREATE INDEX runs_claimable ON runs (id, holder)
    WHERE finished = 0 AND state NOT IN ('submitted', 'awaiting_approval');
CREATE INDEX runs_to_cancel ON runs (holder) WHERE finished = 0 AND cancel = 1;

-- Those who hold runs. A holder without a row, or whose row has expired, is dead.
CREATE TABLE holders (
    id         TEXT   NOT NULL PRIMARY KEY,
    beat_at    BIGINT NOT NULL,
    expires_at BIGINT NOT NULL
);

-- A lock does not expire any more: it is held until its run has finished.
DELETE FROM locks WHERE run NOT IN (SELECT id FROM runs WHERE finished = 0);
DROP INDEX locks_by_expiry;
ALTER TABLE locks DROP COLUMN expires_at;
