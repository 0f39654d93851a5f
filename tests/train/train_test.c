/* Training runs from end to end, on models and texts so small that each takes a moment: does it learn, and does it do the same thing
 * again, whatever interrupts it, however it is cut into micro-batches and whoever computes it? */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../bf16.h"
#include "../moe/routers.h"
#include "../world.h"
#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "formats/checkpoint.h"
#include "infer/loaded_model.h"
#include "train/flips.h"
#include "train/run_folder.h"
#include "train/train.h"
#include "train/trainer.h"

static recipe recipe_of_experts(const char *family, const char *experts_by) {
    recipe r = world_recipe(family);
    strcpy(r.optimizer.experts, experts_by);
    return r;
}

static recipe factored_recipe(const char *family) { return recipe_of_experts(family, "factored"); }

static recipe bf16_moments_recipe(const char *experts_by) {
    recipe r = recipe_of_experts("olmoe", experts_by);
    strcpy(r.optimizer.moments, "bf16");
    return r;
}

/* Streams turn elsewhere every few steps, one after the other. */
static recipe lstm_recipe(void) {
    recipe r = world_recipe("lstm_moe");
    r.stretch = 5, r.model.moe.relu = true;
    strcpy(r.model.moe.kind, "noisy_top_k");
    r.model.moe.balance[BALANCE_SWITCH] = 0, r.model.moe.balance[BALANCE_IMPORTANCE] = r.model.moe.balance[BALANCE_LOAD] = 0.1;
    return r;
}

/* Some steps; their losses go to loss unless it is NULL. */
static void run_steps(trainer *tr, int n, double *loss) {
    for (int i = 0; i < n; i++) {
        step_report report;
        EXPECT_OK(trainer_step(tr, &report));
        EXPECT(report.applied, "step %d: loss %g, gradient norm %g", (int)report.step, report.loss, report.gradient_norm);
        if (loss) loss[i] = report.loss;
    }
}

static bool same_bits(const real *a, const real *b, ptrdiff_t n) { return !memcmp(a, b, (size_t)n * sizeof *a); }

static bool same_moments(const optimizer *a, const optimizer *b) { return a->bytes == b->bytes && !memcmp(a->moments, b->moments, a->bytes); }

static void expect_same_trainer(const trainer *a, const trainer *b, const char *what) {
    ptrdiff_t n = a->model.weights.total;
    EXPECT(n > 0 && n == b->model.weights.total, "%s", what);
    EXPECT(same_bits(a->model.weights.values, b->model.weights.values, n), "%s: the weights differ", what);
    EXPECT(same_moments(&a->optimizer, &b->optimizer), "%s: the moments differ", what);
    for (int i = 0; i < a->memory.layers * STATE_KINDS; i++)
        EXPECT(!state_is_replaced(&a->memory, i) ||
                   same_bits(a->memory.rows[i].x, b->memory.rows[i].x, a->memory.sequences * a->memory.rows[i].width),
               "%s: what is carried on differs", what);
    EXPECT(a->step == b->step && a->tokens == b->tokens && a->optimizer.steps == b->optimizer.steps, "%s: the counts differ", what);
}

/* ---- learning --------------------------------------------------------------------------------------------------------------------- */

static void learns_one_text_by_heart(recipe r) {
    char path[PATH_BYTES];
    strcpy(r.data_path, world_path(path, "page-data"));
    r.model.hidden_size = 32, r.model.intermediate_size = 48, r.model.max_position_embeddings = 32;
    r.schedule.learning_rate = 0.01, r.optimizer.weight_decay = 0;
    r.batch_tokens = 256, r.steps = 160;
    dataset *d = world_open(r.data_path);
    trainer tr;
    step_report report = {0};
    double first = 0;
    EXPECT_OK(trainer_open(&tr, &r, d));
    EXPECT(d->domain[0].summary.train_tokens < 1000, "%d tokens", (int)d->domain[0].summary.train_tokens);
    while (trainer_budget_used(&tr) < 1) {
        EXPECT_OK(trainer_step(&tr, &report));
        if (report.step == 1) first = report.loss;
    }
    EXPECT(first > 4 && report.loss < 0.15, "%s, experts %s, moments %s: loss from %.3f to %.3f", r.model.family, r.optimizer.experts,
           r.optimizer.moments, first, report.loss);
    trainer_close(&tr);
    dataset_free(d);
}

static void a_page_is_learned_by_heart(void) {
    world_write_domain("page", 3, 2, 90);
    world_build_dataset("page-data", 1, (const char *const[]){"page"}, 300);
    learns_one_text_by_heart(world_recipe("olmoe"));
    learns_one_text_by_heart(recipe_of_experts("olmoe", "adamw_in_backward"));
    learns_one_text_by_heart(factored_recipe("olmoe"));
    learns_one_text_by_heart(bf16_moments_recipe("adamw"));
    learns_one_text_by_heart(world_recipe("llama"));
    learns_one_text_by_heart(world_recipe("lstm_moe"));
}

/* ---- the same, again ------------------------------------------------------------------------------------------------------------- */

/* The run as others open it: what is evaluated is the model that was trained, without noise. */
static void expect_same_when_loaded(const char *name, trainer *tr, const char *run) {
    loaded_model m;
    evaluation trained, loaded;
    EXPECT_OK(loaded_model_open(&m, run, VALUES_STORED));
    EXPECT_OK(evaluation_open(&trained, &tr->model, 2, 16));
    EXPECT_OK(evaluation_open(&loaded, &m.model, 2, 16));
    EXPECT_OK(evaluate_dataset(&trained, &tr->tape, &tr->model, tr->data, 64));
    EXPECT_OK(evaluate_dataset(&loaded, &tr->tape, &m.model, tr->data, 64));
    EXPECT(trained.total.nats == loaded.total.nats && trained.total.tokens == loaded.total.tokens && loaded.total.tokens > 0,
           "%s: %.17g nats trained, %.17g loaded", name, trained.total.nats, loaded.total.nats);
    evaluation_close(&trained), evaluation_close(&loaded);
    loaded_model_close(&m);
}

