#!/usr/bin/env bash
# A run is killed at one of its calls on files, again and again, most of them inside a save; then at random moments. The same command goes
# on each time, and the weights and moments at its end are, bit for bit, those of a run that nothing disturbed, and no other files are left. So are
# conversions killed: what has its name is whole, and the same command makes it. KILL_POINTS is how many calls, KILL_MOMENTS how many moments. The last line is "kills: N passed, M failed". BUILD names the tree to test.
set -u
export LC_ALL=C OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1
cd "$(dirname "$0")/../.."
. tests/world.sh
BUILD=$(cd "${BUILD:-build}" && pwd) || exit 1
case $BUILD in
*sanitize*) default=4 ;;
*) default=24 ;;
esac
points=${KILL_POINTS:-$default} moments=${KILL_MOMENTS:-$default}
TMP=$(mktemp -d "${TMPDIR:-/tmp}/lamp-kills-XXXXXX") && cd "$TMP" || exit 1
trap 'rm -rf "$TMP"' EXIT

lamp() { "$BUILD/lamp" "$@"; }
train=(train tiny.ini --quiet --set train.steps=12 --set train.checkpoint_every=2 --run)

make_world || exit 1
lamp "${train[@]}" whole || exit 1
FAULT_COUNT=count "$BUILD/faults/lamp" "${train[@]}" counted || exit 1
read -r _ calls _ <count

passed=0 failed=0 saves=0
finish() { # where it was killed
    local file
    [ ! -d run/checkpoints/.partial ] || saves=$((saves + 1))
    lamp "${train[@]}" run 2>err || { echo "FAILED $1: the run does not go on"; cat err; failed=$((failed + 1)); return; }
    for file in model optimizer; do
        cmp run/checkpoints/latest/$file.safetensors whole/checkpoints/latest/$file.safetensors && continue
        echo "FAILED $1: another $file"
        failed=$((failed + 1))
        return
    done
    if ! diff <(ls -A whole/checkpoints) <(ls -A run/checkpoints); then
        echo "FAILED $1: other checkpoints are left"
        failed=$((failed + 1))
        return
    fi
    passed=$((passed + 1))
}

step=$((calls / points)) && [ "$step" -ge 1 ] || step=1
for ((at = 1; at <= calls; at += step)); do
    rm -rf run
    FAULT=file:$at:KILL "$BUILD/faults/lamp" "${train[@]}" run >err 2>&1
    [ $? = 137 ] || { echo "FAILED call $at: it was not killed"; failed=$((failed + 1)); continue; }
    finish "call $at of $calls"
done 2>/dev/null
RANDOM=1
for ((i = 0; i < moments; i++)); do
    rm -rf run
    "$BUILD/lamp" "${train[@]}" run >err 2>&1 &
    sleep "0.0$((RANDOM % 10))$((RANDOM % 10))"
    kill -KILL $!
    wait $!
    finish "moment $i"
done 2>/dev/null
# What is killed, and what it makes.
conversion() { # made command...
    local made=$1 calls step at
    shift
    lamp "$@" >/dev/null 2>err && mv "$made" "whole-$made" && FAULT_COUNT=count "$BUILD/faults/lamp" "$@" >/dev/null 2>err || { failed=$((failed + 1)); return; }
    read -r _ calls _ <count
    step=$((calls / points)) && [ "$step" -ge 1 ] || step=1
    for ((at = 1; at <= calls; at += step)); do
        rm -rf "$made"
        FAULT=file:$at:KILL "$BUILD/faults/lamp" "$@" >err 2>&1
        if [ -e "$made" ] && ! diff -r "$made" "whole-$made" >/dev/null; then
            echo "FAILED $1, call $at of $calls: $made has its name and is not whole"
        elif [ ! -e "$made" ] && ! lamp "$@" >/dev/null 2>err; then
            echo "FAILED $1, call $at of $calls: it cannot be done again" && cat err
        elif ! diff -r "$made" "whole-$made" >/dev/null || [ -e "$made.partial" ]; then
            echo "FAILED $1, call $at of $calls: another result, or something is left"
        else
            passed=$((passed + 1)) && continue
        fi
        failed=$((failed + 1))
    done 2>/dev/null
}
conversion new.gguf quantize whole new.gguf --type q8_0
conversion folder convert whole-new.gguf folder
echo "killed $((passed + failed)) times, $saves of them inside a save"
echo "kills: $passed passed, $failed failed"
[ "$failed" = 0 ]
