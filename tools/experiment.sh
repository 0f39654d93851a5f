#!/bin/bash
# experiment.sh EXPERIMENT [PART...]: the runs of recipes/EXPERIMENT (PART.runs; none named: all), each for every seed, then the tables and pictures
# of docs/EXPERIMENT.md (tools/EXPERIMENT_report.sh). Runs that are done are kept, a run that was stopped goes on, and nothing depends on how many
# run at once. BUILD names the build folder, SEEDS="1 2 3" the seeds, JOBS how many runs go side by side, each on one core.
set -eu

cd "$(dirname "$0")/.."
build=${BUILD:-build}
experiment=${1:?which experiment? balance or 2017}
shift
out=$build/$experiment
seeds=${SEEDS:-1 2 3}

# A line per run: its folder, then its settings.
list_runs() {
    for part in "$@"; do
        [ -f "recipes/$experiment/$part.runs" ] || { echo "experiment.sh: no recipes/$experiment/$part.runs" >&2; exit 2; }
        for seed in $seeds; do
            sed '/^#/d; /^$/d' "recipes/$experiment/$part.runs" |
                while read -r name settings; do echo "$out/$name/seed-$seed train.seed=$seed${settings:+ $settings}"; done
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
    "$build/lamp" train recipes/$experiment/base.ini --run "$run" --set "data.path=$out/data" --set train.threads=1 "${settings[@]}" --quiet
    "$build/lamp" inspect "$run" --json > "$run/price.json"
    # flips need experts, and the bf16 products that not every machine has
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
[ $# -gt 0 ] || set -- $(cd "recipes/$experiment" && ls *.runs | sed 's/\.runs$//')
if [ ! -f "$out/data/manifest.json" ]; then
    tools/demo_text.sh "$build/demo/text"
    domains=()
    for folder in "$build"/demo/text/*/; do domains+=(--domain "$(basename "$folder")=${folder%/}"); done
    "$build/lamp" data build "$out/data" "${domains[@]}" --vocab 1024
fi
list_runs "$@" | xargs -P "${JOBS:-$(nproc)}" -L 1 "$0" "$experiment" --one
"tools/${experiment}_report.sh" "$out" "docs/$experiment"
