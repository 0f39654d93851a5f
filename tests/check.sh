# Sourced by tests in shell, which set BUILD and suite first: $work, a folder removed at exit; check; and $sanitizers, for the compiler.
passed=0 failed=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sanitizers=
[ "$BUILD" = build/sanitize ] && sanitizers=-fsanitize=address,undefined

check() { # NAME COMMAND...: passes if the command succeeds
    local name=$1
    shift
    if "$@" >"$work/log" 2>&1; then passed=$((passed + 1))
    else
        failed=$((failed + 1))
        echo "FAILED $suite: $name"
        cat "$work/log"
    fi
}
