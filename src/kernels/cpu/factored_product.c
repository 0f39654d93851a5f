/* The factored update of matrices whose gradient is a product of few rows, G = sum_r dy_r^T x_r. What the update needs of G beside itself are
 * sums of squares, and with the small matrices M = x x^T and N = dy dy^T of the rows' inner products these are
 *
 *     sum_i G[o, i]^2 = sum_rs dy_r[o] M[r, s] dy_s[o],   sum_o G[o, i]^2 = sum_rs x_r[i] N[r, s] x_s[i],   sum_oi G[o, i]^2 = sum_rs M[r, s] N[r, s]
 *
 * Then each panel of G is made in registers and used up there: it is never stored. */

enum { BLOCK_ROWS = (int)LANES == 1 ? 32 : 96 /* of a matrix: whole panels, and a multiple of PACKED_ROWS */ };

/* inner[r * PRODUCT_ROWS + s] = <x_r, x_s> */
static void inner_products(real *inner, const operand *x, ptrdiff_t rows, ptrdiff_t width) {
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t s = 0; s <= r; s++) inner[r * PRODUCT_ROWS + s] = inner[s * PRODUCT_ROWS + r] = dot(source_row(x, r), source_row(x, s), width);
}

/* mean[i] = keep mean[i] + scale sum_rs x_r[i] inner[r, s] x_s[i]: a sum of squares, and so never negative */
static void blend_product_squares(real *mean, double keep, double scale, const operand *x, const real *inner, ptrdiff_t rows, ptrdiff_t width) {
    for (ptrdiff_t i = 0; i < width; i += LANES) {
        const ptrdiff_t there = smaller(width - i, LANES);
        V all = {0}, column[PRODUCT_ROWS];
        for (ptrdiff_t r = 0; r < rows; r++) {
            V sum = {0};
            column[r] = there == LANES ? load(source_row(x, r) + i) : load_part(source_row(x, r) + i, there, 0);
            for (ptrdiff_t s = 0; s < r; s++) sum += inner[r * PRODUCT_ROWS + s] * column[s];
            all += column[r] * (2 * sum + inner[r * PRODUCT_ROWS + r] * column[r]);
        }
        V was = load_part(mean + i, there, 0);
        store_part(mean + i, (real)keep * was + (real)scale * larger(all, (V){0}), there);
    }
}

/* What all panels of a matrix share. */
typedef struct {
    operand dy, x;
    ptrdiff_t rows, in;
    real *w;
    const real *column; /* means of squares */
    real keep, rate, epsilon;
} product_update;

static inline V updated_lanes(V w, V gradient, V root, real share, const product_update *p) {
    return w * p->keep - p->rate * gradient * reciprocal_lanes(share * root + p->epsilon);
}

/* Rows first .. first + high of the matrix, columns j and on; a: their part of dy, packed; b: room for a panel of x. */
static void update_panels(const product_update *p, const real *a, real *b, const real *share, ptrdiff_t first, ptrdiff_t high, ptrdiff_t j) {
    const ptrdiff_t there0 = smaller(p->in - j, LANES), there1 = smaller(p->in - j - LANES, LANES), panel = a_panel_units(ALONG, p->rows);
    const V root0 = root_lanes(load_part(p->column + j, there0, 0)),
            root1 = there1 > 0 ? root_lanes(load_part(p->column + j + LANES, there1, 0)) : (V){0};
    pack_b(b, 0, &p->x, j, smaller(p->in - j, PANEL_COLUMNS), 0, p->rows);
    for (ptrdiff_t i = 0; i < high; i += PANEL_ROWS, a += panel) {
        V sum[PANEL_ROWS][2];
        real *w = p->w + (first + i) * p->in + j, *next = i + PANEL_ROWS < high ? w + PANEL_ROWS * p->in : p->w + first * p->in + j + PANEL_COLUMNS;
#pragma GCC unroll 16
        for (int k = 0; k < PANEL_ROWS; k++, next += p->in) {
            __builtin_prefetch(next, 1), __builtin_prefetch(next + LANES, 1);
            sum[k][0] = sum[k][1] = (V){0};
        }
        for (ptrdiff_t r = 0; r < p->rows; r++) {
            const V b0 = load(b + r * PANEL_COLUMNS), b1 = load(b + r * PANEL_COLUMNS + LANES);
#pragma GCC unroll 16
            for (int k = 0; k < PANEL_ROWS; k++) {
                const V factor = a[r * PANEL_ROWS + k] - (V){0};
                sum[k][0] = add_product(sum[k][0], factor, b0), sum[k][1] = add_product(sum[k][1], factor, b1);
            }
        }
        for (int k = 0; k < PANEL_ROWS && i + k < high; k++, w += p->in) {
            if (there0 == LANES) store(w, updated_lanes(load(w), sum[k][0], root0, share[i + k], p));
            else store_part(w, updated_lanes(load_part(w, there0, 0), sum[k][0], root0, share[i + k], p), there0);
            if (there1 == LANES) store(w + LANES, updated_lanes(load(w + LANES), sum[k][1], root1, share[i + k], p));
            else if (there1 > 0) store_part(w + LANES, updated_lanes(load_part(w + LANES, there1, 0), sum[k][1], root1, share[i + k], p), there1);
        }
    }
}

