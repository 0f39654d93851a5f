#!/usr/bin/env bash
# The libraries from outside: only lamp_ names are visible, and a program that knows nothing but lamp.h builds and runs with each of them.
set -u
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
suite=library
. tests/check.sh
# A dot begins what is the compiler's own, as clang's lock of reductions, which no program can call so.
only_lamp_names() { ! "$@" | awk 'NF >= 3 {print $NF}' | grep -vE '^(lamp_|_init$|_fini$|\.)'; }
build_and_run() { # COMPILER LIBRARY...
    # shellcheck disable=SC2086
    "$1" $sanitizers -Wall -Wextra -Iinclude -x "$([ "$1" = g++ ] && echo c++ || echo c)" tests/house/library_user.c -x none "${@:2}" -o "$work/user" &&
        LD_LIBRARY_PATH=$BUILD "$work/user"
}
libraries="-fopenmp -ljansson -lpcre2-8 -lutf8proc -lxxhash -lzstd -lz -lm"

check "only lamp_ names leave the shared library" only_lamp_names nm -D --defined-only "$BUILD/liblamp.so"
check "only lamp_ names leave the archive" only_lamp_names nm -g --defined-only "$BUILD/liblamp.a"
check "a C program with the shared library" build_and_run "${CC:-gcc}" "-L$BUILD" -llamp -lm
# shellcheck disable=SC2086
check "a C program with the archive" build_and_run "${CC:-gcc}" "$BUILD/liblamp.a" $libraries
if command -v g++ >/dev/null; then check "a C++ program with the shared library" build_and_run g++ "-L$BUILD" -llamp -lm; fi
echo "library: $passed passed, $failed failed"
[ "$failed" = 0 ]
