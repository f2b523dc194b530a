#!/usr/bin/env bash
# Installs Debian packages when the commands they bring are missing, and says what it did.
# Usage: packages.sh COMMAND:PACKAGE[,PACKAGE…] …
# In the place of a command the full path of a file may stand, for packages that bring none.
#
# A package may bring a service that Debian would start at once. Services are kept from
# starting, and one that started all the same is stopped again: only a service that was not
# there before. Without root (or sudo without a password) nothing is installed: the command to
# run is printed and the exit code is 1.
set -euo pipefail

packages=()
for need in "$@"; do
	command=${need%%:*}
	if [[ $command == /* && -e $command ]] || PATH="$PATH:/usr/sbin:/sbin" command -v "$command" >/dev/null 2>&1; then
		continue
	fi
	IFS=, read -r -a of_command <<<"${need#*:}"
	packages+=("${of_command[@]}")
done
if [ ${#packages[@]} -eq 0 ]; then
	echo "set-up: everything is there ($(printf '%s ' "$@" | sed 's/:[^ ]*//g;s/ $//'))"
	exit 0
fi

if ! command -v apt-get >/dev/null 2>&1; then
	echo "set-up: missing, and this is not a Debian system; please install: ${packages[*]}" >&2
	exit 1
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
	if ! command -v sudo >/dev/null 2>&1 || ! sudo -n true 2>/dev/null; then
		echo "set-up: please run this once, then again what you ran:" >&2
		echo "    sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages[*]}" >&2
		exit 1
	fi
	as_root=(sudo -n)
fi

# Run by invoke-rc.d before a service is started; 101 forbids it.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
	printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
	"${as_root[@]}" chmod 755 "$policy"
	trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi

apt() {
	"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q "$@"
}
echo "set-up: installing ${packages[*]}"
log=$(mktemp)
if ! apt install -y --no-install-recommends "${packages[@]}" >"$log" 2>&1; then
	# The package lists are often older than the archive, or not there at all.
	if ! { apt update && apt install -y --no-install-recommends "${packages[@]}"; } >>"$log" 2>&1; then
		cat "$log" >&2
		rm -f "$log"
		echo "set-up: could not install ${packages[*]}" >&2
		exit 1
	fi
fi
rm -f "$log"

for package in "${packages[@]}"; do
	dpkg -L "$package" | sed -n 's|^/etc/init\.d/||p' | while read -r service; do
		if "${as_root[@]}" service "$service" status >/dev/null 2>&1; then
			"${as_root[@]}" service "$service" stop >/dev/null
			echo "set-up: stopped the service $service that $package had started"
		fi
	done
done
echo "set-up: installed ${packages[*]}"
