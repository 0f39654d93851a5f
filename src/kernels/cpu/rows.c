/* Row by row: norms, rotations, softmax, activation, cross-entropy, and moving rows about. Rows are independent except where a gradient
 * sums over them: then threads own blocks of columns and every column is summed in the order of the rows. */

enum { COLUMN_BLOCK = 64, SMALL = 1 << 14 };

static void rmsnorm(real *y, real *inverse_rms, const real *x, const real *w, ptrdiff_t rows, ptrdiff_t width, real epsilon) {
#pragma omp parallel for schedule(static) if (rows * width > SMALL)
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *xr = x + r * width;
        real *yr = y + r * width, scale = 1 / (real)sqrt((double)(dot(xr, xr, width) / (real)width + epsilon));
        inverse_rms[r] = scale;
        for (ptrdiff_t i = 0; i < width; i++) yr[i] = xr[i] * scale * (w ? w[i] : 1);
    }
}

/* y_i = x_i r w_i,  r = (mean x^2 + eps)^-1/2,  dr/dx_i = -r^3 x_i / width
 *   dw_i = sum over rows of dy_i x_i r
 *   dx_i = r w_i dy_i - x_i r^3 / width * sum_j dy_j w_j x_j */
static void rmsnorm_backward(real *dx, real *dw, const real *dy, const real *x, const real *inverse_rms, const real *w, ptrdiff_t rows, ptrdiff_t width) {
#pragma omp parallel for schedule(static) if (rows * width > SMALL)
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *xr = x + r * width, *dyr = dy + r * width;
        real *dxr = dx + r * width, scale = inverse_rms[r];
        V inner = {0};
        ptrdiff_t i = 0;
        for (; i + LANES <= width; i += LANES) inner += w ? load(dyr + i) * load(w + i) * load(xr + i) : load(dyr + i) * load(xr + i);
        real sum = sum_lanes(inner);
        for (; i < width; i++) sum += dyr[i] * (w ? w[i] : 1) * xr[i];
        real pull = scale * scale * scale * sum / (real)width;
        for (i = 0; i < width; i++) dxr[i] += scale * (w ? w[i] : 1) * dyr[i] - pull * xr[i];
    }
    if (!w) return;
#pragma omp parallel for schedule(static) if (rows * width > SMALL)
    for (ptrdiff_t first = 0; first < width; first += COLUMN_BLOCK) {
        ptrdiff_t last = first + COLUMN_BLOCK < width ? first + COLUMN_BLOCK : width;
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t i = first; i < last; i++) dw[i] += dy[r * width + i] * x[r * width + i] * inverse_rms[r];
    }
}

/* One head. In memory, pairs lie `apart`, and one pair `step` after the other. */
static inline void rotate_head(real *y, const real *x, const real *cosine, const real *sine, ptrdiff_t half, ptrdiff_t apart, ptrdiff_t step,
                               real sign) {
    for (ptrdiff_t i = 0; i < half; i++) {
        real x1 = x[i * step], x2 = x[i * step + apart], first = x1 * cosine[i] - x2 * sine[i] * sign, second = x2 * cosine[i] + x1 * sine[i] * sign;
        y[i * step] = first, y[i * step + apart] = second;
    }
}

static void rotate(real *y, const real *x, const real *cosine, const real *sine, ptrdiff_t rows, rotation_shape shape, real sign) {
    const ptrdiff_t half = shape.half, still = shape.width - 2 * half;
#pragma omp parallel for schedule(static) if (rows * shape.heads * shape.width > SMALL)
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t h = 0; h < shape.heads; h++) {
            const ptrdiff_t at = (r * shape.heads + h) * shape.width;
            for (ptrdiff_t i = at; i < at + still; i++) y[i] = x[i];
            if (shape.neighbours) rotate_head(y + at + still, x + at + still, cosine + r * half, sine + r * half, half, 1, 2, sign);
            else rotate_head(y + at + still, x + at + still, cosine + r * half, sine + r * half, half, half, 1, sign);
        }
}

static void add_bias(real *y, real *const *bias, const real *row_weight, row_groups g, ptrdiff_t width) {
    const ptrdiff_t rows = g.start[g.groups] - g.start[0];
#pragma omp parallel for schedule(static) if (rows * width > SMALL)
    for (ptrdiff_t first = 0; first < width; first += COLUMN_BLOCK) {
        ptrdiff_t last = smaller(first + COLUMN_BLOCK, width);
        for (int e = 0; e < g.groups; e++)
            for (ptrdiff_t r = g.start[e]; r < g.start[e + 1]; r++) {
                real weight = row_weight ? row_weight[r] : 1;
                for (ptrdiff_t i = first; i < last; i++) y[r * width + i] += weight * bias[e][i];
            }
    }
}

