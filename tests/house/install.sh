#!/usr/bin/env bash
# An installed copy: every file is there and says what it should, the program runs, the examples build against it and run, a shell completes
# its words, and make uninstall takes all of it away. The last line is "install: N passed, M failed".
set -u
unset MAKEFLAGS MFLAGS MAKELEVEL
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
suite=install
. tests/check.sh
stage=$work/stage
place=$stage/usr/local
skip() { echo "    $1: skipped, no $2"; }
has() { command -v "$1" >/dev/null; }

make_with_stage() { make --no-print-directory BUILD="$BUILD" DESTDIR="$stage" "$1"; }
version=$("$BUILD/lamp" --version | cut -d ' ' -f 2)

every_file_is_there() {
    find "$place" -not -type d -printf '%m %P %l\n' | LC_ALL=C sort | diff - <(LC_ALL=C sort <<END
755 bin/lamp 
644 include/lamp.h 
644 lib/liblamp.a 
777 lib/liblamp.so liblamp.so.$version
777 lib/liblamp.so.${version%%.*} liblamp.so.$version
755 lib/liblamp.so.$version 
644 lib/pkgconfig/lamplighter.pc 
644 share/bash-completion/completions/lamp 
644 share/fish/vendor_completions.d/lamp.fish 
644 share/man/man1/lamp.1 
644 share/zsh/site-functions/_lamp 
END
    )
}
nothing_is_left() { [ -z "$(find "$stage" -not -type d)" ]; }
the_program_runs() { [ "$("$place/bin/lamp" --version)" = "lamplighter $version" ]; }
the_soname_has_a_version() { readelf -d "$place/lib/liblamp.so" | grep -q "SONAME.*\[liblamp.so.${version%%.*}\]"; }

# ---- building on it -------------------------------------------------------------------------------------------------------------------

# What pkg-config says of the copy; without pkg-config, the fields themselves.
flags() { # FIELD...: Cflags, Libs, Libs.private
    local field
    for field in "$@"; do
        sed -n "s/^$field: //p" "$place/lib/pkgconfig/lamplighter.pc" | sed "s|\${libdir}|$place/lib|g; s|\${includedir}|$place/include|g"
    done
}
if has pkg-config; then
    export PKG_CONFIG_LIBDIR=$place/lib/pkgconfig PKG_CONFIG_SYSROOT_DIR=$stage
    flags() {
        case "$*" in
        Cflags) pkg-config --cflags lamplighter ;;
        'Cflags Libs') pkg-config --cflags --libs lamplighter ;;
        'Libs Libs.private') pkg-config --static --libs lamplighter ;;
        esac
    }
fi
pkg_config_knows_the_version() { [ "$(pkg-config --modversion lamplighter)" = "$version" ]; }
# shellcheck disable=SC2046,SC2086
build_example() { "${CC:-gcc}" $sanitizers -std=c11 -pedantic -Wall -Wextra -Werror "examples/$1.c" $(flags Cflags Libs) -lm -o "$work/$1"; }
# shellcheck disable=SC2046,SC2086
build_on_the_archive() {
    local libraries
    libraries=$(flags Libs Libs.private)
    "${CC:-gcc}" $sanitizers examples/generate.c $(flags Cflags) ${libraries/-llamp/-l:liblamp.a} -o "$work/on_archive" &&
        ! readelf -d "$work/on_archive" | grep -q 'NEEDED.*liblamp'
}
header_alone() { # COMPILER FLAGS...
    # shellcheck disable=SC2046
    printf '#include <lamp.h>\n' | "$@" -pedantic -Wall -Wextra -Werror $(flags Cflags) -fsyntax-only -
}
prepare_a_dataset() {
    mkdir "$work/text"
    for i in 1 2 3 4 5 6; do
        for ((j = 0; j < 40; j++)); do echo "The river $((i * j % 17)) runs past house $((j % 7)) and bridge $((i + j)) sings."; done >"$work/text/$i.txt"
    done
    printf '%s\n' '[model]' 'hidden_size = 16' 'intermediate_size = 24' 'num_hidden_layers = 1' 'num_attention_heads = 4' \
        'max_position_embeddings = 32' '[router]' 'experts = 4' '[train]' 'batch_tokens = 128' 'minutes = 0' >"$work/recipe.ini"
    "$place/bin/lamp" data build "$work/data" --domain river="$work/text" --vocab 300 --quiet
}
run_example() { # NAME ARGUMENT...
    OMP_WAIT_POLICY=passive LD_LIBRARY_PATH=$place/lib "$work/$1" "${@:2}" >"$work/$1.out" 2>&1
    local status=$?
    cat "$work/$1.out"
    return $status
}
trains() { run_example train "$work/recipe.ini" "$work/run" "data.path=$work/data" train.steps=6 && [ -e "$work/run/checkpoints/latest/model.safetensors" ]; }
goes_on() { run_example train "$work/recipe.ini" "$work/run" "data.path=$work/data" train.steps=6 && grep -q '^going on from step 6$' "$work/train.out"; }
names_the_wrong_key() { ! run_example train "$work/recipe.ini" "$work/other" train.stpes=6 && grep -q 'did you mean train.steps' "$work/train.out"; }
generates() { run_example generate "$work/run" "The river" && grep -q '^log p of the last of [0-9]* tokens: -[0-9.]*$' "$work/generate.out"; }
routes() {
    run_example custom_router "$work/recipe.ini" "$work/frugal" "data.path=$work/data" train.steps=6 &&
        grep -q '^the price decided for [1-9][0-9]* of [1-9][0-9]* tokens$' "$work/custom_router.out" &&
        grep -q '"kind": "frugal"' "$work/frugal/checkpoints/latest/config.json"
}
names_the_unknown_router() { ! "$place/bin/lamp" generate "$work/frugal" 2>"$work/error" && grep -q 'unknown router "frugal"; expected one of softmax|' "$work/error"; }

