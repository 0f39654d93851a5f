/* What a run tells about its routing: counts that must agree, lines that read back as they were written, and a probe that sees what was
 * planted: tokens that change their experts, experts that move, and experts that are alike. */
#include <math.h>
#include <string.h>

#include "../test.h"
#include "../world.h"
#include "base/error.h"
#include "health/telemetry.h"
#include "train/trainer.h"

enum { LOOKED_AT = 128 };

static void step(trainer *tr) {
    step_report report;
    EXPECT_OK(trainer_step(tr, &report));
}

static void kept_and_dropped_are_all_that_was_chosen(void) {
    recipe r = world_recipe("olmoe");
    r.model.moe.capacity = 0.5;
    dataset *d = world_open(r.data_path);
    trainer tr;
    EXPECT_OK(trainer_open(&tr, &r, d));
    step(&tr);
    for (int l = 0; l < tr.trace.layers; l++) {
        moe_summary s = moe_trace_summarize(&tr.trace, l);
        EXPECT(tr.trace.pairs[l] == r.batch_tokens * r.model.moe.top_k, "%lld pairs", (long long)tr.trace.pairs[l]);
        EXPECT(tr.trace.dropped[l] > 0 && s.dropped >= 0.5, "%lld dropped", (long long)tr.trace.dropped[l]);
    }
    EXPECT_OK(moe_trace_check(&tr.trace));
    tr.trace.load[1]++;
    EXPECT_ERROR(moe_trace_check(&tr.trace), LAMP_FAILURE, "layer 0: expected kept and dropped pairs to be the 256 chosen");
    trainer_close(&tr);
    dataset_free(d);
}

static json_t *read_again(buffer *text) {
    json_t *line = NULL;
    EXPECT_OK(json_read_bytes(&line, text->bytes, text->length, "line"));
    return line;
}

static bool close_to(double a, double b) { return fabs(a - b) <= 1e-5 * fabs(b) + 1e-12; }

static void a_line_reads_back(void) {
    recipe r = world_recipe("olmoe");
    dataset *d = world_open(r.data_path);
    trainer tr;
    moe_trace again;
    buffer text = {0};
    int layers, experts;
    json_writer w = {.out = &text};
    EXPECT_OK(trainer_open(&tr, &r, d));
    tr.trace.examine = 20;
    step(&tr);
    json_begin_object(&w, NULL);
    json_put_routing(&w, &tr.trace, true);
    json_end_object(&w);
    json_t *line = read_again(&text);
    EXPECT_OK(json_get_layers(&layers, &experts, line, "line"));
    EXPECT(layers == 2 && experts == 4, "%d layers of %d experts", layers, experts);
    EXPECT_OK(moe_trace_open(&again, layers, experts));
    EXPECT_OK(json_get_routing(&again, line, "line"));
    EXPECT_OK(moe_trace_check(&again));
    for (int l = 0; l < 2; l++) {
        moe_summary a = moe_trace_summarize(&tr.trace, l), b = moe_trace_summarize(&again, l);
        EXPECT(a.load_cv == b.load_cv && a.dead == b.dead && a.dropped == b.dropped, "layer %d", l);
        EXPECT(close_to(b.importance_cv, a.importance_cv) && close_to(b.router.z, a.router.z) && close_to(b.router.margin, a.router.margin), "layer %d", l);
        EXPECT(a.router.top1 > 0.25 && a.router.top1 < 1 && a.router.entropy > 0 && a.router.entropy <= 1, "top1 %g, uncertainty %g", a.router.top1,
               a.router.entropy);
    }
    json_decref(line);
    static const char *const wrong[] = {"{\"layers\": [{\"load\": [1, 2, -3, 4]}, {}]}", "{\"layers\": [{\"load\": [1, 2, 9223372036854775807, 4]}, {}]}"};
    for (int i = 0; i < 2; i++) {
        EXPECT_OK(json_read_bytes(&line, wrong[i], strlen(wrong[i]), "line"));
        EXPECT_ERROR(json_get_routing(&again, line, "line"), LAMP_MALFORMED, "expected counts");
        json_decref(line);
    }
    moe_trace_close(&again);
    buffer_release(&text);
    trainer_close(&tr);
    dataset_free(d);
}

