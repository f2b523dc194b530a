#!/usr/bin/env bash
# Runs every fuzz target of the repository for a while. Usage: fuzz.sh TIME, such as 10s.
# All are run, also when one fails; then the exit code is 1.
set -euo pipefail

failed=()
output=$(mktemp)
trap 'rm -f "$output"' EXIT
while IFS=: read -r file _ function; do
	target=${function#func }
	folder=$(dirname "$file")
	printf '%-40s %s\n' "$folder" "$target"
	if go test -run '^$' -fuzz "^$target\$" -fuzztime "$1" "$folder" >"$output" 2>&1; then
		continue
	fi
	# When its time ends while it is busy, go test calls that a failure; it is none if
	# there is no input to show for it.
	if grep -q 'context deadline exceeded' "$output" && ! grep -q 'Failing input' "$output"; then
		continue
	fi
	cat "$output"
	failed+=("$folder $target")
done < <(grep -rn --include='*_test.go' -oE '^func Fuzz[A-Za-z0-9_]*' . | sort)
if [ ${#failed[@]} -gt 0 ]; then
	printf 'failed: %s\n' "${failed[@]}"
	exit 1
fi
