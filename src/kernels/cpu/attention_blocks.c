/* Causal attention in blocks of QUERIES x KEYS, so that the score matrix is never kept (Dao et al. 2022, "FlashAttention", algorithm 1).
 * Keys beyond a query's own position score -infinity, which exp turns into 0.
 *
 * Backward makes the probabilities again from log_sum. With P = exp(scale q k^T - log_sum), y = P v:
 *     dv = P^T dy;   dP = dy v^T;   dS = P (dP - delta), delta = sum_j P dP = <dy, y>;   dq = scale dS k;   dk = scale dS^T q */

enum { QUERIES = 64, KEYS = 128 };

/* scores (queries, KEYS) of queries i0.. against keys j0.., scaled; a query i may see key j if j <= i + lag */
static void score_block(const arithmetic *how, real *scores, const operand *q, ptrdiff_t i0, ptrdiff_t queries, const operand *k, ptrdiff_t j0,
                        ptrdiff_t keys, ptrdiff_t lag, const attention_shape *shape, room *r) {
    multiply_tile(how, scores, KEYS, q, i0, queries, k, j0, keys, shape->head_dim, false, r);
    for (ptrdiff_t i = 0; i < queries; i++) {
        ptrdiff_t seen = i0 + i + lag + 1 - j0;
        real *row = scores + i * KEYS;
        for (ptrdiff_t j = 0; j < keys; j++) row[j] *= shape->scale;
        for (ptrdiff_t j = seen < 0 ? 0 : seen; j < keys; j++) row[j] = -(real)INFINITY;
    }
}

static void attend_block(const arithmetic *how, real *y, real *log_sum, const operand *q, const operand *k, const operand *v, ptrdiff_t i0,
                         ptrdiff_t queries, ptrdiff_t keys, ptrdiff_t lag, ptrdiff_t y_stride, const attention_shape *shape) {
    real scores[QUERIES * KEYS] __attribute__((aligned(64)));
    real most[QUERIES], sum[QUERIES];
    room r;
    ptrdiff_t visible = i0 + queries + lag < keys ? i0 + queries + lag : keys;
    for (ptrdiff_t i = 0; i < queries; i++) {
        most[i] = -(real)INFINITY, sum[i] = 0;
        memset(y + i * y_stride, 0, sizeof(real) * (size_t)shape->head_dim);
    }
    for (ptrdiff_t j0 = 0; j0 < visible; j0 += KEYS) {
        ptrdiff_t wide = visible - j0 < KEYS ? visible - j0 : KEYS;
        score_block(how, scores, q, i0, queries, k, j0, wide, lag, shape, &r);
        for (ptrdiff_t i = 0; i < queries; i++) {
            real *row = scores + i * KEYS, here = largest(row, wide), top = here > most[i] ? here : most[i];
            if (top == -(real)INFINITY) { /* this block lies wholly in the query's future */
                memset(row, 0, sizeof(real) * (size_t)wide);
                continue;
            }
            real shrink = (real)exp((double)(most[i] - top));
            sum[i] = sum[i] * shrink + exponentiate(row, top, wide);
            most[i] = top;
            if (shrink != 1)
                for (ptrdiff_t d = 0; d < shape->head_dim; d++) y[i * y_stride + d] *= shrink;
        }
        operand weights = {scores, KEYS, NULL, ACROSS}, values = *v;
        values.x += j0 * v->stride;
        multiply_tile(how, y, y_stride, &weights, 0, queries, &values, 0, shape->head_dim, wide, true, &r);
    }
    for (ptrdiff_t i = 0; i < queries; i++) {
        real inverse = 1 / sum[i];
        for (ptrdiff_t d = 0; d < shape->head_dim; d++) y[i * y_stride + d] *= inverse;
        log_sum[i * shape->heads] = most[i] + (real)log((double)sum[i]);
    }
}

static void attention_by(const arithmetic *how, real *y, real *log_sum, const real *q, const real *k, const real *v, attention_span span,
                         attention_shape shape) {
    ptrdiff_t H = shape.heads, q_stride = H * shape.head_dim, k_stride = shape.kv_heads * shape.head_dim, longest = 0;
    for (int s = 0; s < span.n; s++)
        if (span.query_start[s + 1] - span.query_start[s] > longest) longest = span.query_start[s + 1] - span.query_start[s];
    ptrdiff_t blocks = ceiling(longest, QUERIES);
#pragma omp parallel for schedule(dynamic) if (span.n * H * blocks > 1 && longest > 1)
    for (ptrdiff_t task = 0; task < span.n * H * blocks; task++) {
        ptrdiff_t s = task / (H * blocks), h = task / blocks % H, i0 = task % blocks * QUERIES;
        ptrdiff_t first = span.query_start[s], queries = span.query_start[s + 1] - first, keys = span.key_end[s] - span.key_start[s];
        if (i0 >= queries) continue;
        ptrdiff_t column = h * shape.head_dim, kv_column = h / (H / shape.kv_heads) * shape.head_dim, row = span.key_start[s];
        operand queries_of = {q + first * q_stride + column, q_stride, NULL, ACROSS};
        operand keys_of = {k + row * k_stride + kv_column, k_stride, NULL, ACROSS},
                values_of = {v + row * k_stride + kv_column, k_stride, NULL, ALONG};
        attend_block(how, y + (first + i0) * q_stride + column, log_sum + (first + i0) * H + h, &queries_of, &keys_of, &values_of, i0,
                     queries - i0 < QUERIES ? queries - i0 : QUERIES, keys, keys - queries, q_stride, &shape);
    }
}

