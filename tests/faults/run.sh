#!/usr/bin/env bash
# Each scenario is run once to count its allocations, its calls on files and the files it maps, then again and again with one of them failing
# (a mapped file: cut short), and with all from one on. Each time: no signal, no deadlock, no leak (where the sanitizers look), an error that names a cause or the right result,
# and a run that can still be read. FAULT_POINTS is how many points of a kind a scenario gets, "all" for every one of them; FAULT_PART=3/16 takes
# of these the 3rd, the 19th and so on, so that sixteen such runs share the work.
# The last line is "faults: N passed, M failed". BUILD names the tree to test.
set -u
export LC_ALL=C TERM=xterm OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1
cd "$(dirname "$0")/../.."
. tests/world.sh
BUILD=$(cd "${BUILD:-build}" && pwd) || exit 1
[ -x "$BUILD/faults/lamp" ] || { echo "faults: 0 passed, 1 failed"; exit 1; }
case $BUILD in
*sanitize*) default=5 ;;
*) default=16 ;;
esac
points=${FAULT_POINTS:-$default}
IFS=/ read -r part parts <<<"${FAULT_PART:-1/1}"
golden=$PWD/tests/golden
TMP=$(make_scratch faults) && cd "$TMP" || exit 1
trap 'rm -rf "$TMP"' EXIT

lamp() { "$BUILD/lamp" "$@"; }

mkdir world && cd world && make_world && make_runs 1 4 && lamp convert tiny tiny.gguf --quiet >/dev/null || exit 1
cp "$golden/gguf/deepseek_v3/model.gguf" latent.gguf && cp "$golden/gguf/llama3/model.gguf" scaled.gguf &&
    cp "$golden/tokenizer/sentencepiece.gguf" . || exit 1
cat text/stone/*.c | gzip >packed.txt.gz
cd ..

# name, whether it writes (then each attempt gets a fresh world), command; {} stands for the program
scenarios=(
    "help           reads   {} train --help"
    "load           reads   {} inspect tiny"
    "generate       reads   {} generate tiny --prompt river --tokens 4"
    "eval           reads   {} eval tiny --tokens 64"
    "experts        reads   {} inspect tiny --experts --ablate --tokens 64"
    "text           reads   {} inspect tiny --text text/stone/1.c"
    "page           writes  {} inspect tiny --text text/stone/1.c --html page.html"
    "report         writes  {} report tiny"
    "compare        writes  {} compare tiny dense --svg picture.svg"
    "tokenize       reads   {} tokenize tiny text/river/1.txt"
    "recipe         reads   {} inspect tiny.ini"
    "dry-run        reads   {} train tiny.ini --dry-run"
    "logits         writes  {} logits tiny --ids ids --out logits"
    "data-build     writes  {} data build new --domain river=text/river --vocab 300"
    "data-packed    writes  {} data build new --domain packed=packed.txt.gz --domain lines=lines.jsonl --vocab 300"
    "train          writes  {} train tiny.ini --run new"
    "tensorboard    writes  {} train tiny.ini --run new --set train.tensorboard=true"
    "resume         writes  {} train saved"
    "upcycle        writes  {} convert dense new --upcycle --experts 4 --top-k 2"
    "gguf-inspect   reads   {} inspect tiny.gguf"
    "gguf-generate  reads   {} generate tiny.gguf --prompt river --tokens 4"
    "gguf-in        writes  {} convert tiny new.gguf"
    "gguf-out       writes  {} convert tiny.gguf new"
    "gguf-latent    writes  {} convert latent.gguf new"
    "gguf-scaled    writes  {} quantize scaled.gguf new.gguf --type q8_0"
    "gguf-words     reads   {} tokenize sentencepiece.gguf text/river/1.txt"
    "quantize       writes  {} quantize tiny new.gguf --type q8_0 --data text/river/1.txt"
)

passed=0 failed=0 injected=0

complain() { # scenario fault what
    [ "$ok" = yes ] && printf 'FAILED %s\n' "$1"
    ok=no
    printf '    FAULT=%s %s\n' "$2" "$3"
    head -n 12 err | sed 's/^/        /'
}

# What was cut short was not the program's doing.
give_back() {
    local file
    (cd case && find . -type f -size 0) | while read -r file; do
        [ -s "world/$file" ] && cp "world/$file" "case/$file"
    done
}

attempt() { # scenario writes fault command
    local status fault=$3 command=$4 run
    if [ "$2" = writes ] || [[ $fault == map:* ]]; then rm -rf case && cp -R world case; else ln -sfn world case; fi
    (cd case && FAULT=$fault timeout 60 ${command/\{\}/$BUILD/faults/lamp} >../out 2>../err </dev/null)
    status=$?
    injected=$((injected + 1))
    case $status in
    0) ;;
    124) complain "$1" "$fault" "does not end" ;;
    1 | 2 | 3 | 4 | 6 | 8 | 9) grep -q '^error: .' err || complain "$1" "$fault" "ends with $status and names no cause" ;;
    *) complain "$1" "$fault" "ends with $status" ;;
    esac
    [[ $fault == map:* ]] && give_back
    grep -Eq 'Sanitizer|runtime error' err && complain "$1" "$fault" "the sanitizers object"
    [ "$2" = writes ] || return
    [[ $fault == map:* || ! -e case/new.gguf ]] || lamp inspect case/new.gguf >/dev/null 2>err || complain "$1" "$fault" "leaves new.gguf unreadable"
    for run in tiny saved new; do # old or new; of a new run possibly nothing
        [ -e "case/$run/checkpoints/latest" ] || [ "$run" != new ] || continue
        (cd case && lamp inspect $run --quiet >/dev/null 2>../err) || complain "$1" "$fault" "leaves $run unreadable"
    done
}

errors=(EIO ENOSPC EINTR EACCES EMFILE)
for scenario in "${scenarios[@]}"; do
    read -r name writes command <<<"$scenario"
    rm -rf case && cp -R world case
    (cd case && FAULT_COUNT=$TMP/count timeout 60 ${command/\{\}/$BUILD/faults/lamp} >../out 2>../err </dev/null) ||
        { echo "FAILED $name without a fault"; cat err; failed=$((failed + 1)); continue; }
    rm -rf case
    read -r memory file map <count
    for kind in memory file map; do
        ok=yes
        calls=${!kind}
        [ "$points" = all ] && step=1 || step=$((calls / points))
        [ "$step" -lt 1 ] && step=1
        for ((at = 1 + (part - 1) * step; at <= calls; at += step * parts)); do
            if [ "$kind" = file ]; then attempt "$name" "$writes" "file:$at:${errors[at % 5]}" "$command"
            else attempt "$name" "$writes" "memory:$at" "$command"; fi
            attempt "$name" "$writes" "$kind:$at+" "$command"
        done
        [ "$ok" = yes ] && passed=$((passed + 1)) || failed=$((failed + 1))
    done
done
echo "$injected faults injected in ${#scenarios[@]} scenarios"
echo "faults: $passed passed, $failed failed"
[ "$failed" = 0 ]
