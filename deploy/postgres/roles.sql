-- Run once, by the image's entry point, when the cluster has just been made: the roles and the database of
-- stack/servers/postgres.py. The owner migrates; the application owns nothing, so the append-only ledger is
-- append-only for it. psql reads the passwords from the secrets' files: they stand in no command line.
\set owner_password `cat /run/secrets/postgres_owner_password`
\set app_password `cat /run/secrets/postgres_app_password`

CREATE ROLE stampede_owner LOGIN NOSUPERUSER NOCREATEROLE PASSWORD :'owner_password';
CREATE ROLE stampede_app LOGIN NOSUPERUSER NOCREATEROLE PASSWORD :'app_password';
CREATE DATABASE stampede OWNER stampede_owner;
