#!/usr/bin/env bash
# Power cuts. Two runs are recorded call by call, a new one and one that goes on after it was killed inside a save; tests/faults/replay.c
# makes, at every moment of them, what the disk may then hold, and looks for the old checkpoint or the new. From some of these states the
# run goes on, and ends with the weights of a run that nothing disturbed. CRASH_STATES is how many different states each recording gets,
# CRASH_SAMPLES from how many of them the run goes on. The last line is "crash states: N passed, M failed". BUILD names the tree to test.
set -u
export LC_ALL=C OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1
cd "$(dirname "$0")/../.."
. tests/world.sh
BUILD=$(cd "${BUILD:-build}" && pwd) || exit 1
states=${CRASH_STATES:-800} samples=${CRASH_SAMPLES:-10}
TMP=$(make_scratch crashes) && cd "$TMP" || exit 1
trap 'rm -rf "$TMP"' EXIT

lamp() { "$BUILD/lamp" "$@"; }
train=(train tiny.ini --quiet --set train.steps=4 --set train.checkpoint_every=1 --set train.keep_checkpoints=2 --run)

make_world || exit 1
lamp "${train[@]}" whole || exit 1

passed=0 failed=0
replay() { # what before: the run is recorded from there on
    local tried wrong sampled events last i file
    cp -R "$2" before && cp -R before/. .
    FAULT_RECORD=trace "$BUILD/faults/lamp" "${train[@]}" run || { echo "FAILED $1: cannot be recorded"; failed=$((failed + 1)); return; }
    rm -rf run
    "$BUILD/faults/replay" before trace run "$states" "$samples" >out 2>&1
    last=$(tail -n 1 out)
    read -r tried wrong sampled events <<<"$last"
    [[ $last =~ ^[0-9]+\ [0-9]+\ [0-9]+\ [0-9]+$ ]] || { echo "FAILED $1: the replay broke off"; tail out; failed=$((failed + 1)); return; }
    head -n -1 out | head -n 20
    echo "$1: $tried states of the disk after $events calls, the run goes on from $sampled of them"
    for ((i = 1; i <= sampled; i++)); do
        mkdir -p "sample-$i" # of nothing, nothing may be left
        lamp "${train[@]}" "sample-$i/run" 2>err || { echo "FAILED $1, sample $i: the run does not go on"; cat err; wrong=$((wrong + 1)); continue; }
        for file in model optimizer; do
            cmp "sample-$i/run/checkpoints/latest/$file.safetensors" whole/checkpoints/latest/$file.safetensors && continue
            echo "FAILED $1, sample $i: another $file"
            wrong=$((wrong + 1))
        done
    done
    passed=$((passed + tried - wrong)) failed=$((failed + wrong))
    rm -rf state sample-* before
}

mkdir nothing killed
replay "a new run" nothing
FAULT_COUNT=count "$BUILD/faults/lamp" "${train[@]}" counted || exit 1
read -r _ calls _ <count
for ((at = calls * 2 / 3; at <= calls; at++)); do # to where a save is half done
    rm -rf run
    FAULT=file:$at:KILL "$BUILD/faults/lamp" "${train[@]}" run >err 2>&1
    [ -f run/checkpoints/.partial/model.safetensors ] && break
done 2>/dev/null
mv run killed
replay "a run that was killed" killed
echo "crash states: $passed passed, $failed failed"
[ "$failed" = 0 ]
