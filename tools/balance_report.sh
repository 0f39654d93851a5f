#!/bin/sh
# balance_report.sh RUNS DOCS: from the runs of tools/experiment.sh balance, summary.tsv (a line per run) in RUNS; the tables of DOCS.md, each between
# its <!-- table --> and <!-- end -->; and the pictures in DOCS. Runs that are missing are left out.
set -eu

cd "$(dirname "$0")/.."
runs=${1:-build/balance}
docs=${2:-docs/balance}
mkdir -p "$docs"

# Routing is the mean over the last 20 lines of routing.jsonl, of the layer with the larger max/mean. What validation sees, without noise and
# over a hundred times as many tokens, is in eval.json: loss, the larger max/mean, CVs as means over layers.
for run in "$runs"/*/seed-*; do
    [ -f "$run/eval.json" ] || continue
    awk -v name="$(basename "$(dirname "$run")")" -v seed="${run##*-}" -v OFS='\t' '
        function number(text, key) { return match(text, "\"" key "\": [^,}]*") ? substr(text, RSTART + length(key) + 4, RLENGTH - length(key) - 4) + 0 : 0 }
        FILENAME ~ /routing/ { line[++lines] = $0 }
        FILENAME ~ /metrics/ && /"kind": "step"/ {
            seconds[++steps] = number($0, "seconds")
            if (number($0, "loss_z") > 4) spikes++
            if (steps > 100 && number($0, "gradient_norm") > steepest) steepest = number($0, "gradient_norm")
        }
        FILENAME ~ /environment/ && /"flops_per_token"/ { flops = number($0, "flops_per_token") }
        FILENAME ~ /eval/ && /"loss"/ && !loss { loss = number($0, "loss") }
        FILENAME ~ /eval/ && /"load_max_over_mean"/ { layers++; if (number($0, "load_max_over_mean") > quiet) quiet = number($0, "load_max_over_mean") }
        FILENAME ~ /eval/ { quiet_load += number($0, "load_cv"); quiet_importance += number($0, "importance_cv") }
        FILENAME ~ /eval/ && in_flips { if (/]/) in_flips = 0; else flips += $0 }
        FILENAME ~ /eval/ && /"flips"/ { in_flips = 1 }
        END {
            if (!loss || lines < 20) exit
            for (i = lines - 19; i <= lines; i++) {
                n = split(line[i], layer, /\{"load_max_over_mean"/)
                for (l = 2; l <= n; l++) {
                    text = "\"load_max_over_mean\"" layer[l]
                    most[l] += number(text, "load_max_over_mean") / 20; load[l] += number(text, "load_cv") / 20
                    importance[l] += number(text, "importance_cv") / 20; dead[l] += number(text, "dead") / 20
                    dropped += number(text, "dropped") / 20 / (n - 1)
                }
            }
            for (l = 2; l <= n; l++) if (!w || most[l] > most[w]) w = l
            for (i = 1; i <= steps; i++) for (j = i; j > 1 && seconds[j] < seconds[j - 1]; j--) { t = seconds[j]; seconds[j] = seconds[j - 1]; seconds[j - 1] = t }
            print name, seed, loss, exp(loss), most[w], load[w], importance[w], dead[w], dropped, quiet, spikes + 0, steepest, flops, 1000 * seconds[int(steps / 10)], quiet_importance / layers, quiet_load / layers, flips / layers
        }' "$run/routing.jsonl" "$run/metrics.jsonl" "$run/environment.json" "$run/eval.json"
done > "$runs/summary.tsv"

# Means over seeds; what stands behind the perplexity is half the distance between the best and the worst seed.
tables=$runs/tables
mkdir -p "$tables"
awk -F '\t' -v tables="$tables" '
    { n[$1]++; for (i = 3; i <= 17; i++) sum[$1, i] += $i
      if (n[$1] == 1 || $4 < least[$1]) least[$1] = $4
      if (n[$1] == 1 || $4 > most[$1]) most[$1] = $4 }
    function mean(name, i) { return sum[name, i] / n[name] }
    function perplexity(name) { return sprintf("%.2f", mean(name, 4)) (n[name] > 1 ? sprintf(" ± %.2f", (most[name] - least[name]) / 2) : "") }
    function open(part, head, count, i) {
        file = tables "/" part; printf "" > file
        count = split(head, cell, ","); printf "|" >> file
        for (i = 1; i <= count; i++) printf " %s |", cell[i] >> file
        printf "\n|" >> file
        for (i = 1; i <= count; i++) printf " --- |" >> file
        print "" >> file
    }
    function collapse(name, noise, importance, load) {
        if (name in n) printf "| %s | %s | %s | %.2f | %.2f | %.2f | %.1f | %.2f | %s | %d |\n", noise, importance, load, mean(name, 5), mean(name, 7), mean(name, 6),
            mean(name, 8), mean(name, 10), perplexity(name), n[name] >> file
    }
    function price(method, coefficient, name) {
        if (name in n) printf "| %s | %s | %.2f | %.2f | %.2f | %s | %d |\n", method, coefficient, mean(name, 5), mean(name, 7), mean(name, 6), perplexity(name), n[name] >> file
    }
    function prices(method, name) {
        price(method, "0.001", name "-0.001"); price(method, "0.01", name "-0.01")
        price(method, "0.1", name == "importance" || name == "load" ? "noise-" name : name "-0.1"); price(method, "1", name "-1")
    }
    function choice(name, says) {
        if (name in n) printf "| %s | %s | %.4f | %.2f | %.1f | %d |\n", says, perplexity(name), mean(name, 3), mean(name, 13) / 1e6, mean(name, 14), n[name] >> file
    }
    function room(name, balance, says) {
        if (name in n) printf "| %s | %s | %.1f %% | %.2f | %s | %d |\n", balance, says, 100 * mean(name, 9), mean(name, 5), perplexity(name), n[name] >> file
    }
    function precision(name, rate, router, coefficient) {
        if (name in n) printf "| %s | %s | %s | %s | %.1f | %.2f | %s | %d |\n", rate, router, coefficient, mean(name, 17) ? sprintf("%.2f %%", 100 * mean(name, 17)) : "",
            mean(name, 11), mean(name, 12), perplexity(name), n[name] >> file
    }
    function loophole(name, noise, k, coefficient) {
        if (name in n) printf "| %s | %s | %s | %.3f | %.3f | %.2f | %s | %d |\n", noise, k, coefficient, mean(name, 15), mean(name, 16), mean(name, 10), perplexity(name), n[name] >> file
    }
    END {
        open("collapse", "noise,importance,load,max/mean,CV importance,CV load,dead,max/mean without noise,perplexity,seeds")
        collapse("none", "no", "0", "0"); collapse("importance", "no", "0.1", "0"); collapse("load", "no", "0", "0.1"); collapse("importance-load", "no", "0.1", "0.1")
        collapse("noise", "yes", "0", "0"); collapse("noise-importance", "yes", "0.1", "0"); collapse("noise-load", "yes", "0", "0.1")
        collapse("noise-importance-load", "yes", "0.1", "0.1")
        open("price", "method,coefficient,max/mean,CV importance,CV load,perplexity,seeds")
        price("noisy router alone", "0", "noise"); prices("importance", "importance"); prices("load", "load")
        price("sigmoid router alone", "0", "sigmoid"); prices("Switch", "switch"); prices("sequence", "sequence"); prices("bias", "bias")
        open("choices", "experts,perplexity,loss,MFLOP a token,ms a step,seeds")
        choice("k1", "one of width 64"); choice("k1-wide", "one of width 128"); choice("k2", "two of width 64")
        open("capacity", "Switch loss,room,dropped,max/mean of what found room,perplexity,seeds")
        room("room-0.5", "0.01", "0.5"); room("room-1", "0.01", "1"); room("room-1.25", "0.01", "1.25"); room("room-2", "0.01", "2"); room("room-all", "0.01", "all")
        room("uneven-room-1", "0", "1"); room("uneven-room-2", "0", "2"); room("none", "0", "all")
        open("precision", "learning rate,router,z-loss,assignments that bf16 changes,spikes in a run,steepest gradient,perplexity,seeds")
        precision("room-all", "0.01", "f32", "0"); precision("exact-z", "0.01", "f32", "0.001")
        precision("rounded", "0.01", "bf16", "0"); precision("rounded-z", "0.01", "bf16", "0.001")
        precision("fast", "0.05", "f32", "0"); precision("fast-z", "0.05", "f32", "0.001")
        precision("fast-rounded", "0.05", "bf16", "0"); precision("fast-rounded-z", "0.05", "bf16", "0.001")
        open("loophole", "noise,K,importance,CV importance,CV load,max/mean,perplexity,seeds")
        loophole("none", "no", "2", "0"); loophole("importance", "no", "2", "0.1"); loophole("loophole-1", "no", "2", "1"); loophole("loophole-10", "no", "2", "10")
        loophole("loophole-k4", "no", "4", "0.1"); loophole("loophole-k4-1", "no", "4", "1")
        loophole("noise-importance", "yes", "2", "0.1"); loophole("importance-1", "yes", "2", "1")
    }' "$runs/summary.tsv"

tools/fill_tables.sh "$docs.md" "$tables"

# The film: a strip per run, steps to the right, an expert a line, the most loaded at the end on top; darker is more of the mean.
for name in none importance noise noise-importance noise-load noise-importance-load; do
    [ ! -f "$runs/$name/seed-1/routing.jsonl" ] || sed "s/^/$name /" "$runs/$name/seed-1/routing.jsonl"
done | awk -v columns=50 '
    BEGIN {
        split("#f4efdf #f6dfa8 #f2bf6b #e3963f #c2642a #8f3a1f #571c14 #220a0c", color, " ")
        split("0.25 0.75 1.25 2 3 4.5 6", limit, " ")
        says["none"] = "no noise, no losses"; says["importance"] = "no noise, importance"; says["noise"] = "noise alone"
        says["noise-importance"] = "noise and importance"; says["noise-load"] = "noise and load"; says["noise-importance-load"] = "noise, importance and load"
    }
    {
        if (!($1 in lines)) order[++runs] = $1
        count = split($0, part, /"load": \[/); split(part[count], value, /[],]/) # of the last layer
        lines[$1]++
        for (experts = 0; value[experts + 1] ~ /^ ?[0-9]+$/; experts++) load[$1, lines[$1], experts + 1] = value[experts + 1] + 0
    }
    function level(x, i) { for (i = 1; i <= 7 && x >= limit[i]; ) i++; return i }
    function strip(run, left, top, c, e, i, j, k, n, sum, total, first, last, rank, who, cell, path, began) {
        n = lines[run]
        for (e = 1; e <= experts; e++) { who[e] = e; rank[e] = 0; for (i = n - 19; i <= n; i++) rank[e] += load[run, i, e] }
        for (i = 1; i <= experts; i++) for (j = i; j > 1 && rank[who[j]] > rank[who[j - 1]]; j--) { k = who[j]; who[j] = who[j - 1]; who[j - 1] = k }
        printf "<text x=\"%d\" y=\"%d\">%s</text><rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" fill=\"%s\"/>\n", left, top - 6, says[run], left, top, columns * 6, experts * 7, color[1]
        for (k = 2; k <= 8; k++) path[k] = ""
        for (i = 1; i <= experts; i++) {
            began = 1
            for (c = 1; c <= columns + 1; c++) {
                cell[c] = 0
                if (c <= columns) {
                    first = int((c - 1) * n / columns) + 1; last = int(c * n / columns); if (last < first) last = first
                    sum = 0; total = 0
                    for (j = first; j <= last; j++) { sum += load[run, j, who[i]]; for (e = 1; e <= experts; e++) total += load[run, j, e] }
                    cell[c] = level(total ? sum * experts / total : 0)
                }
                if (c > 1 && cell[c] != cell[began]) {
                    if (cell[began] > 1) path[cell[began]] = path[cell[began]] "M" left + (began - 1) * 6 " " top + i * 7 - 3.5 "h" (c - began) * 6
                    began = c
                }
            }
        }
        for (k = 2; k <= 8; k++) if (path[k] != "") printf "<path d=\"%s\" stroke=\"%s\" stroke-width=\"7\"/>\n", path[k], color[k]
    }
    END {
        if (!runs) exit
        width = 2 * (columns * 6 + 30) + 10; rows = int((runs + 1) / 2); height = 80 + rows * (experts * 7 + 34)
        printf "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"13\" fill=\"#222\">\n", width, height, width, height
        printf "<rect width=\"%d\" height=\"%d\" fill=\"#fdfcf8\"/>\n<text x=\"20\" y=\"26\" font-size=\"18\">Load of each expert of the last layer, from the first step to the last</text>\n", width, height
        for (r = 1; r <= runs; r++) strip(order[r], 20 + (r - 1) % 2 * (columns * 6 + 30), 62 + int((r - 1) / 2) * (experts * 7 + 34))
        y = height - 16
        printf "<text x=\"20\" y=\"%d\">over the mean:</text>\n", y
        for (k = 1; k <= 8; k++) printf "<rect x=\"%d\" y=\"%d\" width=\"16\" height=\"12\" fill=\"%s\" stroke=\"#ccc\"/><text x=\"%d\" y=\"%d\">%s</text>\n", 60 + k * 62, y - 11, color[k], 80 + k * 62, y, k == 1 ? "below " limit[1] : limit[k - 1] " +"
        print "</svg>"
    }' > "$docs/film.svg"

# The price: perplexity against coefficient, max/mean against coefficient, and perplexity against max/mean; a line a method.
awk -F '\t' '
    { n[$1]++; perplexity[$1] += $4; most[$1] += $5 }
    function add(method, coefficient, name) {
        if (!(name in n)) return
        m = method; points[m]++
        at[m, points[m]] = coefficient; p[m, points[m]] = perplexity[name] / n[name]; b[m, points[m]] = most[name] / n[name]
        if (!low || p[m, points[m]] < low) low = p[m, points[m]]
        if (p[m, points[m]] > high) high = p[m, points[m]]
        if (b[m, points[m]] > widest) widest = b[m, points[m]]
    }
    function method(title, name, zero) {
        title_of[++methods] = title
        add(methods, 0, zero); add(methods, 1, name "-0.001"); add(methods, 2, name "-0.01")
        add(methods, 3, name == "importance" || name == "load" ? "noise-" name : name "-0.1"); add(methods, 4, name "-1")
    }
    function x_of(panel, m, i) { return panel == 3 ? 60 + 2 * 310 + (log(b[m, i]) / log(widest)) * 240 : 60 + (panel - 1) * 310 + at[m, i] * 60 }
    function y_of(panel, m, i) { return panel == 2 ? 300 - (log(b[m, i]) / log(widest)) * 220 : 300 - (p[m, i] - low) / (high - low) * 220 }
    END {
        split("#3f7f93 #7fb069 #d98e32 #9b5de5 #c2383d", color, " ")
        method("importance (noisy)", "importance", "noise"); method("load (noisy)", "load", "noise")
        method("Switch (sigmoid)", "switch", "sigmoid"); method("sequence (sigmoid)", "sequence", "sigmoid"); method("bias (sigmoid)", "bias", "sigmoid")
        if (high <= low) exit
        print "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"960\" height=\"380\" viewBox=\"0 0 960 380\" font-family=\"Helvetica, Arial, sans-serif\" font-size=\"12\" fill=\"#222\">"
        print "<rect width=\"960\" height=\"380\" fill=\"#fdfcf8\"/><text x=\"20\" y=\"26\" font-size=\"18\">The price of balance</text>"
        split("perplexity against coefficient|max/mean against coefficient|perplexity against max/mean", head, "|"); split("0 0.001 0.01 0.1 1", tick, " ")
        for (panel = 1; panel <= 3; panel++) {
            left = 60 + (panel - 1) * 310
            printf "<text x=\"%d\" y=\"62\">%s</text><path d=\"M%d 74V306H%d\" fill=\"none\" stroke=\"#999\"/>\n", left, head[panel], left - 8, left + 248
            for (i = 0; i <= 4 && panel < 3; i++) printf "<text x=\"%d\" y=\"322\" text-anchor=\"middle\" fill=\"#777\">%s</text>", left + i * 60, tick[i + 1]
            for (i = 0; i <= 4; i++) {
                value = panel == 2 ? exp(log(widest) * i / 4) : low + (high - low) * i / 4
                printf "<text x=\"%d\" y=\"%d\" text-anchor=\"end\" fill=\"#777\">%.1f</text>", left - 12, 304 - i * 55, value
                if (panel == 3) printf "<text x=\"%d\" y=\"322\" text-anchor=\"middle\" fill=\"#777\">%.1f</text>", left + i * 60, exp(log(widest) * i / 4)
            }
            for (m = 1; m <= methods; m++) {
                line = ""; dots = ""
                for (i = 1; i <= points[m]; i++) {
                    line = line sprintf("%s%.1f %.1f", i == 1 ? "M" : "L", x_of(panel, m, i), y_of(panel, m, i))
                    dots = dots sprintf("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>", x_of(panel, m, i), y_of(panel, m, i))
                }
                printf "<g fill=\"%s\"><path d=\"%s\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\"/>%s</g>\n", color[m], line, color[m], dots
            }
        }
        for (m = 1; m <= methods; m++) printf "<rect x=\"%d\" y=\"348\" width=\"12\" height=\"12\" fill=\"%s\"/><text x=\"%d\" y=\"359\">%s</text>\n", 60 + (m - 1) * 170, color[m], 78 + (m - 1) * 170, title_of[m]
        print "</svg>"
    }' "$runs/summary.tsv" > "$docs/price.svg"