static void add_bias_backward(real *dbias, real *drow_weight, rows_of dy, real *const *bias, const real *row_weight, row_groups g, ptrdiff_t width) {
    const ptrdiff_t rows = g.start[g.groups] - g.start[0];
#pragma omp parallel for schedule(static) if (rows * width > SMALL)
    for (ptrdiff_t first = 0; first < width; first += COLUMN_BLOCK) {
        ptrdiff_t last = smaller(first + COLUMN_BLOCK, width);
        for (int e = 0; e < g.groups; e++)
            for (ptrdiff_t r = g.start[e]; r < g.start[e + 1]; r++) {
                const real *row = dy.x + (dy.row ? dy.row[r] : r) * width;
                real weight = row_weight ? row_weight[r] : 1;
                for (ptrdiff_t i = first; i < last; i++) dbias[e * width + i] += weight * row[i];
            }
    }
    if (!drow_weight) return;
#pragma omp parallel for schedule(dynamic) if (rows * width > SMALL)
    for (int e = 0; e < g.groups; e++)
        for (ptrdiff_t r = g.start[e]; r < g.start[e + 1]; r++) drow_weight[r] += dot(dy.x + (dy.row ? dy.row[r] : r) * width, bias[e], width);
}

static void softmax(real *p, const real *x, ptrdiff_t rows, ptrdiff_t width) {
#pragma omp parallel for schedule(static) if (rows * width > SMALL)
    for (ptrdiff_t r = 0; r < rows; r++) {
        real *row = p + r * width;
        if (p != x) memcpy(row, x + r * width, sizeof(real) * (size_t)width);
        real inverse = 1 / exponentiate(row, largest(row, width), width);
        for (ptrdiff_t i = 0; i < width; i++) row[i] *= inverse;
    }
}

static void softmax_backward(real *dx, const real *dp, const real *p, ptrdiff_t rows, ptrdiff_t width) {
#pragma omp parallel for schedule(static) if (rows * width > SMALL)
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real *pr = p + r * width, *dpr = dp + r * width;
        real mean = dot(pr, dpr, width);
        for (ptrdiff_t i = 0; i < width; i++) dx[r * width + i] += pr[i] * (dpr[i] - mean);
    }
}

static real log_sum_exp_row(const real *x, ptrdiff_t n) {
    real most = largest(x, n);
    V sum = {0};
    ptrdiff_t i = 0;
    for (; i + LANES <= n; i += LANES) sum += exp_lanes(load(x + i) - most);
    if (i < n) sum += exp_lanes(load_part(x + i, n - i, -(real)INFINITY) - most);
    return most + (real)log((double)sum_lanes(sum));
}

static void log_sum_exp(real *log_sum, const real *x, ptrdiff_t rows, ptrdiff_t width) {
#pragma omp parallel for schedule(static) if (rows * width > SMALL)
    for (ptrdiff_t r = 0; r < rows; r++) log_sum[r] = log_sum_exp_row(x + r * width, width);
}

/* x, or what is rounded where it is NULL */
static inline V load_either(const real *x, const uint16_t *bf16, ptrdiff_t i, ptrdiff_t left) {
    return x ? load_left(x + i, left, 0) : load_bf16_left(bf16 + i, left);
}
static inline void store_either(real *x, uint16_t *bf16, ptrdiff_t i, V value, ptrdiff_t left) {
    if (x) store_left(x + i, value, left);
    else store_bf16_left(bf16 + i, value, left);
}

static void cross_entropy(double *loss, real *x, uint16_t *rounded, const int32_t *target, ptrdiff_t rows, ptrdiff_t width, real scale) {
#pragma omp parallel for schedule(static)
    for (ptrdiff_t r = 0; r < rows; r++) {
        real *row = x + r * width, *real_row = rounded ? NULL : row;
        uint16_t *bf16_row = rounded ? rounded + r * width : NULL;
        const bool there = target[r] >= 0;
        const real log_sum = there ? log_sum_exp_row(row, width) : 0, of_target = there ? row[target[r]] : 0;
        loss[r] = (double)(log_sum - of_target);
        for (ptrdiff_t i = 0; i < width; i += LANES) {
            const V p = there ? exp_lanes(load_left(row + i, width - i, 0) - log_sum) : (V){0};
            store_either(real_row, bf16_row, i, p * scale, width - i);
        }
        if (there) store_either(real_row, bf16_row, target[r], (exp_lanes(of_target - log_sum + (V){0}) - 1) * scale, 1);
    }
}

/* What two matrices say, or one, becomes one activation. bounds: NULL without. */
typedef V gated_lanes(V g, V u, const swiglu_bounds *bounds);

