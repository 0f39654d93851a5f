#include "train/trainer.h"

#include <math.h>
#include <omp.h>
#include <string.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/memory.h"
#include "comm/comm.h"
#include "health/loss_course.h"
#include "models/families/family.h"

enum { BAD_STEPS = 3, SPIKES = 3 /* in a row, that may be passed over */, STRETCH = 64 /* of models that carry something */ };

/* The vocabulary may be wider than the data's (padded), never narrower. */
static int adopt_vocabulary(recipe *r, const dataset *data) {
    if (r->model.vocab_size == 0) r->model.vocab_size = data->vocabulary_size;
    if (r->model.vocab_size < data->vocabulary_size)
        FAIL(LAMP_INVALID, "model.vocab_size is %lld, but the dataset has %d tokens; leave it out to take the dataset's",
             (long long)r->model.vocab_size, data->vocabulary_size);
    r->model.end_of_text = tokenizer_end_of_text(data->tokenizer);
    return LAMP_OK;
}

void trainer_choose_passing(const recipe *r, weights *table) {
    for (int i = 0; i < table->n; i++)
        table->row[i]->step->passing = r->micro_batch_tokens == r->batch_tokens && optimizer_consumes(&r->optimizer, table->row[i]);
}

const struct products *trainer_choose_products(const recipe *r, const struct kernels *k) {
    if (!strcmp(r->precision, "auto")) return kernels_fastest_products(k);
    return !strcmp(r->precision, "bf16") ? k->products_bf16 : &k->products;
}

static int choose_products(trainer *tr) {
    const recipe *r = &tr->recipe;
    tr->products = trainer_choose_products(r, tr->k);
    bool bf16 = tr->products != &tr->k->products, router_bf16 = !strcmp(r->router_precision, "bf16");
    if ((bf16 || router_bf16) && !tr->k->products_bf16)
        FAIL(LAMP_UNSUPPORTED, "train.%sprecision bf16: the %s kernels have no bf16 products; %s", bf16 ? "" : "router_", tr->k->name,
             bf16 ? "auto takes what the machine has" : "f32 works everywhere");
    tr->router_products = router_bf16 ? tr->k->products_bf16 : &tr->k->products;
    tr->peak_flops = kernels_measure_peak(bf16 ? tr->k->peak_flops_bf16 : tr->k->peak_flops, 0.08);
    return LAMP_OK;
}

int trainer_prepare(trainer *tr, const recipe *r, const dataset *data) {
    *tr = (trainer){.recipe = *r, .data = data};
    int status = LAMP_OK;
    recipe *own = &tr->recipe;
    TRY_TO(done, adopt_vocabulary(own, data));
    TRY_TO(done, recipe_resolve(own, "recipe"));
    TRY_TO(done, family_check_runs(&own->model, "recipe"));
    if (own->threads > 0) omp_set_num_threads((int)own->threads);
    TRY_TO(done, kernels_choose(&tr->k));
    TRY_TO(done, choose_products(tr));
    TRY_TO(done, model_open(&tr->model, &own->model));
    tr->costs = model_count(&tr->model, own->model.max_position_embeddings);
    trainer_choose_passing(own, &tr->model.weights);
    tr->needs = memory_needs_of(own, &tr->model, tr->products);
    TRY_TO(done, memory_needs_check(&tr->needs, (int64_t)arena_machine_bytes()));
done:
    if (status < 0) trainer_close(tr);
    return status;
}

/* Every row of a step's batches is a stream of its own. */
static int open_streams(trainer *tr) {
    recipe *own = &tr->recipe;
    const int T = (int)own->model.max_position_embeddings, streams = (int)(own->batch_tokens / T);
    TRY(model_state_open(&tr->memory, &tr->model, 0, streams));
    if (own->stretch == 0) own->stretch = state_carries(&tr->memory) ? STRETCH : 1;
    return loader_new(&tr->loader, tr->data, &own->mixture, T, (loader_order){streams, (int)own->stretch}, (uint64_t)own->seed);
}

