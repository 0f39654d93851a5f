#include "budget/auto_sizes.h"

#include <math.h>
#include <string.h>

#include "base/arena.h"
#include "base/error.h"
#include "data/dataset.h"
#include "kernels/kernels.h"
#include "train/trainer.h"

static const double TOKENS_PER_PARAMETER = 20; /* Hoffmann et al. 2022, for active parameters */
static const double MEMORY_SHARE = 0.25, BYTES_PER_PARAMETER = 16; /* weight, gradient and two moments in f32 */
static const double MOST_EPOCHS = 4;           /* beyond that, repeated text teaches little (Muennighoff et al. 2023) */

static bool is_set(const char *key, const char *const *settings, int n) {
    size_t length = strlen(key);
    for (int i = 0; i < n; i++)
        if (!strncmp(settings[i], key, length) && settings[i][length] == '=') return true;
    return false;
}

/* The matrix parameters a token meets in a model of this width: attention and two experts per block, and the output head. */
static double active_parameters(double width, double layers, double vocabulary) {
    return layers * (4 * width * width + 2 * 3 * width * 4 * width / 3) + width * vocabulary;
}

static double layers_for(double width) { return fmax(2, round(width / 48)); }

int auto_sizes_choose(recipe *r, const char *const *settings, int n_settings, buffer *reasons) {
    const struct kernels *k;
    dataset *data = NULL;
    int64_t text = 0;
    TRY(kernels_choose(&k));
    TRY(dataset_open(&data, r->data_path));
    int vocabulary = data->vocabulary_size;
    for (int i = 0; i < data->n_domains; i++) text += data->domain[i].summary.train_tokens;
    dataset_free(data);

    double given = r->steps > 0 ? (double)(r->steps * r->batch_tokens) : (double)r->tokens, flops = 0, wanted = given / TOKENS_PER_PARAMETER;
    if (given > 0) {
        buffer_printf(reasons, "budget %.3g tokens: %g per active parameter train %.3g of them\n", given, TOKENS_PER_PARAMETER, wanted);
    } else {
        double peak = kernels_measure_peak(k->peak_flops, 0.2);
        flops = peak * EXPECTED_PERCENT_OF_PEAK / 100 * 60 * r->minutes, wanted = sqrt(flops / (6 * TOKENS_PER_PARAMETER));
        buffer_printf(reasons, "budget %.3g minutes at about %d%% of this machine's measured %.0f GFLOP/s: %.2g FLOPs train %.3g active parameters\n",
                      r->minutes, EXPECTED_PERCENT_OF_PEAK, peak / 1e9, flops, wanted);
    }
    double taught = MOST_EPOCHS * (double)text / TOKENS_PER_PARAMETER;
    if (taught < wanted)
        buffer_printf(reasons, "the text has %.3g tokens; %g passes teach only %.3g of them\n", (double)text, MOST_EPOCHS, taught);
    double target = fmin(wanted, taught), width = 64;
    if (active_parameters(width, layers_for(width), vocabulary) > target)
        buffer_printf(reasons, "that is less than the smallest sizes, which are taken: more text or more time would use them better\n");
    while (width + 32 <= 2048 && active_parameters(width + 32, layers_for(width + 32), vocabulary) <= target) width += 32;
    double layers = layers_for(width), active = active_parameters(width, layers, vocabulary), tokens = given > 0 ? given : flops / (6 * active);

    if (!is_set("model.hidden_size", settings, n_settings)) {
        r->model.hidden_size = (int64_t)width;
        r->model.num_attention_heads = (int64_t)width / 32;
        buffer_printf(reasons, "hidden_size %.0f, heads of 32: %.3g active parameters, each for %.3g tokens\n", width,
                      active, tokens / active);
    }
    if (!is_set("model.num_hidden_layers", settings, n_settings)) {
        r->model.num_hidden_layers = (int64_t)layers;
        buffer_printf(reasons, "num_hidden_layers %.0f: about one per 48 channels of width\n", layers);
    }
    if (!is_set("model.intermediate_size", settings, n_settings)) {
        r->model.intermediate_size = (int64_t)(width * 4 / 3) / 16 * 16;
        buffer_printf(reasons, "intermediate_size %lld: two experts per token are as wide as one dense MLP of 8/3 width\n",
                      (long long)r->model.intermediate_size);
    }
    if (!is_set("router.experts", settings, n_settings)) {
        double expert = 3 * width * (double)r->model.intermediate_size, experts = 4, memory = MEMORY_SHARE * (double)arena_machine_bytes();
        while (experts < 64 && tokens * 2 / (2 * experts) >= expert && BYTES_PER_PARAMETER * 2 * experts * expert * layers <= memory) experts *= 2;
        r->model.moe.experts = (int64_t)experts;
        buffer_printf(reasons, "experts %.0f, each token takes 2: the most (of 4 to 64) that still learn from a token per parameter of their own\n", experts);
    }
    return reasons->status;
}
