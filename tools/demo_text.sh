#!/bin/bash
# demo_text.sh OUT: real text of six kinds for the demo, one folder a domain, from small Debian packages. They are downloaded to
# build/packages (kept between runs) and unpacked there; nothing is installed. OUT/SOURCES.txt says what came from where.
set -eu
export LC_ALL=C

root=$(cd "$(dirname "$0")/.." && pwd)
packages=$root/build/packages
out=${1:?usage: tools/demo_text.sh OUT}
partial=$out.partial
domain_bytes=8000000 # at most, so that no domain drowns the others

say() { printf '%s\n' "$*"; }
die() {
    say "demo_text.sh: $*" >&2
    say "The demo also runs on your own text, each folder a domain:  make demo TEXT=\"FOLDER FOLDER...\"" >&2
    exit 1
}

# domain        packages (a|b: the first that exists)                          licence                         what it is
table() {
    cat <<'END'
literature      r-cran-janeaustenr                                              public domain                   the six novels of Jane Austen
dictionary      dict-foldoc dict-jargon dict-devil                              GFDL 1.1; public domain         dictionaries of computing, of hackers, of a cynic
python          libpython3.11-stdlib|libpython3.12-stdlib|libpython3.13-stdlib  PSF                             the Python standard library
mathematics     metamath-databases                                              CC0                             theorems of set theory in Metamath
manual          manpages manpages-dev                                           GPL and others, see the pages   Linux manual pages
french          manpages-fr manpages-fr-dev                                     GPL-3+ and those of the pages   Linux manual pages in French
END
}

refreshed=no
refresh_lists() {
    [ $refreshed = no ] || return 0
    refreshed=yes
    if [ "$(id -u)" = 0 ]; then apt-get update -qq || true
    elif sudo -n true 2>/dev/null; then sudo -n apt-get update -qq || true
    fi
}

fetch() { (cd "$packages" && apt-get download -qq -o APT::Sandbox::User=root "$1" 2>&1); }

# Prints the folder that holds the unpacked package, one of a|b|c.
unpacked() {
    local name deb problem=
    for name in ${1//|/ }; do
        deb=$(find "$packages" -maxdepth 1 -name "${name}_*.deb" | sort | tail -n 1)
        if [ -z "$deb" ] && problem=$(fetch "$name"); then
            deb=$(find "$packages" -maxdepth 1 -name "${name}_*.deb" | sort | tail -n 1)
        fi
        [ -n "$deb" ] || continue
        if [ ! -d "${deb%.deb}" ]; then
            rm -rf "${deb%.deb}.partial"
            dpkg-deb -x "$deb" "${deb%.deb}.partial" || { rm -f "$deb"; die "$deb is damaged and was removed; run this again"; }
            mv "${deb%.deb}.partial" "${deb%.deb}"
        fi
        say "${deb%.deb}"
        return
    done
    say "$problem" >&2
    return 1
}

# Standard input, units that begin with a form feed, becomes files of at least $2 bytes (whole units) in the folder $1.
write_documents() {
    mkdir -p "$1"
    awk -v folder="$1" -v least="$2" -v most="$domain_bytes" '
        /^\f/ {
            if (bytes >= least || !n) {
                if (n) close(file)
                file = sprintf("%s/%05d.txt", folder, ++n)
                bytes = 0
            }
            sub(/^\f/, "")
            if ($0 == "") next
        }
        n && (bytes > 0 || $0 != "") && total < most { print > file; bytes += length($0) + 1; total += length($0) + 1 }'
}

# Novels: R keeps lines of text as saved strings (marker, 4 bytes of length, text) in zlib blocks after 4 bytes of length each. A zlib
# block is what gzip reads once its 2-byte header is exchanged; gzip then misses its own checksum, which is no loss.
literature() {
    local store offset
    store=$(find "$1" -path '*/data/Rdata.rdb')
    grep -obUaP '\x00[\x00-\xff]{3}\x78\x9c' "$store" | tr '\000' '\n' | grep -o '^[0-9]*:' | tr -d : | while read -r offset; do
        { printf '\037\213\010\0\0\0\0\0\0\0'; tail -c +$((offset + 7)) "$store"; } | gzip -dc 2>/dev/null | tr '\000' '\n' | awk '
            $0 == "\t" { part = 0; next }
            ++part == 3 { if ($0 != "") print substr($0, 2); first = $0 }
            part == 4 && first == "" { print }' || true
    done | awk '/^ *(CHAPTER|Chapter) [IVXLC0-9]+/ { print "\f" } { print }' | write_documents "$2" 2000
}

# Entries begin at the margin after an empty line. {Cross-references} lose their braces.
dictionary() {
    find "$@" -name '*.dict.dz' 2>/dev/null | sort | while read -r file; do gzip -dc "$file"; done | awk '
        /^00-database/ { in_header = 1 }
        /^$/ { empty = 1; print; next }
        /^[^ ]/ && empty { print "\f"; in_header = 0 }
        { empty = 0; gsub(/[{}]/, ""); if (!in_header) print }' | write_documents "${!#}" 16000
}

# Without the character tables, which are numbers.
python() {
    find "$1" -name '*.py' -type f -not -path '*/encodings/*' -not -path '*/pydoc_data/*' | sort | while read -r file; do
        printf '\f\n'
        cat "$file"
    done | write_documents "$2" 0
}

mathematics() {
    head -c 24000000 "$1/usr/share/metamath/databases/set.mm" | awk -f "$root/tools/strip_metamath.awk" | write_documents "$2" 16000
}

pages() {
    find "$@" -name '*.gz' -path '*/man/*' -type f 2>/dev/null | sort | xargs gzip -dc | awk -f "$root/tools/strip_roff.awk" |
        write_documents "${!#}" 0
}
manual() { pages "$@"; }
french() { pages "$@"; }

if [ -f "$out/SOURCES.txt" ]; then
    say "$out: already there"
    cat "$out/SOURCES.txt"
    exit 0
fi
if ! command -v apt-get >/dev/null || ! command -v dpkg-deb >/dev/null; then
    die "this system has no apt-get and dpkg-deb, which fetch the demo's text"
fi
mkdir -p "$packages"
rm -rf "$partial"
mkdir -p "$partial"

table | sed 's/   */\t/g' | while IFS=$'\t' read -r domain names licence what; do
    folders=() versions=
    for name in $names; do
        if ! folder=$(unpacked "$name"); then
            refresh_lists
            folder=$(unpacked "$name") ||
                die "cannot download ${name%%|*}. Is there a network? As root, apt-get update renews the list of packages."
        fi
        folders+=("$folder")
        versions="$versions$(basename "$folder" | sed 's/_[^_]*$//; s/_/ /; s/%3a/:/') "
    done
    "$domain" "${folders[@]}" "$partial/$domain"
    count=$(find "$partial/$domain" -type f | wc -l)
    bytes=$(cat "$partial/$domain"/*.txt | wc -c)
    [ "$bytes" -ge 1000000 ] || die "$domain: only $bytes bytes of text were found in $versions: has the package changed?"
    printf '%-12s %4d.%d MB  %5d documents  %s (%s; %s)\n' \
        "$domain" $((bytes / 1000000)) $((bytes / 100000 % 10)) "$count" "$what" "${versions% }" "$licence" |
        tee -a "$partial/SOURCES.txt"
done

rm -rf "$out"
mv "$partial" "$out"
