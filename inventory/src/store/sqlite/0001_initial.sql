-- Times are microseconds since 1970-01-01 UTC. Verdicts: 0 healthy, 1 degraded, 2 unknown,
-- 3 unhealthy. Severities: 0 info, 1 warning, 2 critical. Texts ending in _json hold JSON.

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;

INSERT INTO counters (name, value) VALUES ('expected_revision', 0);

-- What should arrive.
CREATE TABLE expected (
    key INTEGER PRIMARY KEY,
    chassis_serial TEXT NOT NULL UNIQUE,
    platform TEXT,
    hostname TEXT,
    region TEXT,
    site TEXT,
    row TEXT,
    rack TEXT,
    unit INTEGER,
    height_units INTEGER,
    nvlink_domain TEXT,
    switch_path_json TEXT,
    -- The node with this serial, and what of it is other than this entry says.
    node_key INTEGER,
    differences_json TEXT
);
CREATE INDEX expected_place ON expected (region, site, row, rack);

-- One row a node, written when something about it changes.
CREATE TABLE nodes (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    first_seen INTEGER NOT NULL,
    -- What its last full report told.
    id_source TEXT,
    hostname TEXT,
    manufacturer TEXT,
    product TEXT,
    serial TEXT,
    chassis_serial TEXT,
    board_serial TEXT,
    platform TEXT,
    tenancy TEXT,
    gpu_model TEXT,
    gpu_count INTEGER,
    driver_version TEXT,
    kernel_release TEXT,
    reported_domain TEXT,
    cupel_version TEXT NOT NULL,
    parts_digest BLOB,
    coverage_json TEXT,
    -- The boot that it runs, and its last full report in that boot.
    boot_key INTEGER NOT NULL,
    hash TEXT,
    full_sequence INTEGER,
    full_made_at INTEGER,
    -- What follows.
    reported_verdict INTEGER,
    verdict INTEGER NOT NULL,
    verdict_since INTEGER NOT NULL,
    presence INTEGER NOT NULL,
    standing INTEGER NOT NULL,
    standing_since INTEGER NOT NULL,
    state TEXT NOT NULL,
    critical INTEGER NOT NULL DEFAULT 0,
    warning INTEGER NOT NULL DEFAULT 0,
    info INTEGER NOT NULL DEFAULT 0,
    blocking INTEGER NOT NULL DEFAULT 0,
    stopping_at INTEGER,
    stopping_why TEXT,
    -- Boots that began before this, by the node's clock, are forgotten.
    forgotten_before INTEGER,
    events_kept INTEGER NOT NULL DEFAULT 0,
    -- What operators set.
    revision INTEGER NOT NULL DEFAULT 0,
    lifecycle TEXT NOT NULL,
    baseline TEXT,
    silence_until INTEGER,
    account TEXT,
    project TEXT,
    instance TEXT,
    in_use INTEGER,
    handover_at INTEGER,
    set_region TEXT,
    set_site TEXT,
    set_row TEXT,
    set_rack TEXT,
    set_unit INTEGER,
    set_height_units INTEGER,
    set_nvlink_domain TEXT,
    set_switch_path_json TEXT,
    wanted_json TEXT NOT NULL,
    wanted_etag TEXT NOT NULL,
    -- What holds: the operator's word, else the expected list's, else the node's own.
    region TEXT,
    site TEXT,
    row TEXT,
    rack TEXT,
    unit INTEGER,
    height_units INTEGER,
    nvlink_domain TEXT,
    switch_path_json TEXT,
    expected_key INTEGER,
    mismatched INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX nodes_standing ON nodes (standing, key);
CREATE INDEX nodes_verdict ON nodes (verdict, key);
CREATE INDEX nodes_place ON nodes (region, site, row, rack);
CREATE INDEX nodes_serial ON nodes (serial);
CREATE INDEX nodes_chassis ON nodes (chassis_serial);
CREATE INDEX nodes_instance ON nodes (instance) WHERE instance IS NOT NULL;

-- One small row a node, written with every report that is newer than those before.
CREATE TABLE live (
    node_key INTEGER PRIMARY KEY,
    sequence INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    uptime INTEGER NOT NULL,
    next_within INTEGER NOT NULL,
    sampled INTEGER NOT NULL DEFAULT 0,
    told_etag TEXT,
    refused TEXT,
    dropped_heartbeats INTEGER NOT NULL DEFAULT 0,
    dropped_fulls INTEGER NOT NULL DEFAULT 0,
    dropped_changes INTEGER NOT NULL DEFAULT 0
);

CREATE TABLE boots (
    key INTEGER PRIMARY KEY,
    node_key INTEGER NOT NULL,
    boot TEXT NOT NULL,
    first_received INTEGER NOT NULL,
    -- The newest report of it, as far as it was written here: that of a running boot is in `live`.
    sequence INTEGER NOT NULL,
    made_at INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    uptime INTEGER NOT NULL,
    -- Reports up to these sequences may have been forgotten: heartbeats, and all others.
    floor_heartbeats INTEGER NOT NULL DEFAULT -1,
    floor_others INTEGER NOT NULL DEFAULT -1,
    UNIQUE (node_key, boot)
);

-- Which reports are stored, so that none is stored twice. Kind: 0 heartbeat, 1 any other.
CREATE TABLE reports (
    boot_key INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    kind INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (boot_key, sequence)
) WITHOUT ROWID;

CREATE TABLE snapshots (
    key INTEGER PRIMARY KEY,
    node_key INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    taken_at INTEGER NOT NULL,
    size INTEGER NOT NULL,
    hash TEXT NOT NULL,
    zstd BLOB NOT NULL
);
CREATE INDEX snapshots_node ON snapshots (node_key, received_at);

-- For plots: [[index, celsius, watts], …], one row in five minutes.
CREATE TABLE samples (
    node_key INTEGER NOT NULL,
    at INTEGER NOT NULL,
    gpus_json TEXT NOT NULL,
    PRIMARY KEY (node_key, at)
) WITHOUT ROWID;

-- One row an occurrence. Source: 0 the node, 1 the inventory.
CREATE TABLE findings (
    key INTEGER PRIMARY KEY,
    node_key INTEGER NOT NULL,
    source INTEGER NOT NULL,
    tracked_id TEXT NOT NULL,
    since INTEGER NOT NULL,
    code TEXT NOT NULL,
    component_kind TEXT NOT NULL,
    serial TEXT,
    severity INTEGER NOT NULL,
    enforced INTEGER NOT NULL,
    blocks INTEGER NOT NULL,
    confirmed INTEGER NOT NULL,
    tracked_json TEXT NOT NULL,
    opened_at INTEGER NOT NULL,
    updated_at INTEGER NOT NULL,
    closed_at INTEGER,
    closed_why TEXT,
    account TEXT,
    handover_at INTEGER,
    -- The report that last said something of it.
    boot_key INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    UNIQUE (node_key, tracked_id, since)
);
CREATE INDEX findings_open ON findings (node_key) WHERE closed_at IS NULL;
CREATE INDEX findings_code ON findings (code) WHERE closed_at IS NULL;
CREATE INDEX findings_serial ON findings (serial) WHERE serial IS NOT NULL;
CREATE INDEX findings_closed ON findings (closed_at) WHERE closed_at IS NOT NULL;

-- What happened to a node. `ref`: the finding or event that it is about.
CREATE TABLE history (
    key INTEGER PRIMARY KEY,
    node_key INTEGER NOT NULL,
    at INTEGER NOT NULL,
    kind TEXT NOT NULL,
    ref INTEGER,
    what TEXT,
    data_json TEXT
);
CREATE INDEX history_node ON history (node_key, at, key);
CREATE UNIQUE INDEX history_finding ON history (ref, at, what) WHERE kind = 'finding';
CREATE INDEX history_event ON history (ref) WHERE kind = 'event';
CREATE INDEX history_at ON history (at);

-- Events of the kernel log, summed over reports.
CREATE TABLE events (
    key INTEGER PRIMARY KEY,
    node_key INTEGER NOT NULL,
    fold BLOB NOT NULL,
    boot TEXT NOT NULL,
    repeats INTEGER NOT NULL,
    first INTEGER,
    last INTEGER,
    event_json TEXT NOT NULL,
    received_at INTEGER NOT NULL,
    UNIQUE (node_key, fold)
);
CREATE INDEX events_received ON events (received_at);

CREATE TABLE bringups (
    key INTEGER PRIMARY KEY,
    node_key INTEGER NOT NULL,
    started_at INTEGER NOT NULL,
    finished_at INTEGER NOT NULL,
    verdict INTEGER NOT NULL,
    summary_json TEXT NOT NULL,
    UNIQUE (node_key, started_at)
);

-- A part keeps its row across slots and nodes.
CREATE TABLE parts (
    key INTEGER PRIMARY KEY,
    kind TEXT NOT NULL,
    serial TEXT NOT NULL,
    maker TEXT NOT NULL,
    model TEXT,
    part_number TEXT,
    uuid TEXT,
    firmware TEXT,
    first_seen INTEGER NOT NULL,
    UNIQUE (serial, kind, maker)
);

CREATE TABLE placements (
    key INTEGER PRIMARY KEY,
    part_key INTEGER NOT NULL,
    node_key INTEGER NOT NULL,
    slot TEXT,
    pci TEXT,
    since INTEGER NOT NULL,
    until INTEGER,
    missing_since INTEGER
);
CREATE INDEX placements_part ON placements (part_key, since);
CREATE INDEX placements_node ON placements (node_key) WHERE until IS NULL;

CREATE TABLE deliveries (
    key INTEGER PRIMARY KEY,
    node_key INTEGER NOT NULL,
    reason TEXT NOT NULL,
    handover_at INTEGER NOT NULL,
    recorded_at INTEGER NOT NULL
);
CREATE INDEX deliveries_node ON deliveries (node_key);

-- What changed, for whoever listens. Kind: 'node' or 'finding'.
CREATE TABLE changes (
    key INTEGER PRIMARY KEY AUTOINCREMENT,
    at INTEGER NOT NULL,
    node_key INTEGER,
    kind TEXT NOT NULL,
    what TEXT NOT NULL,
    verdict INTEGER,
    finding_json TEXT
);

-- Secrets are kept as SHA-256. A revoked token keeps its row.
CREATE TABLE tokens (
    key INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL UNIQUE,
    scope TEXT NOT NULL,
    node TEXT,
    hash BLOB NOT NULL,
    created_at INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at INTEGER
);

CREATE TABLE sessions (
    hash BLOB PRIMARY KEY,
    token_key INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;

CREATE TABLE login_codes (
    hash BLOB PRIMARY KEY,
    token_key INTEGER NOT NULL,
    expires_at INTEGER NOT NULL
) WITHOUT ROWID;
