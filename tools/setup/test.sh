#!/usr/bin/env bash
# Installs what `make test` needs beyond Go: promtool (of Debian's prometheus) reads our metrics,
# curl and gtlsclient (HTTP/3) are clients that we did not write, gcc is for the race detector, pebble is an ACME authority,
# dnsmasq is a DNS server, node and python are peers of WebSocket (npm fetches one more), and
# systemd-analyze checks the units of examples/systemd.
set -euo pipefail
exec "$(dirname "$0")/packages.sh" promtool:prometheus curl:curl gcc:gcc,libc6-dev pebble:pebble gtlsclient:ngtcp2-client dnsmasq:dnsmasq-base \
	node:nodejs npm:npm /usr/lib/python3/dist-packages/websockets/__init__.py:python3,python3-websockets \
	systemd-analyze:systemd