static void resumes_bit_for_bit(const char *name, recipe r, int half) {
    char run[PATH_BYTES], newest[PATH_BYTES];
    dataset *d = world_open(r.data_path);
    trainer whole, first, second;
    double losses[20], again[20];
    step_report x, y;
    world_path(run, name);
    EXPECT_OK(trainer_open(&whole, &r, d));
    run_steps(&whole, 2 * half, losses);

    EXPECT_OK(trainer_open(&first, &r, d));
    run_steps(&first, half, again);
    EXPECT_OK(trainer_save(&first, run));
    expect_same_when_loaded(name, &first, run);
    trainer_close(&first);

    EXPECT_OK(trainer_open(&second, &r, d));
    memset(second.model.weights.values, 0, sizeof(real) * (size_t)second.model.weights.total);
    EXPECT_OK(checkpoint_resolve(newest, run));
    EXPECT_OK(trainer_resume(&second, newest));
    run_steps(&second, half, again + half);
    expect_same_trainer(&whole, &second, name);
    EXPECT(!memcmp(losses, again, sizeof *losses * 2 * (size_t)half), "%s: the losses differ: the last are %.17g and %.17g", name, losses[2 * half - 1], again[2 * half - 1]);
    EXPECT_OK(trainer_step(&whole, &x));
    EXPECT_OK(trainer_step(&second, &y));
    EXPECT(x.loss_z == y.loss_z && x.learning_rate == y.learning_rate && x.used == y.used, "%s: z %.17g and %.17g", name, x.loss_z, y.loss_z);
    trainer_close(&whole), trainer_close(&second);
    dataset_free(d);
}

static void twenty_steps_equal_ten_saved_loaded_and_ten(void) {
    static const char *const families[] = {"olmoe", "mixtral", "qwen3_moe", "llama", "qwen3"};
    for (int i = 0; i < 5; i++) resumes_bit_for_bit(families[i], world_recipe(families[i]), 10);
    resumes_bit_for_bit("factored", factored_recipe("olmoe"), 10);
    resumes_bit_for_bit("in-backward", recipe_of_experts("olmoe", "adamw_in_backward"), 10);
    resumes_bit_for_bit("bf16-moments", bf16_moments_recipe("adamw"), 10);
    resumes_bit_for_bit("bf16-moments-in-backward", bf16_moments_recipe("adamw_in_backward"), 10);
    recipe r = world_recipe("olmoe");
    r.micro_batch_tokens = 32;
    resumes_bit_for_bit("micro-batches", r, 10);
    strcpy(r.optimizer.experts, "factored");
    resumes_bit_for_bit("factored-micro-batches", r, 10);
    r.optimizer.lazy_experts = true, r.model.moe.experts = 48; /* so many that some go without tokens */
    resumes_bit_for_bit("factored-lazy-experts", r, 10);
    strcpy(r.optimizer.experts, "adamw");
    resumes_bit_for_bit("lazy-experts", r, 10);
    r = lstm_recipe();
    resumes_bit_for_bit("lstm_moe", r, 10);
    r.micro_batch_tokens = 32, r.model.dense_size = 24, r.model.dropout = 0.1;
    r.model.softmax_samples = 24;
    resumes_bit_for_bit("lstm_moe-projected-micro-batches-dropout-sampled", r, 10);
}

/* A run may go on with moments in another type: what it has is rounded once, or is exact already. */
static void moments_change_their_type(const char *from, const char *to) {
    char name[64], run[PATH_BYTES], newest[PATH_BYTES];
    recipe r = world_recipe("olmoe");
    dataset *d = world_open(r.data_path);
    trainer first, second;
    snprintf(name, sizeof name, "moments-%s-%s", from, to);
    world_path(run, name);
    strcpy(r.optimizer.moments, from);
    EXPECT_OK(trainer_open(&first, &r, d));
    run_steps(&first, 3, NULL);
    EXPECT_OK(trainer_save(&first, run));
    strcpy(r.optimizer.moments, to);
    EXPECT_OK(trainer_open(&second, &r, d));
    EXPECT_OK(checkpoint_resolve(newest, run));
    EXPECT_OK(trainer_resume(&second, newest));
    for (int i = 0; i < first.optimizer.n_moments; i++) {
        const weight_moment *a = &first.optimizer.moment[i], *b = &second.optimizer.moment[i];
        const weight_moment *reals = a->type == STORED_REAL ? a : b, *halves = a == reals ? b : a;
        for (ptrdiff_t j = 0; j < moment_size(a) && a->type != b->type; j++) {
            const double expected = (double)((const real *)reals->values)[j], half = bf16_value(((const uint16_t *)halves->values)[j]);
            EXPECT(fabs(half - expected) <= 0x1p-8 * fabs(expected), "%s %td: %g and %g", a->name, j, expected, half);
        }
    }
    run_steps(&second, 3, NULL);
    trainer_close(&first), trainer_close(&second);
    dataset_free(d);
}

static void moments_may_change_their_type(void) {
    moments_change_their_type("f32", "bf16");
    moments_change_their_type("bf16", "f32");
}

static const way *find_way(const char *name) {
    for (int i = 0; i < N_WAYS; i++)
        if (!strcmp(ways[i].name, name)) return &ways[i];
    CHECK(false, "no way is called %s", name);
}

/* In two micro-batches, with every loss; the first layer is dense. */
static recipe recipe_of_way(const way *w) {
    recipe r = world_recipe("olmoe");
    r.model.moe = with_defaults(w->c);
    r.model.num_hidden_layers = 3, r.model.dense_layers = 1, r.micro_batch_tokens = 64;
    for (int i = 0; i < BALANCE_LOSSES; i++) r.model.moe.balance[i] = router_takes_loss(r.model.moe.router, i) ? 0.01 : 0;
    return r;
}

