/* Causal attention in blocks of QUERIES x KEYS, so that the score matrix is never kept (Dao et al. 2022, "FlashAttention", algorithm 1).
 * Keys that a query does not see score -infinity, which exp turns into 0; blocks of keys that no query of a block sees are passed over.
 * A sink is one more score, of no key: it has its share of the sum, and gives nothing.
 *
 * Backward makes the probabilities again from log_sum. With P = exp(scale q k^T - log_sum), y = P v:
 *     dv = P^T dy;   dP = dy v^T;   dS = P (dP - delta), delta = sum_j P dP = <dy, y>;   dq = scale dS k;   dk = scale dS^T q
 * The sink's share exp(sink - log_sum) stands before a value of 0:   dsink = -sum of share delta */

enum { QUERIES = 64, KEYS = 128 };

/* Rows of q that look at the same keys: neighbouring queries of a head, or, where a sequence has one query, heads of it. Row i is at position
 * position + i later of its sequence. */
typedef struct {
    operand q;
    ptrdiff_t rows, position, later;
    const real *sink; /* of row 0; the next row's is sink_step further */
    ptrdiff_t sink_step;
    real *y, *log_sum;
    ptrdiff_t y_stride, log_stride;
} query_block;

static inline ptrdiff_t first_seen(const attention_shape *shape, ptrdiff_t position) {
    if (shape->window == 0) return 0;
    ptrdiff_t first = shape->chunked ? position - position % shape->window : position - shape->window + 1;
    return first > 0 ? first : 0;
}

/* Where the first block of keys begins that a query at `position`, or one after it, sees. */
static inline ptrdiff_t first_block(const attention_shape *shape, ptrdiff_t position) { return first_seen(shape, position) / KEYS * KEYS; }

/* One query reads each key and each value once: what counts is how fast they stream in, and packing them does not pay. They lie a whole token apart,
 * which processors do not foresee. */
enum { KEYS_AHEAD = 8 };

static inline void fetch_key(const real *x, ptrdiff_t width) { fetch_bytes((const unsigned char *)x, width * (ptrdiff_t)sizeof(real)); }

/* scores (rows, KEYS) of the heads of one query */
static void score_heads(real *scores, const query_block *b, const real *k, ptrdiff_t stride, ptrdiff_t keys, ptrdiff_t width) {
    for (ptrdiff_t j = 0; j < keys; j++, k += stride) {
        if (j + KEYS_AHEAD < keys) fetch_key(k + KEYS_AHEAD * stride, width);
        for (ptrdiff_t i = 0; i < b->rows; i++) scores[i * KEYS + j] = dot(b->q.x + i * b->q.stride, k, width);
    }
}

/* y (rows, width) += weights (rows, KEYS) v (keys, width) */
static void add_values(const query_block *b, const real *weights, const real *v, ptrdiff_t stride, ptrdiff_t keys, ptrdiff_t width) {
    enum { WIDE = 8 };
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        const real *weight = weights + i * KEYS;
        real *y = b->y + i * b->y_stride;
        ptrdiff_t d = 0;
        for (; d + WIDE * LANES <= width; d += WIDE * LANES) {
            V sum[WIDE];
            for (int c = 0; c < WIDE; c++) sum[c] = load(y + d + c * LANES);
            for (ptrdiff_t j = 0; j < keys; j++) {
                const real *from = v + j * stride + d;
                if (j + KEYS_AHEAD < keys) fetch_key(from + KEYS_AHEAD * stride, WIDE * LANES);
                for (int c = 0; c < WIDE; c++) sum[c] += weight[j] * load(from + c * LANES);
            }
            for (int c = 0; c < WIDE; c++) store(y + d + c * LANES, sum[c]);
        }
        for (; d < width; d += LANES) {
            V sum = load_left(y + d, width - d, 0);
            for (ptrdiff_t j = 0; j < keys; j++) sum += weight[j] * load_left(v + j * stride + d, width - d, 0);
            store_left(y + d, sum, width - d);
        }
    }
}