/* One matrix, by one thread: u and step are of group g alone. */
static void update_by_product(const updated_weight *u, update_step *step, double clip, const operand *dy, const operand *x, ptrdiff_t rows) {
    real of_x[PRODUCT_ROWS * PRODUCT_ROWS], of_dy[PRODUCT_ROWS * PRODUCT_ROWS];
    real a[PRODUCT_ROWS * (BLOCK_ROWS + PANEL_ROWS) + BLOCK_ROWS * LANES], b[PRODUCT_ROWS * PANEL_COLUMNS], share[BLOCK_ROWS];
    double squares = 0, mean = 0;
    inner_products(of_x, x, rows, u->in), inner_products(of_dy, dy, rows, u->out);
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t s = 0; s < rows; s++) squares += (double)of_x[r * PRODUCT_ROWS + s] * (double)of_dy[r * PRODUCT_ROWS + s];
    step->gradient_scale = !isfinite(squares) ? 0 : clip > 0 && squares > clip * clip ? clip / sqrt(squares) : 1;
    if (step->gradient_scale == 0) return;
    const double scale = (1 - step->beta2) * step->gradient_scale * step->gradient_scale;
    blend_product_squares(u->first, step->beta2, scale / (double)u->in, dy, of_x, rows, u->out);
    blend_product_squares(u->second, step->beta2, scale / (double)u->out, x, of_dy, rows, u->in);
    for (ptrdiff_t o = 0; o < u->out; o++) mean += (double)u->first[o] / (double)u->out;
    const product_update p = {*dy, *x, rows, u->in, u->w, u->second, (real)(1 - step->learning_rate * step->decay),
                              (real)(step->learning_rate * step->gradient_scale), (real)step->epsilon};
    for (ptrdiff_t o = 0; o < u->out; o += BLOCK_ROWS) {
        const ptrdiff_t high = smaller(u->out - o, BLOCK_ROWS);
        for (ptrdiff_t i = 0; i < high; i++) share[i] = mean > 0 ? (real)sqrt((double)u->first[o + i] / (mean * step->correction2)) : 0;
        pack_a(a, dy, o, high, 0, rows);
        for (ptrdiff_t j = 0; j < u->in; j += PANEL_COLUMNS) update_panels(&p, a, b, share, o, high, j);
        if (u->packed) u->products->pack_rows(u->packed, u->w, o, high, u->in, u->out);
    }
}

static void factored_product(const updated_weight *u, update_step *step, double clip, rows_of dy, rows_of x, row_groups g) {
    const ptrdiff_t size = u->out * u->in, packed = u->packed ? u->products->packed_size(u->in, u->out) : 0;
#pragma omp parallel for schedule(dynamic) if (g.groups > 1)
    for (ptrdiff_t e = 0; e < g.groups; e++) {
        const ptrdiff_t start = g.start[e], rows = g.start[e + 1] - start;
        updated_weight one = *u;
        operand of_dy = along(dy.x + (dy.row ? 0 : start * u->out), u->out, dy.row ? dy.row + start : NULL);
        operand of_x = along(x.x + (x.row ? 0 : start * u->in), u->in, x.row ? x.row + start : NULL);
        if (step[e].gradient_scale == 0) continue;
        one.w += e * size, one.first += e * u->out, one.second += e * u->in, one.packed = u->packed ? u->packed + e * packed : NULL;
        update_by_product(&one, &step[e], clip, &of_dy, &of_x, rows);
    }
}
