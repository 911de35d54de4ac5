-- The migration's own books on a node, level 1. Written in the transactions of the rows they speak of.
-- A role as of node_role.sql has the schema, but not the right to make one, which IF NOT EXISTS asks
-- for all the same.
DO $$ BEGIN
    IF to_regnamespace('xmtp_migrate') IS NULL THEN
        CREATE SCHEMA xmtp_migrate;
    END IF;
    -- Bands are filled in here before they are attached, and belong to whoever owns the tables.
    EXECUTE format('GRANT USAGE, CREATE ON SCHEMA xmtp_migrate TO %I', (SELECT
        pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'public.gateway_envelopes_meta'::regclass));
END $$;

CREATE TABLE xmtp_migrate.versions (
    version integer PRIMARY KEY,
    applied_at timestamptz NOT NULL DEFAULT now()
);

-- What is pinned for a run: the same on every node.
CREATE TABLE xmtp_migrate.runs (
    run text PRIMARY KEY,
    network text NOT NULL,
    as_of_ns bigint NOT NULL,
    profile text NOT NULL,
    policy_digest text NOT NULL,
    payer text NOT NULL,
    originator text NOT NULL,
    pinned jsonb NOT NULL DEFAULT '{}', -- what policy_digest is of, by name
    source text NOT NULL DEFAULT '',    -- which database rows come from, where that is known
    bounds jsonb NOT NULL,              -- table -> last id of its settled range, as text
    blockers jsonb NOT NULL DEFAULT '[]',
    problems jsonb NOT NULL DEFAULT '[]', -- what was found at its end that makes the account red
    number bigint NOT NULL GENERATED ALWAYS AS IDENTITY, -- in the order in which they were begun:
    started_at timestamptz NOT NULL DEFAULT now(),       -- a clock may be set back
    finished_at timestamptz,
    told_at timestamptz,                -- its account went out to whoever asked for the run
    fresh boolean NOT NULL DEFAULT false, -- read from V3 while it ran, not out of a bundle
    renewed_since_ns bigint             -- key packages that changed their standing before are told
);

-- A range of ids of one V3 table that this node has whole. Settled ranges of a run leave no gap.
CREATE TABLE xmtp_migrate.parts (
    run text NOT NULL REFERENCES xmtp_migrate.runs (run),
    source_table text NOT NULL,
    first_id bigint NOT NULL,
    last_id bigint NOT NULL,
    settled boolean NOT NULL,
    chain_rows bigint NOT NULL DEFAULT 0,
    chain_digest text,                  -- SHA-256 over the chain-bound rows
    chain_ids bigint[],                 -- which they are, where a second reading might see others:
                                        -- is_commit is filled in later, unsettled ranges grow
    nodes_digest text NOT NULL,         -- SHA-256 over the envelopes for nodes, '' without any
    loaded_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (run, source_table, first_id)
);

-- How many rows of a part ended in which state. Besides counted, expired, rejected, for_nodes,
-- for_chain, loaded, already_there and conflicts, states are 'reject:REASON' and 'finding:NAME'.
CREATE TABLE xmtp_migrate.counts (
    run text NOT NULL,
    source_table text NOT NULL,
    first_id bigint NOT NULL,
    kind text NOT NULL,
    state text NOT NULL,
    rows bigint NOT NULL,
    PRIMARY KEY (run, source_table, first_id, kind, state),
    FOREIGN KEY (run, source_table, first_id) REFERENCES xmtp_migrate.parts ON DELETE CASCADE
);

-- Rows of unsettled parts that an earlier reading of a run loaded: the next finds them there, and
-- they count as loaded.
CREATE TABLE xmtp_migrate.strays (
    run text NOT NULL REFERENCES xmtp_migrate.runs (run),
    source_table text NOT NULL,
    loaded bigint NOT NULL,
    PRIMARY KEY (run, source_table)
);

-- The rows that a run rejected. Its account speaks of these alone: the dead letter box also keeps
-- letters of earlier runs and of other tools.
CREATE TABLE xmtp_migrate.rejected (
    run text NOT NULL,
    source_table text NOT NULL,
    first_id bigint NOT NULL,
    kind text NOT NULL,
    sequence_id bigint NOT NULL,
    reason text NOT NULL,
    PRIMARY KEY (run, kind, sequence_id),
    FOREIGN KEY (run, source_table, first_id) REFERENCES xmtp_migrate.parts ON DELETE CASCADE
);
CREATE INDEX rejected_of_part ON xmtp_migrate.rejected (run, source_table, first_id);

-- Envelopes of key packages that were written anew because their standing had changed: SHA-256 of
-- the envelope before ('' for one that had expired and came back) and after, and what it is ordered by.
CREATE TABLE xmtp_migrate.renewed (
    run text NOT NULL REFERENCES xmtp_migrate.runs (run),
    kind text NOT NULL,
    sequence_id bigint NOT NULL,
    renewed_at timestamptz NOT NULL DEFAULT now(),
    held text NOT NULL,
    held_time timestamp,
    stored text NOT NULL,
    stored_time timestamp NOT NULL
);

-- A dead letter that somebody decided to leave behind, as it stood when they did.
CREATE TABLE xmtp_migrate.waivers (
    kind text NOT NULL,
    sequence_id bigint NOT NULL,
    rejected_for text NOT NULL,
    reason text NOT NULL,
    who text NOT NULL,
    waived_at timestamptz NOT NULL DEFAULT now(),
    held text NOT NULL DEFAULT '',      -- of a conflict: SHA-256 of what the node held instead
    PRIMARY KEY (kind, sequence_id, rejected_for)
);
