-- Events that GitLab has reported: taken in before they are answered, and worked on afterwards, each once.
CREATE TABLE hooks (
    id       TEXT    PRIMARY KEY,           -- what the sender calls it: reported twice, it is the same
    body     TEXT    NOT NULL,              -- the payload as JSON
    at       INTEGER NOT NULL,              -- microseconds since 1970, UTC
    state    TEXT    NOT NULL,              -- waiting, done, ignored, failed
    attempts INTEGER NOT NULL DEFAULT 0,
    next_at  INTEGER NOT NULL,              -- when it is tried (again)
    result   TEXT    NOT NULL DEFAULT ''    -- what came of it, for people
) STRICT, WITHOUT ROWID;
CREATE INDEX hooks_by_state ON hooks (state, next_at);
CREATE INDEX hooks_by_time ON hooks (at);

-- Runs that a merge request is told about.
CREATE TABLE reviews (
    run           INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    project       TEXT    NOT NULL,
    merge_request INTEGER NOT NULL,
    commit_id     TEXT    NOT NULL,         -- the head that it was asked for
    runbook       TEXT    NOT NULL,
    mode          TEXT    NOT NULL,
    told          TEXT                      -- the status of the run that was told last
) STRICT;
CREATE INDEX reviews_by_request ON reviews (project, merge_request, run);

-- What was answered last in a merge request.
CREATE TABLE answers (
    project       TEXT    NOT NULL,
    merge_request INTEGER NOT NULL,
    text          TEXT    NOT NULL,
    is_told       INTEGER NOT NULL,
    PRIMARY KEY (project, merge_request)
) STRICT, WITHOUT ROWID;
