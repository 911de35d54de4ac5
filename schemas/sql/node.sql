-- The tables of a decentralized node at schema level 23, for trials: the catalogue is that of a real
-- node's database, the function bodies are written from their descriptions. Plain CREATE in one
-- transaction: where the tables exist already, nothing changes. node_info is left empty.
--
--   xmtp-seed schema node --dsn D      or      psql -1 -v ON_ERROR_STOP=1 -f node.sql

-- ---- envelopes -----------------------------------------------------------------------------------

CREATE TABLE public.payers (
    id serial PRIMARY KEY,
    address text NOT NULL UNIQUE
);

CREATE TABLE public.gateway_envelopes_meta (
    gateway_time timestamp NOT NULL DEFAULT now(),
    originator_node_id integer NOT NULL,
    originator_sequence_id bigint NOT NULL,
    topic bytea NOT NULL,
    payer_id integer CONSTRAINT gateway_envelopes_meta_payer_id_fkey REFERENCES public.payers (id),
    expiry bigint NOT NULL,
    CONSTRAINT gateway_envelopes_meta_pkey PRIMARY KEY (originator_node_id, originator_sequence_id)
) PARTITION BY LIST (originator_node_id);
CREATE INDEX gem_expiry_idx ON public.gateway_envelopes_meta (expiry)
    INCLUDE (originator_node_id, originator_sequence_id) WHERE expiry IS NOT NULL;
CREATE INDEX gem_topic_orig_seq_idx
    ON public.gateway_envelopes_meta (topic, originator_node_id, originator_sequence_id)
    INCLUDE (gateway_time);
CREATE INDEX gem_topic_time_desc_idx ON public.gateway_envelopes_meta (topic, gateway_time DESC)
    INCLUDE (originator_node_id, originator_sequence_id);

-- The table was renamed at level 23; its constraints kept the names from before.
CREATE TABLE public.gateway_envelopes_blob (
    originator_node_id integer NOT NULL,
    originator_sequence_id bigint NOT NULL,
    originator_envelope bytea NOT NULL,
    CONSTRAINT gateway_envelope_blobs_pkey PRIMARY KEY (originator_node_id, originator_sequence_id),
    CONSTRAINT gateway_envelope_blobs_originator_node_id_originator_seque_fkey
        FOREIGN KEY (originator_node_id, originator_sequence_id)
        REFERENCES public.gateway_envelopes_meta (originator_node_id, originator_sequence_id)
        ON DELETE CASCADE
) PARTITION BY LIST (originator_node_id);

CREATE TABLE public.gateway_envelopes_latest (
    originator_node_id integer PRIMARY KEY,
    originator_sequence_id bigint NOT NULL,
    gateway_time timestamp NOT NULL
);

-- The vector clock: id and time are set together, and only when the id rises.
CREATE FUNCTION public.update_latest_envelope_v2() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.gateway_envelopes_latest AS latest
        (originator_node_id, originator_sequence_id, gateway_time)
    SELECT n.originator_node_id, max(n.originator_sequence_id), max(n.gateway_time)
    FROM new AS n
    GROUP BY n.originator_node_id
    ORDER BY n.originator_node_id
    ON CONFLICT (originator_node_id) DO UPDATE
        SET originator_sequence_id = excluded.originator_sequence_id,
            gateway_time = excluded.gateway_time
        WHERE excluded.originator_sequence_id > latest.originator_sequence_id;
    RETURN NULL;
END;
$$;

CREATE TRIGGER gateway_latest_upd_v2 AFTER INSERT ON public.gateway_envelopes_meta
    REFERENCING NEW TABLE AS new
    FOR EACH STATEMENT EXECUTE FUNCTION public.update_latest_envelope_v2();

-- ---- partitions ----------------------------------------------------------------------------------
-- Whoever calls these holds pg_advisory_xact_lock(5), in a transaction of its own.

CREATE FUNCTION public.make_meta_originator_part_v2(_oid integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE IF NOT EXISTS public.gateway_envelopes_meta_o%s'
        ' PARTITION OF public.gateway_envelopes_meta FOR VALUES IN (%s)'
        ' PARTITION BY RANGE (originator_sequence_id)', _oid, _oid);
