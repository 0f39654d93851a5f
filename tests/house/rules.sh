#!/usr/bin/env bash
# The house rules: what holds for every file of src/, beyond what the compiler checks. One rule is one function that prints its
# violations; a rule that prints nothing has passed. The last line is "house: N passed, M failed".
set -u
cd "$(dirname "$0")/../.."

# A folder includes itself and what stands before it in this list.
storeys=(base comm text kernels tensor ops moe models formats data physics optim health train inspect infer search budget serve cli)

headers() { find src include -name '*.h' | sort; }
sources() { find src -name '*.c' -o -name '*.cu' | sort; }
files() { { headers; sources; } | sort; }

a_folder_includes_only_what_stands_above_it() {
    grep -n '^ *# *include *"' $(files) | awk -v list="${storeys[*]}" '
        BEGIN { n = split(list, name, " "); for (i = 1; i <= n; i++) height[name[i]] = i }
        {
            split($0, part, ":"); split(part[1], path, "/"); split(part[3], quoted, "\"")
            mine = path[2]; n_theirs = split(quoted[2], theirs, "/")
            if (path[1] == "include" || quoted[2] == "lamp.h") next
            if (!(mine in height)) print part[1] ": folder " mine " has no place in the house"
            else if (n_theirs == 1) print part[1] ":" part[2] ": \"" quoted[2] "\" does not name its folder"
            else if (!(theirs[1] in height)) print part[1] ":" part[2] ": folder " theirs[1] " has no place in the house"
            else if (height[theirs[1]] > height[mine]) print part[1] ":" part[2] ": " mine " includes " quoted[2] ", which stands below it"
        }'
    grep -n '^ *# *include *"' $(files | grep '^include/')           # the public header needs nothing
}

file_names_are_unique() { files | sed 's|.*/||' | sort | uniq -d; }

a_source_includes_its_own_header_first() {
    local source header first
    for source in $(sources); do
        header=${source%.*}.h
        [ -f "$header" ] || continue
        first=$(grep -m 1 '^#include' "$source")
        [ "$first" = "#include \"${header#src/}\"" ] || echo "$source: begins with $first"
    done
}

# Machines and optional libraries differ in kernels/ and comm/ only.
no_source_depends_on_the_preprocessor() {
    grep -nE '^ *# *(if|ifdef|ifndef|elif)\b' $(sources | grep -vE '^src/(kernels|comm)/')
    for header in $(headers | grep -vE '^src/(kernels|comm)/'); do
        grep -nE '^ *# *(if|ifdef|ifndef|elif)\b' "$header" | grep -vE '#ifndef [A-Z0-9_]+_H$|#ifdef __cplusplus$|#ifndef REAL$' | sed "s|^|$header:|"
    done
}

headers_are_guarded_by_their_name() {
    local header guard
    for header in $(headers); do
        guard=$(basename "$header" .h | tr 'a-z-' 'A-Z_')_H
        grep -q "^#ifndef $guard\$" "$header" && grep -q "^#define $guard\$" "$header" || echo "$header: expected the guard $guard"
    done
}

# A failed CHECK prints before it aborts; apart from that the library logs through one callback.
only_cli_prints_or_exits() {
    local prints='\b(v?printf|puts|putchar|perror)\(|\bv?f(printf|puts|putc|write)\([^)]*\b(stdout|stderr)\b' exits='\b(_?exit|abort)\('
    grep -nE "$prints|$exits" $(files | grep -vE '^src/(cli/|base/(error|interrupt)\.c)') | grep -vE '^[^:]*:[0-9]+: *(/\*|\*|//)'
}

nothing_is_left_to_do() { grep -nE '\b(TOD[O]|FIXM[E]|XX[X]|HAC[K])\b|^ *# *if 0\b' $(files); }

no_line_is_longer_than_160_columns() {
    local file
    for file in $(files); do awk -v file="$file" 'length > 160 { print file ":" FNR ": " length " columns" }' "$file"; done
}

no_line_ends_in_blanks_or_contains_tabs() { grep -nP '[ \t]+$|\t' $(files); }

# What a file owns is said at its top: of the header, where there is one.
a_file_opens_with_what_it_is() {
    local file
    for file in $(files); do
        [ "${file%.c}" != "$file" ] && [ -f "${file%.c}.h" ] && continue
        [ "$(head -c 2 "$file")" = "/*" ] || echo "$file: no opening comment"
    done
}

no_folder_is_a_drawer() { find src -type d | grep -E '/(utils?|common|misc|helpers?)$'; }

the_public_header_compiles_alone() {
    printf '#include "lamp.h"\nint alone(void);\nint alone(void) { return lamp_version() == 0; }\n' |
        ${CC:-gcc} -std=c11 -pedantic -Wall -Wextra -Wstrict-prototypes -Werror -Iinclude -xc -fsyntax-only - 2>&1
    if command -v g++ >/dev/null; then
        printf '#include "lamp.h"\nint main() { return lamp_version() == 0; }\n' |
            g++ -std=c++11 -pedantic -Wall -Wextra -Werror -Iinclude -xc++ -fsyntax-only - 2>&1
    else
        echo "    the public header as C++: skipped, no g++" >&2
    fi
}

passed=0 failed=0
for rule in $(declare -F | sed 's/^declare -f //' | grep -vxE 'headers|sources|files'); do
    violations=$($rule)
    if [ -z "$violations" ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf '%s\n' "$violations" | sed 's/^/    /'
        echo "FAILED house: ${rule//_/ }"
    fi
done
echo "house: $passed passed, $failed failed"
[ "$failed" = 0 ]
