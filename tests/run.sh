#!/usr/bin/env bash
# Runs every test program and the command-line cases; the last line is "N passed, N failed". BUILD names the tree to test.
set -u
cd "$(dirname "$0")/.."
BUILD=${BUILD:-build}
export OMP_WAIT_POLICY=${OMP_WAIT_POLICY:-passive} # on a busy machine, threads that spin while they wait take the core of the one they wait for
passed=0 failed=0
for program in "$BUILD"/tests/*/*_test tests/house/*.sh tests/cli/run.sh tests/faults/*.sh; do
    [ -x "$program" ] || continue
    output=$(BUILD=$BUILD "$program" 2>&1) && status=0 || status=$?
    line=$(printf '%s\n' "$output" | tail -n 1)
    if [[ $line =~ ([0-9]+)\ passed,\ ([0-9]+)\ failed$ ]]; then
        passed=$((passed + BASH_REMATCH[1])) failed=$((failed + BASH_REMATCH[2]))
        if [ "$status" != 0 ] && [ "${BASH_REMATCH[2]}" = 0 ]; then
            failed=$((failed + 1))
            output="$output"$'\n'"FAILED: $program ended with exit code $status"
        fi
    else
        failed=$((failed + 1))
        output="$output"$'\n'"$program ended with exit code $status before its last line"
    fi
    printf '%s\n' "$output"
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
