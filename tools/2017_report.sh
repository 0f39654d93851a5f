#!/bin/sh
# 2017_report.sh RUNS DOCS: from the runs of tools/experiment.sh 2017, summary.tsv (a line per run) in RUNS, the tables of DOCS.md, and its picture
# in DOCS. Runs that are missing are left out.
set -eu

cd "$(dirname "$0")/.."
runs=${1:-build/2017}
docs=${2:-docs/2017}

# Routing is the sum over the lines of the last tenth of the steps: what a single step of 2048 tokens gives 256 experts is mostly chance. Ranks are
# those of Spearman, of what each expert received early with what it received then. Of what evaluation says, loss and bits are used.
for run in "$runs"/*/seed-*; do
    [ -f "$run/eval.json" ] || continue
    awk -v name="$(basename "$(dirname "$run")")" -v seed="${run##*-}" -v OFS='\t' '
        function number(text, key) { return match(text, "\"" key "\": [^,}]*") ? substr(text, RSTART + length(key) + 4, RLENGTH - length(key) - 4) + 0 : 0 }
        function add(sum, text, key, value, i) { # the array under this key, of the layer that has experts
            match(text, "\"" key "\": \\[[^]]*"); experts = split(substr(text, RSTART + length(key) + 5, RLENGTH - length(key) - 5), value, ", ")
            for (i = 1; i <= experts; i++) sum[i] += value[i]
        }
        function variation(x, i, mean, square) {
            for (i = 1; i <= experts; i++) mean += x[i] / experts
            for (i = 1; i <= experts; i++) square += (x[i] - mean) ^ 2 / experts
            return sqrt(square) / mean
        }
        function ranks(x, rank, i, j) { # those that are equal share a rank
            for (i = 1; i <= experts; i++) for (j = 1; j <= experts; j++) rank[i] += (x[j] < x[i]) + (x[j] == x[i]) / 2
        }
        function correlation(x, y, rx, ry, i, mean, xx, yy, xy) {
            ranks(x, rx); ranks(y, ry); mean = experts / 2
            for (i = 1; i <= experts; i++) { xx += (rx[i] - mean) ^ 2; yy += (ry[i] - mean) ^ 2; xy += (rx[i] - mean) * (ry[i] - mean) }
            return xx && yy ? xy / sqrt(xx * yy) : 0
        }
        FILENAME ~ /price/ && /"parameters"/ { if (!all) all = number($0, "parameters"); else if (outside) all -= number($0, "parameters") }
        FILENAME ~ /price/ && /": \{/ { outside = /"embedding"|"head"/ }
        FILENAME ~ /price/ && /"multiply_adds_per_token"/ { multiply_adds = number($0, "multiply_adds_per_token") }
        FILENAME ~ /metrics/ && /"kind": "step"/ { steps = number($0, "step"); course[int((steps - 1) / 100)] += number($0, "loss") / 100 }
        FILENAME ~ /eval/ && /"loss"/ && !loss { loss = number($0, "loss") }
        FILENAME ~ /eval/ && /"bits_per_byte"/ && !bits { bits = number($0, "bits_per_byte") }
        FILENAME ~ /routing/ && /"kind": "step"/ {
            step = number($0, "step"); layers = split($0, layer, /\{"load_max_over_mean"/)
            for (l = 2; l <= layers && !number(layer[l], "pairs"); l++);
            if (l > layers) next
            add(ever, layer[l], "load")
            if (!half_dead && number(layer[l], "dead") > experts / 2) half_dead = step
            if (step <= 10) add(first, layer[l], "load")
            if (step > 40 && step <= 50) add(second, layer[l], "load")
            if (step > 90 && step <= 100) add(third, layer[l], "load")
            if (step > steps * 0.9) { add(load, layer[l], "load"); add(importance, layer[l], "importance"); effective += number(layer[l], "effective_experts"); lines++ }
        }
        END {
            if (lines) {
                for (i = 1; i <= experts; i++) { if (load[i] > most) most = load[i]; sum += load[i]; idle += load[i] == 0 }
                routing = most * experts / sum OFS variation(load) OFS variation(importance) OFS effective / lines OFS idle
                if (experts <= 256) early = correlation(first, load) OFS correlation(second, load) OFS correlation(third, load)
            }
            print name, seed, loss, exp(loss), bits, lines ? routing : "-\t-\t-\t-\t-", early ? early : "-\t-\t-", half_dead ? half_dead : "never", all, multiply_adds,
                course[3], course[6], course[11], course[17]
        }' "$run/price.json" "$run/metrics.jsonl" "$run/routing.jsonl" "$run/eval.json"
done > "$runs/summary.tsv"

# Means over seeds. A seed is also an order of the data, which moves all models alike: the difference from another model is that of equal seeds, and what
# stands behind it half the distance between the largest and the smallest.
tables=$runs/tables
mkdir -p "$tables"
awk -F '\t' -v tables="$tables" '
    { n[$1]++; for (i = 3; i <= 20; i++) { sum[$1, i] += $i; value[$1, $2, i] = $i } if ($2 > seeds) seeds = $2 }
    BEGIN { LOSS = 3; BITS = 5; MOST = 6; LOAD = 7; IMPORTANCE = 8; AT_WORK = 9; IDLE = 10; EARLY = 11; HALF_IDLE = 14; PARAMETERS = 15; OPERATIONS = 16; COURSE = 17 }
    function mean(name, i) { return sum[name, i] / n[name] }
    function against(name, other, s, d, total, count, least, most) {
        for (s = 1; s <= seeds; s++) if ((name, s, LOSS) in value && (other, s, LOSS) in value) {
            d = value[name, s, LOSS] - value[other, s, LOSS]; total += d; count++
            if (count == 1 || d < least) least = d
            if (count == 1 || d > most) most = d
        }
        return !count || name == other ? "" : sprintf("%+.3f ± %.3f", total / count, (most - least) / 2)
    }
    function open(part, head, rule) {
        file = tables "/" part; rule = head; gsub(/[^|]+/, " --- ", rule)
        print head > file; print rule >> file
    }
    function table6(importance, load, theirs, name) {
        if (name in n) printf "| %s | %s | %s | %.2f | %s | %.2f | %.2f | %.2f | %d |\n", importance, load, theirs, exp(mean(name, LOSS)), against(name, "moe-256"),
            mean(name, IMPORTANCE), mean(name, LOAD), mean(name, MOST), n[name] >> file
    }
    function table7(says, theirs, name) {
        if (name in n) printf "| %s | %s | %.0f | %.2f | %.2f | %s | %.3f | %d |\n", says, theirs, mean(name, OPERATIONS) / 1e3, mean(name, PARAMETERS) / 1e6,
            exp(mean(name, LOSS)), against(name, "moe-4"), mean(name, BITS), n[name] >> file
    }
    function table8(says, theirs, name) {
        if (name in n) printf "| %s | %s | %.1f | %.2f | %s | %.2f | %d |\n", says, theirs, mean(name, PARAMETERS) / 1e6, exp(mean(name, LOSS)),
            against(name, "moe-256-h"), mean(name, MOST), n[name] >> file
    }
    function course(says, name) {
        if (name in n) printf "| %s | %.3f | %.3f | %.3f | %.3f | %d |\n", says, mean(name, COURSE), mean(name, COURSE + 1), mean(name, COURSE + 2),
            mean(name, COURSE + 3), n[name] >> file
    }
    function rich(says, name, s) {
        for (s = 1; s <= seeds; s++) if ((name, s, LOSS) in value) printf "| %s | %d | %+.2f | %+.2f | %+.2f | %s | %.0f | %d | %.1f | %.2f |\n", says, s,
            value[name, s, EARLY], value[name, s, EARLY + 1], value[name, s, EARLY + 2], value[name, s, HALF_IDLE], value[name, s, AT_WORK], value[name, s, IDLE],
            value[name, s, MOST], exp(value[name, s, LOSS]) >> file
    }
    END {
        open("table6", "| importance | load | theirs: perplexity | CVs | max/mean | ours: perplexity | loss, against 0.1 and 0.1 | CV importance | CV load | max/mean | seeds |")
        table6("0", "0", "39.8 | 3.04, 3.01 | 17.80", "without"); table6("0.2", "0", "35.6 | 0.06, 0.17 | 1.47", "importance")
        table6("0", "0.2", "35.7 | 0.22, 0.04 | 1.15", "load"); table6("0.1", "0.1", "35.6 | 0.06, 0.05 | 1.14", "moe-256")
        table6("0.01", "0.01", "35.7 | 0.48, 0.11 | 1.37", "soft"); table6("1", "1", "35.7 | 0.03, 0.02 | 1.07", "hard")
        open("table7", "| model | theirs: operations (M) | parameters (M) | perplexity | ours: operations (k) | parameters (M) | perplexity | loss, against MoE-4 | bits per byte | seeds |")
        table7("an LSTM of four times the units, projected", "9.4 | 9.4 | 44.7", "lstm-projected"); table7("four LSTMs", "8.4 | 8.4 | 46.0", "4xlstm")
        table7("MoE-1 wide", "8.4 | 8.4 | 46.1", "moe-1-wide"); table7("MoE-1 deep", "8.4 | 8.4 | 45.7", "moe-1-deep"); table7("MoE-4", "8.4 | 8.4 | 45.0", "moe-4")
        table7("MoE-32", "8.4 | 37.8 | 39.7", "moe-32"); table7("MoE-256", "8.6 | 272.9 | 35.7", "moe-256"); table7("MoE-256-h", "8.4 | 272.9 | 36.0", "moe-256-h")
        table7("MoE-1024-h", "8.5 | 1079.0 | 34.6", "moe-1024-h"); table7("MoE-4096-h", "8.9 | 4303.4 | 34.1", "moe-4096-h")
        open("table8", "| model | theirs: after a tenth of the words | after all | ours: parameters (M) | perplexity | loss, against MoE-256-h | max/mean | seeds |")
        table8("MoE-256-h", "42.8 | 35.3", "moe-256-h"); table8("MoE-1024-h", "40.3 | 32.7", "moe-1024-h"); table8("MoE-4096-h", "38.9 | 30.9", "moe-4096-h")
        open("course", "| model | steps 301 to 400 | 601 to 700 | 1101 to 1200 | 1701 to 1800 | seeds |")
        course("MoE-4", "moe-4"); course("MoE-32", "moe-32"); course("MoE-256", "moe-256"); course("MoE-256-h", "moe-256-h")
        course("MoE-1024-h", "moe-1024-h"); course("MoE-4096-h", "moe-4096-h")
        open("rich", "| router | seed | ranks: steps 1 to 10 | 41 to 50 | 91 to 100 | more than half idle, first in step | experts at work at the end | idle then | max/mean | perplexity |")
        rich("no noise, 32 experts", "naive"); rich("no noise, 256 experts", "naive-256"); rich("noise, 256 experts", "without")
    }' "$runs/summary.tsv"
tools/fill_tables.sh "$docs.md" "$tables"

# The picture: perplexity over that of MoE-4 against experts, theirs and ours; and the share of experts at work against step, a line a seed.
mkdir -p "$docs"
for name in naive naive-256 without moe-256; do
    for run in "$runs/$name"/seed-*; do
        [ ! -f "$run/routing.jsonl" ] || awk -v name="$name" -v run="$run" '/"kind": "step"/ {
            match($0, /"step": [0-9]*/); step = substr($0, RSTART + 8, RLENGTH - 8) + 0
            if (step > 1 && step < 1.12 * last) next
            last = step; layers = split($0, layer, /\{"load_max_over_mean"/)
            for (l = 2; l <= layers && layer[l] ~ /"pairs": 0,/; l++);
            match(layer[l], /"load": \[[^]]*/); experts = split(substr(layer[l], RSTART, RLENGTH), value, ", ")
            match(layer[l], /"effective_experts": [0-9.]*/); print "work", name, run, step, substr(layer[l], RSTART + 21, RLENGTH - 21) / experts
        }' "$run/routing.jsonl"
    done
