/* Whole blocks of weights: the gradient norm and the optimiser's update. */

enum {
    BLOCK = 1 << 14,
    UPDATE_AHEAD = 1 << 10 /* values; of 256, 1024 and 4096 the best (docs/performance.md) */
};

static double sum_squares(const real *x, ptrdiff_t n) {
    enum { PARTS = 256 };
    double part[PARTS] = {0};
    ptrdiff_t size = ceiling(n, PARTS) < BLOCK ? BLOCK : ceiling(n, PARTS), parts = ceiling(n, size);
#pragma omp parallel for schedule(static) if (parts > 1)
    for (ptrdiff_t p = 0; p < parts; p++) {
        ptrdiff_t end = (p + 1) * size < n ? (p + 1) * size : n;
        for (ptrdiff_t i = p * size; i < end; i += 4096) part[p] += (double)dot(x + i, x + i, end - i < 4096 ? end - i : 4096);
    }
    double sum = 0;
    for (ptrdiff_t p = 0; p < parts; p++) sum += part[p];
    return sum;
}

/* A step's numbers, as reals. */
typedef struct {
    real keep, rate, b1, b2, rest1, rest2, scale, epsilon, root;
} adamw_numbers;

static adamw_numbers numbers_of(const update_step *s) {
    return (adamw_numbers){.keep = (real)(1 - s->learning_rate * s->decay),
                           .rate = (real)(s->learning_rate / s->correction1),
                           .b1 = (real)s->beta1,
                           .b2 = (real)s->beta2,
                           .rest1 = (real)(1 - s->beta1),
                           .rest2 = (real)(1 - s->beta2),
                           .scale = (real)s->gradient_scale,
                           .epsilon = (real)s->epsilon,
                           .root = (real)(1 / sqrt(s->correction2))};
}

static inline V adamw_lanes(V w, V *m, V *v, V gradient, const adamw_numbers *c) {
    const V g = gradient * c->scale;
    *m = c->b1 * *m + c->rest1 * g, *v = c->b2 * *v + c->rest2 * g * g;
    return w * c->keep - c->rate * *m * reciprocal_lanes(root_lanes(*v) * c->root + c->epsilon);
}

static inline void fetch_for_update(const real *w, const real *gradient, const void *first, const void *second) {
    __builtin_prefetch(w, 1), __builtin_prefetch(gradient), __builtin_prefetch(first, 1), __builtin_prefetch(second, 1);
}

static void adamw_range(real *w, real *first, real *second, const real *gradient, ptrdiff_t n, const update_step *step) {
    const adamw_numbers c = numbers_of(step);
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        fetch_for_update(w + i + UPDATE_AHEAD, gradient + i + UPDATE_AHEAD, first + i + UPDATE_AHEAD, second + i + UPDATE_AHEAD);
        V m = load_left(first + i, n - i, 0), v = load_left(second + i, n - i, 0);
        store_left(w + i, adamw_lanes(load_left(w + i, n - i, 0), &m, &v, load_left(gradient + i, n - i, 0), &c), n - i);
        store_left(first + i, m, n - i), store_left(second + i, v, n - i);
    }
}

/* The finalizer of MurmurHash3 (Appleby): every bit of x reaches every bit of the result. */
static inline U32 mix_bits(U32 x) {
    x = (x ^ x >> 16) * 0x85EBCA6B, x = (x ^ x >> 13) * 0xC2B2AE35;
    return x ^ x >> 16;
}

/* up (16 bits) says how much is added before the lower half of x is cut off. */
static inline void store_bf16_by_chance(uint16_t *p, V x, U32 up) { store_halves(p, upper_halves(x, up)); }

/* LANES values */
static inline void adamw_bf16(real *w, uint16_t *first, uint16_t *second, const real *gradient, U32 bits, const adamw_numbers *c) {
    V m = load_bf16((const unsigned char *)first), v = load_bf16((const unsigned char *)second);
    store(w, adamw_lanes(load(w), &m, &v, load(gradient), c));
    store_bf16_by_chance(first, m, bits & 0xFFFF), store_bf16_by_chance(second, v, bits >> 16);
}

/* at: the place of the first in its group */
static void adamw_range_bf16(real *w, uint16_t *first, uint16_t *second, const real *gradient, ptrdiff_t n, const update_step *step, ptrdiff_t at) {
    const adamw_numbers c = numbers_of(step);
    ptrdiff_t i = 0;
    U32 key;
    for (int lane = 0; lane < LANES; lane++) key[lane] = step->rounding + (uint32_t)(at + lane);
    for (; i + LANES <= n; i += LANES, key += LANES) {
        fetch_for_update(w + i + UPDATE_AHEAD, gradient + i + UPDATE_AHEAD, first + i + UPDATE_AHEAD, second + i + UPDATE_AHEAD);
        adamw_bf16(w + i, first + i, second + i, gradient + i, mix_bits(key), &c);
    }
    if (i == n) return;
    const size_t left = (size_t)(n - i);
    real last_w[LANES] = {0}, last_gradient[LANES] = {0};
    uint16_t last_first[LANES] = {0}, last_second[LANES] = {0};
    memcpy(last_w, w + i, left * sizeof *w), memcpy(last_gradient, gradient + i, left * sizeof *gradient);
    memcpy(last_first, first + i, left * sizeof *first), memcpy(last_second, second + i, left * sizeof *second);
    adamw_bf16(last_w, last_first, last_second, last_gradient, mix_bits(key), &c);
    memcpy(w + i, last_w, left * sizeof *w);
    memcpy(first + i, last_first, left * sizeof *first), memcpy(second + i, last_second, left * sizeof *second);
}

