# Manual pages (the man macros of roff) to plain text: a form feed before each page, headings and tags on their own lines, paragraphs
# joined into one line each, examples kept as they stand. Tables, conditionals and definitions are dropped, and so are the
# sections that every page repeats.

BEGIN {
    n = split("aq ' cq ' oq ‘ dq \" lq “ rq ” em — en – hy - bu • ha ^ ti ~ ga ` rs \001 at @ +- ± >= ≥ <= ≤ != ≠ la ⟨ ra ⟩ -> → " \
              "bv | or | co © de ° dg † fm ′ mu × :A Ä :o ö ^o ô 'e é `e è ,c ç L\" “ R\" ”", word, " ")
    for (i = 1; i < n; i += 2) character[word[i]] = word[i + 1]
    n = split("PP P LP HP TP IP TQ RS RE sp br in ti", word, " ")
    for (i = 1; i <= n; i++) breaks[word[i]] = 1
    n = split("B I SM SB R BR BI RB RI IB IR q", word, " ")
    for (i = 1; i <= n; i++) fonts[word[i]] = 1
    repeated = "^(COLOPHON|TRADUCTION|REPORTING BUGS|SIGNALER DES BOGUES|SIGNALEMENT DE BOGUES|COPYRIGHT)$"
}

# Escapes become characters or nothing. \001 stands for a backslash that is meant.
function plain(text,    name) {
    sub(/[ \t]*\\".*/, "", text)
    gsub(/\\\\/, "\001", text)
    gsub(/\\e/, "\001", text)
    gsub(/\\f(\[[^]]*\]|\(..|.)/, "", text)
    gsub(/\\s(\[[^]]*\]|[-+]?[0-9])/, "", text)
    gsub(/\\[Nwhv]'[^']*'/, "", text)
    gsub(/\\[n*]?[a-zA-Z]/, "", text)
    while (match(text, /\\[n*]?(\[[^]]*\]|\(..)/)) {
        name = substr(text, RSTART + 1, RLENGTH - 1)
        sub(/^[n*]/, "", name)
        name = substr(name, 1, 1) == "[" ? substr(name, 2, length(name) - 2) : substr(name, 2)
        text = substr(text, 1, RSTART - 1) (name in character ? character[name] : "") substr(text, RSTART + RLENGTH)
    }
    gsub(/\\[ ~0]/, " ", text)
    gsub(/\\-/, "-", text)
    gsub(/\\['`]/, "'", text)
    gsub(/\\./, "", text)
    gsub(/\001/, "\\", text)
    return text
}

# The arguments of a macro line, quotes respected, joined by `between`.
function arguments(line, between,    joined, one, n, consumed) {
    sub(/^[.'][ \t]*[^ \t]+[ \t]*/, "", line)
    while (line != "") {
        if (match(line, /^"([^"]|"")*"?/)) {
            consumed = RLENGTH
            one = substr(line, 2, RLENGTH - 1)
            sub(/"$/, "", one)
            gsub(/""/, "\"", one)
        } else {
            match(line, /^(\\.|[^ \t\\])+/)
            consumed = RLENGTH < 1 ? 1 : RLENGTH
            one = substr(line, 1, consumed)
        }
        line = substr(line, consumed + 1)
        sub(/^[ \t]+/, "", line)
        joined = joined (n++ ? between : "") one
    }
    return joined
}

function blank_line() { if (!was_blank) print ""; was_blank = 1 }
function put(line) { if (!hidden && line != "") { print line; was_blank = 0 } }
function flush_paragraph() { put(paragraph); paragraph = "" }

function text_line(line) {
    if (keeps_lines) { put(line); return }
    sub(/^[ \t]+/, "", line)
    if (line != "") paragraph = paragraph (paragraph == "" ? "" : " ") line
    if (is_tag) { flush_paragraph(); is_tag = 0 }
}

function heading(line) {
    flush_paragraph()
    keeps_lines = is_tag = hidden = 0
    blank_line()
    hidden = line ~ repeated
    put(line)
}

{ # a backslash at the end continues the line
    while ($0 ~ /(^|[^\\])\\$/ && (getline following) > 0) $0 = substr($0, 1, length($0) - 1) following
}
skip_until != "" { if (index($0, skip_until) == 1 || (skip_until == "\\}" && index($0, skip_until))) skip_until = ""; next }
/^[.'][ \t]*(de|am|ig)/ { skip_until = ".."; next }
/^\.TS/ { skip_until = ".TE"; next }
/^[.'][ \t]*(if|ie|el)/ { if (index($0, "\\{") && !index($0, "\\}")) skip_until = "\\}"; next }
/^[.'][ \t]*\\"/ || /^[.'][ \t]*$/ || /^'/ { next }

/^\.TH[ \t]/ {
    flush_paragraph()
    hidden = 0
    split(arguments($0, "\n"), word, "\n")
    print "\f"
    put(plain(word[1]) "(" plain(word[2]) ")")
    next
}
/^\.S[HS]/ { if (NF == 1 && (getline following) > 0) heading(plain(following)); else heading(plain(arguments($0, " "))); next }
/^\.(nf|EX)/ { flush_paragraph(); keeps_lines = 1; next }
/^\.(fi|EE)/ { keeps_lines = 0; next }
/^\.(UR|MT|SY)[ \t]/ { text_line(plain(arguments($0, " "))); next }

/^\./ {
    name = $1
    sub(/^\./, "", name)
    if (name in fonts) text_line(plain(arguments($0, length(name) == 2 && name != "SM" ? "" : " ")))
    else if (name in breaks) {
        flush_paragraph()
        if (name ~ /P$/) blank_line()
        if (name == "IP") put(plain(substr(arguments($0, "\n"), 1, index(arguments($0, "\n") "\n", "\n") - 1)))
        is_tag = name == "TP" || name == "TQ"
    }
    next
}
/^[ \t]*$/ { flush_paragraph(); blank_line(); next }
{ text_line(plain($0)) }
END { flush_paragraph() }