static void every_router_resumes_bit_for_bit(void) {
    for (int i = 0; i < N_WAYS; i++) {
        bool has_weights_of_its_own = i == 0 || strcmp(ways[i].c.kind, ways[i - 1].c.kind) || ways[i].c.shared_experts > 0;
        if (has_weights_of_its_own) resumes_bit_for_bit(ways[i].name, recipe_of_way(&ways[i]), 2);
    }
}

static void expect_same_steps(trainer *a, trainer *b, const char *what) {
    double loss[8], other[8];
    run_steps(a, 8, loss), run_steps(b, 8, other);
    expect_same_trainer(a, b, what);
    EXPECT(!memcmp(loss, other, sizeof loss), "%s: the losses differ: the last are %.17g and %.17g", what, loss[7], other[7]);
}

static void packing_changes_no_bit(recipe r) {
    dataset *d = world_open(r.data_path);
    trainer packed, plain;
    strcpy(r.pack_weights, "true");
    EXPECT_OK(trainer_open(&packed, &r, d));
    strcpy(r.pack_weights, "false");
    EXPECT_OK(trainer_open(&plain, &r, d));
    EXPECT(packed.model.weights.packed && !plain.model.weights.packed, "both are packed");
    expect_same_steps(&packed, &plain, "packed and plain weights");
    trainer_close(&packed), trainer_close(&plain);
    dataset_free(d);
}

static void experts_of_few_rows_have_no_packed_copies(void) {
    recipe r = world_recipe("olmoe");
    strcpy(r.precision, "f32");
    dataset *d = world_open(r.data_path);
    trainer tr;
    EXPECT_OK(trainer_open(&tr, &r, d));
    EXPECT(recipe_packing(&tr.recipe).expert_rows < 256, "%g rows an expert", recipe_packing(&tr.recipe).expert_rows);
    for (int i = 0; i < tr.model.weights.n; i++) {
        const weight *w = tr.model.weights.row[i];
        EXPECT(!w->packed == (w->role != ROLE_MATRIX), "row %d is %spacked", i, w->packed ? "" : "not ");
    }
    trainer_close(&tr), dataset_free(d);
}

static void packed_weights_change_no_bit(void) {
    packing_changes_no_bit(world_recipe("olmoe"));
    packing_changes_no_bit(factored_recipe("olmoe"));
    packing_changes_no_bit(lstm_recipe());
}

/* Without clipping it does not matter when an expert is updated. */
static void updates_in_backward_change_no_bit(recipe r) {
    dataset *d = world_open(r.data_path);
    trainer after, during;
    r.optimizer.clip = r.optimizer.clip_matrix = 0;
    EXPECT_OK(trainer_open(&after, &r, d));
    strcpy(r.optimizer.experts, "adamw_in_backward");
    EXPECT_OK(trainer_open(&during, &r, d));
    expect_same_steps(&after, &during, "experts updated after backward and during it");
    trainer_close(&after), trainer_close(&during);
    dataset_free(d);
}

static void when_experts_are_updated_does_not_matter(void) {
    recipe r = world_recipe("olmoe");
    updates_in_backward_change_no_bit(r);
    strcpy(r.optimizer.moments, "bf16");
    updates_in_backward_change_no_bit(r);
    r.model.moe.experts = 80; /* in parts, some without tokens */
    updates_in_backward_change_no_bit(r);
    r.micro_batch_tokens = 32;
    updates_in_backward_change_no_bit(r);
    r.optimizer.lazy_experts = true;
    updates_in_backward_change_no_bit(r);
    updates_in_backward_change_no_bit(lstm_recipe());
}

static void threads_do_not_change_a_bit(const char *name, recipe r) {
    dataset *d = world_open(r.data_path);
    trainer one, more;
    double loss[8], loss_of_more[8];
    r.model.hidden_size = 32, r.model.moe.experts = r.model.moe.experts > 1 ? 8 : 1;
    EXPECT_OK(trainer_open(&one, &r, d));
    run_steps(&one, 8, loss);
    for (int threads = 2; threads <= 3; threads++) {
        char what[64];
        snprintf(what, sizeof what, "%s, %d threads", name, threads);
        r.threads = threads;
        EXPECT_OK(trainer_open(&more, &r, d));
        run_steps(&more, 8, loss_of_more);
        expect_same_trainer(&one, &more, what);
        EXPECT(!memcmp(loss, loss_of_more, sizeof loss), "%s: the losses differ: the last are %.17g and %.17g", what, loss[7], loss_of_more[7]);
        trainer_close(&more);
    }
    trainer_close(&one);
    dataset_free(d);
}

static void one_two_and_three_threads_agree(void) {
    threads_do_not_change_a_bit("olmoe", world_recipe("olmoe"));
    threads_do_not_change_a_bit("factored", factored_recipe("olmoe"));
    threads_do_not_change_a_bit("in backward", recipe_of_experts("olmoe", "adamw_in_backward"));
    threads_do_not_change_a_bit("moments in bf16", bf16_moments_recipe("adamw"));
    threads_do_not_change_a_bit("llama", world_recipe("llama"));
    recipe r = lstm_recipe();
    r.model.dropout = 0.2, r.model.softmax_samples = 24;
    threads_do_not_change_a_bit("lstm_moe", r);
    threads_do_not_change_a_bit("hierarchical", recipe_of_way(find_way("hierarchical")));
}

