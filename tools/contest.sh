#!/bin/bash
# contest.sh CONTEST [MODEL...]: the models of recipes/CONTEST (models.runs; none named: all), each for every seed, one run after another, so
# that seconds are those of a machine with nothing else to do; then `lamp compare` writes the table and the picture of docs/CONTEST.md. Runs
# that are done are kept, a run that was stopped goes on. BUILD names the build folder, SEEDS="1 2 3" the seeds, STEPS a shorter budget, whose
# runs are kept apart.
set -eu

cd "$(dirname "$0")/.."
build=${BUILD:-build}
contest=${1:?which contest? worth-it or capacity}
shift
out=$build/contest
runs=$out/$contest${STEPS:+-$STEPS}
list=recipes/$contest/models.runs

settings_of() { sed -n "s/^$1  *//p" "$list"; }

train() { # MODEL SEED
    run=$runs/$1/seed-$2
    settings=()
    for setting in $(settings_of "$1") ${STEPS:+train.steps=$STEPS "train.eval_every=$(((STEPS + 19) / 20))"}; do settings+=(--set "$setting"); done
    grep -qs '"event": "finished"' "$run/events.jsonl" && return
    [ -e "$run/checkpoints/latest" ] || rm -rf "$run" # it was killed before it saved anything
    echo "$run"
    "$build/lamp" train recipes/$contest/base.ini --run "$run" --set "data.path=$out/data" --set "train.seed=$2" "${settings[@]}" --quiet
}

[ $# -gt 0 ] || set -- $(sed '/^#/d; /^$/d; s/ .*//' "$list")
for model in "$@"; do
    [ -n "$(settings_of "$model")" ] || { echo "contest.sh: no model $model in $list" >&2; exit 2; }
done
if [ ! -f "$out/data/manifest.json" ]; then
    tools/demo_text.sh "$build/demo/text"
    domains=()
    for folder in "$build"/demo/text/*/; do domains+=(--domain "$(basename "$folder")=${folder%/}"); done
    "$build/lamp" data build "$out/data" "${domains[@]}" --vocab 1024
fi
folders=()
for seed in ${SEEDS:-1 2 3}; do
    for model in "$@"; do train "$model" "$seed"; done
done
for model in "$@"; do
    for seed in ${SEEDS:-1 2 3}; do folders+=("$runs/$model/seed-$seed"); done
done
"$build/lamp" compare "${folders[@]}" --svg "$runs/comparison.svg" | tee "$runs/comparison.txt"
"$build/lamp" compare "${folders[@]}" --json >"$runs/comparison.json"