static const weight *find_weight(const trainer *tr, const char *kind, int layer) {
    for (int i = 0; i < tr->model.weights.n; i++) {
        const weight *w = tr->model.weights.row[i];
        if (!strcmp(w->kind, kind) && w->layer == layer) return w;
    }
    CHECK(false, "no %s", kind);
}

static void look(probe *p, trainer *tr, int64_t at) { EXPECT_OK(probe_take(p, &tr->tape, &tr->model, tr->data, at)); }

static void the_probe_sees_what_changes(void) {
    recipe r = world_recipe("olmoe");
    dataset *d = world_open(r.data_path);
    trainer tr;
    probe p;
    EXPECT_OK(trainer_open(&tr, &r, d));
    EXPECT_OK(probe_open(&p, &tr.model, d, tr.batch.T, LOOKED_AT));
    const probe_reading *seen = &p.reading;
    look(&p, &tr, 0);
    EXPECT(seen->since == -1 && seen->churn[0] == 0, "since %lld, churn %g", (long long)seen->since, seen->churn[0]);
    look(&p, &tr, 100);
    EXPECT(seen->since == 0 && seen->churn[0] == 0 && seen->update_norm[3] == 0, "churn %g, movement %g where nothing changed", seen->churn[0],
           seen->update_norm[3]);
    int64_t pairs = 0;
    for (int e = 0; e < 4; e++) pairs += seen->domain_load[e];
    EXPECT(pairs == 2 * LOOKED_AT / 2, "%lld pairs of the first domain in the first layer", (long long)pairs);

    const weight *up = find_weight(&tr, "moe.up", 1), *router = find_weight(&tr, "moe.router", 0);
    ptrdiff_t n = up->out * up->in;
    double moved = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        real by = (real)(i % 7) * (real)0.01;
        up->value[2][i] += by, moved += (double)(by * by);
    }
    for (ptrdiff_t i = 0; i < router->out * router->in; i++) router->value[0][i] *= -1;
    weights_pack(&tr.model.weights, tr.tape.products);
    look(&p, &tr, 200);
    EXPECT(seen->churn[0] > 0.9, "churn %g where every token prefers other experts", seen->churn[0]);
    double found = seen->update_norm[4 + 2];
    EXPECT(fabs(found / sqrt(moved) - 1) < 0.3, "movement %g, expected about %g", found, sqrt(moved));
    EXPECT(seen->update_norm[4 + 1] == 0, "movement %g of another expert", seen->update_norm[4 + 1]);
    EXPECT(seen->similarity[1] < 0.7, "similarity %g", seen->similarity[1]);

    static const char *const kinds[] = {"moe.gate", "moe.up", "moe.down"};
    for (int i = 0; i < 3; i++) {
        const weight *w = find_weight(&tr, kinds[i], 1);
        memcpy(w->value[3], w->value[1], (size_t)(w->out * w->in) * sizeof(real));
    }
    look(&p, &tr, 300);
    EXPECT(seen->similarity[1] > 0.999 && seen->alike[2] == 1 && seen->alike[3] == 3, "similarity %g of experts %d and %d", seen->similarity[1],
           seen->alike[2], seen->alike[3]);
    probe_close(&p);
    trainer_close(&tr);
    dataset_free(d);
}

int main(void) {
    static const test_case cases[] = {
        {"kept and dropped are all that was chosen", kept_and_dropped_are_all_that_was_chosen},
        {"a line reads back", a_line_reads_back},
        {"the probe sees what changes", the_probe_sees_what_changes},
    };
    return test_run("telemetry", cases, sizeof cases / sizeof *cases);
}
