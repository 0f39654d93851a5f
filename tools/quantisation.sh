#!/usr/bin/env bash
# quantisation.sh RUN DATASET: what each stored type costs a trained mixture, as the tables of docs/quantisation.md. Files of the model as each
# type are made in a folder that goes again; the validation text of the dataset is run through all of them: first with rows as they are, so that only
# weights lose, then as models run, with rows in eight bits. BUILD names the build folder, TOKENS how much of each domain's text is used (16384).
set -eu
export LC_ALL=C
[ $# = 2 ] || { sed -n '2,5s/^# //p' "$0" >&2; exit 2; }
run=$1 data=$2 tokens=${TOKENS:-16384}
lamp=$(dirname "$0")/../${BUILD:-build}/lamp
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

value() { # key of an object in the file, the first of its name
    sed -n "s/^ *\"$1\": \([^,]*\),*$/\1/p" "$2" | head -n 1
}

quantize() { # options...
    "$lamp" quantize "$run" "$work/model.gguf" --data "$data" --tokens "$tokens" --quiet "$@" 2>"$work/complaints" || { cat "$work/complaints" >&2; return 1; }
}

perplexity_of() { # options...
    "$lamp" eval "$work/model.gguf" --data "$data" --tokens "$tokens" --json --quiet "$@" >"$work/eval"
    value perplexity "$work/eval"
}

row() { # name options...
    local name=$1 json=$work/json exact rounded
    shift
    quantize --json "$@" >"$json"
    exact=$(perplexity_of --exact) rounded=$(perplexity_of)
    rm "$work/model.gguf"
    printf '| %s | %s | %s | %s | %s | %s | %s |\n' "$name" \
        "$(value bytes "$json" | awk '{ printf "%.2f", $1 / 1e6 }')" \
        "$(value perplexity "$json" | awk -v before="$(value perplexity_before "$json")" '{ printf "%.4f | %+.4f %%", $1, 100 * ($1 / before - 1) }')" \
        "$(value logits_error "$json" | awk '{ printf "%.3f %%", 100 * $1 }')" \
        "$(value divergence "$json" | awk '{ printf "%.2e", $1 }')" \
        "$(value agreement "$json" | awk '{ printf "%.2f %%", 100 * $1 }')" \
        "$(awk -v exact="$exact" -v rounded="$rounded" 'BEGIN { printf "%+.4f %%", 100 * (rounded / exact - 1) }')"
}

echo "| matrices | MB | perplexity | change | logits off by | divergence, nats | same first choice | rows in eight bits |"
echo "|---|---|---|---|---|---|---|---|"
row "f32" --type f32
row "f16" --type f16
row "bf16" --type bf16
row "q8_0" --type q8_0
row "q4_0" --type q4_0
row "mxfp4" --type mxfp4
row "experts q4_0, the rest q8_0" --type q8_0 --experts q4_0
row "experts mxfp4, the rest q8_0" --type q8_0 --experts mxfp4
row "experts q8_0, the rest q4_0" --type q4_0 --experts q8_0
row "head and embeddings q8_0, the rest q4_0" --type q4_0 --head q8_0 --embeddings q8_0
echo
quantize --type q4_0 | sed -n '/^experts that/,/^on /p'
rm "$work/model.gguf"
echo
quantize --type q4_0 --json |
    awk '/"layer"/ { layer = $2 + 0 } /"relative_error"/ && layer != "" { e = $2 + 0; if (!n++ || e < least) least = e; if (e > most) most = e }
         /"share"/ { s = $2 + 0; if (!m++ || s < rare) rare = s; if (s > often) often = s }
         END { printf "errors of experts from %.2f to %.2f %%, shares from %.2f to %.2f\n", 100 * least, 100 * most, rare, often }'
