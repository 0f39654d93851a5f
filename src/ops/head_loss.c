/* loss = scale sum_n (log sum_v exp(z_nv) - z_n,target),  z = x w^T
 *   dz = scale (softmax(z) - onehot(target)),   dx = dz w,   dw = dz^T x
 * Nothing stands between the loss and backward's beginning, so dz is final as soon as z is known: dx and dw are made chunk by chunk in
 * forward, and the backward that is recorded only hands dx over; dw is ready then.
 *
 * A large vocabulary may be sampled while training (Bengio and Senecal 2003): all tokens of a pass share S words v_s, drawn with replacement from
 *     q(v) = log((v + 2) / (v + 1)) / log(V + 1)
 * as words of falling frequency are nearly distributed, and the inner sum becomes
 *     exp(z_n,target) + sum over s with v_s != target_n of exp(z_n,v_s) / (S q(v_s))
 * which is the same in the mean over draws. So a row has S + 1 logits, z - log(S q) of the words and, in the last column, that of its target; dz, dx
 * and dw follow as above. */
#include "ops/ops.h"

#include <math.h>
#include <string.h>

#include "base/error.h"

enum { CHUNK = 480 }; /* rows: logits stay near the cores, and w's gradient goes to memory and back once a chunk */

struct saved {
    tensor *x;
    real *dx;
};

static void head_loss_backward(tape *t, void *saved) {
    struct saved *s = saved;
    tensor made = {.dx = s->dx, .rows = s->x->rows, .cols = s->x->cols};
    tape_pass_gradient(t, s->x, &made);
    tape_return(t, made.dx);
}

static ptrdiff_t chunk_of(ptrdiff_t tokens) { return tokens < CHUNK ? tokens : CHUNK; }

ptrdiff_t head_loss_values(ptrdiff_t tokens, const weight *w, ptrdiff_t samples, bool rounded) {
    const ptrdiff_t rows = chunk_of(tokens), columns = samples > 0 ? samples + 1 : w->out;
    const ptrdiff_t in_bf16 = rounded && samples == 0 ? rows * columns * (ptrdiff_t)sizeof(uint16_t) / (ptrdiff_t)sizeof(real) : 0;
    return rows * columns + in_bf16 + (samples > 0 ? (2 * columns + rows) * w->in + columns : 0);
}

static void put_on_ledger(tape *t, tensor *x, const weight *w, const double *loss, real *dx) {
    double sum = 0;
    for (ptrdiff_t n = 0; n < x->rows; n++) sum += loss[n];
    tape_add_loss(t, "loss", sum * t->loss_scale);
    RECORD(t, NULL, head_loss_backward, (struct saved){x, dx});
    tape_use(t, w);
}

const double *head_loss(tape *t, tensor *x, const weight *w, const int32_t *target) {
    ptrdiff_t N = x->rows, D = x->cols, V = w->out;
    double *loss = tape_keep(t, sizeof(double) * (size_t)N);
    real *logits = tape_borrow(t, chunk_of(N) * V), *dx = t->training ? tape_borrow(t, N * D) : NULL;
    uint16_t *rounded = t->training && t->products->rounds ? tape_borrow_bf16(t, chunk_of(N) * V) : NULL; /* dz, which both products would round */
    for (ptrdiff_t n = 0; n < N; n += CHUNK) {
        ptrdiff_t rows = chunk_of(N - n), start[] = {0, rows};
        row_groups one = {1, start, 0};
        rows_of x_rows = {.x = x->x + n * D}, dz_rows = {.x = logits, .bf16 = rounded};
        weight_linear(t, logits, x_rows, w, one);
        t->k->cross_entropy(loss + n, logits, rounded, target + n, rows, V, (real)t->loss_scale);
        if (!t->training) continue;
        weight_linear_dx(t, dx + n * D, dz_rows, w, one, false);
        weight_linear_dw(t, w, dz_rows, x_rows, one);
    }
    tape_return(t, logits), tape_return_bf16(t, rounded);
    put_on_ledger(t, x, w, loss, dx);
    return loss;
}

/* The words of a pass, and their rows of w, with one of zeros behind them: what the targets' column has there is put in later. */
typedef struct {
    ptrdiff_t S;
    int32_t *word;            /* (S) */
    real *rows, *drows;       /* (S + 1, D) */
    real *minus_log_expected; /* (S + 1) -log(S q), and 0 */
} sample;

