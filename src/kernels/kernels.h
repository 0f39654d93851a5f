/* The kernel table: every arithmetic loop over rows of width D, F, V or E, behind function pointers. Pointers and sizes only: no tensors,
 * no errors, no allocation but of each thread's room. One table per instruction set or device.
 *
 * To add an instruction set: compile kernels/cpu/table.c once more (Makefile: ISAS and its flags), declare the table below, and give it a
 * line in kernels.c. To add an entry: one pointer with its formula here, its function in kernels/cpu/, its line in table.c, its case in
 * tests/kernels/.
 *
 * Every result is a function of the inputs alone: every sum has one order, whatever the number of threads. Arrays are row-major.
 * `+=` means the entry accumulates; everything else is overwritten. */
#ifndef KERNELS_H
#define KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/random.h"
#include "base/real.h"
#include "kernels/stored.h"

/* Rows of a batch, optionally picked: row r is x + (row ? row[r] : r) * width. bf16, unless
 * NULL, is read instead of x: numbers that are rounded already. */
typedef struct {
    const real *x;
    const int32_t *row;
    const uint16_t *bf16;
} rows_of;

/* Which rows belong to which weight matrix: group g owns rows start[g] .. start[g + 1]. A dense product is one group. */
typedef struct {
    int groups;
    const ptrdiff_t *start; /* (groups + 1) */
    ptrdiff_t first;        /* group 0 is the weight's group of this number: for tensor/weight_products.h, kernels are given what begins there */
} row_groups;

/* Sequences of a batch for attention: sequence s asks with rows query_start[s] .. query_start[s + 1] of q and may look at rows
 * key_start[s] .. key_end[s] of k and v; its last query sees all of them, the one before all but one, and so on (causal). */
typedef struct {
    int n;
    const ptrdiff_t *query_start, *key_start, *key_end;
} attention_span;

/* Query heads, and those of keys and values, which heads / kv_heads neighbours share; channels of a head of queries and keys, and of values. */
typedef struct {
    ptrdiff_t heads, kv_heads, head_dim, value_dim;
    real scale;
    ptrdiff_t window; /* a query sees the last `window` keys, its own position included; 0: all */
    bool chunked;     /* instead those of its own chunk of `window` positions, up to itself */
} attention_shape;

/* Head h of row r begins at x + r row + h head. */
typedef struct {
    const real *x;
    ptrdiff_t row, head;
} heads_of;

/* q (queries, heads * head_dim). sink (heads): a score of no key, which takes its share and gives nothing; NULL: there is none. */
typedef struct {
    const real *q;
    heads_of k, v;
    const real *sink;
} attention_inputs;

/* Each lies as what it is the gradient of. sink may be NULL. */
typedef struct {
    real *q, *k, *v, *sink;
} attention_gradients;

/* What GPT-OSS makes of SwiGLU: the sigmoid's argument times alpha, and bounds on what it multiplies. */
typedef struct {
    real alpha, limit;
} swiglu_bounds;

/* What lies between an expert's products, (rows, width) each. Backward reads and writes reals, or what is rounded where they are NULL. Forward reads
 * reals; where act is NULL it is rounded, and gate and up are copied to where they are rounded, unless that is NULL, past the caches. */
typedef struct {
    real *act, *gate, *up;
    struct {
        uint16_t *act, *gate, *up;
    } bf16;
} inner_rows;

/* Of each head's `width` columns the last 2 half turn, in pairs (i, i + half) or, as neighbours, (2 i, 2 i + 1). */
typedef struct {
    ptrdiff_t heads, width, half;
    bool neighbours;
} rotation_shape;

typedef struct {
    double learning_rate, beta1, beta2, epsilon, decay;
    double gradient_scale;           /* clipping: what every gradient is multiplied by first */
    double correction1, correction2; /* 1 - beta^t */
    uint32_t rounding;               /* of moments in bf16: key of the random bits that round them */
} update_step;

enum { LSTM_GATES = 4, LSTM_FORGET_BIAS = 1 /* an LSTM remembers until it has learned what to forget */ };

/* The groups of a weight: value[g] is (out, in). packed: what pack_rows made of all groups, packed_size apart; NULL: value is read, and
 * packed anew in every product. */
typedef struct {
    real *const *value;
    const real *packed;
} matrices;

/* The groups of a weight that a file stores: group[g] is (out, in), rows of whole blocks. */
typedef struct {
    stored_type type;
    const void *const *group;
} stored_matrices;

/* y[r] = x[r] w[g]^T */
typedef struct {
    real *y;
    rows_of x;
    stored_matrices w;
    row_groups groups;
    ptrdiff_t in, out;
} stored_product;