# ---- what shells and man know -----------------------------------------------------------------------------------------------------------

completes() { # "WORD..." EXPECTED: the last word, which may be empty, is to be completed
    bash -c 'source "$1"; IFS=" " read -r -a COMP_WORDS <<<"$2"; [[ $2 == *" " ]] && COMP_WORDS+=(""); COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
        _lamp; echo "${COMPREPLY[*]}"; [ "${COMPREPLY[*]}" = "$3" ]' - "$place/share/bash-completion/completions/lamp" "$@"
}
fish_completes() { fish -N -c "source $place/share/fish/vendor_completions.d/lamp.fish; complete -C 'lamp tr'" | grep -q '^train'; }
verbs() { "$BUILD/lamp" --help | sed -n 's/^  lamp \([a-z]*\) .*  .*/\1/p'; }
the_page_names_every_verb() {
    local verb
    [ "$(verbs | wc -l)" -ge 10 ] || return
    for verb in $(verbs); do grep "^\.SS \"lamp $verb " "$place/share/man/man1/lamp.1" || return; done
}
is_silent() { # COMMAND...: succeeds and says nothing on either stream
    local said
    said=$("$@" 2>&1) && [ -z "$said" ] || { echo "$said"; return 1; }
}
the_page_formats() { is_silent eval 'groff -man -ww -Tascii "$place/share/man/man1/lamp.1" >/dev/null'; }

check "make install" make_with_stage install
check "every file is there, and no other" every_file_is_there
check "the installed program runs" the_program_runs
check "the library's soname has a version" the_soname_has_a_version
if has pkg-config; then check "pkg-config knows the version" pkg_config_knows_the_version; else skip "pkg-config" pkg-config; fi
check "the header alone, as C11" header_alone "${CC:-gcc}" -std=c11 -x c
if has g++; then check "the header alone, as C++17" header_alone g++ -std=c++17 -x c++; else skip "the header as C++17" g++; fi
for example in examples/*.c; do check "$example builds" build_example "$(basename "$example" .c)"; done
check "an example builds on the archive" build_on_the_archive
check "a dataset with the installed program" prepare_a_dataset
check "examples/train.c trains" trains
check "examples/train.c goes on with a run that is there" goes_on
check "examples/train.c names a wrong key" names_the_wrong_key
check "examples/generate.c generates" generates
check "examples/custom_router.c trains and generates with its router" routes
check "the program names a router that it does not know" names_the_unknown_router
check "bash completes a verb" completes 'lamp tr' train
check "bash completes an option" completes 'lamp train --r' --run
check "bash completes a key of the recipe" completes 'lamp train --set router.top_k' router.top_k=
check "bash completes the first argument" completes 'lamp bench pro' products
check "bash completes nothing for a prompt" completes 'lamp generate --prompt ' ''
if has zsh; then check "zsh reads its completion" zsh -n "$place/share/zsh/site-functions/_lamp"; else skip "zsh's completion" zsh; fi
if has fish; then check "fish completes a verb" fish_completes; else skip "fish's completion" fish; fi
check "the manual page names every verb" the_page_names_every_verb
if has groff; then check "groff has nothing to say of the page" the_page_formats; else skip "the page in groff" groff; fi
if has mandoc; then check "mandoc has nothing to say of the page" is_silent mandoc -T lint "$place/share/man/man1/lamp.1"; else skip "the page in mandoc" mandoc; fi
check "make uninstall" make_with_stage uninstall
check "nothing is left" nothing_is_left
echo "install: $passed passed, $failed failed"
[ "$failed" = 0 ]