/* Dropped numbers too are those of the whole batch. */
static void parts_sum_to_the_whole(const char *family) {
    recipe r = world_recipe(family);
    r.model.moe.balance[BALANCE_SWITCH] = r.model.moe.balance[BALANCE_Z] = 0, r.model.dropout = 0.1;
    strcpy(r.precision, "f32"); /* a step of two sequences does not round to bf16 */
    dataset *d = world_open(r.data_path);
    trainer whole, parts;
    step_report x, y;
    EXPECT_OK(trainer_open(&whole, &r, d));
    r.micro_batch_tokens = 32;
    EXPECT_OK(trainer_open(&parts, &r, d));
    EXPECT_OK(trainer_step(&whole, &x));
    EXPECT_OK(trainer_step(&parts, &y));
    double apart = 0, length = 0;
    for (ptrdiff_t i = 0; i < whole.model.weights.total; i++) {
        double a = whole.model.weights.gradients[i], b = parts.model.weights.gradients[i];
        apart += (a - b) * (a - b), length += a * a;
    }
    EXPECT(length > 0 && sqrt(apart / length) < 1e-5, "%s: relative distance of the gradients %g", family, sqrt(apart / length));
    EXPECT(fabs(x.loss - y.loss) < 1e-5 * x.loss, "%s: %.9g and %.9g", family, x.loss, y.loss);
    EXPECT(whole.trace.load[4] == parts.trace.load[4] && whole.trace.load[7] == parts.trace.load[7], "%s: the loads differ", family);
    trainer_close(&whole), trainer_close(&parts);
    dataset_free(d);
}

static void micro_batches_sum_to_the_batch(void) {
    parts_sum_to_the_whole("olmoe");
    parts_sum_to_the_whole("lstm_moe");
}

/* ---- given weights --------------------------------------------------------------------------------------------------------------- */

static void a_run_begins_with_given_weights(void) {
    char from[PATH_BYTES], run[PATH_BYTES], other_data[PATH_BYTES];
    recipe r = world_recipe("mixtral");
    dataset *d = world_open(r.data_path);
    trainer first, second;
    world_path(from, "given"), world_path(run, "from-given");
    EXPECT_OK(trainer_open(&first, &r, d));
    run_steps(&first, 3, NULL);
    EXPECT_OK(trainer_save(&first, from));

    strcpy(r.initial, from);
    r.seed = 9, r.model.max_position_embeddings = 32, r.model.moe.balance[BALANCE_SWITCH] = 0.1, r.model.moe.capacity = 2;
    EXPECT_OK(trainer_open(&second, &r, d));
    EXPECT_OK(trainer_take_initial(&second));
    EXPECT(same_bits(first.model.weights.values, second.model.weights.values, first.model.weights.total), "the weights differ");
    EXPECT(same_bits(first.model.weights.packed, second.model.weights.packed, first.model.weights.total_packed), "the packed weights differ");
    EXPECT(second.step == 0 && second.optimizer.steps == 0 && ((const real *)second.optimizer.moments)[0] == 0, "more than weights was taken");
    run_steps(&second, 2, NULL);
    trainer_close(&second);

    r.model.num_hidden_layers = 3, r.model.moe.top_k = 1;
    EXPECT_OK(trainer_open(&second, &r, d));
    EXPECT_ERROR(trainer_take_initial(&second), LAMP_INVALID, "recipe's; set these keys as it has them:\n  model.num_hidden_layers: 3 -> 2\n  router.top_k: 1 -> 2\n");
    trainer_close(&second);
    r.model.num_hidden_layers = 2, r.model.moe.top_k = 2;

    train_report report; /* what was begun goes on without them */
    r.steps = 2;
    EXPECT_OK(train_run(&report, &r, run, "test", &(train_watcher){0}));
    EXPECT_OK(file_remove_folder(from));
    EXPECT_OK(train_run(&report, &r, run, "test", &(train_watcher){0}));
    EXPECT_ERROR(train_run(&report, &r, world_path(run, "never"), "test", &(train_watcher){0}), LAMP_IO, "expected a model folder, a run folder or a GGUF file");
    EXPECT(!file_exists(run), "a run was begun without its weights");

    EXPECT_OK(trainer_save(&first, from));
    world_build_dataset("other-words", 1, (const char *const[]){"stone"}, 290);
    dataset *other = world_open(world_path(other_data, "other-words"));
    r.model.vocab_size = first.recipe.model.vocab_size;
    EXPECT_OK(trainer_open(&second, &r, other));
    EXPECT_ERROR(trainer_take_initial(&second), LAMP_INVALID, "tokenizer.json is not the tokenizer of this dataset");
    trainer_close(&first), trainer_close(&second);
    dataset_free(d), dataset_free(other);
}

/* ---- memory ------------------------------------------------------------------------------------------------------------------------ */

static void nothing_is_allocated_after_the_first_steps(void) {
    static const char *const families[] = {"olmoe", "llama", "lstm_moe", "olmoe"};
    for (int i = 0; i < 4; i++) {
        recipe r = world_recipe(families[i]);
        if (i < 3) r.micro_batch_tokens = 32;
        else strcpy(r.optimizer.experts, "factored");
        dataset *d = world_open(r.data_path);
        trainer tr;
        EXPECT_OK(trainer_open(&tr, &r, d));
        run_steps(&tr, 2, NULL);
        long allocations = test_allocations();
        size_t bytes = tape_bytes(&tr.tape);
        run_steps(&tr, 10, NULL);
        EXPECT(test_allocations() == allocations, "%s: %ld allocations", families[i], test_allocations() - allocations);
        EXPECT(tape_bytes(&tr.tape) == bytes, "%s: the tape grew from %zu to %zu bytes", families[i], bytes, tape_bytes(&tr.tape));
        trainer_close(&tr);
        dataset_free(d);
    }
}

/* Layers enough that one expert weight is little beside all of them. Where a step is one micro-batch, of consumed experts there is one gradient
 * at a time; of moments of factored ones there are rows and columns. */