/* One query head's part of the gradients of its key-value head. */
static void attend_backward(const arithmetic *how, real *dq, real *dk, real *dv, const real *dy, const real *y, const real *log_sum, const real *q,
                            const real *k, const real *v, ptrdiff_t queries, ptrdiff_t keys, const attention_shape *shape) {
    ptrdiff_t D = shape->head_dim, q_stride = shape->heads * D, k_stride = shape->kv_heads * D, lag = keys - queries;
    real probability[QUERIES * KEYS] __attribute__((aligned(64))), dscore[QUERIES * KEYS] __attribute__((aligned(64)));
    room r;
    operand q_rows = {q, q_stride, NULL, ACROSS}, k_rows = {k, k_stride, NULL, ACROSS}, v_rows = {v, k_stride, NULL, ACROSS};
    operand dy_rows = {dy, q_stride, NULL, ACROSS};
    for (ptrdiff_t i0 = 0; i0 < queries; i0 += QUERIES) {
        ptrdiff_t high = queries - i0 < QUERIES ? queries - i0 : QUERIES, visible = i0 + high + lag;
        real delta[QUERIES];
        for (ptrdiff_t i = 0; i < high; i++) delta[i] = dot(dy + (i0 + i) * q_stride, y + (i0 + i) * q_stride, D);
        for (ptrdiff_t j0 = 0; j0 < visible; j0 += KEYS) {
            ptrdiff_t wide = visible - j0 < KEYS ? visible - j0 : KEYS;
            score_block(how, probability, &q_rows, i0, high, &k_rows, j0, wide, lag, shape, &r);
            multiply_tile(how, dscore, KEYS, &dy_rows, i0, high, &v_rows, j0, wide, D, false, &r);
            for (ptrdiff_t i = 0; i < high; i++) {
                real *p = probability + i * KEYS, *ds = dscore + i * KEYS;
                exponentiate(p, log_sum[(i0 + i) * shape->heads], wide);
                for (ptrdiff_t j = 0; j < wide; j++) ds[j] = p[j] * (ds[j] - delta[i]) * shape->scale;
            }
            operand p_along = {probability, KEYS, NULL, ALONG}, ds_along = {dscore, KEYS, NULL, ALONG}, ds_across = {dscore, KEYS, NULL, ACROSS};
            operand dy_along = {dy + i0 * q_stride, q_stride, NULL, ALONG}, q_along = {q + i0 * q_stride, q_stride, NULL, ALONG};
            operand k_along = {k + j0 * k_stride, k_stride, NULL, ALONG};
            multiply_tile(how, dv + j0 * k_stride, k_stride, &p_along, 0, wide, &dy_along, 0, D, high, true, &r);
            multiply_tile(how, dk + j0 * k_stride, k_stride, &ds_along, 0, wide, &q_along, 0, D, high, true, &r);
            multiply_tile(how, dq + i0 * q_stride, q_stride, &ds_across, 0, high, &k_along, 0, D, wide, true, &r);
        }
    }
}

static void attention_backward_by(const arithmetic *how, real *dq, real *dk, real *dv, const real *dy, const real *y, const real *log_sum,
                                  const real *q, const real *k, const real *v, attention_span span, attention_shape shape) {
    ptrdiff_t H = shape.heads, D = shape.head_dim, shared = H / shape.kv_heads, q_stride = H * D, k_stride = shape.kv_heads * D;
#pragma omp parallel for schedule(dynamic)
    for (ptrdiff_t task = 0; task < span.n * shape.kv_heads; task++) {
        ptrdiff_t s = task / shape.kv_heads, kv = task % shape.kv_heads;
        ptrdiff_t row = span.query_start[s] * q_stride, key_row = span.key_start[s] * k_stride + kv * D;
        for (ptrdiff_t h = kv * shared; h < (kv + 1) * shared; h++)
            attend_backward(how, dq + row + h * D, dk + key_row, dv + key_row, dy + row + h * D, y + row + h * D,
                            log_sum + span.query_start[s] * H + h, q + row + h * D, k + key_row, v + key_row,
                            span.query_start[s + 1] - span.query_start[s], span.key_end[s] - span.key_start[s], &shape);
    }
}

static void attention(real *y, real *log_sum, const real *q, const real *k, const real *v, attention_span span, attention_shape shape) {
    attention_by(&numbers, y, log_sum, q, k, v, span, shape);
}
static void attention_backward(real *dq, real *dk, real *dv, const real *dy, const real *y, const real *log_sum, const real *q, const real *k,
                               const real *v, attention_span span, attention_shape shape) {
    attention_backward_by(&numbers, dq, dk, dv, dy, y, log_sum, q, k, v, span, shape);
}