END;
$$;

CREATE FUNCTION public.make_meta_seq_subpart_v2(_oid integer, _start bigint, _end bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE IF NOT EXISTS public.gateway_envelopes_meta_o%s_s%s_%s'
        ' PARTITION OF public.gateway_envelopes_meta_o%s FOR VALUES FROM (%s) TO (%s)',
        _oid, _start, _end, _oid, _start, _end);
END;
$$;

CREATE FUNCTION public.make_blob_originator_part_v3(_oid integer) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE IF NOT EXISTS public.gateway_envelopes_blob_o%s'
        ' PARTITION OF public.gateway_envelopes_blob FOR VALUES IN (%s)'
        ' PARTITION BY RANGE (originator_sequence_id)', _oid, _oid);
END;
$$;

CREATE FUNCTION public.make_blob_seq_subpart_v3(_oid integer, _start bigint, _end bigint)
RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('CREATE TABLE IF NOT EXISTS public.gateway_envelopes_blob_o%s_s%s_%s'
        ' PARTITION OF public.gateway_envelopes_blob_o%s FOR VALUES FROM (%s) TO (%s)',
        _oid, _start, _end, _oid, _start, _end);
END;
$$;

CREATE FUNCTION public.ensure_gateway_parts_v3(p_originator_node_id integer,
    p_originator_sequence_id bigint, p_band_width bigint DEFAULT 1000000)
RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    _start bigint := p_originator_sequence_id / p_band_width * p_band_width;
    _end bigint := _start + p_band_width;
BEGIN
    PERFORM public.make_meta_originator_part_v2(p_originator_node_id);
    PERFORM public.make_meta_seq_subpart_v2(p_originator_node_id, _start, _end);
    PERFORM public.make_blob_originator_part_v3(p_originator_node_id);
    PERFORM public.make_blob_seq_subpart_v3(p_originator_node_id, _start, _end);
END;
$$;

-- What the pruner may drop: leaves that are empty and not their originator's newest.
CREATE FUNCTION public.get_prunable_meta_partitions()
RETURNS TABLE (originator_node_id integer, schemaname text, tablename text, band_start bigint,
    band_end bigint)
LANGUAGE plpgsql STABLE AS $$
DECLARE
    _leaf record;
    _has_rows boolean;
BEGIN
    FOR _leaf IN
        SELECT p.parts[1]::integer AS originator, p.space, p.name,
               p.parts[2]::bigint AS range_start, p.parts[3]::bigint AS range_end,
               max(p.parts[2]::bigint) OVER (PARTITION BY p.parts[1]::integer) AS newest
        FROM (SELECT n.nspname::text AS space, c.relname::text AS name,
                     regexp_match(c.relname, '^gateway_envelopes_meta_o(\d+)_s(\d+)_(\d+)$') AS parts
              FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
              WHERE c.relkind = 'r' AND c.relispartition AND n.nspname = 'public') p
        WHERE p.parts IS NOT NULL
        ORDER BY 1, 4
    LOOP
        CONTINUE WHEN _leaf.range_start = _leaf.newest;
        EXECUTE format('SELECT EXISTS (SELECT FROM %I.%I)', _leaf.space, _leaf.name) INTO _has_rows;
        CONTINUE WHEN _has_rows;
        originator_node_id := _leaf.originator;
        schemaname := _leaf.space;
        tablename := _leaf.name;
        band_start := _leaf.range_start;
        band_end := _leaf.range_end;
        RETURN NEXT;
    END LOOP;
END;
$$;

-- ---- accounting ----------------------------------------------------------------------------------

CREATE TABLE public.unsettled_usage (
    payer_id integer NOT NULL
        CONSTRAINT fk_unsettled_usage_payer_id REFERENCES public.payers (id),
    originator_id integer NOT NULL,
    minutes_since_epoch integer NOT NULL,
    spend_picodollars bigint NOT NULL,
    last_sequence_id bigint NOT NULL,
    message_count integer NOT NULL DEFAULT 0,
    PRIMARY KEY (payer_id, originator_id, minutes_since_epoch)
);
CREATE INDEX idx_unsettled_usage_originator_id_minutes_since_epoch
    ON public.unsettled_usage (originator_id, minutes_since_epoch DESC);

