#!/bin/sh
# postgres.sh PROGRAM: runs it with AMBROSIA_TEST_DATABASE naming a PostgreSQL that lives as long as it does, on a unix socket in a folder of its own.
set -u
bin=$(ls -d /usr/lib/postgresql/*/bin 2> /dev/null | tail -1)
[ -n "$bin" ] || { echo "postgres.sh: no PostgreSQL server is installed" >&2; exit 1; }
dir=$(mktemp -d)
chmod 755 "$dir"

# The server refuses to run as root.
as=
[ "$(id -u)" -ne 0 ] || { as="setpriv --reuid=postgres --regid=postgres --clear-groups" && chown postgres:postgres "$dir"; }
$as "$bin/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --no-sync > "$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log"; exit 1; }
$as "$bin/postgres" -D "$dir/data" -k "$dir" -h '' -c fsync=off > "$dir/server.log" 2>&1 &
server=$!
until "$bin/pg_isready" -q -U postgres -h "$dir"; do
	kill -0 $server 2> /dev/null || { cat "$dir/server.log"; exit 1; }
	sleep 0.05
done
AMBROSIA_TEST_DATABASE="host=$dir user=postgres dbname=postgres" "$1"
status=$?
kill -INT $server
wait $server
[ $status -eq 0 ] || cat "$dir/server.log"
rm -rf "$dir"
exit $status