static void consumed_experts_take_little_memory(void) {
    enum { SETTINGS = 4 };
    static const struct {
        const char *experts_by;
        int64_t micro_batch_tokens;
    } settings[SETTINGS] = {{"adamw", 0}, {"factored", 64}, {"factored", 0}, {"adamw_in_backward", 0}};
    int64_t bytes[SETTINGS] = {0}, experts = 0, largest = 0;
    size_t activations[SETTINGS];
    recipe r = world_recipe("olmoe");
    r.model.hidden_size = 32, r.model.intermediate_size = 64, r.model.moe.experts = 32, r.model.num_hidden_layers = 4;
    dataset *d = world_open(r.data_path);
    for (int i = 0; i < SETTINGS; i++) {
        trainer tr;
        step_report report = {0};
        strcpy(r.optimizer.experts, settings[i].experts_by), r.micro_batch_tokens = settings[i].micro_batch_tokens;
        EXPECT_OK(trainer_open(&tr, &r, d));
        for (int step = 0; step < 3; step++) EXPECT_OK(trainer_step(&tr, &report));
        bytes[i] = report.bytes, activations[i] = tape_bytes(&tr.tape), experts = 0;
        const weights *table = &tr.model.weights;
        for (int j = 0; j < table->n; j++) {
            const weight *w = table->row[j];
            EXPECT(w->step->ready && w->step->uses == 0, "%s of layer %d: %d uses are left", w->kind, w->layer, w->step->uses);
            if (w->role == ROLE_EXPERT) experts += (int64_t)sizeof(real) * weight_size(w), largest = (int64_t)sizeof(real) * weight_size(w);
        }
        EXPECT(table->total_gradients == table->total - (i >= 2 ? experts / (int64_t)sizeof(real) : 0), "%td gradients", table->total_gradients);
        trainer_close(&tr);
    }
    int64_t states = 2 * experts * (1 - (32 + 64) / (2.0 * 32 * 64));
    EXPECT(bytes[0] - bytes[1] - (int64_t)(activations[0] - activations[1]) == states, "%lld bytes less, expected %lld",
           (long long)(bytes[0] - bytes[1]), (long long)states);
    EXPECT(bytes[0] - bytes[2] >= states + experts - 2 * largest, "%lld bytes less, expected %lld", (long long)(bytes[0] - bytes[2]),
           (long long)(states + experts - 2 * largest));
    EXPECT(bytes[0] - bytes[3] >= experts - 2 * largest, "%lld bytes less, expected %lld", (long long)(bytes[0] - bytes[3]),
           (long long)(experts - 2 * largest));
    dataset_free(d);
}

static void memory_is_known_before_it_is_taken(void) {
    static const struct {
        const char *family, *experts_by;
        int64_t experts, shared, micro_batch_tokens;
    } settings[] = {{"olmoe", "adamw", 8, 0, 0}, {"olmoe", "adamw", 64, 0, 0},    {"mixtral", "adamw", 8, 0, 256},
                    {"llama", "adamw", 1, 0, 0}, {"olmoe", "factored", 32, 0, 0}, {"olmoe", "factored", 32, 0, 512},
                    {"olmoe", "adamw_in_backward", 32, 0, 0},
                    {"olmoe", "adamw", 8, 2, 0}, {"lstm_moe", "adamw", 8, 0, 0},  {"lstm_moe", "factored", 32, 0, 256},
                    {"gpt_oss", "adamw", 8, 0, 0}, {"deepseek_v2", "adamw", 8, 2, 0}, {"deepseek_v2", "factored", 32, 1, 256}};
    for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
        recipe r = world_recipe(settings[i].family);
        r.model.hidden_size = 64, r.model.intermediate_size = 128, r.model.num_hidden_layers = 4, r.model.max_position_embeddings = 64;
        r.model.moe.experts = settings[i].experts, r.model.moe.shared_experts = settings[i].shared;
        if (!strcmp(settings[i].family, "deepseek_v2")) r.model.latent = (latent_attention){24, 32, 12, 8, 20}, r.model.num_key_value_heads = 4;
        r.batch_tokens = 1024, r.micro_batch_tokens = settings[i].micro_batch_tokens;
        strcpy(r.optimizer.experts, settings[i].experts_by);
        dataset *d = world_open(r.data_path);
        trainer tr;
        step_report report = {0};
        EXPECT_OK(trainer_open(&tr, &r, d));
        for (int step = 0; step < 2; step++) EXPECT_OK(trainer_step(&tr, &report));
        double foretold = (double)memory_needs_total(&tr.needs), taken = (double)report.bytes;
        EXPECT(foretold > 0.8 * taken && foretold < 1.2 * taken, "case %zu: %g bytes were foretold, %g taken (%zu of them by activations, not %lld)", i,
               foretold, taken, tape_bytes(&tr.tape), (long long)tr.needs.activations);
        EXPECT_OK(memory_needs_check(&tr.needs, memory_needs_total(&tr.needs)));
        EXPECT_ERROR(memory_needs_check(&tr.needs, memory_needs_total(&tr.needs) - 1), LAMP_NO_MEMORY, "of memory and may have");
        trainer_close(&tr);
        dataset_free(d);
    }
}

/* ---- budgets ----------------------------------------------------------------------------------------------------------------------- */

static int64_t run_to_the_end(const recipe *r, const dataset *d, step_report *last) {
    trainer tr;
    EXPECT_OK(trainer_open(&tr, r, d));
    while (trainer_budget_used(&tr) < 1) {
        double before = trainer_budget_used(&tr);
        EXPECT_OK(trainer_step(&tr, last));
        bool by_the_clock = r->steps == 0 && r->tokens == 0; /* then the step's own end is not known while it runs */
        double expected = schedule_learning_rate(&r->schedule, last->used);
        EXPECT(by_the_clock ? last->learning_rate > 0 : last->learning_rate == expected, "step %d: learning rate %g, expected %g", (int)last->step,
               last->learning_rate, expected);
        EXPECT(last->used > before, "step %d: the budget is used %g, before %g", (int)last->step, last->used, before);
    }
    int64_t steps = tr.step;
    trainer_close(&tr);
    return steps;
}