/* Products in one precision: factors are rounded to it, sums are real. Of a weight, all groups at once. */
struct products {
    bool rounds; /* to bf16; only then may x of linear, dy of linear_dx, and both of linear_dw be rounded already */
    /* y[r] = x[r] w[g]^T */
    void (*linear)(real *y, rows_of x, const matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out);
    /* dx[r] (+)= dy[r] w[g];  accumulate: += */
    void (*linear_dx)(real *dx, rows_of dy, const matrices *w, row_groups g, ptrdiff_t in, ptrdiff_t out, bool accumulate);
    /* dw[g] (+)= sum_r dy[r]^T x[r];  dw is (groups, out, in). squares, unless NULL, receives squares_size numbers for each group that has
     * rows (or is overwritten): together, the sum of the squares of what dw[g] now is. soon: dw is read next, and should stay in the caches. */
    void (*linear_dw)(real *dw, real *squares, rows_of dy, rows_of x, row_groups g, ptrdiff_t in, ptrdiff_t out, bool accumulate, bool soon);
    /* Products that do not wait for one another, with what w stands for (kernels/stored.h). A few rows of x are never rounded to bf16; but in
     * products_int8, where w is in blocks, all are to eight bits: a block of a row has the scale s = max|x| / 127, and each number in it becomes
     * s round(x (1 / s)), ties to even, or 0 where s is below FLT_MIN. Then sums of values of a block, four at least, are exact integers, which s
     * and d multiply. */
    void (*linear_stored)(const stored_product *each, int n);

    /* y (queries, heads * value_dim) = softmax(scale q k^T) v over the keys a query sees; log_sum (queries, heads) = logarithm of the softmax's
     * denominator */
    void (*attention)(real *y, real *log_sum, const attention_inputs *in, attention_span span, attention_shape shape);
    /* all += */
    void (*attention_backward)(const attention_gradients *d, const real *dy, const real *y, const real *log_sum, const attention_inputs *in,
                               attention_span span, attention_shape shape);

    ptrdiff_t (*packed_size)(ptrdiff_t in, ptrdiff_t out); /* reals in the packed copy of one group */
    /* Remakes what depends on rows first .. first + rows of w (out, in). first is a multiple of PACKED_ROWS; rows too, or all the rest. */
    void (*pack_rows)(real *packed, const real *w, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t in, ptrdiff_t out);
    ptrdiff_t (*squares_size)(ptrdiff_t in, ptrdiff_t out);
    /* Whether w (out, in) is worth a packed copy, if a group meets so many rows from one update to the next. */
    bool (*worth_packing)(ptrdiff_t in, double rows);
};

enum { PACKED_ROWS = 32, PRODUCT_ROWS = 32 /* of factored_product: its work beside the product grows with their square */ };

/* A weight at its update. Gradient and adamw's moments are laid out like w: (groups, out, in). */
typedef struct {
    real *w, *first, *second; /* of factored, first is (groups, out) and second (groups, in) */
    const real *gradient;
    ptrdiff_t groups, out, in;
    real *packed; /* remade from the new w by products; NULL: there is none */
    const struct products *products;
    uint16_t *first_bf16, *second_bf16; /* adamw's moments in bf16, in place of first and second; else NULL */
} updated_weight;

struct kernels {
    const char *name;
    struct products products;             /* in real */
    const struct products *products_bf16; /* NULL where the machine has no instructions for it */
    struct products products_int8;        /* the same but for linear_stored; plain integer arithmetic where the machine has none for bytes */

