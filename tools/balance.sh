#!/bin/bash
# balance.sh [PART...]: the experiments on balance (recipes/balance/*.runs: collapse, loophole, price, choices, capacity, precision; none
# named: all), each run
# for every seed, then the tables and pictures of docs/balance (tools/balance_report.sh). Runs that are done are kept, a run that was
# stopped goes on, and nothing depends on how many run at once. BUILD names the build folder, SEEDS="1 2 3" the seeds, JOBS how many runs
# go side by side, each on one core.
set -eu

cd "$(dirname "$0")/.."
build=${BUILD:-build}
out=$build/balance
seeds=${SEEDS:-1 2 3}

# A line per run: its folder, then its settings.
list_runs() {
    for part in "$@"; do
        [ -f "recipes/balance/$part.runs" ] || { echo "balance.sh: no recipes/balance/$part.runs" >&2; exit 2; }
        for seed in $seeds; do
            sed '/^#/d; /^$/d' "recipes/balance/$part.runs" | while read -r name settings; do echo "$out/$name/seed-$seed train.seed=$seed${settings:+ $settings}"; done
        done
    done
}

train() {
    run=$1
    shift
    if [ -f "$run/eval.json" ]; then return; fi
    [ -e "$run/checkpoints/latest" ] || rm -rf "$run" # it was killed before it saved anything
    settings=()
    for setting in "$@"; do settings+=(--set "$setting"); done
    mkdir -p "$(dirname "$run")"
    "$build/lamp" train recipes/balance/base.ini --run "$run" --set "data.path=$out/data" --set train.threads=1 "${settings[@]}" --quiet
    # not every machine has the bf16 products that --flips needs
    "$build/lamp" eval "$run" --tokens 16384 --json --flips > "$run/eval.partial" 2>/dev/null ||
        "$build/lamp" eval "$run" --tokens 16384 --json > "$run/eval.partial"
    mv "$run/eval.partial" "$run/eval.json"
    echo "$run"
}

if [ "${1:-}" = --one ]; then # how this script calls itself, side by side
    shift
    train "$@"
    exit
fi
[ $# -gt 0 ] || set -- collapse loophole price choices capacity precision
if [ ! -f "$out/data/manifest.json" ]; then
    tools/demo_text.sh "$build/demo/text"
    domains=()
    for folder in "$build"/demo/text/*/; do domains+=(--domain "$(basename "$folder")=${folder%/}"); done
    "$build/lamp" data build "$out/data" "${domains[@]}" --vocab 1024
fi
list_runs "$@" | xargs -P "${JOBS:-$(nproc)}" -L 1 "$0" --one
tools/balance_report.sh "$out" docs/balance