/* gated is a constant. */
static inline __attribute__((always_inline)) void gate_rows(gated_lanes *activate, const bool gated, const inner_rows *inner, const real *row_weight,
                                                            ptrdiff_t rows, ptrdiff_t width, const swiglu_bounds *bounds) {
#pragma omp parallel if (rows * width > SMALL)
    {
#pragma omp for schedule(static)
        for (ptrdiff_t r = 0; r < rows; r++) {
            const real weight = row_weight ? row_weight[r] : 1;
            for (ptrdiff_t i = r * width, left = width; left > 0; i += LANES, left -= LANES) {
                V act = activate(gated ? load_left(inner->gate + i, left, 0) : (V){0}, load_left(inner->up + i, left, 0), bounds) * weight;
                store_either(inner->act, inner->bf16.act, i, act, left);
            }
            if (gated && inner->bf16.gate) round_row_bf16(inner->bf16.gate + r * width, inner->gate + r * width, width);
            if (inner->bf16.up) round_row_bf16(inner->bf16.up + r * width, inner->up + r * width, width);
        }
        if (inner->bf16.up) finish_stores();
    }
}

/* g and u become their gradients, act the activation; returns what drow_weight sums. */
typedef V gated_backward_lanes(V *act, V *g, V *u, V dact, real weight, const swiglu_bounds *bounds);

static inline __attribute__((always_inline)) void gate_rows_backward(gated_backward_lanes *back, const bool gated, const inner_rows *inner,
                                                                     real *drow_weight, const real *dact, const real *row_weight, ptrdiff_t rows,
                                                                     ptrdiff_t width, const swiglu_bounds *bounds) {
#pragma omp parallel for schedule(static) if (rows * width > SMALL)
    for (ptrdiff_t r = 0; r < rows; r++) {
        const real weight = row_weight ? row_weight[r] : 1;
        V dweight = {0}, a, g = {0}, u;
        for (ptrdiff_t i = r * width, left = width; left > 0; i += LANES, left -= LANES) {
            if (gated) g = load_either(inner->gate, inner->bf16.gate, i, left);
            u = load_either(inner->up, inner->bf16.up, i, left);
            dweight += back(&a, &g, &u, load_left(dact + i, left, 0), weight, bounds);
            store_either(inner->act, inner->bf16.act, i, a, left);
            if (gated) store_either(inner->gate, inner->bf16.gate, i, g, left);
            store_either(inner->up, inner->bf16.up, i, u, left);
        }
        if (drow_weight) drow_weight[r] = sum_lanes(dweight);
    }
}

static inline V swiglu_lanes(V g, V u, const swiglu_bounds *bounds) { return (void)bounds, g * sigmoid_lanes(g) * u; }

/* a = w silu(g) u with silu(g) = g s(g), s the sigmoid, s' = s (1 - s); silu'(g) = s (1 + g (1 - s))
 *   dw = sum_i da_i silu(g_i) u_i;   dg = da w u silu'(g);   du = da w silu(g) */
static inline V swiglu_backward_lanes(V *act, V *g, V *u, V dact, real weight, const swiglu_bounds *bounds) {
    V s = sigmoid_lanes(*g), silu = *g * s, unweighted = silu * *u;
    V dg = dact * weight * *u * s * (1 + *g * (1 - s)), du = dact * weight * silu;
    (void)bounds, *act = unweighted * weight, *g = dg, *u = du;
    return dact * unweighted;
}

static void swiglu(const inner_rows *inner, const real *row_weight, ptrdiff_t rows, ptrdiff_t width) {
    gate_rows(swiglu_lanes, true, inner, row_weight, rows, width, NULL);
}
static void swiglu_backward(const inner_rows *inner, real *drow_weight, const real *dact, const real *row_weight, ptrdiff_t rows, ptrdiff_t width) {
    gate_rows_backward(swiglu_backward_lanes, true, inner, drow_weight, dact, row_weight, rows, width, NULL);
}

static inline V bounded_lanes(V g, V u, const swiglu_bounds *bounds) {
    const V limit = bounds->limit - (V){0};
    g = select_lanes(g > limit, limit, g), u = select_lanes(u > limit, limit, select_lanes(u < -limit, -limit, u));
    return g * sigmoid_lanes(bounds->alpha * g) * (u + 1);
}

/* a = w g s(alpha g) (u + 1), of g and u within their bounds;   with s' = s (1 - s)
 *   dw = sum_i da_i a_i / w;   dg = da w (u + 1) s (1 + alpha g (1 - s));   du = da w g s;   and nothing reaches what is beyond its bound */