    /* ---- rows ---- */
    /* y = x r w with r = 1 / sqrt(mean(x^2) + epsilon); inverse_rms keeps r (rows). w NULL: 1 */
    void (*rmsnorm)(real *y, real *inverse_rms, const real *x, const real *w, ptrdiff_t rows, ptrdiff_t width, real epsilon);
    /* dx += , dw += */
    void (*rmsnorm_backward)(real *dx, real *dw, const real *dy, const real *x, const real *inverse_rms, const real *w, ptrdiff_t rows,
                             ptrdiff_t width);
    /* Each pair turned by its angle: y1 = x1 c - x2 s, y2 = x2 c + x1 s; the other columns are as they were. cosine, sine (rows, half); sign -1
     * turns back. y may be x. */
    void (*rotate)(real *y, const real *x, const real *cosine, const real *sine, ptrdiff_t rows, rotation_shape shape, real sign);
    /* y[r] += row_weight[r] bias[g] in the rows of group g; row_weight NULL: 1 */
    void (*add_bias)(real *y, real *const *bias, const real *row_weight, row_groups g, ptrdiff_t width);
    /* dbias[g] += sum of row_weight[r] dy[r];  drow_weight[r] += <dy[r], bias[g]>, unless it is NULL */
    void (*add_bias_backward)(real *dbias, real *drow_weight, rows_of dy, real *const *bias, const real *row_weight, row_groups g, ptrdiff_t width);
    /* p = exp(x - max) / sum */
    void (*softmax)(real *p, const real *x, ptrdiff_t rows, ptrdiff_t width);
    /* dx += p (dp - <p, dp>) */
    void (*softmax_backward)(real *dx, const real *dp, const real *p, ptrdiff_t rows, ptrdiff_t width);
    /* log_sum = logarithm of sum(exp(x)) */
    void (*log_sum_exp)(real *log_sum, const real *x, ptrdiff_t rows, ptrdiff_t width);
    /* act = silu(gate) up row_weight[r]; row_weight NULL: 1 */
    void (*swiglu)(const inner_rows *inner, const real *row_weight, ptrdiff_t rows, ptrdiff_t width);
    /* From dact: gate and up are replaced by dgate and dup; act is made again for d-weight; drow_weight[r] = <dact, silu(gate) up>, NULL: not
     * wanted. */
    void (*swiglu_backward)(const inner_rows *inner, real *drow_weight, const real *dact, const real *row_weight, ptrdiff_t rows, ptrdiff_t width);
    /* The same with bounds: g = min(gate, limit), u = min(max(up, -limit), limit), act = g sigmoid(alpha g) (u + 1) row_weight[r]. */
    void (*swiglu_bounded)(const inner_rows *inner, const real *row_weight, ptrdiff_t rows, ptrdiff_t width, swiglu_bounds bounds);
    void (*swiglu_bounded_backward)(const inner_rows *inner, real *drow_weight, const real *dact, const real *row_weight, ptrdiff_t rows,
                                    ptrdiff_t width, swiglu_bounds bounds);
    /* act = max(0, up) row_weight[r], and of it the same; there is no gate */
    void (*relu)(const inner_rows *inner, const real *row_weight, ptrdiff_t rows, ptrdiff_t width);
    void (*relu_backward)(const inner_rows *inner, real *drow_weight, const real *dact, const real *row_weight, ptrdiff_t rows, ptrdiff_t width);
    /* loss[r] = log_sum(x) - x[target]; x is replaced by scale (softmax(x) - onehot), or that is put, rounded to bf16, where `rounded` is not NULL.
     * target -1: no loss, no gradient. */
    void (*cross_entropy)(double *loss, real *x, uint16_t *rounded, const int32_t *target, ptrdiff_t rows, ptrdiff_t width, real scale);
    /* y = a + b */
    void (*add)(real *y, const real *a, const real *b, ptrdiff_t n);
    /* y[r] = row row[r] of w, which is stored as this type (not STORED_REAL) */
    void (*stored_rows)(real *y, const void *w, stored_type type, const int32_t *row, ptrdiff_t rows, ptrdiff_t width);
    /* y[r] = x[row[r]] */
    void (*gather)(real *y, const real *x, const int32_t *row, ptrdiff_t rows, ptrdiff_t width);
    /* y[row[r]] += x[r], in order of r */
    void (*scatter_add)(real *y, const real *x, const int32_t *row, ptrdiff_t rows, ptrdiff_t width);
    /* y[n] (+)= sum of x[row[i]] over i in start[n] .. start[n + 1];  accumulate: += */
    void (*sum_rows)(real *y, const real *x, const int32_t *row, const ptrdiff_t *start, ptrdiff_t n, ptrdiff_t width, bool accumulate);

    /* sum += all rows of x, in order */
    void (*column_sums)(real *sum, const real *x, ptrdiff_t rows, ptrdiff_t width);

    /* ---- LSTM: a row's gates are four runs of U numbers, in the order i f g o ---- */
    /* a = gates + recurrent + bias, and LSTM_FORGET_BIAS of f;  gates become i f o = sigmoid(a), g = tanh(a);
     * cell = f before + i g;  said = o tanh(cell) */
    void (*lstm)(real *gates, real *cell, real *said, const real *recurrent, const real *bias, const real *before, ptrdiff_t rows, ptrdiff_t U);
    /* gates are replaced by da. dcell is that of cell, as later steps want it, and becomes that of before. */
    void (*lstm_backward)(real *gates, real *dcell, const real *dsaid, const real *cell, const real *before, ptrdiff_t rows, ptrdiff_t U);

