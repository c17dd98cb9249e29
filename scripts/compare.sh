#!/usr/bin/env bash
# Runs Moneta's simple transfer and plain SQL beside each other: one private cluster,
# one set of settings, in turn. Plain SQL is run by pgbench, which ships with
# Postgres, one transfer a transaction (bench/transfer.sql), and by our own client;
# every client is a process of its own.
#
#   scripts/compare.sh [FOLDER on a real disk, .] [more flags of moneta bench]
#
# Needs bin/moneta (make build) and pgbench. About two minutes.
set -euo pipefail
WORK=${1:-.}
shift || true
HERE=$(cd "$(dirname "$0")/.." && pwd)
MONETA=${MONETA:-$HERE/bin/moneta}
[ -x "$MONETA" ] || { echo "compare: there is no $MONETA: run 'make build'" >&2; exit 2; }
PGBENCH=${PGBENCH:-$(command -v pgbench || ls /usr/lib/postgresql/*/bin/pgbench 2>/dev/null | sort -V | tail -1 || true)}
[ -x "$PGBENCH" ] || { echo "compare: there is no pgbench: install Postgres' own tools (Debian: postgresql), or set PGBENCH" >&2; exit 2; }
exec "$MONETA" bench --profile compare --pgbench "$PGBENCH" --data "$WORK" "$@"