static sample draw_sample(tape *t, const weight *w, ptrdiff_t S) {
    const double log_words = log((double)w->out + 1);
    const random_key key = tape_random_key(t, RANDOM_SOFTMAX, 0);
    const uint64_t first = tape_random_index(t, 0, S);
    sample s = {S, tape_keep(t, sizeof(int32_t) * (size_t)S), tape_borrow(t, (S + 1) * w->in), tape_borrow(t, (S + 1) * w->in),
                tape_borrow(t, S + 1)};
    for (ptrdiff_t i = 0; i < S; i++) {
        const double drawn = exp(random_uniform(key, first + (uint64_t)i) * log_words) - 1;
        s.word[i] = (int32_t)fmin(drawn, (double)w->out - 1);
        s.minus_log_expected[i] = (real)-log((double)S * log1p(1 / (s.word[i] + 1.0)) / log_words);
    }
    weight_rows(t, s.rows, w, s.word, S);
    memset(s.rows + S * w->in, 0, sizeof(real) * (size_t)w->in);
    s.minus_log_expected[S] = 0;
    return s;
}

/* Logits of some rows, corrected; a word that is itself what follows counts once, in the last column. */
static void sampled_logits(tape *t, real *logits, const sample *s, rows_of x, const real *of_target, const int32_t *target, row_groups g,
                           ptrdiff_t D) {
    const ptrdiff_t rows = g.start[1], columns = s->S + 1;
    const matrices words = {(real *const[]){s->rows}, NULL};
    t->products->linear(logits, x, &words, g, D, columns);
    t->k->add_bias(logits, (real *const[]){s->minus_log_expected}, NULL, g, columns);
#pragma omp parallel for schedule(static)
    for (ptrdiff_t r = 0; r < rows; r++) {
        real *z = logits + r * columns, sum = 0;
        for (ptrdiff_t i = 0; i < s->S; i++) z[i] = s->word[i] == target[r] ? -(real)INFINITY : z[i];
        for (ptrdiff_t j = 0; j < D; j++) sum += x.x[r * D + j] * of_target[r * D + j];
        z[s->S] = sum;
    }
}

/* The last column's part of dx, and, in the place of the targets' rows of w, of their gradients. */
static void target_gradients(real *dx, real *of_target, const real *dlogits, const real *x, ptrdiff_t rows, ptrdiff_t columns, ptrdiff_t D) {
#pragma omp parallel for schedule(static)
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real dz = dlogits[(r + 1) * columns - 1];
        for (ptrdiff_t j = r * D; j < (r + 1) * D; j++) dx[j] += dz * of_target[j], of_target[j] = dz * x[j];
    }
}

const double *head_loss_sampled(tape *t, tensor *x, const weight *w, const int32_t *target, ptrdiff_t samples) {
    const ptrdiff_t N = x->rows, D = x->cols, columns = samples + 1;
    CHECK(t->training, "a loss over %td sampled words is one to train with", samples);
    double *loss = tape_keep(t, sizeof(double) * (size_t)N);
    int32_t *column = tape_keep(t, sizeof(int32_t) * (size_t)N), *row = tape_keep(t, sizeof(int32_t) * (size_t)N); /* of each target; of none any */
    for (ptrdiff_t n = 0; n < N; n++) column[n] = target[n] < 0 ? -1 : (int32_t)samples, row[n] = target[n] < 0 ? 0 : target[n];
    const sample s = draw_sample(t, w, samples);
    real *logits = tape_borrow(t, chunk_of(N) * columns), *of_target = tape_borrow(t, chunk_of(N) * D), *dx = tape_borrow(t, N * D),
         *dw = tape_weight_gradient(t, w);
    for (ptrdiff_t n = 0; n < N; n += CHUNK) {
        const ptrdiff_t rows = chunk_of(N - n), start[] = {0, rows};
        const row_groups one = {1, start, 0};
        const rows_of x_rows = {.x = x->x + n * D}, dz_rows = {.x = logits};
        const matrices words = {(real *const[]){s.rows}, NULL};
        weight_rows(t, of_target, w, row + n, rows);
        sampled_logits(t, logits, &s, x_rows, of_target, target + n, one, D);
        t->k->cross_entropy(loss + n, logits, NULL, column + n, rows, columns, (real)t->loss_scale);
        t->products->linear_dx(dx + n * D, dz_rows, &words, one, D, columns, false);
        t->products->linear_dw(s.drows, NULL, dz_rows, x_rows, one, D, columns, n > 0, true);
        target_gradients(dx + n * D, of_target, logits, x_rows.x, rows, columns, D);
        t->k->scatter_add(dw, of_target, row + n, rows, D);
    }
    t->k->scatter_add(dw, s.drows, s.word, samples, D);
    tape_return(t, of_target), tape_return(t, logits), tape_return(t, s.minus_log_expected), tape_return(t, s.drows), tape_return(t, s.rows);
    put_on_ledger(t, x, w, loss, dx);
    return loss;
}