static inline V bounded_backward_lanes(V *act, V *g, V *u, V dact, real weight, const swiglu_bounds *bounds) {
    const V limit = bounds->limit - (V){0};
    const VI g_beyond = *g > limit, u_above = *u > limit, u_below = *u < -limit;
    V gate = select_lanes(g_beyond, limit, *g), up = select_lanes(u_above, limit, select_lanes(u_below, -limit, *u)) + 1;
    V s = sigmoid_lanes(bounds->alpha * gate), glu = gate * s, unweighted = glu * up;
    V dg = dact * weight * up * s * (1 + bounds->alpha * gate * (1 - s)), du = dact * weight * glu;
    *act = unweighted * weight, *g = select_lanes(g_beyond, (V){0}, dg), *u = select_lanes(u_above | u_below, (V){0}, du);
    return dact * unweighted;
}

static void swiglu_bounded(const inner_rows *inner, const real *row_weight, ptrdiff_t rows, ptrdiff_t width, swiglu_bounds bounds) {
    gate_rows(bounded_lanes, true, inner, row_weight, rows, width, &bounds);
}
static void swiglu_bounded_backward(const inner_rows *inner, real *drow_weight, const real *dact, const real *row_weight, ptrdiff_t rows,
                                    ptrdiff_t width, swiglu_bounds bounds) {
    gate_rows_backward(bounded_backward_lanes, true, inner, drow_weight, dact, row_weight, rows, width, &bounds);
}

static inline V relu_lanes(V g, V u, const swiglu_bounds *bounds) { return (void)g, (void)bounds, (V)((VI)(u > 0) & (VI)u); }

/* a = w max(0, x):   dw = sum_i da_i max(0, x_i);   dx = da w where x > 0 */
static inline V relu_backward_lanes(V *act, V *g, V *x, V dact, real weight, const swiglu_bounds *bounds) {
    VI positive = *x > 0;
    V kept = (V)(positive & (VI)*x);
    (void)g, (void)bounds, *act = kept * weight, *x = (V)(positive & (VI)(dact * weight));
    return dact * kept;
}

static void relu(const inner_rows *inner, const real *row_weight, ptrdiff_t rows, ptrdiff_t width) {
    gate_rows(relu_lanes, false, inner, row_weight, rows, width, NULL);
}
static void relu_backward(const inner_rows *inner, real *drow_weight, const real *dact, const real *row_weight, ptrdiff_t rows, ptrdiff_t width) {
    gate_rows_backward(relu_backward_lanes, false, inner, drow_weight, dact, row_weight, rows, width, NULL);
}

static void add(real *y, const real *a, const real *b, ptrdiff_t n) {
#pragma omp parallel for simd schedule(static) if (n > SMALL)
    for (ptrdiff_t i = 0; i < n; i++) y[i] = a[i] + b[i];
}

static void gather(real *y, const real *x, const int32_t *row, ptrdiff_t rows, ptrdiff_t width) {
#pragma omp parallel for schedule(static) if (rows * width > SMALL)
    for (ptrdiff_t r = 0; r < rows; r++) memcpy(y + r * width, x + row[r] * width, sizeof(real) * (size_t)width);
}

static void scatter_add(real *y, const real *x, const int32_t *row, ptrdiff_t rows, ptrdiff_t width) {
#pragma omp parallel for schedule(static) if (rows * width > SMALL)
    for (ptrdiff_t first = 0; first < width; first += COLUMN_BLOCK) {
        ptrdiff_t last = first + COLUMN_BLOCK < width ? first + COLUMN_BLOCK : width;
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t i = first; i < last; i++) y[row[r] * width + i] += x[r * width + i];
    }
}

static void sum_rows(real *y, const real *x, const int32_t *row, const ptrdiff_t *start, ptrdiff_t n, ptrdiff_t width, bool accumulate) {
#pragma omp parallel for schedule(static) if (n * width > SMALL)
    for (ptrdiff_t r = 0; r < n; r++) {
        real *yr = y + r * width;
        if (!accumulate) memset(yr, 0, sizeof(real) * (size_t)width);
        for (ptrdiff_t i = start[r]; i < start[r + 1]; i++) {
            const real *xr = x + row[i] * width;
            for (ptrdiff_t d = 0; d < width; d++) yr[d] += xr[d];
        }
    }
}

static void column_sums(real *sum, const real *x, ptrdiff_t rows, ptrdiff_t width) {
#pragma omp parallel for schedule(static) if (rows * width > SMALL)
    for (ptrdiff_t first = 0; first < width; first += COLUMN_BLOCK) {
        const ptrdiff_t last = smaller(first + COLUMN_BLOCK, width);
        for (ptrdiff_t r = 0; r < rows; r++)
            for (ptrdiff_t i = first; i < last; i++) sum[i] += x[r * width + i];
    }
}
