-- The role that reads a V3 database and can do nothing else. Run by a superuser, connected to the V3
-- database:
--
--   psql -1 -v ON_ERROR_STOP=1 -v role=xmtp_reader -f source_role.sql V3_DATABASE
--
-- Then give the new role a way to log in: a certificate, or a password by \password.

SELECT format('CREATE ROLE %I LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION', :'role')
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" SET default_transaction_read_only = on;

SELECT format('GRANT CONNECT ON DATABASE %I TO %I', current_database(), :'role') \gexec
GRANT USAGE ON SCHEMA public TO :"role";
GRANT SELECT ON public.group_messages, public.welcome_messages, public.key_packages,
    public.inbox_log, public.installations TO :"role";

-- How far ids have been given out: half of telling a settled range.
GRANT SELECT ON SEQUENCE public.group_messages_id_seq, public.welcome_messages_id_seq,
    public.key_packages_sequence_id_seq, public.inbox_log_sequence_id_seq TO :"role";

-- The other half, who may still commit: pg_locks is open to all, but only this shows the sessions of
-- other users in pg_stat_activity, and so whom a run is waiting for; and how many sessions are at work and how far standbys are
-- behind, for the pauses that a manifest's limits ask for.
GRANT pg_read_all_stats TO :"role";
