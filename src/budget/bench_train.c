/* Whole training steps of a recipe on a dataset, and where their time goes. */
#include <omp.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "budget/bench.h"
#include "budget/phases.h"
#include "train/trainer.h"

enum { WARM_UP = 2 };

typedef struct {
    trainer tr;
    step_report report;
    double seconds; /* in all steps */
} steps;

static int run_step(void *context) {
    steps *s = context;
    TRY(trainer_step(&s->tr, &s->report));
    s->seconds += s->report.step_seconds;
    return LAMP_OK;
}

static int measure_steps(bench *b, steps *s) {
    const recipe *r = &s->tr.recipe;
    const char *precision = s->tr.tape.products == &s->tr.k->products ? "f32" : "bf16";
    double tokens = (double)r->batch_tokens, rest = 1;
    b->threads = omp_get_max_threads(); /* the recipe may have chosen */
    bench_case c = {"", precision, b->threads, BENCH_TOKENS, tokens, tokens * s->tr.costs.flops_per_token, 0, run_step, NULL, s};
    snprintf(c.name, sizeof c.name, "training, %lld x %lld, %lld experts, %lld a token", (long long)r->model.num_hidden_layers,
             (long long)r->model.hidden_size, (long long)r->model.moe.experts, (long long)r->model.moe.top_k);
    s->tr.k = phases_watch(&s->tr.tape);
    for (int i = 0; i < WARM_UP; i++) TRY(run_step(s));
    phases_clear(), s->seconds = 0;
    TRY(bench_run(b, "train", &c, 1));
    b->row[b->n - 1].bytes_held = s->report.bytes;
    const bench_row whole = b->row[b->n - 1];
    for (phase p = 0; p < PHASES; p++) {
        double share = phase_seconds(p) / s->seconds;
        if (share == 0) continue; /* an LSTM has no attention */
        TRY(bench_add_part(b, phase_name[p], &whole, share));
        rest -= share;
    }
    return bench_add_part(b, "everything else", &whole, rest);
}

int bench_train(bench *b, const char *recipe_path, const char *data_path) {
    recipe r;
    dataset *data = NULL;
    steps s = {0};
    int status;
    memset(&r, 0, sizeof r);
    options_set_defaults(&recipe_options, &r);
    TRY_TO(done, options_read_file(&recipe_options, &r, recipe_path));
    TRY_TO(done, dataset_open(&data, data_path ? data_path : r.data_path));
    TRY_TO(done, trainer_open(&s.tr, &r, data));
    TRY_TO(done, measure_steps(b, &s));
done:
    trainer_close(&s.tr);
    dataset_free(data);
    return status;
}