/* Rows of w that are updated together; then the packed copy is remade while the rows it depends on are still near. */
static ptrdiff_t update_height(const updated_weight *u) { return ceiling(BLOCK, PACKED_ROWS * u->in) * PACKED_ROWS; }

static void adamw(const updated_weight *u, const update_step *step) {
    const ptrdiff_t high = update_height(u), blocks = ceiling(u->out, high), size = u->out * u->in;
#pragma omp parallel for schedule(static) if (u->groups * size > BLOCK)
    for (ptrdiff_t task = 0; task < u->groups * blocks; task++) {
        const ptrdiff_t g = task / blocks, row = task % blocks * high, rows = smaller(u->out - row, high), n = rows * u->in, in_group = row * u->in;
        const ptrdiff_t at = g * size + in_group;
        if (step[g].gradient_scale == 0) continue;
        if (u->first) adamw_range(u->w + at, u->first + at, u->second + at, u->gradient + at, n, &step[g]);
        else adamw_range_bf16(u->w + at, u->first_bf16 + at, u->second_bf16 + at, u->gradient + at, n, &step[g], in_group);
        if (u->packed) u->products->pack_rows(u->packed + g * u->products->packed_size(u->in, u->out), u->w + g * size, row, rows, u->in, u->out);
    }
}

/* The mean of n squared gradients joins its exponential mean. */
static real blend(real mean, real sum, ptrdiff_t n, const update_step *step) {
    double scale = (1 - step->beta2) * step->gradient_scale * step->gradient_scale / (double)n;
    return (real)(step->beta2 * (double)mean + scale * (double)sum);
}

enum { COLUMNS = 256 }; /* handled together */

static void blend_columns(real *mean, const real *gradient, ptrdiff_t n, ptrdiff_t out, ptrdiff_t in, const update_step *step) {
    real sum[COLUMNS] = {0};
    for (ptrdiff_t o = 0; o < out; o++, gradient += in)
#pragma omp simd
        for (ptrdiff_t i = 0; i < n; i++) sum[i] += gradient[i] * gradient[i];
    for (ptrdiff_t i = 0; i < n; i++) mean[i] = blend(mean[i], sum[i], out, step);
}

/* sqrt(v) = sqrt(row / mean) sqrt(column): v itself would leave the range of float first. */
static void factored_rows(real *w, const real *gradient, const real *row, const real *column, double mean, ptrdiff_t rows, ptrdiff_t in,
                          const update_step *step) {
    const real keep = (real)(1 - step->learning_rate * step->decay), rate = (real)(step->learning_rate * step->gradient_scale);
    const real epsilon = (real)step->epsilon;
    for (ptrdiff_t first = 0; first < in; first += COLUMNS) {
        const ptrdiff_t n = smaller(in - first, COLUMNS);
        real root[COLUMNS];
        for (ptrdiff_t i = 0; i < n; i++) root[i] = root_of(column[first + i]);
        const ptrdiff_t whole = n / LANES * LANES;
        for (ptrdiff_t r = 0; r < rows; r++) {
            const real share = mean > 0 ? (real)sqrt((double)row[r] / (mean * step->correction2)) : 0, *g = gradient + r * in + first;
            real *to = w + r * in + first;
            for (ptrdiff_t i = 0; i < whole; i += LANES) {
                __builtin_prefetch(to + i + in, 1); /* of the next row */
                store(to + i, load(to + i) * keep - rate * load(g + i) * reciprocal_lanes(share * load(root + i) + epsilon));
            }
            for (ptrdiff_t i = whole; i < n; i++) to[i] = to[i] * keep - rate * g[i] / (share * root[i] + epsilon);
        }
    }
}

/* shared: by all threads. Every row and every column is summed in one order, by whomever. */
static void factored_matrix(const updated_weight *u, ptrdiff_t g, const update_step *step, bool shared) {
    const ptrdiff_t in = u->in, out = u->out, high = update_height(u);
    const real *gradient = u->gradient + g * out * in;
    real *w = u->w + g * out * in, *row = u->first + g * out, *column = u->second + g * in;
    double mean = 0;
#pragma omp parallel for schedule(static) if (shared)
    for (ptrdiff_t o = 0; o < out; o++) row[o] = blend(row[o], dot(gradient + o * in, gradient + o * in, in), in, step);
#pragma omp parallel for schedule(static) if (shared)
    for (ptrdiff_t i = 0; i < in; i += COLUMNS) blend_columns(column + i, gradient + i, smaller(in - i, COLUMNS), out, in, step);
    for (ptrdiff_t o = 0; o < out; o++) mean += (double)row[o] / (double)out;
#pragma omp parallel for schedule(static) if (shared)
    for (ptrdiff_t o = 0; o < out; o += high) {
        const ptrdiff_t rows = smaller(out - o, high);
        factored_rows(w + o * in, gradient + o * in, row + o, column, mean, rows, in, step);
        if (u->packed) u->products->pack_rows(u->packed + g * u->products->packed_size(in, out), w, o, rows, in, out);
    }
}

/* A thread takes whole matrices, which then stay near it, or where there are too few all threads share each. */
static void factored(const updated_weight *u, const update_step *step) {
    const bool few = u->groups < threads_here(), large = u->groups * u->out * u->in > BLOCK;
#pragma omp parallel for schedule(dynamic) if (!few && large)
    for (ptrdiff_t g = 0; g < u->groups; g++)
        if (step[g].gradient_scale != 0) factored_matrix(u, g, &step[g], few && large);
}
