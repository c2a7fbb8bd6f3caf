-- Who may sign in. A user of an OIDC provider has a subject and no password.
CREATE TABLE users (
    name         TEXT    PRIMARY KEY,
    password     TEXT,                      -- argon2id in the PHC form
    subject      TEXT    UNIQUE,            -- the provider's issuer, a space, its name for the user
    role         TEXT    NOT NULL,
    grants       TEXT    NOT NULL,          -- JSON array of capabilities; those of the role when empty
    runbooks     TEXT    NOT NULL,          -- JSON array of globs; those of the role when empty
    made_at      INTEGER NOT NULL,          -- microseconds since 1970, UTC
    made_by      TEXT    NOT NULL,
    signed_in_at INTEGER
) STRICT, WITHOUT ROWID;

-- Who is signed in, by the SHA-256 of what their browser holds.
CREATE TABLE sessions (
    hash     BLOB    PRIMARY KEY,
    user     TEXT    NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    address  TEXT    NOT NULL,
    began_at INTEGER NOT NULL,
    used_at  INTEGER NOT NULL,
    ends_at  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX sessions_by_user ON sessions (user);

-- ID tokens that have asked for a run: each does so once.
CREATE TABLE id_tokens (
    issuer     TEXT    NOT NULL,
    jti        TEXT    NOT NULL,
    key        TEXT,                        -- the idempotency key that it came with
    expires_at INTEGER NOT NULL,
    PRIMARY KEY (issuer, jti)
) STRICT, WITHOUT ROWID;

CREATE INDEX audit_by_who ON audit (who, id);
