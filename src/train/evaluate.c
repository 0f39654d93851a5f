#include "train/evaluate.h"

#include <math.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/memory.h"

double score_loss(const score *s) { return s->tokens > 0 ? s->nats / (double)s->tokens : NAN; }
double score_perplexity(const score *s) { return exp(score_loss(s)); }
double score_bits_per_byte(const score *s) { return s->bytes > 0 && s->unknown == 0 ? s->nats / (M_LN2 * (double)s->bytes) : NAN; }

int evaluation_open(evaluation *e, const model *m, int B, int T) {
    *e = (evaluation){0};
    int status = LAMP_OK;
    TRY_TO(done, batch_init(&e->batch, B, T));
    TRY_TO(done, memory_new(&e->sequence_start, (size_t)B + 1, sizeof *e->sequence_start, "sequence starts"));
    for (int i = 0; i <= B; i++) e->sequence_start[i] = (ptrdiff_t)i * T;
    TRY_TO(done, model_state_open(&e->memory, m, 0, B));
    TRY_TO(done, model_trace_open(&e->trace, m));
    e->trace.examine = EXAMINED_TOKENS;
done:
    if (status < 0) evaluation_close(e);
    return status;
}

void evaluation_close(evaluation *e) {
    batch_release(&e->batch);
    memory_free(e->sequence_start);
    state_close(&e->memory);
    moe_trace_close(&e->trace);
    *e = (evaluation){0};
}

static void begin(evaluation *e) {
    e->total = (score){0}, e->n_domains = 0, e->tokens_before = 0;
    moe_trace_clear(&e->trace);
}

static void begin_domain(evaluation *e, const char *name) {
    state_clear(&e->memory);
    e->domain[e->n_domains].name = name;
    e->domain[e->n_domains++].score = (score){0};
}

/* Which windows are run together, `rows` at most: as they come, or those at the same place of as many parts of the text, where the first parts
 * begin later if there are not windows enough: so the last window comes last, the only one that may not be full. */
typedef struct {
    int64_t windows, rows, turns;
    bool side_by_side;
} window_order;

/* Those of a turn: n of them, the first one is in row `row`. */
typedef struct {
    int64_t first, apart;
    int row, n;
} window_turn;

static window_order order_of(const evaluation *e, int64_t windows) {
    const bool side_by_side = state_carries(&e->memory);
    const int64_t rows = side_by_side && e->batch.B > EVALUATED_PARTS ? EVALUATED_PARTS : e->batch.B;
    return (window_order){windows, rows, (windows + rows - 1) / rows, side_by_side};
}

static window_turn turn_of(const window_order *o, int64_t turn) {
    if (!o->side_by_side) {
        const int64_t first = turn * o->rows, left = o->windows - first;
        return (window_turn){first, 1, 0, (int)(left < o->rows ? left : o->rows)};
    }
    const int64_t late = o->rows * o->turns - o->windows, row = late > turn ? (late - turn + o->turns - 1) / o->turns : 0;
    return (window_turn){row * o->turns + turn - late, o->turns, (int)row, (int)(o->rows - row)};
}

/* Adds B sequences of the batch to the last domain; they are those from row `row` on. */
static void score_batch(evaluation *e, tape *t, const model *m, const tokenizer *words, int row, int B) {
    ptrdiff_t N = (ptrdiff_t)B * e->batch.T;
    score *s = &e->domain[e->n_domains - 1].score;
    tape_reset(t);
    e->memory.first = row;
    t->training = false, t->random.first_token = (uint64_t)e->tokens_before;
    token_batch tokens = {N, e->batch.token, e->batch.target, B, e->sequence_start};
    const double *loss = model_loss(t, m, &tokens, state_carries(&e->memory) ? &e->memory : NULL, e->trace.load ? &e->trace : NULL);
    for (ptrdiff_t n = 0; n < N; n++) {
        if (e->batch.target[n] < 0) continue;
        size_t bytes = 0;
        tokenizer_token_bytes(words, e->batch.target[n], &bytes);
        s->nats += loss[n], s->tokens++, s->bytes += (int64_t)bytes;
        s->unknown += e->batch.target[n] == tokenizer_unknown(words);
    }
    if (e->watch) e->watch(e->watch_context, e, loss);
    e->tokens_before += N;
    tape_reset(t);
}

static void add_up(evaluation *e) {
    for (int i = 0; i < e->n_domains; i++) {
        const score *s = &e->domain[i].score;
        e->total.nats += s->nats, e->total.tokens += s->tokens, e->total.bytes += s->bytes;
        e->total.unknown += s->unknown;
    }
}

int evaluate_dataset(evaluation *e, tape *t, const model *m, const dataset *d, int64_t tokens) {
    begin(e);
    int T = e->batch.T, most = e->batch.B, status = LAMP_OK;
    for (int domain = 0; domain < d->n_domains; domain++) {
        int64_t windows = window_count(&d->domain[domain].validation, T), wanted = (tokens + T - 1) / T;
        if (wanted < windows) windows = wanted;
        if (windows == 0) continue;
        const window_order order = order_of(e, windows);
        begin_domain(e, d->domain[domain].summary.name);
        for (int64_t i = 0; i < order.turns && status >= 0; i++) {
            const window_turn turn = turn_of(&order, i);
            e->batch.B = turn.n;
            status = interrupt_check("evaluating");
            if (status >= 0) status = validation_read(&e->batch, d, domain, turn.first, turn.apart);
            if (status >= 0) score_batch(e, t, m, d->tokenizer, turn.row, turn.n);
        }
        e->batch.B = most;
    }
    add_up(e);
    return status;
}

int evaluate_tokens(evaluation *e, tape *t, const model *m, const tokenizer *words, const char *name, const int32_t *ids, int64_t n) {
    begin(e);
    const int64_t T = e->batch.T, predicted = n > 1 ? n - 1 : 0;
    const window_order order = order_of(e, (predicted + T - 1) / T);
    begin_domain(e, name);
    for (int64_t i = 0; i < order.turns; i++) {
        const window_turn turn = turn_of(&order, i);
        TRY(interrupt_check("evaluating"));
        for (int64_t j = 0; j < e->batch.B * T; j++) {
            const int64_t at = (turn.first + j / T * turn.apart) * T + j % T;
            e->batch.token[j] = at < predicted ? ids[at] : 0;
            e->batch.target[j] = at < predicted ? ids[at + 1] : -1;
        }
        score_batch(e, t, m, words, turn.row, turn.n);
    }
    add_up(e);
    return LAMP_OK;
}
