#!/usr/bin/env bash
# Each scenario is run undisturbed once, then again and again with SIGINT or SIGTERM at one of its calls on files or allocations. Each time
# it ends with 75 and says so, or with 0 and its whole result; nothing half-written is left; and the same command run again gives, bit for
# bit, the undisturbed result. Then with a signal at one call on files and again at the next: it ends there and then, and the same command
# still gives that result. INTERRUPT_POINTS is how many points of a kind a scenario gets, "all" for every one of them.
# The last line is "interrupts: N passed, M failed". BUILD names the tree to test.
set -u
export LC_ALL=C TERM=xterm OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1
cd "$(dirname "$0")/../.."
. tests/world.sh
BUILD=$(cd "${BUILD:-build}" && pwd) || exit 1
case $BUILD in
*sanitize*) default=3 ;;
*) default=6 ;;
esac
points=${INTERRUPT_POINTS:-$default}
TMP=$(mktemp -d "${TMPDIR:-/tmp}/lamp-interrupts-XXXXXX") && cd "$TMP" || exit 1
trap 'rm -rf "$TMP"' EXIT

lamp() { "$BUILD/lamp" "$@"; }

mkdir world && cd world && make_world && make_runs 2 6 && lamp convert tiny tiny.gguf --quiet >/dev/null || exit 1
echo words >>lines.jsonl
sed 's/^checkpoint_every = .*/checkpoint_every = 2/' saved/recipe.ini >recipe && mv recipe saved/recipe.ini
cd ..

# name, what it makes, or goes on with ("-": nothing), command
scenarios=(
    "data-build  new    data build new --domain river=text/river --domain stone=text/stone --vocab 300"
    "data-lines  new    data build new --domain lines=- --stdin jsonl --bad-lines quarantine --vocab 300"
    "train       new    train tiny.ini --run new --set train.steps=6 --set train.checkpoint_every=2 --set train.eval_every=3"
    "resume      saved  train saved"
    "eval        -      eval tiny"
    "experts     -      inspect tiny --experts"
    "generate    -      generate tiny --prompt river --tokens 12"
    "logits      new    logits tiny --ids ids --out new"
    "upcycle     new    convert dense new --upcycle --experts 4 --top-k 2"
    "gguf-in     new.gguf  convert tiny new.gguf"
    "gguf-out    new    convert tiny.gguf new"
    "quantize    new.gguf  quantize tiny new.gguf --type q8_0"
)

names=(INT TERM)
passed=0 failed=0 signals=0 turn=0

complain() { # what
    [ "$ok" = yes ] && printf 'FAILED %s\n' "$name"
    ok=no
    printf '    FAULT=%s %s\n' "$fault" "$1"
    head -n 12 err | sed 's/^/        /'
}

run() { # folder program: the scenario in a folder
    (cd "$1" && timeout 60 "$2" $command) >out 2>err <world/lines.jsonl
}

# What must be the same: of a run its newest checkpoint and how many there are, but neither the seconds that its steps took nor the step of
# the checkpoint before, which is where the signal came.
result() { # folder
    case $made in
    -) cat out ;;
    *) if [ -d "$1/$made/checkpoints" ]; then
        ls -A "$1/$made/checkpoints" | wc -l
        readlink "$1/$made/checkpoints/latest"
        cat "$1/$made/checkpoints/latest/"{model,optimizer}.safetensors | cksum
    else
        (cd "$1" && find "$made" -type f | sort | xargs -r cksum)
    fi ;;
    esac
}

half_written() { (cd case && find . -name '*partial*' -o -name .latest); }

attempt() { # fault
    local status
    fault=$1
    rm -rf case && cp -R world case
    FAULT=$fault run case "$BUILD/faults/lamp"
    status=$?
    signals=$((signals + 1))
    grep -Eq 'Sanitizer|runtime error' err && complain "the sanitizers object"
    case $status in
    0) [ "$(result case)" = "$whole" ] || complain "ends with 0 and another result"; return ;;
    75) grep -q '^stopped: .*interrupted' err || complain "does not say that it was interrupted" ;;
    130 | 143) [[ $fault == *+* ]] || complain "ends with $status" ;;
    *) complain "ends with $status" ;;
    esac
    if [ $status = 75 ]; then
        [ -z "$(half_written)" ] || complain "leaves $(half_written)"
        [[ $command == train* || $made == - || ! -e case/$made ]] || complain "leaves $made"
    fi
    [ ! -e "case/$made/checkpoints/latest" ] || (cd case && lamp inspect "$made" --quiet >/dev/null 2>../err) || complain "leaves $made unreadable"
    [ $status != 75 ] && [ "$(result case 2>/dev/null)" = "$whole" ] && return # the second signal came when all was done
    run case "$BUILD/lamp" || complain "the same command fails afterwards"
    [ "$(result case)" = "$whole" ] || complain "the same command gives another result afterwards"
    [ -z "$(half_written)" ] || complain "the same command leaves $(half_written)"
}

for scenario in "${scenarios[@]}"; do
    read -r name made command <<<"$scenario"
    ok=yes fault=none
    rm -rf case && cp -R world case
    FAULT_COUNT=$TMP/count run case "$BUILD/faults/lamp" || complain "fails without a signal"
    whole=$(result case)
    read -r memory file _ <count
    for kind in memory file; do
        calls=${!kind}
        [ "$points" = all ] && step=1 || step=$((calls / points))
        [ "$step" -lt 1 ] && step=1
        for ((at = 1; at <= calls; at += step)); do
            attempt "$kind:$at:${names[turn++ % 2]}"
            [ $kind = memory ] || attempt "$kind:$at+:INT"
        done
    done
    [ "$ok" = yes ] && passed=$((passed + 1)) || failed=$((failed + 1))
done
echo "$signals signals sent in ${#scenarios[@]} scenarios"
echo "interrupts: $passed passed, $failed failed"
[ "$failed" = 0 ]
