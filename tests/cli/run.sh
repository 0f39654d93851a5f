#!/usr/bin/env bash
# Runs the transcripts in tests/cli/cases, or those named: tests/cli/run.sh train eval. The last line is
# "command line: N passed, M failed". BUILD names the tree to test.
#
# A transcript is a list of cases. Each is a script run in a fresh folder that holds what make_world (tests/world.sh) makes:
#
#     # an unknown verb                                   begins a case
#     $ lamp trian                                        a line of the script
#     | seen *                                            a line of its standard output; * stands for anything
#     ! error: unknown verb trian; did you mean train?    a line of its standard error, likewise
#     = 2                                                 its exit code, 0 if not given
#
# A line "..." of output stands for one or more lines. What is not shown must not be there: without | or ! the output is empty.
set -u
export LC_ALL=C TERM=xterm
unset LAMP_KERNELS
cd "$(dirname "$0")/../.."
. tests/world.sh
BUILD=$(cd "${BUILD:-build}" && pwd) || exit 1
CASES=$PWD/tests/cli/cases
export TMP
TMP=$(mktemp -d "${TMPDIR:-/tmp}/lamp-cli-XXXXXX") && cd "$TMP" || exit 1
trap 'rm -rf "$TMP"' EXIT

# ---- what scripts may use -----------------------------------------------------------------------------------------------------------

lamp() { "$BUILD/lamp" "$@"; }

# lamp in the background; its process is $lamp.
start_lamp() {
    "$BUILD/lamp" "$@" &
    lamp=$!
}

# Waits until a file has content; gives up when lamp has ended or after a minute.
wait_for() {
    local i
    for ((i = 0; i < 6000; i++)); do
        [ -s "$1" ] && return
        kill -0 "$lamp" 2>/dev/null || return
        sleep 0.01
    done
}

# Reads standard input as JSON with the program's own strict reader: as a member of a line of text for `lamp data build`.
valid_json() {
    local json
    json=$(tr -d '\n')
    printf '{"text": "a", "value": %s}\n{"text": "b"}\n' "$json" >checked.jsonl
    rm -rf checked
    lamp data build checked --domain checked=checked.jsonl --quiet >/dev/null && echo valid
}

# Each name that is a key of the JSON on standard input.
keys() {
    local json name
    json=$(cat)
    for name in "$@"; do [[ $json == *"\"$name\": "* ]] && echo "$name"; done
}

# ---- the runner ---------------------------------------------------------------------------------------------------------------------

passed=0 failed=0

# Makes expected text a bash pattern, in $pattern: only * and lines of "..." are special.
to_pattern() {
    pattern=$1
    pattern=${pattern//\\/\\\\} pattern=${pattern//\?/\\?} pattern=${pattern//\[/\\[}
    pattern=$'\n'$pattern
    pattern=${pattern//$'\n...\n'/$'\n*\n'} pattern=${pattern//$'\n...\n'/$'\n*\n'}
    pattern=${pattern#?}
}

run_case() { # where title script out err status
    local found_out found_err status pattern out_pattern
    rm -rf case && cp -R world case
    (cd case && eval "$3") >out 2>err </dev/null
    status=$?
    found_out=$(tr -d '\0' <out; echo .) found_err=$(tr -d '\0' <err; echo .)
    found_out=${found_out%.} found_err=${found_err%.}
    to_pattern "$4" && out_pattern=$pattern
    to_pattern "$5"
    if [[ $status == "$6" && $found_out == $out_pattern && $found_err == $pattern && $found_err != *[$'\r\e']* ]]; then
        passed=$((passed + 1))
        return
    fi
    failed=$((failed + 1))
    printf 'FAILED %s: %s\n--- script\n%s--- expected exit code %s, output\n%s--- expected errors\n%s--- found exit code %s, output\n%s--- found errors\n%s\n' \
        "$1" "$2" "$3" "$6" "$4" "$5" "$status" "$found_out" "$found_err"
}

run_file() {
    local line number=0 where= title= script= out= err= status=0
    while IFS= read -r line; do
        number=$((number + 1))
        case $line in
        '# '*)
            [ -z "$script" ] || run_case "$where" "$title" "$script" "$out" "$err" "$status"
            where=${1##*/}:$number title=${line#\# } script= out= err= status=0
            ;;
        '$ '*) script+=${line#\$ }$'\n' ;;
        '|'*) line=${line#|} out+=${line# }$'\n' ;;
        '!'*) line=${line#!} err+=${line# }$'\n' ;;
        '= '*) status=${line#= } ;;
        '') ;;
        *) echo "FAILED ${1##*/}:$number: not a line of a transcript: $line" && failed=$((failed + 1)) ;;
        esac
    done <"$1"
    [ -z "$script" ] || run_case "$where" "$title" "$script" "$out" "$err" "$status"
}

mkdir world && (cd world && make_world) || failed=$((failed + 1))
if [ $# = 0 ]; then set -- "$CASES"/*.txt; else set -- "${@/#/$CASES/}" && set -- "${@/%/.txt}"; fi
for file in "$@"; do run_file "$file"; done
echo "command line: $passed passed, $failed failed"
[ "$failed" = 0 ]
