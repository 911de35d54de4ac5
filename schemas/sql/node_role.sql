-- The role that carries rows into a node's database, with the rights it needs and no more. Run by
-- the superuser of the node's server, connected to the node's database:
--
--   psql -1 -v ON_ERROR_STOP=1 -v role=xmtp_migrator -v owner=xmtpd -f node_role.sql NODE_DATABASE
--
-- owner is the role that owns the node's tables. Then give the new role a way to log in: a
-- certificate, or a password by \password. To take all of it back after the migration:
-- DROP OWNED BY the role (this drops the journal in xmtp_migrate as well), then DROP ROLE.

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec

-- A partition can only be made or attached by the owner of its parent, and the node's own pruner
-- must own it to drop it: PostgreSQL knows no lesser right for either. This membership is the one
-- broad right here; it can be revoked as soon as every band exists.
GRANT :"owner" TO :"role";

SELECT format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO %I', current_database(), :'role') \gexec

-- The migrator's journal, claims and waivers live apart from what is the node's. They are its own,
-- also where a superuser's run or another role has begun them.
CREATE SCHEMA IF NOT EXISTS xmtp_migrate;
ALTER SCHEMA xmtp_migrate OWNER TO :"role";
SELECT format('ALTER TABLE %s OWNER TO %I', oid::regclass, :'role') FROM pg_class
WHERE relnamespace = 'xmtp_migrate'::regnamespace AND relkind = 'r' \gexec
GRANT USAGE ON SCHEMA public TO :"role";

-- What it writes. UPDATE and DELETE on envelopes: a key package uploaded again is rewritten.
GRANT SELECT, INSERT, UPDATE, DELETE ON
    public.gateway_envelopes_meta, public.gateway_envelopes_blob, public.gateway_envelopes_latest,
    public.payers, public.unsettled_usage, public.originator_congestion,
    public.migration_tracker, public.migration_dead_letter_box
TO :"role";
GRANT USAGE, SELECT ON SEQUENCE public.payers_id_seq TO :"role";

-- How far standbys are behind and who is at work: for the pauses that a manifest's limits ask for.
GRANT pg_read_all_stats TO :"role";

-- Speed: rows come into a table that is no partition yet, where their foreign keys can't be looked up
-- row by row, or together with the rows that their foreign keys ask for, where they need not be.
-- Without this right they take the slower way.
GRANT SET ON PARAMETER session_replication_role TO :"role";

-- Where the data lies, by which `xmtp-migrate plan` tells whether there is room for it.
GRANT pg_read_all_settings TO :"role";

-- What it checks before it writes.
GRANT SELECT ON public.node_info, public.schema_migrations TO :"role";

GRANT EXECUTE ON FUNCTION
    public.ensure_gateway_parts_v3(integer, bigint, bigint),
    public.make_meta_originator_part_v2(integer),
    public.make_meta_seq_subpart_v2(integer, bigint, bigint),
    public.make_blob_originator_part_v3(integer),
    public.make_blob_seq_subpart_v3(integer, bigint, bigint),
    public.insert_gateway_envelope_batch_v3(integer[], bigint[], bytea[], integer[], timestamp[],
        bigint[], bytea[], bigint[], boolean[], boolean[]),
    public.insert_migration_dead_letter_box(text, bigint, bytea, text, boolean),
    public.delete_migration_dead_letter_box(text, bigint)
TO :"role";