/* scores (rows, KEYS) against keys j0 .. j0 + keys, scaled */
static void score_block(const arithmetic *how, real *scores, const query_block *b, const operand *k, ptrdiff_t j0, ptrdiff_t keys,
                        const attention_shape *shape, room *r) {
    if (b->later == 0) score_heads(scores, b, k->x + j0 * k->stride, k->stride, keys, shape->head_dim);
    else multiply_tile(how, scores, KEYS, &b->q, 0, b->rows, k, j0, keys, shape->head_dim, false, r);
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        const ptrdiff_t position = b->position + i * b->later, before = first_seen(shape, position) - j0, seen = position + 1 - j0;
        real *row = scores + i * KEYS;
        for (ptrdiff_t j = 0; j < keys; j++) row[j] *= shape->scale;
        for (ptrdiff_t j = 0; j < smaller(before, keys); j++) row[j] = -(real)INFINITY;
        for (ptrdiff_t j = seen < 0 ? 0 : seen; j < keys; j++) row[j] = -(real)INFINITY;
    }
}

/* Softmax over blocks of keys, of rows side by side: the largest score so far, the sum of exp(score - most), and what both and y have to be multiplied by
 * for this block's sake. */
typedef struct {
    real most[QUERIES], sum[QUERIES], shrink[QUERIES];
} running_softmax;

/* A row that has seen nothing yet keeps -INFINITY. */
static void follow_largest(running_softmax *s, const real *scores, ptrdiff_t rows, ptrdiff_t keys) {
    real here[QUERIES] = {0};
    for (ptrdiff_t i = 0; i < rows; i++) here[i] = largest(scores + i * KEYS, keys);
    for (ptrdiff_t i = 0; i < rows; i += LANES) {
        const V was = load(s->most + i), most = larger(load(here + i), was);
        const V shrink = select_lanes(was == most, 1 - (V){0}, exp_lanes(was - most));
        store(s->most + i, most), store(s->shrink + i, shrink), store(s->sum + i, load(s->sum + i) * shrink);
    }
}

static void attend_block(const arithmetic *how, const query_block *b, const operand *k, const operand *v, const attention_shape *shape) {
    real scores[QUERIES * KEYS] __attribute__((aligned(64)));
    running_softmax s = {0};
    room *r = begin_products(how);
    const ptrdiff_t begin = first_block(shape, b->position), end = b->position + (b->rows - 1) * b->later + 1, width = shape->value_dim;
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        s.most[i] = b->sink ? b->sink[i * b->sink_step] : -(real)INFINITY, s.sum[i] = b->sink ? 1 : 0;
        if (b->later == 0) memset(b->y + i * b->y_stride, 0, sizeof(real) * (size_t)width);
    }
    for (ptrdiff_t j0 = begin; j0 < end; j0 += KEYS) {
        const ptrdiff_t wide = smaller(end - j0, KEYS);
        score_block(how, scores, b, k, j0, wide, shape, r);
        follow_largest(&s, scores, b->rows, wide);
        for (ptrdiff_t i = 0; i < b->rows; i++) {
            real *row = scores + i * KEYS, *y = b->y + i * b->y_stride;
            if (s.most[i] == -(real)INFINITY) memset(row, 0, sizeof(real) * (size_t)wide);
            else s.sum[i] += exponentiate(row, s.most[i], wide);
            for (ptrdiff_t d = 0; j0 > begin && s.shrink[i] != 1 && d < width; d++) y[d] *= s.shrink[i];
        }
        operand weights = across(scores, KEYS, NULL), values = *v;
        values.x += j0 * v->stride;
        if (b->later == 0) add_values(b, scores, values.x, v->stride, wide, width);
        else multiply_tile(how, b->y, b->y_stride, &weights, 0, b->rows, &values, 0, width, wide, j0 > begin, r);
    }
    for (ptrdiff_t i = 0; i < b->rows; i++) {
        real inverse = 1 / s.sum[i];
        for (ptrdiff_t d = 0; d < width; d++) b->y[i * b->y_stride + d] *= inverse;
        b->log_sum[i * b->log_stride] = s.most[i] + (real)log((double)s.sum[i]);
    }
    end_products(how, r);
}

/* Heads of one query that look at the same keys, together: all that share them, but fewer where that would leave a thread alone. */
static ptrdiff_t heads_together(const attention_shape *shape) {
    ptrdiff_t shared = shape->heads / shape->kv_heads;
    return smaller(shape->kv_heads < 4 ? ceiling(shared, 4) : shared, QUERIES);
}