CREATE TABLE public.originator_congestion (
    originator_id integer NOT NULL,
    num_messages integer NOT NULL DEFAULT 0,
    minutes_since_epoch integer NOT NULL,
    PRIMARY KEY (originator_id, minutes_since_epoch)
);

CREATE TABLE public.payer_ledger_events (
    event_id bytea PRIMARY KEY,
    payer_id integer NOT NULL
        CONSTRAINT fk_payer_ledger_events_payer_id REFERENCES public.payers (id),
    amount_picodollars bigint NOT NULL,
    event_type smallint NOT NULL,
    created_at timestamp NOT NULL DEFAULT now()
);

-- The node's own insert. Rows that are there already count nowhere; the rest of the accounting rides
-- in the same statement. The caller holds pg_advisory_xact_lock_shared(5).
CREATE FUNCTION public.insert_gateway_envelope_batch_v3(p_originator_node_ids integer[],
    p_originator_sequence_ids bigint[], p_topics bytea[], p_payer_ids integer[],
    p_gateway_times timestamp[], p_expiries bigint[], p_originator_envelopes bytea[],
    p_spend_picodollars bigint[], p_count_usage boolean[], p_count_congestion boolean[])
RETURNS TABLE (inserted_meta_rows bigint, inserted_blob_rows bigint, affected_usage_rows bigint,
    affected_congestion_rows bigint)
LANGUAGE sql AS $$
    WITH given AS (
        SELECT DISTINCT ON (g.originator, g.sequence) g.*
        FROM unnest(p_originator_node_ids, p_originator_sequence_ids, p_topics, p_payer_ids,
                    p_gateway_times, p_expiries, p_originator_envelopes, p_spend_picodollars,
                    p_count_usage, p_count_congestion) WITH ORDINALITY
             AS g (originator, sequence, topic, payer, gateway_time, expiry, envelope, spend,
                   count_usage, count_congestion, place)
        ORDER BY g.originator, g.sequence, g.place
    ), meta AS (
        INSERT INTO public.gateway_envelopes_meta AS m (originator_node_id,
            originator_sequence_id, topic, payer_id, gateway_time, expiry)
        SELECT originator, sequence, topic, payer, gateway_time, expiry
        FROM given ORDER BY originator, sequence
        ON CONFLICT DO NOTHING
        RETURNING m.originator_node_id AS originator, m.originator_sequence_id AS sequence
    ), inserted AS (
        SELECT given.*,
               floor(extract(epoch FROM given.gateway_time) / 60)::integer AS minute
        FROM given JOIN meta USING (originator, sequence)
    ), blob AS (
        INSERT INTO public.gateway_envelopes_blob AS b (originator_node_id,
            originator_sequence_id, originator_envelope)
        SELECT originator, sequence, envelope FROM inserted ORDER BY originator, sequence
        ON CONFLICT DO NOTHING
        RETURNING 1
    ), usage AS (
        INSERT INTO public.unsettled_usage AS u (payer_id, originator_id, minutes_since_epoch,
            spend_picodollars, last_sequence_id, message_count)
        SELECT payer, originator, minute, sum(spend)::bigint, max(sequence), count(*)::integer
        FROM inserted WHERE count_usage AND payer IS NOT NULL
        GROUP BY payer, originator, minute ORDER BY payer, originator, minute
        ON CONFLICT (payer_id, originator_id, minutes_since_epoch) DO UPDATE
            SET spend_picodollars = u.spend_picodollars + excluded.spend_picodollars,
                last_sequence_id = greatest(u.last_sequence_id, excluded.last_sequence_id),
                message_count = u.message_count + excluded.message_count
        RETURNING 1
    ), congestion AS (
        INSERT INTO public.originator_congestion AS c (originator_id, minutes_since_epoch,
            num_messages)
        SELECT originator, minute, count(*)::integer
        FROM inserted WHERE count_congestion
        GROUP BY originator, minute ORDER BY originator, minute
        ON CONFLICT (originator_id, minutes_since_epoch) DO UPDATE
            SET num_messages = c.num_messages + excluded.num_messages
        RETURNING 1
    )
    SELECT (SELECT count(*) FROM meta), (SELECT count(*) FROM blob),
           (SELECT count(*) FROM usage), (SELECT count(*) FROM congestion);
