/* Whole blocks of weights: the gradient norm and the optimiser's update. */

enum { BLOCK = 1 << 14 };

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

static inline real root_of(real x) { return sizeof(real) == 4 ? (real)sqrtf((float)x) : (real)sqrt((double)x); }

static void adamw_range(real *w, real *first, real *second, const real *gradient, ptrdiff_t n, const update_step *step) {
    const real keep = (real)(1 - step->learning_rate * step->decay), rate = (real)(step->learning_rate / step->correction1);
    const real b1 = (real)step->beta1, b2 = (real)step->beta2, rest1 = (real)(1 - step->beta1), rest2 = (real)(1 - step->beta2);
    const real scale = (real)step->gradient_scale, epsilon = (real)step->epsilon;
    const real root = (real)(1 / sqrt(step->correction2));
#pragma omp simd
    for (ptrdiff_t i = 0; i < n; i++) {
        real g = gradient[i] * scale;
        real m = b1 * first[i] + rest1 * g, v = b2 * second[i] + rest2 * g * g;
        first[i] = m, second[i] = v;
        w[i] = w[i] * keep - rate * m / (root_of(v) * root + epsilon);
    }
}

/* Rows of w that are updated together; then the packed copy is remade while the rows it depends on are still near. */
static ptrdiff_t update_height(const updated_weight *u) { return ceiling(BLOCK, PACKED_ROWS * u->in) * PACKED_ROWS; }

static void adamw(const updated_weight *u, const update_step *step) {
    const ptrdiff_t high = update_height(u), blocks = ceiling(u->out, high), size = u->out * u->in;
#pragma omp parallel for schedule(static) if (u->groups * size > BLOCK)
    for (ptrdiff_t task = 0; task < u->groups * blocks; task++) {
        ptrdiff_t g = task / blocks, row = task % blocks * high, rows = smaller(u->out - row, high), at = g * size + row * u->in;
        if (step[g].gradient_scale == 0) continue;
        adamw_range(u->w + at, u->first + at, u->second + at, u->gradient + at, rows * u->in, &step[g]);
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
            for (ptrdiff_t i = 0; i < whole; i += LANES)
                store(to + i, load(to + i) * keep - rate * load(g + i) * reciprocal_lanes(share * load(root + i) + epsilon));
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
