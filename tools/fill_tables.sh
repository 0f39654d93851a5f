#!/bin/sh
# fill_tables.sh PAGE TABLES: puts the files of the folder TABLES into PAGE, each between its <!-- table NAME --> and the next <!-- end -->.
set -eu
[ -f "$1" ] || exit 0
awk -v tables="$2" '
    !skip { print }
    /^<!-- table / { file = tables "/" $3; while ((getline row < file) > 0) print row; skip = 1 }
    /^<!-- end -->/ { if (skip) print; skip = 0 }' "$1" > "$2/page.md"
cat "$2/page.md" > "$1"