    /* ---- gates: rows of width logits, of which K are chosen ---- */
    /* best (rows, K) = where each row's K largest are, largest first, ties to the lower place */
    void (*choose)(int32_t *best, const real *score, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t K);
    /* draw[r][i] = the normal number of index first[r] + i */
    void (*normals)(real *draw, random_key key, const uint64_t *first, ptrdiff_t rows, ptrdiff_t width);
    /* y = clean + draw softplus(noise) */
    void (*noisy)(real *y, const real *clean, const real *noise, const real *draw, ptrdiff_t n);
    /* dclean += dy, dnoise += draw sigmoid(noise) dy */
    void (*noisy_backward)(real *dclean, real *dnoise, const real *dy, const real *noise, const real *draw, ptrdiff_t n);
    /* p[r][i] = row_weight[r] Phi((clean[r][i] - rival) / softplus(noise[r][i])), the chance that i is chosen if its noise is drawn again. rival is
     * the K-th largest of the row's other noisy logits: best (rows, K + 1) says where. K < width. */
    void (*chances)(real *p, const real *clean, const real *noise, const real *noisy, const int32_t *best, ptrdiff_t K, const real *row_weight,
                    ptrdiff_t rows, ptrdiff_t width);
    /* dp[r] = dload[bin[r]]:   dclean +=, dnoise +=, dnoisy += */
    void (*chances_backward)(real *dclean, real *dnoise, real *dnoisy, const real *dload, const int32_t *bin, const real *clean, const real *noise,
                             const real *noisy, const int32_t *best, ptrdiff_t K, const real *row_weight, ptrdiff_t rows, ptrdiff_t width);

    /* ---- whole blocks ---- */
    /* y[i] (+)= x[i] / (1 - share), or 0 where the upper half of the random bits of index first + i is below share 2^32; 0 <= share < 1.
     * accumulate: += */
    void (*dropout)(real *y, const real *x, random_key key, uint64_t first, ptrdiff_t n, double share, bool accumulate);
    double (*sum_squares)(const real *x, ptrdiff_t n);
    /* m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  w = w (1 - lr decay) - lr (m / c1) / (sqrt(v / c2) + eps)   (Loshchilov & Hutter 2019)
     * step: one of each group; where gradient_scale is 0 the group stays as it is. Moments in bf16 are rounded up or down at random, to the right
     * value on average (Gupta et al. 2015, section 3), by bits that are a function of (step.rounding, place in the group); w has them unrounded. */
    void (*adamw)(const updated_weight *u, const update_step *step);
    /* r = b2 r + (1 - b2) mean of each row of g^2;  c likewise of each column;  v = r c^T / mean(r);
     * w = w (1 - lr decay) - lr g / (sqrt(v / c2) + eps), r in first and c in second (Shazeer et al. 2017, appendix D).
     * step as adamw's. */
    void (*factored)(const updated_weight *u, const update_step *step);
    /* The same where group e's gradient is the sum of dy[r]^T x[r] over rows start[e] .. start[e + 1], at most PRODUCT_ROWS of them, and is never
     * made. gradient_scale is found here, 0 where the gradient is not finite; clip: its largest norm, 0: any. A group for which it is 0 already
     * is left alone. */
    void (*factored_product)(const updated_weight *u, update_step *step, double clip, rows_of dy, rows_of x, row_groups g);

    /* Multiply-adds done in registers by the calling thread for about this long, times two, per second: the roof of everything above. */
    double (*peak_flops)(double seconds);
    double (*peak_flops_bf16)(double seconds); /* NULL with products_bf16 */
    double (*peak_flops_int8)(double seconds); /* NULL where the machine has no instruction for products_int8 */
};

extern const struct kernels kernels_scalar, kernels_avx2, kernels_avx512, kernels_avx512bf16, kernels_amx, kernels_neon;

/* The best table this machine runs; LAMP_KERNELS=scalar|avx2|avx512|avx512bf16|amx|neon overrides. Chosen once. LAMP_INVALID for a name that is unknown
 * or that this machine cannot run. */
int kernels_choose(const struct kernels **table);

/* All tables this machine runs, the portable one first; returns how many. */
enum { KERNEL_TABLES = 5 };
int kernels_available(const struct kernels *tables[KERNEL_TABLES]);

/* The products in bf16 where this machine has instructions for them that are faster than those in real. Told by the processor's kind, not measured:
 * a run must go on with the same bits. */
const struct products *kernels_fastest_products(const struct kernels *k);

/* The peak of all threads together, in multiply-adds times two per second: the best of several probes that take about this long in all. */
double kernels_measure_peak(double (*peak_flops)(double seconds), double seconds);

#endif
