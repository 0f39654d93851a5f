#!/bin/bash
# doctor.sh [NAME...]: the doctor's patients (tests/health/diseases.c), or those named: each is trained once, on one core, into build/doctor;
# then the tables of docs/doctor.md, from the logs of all. Runs that are done are kept. BUILD names the build folder, JOBS how many runs go side
# by side; another SEED than 1 has a folder of its own, and changes no page.
set -eu

cd "$(dirname "$0")/.."
build=${BUILD:-build}
seed=${SEED:-1}
out=$build/doctor
[ "$seed" = 1 ] || out=$out-$seed
jobs=${JOBS:-$(nproc)}
export OMP_NUM_THREADS=1

train() { xargs -d '\n' -P "$jobs" -I NAME "$build/diseases" run NAME "$out" "$seed"; }

build_data() { # folder, further domains
    local folder domains=()
    [ ! -f "$1/manifest.json" ] || return 0
    tools/demo_text.sh "$build/demo/text"
    for folder in "$build"/demo/text/*/ "${@:2}"; do domains+=(--domain "$(basename "$folder")=${folder%/}"); done
    "$build/lamp" data build "$1" "${domains[@]}" --vocab 1024 --quiet
}

# A domain like the filling and empty tables that get into collections unseen: one word over and over.
write_filling() {
    mkdir -p "$1"
    for i in {1..300}; do for ((j = 0; j < 2000 + i; j++)); do printf ' x'; done >"$1/$i.txt"; done
}

mkdir -p "$out"
build_data "$out/data"
[ -d "$out/filling" ] || write_filling "$out/filling"
build_data "$out/data-with-filling" "$out/filling"

# What others begin with.
printf '%s\n' dense 'softmax, Switch loss' | train
for noise in 0 0.7; do
    [ -d "$out/mixture-noise-$noise" ] ||
        "$build/lamp" convert "$out/dense" "$out/mixture-noise-$noise" --upcycle --experts 16 --top-k 2 --noise "$noise" --quiet
done

if [ $# -gt 0 ]; then printf '%s\n' "$@"; else "$build/diseases" list; fi | train
"$build/diseases" report "$out" >"$out/tables.partial"
mv "$out/tables.partial" "$out/tables.md"
[ "$seed" = 1 ] || exit 0

# The tables replace those of the same names.
awk -v tables="$out/tables.md" '
    BEGIN { while ((getline line < tables) > 0) { if (line ~ /^<!-- table/) name = line; table[name] = table[name] line "\n" } }
    $0 in table { printf "%s", table[$0]; skipping = 1 }
    !skipping
    /^<!-- end/ { skipping = 0 }
' docs/doctor.md >"$out/doctor.md"
mv "$out/doctor.md" docs/doctor.md
