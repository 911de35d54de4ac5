-- The tables of a V3 network, for trials: the catalogue is that of a real V3 database, the function
-- bodies are written from their descriptions. Plain CREATE in one transaction: where the tables
-- exist already, nothing changes.
--
--   xmtp-seed schema v3 --dsn D        or        psql -1 -v ON_ERROR_STOP=1 -f v3.sql

CREATE TABLE public.group_messages (
    id bigserial PRIMARY KEY,
    created_at timestamp NOT NULL DEFAULT now(),
    group_id bytea NOT NULL,
    data bytea NOT NULL,
    group_id_data_hash bytea NOT NULL,
    is_commit boolean,
    sender_hmac bytea,
    should_push boolean
);
CREATE UNIQUE INDEX idx_group_messages_group_id_data_hash
    ON public.group_messages (group_id_data_hash);
CREATE INDEX idx_group_messages_group_id_id ON public.group_messages (group_id, id);
CREATE INDEX idx_group_messages_is_commit_null_id_asc
    ON public.group_messages (id) WHERE is_commit IS NULL;

CREATE TABLE public.welcome_messages (
    id bigserial PRIMARY KEY,
    created_at timestamp NOT NULL DEFAULT now(),
    installation_key bytea NOT NULL,
    data bytea NOT NULL,
    hpke_public_key bytea,
    installation_key_data_hash bytea NOT NULL,
    wrapper_algorithm smallint NOT NULL DEFAULT 0,
    welcome_metadata bytea,
    message_type smallint NOT NULL DEFAULT 0
);
CREATE UNIQUE INDEX idx_welcome_messages_group_key_data_hash
    ON public.welcome_messages (installation_key_data_hash);
CREATE INDEX idx_welcome_messages_installation_key_id
    ON public.welcome_messages (installation_key, id);

CREATE TABLE public.inbox_log (
    sequence_id bigserial PRIMARY KEY,
    inbox_id bytea NOT NULL,
    server_timestamp_ns bigint NOT NULL,
    identity_update_proto bytea NOT NULL
);
CREATE INDEX idx_inbox_log_inbox_id_sequence_id ON public.inbox_log (inbox_id, sequence_id);

CREATE TABLE public.key_packages (
    sequence_id bigserial PRIMARY KEY,
    installation_id bytea NOT NULL,
    key_package bytea NOT NULL,
    created_at bigint NOT NULL,
    UNIQUE (installation_id, key_package)
);
CREATE INDEX idx_key_packages_installation_id ON public.key_packages (installation_id);

CREATE TABLE public.installations (
    id bytea PRIMARY KEY,
    created_at bigint NOT NULL,
    updated_at bigint NOT NULL,
    key_package bytea NOT NULL,
    is_appended boolean
);

CREATE TABLE public.inboxes (
    id bytea PRIMARY KEY,
    updated_at timestamp DEFAULT now()
);

CREATE TABLE public.address_log (
    address text NOT NULL,
    inbox_id bytea NOT NULL,
    association_sequence_id bigint,
    revocation_sequence_id bigint
);
CREATE INDEX idx_address_log_address_inbox_id ON public.address_log (address, inbox_id);

-- Fork detection. Both stay on V3 for good; the first generation only has its functions left.
CREATE TABLE public.commit_log (
    id bigserial PRIMARY KEY,
    created_at timestamp NOT NULL DEFAULT now(),
    group_id bytea NOT NULL,
    encrypted_entry bytea NOT NULL
);
CREATE INDEX idx_commit_log_group_id_id ON public.commit_log (group_id, id);

CREATE TABLE public.commit_log_v2 (
    id bigserial PRIMARY KEY,
    created_at timestamp NOT NULL DEFAULT now(),
    group_id bytea NOT NULL,
    serialized_entry bytea NOT NULL,
    serialized_signature bytea NOT NULL
);
CREATE INDEX idx_commit_log_v2_group_id_id ON public.commit_log_v2 (group_id, id);

-- Each function takes an advisory lock on the one group, installation or inbox it writes to, so that
-- within that one ids rise in the order of commits. Across them they do not.

CREATE FUNCTION public.insert_group_message(group_id bytea, data bytea, group_id_data_hash bytea)
RETURNS SETOF public.group_messages LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtext('group_messages'), hashtext(encode($1, 'hex')));
    INSERT INTO public.group_messages (group_id, data, group_id_data_hash)
    VALUES ($1, $2, $3) RETURNING *;
$$;

CREATE FUNCTION public.insert_group_message_with_is_commit(group_id bytea, data bytea,
    group_id_data_hash bytea, is_commit boolean DEFAULT NULL)
