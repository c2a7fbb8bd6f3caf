-- Tokens of the API, by the SHA-256 of what their holder shows.
CREATE TABLE tokens (
    name       TEXT    PRIMARY KEY,
    hash       BLOB    NOT NULL UNIQUE,
    role       TEXT    NOT NULL,
    grants     TEXT    NOT NULL,            -- JSON array of capabilities
    runbooks   TEXT    NOT NULL,            -- JSON array of globs; all when empty
    made_at    INTEGER NOT NULL,            -- microseconds since 1970, UTC
    made_by    TEXT    NOT NULL,
    expires_at INTEGER,
    used_at    INTEGER
) STRICT, WITHOUT ROWID;

-- Every decision about who may do what.
CREATE TABLE audit (
    id      INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL,
    who     TEXT    NOT NULL,
    address TEXT    NOT NULL,               -- where the request came from
    action  TEXT    NOT NULL,
    target  TEXT    NOT NULL,
    allowed INTEGER NOT NULL,
    reason  TEXT    NOT NULL
) STRICT;
