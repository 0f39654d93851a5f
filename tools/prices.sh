#!/usr/bin/env bash
# The table of docs/pricing.md: what build/lamp says of every published config and of the largest model of 2017, at 4096 tokens of context.
set -eu
cd "$(dirname "$0")/.."

# A number of the JSON in $price, divided.
number() { # indentation key divisor decimals
    awk -v key="$(printf '%*s"%s": ' "$1" '' "$2")" -v by="$3" -v digits="$4" \
        'index($0, key) == 1 { printf "%.*f", digits, substr($0, length(key) + 1) / by; exit }' <<<"$price"
}

echo "| model | parameters | of a token | with all the embedding | MLP | training FLOPs | bf16 | a token reads | cache |"
echo "|---|---|---|---|---|---|---|---|---|"
for config in recipes/published/*.json recipes/2017/*.ini; do
    price=$(build/lamp inspect "$config" --context 4096 --json)
    name=${config##*/} bf16=$(sed -n '/^    "bf16"/,/}/p' <<<"$price")
    echo "| ${name%.*} | $(number 2 parameters 1e9 2) B | $(number 2 active_parameters 1e9 2) B | $(number 2 active_parameters_with_embedding 1e9 2) B" \
        "| $(number 2 mlp_share_of_parameters 0.01 1) % | $(number 2 flops_per_token 1e9 1) G | $(price=$bf16 number 6 bytes_held 1e9 1) GB" \
        "| $(price=$bf16 number 6 bytes_touched 1e9 2) GB | $(number 4 cache_bytes_per_token 1e3 1) kB |"
done