RETURNS SETOF public.group_messages LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtext('group_messages'), hashtext(encode($1, 'hex')));
    INSERT INTO public.group_messages (group_id, data, group_id_data_hash, is_commit)
    VALUES ($1, $2, $3, $4) RETURNING *;
$$;

CREATE FUNCTION public.insert_group_message_v3(group_id bytea, data bytea,
    group_id_data_hash bytea, sender_hmac bytea, should_push boolean, is_commit boolean)
RETURNS SETOF public.group_messages LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtext('group_messages'), hashtext(encode($1, 'hex')));
    INSERT INTO public.group_messages
        (group_id, data, group_id_data_hash, sender_hmac, should_push, is_commit)
    VALUES ($1, $2, $3, $4, $5, $6) RETURNING *;
$$;

CREATE FUNCTION public.insert_welcome_message(installation_key bytea, data bytea,
    installation_key_data_hash bytea, hpke_public_key bytea)
RETURNS SETOF public.welcome_messages LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtext('welcome_messages'), hashtext(encode($1, 'hex')));
    INSERT INTO public.welcome_messages
        (installation_key, data, installation_key_data_hash, hpke_public_key)
    VALUES ($1, $2, $3, $4) RETURNING *;
$$;

CREATE FUNCTION public.insert_welcome_message_v2(installation_key bytea, data bytea,
    installation_key_data_hash bytea, hpke_public_key bytea, wrapper_algorithm smallint)
RETURNS SETOF public.welcome_messages LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtext('welcome_messages'), hashtext(encode($1, 'hex')));
    INSERT INTO public.welcome_messages
        (installation_key, data, installation_key_data_hash, hpke_public_key, wrapper_algorithm)
    VALUES ($1, $2, $3, $4, $5) RETURNING *;
$$;

-- The cursor once had a column of its own; since the metadata carries it, it is not kept.
CREATE FUNCTION public.insert_welcome_message_v3(installation_key bytea, data bytea,
    installation_key_data_hash bytea, hpke_public_key bytea, wrapper_algorithm smallint,
    message_cursor bigint)
RETURNS SETOF public.welcome_messages LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtext('welcome_messages'), hashtext(encode($1, 'hex')));
    INSERT INTO public.welcome_messages
        (installation_key, data, installation_key_data_hash, hpke_public_key, wrapper_algorithm)
    VALUES ($1, $2, $3, $4, $5) RETURNING *;
$$;

CREATE FUNCTION public.insert_welcome_message_v4(installation_key bytea, data bytea,
    installation_key_data_hash bytea, hpke_public_key bytea, wrapper_algorithm smallint,
    welcome_metadata bytea)
RETURNS SETOF public.welcome_messages LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtext('welcome_messages'), hashtext(encode($1, 'hex')));
    INSERT INTO public.welcome_messages (installation_key, data, installation_key_data_hash,
        hpke_public_key, wrapper_algorithm, welcome_metadata)
    VALUES ($1, $2, $3, $4, $5, $6) RETURNING *;
$$;

CREATE FUNCTION public.insert_welcome_pointer_message_v1(installation_key bytea,
    welcome_pointer_data bytea, installation_key_data_hash bytea, hpke_public_key bytea,
    wrapper_algorithm smallint)
RETURNS SETOF public.welcome_messages LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtext('welcome_messages'), hashtext(encode($1, 'hex')));
    INSERT INTO public.welcome_messages (installation_key, data, installation_key_data_hash,
        hpke_public_key, wrapper_algorithm, message_type)
    VALUES ($1, $2, $3, $4, $5, 1) RETURNING *;
$$;

CREATE FUNCTION public.insert_inbox_log(inbox_id bytea, server_timestamp_ns bigint,
    identity_update_proto bytea)
RETURNS SETOF public.inbox_log LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtext('inbox_log'), hashtext(encode($1, 'hex')));
    INSERT INTO public.inbox_log (inbox_id, server_timestamp_ns, identity_update_proto)
    VALUES ($1, $2, $3) RETURNING *;
$$;

CREATE FUNCTION public.insert_commit_log(group_id bytea, encrypted_entry bytea)
RETURNS SETOF public.commit_log LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtext('commit_log'), hashtext(encode($1, 'hex')));
    INSERT INTO public.commit_log (group_id, encrypted_entry) VALUES ($1, $2) RETURNING *;
$$;

CREATE FUNCTION public.insert_commit_log_v2(group_id bytea, serialized_entry bytea,
    serialized_signature bytea)
RETURNS SETOF public.commit_log_v2 LANGUAGE sql AS $$
    SELECT pg_advisory_xact_lock(hashtext('commit_log_v2'), hashtext(encode($1, 'hex')));
    INSERT INTO public.commit_log_v2 (group_id, serialized_entry, serialized_signature)
    VALUES ($1, $2, $3) RETURNING *;
$$;