static void a_budget_ends_where_it_says(void) {
    recipe r = world_recipe("llama");
    dataset *d = world_open(r.data_path);
    step_report last;
    r.steps = 7;
    EXPECT(run_to_the_end(&r, d, &last) == 7 && last.used == 1, "%d steps", (int)last.step);
    r.steps = 0, r.tokens = 5 * r.batch_tokens;
    strcpy(r.schedule.shape, "wsd"), r.schedule.decay = 0.5;
    EXPECT(run_to_the_end(&r, d, &last) == 5 && last.tokens == r.tokens && last.used == 1, "%d tokens", (int)last.tokens);
    r.tokens -= 1; /* the last step is a whole one */
    EXPECT(run_to_the_end(&r, d, &last) == 5 && last.used == 1, "%d tokens", (int)last.tokens);
    r.tokens = 0, r.minutes = 0.002;
    EXPECT(run_to_the_end(&r, d, &last) >= 1 && last.used == 1, "%d steps", (int)last.step);
    r.minutes = 0;
    trainer tr;
    EXPECT_ERROR(trainer_open(&tr, &r, d), LAMP_INVALID, "no budget");
    dataset_free(d);
}

/* ---- what is not finite ------------------------------------------------------------------------------------------------------------ */

static void poison(const weights *table) {
    for (int i = 0; i < table->n; i++)
        if (!strcmp(table->row[i]->kind, "norm")) table->values[table->row[i]->offset] = NAN;
}

static void a_loss_that_is_not_finite_changes_nothing(recipe r) {
    dataset *d = world_open(r.data_path);
    trainer tr, same;
    step_report report;
    EXPECT_OK(trainer_open(&tr, &r, d));
    EXPECT_OK(trainer_open(&same, &r, d));
    run_steps(&tr, 2, NULL), run_steps(&same, 2, NULL);
    ptrdiff_t bytes = (ptrdiff_t)sizeof(real) * tr.model.weights.total;

    poison(&tr.model.weights), poison(&same.model.weights);
    for (int bad = 1; bad <= 2; bad++) {
        EXPECT_OK(trainer_step(&tr, &report));
        EXPECT(!report.applied && !isfinite(report.loss) && tr.bad_steps == bad, "bad step %d: loss %g", tr.bad_steps, report.loss);
    }
    EXPECT(tr.step == 4 && tr.optimizer.steps == 2, "step %d", (int)tr.step);
    EXPECT(same_moments(&tr.optimizer, &same.optimizer), "the moments changed");
    EXPECT(!memcmp(tr.model.weights.values, same.model.weights.values, (size_t)bytes), "the weights changed");

    /* One good step, and the count of three begins again. */
    for (int i = 0; i < tr.model.weights.n; i++)
        if (!strcmp(tr.model.weights.row[i]->kind, "norm")) tr.model.weights.values[tr.model.weights.row[i]->offset] = 1;
    EXPECT_OK(trainer_step(&tr, &report));
    EXPECT(report.applied && tr.bad_steps == 0 && tr.optimizer.steps == 3, "%d bad steps", tr.bad_steps);
    poison(&tr.model.weights);
    EXPECT_OK(trainer_step(&tr, &report));
    EXPECT_OK(trainer_step(&tr, &report));
    EXPECT_ERROR(trainer_step(&tr, &report), LAMP_DIVERGED, "not finite for 3 steps in a row");
    EXPECT(report.step == 8 && !report.applied, "step %d", (int)report.step);
    trainer_close(&tr), trainer_close(&same);
    dataset_free(d);
}

static void a_step_that_is_not_finite_is_not_applied(void) {
    a_loss_that_is_not_finite_changes_nothing(world_recipe("olmoe"));
    a_loss_that_is_not_finite_changes_nothing(factored_recipe("olmoe"));
    a_loss_that_is_not_finite_changes_nothing(recipe_of_experts("olmoe", "adamw_in_backward"));
}

/* Whatever stands in its memory before a stream turns elsewhere, it does not matter afterwards; where it reads on, it does. */
static void streams_forget_where_they_turn(void) {
    recipe r = lstm_recipe();
    dataset *d = world_open(r.data_path);
    for (r.stretch = 1; r.stretch <= 5; r.stretch += 4) {
        trainer one, other;
        double loss[3], other_loss[3];
        EXPECT_OK(trainer_open(&one, &r, d));
        EXPECT_OK(trainer_open(&other, &r, d));
        run_steps(&one, 3, loss);
        for (int i = 0; i < 3; i++) {
            real *cell = state_of(&other.memory, 2, STATE_CELL);
            for (int j = 0; j < other.memory.sequences * r.model.hidden_size; j++) cell[j] = (real)0.7;
            run_steps(&other, 1, other_loss + i);
        }
        EXPECT(loss[0] == other_loss[0], "stretch %d: the first sequences do not begin anew", (int)r.stretch);
        EXPECT((loss[1] == other_loss[1] && loss[2] == other_loss[2]) == (r.stretch == 1), "stretch %d: losses %g and %g", (int)r.stretch, loss[1],
               other_loss[1]);
        trainer_close(&one), trainer_close(&other);
    }
    dataset_free(d);
}