$$;

-- ---- migration -----------------------------------------------------------------------------------

CREATE TABLE public.migration_tracker (
    source_table text PRIMARY KEY,
    last_migrated_id bigint NOT NULL DEFAULT 0,
    created_at timestamp NOT NULL DEFAULT now(),
    updated_at timestamp NOT NULL DEFAULT now()
);
INSERT INTO public.migration_tracker (source_table)
VALUES ('group_messages'), ('commit_messages'), ('welcome_messages'), ('key_packages'),
       ('inbox_log');

CREATE TABLE public.migration_dead_letter_box (
    source_table text NOT NULL,
    sequence_id bigint NOT NULL,
    payload bytea NOT NULL,
    reason text NOT NULL,
    retryable boolean NOT NULL DEFAULT false,
    added_at timestamp NOT NULL DEFAULT now(),
    retried_at timestamp NOT NULL DEFAULT now(),
    PRIMARY KEY (source_table, sequence_id)
);
CREATE INDEX migration_dead_letter_box_retryable_retried_at_idx
    ON public.migration_dead_letter_box (retried_at) WHERE retryable = true;
CREATE INDEX migration_dead_letter_box_source_table_added_at_idx
    ON public.migration_dead_letter_box (source_table, added_at);

CREATE FUNCTION public.insert_migration_dead_letter_box(p_source_table text,
    p_sequence_id bigint, p_payload bytea, p_reason text, p_retryable boolean)
RETURNS SETOF public.migration_dead_letter_box LANGUAGE sql AS $$
    INSERT INTO public.migration_dead_letter_box
        (source_table, sequence_id, payload, reason, retryable)
    VALUES (p_source_table, p_sequence_id, p_payload, p_reason, p_retryable)
    ON CONFLICT (source_table, sequence_id) DO UPDATE
        SET payload = excluded.payload, reason = excluded.reason,
            retryable = excluded.retryable, retried_at = now()
    RETURNING *;
$$;

CREATE FUNCTION public.delete_migration_dead_letter_box(source_table text, sequence_id bigint)
RETURNS boolean LANGUAGE sql AS $$
    WITH gone AS (
        DELETE FROM public.migration_dead_letter_box AS d
        WHERE d.source_table = $1 AND d.sequence_id = $2
        RETURNING 1
    )
    SELECT EXISTS (SELECT FROM gone);
$$;

-- ---- the node itself -----------------------------------------------------------------------------

CREATE TABLE public.node_info (
    node_id integer NOT NULL,
    public_key bytea NOT NULL,
    singleton_id smallint PRIMARY KEY DEFAULT 1 CONSTRAINT is_singleton CHECK (singleton_id = 1)
);

CREATE TABLE public.blockchain_messages (
    block_number bigint NOT NULL,
    block_hash bytea NOT NULL,
    originator_node_id integer NOT NULL,
    originator_sequence_id bigint NOT NULL,
    is_canonical boolean NOT NULL DEFAULT true,
    PRIMARY KEY (block_number, block_hash, originator_node_id, originator_sequence_id),
    CONSTRAINT blockchain_messages_originator_node_id_originator_sequence_fkey
        FOREIGN KEY (originator_node_id, originator_sequence_id)
        REFERENCES public.gateway_envelopes_meta (originator_node_id, originator_sequence_id)
);
CREATE INDEX idx_blockchain_messages_block_canonical
    ON public.blockchain_messages (block_number, is_canonical);

CREATE TABLE public.latest_block (
    contract_address text PRIMARY KEY,
    block_number bigint NOT NULL,
    block_hash bytea
);

CREATE TABLE public.schema_migrations (
    version bigint PRIMARY KEY,
    dirty boolean NOT NULL
);
INSERT INTO public.schema_migrations (version, dirty) VALUES (23, false);
