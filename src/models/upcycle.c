/* Sparse upcycling (Komatsuzaki et al. 2022, arXiv:2212.05055): every dense MLP becomes E experts, everything else stays, and the routers
 * are random. An MLP is a sum over its F inner channels, so it may be cut into G slices of F / G of them (He et al. 2024, arXiv:2410.07524,
 * whose virtual groups these copies are):
 *
 *     MLP(x) = sum_g S_g(x),     S_g(x) = D[:, g] (silu(x G[g]^T) * x U[g]^T)
 *
 * Expert e = r G + g is slice g of copy r, r = 0 .. E / G - 1, with its down-projection times G, and the routers' rows of a copy are equal:
 * row e = row r. Then, whatever these rows and x are, the mixture is the MLP:
 *
 *     A logit is the same sum in the same order for each of its columns, and softmax treats all alike, so the slices of a copy tie bit for
 *     bit, at p_r. Ties go to the lower index and a copy's experts are adjacent, so in the order of choice copies follow one another
 *     whole, even where two copies tie: the first K experts, K a multiple of G, are K / G copies C. Normalised, their weights are
 *     p_r / (G sum_{c in C} p_c), and
 *
 *         y = sum_{r in C} p_r / (G sum_{c in C} p_c) sum_g G S_g(x) = MLP(x)
 *
 * (A program whose logits are not the same sum in every column may part the slices only where two copies are equal to the last bits.)
 * Where the family has an expert that all tokens take (Qwen2-MoE), its last matrix is zero: it says nothing until it learns to.
 * G = 1 is the plain case: copies, whose weights sum to one. Copies part when training shows them different tokens, slices and their
 * routers' rows because each slice has another gradient. Noise parts copies from the first step on, and changes the function. */
#include "models/upcycle.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/memory.h"
#include "models/families/family.h"

/* ---- sizes ------------------------------------------------------------------------------------------------------------------- */

static int check_options(const model_config *dense, const upcycle_options *o) {
    if (dense->moe.experts > 1)
        FAIL(LAMP_INVALID, "expected a dense model, found family %s with %" PRId64 " experts a layer", dense->family, dense->moe.experts);
    if (o->experts < 2) FAIL(LAMP_INVALID, "experts: expected at least 2, found %" PRId64, o->experts);
    if (o->top_k < 1 || o->top_k > o->experts)
        FAIL(LAMP_INVALID, "top-k: expected 1 to %" PRId64 ", the number of experts, found %" PRId64, o->experts, o->top_k);
    if (o->slices < 1 || dense->intermediate_size % o->slices)
        FAIL(LAMP_INVALID, "split: expected a divisor of the inner width %" PRId64 ", found %" PRId64, dense->intermediate_size, o->slices);
    if (o->experts % o->slices)
        FAIL(LAMP_INVALID, "experts: expected a multiple of split (%" PRId64 "), so that every slice has as many copies; found %" PRId64, o->slices,
             o->experts);
    if (o->top_k % o->slices)
        FAIL(LAMP_INVALID, "top-k: expected a multiple of split (%" PRId64 "), so that each token takes whole copies; found %" PRId64, o->slices,
             o->top_k);
    return LAMP_OK;
}

static int check_family(const family *f, const model_config *dense, const family *usual) {
    if (!f->experts_key) FAIL(LAMP_INVALID, "family %s has no experts; expected %s", f->model_type, usual->model_type);
    if (f->qk_norm != dense->qk_norm)
        FAIL(LAMP_INVALID, "family %s norms queries and keys differently from %s, so it would compute another function; expected %s", f->model_type,
             dense->family, usual->model_type);
    if (f->router || f->biases || f->latent || f->attention_sinks || f->backbone != dense->backbone)
        FAIL(LAMP_INVALID, "family %s has another attention, other experts or another router than a mixture of copies; expected %s", f->model_type,
             usual->model_type);
    return LAMP_OK;
}

int upcycle_config(model_config *config, const model_config *dense, const char *family_name, const upcycle_options *o) {
    const family *from, *usual, *f;
    TRY(check_options(dense, o));
    TRY(family_find(&from, dense->family, "the dense model"));
    TRY(family_find(&usual, from->sparse_family, "the mixture"));
    f = usual;
    if (family_name && family_find(&f, family_name, "family") < 0) return LAMP_INVALID;
    TRY(check_family(f, dense, usual));
    *config = *dense;
    strcpy(config->family, f->model_type);
    config->intermediate_size = dense->intermediate_size / o->slices;
    config->moe = family_defaults(f).moe;
    config->moe.experts = o->experts, config->moe.top_k = o->top_k, config->moe.normalize = true;
    config->moe.balance[BALANCE_SWITCH] = 0.01;
    return family_complete(config, "the mixture");
}

/* ---- values ------------------------------------------------------------------------------------------------------------------ */

static const weight *find_weight(const weights *table, const char *kind, int layer) {
    for (int i = 0; i < table->n; i++)
        if (table->row[i]->layer == layer && !strcmp(table->row[i]->kind, kind)) return table->row[i];
    CHECK(false, "the dense model has no %s in layer %d", kind, layer);
}

/* The expert that all tokens take, where the family has one. */
static bool is_shared(const weight *w) { return !strncmp(w->kind, "shared.", strlen("shared.")); }

