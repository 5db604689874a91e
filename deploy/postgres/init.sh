#!/bin/sh
# The role and the database of the records. Running it again gives the role the password of now.
set -eu
secrets=${SECRETS:-/run/secrets}

secret() {
    value=$(cat "$secrets/$1") || { echo "init.sh: expected a secret in $secrets/$1" >&2; exit 2; }
    case $value in
        *[!A-Za-z0-9_.~-]*) short=yes ;;
        ????????????????*) short=no ;;
        *) short=yes ;;
    esac
    if [ "$short" = yes ]; then
        echo "init.sh: $secrets/$1: expected 16 or more of A-Z a-z 0-9 _ . ~ -" >&2
        exit 2
    fi
    printf '%s' "$value"
}

PGPASSWORD=$(secret postgres_admin_password)
RECORDS_PASSWORD=$(secret postgres_records_password)
PGUSER=postgres
export PGPASSWORD RECORDS_PASSWORD PGUSER
# The password goes in by the environment, so that it is on no command line, and in no log if this fails.
psql --no-psqlrc --quiet --no-password --set ON_ERROR_STOP=1 --dbname postgres <<'SQL'
SET log_min_error_statement = panic;
\set secret `printf %s "$RECORDS_PASSWORD"`
SELECT 'CREATE ROLE hearthline' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'hearthline') \gexec
ALTER ROLE hearthline LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS
    CONNECTION LIMIT 40 PASSWORD :'secret';
SELECT 'CREATE DATABASE hearthline OWNER hearthline'
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = 'hearthline') \gexec
REVOKE ALL ON DATABASE hearthline, postgres, template1 FROM PUBLIC;
SQL
echo "role and database are there"
