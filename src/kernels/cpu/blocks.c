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

static void adamw_range(real *w, real *first, real *second, const real *gradient, ptrdiff_t n, const adamw_step *step) {
    const real keep = (real)(1 - step->learning_rate * step->decay), rate = (real)(step->learning_rate / step->correction1);
    const real b1 = (real)step->beta1, b2 = (real)step->beta2, rest1 = (real)(1 - step->beta1), rest2 = (real)(1 - step->beta2);
    const real scale = (real)step->gradient_scale, epsilon = (real)step->epsilon;
    const real root = (real)(1 / sqrt(step->correction2));
#pragma omp simd
    for (ptrdiff_t i = 0; i < n; i++) {
        real g = gradient[i] * scale;
        real m = b1 * first[i] + rest1 * g, v = b2 * second[i] + rest2 * g * g;
        first[i] = m, second[i] = v;
        w[i] = w[i] * keep - rate * m / ((sizeof(real) == 4 ? (real)sqrtf((float)v) : (real)sqrt((double)v)) * root + epsilon);
    }
}

/* The packed copy is remade while the rows it depends on are still near. */
static void adamw(const updated_weight *u, const adamw_step *step) {
    const ptrdiff_t high = ceiling(BLOCK, PACKED_ROWS * u->in) * PACKED_ROWS, blocks = ceiling(u->out, high), size = u->out * u->in;
#pragma omp parallel for schedule(static) if (u->groups * size > BLOCK)
    for (ptrdiff_t task = 0; task < u->groups * blocks; task++) {
        ptrdiff_t g = task / blocks, row = task % blocks * high, rows = smaller(u->out - row, high), at = g * size + row * u->in;
        adamw_range(u->w + at, u->first + at, u->second + at, u->gradient + at, rows * u->in, step);
        if (u->packed) u->products->pack_rows(u->packed + g * u->products->packed_size(u->in, u->out), u->w + g * size, row, rows, u->in, u->out);
    }
}
