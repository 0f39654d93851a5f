#!/usr/bin/env bash
# Do threads agree on who writes what? The programs named as arguments, and steps of every router whose batch is large enough for threads to
# share each of its loops, under ThreadSanitizer; Archer tells it what OpenMP's threads wait for. A race ends a program with an exit code.
# The sanitizer does not see vectors of more than 16 bytes, hence the scalar kernels, whose loops are those of the others; and it cannot
# live with addresses that are too random, hence setarch. BUILD names the tree; the last line is "N passed, N failed".
set -u
cd "$(dirname "$0")/.."
export OMP_NUM_THREADS=3 LAMP_KERNELS=scalar
export OMP_TOOL_LIBRARIES="$(clang -print-resource-dir)/../../libarcher.so" TSAN_OPTIONS=ignore_noninstrumented_modules=1
suite=threads
source tests/check.sh
source tests/world.sh

lamp=$PWD/$BUILD/lamp
lamp() { setarch -R "$lamp" "$@"; }
for program in "$@"; do check "$program" setarch -R "$program"; done

cd "$work" || exit 1
check 'world' make_world
while read -r settings; do
    check "$settings" lamp train tiny.ini --run "runs/$settings" --quiet --set train.threads=3 --set train.batch_tokens=1024 --set train.steps=2 \
        --set router.experts=8 --set train.eval_tokens=1024 --set train.probe_every=1 $(printf -- '--set %s ' $settings)
done <<'END'
router.kind=softmax router.capacity=0.75 router.groups=4 router.top_groups=2
router.kind=softmax optim.experts=factored optim.lazy_experts=true model.family=qwen3_moe
router.kind=softmax optim.experts=adamw_in_backward
router.kind=softmax model.n_shared_experts=1 model.shared_expert_gate=true
router.kind=switch router.top_k=1 router.jitter=0.1 router.capacity=1
router.kind=gshard router.capacity=0.75
router.kind=sigmoid router.weigh_input=true balance.bias_rate=0.001 balance.sequence=0.01
router.kind=noisy_top_k balance.importance=0.1 balance.load=0.1
router.kind=hierarchical router.groups=4 router.top_groups=2 balance.importance=0.1 balance.load=0.1
router.kind=batchwise
router.kind=expert_choice
router.kind=hash model.tie_word_embeddings=true
router.kind=random train.pack_weights=false train.micro_batch_tokens=512
END
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