/* The part-th block of the sequence whose query 0 is row `first`; false: there is none. */
static bool find_queries(query_block *b, ptrdiff_t *kv_head, const attention_inputs *in, real *y, real *log_sum, ptrdiff_t first, ptrdiff_t queries,
                         ptrdiff_t past, ptrdiff_t part, const attention_shape *shape) {
    const ptrdiff_t H = shape->heads, shared = H / shape->kv_heads, together = heads_together(shape), parts = ceiling(shared, together);
    const bool alone = queries == 1;
    const ptrdiff_t i0 = alone ? 0 : part / H * QUERIES, of_kv = alone ? part % parts * together : part % H % shared;
    *kv_head = alone ? part / parts : part % H / shared;
    if (*kv_head >= shape->kv_heads || i0 >= queries) return false;
    const ptrdiff_t head = *kv_head * shared + of_kv, row = (first + i0) * H + head;
    *b = (query_block){.q = across(in->q + row * shape->head_dim, (alone ? 1 : H) * shape->head_dim, NULL),
                       .rows = alone ? smaller(together, shared - of_kv) : smaller(QUERIES, queries - i0),
                       .position = past + i0,
                       .later = !alone,
                       .sink = in->sink ? in->sink + head : NULL,
                       .sink_step = alone,
                       .y = y + row * shape->value_dim,
                       .log_sum = log_sum + row,
                       .y_stride = (alone ? 1 : H) * shape->value_dim,
                       .log_stride = alone ? 1 : H};
    return true;
}

static void attention_by(const arithmetic *how, real *y, real *log_sum, const attention_inputs *in, attention_span span, attention_shape shape) {
    ptrdiff_t longest = 0, most_keys = 0;
    for (int s = 0; s < span.n; s++) {
        ptrdiff_t queries = span.query_start[s + 1] - span.query_start[s], keys = span.key_end[s] - span.key_start[s];
        if (queries > longest) longest = queries;
        if (keys > most_keys) most_keys = keys;
    }
    const ptrdiff_t parts = shape.heads * ceiling(longest, QUERIES);
#pragma omp parallel for schedule(dynamic) if (span.n * parts > 1 && longest * most_keys * shape.heads * shape.head_dim > SMALL_PRODUCT)
    for (ptrdiff_t task = 0; task < span.n * parts; task++) {
        const ptrdiff_t s = task / parts, first = span.query_start[s], queries = span.query_start[s + 1] - first, row = span.key_start[s];
        query_block b;
        ptrdiff_t kv;
        if (!find_queries(&b, &kv, in, y, log_sum, first, queries, span.key_end[s] - row - queries, task % parts, &shape)) continue;
        operand k = across(in->k.x + row * in->k.row + kv * in->k.head, in->k.row, NULL);
        operand v = along(in->v.x + row * in->v.row + kv * in->v.head, in->v.row, NULL);
        attend_block(how, &b, &k, &v, &shape);
    }
}

/* What one query head of a sequence adds to the gradients. */
typedef struct {
    query_block block; /* y and log_sum are read */
    operand k, v;      /* of its keys, in order */
    const real *dy;
    real *dq, *dk, *dv;
    ptrdiff_t q_stride;
} head_backward;

/* Of the queries of h->block, which end before key `end`. */
static void attend_block_backward(const arithmetic *how, const head_backward *h, ptrdiff_t end, const attention_shape *shape) {
    const query_block *b = &h->block;
    const ptrdiff_t D = shape->head_dim, width = shape->value_dim;
    real probability[QUERIES * KEYS] __attribute__((aligned(64))), dscore[QUERIES * KEYS] __attribute__((aligned(64))), delta[QUERIES];
    room *r = begin_products(how);
    operand dy = across(h->dy, b->y_stride, NULL), v = h->v;
    v.lies = ACROSS;
    for (ptrdiff_t i = 0; i < b->rows; i++) delta[i] = dot(h->dy + i * b->y_stride, b->y + i * b->y_stride, width);
    for (ptrdiff_t j0 = first_block(shape, b->position); j0 < end; j0 += KEYS) {
        ptrdiff_t wide = smaller(end - j0, KEYS);
        score_block(how, probability, b, &h->k, j0, wide, shape, r);
        multiply_tile(how, dscore, KEYS, &dy, 0, b->rows, &v, j0, wide, width, false, r);
        for (ptrdiff_t i = 0; i < b->rows; i++) {
            real *p = probability + i * KEYS, *ds = dscore + i * KEYS;
            exponentiate(p, b->log_sum[i * b->log_stride], wide);
            for (ptrdiff_t j = 0; j < wide; j++) ds[j] = p[j] * (ds[j] - delta[i]) * shape->scale;
        }
        operand p_along = along(probability, KEYS, NULL), ds_along = along(dscore, KEYS, NULL), ds_across = across(dscore, KEYS, NULL);
        operand dy_along = along(h->dy, b->y_stride, NULL), q_along = along(b->q.x, b->q.stride, NULL);
        operand k_along = along(h->k.x + j0 * h->k.stride, h->k.stride, NULL);
        multiply_tile(how, h->dv + j0 * v.stride, v.stride, &p_along, 0, wide, &dy_along, 0, width, b->rows, true, r);
        multiply_tile(how, h->dk + j0 * h->k.stride, h->k.stride, &ds_along, 0, wide, &q_along, 0, D, b->rows, true, r);
        multiply_tile(how, h->dq, h->q_stride, &ds_across, 0, b->rows, &k_along, 0, D, wide, true, r);
    }
    end_products(how, r);
}