/* What a weight of the mixture is made of; NULL: routers and shared experts, of nothing. */
static const weight *dense_weight(const weights *table, const weight *w) {
    static const char *const parts[][2] = {{"moe.gate", "mlp.gate"}, {"moe.up", "mlp.up"}, {"moe.down", "mlp.down"}};
    if (w->role == ROLE_ROUTER || is_shared(w)) return NULL;
    for (int i = 0; i < 3; i++)
        if (!strcmp(w->kind, parts[i][0])) return find_weight(table, parts[i][1], w->layer);
    return find_weight(table, w->kind, w->layer);
}

/* Slice g of a dense matrix, as it lies there: rows of gate and up, columns of down. */
typedef struct {
    const real *x;
    ptrdiff_t stride;
    real factor; /* G for down */
} slice;

static slice slice_of(const weight *dense, const weight *w, ptrdiff_t g) {
    bool of_columns = w->in != dense->in;
    return (slice){dense->value[0] + g * w->in * (of_columns ? 1 : w->out), dense->in, of_columns ? (real)(dense->in / w->in) : 1};
}

/* How many groups of w cannot be borrowed: those of routers and shared experts, with noise all experts, and the slices of down, which all copies
 * share. */
static ptrdiff_t groups_to_make(const weight *w, const weight *dense, const upcycle_options *o) {
    if (!dense) return 1;
    if (w->role != ROLE_EXPERT) return 0;
    return o->noise > 0 ? w->groups : w->in != dense->in ? o->slices : 0;
}

static double root_mean_square(const weight *w) {
    double sum = 0;
    for (ptrdiff_t i = 0; i < weight_size(w); i++) sum += (double)w->value[0][i] * (double)w->value[0][i];
    return sqrt(sum / (double)weight_size(w));
}

/* y (out, in) = factor (slice + noise); first: of this expert's normal numbers. */
static void make_expert(real *y, const weight *w, const slice *s, double noise, random_key key, ptrdiff_t first) {
#pragma omp parallel for
    for (ptrdiff_t i = 0; i < w->out; i++)
        for (ptrdiff_t j = 0; j < w->in; j++) {
            double added = noise > 0 ? noise * random_normal(key, (uint64_t)(first + i * w->in + j)) : 0;
            y[i * w->in + j] = s->factor * (s->x[i * s->stride + j] + (real)added);
        }
}

static void make_experts(real *made, const weight *w, const weight *dense, const upcycle_options *o, random_key key) {
    ptrdiff_t size = w->out * w->in, n = groups_to_make(w, dense, o);
    double noise = o->noise > 0 ? o->noise * root_mean_square(dense) : 0;
    for (ptrdiff_t e = 0; e < w->groups; e++) {
        slice s = slice_of(dense, w, e % o->slices);
        if (e < n) make_expert(made + e * size, w, &s, noise, key, e * size);
        w->value[e] = n > 0 ? made + e % n * size : (real *)(uintptr_t)s.x;
    }
}

static void make_router(real *made, const weight *w, const upcycle_options *o, random_key key) {
    w->value[0] = made;
    for (ptrdiff_t e = 0; e < w->out; e++)
        for (ptrdiff_t d = 0; d < w->in; d++) made[e * w->in + d] = (real)(w->deviation * random_normal(key, (uint64_t)(e / o->slices * w->in + d)));
}

/* Random, but for the last matrix: it says nothing yet. */
static void make_shared(real *made, const weight *w, random_key key) {
    bool silent = !strcmp(w->kind, "shared.down");
    w->value[0] = made;
    for (ptrdiff_t i = 0; i < weight_size(w); i++) made[i] = silent ? 0 : (real)(w->deviation * random_normal(key, (uint64_t)i));
}

int upcycled_model_open(upcycled_model *u, const model *dense, const model_config *config, const upcycle_options *o) {
    *u = (upcycled_model){0};
    int status = LAMP_OK;
    ptrdiff_t n_made = 0;
    TRY_TO(done, model_open(&u->model, config));
    weights *table = &u->model.weights;
    TRY_TO(done, weights_allocate_groups(table));
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i], *source = dense_weight(&dense->weights, w);
        n_made += groups_to_make(w, source, o) * w->out * w->in;
    }
    TRY_TO(done, memory_new(&u->made, (size_t)n_made, sizeof(real), "routers and experts"));
    real *next = u->made;
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i], *source = dense_weight(&dense->weights, w);
        TRY_TO(done, interrupt_check("upcycling"));
        log_progress("upcycling: %d %%", 100 * i / table->n);
        const random_key key = random_key_make(o->seed, source ? RANDOM_UPCYCLE : RANDOM_INITIAL, 0, (uint64_t)i);
        if (w->role == ROLE_ROUTER) make_router(next, w, o, key);
        else if (!source) make_shared(next, w, key);
        else if (w->role == ROLE_EXPERT) make_experts(next, w, source, o, key);
        else w->value[0] = source->value[0];
        next += groups_to_make(w, source, o) * w->out * w->in;
    }
done:
    if (status < 0) upcycled_model_close(u);
    return status;
}

void upcycled_model_close(upcycled_model *u) {
    model_close(&u->model);
    memory_free(u->made);
    *u = (upcycled_model){0};
}