static void what_is_not_finite_is_not_carried_on(void) {
    recipe r = lstm_recipe();
    dataset *d = world_open(r.data_path);
    trainer tr;
    step_report report;
    EXPECT_OK(trainer_open(&tr, &r, d));
    run_steps(&tr, 1, NULL);
    EXPECT(state_carries(&tr.memory) && state_of(&tr.memory, 0, STATE_HIDDEN)[7] != 0, "nothing is carried on");
    state_of(&tr.memory, 0, STATE_CELL)[7] = NAN;
    EXPECT_OK(trainer_step(&tr, &report));
    EXPECT(!report.applied, "the step was applied");
    run_steps(&tr, 1, NULL);
    trainer_close(&tr);
    dataset_free(d);
}

static int poison_instead_of_writing(void *context, const trainer *tr, const char *prompt, buffer *text) {
    (void)context, (void)prompt, (void)text;
    poison(&tr->model.weights);
    return LAMP_OK;
}

static void after_diverging_the_last_good_checkpoint_is_the_latest(void) {
    char run[PATH_BYTES], newest[PATH_BYTES], file[PATH_BYTES];
    recipe r = world_recipe("olmoe");
    train_report report;
    mapped_file map = {0};
    train_watcher watcher = {.sample = poison_instead_of_writing};
    r.checkpoint_every = 2, r.eval_every = 3;
    EXPECT_ERROR(train_run(&report, &r, world_path(run, "diverges"), "test", &watcher), LAMP_DIVERGED, "step 6");
    EXPECT(report.last.step == 6 && !report.finished, "step %d", (int)report.last.step);
    EXPECT_OK(checkpoint_resolve(newest, run));
    EXPECT(!strcmp(file_name(newest), "step-00000002"), "%s", newest);
    EXPECT_OK(file_join(file, run, "events.jsonl"));
    EXPECT_OK(file_map(&map, file));
    buffer text = {0};
    buffer_append(&text, (const char *)map.bytes, map.length);
    EXPECT(strstr(text.bytes, "step not applied") && strstr(text.bytes, "\"stopped\""), "%s", text.bytes);
    buffer_release(&text);
    file_unmap(&map);
}

/* ---- runs -------------------------------------------------------------------------------------------------------------------------- */

static void a_changed_recipe_is_refused(void) {
    char run[PATH_BYTES];
    recipe r = world_recipe("olmoe"), changed;
    train_report report;
    train_watcher watcher = {0};
    r.steps = 4, r.checkpoint_every = 2;
    EXPECT_OK(train_run(&report, &r, world_path(run, "changed"), "test", &watcher));
    EXPECT(report.finished && report.last.step == 4 && isfinite(score_loss(&report.validation)), "step %d", (int)report.last.step);
    changed = r, changed.schedule.learning_rate = 0.01, changed.seed = 5;
    EXPECT_ERROR(train_run(&report, &changed, run, "test", &watcher), LAMP_INVALID, "optim.learning_rate: 0.003 -> 0.01");
    EXPECT(strstr(lamp_error_message(), "train.seed: 1 -> 5"), "%s", lamp_error_message());
    changed = r, changed.threads = 2;
    EXPECT_OK(train_run(&report, &changed, run, "test", &watcher));
    EXPECT(report.finished, "not finished");
}

static void another_dataset_under_the_same_path_is_refused(void) {
    char run[PATH_BYTES], data[PATH_BYTES];
    recipe r = world_recipe("olmoe");
    train_report report;
    train_watcher watcher = {0};
    world_write_domain("moved", 5, 3, 200), world_write_domain("other", 6, 3, 200);
    world_build_dataset("moved-data", 1, (const char *const[]){"moved"}, 300);
    strcpy(r.data_path, world_path(data, "moved-data"));
    r.steps = 2, r.model.vocab_size = 400;
    EXPECT_OK(train_run(&report, &r, world_path(run, "moved-run"), "test", &watcher));
    EXPECT_OK(file_remove_folder(data));
    world_build_dataset("moved-data", 1, (const char *const[]){"other"}, 300);
    EXPECT_ERROR(train_run(&report, &r, run, "test", &watcher), LAMP_CHECKPOINT, "point data.path at the same dataset");
}

static int write_sample(void *context, const trainer *tr, const char *prompt, buffer *text) {
    int *n_samples = context;
    ++*n_samples;
    EXPECT(*prompt && tr->step == 3 * *n_samples, "step %d, prompt \"%s\"", (int)tr->step, prompt);
    return buffer_append_text(text, "words");
}

/* Step by step over several sessions, validation and samples on the way, a run is what it is in one go. */
static void sessions_do_not_show_in_the_weights(void) {
    char one[PATH_BYTES], several[PATH_BYTES], path[PATH_BYTES], line[64];
    recipe r = world_recipe("mixtral");
    train_report report;
    trainer a, b;
    int n_samples = 0;
    train_watcher watcher = {.context = &n_samples, .sample = write_sample};
    r.steps = 6, r.checkpoint_every = 2, r.eval_every = 3, r.keep_checkpoints = 3;
    EXPECT_OK(train_run(&report, &r, world_path(one, "one"), "test", &watcher));
    EXPECT(n_samples == 2, "%d samples", n_samples);

    world_path(several, "several");
    dataset *d = world_open(r.data_path);
    for (int end = 1; end <= 3; end += 2) { /* as if killed while a later checkpoint was being written */
        char partial[PATH_BYTES];
        EXPECT_OK(trainer_open(&a, &r, d));
        if (end > 1) {
            EXPECT_OK(checkpoint_resolve(path, several));
            EXPECT_OK(trainer_resume(&a, path));
        }
        run_steps(&a, end - (int)a.step, NULL);
        EXPECT_OK(trainer_save(&a, several));
        EXPECT_OK(file_join(partial, several, "checkpoints/.partial"));
        EXPECT_OK(file_make_folder(partial));
        EXPECT_OK(file_join(path, partial, "config.json"));
        EXPECT_OK(file_write_whole(path, "{", 1));
        trainer_close(&a);
    }
    EXPECT_OK(train_run(&report, &r, several, "test", &(train_watcher){0}));
    EXPECT(report.finished && report.last.step == 6, "step %d", (int)report.last.step);
    EXPECT_OK(trainer_open(&a, &r, d));
    EXPECT_OK(trainer_open(&b, &r, d));
    EXPECT_OK(checkpoint_resolve(path, one));
    EXPECT_OK(trainer_resume(&a, path));
    EXPECT_OK(checkpoint_resolve(path, several));
    EXPECT_OK(trainer_resume(&b, path));
    expect_same_trainer(&a, &b, "sessions");
    trainer_close(&a), trainer_close(&b);
    dataset_free(d);
    for (int step = 2; step <= 6; step += 2) {
        snprintf(line, sizeof line, "one/checkpoints/step-%08d/model.safetensors", step);
        EXPECT(file_exists(world_path(path, line)), "%s is missing", line);
    }
}

