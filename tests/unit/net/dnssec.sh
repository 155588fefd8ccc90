#!/usr/bin/env bash
# Signed zones by knot, on loopback, for test_dnssec: secure, bogus (the anchor holds another key) and unsigned ones. 77: knot is not installed.
set -eu
prog=$1
knotd=$(PATH=$PATH:/usr/sbin command -v knotd) && keymgr=$(PATH=$PATH:/usr/sbin command -v keymgr) || exit 77
dir=$(mktemp -d "${TMPDIR:-/tmp}/net-dnssec-XXXXXX")
pid=
stop() {
	[ -z "$pid" ] || { kill "$pid" 2>/dev/null || :; wait "$pid" 2>/dev/null || :; }
	rm -rf "$dir"
}
trap stop EXIT
mkdir "$dir/zones" "$dir/keys" "$dir/run" "$dir/journal" "$dir/timers"
port=$(python3 -c 'import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')

zone() {
	cat >"$dir/zones/$1.zone" <<-END
		\$ORIGIN $1.
		\$TTL 60
		@ SOA ns admin 1 3600 600 86400 60
		@ NS ns
		ns A 127.0.0.1
		@ A 192.0.2.1
		host A 192.0.2.2
		host AAAA 2001:db8::2
		alias CNAME host
		_xmpp-server._tcp SRV 1 1 5269 host
		_xmpp-server._tcp.sub SRV 1 1 5269 alias
		_xmpp-server._tcp.out SRV 1 1 5269 host.plain.example.
		direct A 192.0.2.3
		_5269._tcp.host TLSA 3 1 1 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
		_5269._tcp.host TLSA 2 0 1 ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff
		_5269._tcp.host TLSA 3 1 1 01234567
		_xmpp-server._tcp.denied SRV 1 1 5269 lame
		_xmpp-server._tcp.partly SRV 1 1 5269 lame
		_xmpp-server._tcp.partly SRV 2 1 5269 host
		lame A 192.0.2.4
		_tcp.lame NS ns
		_tcp.lame DS 12345 13 2 0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
	END
}
for z in secure.example bogus.example plain.example; do zone $z; done
cat >"$dir/knot.conf" <<END
server:
    rundir: "$dir/run"
    listen: 127.0.0.1@$port
database:
    storage: "$dir"
    journal-db: "$dir/journal"
    kasp-db: "$dir/keys"
    timer-db: "$dir/timers"
    journal-db-max-size: 8M
    kasp-db-max-size: 8M
log:
  - target: stderr
    any: warning
template:
  - id: default
    storage: "$dir/zones"
    file: "%s.zone"
    zonefile-sync: -1
    zonefile-load: whole
zone:
  - domain: secure.example
    dnssec-signing: on
  - domain: bogus.example
    dnssec-signing: on
  - domain: plain.example
END
"$knotd" -c "$dir/knot.conf" >"$dir/log" 2>&1 &
pid=$!
anchor() {
	for _ in $(seq 100); do
		"$keymgr" -c "$dir/knot.conf" "$1" ds 2>/dev/null | grep -m1 ' 13 2 ' && return
		sleep 0.1
	done
	cat "$dir/log" >&2
	return 1
}
anchor secure.example. >"$dir/anchor"
# the other zone's digest: nothing that it signs can be proven
anchor secure.example. | sed 's/^secure/bogus/' >>"$dir/anchor"
"$prog" "127.0.0.1:$port" "$dir/anchor"
