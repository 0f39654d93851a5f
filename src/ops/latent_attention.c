/* Latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1). A token leaves a narrow row c and a rotated part r, which all heads share. Of c
 * each head h makes the rest of its key, and its value:  k_h = [U_h c | r],  v_h = V_h c.
 *
 * Absorbed: q_h k_h = (U_h^T q_h) c + q'_h r, with q'_h the rotated part of a query, and sum_j p_j v_hj = V_h sum_j p_j c_j. So all heads, with
 * queries [U_h^T q_h | q'_h], attend to the same rows [c | r], whose first part is also their value, and what a cache holds is never expanded. */
#include "ops/ops.h"

#include <string.h>

struct saved {
    tensor *kv, *turned, *k;
    latent_shape shape;
};

/* dkv's key columns += dk's;   dr += sum over heads of dk's rotated columns */
static void latent_keys_backward(tape *t, void *saved) {
    struct saved *s = saved;
    const latent_shape *a = &s->shape;
    const ptrdiff_t width = a->plain + a->rotary;
    real *dkv = tape_gradient(t, s->kv), *dturned = tape_gradient(t, s->turned);
#pragma omp parallel for schedule(static) if (s->k->rows * s->k->cols > 4096)
    for (ptrdiff_t n = 0; n < s->k->rows; n++)
        for (ptrdiff_t h = 0; h < a->heads; h++) {
            const real *dk = s->k->dx + (n * a->heads + h) * width;
            for (ptrdiff_t i = 0; i < a->plain; i++) dkv[(n * a->heads + h) * (a->plain + a->value) + i] += dk[i];
            for (ptrdiff_t i = 0; i < a->rotary; i++) dturned[n * a->rotary + i] += dk[a->plain + i];
        }
}

tensor *latent_keys(tape *t, tensor *kv, tensor *turned, latent_shape a) {
    const ptrdiff_t width = a.plain + a.rotary;
    tensor *k = tape_tensor(t, kv->rows, a.heads * width);
#pragma omp parallel for schedule(static) if (k->rows * k->cols > 4096)
    for (ptrdiff_t n = 0; n < k->rows; n++)
        for (ptrdiff_t h = 0; h < a.heads; h++) {
            real *row = k->x + (n * a.heads + h) * width;
            memcpy(row, kv->x + (n * a.heads + h) * (a.plain + a.value), sizeof(real) * (size_t)a.plain);
            memcpy(row + a.plain, turned->x + n * a.rotary, sizeof(real) * (size_t)a.rotary);
        }
    RECORD(t, k, latent_keys_backward, (struct saved){kv, turned, k, a});
    return k;
}

/* ---- absorbed ---------------------------------------------------------------------------------------------------------------- */

/* Each head's rows together, as products want them: row h N + n. */
static row_groups by_head(tape *t, ptrdiff_t N, ptrdiff_t H) {
    ptrdiff_t *start = tape_keep(t, sizeof *start * (size_t)(H + 1));
    for (ptrdiff_t h = 0; h <= H; h++) start[h] = h * N;
    return (row_groups){(int)H, start, 0};
}

/* [U_h^T q_h | q'_h], (N, H (rank + rotary)) */
static tensor *absorb_keys(tape *t, const tensor *q, const weight *key_value, row_groups heads, latent_shape a) {
    const ptrdiff_t N = q->rows, H = a.heads, width = a.plain + a.rotary, wide = a.rank + a.rotary;
    const weight U = weight_part(t, key_value, H, 0, a.plain);
    tensor *y = tape_tensor(t, N, H * wide);
    real *plain = tape_borrow(t, H * N * a.plain), *narrow = tape_borrow(t, H * N * a.rank);
    for (ptrdiff_t i = 0; i < N * H; i++) memcpy(plain + (i % H * N + i / H) * a.plain, q->x + i * width, sizeof(real) * (size_t)a.plain);
    weight_linear_dx(t, narrow, (rows_of){.x = plain}, &U, heads, false);
    for (ptrdiff_t i = 0; i < N * H; i++) {
        memcpy(y->x + i * wide, narrow + (i % H * N + i / H) * a.rank, sizeof(real) * (size_t)a.rank);
        memcpy(y->x + i * wide + a.rank, q->x + i * width + a.plain, sizeof(real) * (size_t)a.rotary);
    }
    tape_return(t, plain), tape_return(t, narrow);
    return y;
}

/* V_h of what each head has gathered: (N, H rank) becomes (N, H value). */
static tensor *expand_values(tape *t, const tensor *gathered, const weight *key_value, row_groups heads, latent_shape a) {
    const ptrdiff_t N = gathered->rows, H = a.heads;
    const weight V = weight_part(t, key_value, H, a.plain, a.value);
    int32_t *row = tape_keep(t, 2 * sizeof *row * (size_t)(N * H)), *back = row + N * H;
    for (int32_t i = 0; i < N * H; i++) back[i] = (int32_t)(i % H * N + i / H), row[back[i]] = i;
    tensor *y = tape_tensor(t, N, H * a.value);
    real *values = tape_borrow(t, H * N * a.value);
    weight_linear(t, values, (rows_of){.x = gathered->x, .row = row}, &V, heads);
    t->k->gather(y->x, values, back, N * H, a.value);
    tape_return(t, values);
    return y;
}

tensor *latent_attention_cached(tape *t, tensor *q, const real *rows, const weight *key_value, attention_span span, attention_shape shape,
                                latent_shape a) {
    const row_groups heads = by_head(t, q->rows, a.heads);
    const heads_of cached = {rows, a.rank + a.rotary, 0};
    shape.kv_heads = 1, shape.head_dim = a.rank + a.rotary, shape.value_dim = a.rank;
    tensor *wide = absorb_keys(t, q, key_value, heads, a);
    return expand_values(t, attention_cached(t, wide, cached, cached, NULL, span, shape), key_value, heads, a);
}