/* In order of the queries, whatever the number of threads. */
static void sink_backward(real *dsink, const real *dy, const real *y, const real *log_sum, const real *sink, ptrdiff_t rows,
                          const attention_shape *shape) {
    const ptrdiff_t H = shape->heads, width = shape->value_dim;
#pragma omp parallel for schedule(static)
    for (ptrdiff_t h = 0; h < H; h++) {
        real sum = 0;
        for (ptrdiff_t i = h; i < rows * H; i += H) sum += (real)exp((double)(sink[h] - log_sum[i])) * dot(dy + i * width, y + i * width, width);
        dsink[h] -= sum;
    }
}

static void attention_backward_by(const arithmetic *how, const attention_gradients *d, const real *dy, const real *y, const real *log_sum,
                                  const attention_inputs *in, attention_span span, attention_shape shape) {
    const ptrdiff_t H = shape.heads, shared = H / shape.kv_heads, q_stride = H * shape.head_dim, y_stride = H * shape.value_dim;
#pragma omp parallel for schedule(dynamic)
    for (ptrdiff_t task = 0; task < span.n * shape.kv_heads; task++) {
        const ptrdiff_t s = task / shape.kv_heads, kv = task % shape.kv_heads, queries = span.query_start[s + 1] - span.query_start[s];
        const ptrdiff_t row = span.key_start[s], past = span.key_end[s] - row - queries;
        const ptrdiff_t at_k = row * in->k.row + kv * in->k.head, at_v = row * in->v.row + kv * in->v.head;
        for (ptrdiff_t h = kv * shared; h < (kv + 1) * shared; h++)
            for (ptrdiff_t i0 = 0; i0 < queries; i0 += QUERIES) {
                const ptrdiff_t first = (span.query_start[s] + i0) * H + h, rows = smaller(queries - i0, QUERIES);
                head_backward of_head = {
                    .block = {.q = across(in->q + first * shape.head_dim, q_stride, NULL),
                              .rows = rows,
                              .position = past + i0,
                              .later = 1,
                              .y = (real *)(uintptr_t)(y + first * shape.value_dim),
                              .log_sum = (real *)(uintptr_t)(log_sum + first),
                              .y_stride = y_stride,
                              .log_stride = H},
                    .k = across(in->k.x + at_k, in->k.row, NULL),
                    .v = along(in->v.x + at_v, in->v.row, NULL),
                    .dy = dy + first * shape.value_dim,
                    .dq = d->q + first * shape.head_dim,
                    .dk = d->k + at_k,
                    .dv = d->v + at_v,
                    .q_stride = q_stride,
                };
                attend_block_backward(how, &of_head, past + i0 + rows, &shape);
            }
    }
    if (d->sink) sink_backward(d->sink, dy, y, log_sum, in->sink, span.query_start[span.n], &shape);
}

static void attention(real *y, real *log_sum, const attention_inputs *in, attention_span span, attention_shape shape) {
    attention_by(&numbers, y, log_sum, in, span, shape);
}
static void attention_backward(const attention_gradients *d, const real *dy, const real *y, const real *log_sum, const attention_inputs *in,
                               attention_span span, attention_shape shape) {
    attention_backward_by(&numbers, d, dy, y, log_sum, in, span, shape);
}
