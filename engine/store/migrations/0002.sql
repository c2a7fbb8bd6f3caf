-- Runs that were asked for of a server. That one waits, runs or is over stands in its row of `runs`.
CREATE TABLE queue (
    run        INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    queue      TEXT    NOT NULL,
    priority   INTEGER NOT NULL,
    overlap    TEXT,                        -- what must not overlap has one key
    queued_at  INTEGER NOT NULL,            -- microseconds since 1970, UTC
    spawned_at INTEGER,                     -- when a process was last started for it
    attempts   INTEGER NOT NULL DEFAULT 0,  -- how often
    folder     TEXT,                        -- where that process finds the project
    commit_id  TEXT                         -- the commit that the folder holds exactly
) STRICT;
CREATE INDEX queue_by_overlap ON queue (overlap, run);

-- What was triggered once is not triggered again: a schedule's instant, a pipeline's job, an idempotency key.
CREATE TABLE triggers (
    key TEXT    PRIMARY KEY,
    run INTEGER NOT NULL,
    at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX triggers_by_time ON triggers (at);

-- Questions of runs to whoever may answer them.
CREATE TABLE questions (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    run         INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    text        TEXT    NOT NULL,
    asked_at    INTEGER NOT NULL,
    answer      INTEGER,                    -- 1 yes, 0 no; none while it is open
    answered_by TEXT,
    answered_at INTEGER
) STRICT;
CREATE INDEX questions_by_run ON questions (run);

-- How far each schedule has been decided.
CREATE TABLE cursors (
    schedule TEXT    PRIMARY KEY,
    state    TEXT    NOT NULL,              -- model::schedule::Cursor as JSON
    moved_at INTEGER NOT NULL,
    moved_by TEXT    NOT NULL,
    reason   TEXT    NOT NULL
) STRICT, WITHOUT ROWID;

-- What became of each instant of a schedule: a run, or the reason why not.
CREATE TABLE decisions (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    schedule TEXT    NOT NULL,
    instant  INTEGER NOT NULL,
    until    INTEGER NOT NULL,              -- the last instant, where one row stands for many
    count    INTEGER NOT NULL,
    state    TEXT    NOT NULL,
    reason   TEXT    NOT NULL,
    run      INTEGER,
    at       INTEGER NOT NULL
) STRICT;
CREATE INDEX decisions_by_schedule ON decisions (schedule, instant);
CREATE INDEX decisions_by_run ON decisions (run) WHERE run IS NOT NULL;

-- How often a server has taken the lead: what an earlier one still wants to write is refused.
CREATE TABLE lead (fence INTEGER NOT NULL, holder TEXT NOT NULL, at INTEGER NOT NULL) STRICT;
INSERT INTO lead VALUES (0, '', 0);
