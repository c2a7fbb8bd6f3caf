-- How schedules stand: written with the last event of each of their runs, so that it outlives a crash and what retention removes.
CREATE TABLE standings (
    schedule      TEXT    PRIMARY KEY,
    seen_at       INTEGER NOT NULL,         -- when a server saw it first: microseconds since 1970, UTC
    last_run      INTEGER,
    last_status   TEXT,
    last_at       INTEGER,                  -- when that run ended
    success_run   INTEGER,
    success_at    INTEGER,
    failures      INTEGER NOT NULL DEFAULT 0, -- how many runs in a row failed
    failing_since INTEGER,                  -- when the first of these ended
    told_at       INTEGER,                  -- when people were last told of a failure that goes on
    stale_at      INTEGER                   -- when people were told that it is stale; none while it is not
) STRICT, WITHOUT ROWID;

-- How many runs of a runbook ended how, and how long they took. Never smaller, so that counters can be made of it.
CREATE TABLE tallies (
    runbook TEXT    NOT NULL,
    status  TEXT    NOT NULL,
    runs    INTEGER NOT NULL,
    micros  INTEGER NOT NULL,
    le_1    INTEGER NOT NULL,               -- at most one second
    le_5    INTEGER NOT NULL,
    le_15   INTEGER NOT NULL,
    le_60   INTEGER NOT NULL,
    le_300  INTEGER NOT NULL,
    le_900  INTEGER NOT NULL,
    le_3600 INTEGER NOT NULL,
    le_14400 INTEGER NOT NULL,
    last_at INTEGER NOT NULL,
    PRIMARY KEY (runbook, status)
) STRICT, WITHOUT ROWID;

-- How many of something there were: instants without a run by state, attempts of effects.
CREATE TABLE counters (
    name  TEXT    NOT NULL,
    label TEXT    NOT NULL,
    value INTEGER NOT NULL,
    PRIMARY KEY (name, label)
) STRICT, WITHOUT ROWID;

-- What happened and nobody has looked at yet to see who must be told.
CREATE TABLE untold (
    id            INTEGER PRIMARY KEY AUTOINCREMENT,
    at            INTEGER NOT NULL,
    run           INTEGER,                  -- a run that ended
    status        TEXT,
    schedule      TEXT,
    failures      INTEGER,                  -- of its schedule, before this
    failing_since INTEGER,
    success_at    INTEGER,
    told_at       INTEGER,
    decision      INTEGER                   -- or what became of an instant
) STRICT;

-- Messages to people, until they are delivered.
CREATE TABLE outbox (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    key          TEXT    NOT NULL UNIQUE,   -- what is told once
    target       TEXT    NOT NULL,
    notice       TEXT    NOT NULL,          -- model::notice::Notice as JSON
    made_at      INTEGER NOT NULL,
    due_at       INTEGER NOT NULL,          -- not before
    attempts     INTEGER NOT NULL DEFAULT 0,
    error        TEXT,                      -- of the last attempt
    delivered_at INTEGER,
    given_up_at  INTEGER
) STRICT;
CREATE INDEX outbox_by_due ON outbox (due_at) WHERE delivered_at IS NULL AND given_up_at IS NULL;

CREATE TRIGGER run_ended AFTER UPDATE OF status ON runs
WHEN NEW.status IN ('done', 'partial', 'failed', 'stopped', 'timed_out', 'cancelled', 'in_doubt') AND NEW.status <> OLD.status
BEGIN
    INSERT INTO tallies
    SELECT NEW.runbook, NEW.status, 1, t, t <= 1000000, t <= 5000000, t <= 15000000, t <= 60000000, t <= 300000000,
        t <= 900000000, t <= 3600000000, t <= 14400000000, coalesce(NEW.ended_at, NEW.started_at)
    FROM (SELECT max(coalesce(NEW.ended_at, NEW.started_at) - NEW.started_at, 0) AS t) WHERE true
    ON CONFLICT DO UPDATE SET runs = runs + 1, micros = micros + excluded.micros, le_1 = le_1 + excluded.le_1,
        le_5 = le_5 + excluded.le_5, le_15 = le_15 + excluded.le_15, le_60 = le_60 + excluded.le_60,
        le_300 = le_300 + excluded.le_300, le_900 = le_900 + excluded.le_900, le_3600 = le_3600 + excluded.le_3600,
        le_14400 = le_14400 + excluded.le_14400, last_at = excluded.last_at;
    -- Failed effects of a run that is done were made up for: by another attempt, or because the script takes them.
    INSERT INTO counters
    SELECT 'effects', label, value FROM (
        SELECT 'performed' AS label, coalesce(json_extract(NEW.summary, '$.counts.reads'), 0)
            + coalesce(json_extract(NEW.summary, '$.counts.ensures'), 0)
            + coalesce(json_extract(NEW.summary, '$.counts.acts'), 0) AS value
        UNION ALL
        SELECT iif(NEW.status = 'done', 'made_up_for', 'failed'), coalesce(json_extract(NEW.summary, '$.counts.failed'), 0)
    ) WHERE NEW.status <> 'in_doubt'
    ON CONFLICT DO UPDATE SET value = value + excluded.value;
    -- Only runs that a server started have somebody who must be told.
    INSERT INTO untold (at, run, status, schedule, failures, failing_since, success_at, told_at)
    SELECT coalesce(NEW.ended_at, NEW.started_at), NEW.id, NEW.status, d.schedule, s.failures, s.failing_since, s.success_at,
        s.told_at
    FROM queue q LEFT JOIN decisions d ON d.run = NEW.id LEFT JOIN standings s ON s.schedule = d.schedule
    WHERE q.run = NEW.id;
    INSERT INTO standings (schedule, seen_at, last_run, last_status, last_at, success_run, success_at, failures, failing_since)
    SELECT d.schedule, NEW.ended_at, NEW.id, NEW.status, NEW.ended_at,
        iif(NEW.status = 'done', NEW.id, NULL), iif(NEW.status = 'done', NEW.ended_at, NULL),
        NEW.status NOT IN ('done', 'cancelled'), iif(NEW.status NOT IN ('done', 'cancelled'), NEW.ended_at, NULL)
    FROM decisions d WHERE d.run = NEW.id AND NEW.ended_at IS NOT NULL
    ON CONFLICT DO UPDATE SET last_run = excluded.last_run, last_status = excluded.last_status, last_at = excluded.last_at,
        success_run = coalesce(excluded.success_run, success_run), success_at = coalesce(excluded.success_at, success_at),
        failures = CASE excluded.last_status WHEN 'done' THEN 0 WHEN 'cancelled' THEN failures ELSE failures + 1 END,
        failing_since = CASE excluded.last_status WHEN 'done' THEN NULL WHEN 'cancelled' THEN failing_since
            ELSE coalesce(failing_since, excluded.failing_since) END,
        told_at = iif(excluded.last_status = 'done', NULL, told_at);
END;

CREATE TRIGGER instant_without_run AFTER INSERT ON decisions WHEN NEW.state <> 'run'
BEGIN
    INSERT INTO counters VALUES ('undelivered', NEW.state, max(NEW.count, 0))
    ON CONFLICT DO UPDATE SET value = value + excluded.value;
    INSERT INTO untold (at, schedule, decision)
    SELECT NEW.at, NEW.schedule, NEW.id
    WHERE NEW.state IN ('missed', 'skipped_overlap') OR (NEW.state = 'paused' AND NEW.count = 0);
END;
