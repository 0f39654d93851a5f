# A Metamath database to readable mathematics: a form feed, what the author says of a theorem, its hypotheses, and what it states.
# Proofs and everything that belongs to no theorem (history, headings) are dropped.

in_proof && !/\$\./ { next }
{
    for (i = 1; i <= NF; i++) take($i)
    if (in_comment) comment = comment (NF ? " " : "\n")
}

function take(word) {
    if (word == "$(") { in_comment = 1; comment = "" }
    else if (word == "$)") in_comment = 0
    else if (in_comment) comment = comment word (i < NF ? " " : "")
    else if (word == "$=") in_proof = 1
    else if (word == "$.") { in_proof = 0; end_statement() }
    else if (in_proof) return
    else if (word ~ /^\$[apefcvd]$/) { kind = word; label = last; statement = "" }
    else if (word == "${" || word == "$}") hypotheses = ""
    else { last = word; statement = statement " " word }
}

function end_statement() {
    if (kind == "$e") hypotheses = hypotheses "    " label ":" statement "\n"
    if (kind != "$a" && kind != "$p") return
    gsub(/ *\((Contributed|Revised|Proof|New usage|Moved)[^)]*\)/, "", comment)
    gsub(/\n[ \n]*/, "\n", comment)
    gsub(/ +$/, "", comment)
    if (comment != "") print "\f\n" comment "\n" hypotheses "    " label ":" statement "\n"
    comment = ""
}