int trainer_open(trainer *tr, const recipe *r, const dataset *data) {
    int status = LAMP_OK;
    TRY(trainer_prepare(tr, r, data));
    const recipe *own = &tr->recipe;
    int T = (int)own->model.max_position_embeddings, B = (int)(own->micro_batch_tokens / T);
    TRY_TO(done, weights_allocate_values(&tr->model.weights));
    TRY_TO(done, weights_allocate_gradients(&tr->model.weights));
    TRY_TO(done, optimizer_open(&tr->optimizer, &own->optimizer, (uint64_t)own->seed, &tr->model.weights));
    TRY_TO(done, tape_open(&tr->tape, tr->k));
    tr->tape.products = tr->products, tr->tape.router_products = tr->router_products;
    TRY_TO(done, weights_allocate_packed(&tr->model.weights, tr->tape.products, recipe_packing(own)));
    weights_initialize(&tr->model.weights, (uint64_t)own->seed);
    weights_pack(&tr->model.weights, tr->tape.products);
    TRY_TO(done, open_streams(tr));
    TRY_TO(done, batch_init(&tr->batch, B, T));
    TRY_TO(done, memory_new(&tr->sequence_start, (size_t)B + 1, sizeof *tr->sequence_start, "sequence starts"));
    for (int i = 0; i <= B; i++) tr->sequence_start[i] = (ptrdiff_t)i * T;
    TRY_TO(done, model_trace_open(&tr->trace, &tr->model));
    TRY_TO(done, memory_new(&tr->treated, (size_t)own->model.num_hidden_layers + 1, sizeof *tr->treated, "steps of treatments"));
done:
    if (status < 0) trainer_close(tr);
    return status;
}

void trainer_close(trainer *tr) {
    model_close(&tr->model);
    optimizer_close(&tr->optimizer);
    if (tr->tape.k) tape_close(&tr->tape);
    loader_free(tr->loader);
    batch_release(&tr->batch);
    memory_free(tr->sequence_start);
    state_close(&tr->memory);
    moe_trace_close(&tr->trace);
    memory_free(tr->treated);
    *tr = (trainer){0};
}

/* Share used after `steps` more steps; of time, each as long as the mean so far, or a thousandth of the budget when there is none yet. */
static double budget_used(const trainer *tr, int64_t steps) {
    const recipe *r = &tr->recipe;
    double step_seconds = tr->step > 0 ? tr->seconds / (double)tr->step : 0.06 * r->minutes;
    double used = r->steps > 0    ? (double)(tr->step + steps) / (double)r->steps
                  : r->tokens > 0 ? (double)(tr->tokens + steps * r->batch_tokens) / (double)r->tokens
                                  : (tr->seconds + (double)steps * step_seconds) / (60 * r->minutes);
    return used < 1 ? used : 1;
}

double trainer_budget_used(const trainer *tr) { return budget_used(tr, 0); }

double trainer_expected_seconds(const trainer *tr) {
    const recipe *r = &tr->recipe;
    double tokens = (double)(r->steps > 0 ? r->steps * r->batch_tokens : r->tokens), left = 1 - trainer_budget_used(tr);
    return left * (tokens > 0 ? tokens * tr->costs.flops_per_token / (tr->peak_flops * EXPECTED_PERCENT_OF_PEAK / 100) : 60 * r->minutes);
}

/* Standard deviations of loss from the mean of the window, which does not hold it yet. */
static double z_score(const trainer *tr, double loss) {
    int n = tr->n_losses < LOSS_WINDOW ? (int)tr->n_losses : LOSS_WINDOW;
    double mean = 0, variance = 0;
    for (int i = 0; i < n; i++) mean += tr->window[i] / n;
    for (int i = 0; i < n; i++) variance += (tr->window[i] - mean) * (tr->window[i] - mean) / n;
    return n >= 8 && variance > 0 ? (loss - mean) / sqrt(variance) : 0;
}

static void report_routing(const trainer *tr, step_report *report) {
    for (int l = 0; l < tr->trace.layers; l++) {
        moe_summary s = moe_trace_summarize(&tr->trace, l);
        if (s.load_max_over_mean > report->balance) report->balance = s.load_max_over_mean;
        if (s.dropped > report->dropped) report->dropped = s.dropped;
        report->dead += s.dead;
    }
}

typedef struct {
    trainer *trainer;
    step_report *report;
} step_context;

static void consume(void *context, const weight *w, const gradient_part *part) {
    step_context *c = context;
    trainer *tr = c->trainer;
    if (!optimizer_consumes(&tr->optimizer.config, w)) return;
    const int skipped = optimizer_consume(&tr->optimizer, tr->k, tr->tape.products, w, part, c->report->learning_rate);
#pragma omp atomic
    c->report->skipped += skipped;
}

/* Passed over, so that one odd batch does no damage (OLMo-core's SkipStep). A run whose loss stays up there has to learn from it. */
static bool is_spike(const trainer *tr, double loss) {
    return recipe_treats(&tr->recipe) && tr->spikes < SPIKES && loss_is_spike(z_score(tr, loss), tr->n_losses);
}

/* What the streams of this batch, `first` and those behind it, have read so far; NULL where nothing is carried on. */
static state *recall(trainer *tr, int first) {
    tr->memory.first = first;
    for (int i = 0; i < tr->batch.B; i++)
        if (tr->batch.begins[i]) state_forget(&tr->memory, first + i);
    return state_carries(&tr->memory) ? &tr->memory : NULL;
}

