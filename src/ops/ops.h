/* The operations a backbone is written in. One file is one operation: its derivation, forward and backward. N tokens, width D.
 *
 * To add one: a file with `tensor *name(tape *, inputs, weights, sizes)` that calls kernels, RECORDs a struct of what backward needs and
 * the weights it uses (tape_use), and a static backward with its derivation above it; its declaration here; its case in tests/grad/ops_test.c. */
#ifndef OPS_H
#define OPS_H

#include "tensor/tape.h"
#include "tensor/token_batch.h"
#include "tensor/weight_products.h"

/* y (N, D) = w[token] */
tensor *embedding(tape *t, const weight *w, const int32_t *token, ptrdiff_t N);

/* y (N, out) = x w^T */
tensor *linear(tape *t, tensor *x, const weight *w);

/* y[i] (N, out of w[i]) = x w[i]^T */
void linear_each(tape *t, tensor **y, tensor *x, const weight *const *w, int n);

/* The same group by group: rows of group g with matrix g of w or, where w has fewer, with the g-th of as many parts of it. */
tensor *linear_in_groups(tape *t, tensor *x, const weight *w, row_groups groups);

/* y itself, with b added to each row; only of what `linear` just made. b NULL: nothing is added. */
tensor *add_bias(tape *t, tensor *y, const weight *b);

/* x itself, held within -most .. most; only of what `linear`, `add_bias` or `rmsnorm` just made. most 0: as it is. */
tensor *clip(tape *t, tensor *x, double most);

/* Each run of w->in columns of x is scaled to root mean square 1 and multiplied by w (Zhang & Sennrich 2019). */
tensor *rmsnorm(tape *t, tensor *x, const weight *w, double epsilon);

/* The same of runs of `width` columns, without a weight. */
tensor *unit_rms(tape *t, tensor *x, ptrdiff_t width, double epsilon);

/* Rotary positions (Su et al. 2021): angle position * frequency[i] of pair i, which also becomes `length` times as long. Pairs are (i, i + half)
 * or, as neighbours, (2 i, 2 i + 1). */
typedef struct {
    const real *cosine, *sine; /* (N, half) */
    ptrdiff_t half;
    bool neighbours;
} rotary_angles;
rotary_angles rotary_angles_make(tape *t, const ptrdiff_t *position, ptrdiff_t N, const double *frequency, ptrdiff_t half, double length);
/* Each head is `width` columns, of which the last 2 half turn. */
tensor *rotary(tape *t, tensor *x, ptrdiff_t width, rotary_angles angles);

/* Where the heads of a tensor's rows lie: head h begins at column first + h apart. */
typedef struct {
    tensor *rows;
    ptrdiff_t first, apart;
} tensor_heads;

/* Causal grouped-query attention, of as many positions as the shape's window says; y (queries, heads * value_dim). sinks: one more score of each
 * head, or NULL. Generation has no tensors of keys and values, but cached rows of both, and no backward. */
tensor *attention(tape *t, tensor *q, tensor_heads k, tensor_heads v, const weight *sinks, attention_span span, attention_shape shape);
tensor *attention_cached(tape *t, tensor *q, heads_of k, heads_of v, const weight *sinks, attention_span span, attention_shape shape);

/* An LSTM of U units that says rows of width D (Hochreiter & Schmidhuber 1997, Gers et al. 2000; projected: Sak et al. 2014):
 *     i f o = sigmoid, g = tanh of x W_x^T + h W_h^T + b,   c = f c + i g,   h = o tanh(c), or (o tanh(c)) W_p^T */
typedef struct {
    weight *input, *recurrent; /* (4U, width of x), (4U, D): gates in the order i f g o */
    weight *bias;              /* (4U); LSTM_FORGET_BIAS is added to f */
    weight *projection;        /* (D, U), or NULL where U = D */
} lstm_weights;
/* y (N, D) = h of every token. hidden (sequences, D) and cell (sequences, U): what each sequence begins with, and afterwards what it ended
 * with; no gradient goes there. NULL: zero. */
tensor *lstm(tape *t, tensor *x, const lstm_weights *w, const token_batch *batch, real *hidden, real *cell);

/* Of latent attention: heads, and the channels of a head's key with and without a rotation, of its value, and of the narrow row of a token. */
typedef struct {
    ptrdiff_t heads, plain, rotary, value, rank;
} latent_shape;

/* (N, heads (plain + rotary)): of kv (N, heads (plain + value)) each head's plain part, and of turned (N, rotary) the same for all. Values are
 * tensor_heads of kv. */
tensor *latent_keys(tape *t, tensor *kv, tensor *turned, latent_shape a);

/* The same as attention to these keys and values, from cached rows [narrow | turned] alone; no backward. key_value (heads (plain + value), rank). */
tensor *latent_attention_cached(tape *t, tensor *q, const real *rows, const weight *key_value, attention_span span, attention_shape shape,
                                latent_shape a);

/* y = columns first .. first + n of x */
tensor *columns(tape *t, tensor *x, ptrdiff_t first, ptrdiff_t n);

tensor *add(tape *t, tensor *a, tensor *b);

/* While training a share of the numbers become 0, and the others make up for it. layer: each use in a pass has its own. */
tensor *dropout(tape *t, tensor *x, double share, int layer);

/* y = 1 / (1 + exp(-x)) */
tensor *sigmoid(tape *t, tensor *x);

/* y = max(0, x) */
tensor *relu(tape *t, tensor *x);

/* y[r] = factor[r] x[r]; factor has as many elements as x has rows */
tensor *scale_rows(tape *t, tensor *x, tensor *factor);

/* p = softmax of each row */
tensor *softmax(tape *t, tensor *x);

/* The output head and its cross-entropy in one, in chunks of rows: the logits are never kept. Returns the loss of each token (N); adds
 * their sum times t->loss_scale to the ledger as "loss". A training tape makes the gradients of x and w in this same pass, because
 * the logits are at hand here and the loss is where backward starts. target -1 is not counted. */
const double *head_loss(tape *t, tensor *x, const weight *w, const int32_t *target);
/* The same for training alone, where the softmax is not over all words but over what follows and so many drawn at random; a large vocabulary's ids
 * should follow frequency. The loss is an estimate, a little low on average. */
const double *head_loss_sampled(tape *t, tensor *x, const weight *w, const int32_t *target, ptrdiff_t samples);
/* Reals that either borrows for its time. samples 0: of all words; rounded: products round to bf16 */
ptrdiff_t head_loss_values(ptrdiff_t tokens, const weight *w, ptrdiff_t samples, bool rounded);

#endif