done | cat - "$runs/summary.tsv" | awk '
    $1 == "work" { if (!($3 in runs)) { runs[$3]; run[++n_runs] = $3; router[n_runs] = $2 } path[$3] = path[$3] (path[$3] ? "L" : "M") x_of_step($4) " " y_of_share($5); next }
    { loss[$1] += $3; n[$1]++ }
    function x_of_step(step) { return sprintf("%.1f", 560 + log(step) / log(1800) * 360) }
    function y_of_share(share) { return sprintf("%.1f", 320 - share * 220) }
    function x_of(experts) { return 70 + log(experts / 4) / log(1024) * 360 }
    function y_of(ratio) { return 320 - (ratio - 0.7) / 0.5 * 220 }
    function text(x, y, says, rest) { printf "<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, rest, says }
    function line(color, dash, experts, ratio, count, i, d) {
        for (i = 1; i <= count; i++) d = d sprintf("%s%.1f %.1f", i == 1 ? "M" : "L", x_of(experts[i]), y_of(ratio[i]))
        printf "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"2\" stroke-dasharray=\"%s\"/>\n", d, color, dash
        for (i = 1; i <= count; i++) printf "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" fill=\"%s\"/>\n", x_of(experts[i]), y_of(ratio[i]), color
    }
    function lines(color, flat, grouped) {
        split("4 32 256", experts, " "); split(flat, ratio, " "); line(color, "none", experts, ratio, 3)
        split("256 1024 4096", experts, " "); split(grouped, ratio, " "); line(color, "5 4", experts, ratio, 3)
    }
    function over(name) { return exp(loss[name] / n[name] - loss["moe-4"] / n["moe-4"]) " " }
    END {
        if (!("moe-4" in n && "moe-32" in n && "moe-256" in n && "moe-256-h" in n && "moe-1024-h" in n && "moe-4096-h" in n)) exit
        print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\" height=\"390\" viewBox=\"0 0 960 390\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#222\">"
        print "<rect width=\"960\" height=\"390\" fill=\"#fdfcf8\"/>"
        text(30, 40, "Perplexity over that of four experts, against experts", "font-size=\"16\""); text(520, 40, "Share of the experts at work, against step", "font-size=\"16\"")
        print "<path d=\"M60 90V326H440M550 90V326H930\" fill=\"none\" stroke=\"#999\"/>"
        for (i = 0; i <= 5; i++) text(54, y_of(0.7 + i / 10) + 4, sprintf("%.1f", 0.7 + i / 10), "text-anchor=\"end\" fill=\"#777\"")
        for (i = 0; i <= 4; i++) text(544, y_of_share(i / 4) + 4, sprintf("%.2f", i / 4), "text-anchor=\"end\" fill=\"#777\"")
        for (i = 1; i <= split("4 32 256 1024 4096", tick, " "); i++) text(x_of(tick[i]), 343, tick[i], "text-anchor=\"middle\" fill=\"#777\"")
        for (i = 1; i <= split("1 10 100 1000", tick, " "); i++) text(x_of_step(tick[i]), 343, tick[i], "text-anchor=\"middle\" fill=\"#777\"")
        lines("#3f7f93", "1 " 39.7 / 45 " " 35.7 / 45, 36 / 45 " " 34.6 / 45 " " 34.1 / 45)
        lines("#c2642a", over("moe-4") over("moe-32") over("moe-256"), over("moe-256-h") over("moe-1024-h") over("moe-4096-h"))
        split("naive naive-256 without moe-256", name, " "); split("#7fb069 #c2383d #9b5de5 #3f7f93", color, " ")
        split("no losses, no noise, 32|no losses, no noise, 256|no losses, noise, 256|both losses, noise, 256", says, "|")
        for (k = 1; k <= 4; k++) for (i = 1; i <= n_runs; i++) if (router[i] == name[k]) printf "<path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.3\"/>\n", path[run[i]], color[k]
        text(86, 371, "theirs", ""); text(176, 371, "ours; dashed: in groups", "")
        print "<rect x=\"66\" y=\"361\" width=\"12\" height=\"12\" fill=\"#3f7f93\"/><rect x=\"156\" y=\"361\" width=\"12\" height=\"12\" fill=\"#c2642a\"/>"
        for (k = 1; k <= 4; k++) {
            printf "<rect x=\"%d\" y=\"%d\" width=\"12\" height=\"12\" fill=\"%s\"/>\n", 540 + (k - 1) % 2 * 190, 353 + int((k - 1) / 2) * 18, color[k]
            text(558 + (k - 1) % 2 * 190, 363 + int((k - 1) / 2) * 18, says[k], "")
        }
        print "</svg>"
    }' > "$docs/picture.svg"