/* first_token: how many of the step's came before. Gradients are whole in the last one. A loss that is not finite has no gradient. */
static int run_micro_batch(trainer *tr, step_report *report, int64_t first_token) {
    const bool last = first_token + tr->recipe.micro_batch_tokens == tr->recipe.batch_tokens;
    TRY(loader_next(tr->loader, &tr->batch));
    tape *t = &tr->tape;
    tape_reset(t);
    t->training = true, t->takes_factors = optimizer_takes_factors(&tr->recipe.optimizer);
    t->loss_scale = 1 / (double)tr->recipe.batch_tokens;
    t->random.seed = (uint64_t)tr->recipe.seed, t->random.step = (uint64_t)tr->step;
    t->random.first_token = (uint64_t)(comm_rank() * tr->recipe.batch_tokens + first_token);
    token_batch tokens = {(ptrdiff_t)tr->batch.B * tr->batch.T, tr->batch.token, tr->batch.target, tr->batch.B, tr->sequence_start};
    state *memory = recall(tr, (int)(first_token / tr->batch.T));
    model_loss(t, &tr->model, &tokens, memory, tr->trace.load ? &tr->trace : NULL);
    report->loss += tape_loss(t, "loss");
    for (int i = 0; i < BALANCE_LOSSES; i++) report->balance_loss[i] += tape_loss(t, balance_terms[i].name);
    if (last) comm_all_reduce(&report->loss, 1);
    t->gradient_ready = last ? consume : NULL, t->ready_context = &(step_context){tr, report};
    if (last) report->spike = is_spike(tr, report->loss);
    if (isfinite(report->loss) && !report->spike) tape_backward(t);
    if (isfinite(report->loss) && !report->spike && last) tape_complete_gradients(t, &tr->model.weights);
    t->gradient_ready = NULL, t->ready_context = NULL;
    return LAMP_OK;
}

/* The Switch loss and that of sequences are 1 in every layer where loads are equal (moe/balance.c), the others 0, or nearly. */
static double balance_floor(const model_config *c) {
    double floor = 0;
    for (int64_t l = 0; l < c->num_hidden_layers && c->moe.experts > 1; l++)
        if (model_layer_is_sparse(c, l)) floor += c->moe.balance[BALANCE_SWITCH] + c->moe.balance[BALANCE_SEQUENCE];
    return floor;
}

int trainer_step(trainer *tr, step_report *report) {
    double begin = clock_seconds();
    const recipe *r = &tr->recipe;
    *report = (step_report){0};
    weights_zero_gradients(&tr->model.weights);
    moe_trace_clear(&tr->trace);
    report->balance_floor = balance_floor(&tr->model.config);
    report->learning_rate = schedule_learning_rate(&r->schedule, budget_used(tr, 1));
    for (int64_t done = 0; done < r->batch_tokens; done += r->micro_batch_tokens) TRY(run_micro_batch(tr, report, done));
    TRY(moe_trace_check(&tr->trace));
    report->gradient_norm = isfinite(report->loss) && !report->spike ? optimizer_gradient_norm(&tr->optimizer, tr->k, &tr->model.weights) : NAN;
    report->applied = isfinite(report->loss) && isfinite(report->gradient_norm);
    if (report->applied) {
        optimizer_step(&tr->optimizer, tr->k, tr->tape.products, &tr->model.weights, report->learning_rate, report->gradient_norm);
        model_balance(&tr->model, &tr->trace);
    }
    if (!isfinite(report->loss)) state_clear(&tr->memory); /* or it would not be finite ever after */
    tr->bad_steps = report->applied || report->spike ? 0 : tr->bad_steps + 1;
    tr->spikes = report->spike ? tr->spikes + 1 : 0;
    tr->step++, tr->tokens += r->batch_tokens;
    report->step_seconds = clock_seconds() - begin;
    tr->seconds += report->step_seconds;

    report->step = tr->step, report->tokens = tr->tokens, report->used = budget_used(tr, 0);
    report->tokens_per_second = (double)r->batch_tokens / report->step_seconds;
    report->share_of_peak = tr->costs.flops_per_token * report->tokens_per_second / tr->peak_flops;
    report->seconds_left = report->used > 0 ? tr->seconds * (1 - report->used) / report->used : 0;
    report->loss_z = z_score(tr, report->loss);
    if (report->applied) tr->window[tr->n_losses++ % LOSS_WINDOW] = report->loss;
    report_routing(tr, report);
    report->bytes = (int64_t)(weights_bytes(&tr->model.weights) + tr->optimizer.bytes + tape_bytes(&tr->tape));
    if (tr->bad_steps >= BAD_STEPS)
        FAIL(LAMP_DIVERGED,
             "step %lld: loss %g, gradient norm %g: not finite for %d steps in a row; these steps were not applied. Try a lower optim.learning_rate, "
             "a longer optim.warmup, or optim.clip",
             (long long)tr->step, report->loss, report->gradient_norm, BAD_STEPS);
    return LAMP_OK;
}
