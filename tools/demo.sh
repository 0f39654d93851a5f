#!/bin/bash
# demo.sh [FOLDER...]: from text to a trained, speaking mixture of experts. Each FOLDER of your own text is a domain; without one, real
# text of six kinds is fetched (tools/demo_text.sh). What an earlier demo finished is kept, and a training that was stopped goes on.
# BUILD names the build folder.
set -eu

cd "$(dirname "$0")/.."
build=${BUILD:-build}
lamp=$build/lamp

heading() { printf '\n=== %s\n' "$*"; step_began=$SECONDS; }
took() { printf -- '--- %d s\n' $((SECONDS - step_began)); }
run() {
    printf '$'
    printf ' %q' "$@"
    printf '\n'
    "$@"
}

# A domain is named by its folder's last path component, in the letters a name may have.
domain_name() { basename "$1" | tr '[:upper:]' '[:lower:]' | LC_ALL=C tr -c 'a-z0-9_.\n-' '_' | cut -c 1-63; }

# How a sample of the domain begins; for text of your own, as its first file does.
prompt_for() {
    case $1 in
        literature) printf 'She had always been' ;;
        dictionary) printf 'recursion\n\n   <programming>' ;;
        python) printf 'def read_lines(path):\n    """' ;;
        mathematics) printf "|- ( ( ph /\\\\ ps ) ->" ;;
        manual) printf 'DESCRIPTION\nThe function' ;;
        french) printf 'DESCRIPTION\nLa fonction' ;;
    esac
}
own_prompt_for() {
    first=$(find "$1" -type f | LC_ALL=C sort | sed -n 1p)
    head -c 400 "$first" | tr -s '[:space:]' ' ' | cut -d ' ' -f 1-6 | tr -d '\n'
}

heading "1. Text"
if [ $# = 0 ]; then
    work=$build/demo
    tools/demo_text.sh "$work/text"
    set -- "$work"/text/*/
    own=no
else
    for folder in "$@"; do
        [ -e "$folder" ] || { echo "$folder: no such file or folder" >&2; exit 2; }
    done
    # Other text is another demo: the name of its folder follows from what is in the text.
    work=$build/demo-$(find "$@" -type f -printf '%p %s %T@\n' | LC_ALL=C sort | cksum | cut -d ' ' -f 1)
    du -sh -- "$@"
    own=yes
fi
took

heading "2. Tokens"
domains=()
for folder in "$@"; do domains+=(--domain "$(domain_name "$folder")=${folder%/}"); done
if [ -f "$work/data/manifest.json" ]; then echo "$work/data is there from an earlier demo and is kept."
else run "$lamp" data build "$work/data" "${domains[@]}" --vocab 4096
fi
took

heading "3. Training"
if [ -d "$work/run" ]; then echo "$work/run is there from an earlier demo: it is resumed where it stopped."; fi
run "$lamp" train recipes/demo.ini --run "$work/run" --set "data.path=$work/data"
took

heading "4. How well it predicts text it has never seen"
run "$lamp" eval "$work/run"
took

heading "5. Which experts do what"
run "$lamp" inspect "$work/run" --experts
took

heading "6. It speaks"
for folder in "$@"; do
    name=$(domain_name "$folder")
    if [ $own = yes ]; then prompt=$(own_prompt_for "$folder"); else prompt=$(prompt_for "$name"); fi
    printf '\n[%s]\n' "$name"
    run "$lamp" generate "$work/run" --prompt "$prompt" --tokens 80 --seed 1
    echo
done
took

cat <<END

Done in $SECONDS s. To try next:

    $lamp generate $work/run --prompt "The lamplighter" --tokens 100 --temperature 0.7
    $lamp inspect $work/run --experts
    make demo TEXT="FOLDER FOLDER..."      the same on your own text, each folder a domain
END
