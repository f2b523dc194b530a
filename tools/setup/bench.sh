#!/usr/bin/env bash
# Installs what `make bench` needs beyond Go: the peers, the load generator, taskset.
set -euo pipefail
exec "$(dirname "$0")/packages.sh" nginx:nginx-light haproxy:haproxy caddy:caddy wrk:wrk h2load:nghttp2-client taskset:util-linux
