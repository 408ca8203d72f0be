-- What lets nodes join. The secret is kept as SHA-256; one that is revoked or used up keeps its row.
-- At most one of rack, node and serial says for whom alone it is.
CREATE TABLE join_tokens (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    hash BLOB NOT NULL,
    uses INTEGER NOT NULL,
    used INTEGER NOT NULL DEFAULT 0,
    rack TEXT,
    node TEXT,
    serial TEXT,
    created_at INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
);

-- One row a certificate. Those of one node and one key are one identity, which a renewal goes on.
-- State: 'active', 'superseded' (the node was enrolled anew), 'revoked'.
CREATE TABLE identities (
    key INTEGER PRIMARY KEY,
    node TEXT NOT NULL,
    -- SHA-256 of the certificate and of its public key.
    fingerprint BLOB NOT NULL UNIQUE,
    key_digest BLOB NOT NULL,
    certificate TEXT NOT NULL,
    -- The machine that was enrolled, or that a person accepted.
    serial TEXT,
    chassis_serial TEXT,
    board_serial TEXT,
    key_protection TEXT NOT NULL,
    state TEXT NOT NULL,
    join_key INTEGER NOT NULL,
    enrolled_at INTEGER NOT NULL,
    issued_at INTEGER NOT NULL,
    not_before INTEGER NOT NULL,
    not_after INTEGER NOT NULL,
    renew_after INTEGER NOT NULL,
    ended_at INTEGER
);
CREATE INDEX identities_node ON identities (node, key);
CREATE INDEX identities_key ON identities (key_digest);

-- Worst severity of what the inventory itself found of the node, silence left out; null: nothing.
ALTER TABLE nodes ADD COLUMN own_severity INTEGER;