/* ---- flips ------------------------------------------------------------------------------------------------------------------------ */

static const struct products *exact_products;
static void negated_linear(real *y, rows_of x, const matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out) {
    exact_products->linear(y, x, w, g, in, out);
    for (ptrdiff_t i = 0; i < g.start[g.groups] * out; i++) y[i] = -y[i];
}

/* Routers that do not round flip nothing; routers that read every logit the wrong way round flip all, of four experts and two choices. */
static void flips_are_counted(void) {
    recipe r = world_recipe("olmoe");
    dataset *d = world_open(r.data_path);
    trainer tr;
    evaluation e;
    double share[2];
    EXPECT_OK(trainer_open(&tr, &r, d));
    EXPECT_OK(evaluation_open(&e, &tr.model, 3, 16));
    struct kernels k = *tr.tape.k;
    struct products negated = k.products;
    exact_products = tr.tape.router_products;
    negated.linear = negated_linear, tr.tape.k = &k;
    k.products_bf16 = exact_products;
    EXPECT_OK(flips_measure(share, &e, &tr.tape, &tr.model, d, 64));
    EXPECT(share[0] == 0 && share[1] == 0, "the same routers: %g and %g flip", share[0], share[1]);
    double loss = score_loss(&e.total);
    k.products_bf16 = &negated;
    EXPECT_OK(flips_measure(share, &e, &tr.tape, &tr.model, d, 64));
    EXPECT(share[0] == 1 && share[1] > 0.1, "negated routers: %g and %g flip", share[0], share[1]);
    EXPECT(score_loss(&e.total) == loss, "the scores are not those of exact routers: %g, not %g", score_loss(&e.total), loss);
    k.products_bf16 = NULL;
    EXPECT_ERROR(flips_measure(share, &e, &tr.tape, &tr.model, d, 64), LAMP_UNSUPPORTED, "no bf16 products");
    evaluation_close(&e), trainer_close(&tr);
    dataset_free(d);
}

static void the_router_has_its_own_precision(void) {
    recipe r = world_recipe("olmoe");
    dataset *d = world_open(r.data_path);
    trainer a, b;
    double loss[2];
    EXPECT_OK(trainer_open(&a, &r, d));
    strcpy(r.router_precision, "bf16");
    if (!a.k->products_bf16) {
        EXPECT_ERROR(trainer_open(&b, &r, d), LAMP_UNSUPPORTED, "train.router_precision bf16");
    } else {
        EXPECT_OK(trainer_open(&b, &r, d));
        EXPECT(a.tape.router_products == &a.k->products && b.tape.router_products == b.k->products_bf16, "the tapes have other products");
        EXPECT(a.tape.products == b.tape.products, "the precision of the rest changes too");
        run_steps(&a, 1, &loss[0]), run_steps(&b, 1, &loss[1]);
        EXPECT(loss[0] != loss[1] && fabs(loss[0] - loss[1]) < 0.1, "losses %g and %g", loss[0], loss[1]);
        trainer_close(&b);
    }
    trainer_close(&a);
    dataset_free(d);
}

static const test_case cases[] = {
    {"memory is known before it is taken", memory_is_known_before_it_is_taken},
    {"a page is learned by heart", a_page_is_learned_by_heart},
    {"20 steps equal 10, saved, loaded, and 10", twenty_steps_equal_ten_saved_loaded_and_ten},
    {"every router resumes bit for bit", every_router_resumes_bit_for_bit},
    {"1, 2 and 3 threads agree bit for bit", one_two_and_three_threads_agree},
    {"experts of few rows have no packed copies", experts_of_few_rows_have_no_packed_copies},
    {"packed weights change no bit", packed_weights_change_no_bit},
    {"moments may change their type", moments_may_change_their_type},
    {"when experts are updated does not matter", when_experts_are_updated_does_not_matter},
    {"micro-batches sum to the batch", micro_batches_sum_to_the_batch},
    {"nothing is allocated after the first steps", nothing_is_allocated_after_the_first_steps},
    {"consumed experts take little memory", consumed_experts_take_little_memory},
    {"a run begins with given weights", a_run_begins_with_given_weights},
    {"a budget ends where it says", a_budget_ends_where_it_says},
    {"a step that is not finite is not applied", a_step_that_is_not_finite_is_not_applied},
    {"streams forget where they turn", streams_forget_where_they_turn},
    {"what is not finite is not carried on", what_is_not_finite_is_not_carried_on},
    {"after diverging, the last good checkpoint is the latest", after_diverging_the_last_good_checkpoint_is_the_latest},
    {"a changed recipe is refused", a_changed_recipe_is_refused},
    {"another dataset under the same path is refused", another_dataset_under_the_same_path_is_refused},
    {"sessions do not show in the weights", sessions_do_not_show_in_the_weights},
    {"flips are counted", flips_are_counted},
    {"the router has its own precision", the_router_has_its_own_precision},
};

int main(void) { return test_run("train", cases, sizeof cases / sizeof *cases); }
