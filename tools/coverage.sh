#!/bin/sh
# coverage.sh BUILD: how many lines of what reads foreign bytes the tests reach, file by file, after they ran in a tree that `make coverage`
# built. The last line is their total.
set -eu
build=$1
for source in src/base/json.c src/base/options.c src/formats/*.c src/models/families/*.c src/text/*.c src/data/*.c src/train/trainer_state.c src/train/run_logs.c src/health/telemetry.c; do
    gcov --no-output "$build/f32/${source%.c}.gcno" 2>/dev/null | awk -v source="$source" '
        index($0, "File \047" source "\047") { here = 1; next }
        here { split($0, part, /[:% ]+/); printf "%s %s %s\n", source, part[3], part[5]; exit }'
done | awk '{ lines += $3; reached += $2 * $3 / 100; printf "%6.1f %%  of %4d lines  %s\n", $2, $3, $1 }
    END { printf "%6.1f %%  of %4d lines\n", 100 * reached / lines, lines }'
