-- One row a run; everything but its id follows from the events and is written in the same transaction as they are.
CREATE TABLE runs (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    runbook    TEXT    NOT NULL,
    status     TEXT    NOT NULL,
    mode       TEXT    NOT NULL,
    started_at INTEGER NOT NULL,            -- microseconds since 1970, UTC
    ended_at   INTEGER,
    last_seq   INTEGER NOT NULL,
    last_hash  BLOB    NOT NULL,
    summary    TEXT    NOT NULL             -- model::run::Summary as JSON
) STRICT;
CREATE INDEX runs_by_runbook ON runs (runbook, id);
CREATE INDEX runs_by_status ON runs (status, id);

-- id = run << 32 | seq: events of a run are neighbours, and appending never splits a page.
CREATE TABLE events (
    id   INTEGER PRIMARY KEY,
    at   INTEGER NOT NULL,
    body TEXT    NOT NULL,                  -- model::event::Event as JSON
    hash BLOB    NOT NULL                   -- SHA-256 of previous hash, id, at and body
) STRICT;

-- Bytes of output and artifacts, under the id of their event.
CREATE TABLE chunks (
    id      INTEGER PRIMARY KEY,
    address TEXT    NOT NULL,               -- empty for artifacts
    stream  TEXT    NOT NULL,
    codec   INTEGER NOT NULL,               -- 0 as it is, 1 zstd
    length  INTEGER NOT NULL,
    data    BLOB    NOT NULL
) STRICT;

-- The last verdict of each host of a run, for filters.
CREATE TABLE run_hosts (
    run     INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    host    TEXT    NOT NULL,
    verdict TEXT    NOT NULL,
    PRIMARY KEY (run, host)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_hosts_by_host ON run_hosts (host, run);

-- Texts that a run pins: scripts and the inventory, by SHA-256.
CREATE TABLE texts (
    hash   TEXT    PRIMARY KEY,
    codec  INTEGER NOT NULL,
    length INTEGER NOT NULL,
    data   BLOB    NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE run_texts (
    run  INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    hash TEXT    NOT NULL REFERENCES texts (hash),
    PRIMARY KEY (run, hash)
) STRICT, WITHOUT ROWID;
CREATE INDEX run_texts_by_hash ON run_texts (hash);

-- What other processes ask of a run: cancel.
CREATE TABLE asks (
    id  INTEGER PRIMARY KEY AUTOINCREMENT,
    run INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    at  INTEGER NOT NULL,
    who TEXT    NOT NULL,
    now INTEGER NOT NULL
) STRICT;
CREATE INDEX asks_by_run ON asks (run);

-- A plan is used once.
CREATE TABLE plans_used (
    digest TEXT    PRIMARY KEY,
    run    INTEGER NOT NULL,
    at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Words of output; filled when somebody searches, up to `searched`.
CREATE VIRTUAL TABLE words USING fts5 (
    text, content = '', contentless_delete = 1, tokenize = "unicode61 remove_diacritics 0 tokenchars '_-.'"
);
CREATE TABLE searched (chunk INTEGER NOT NULL) STRICT;
INSERT INTO searched VALUES (0);
