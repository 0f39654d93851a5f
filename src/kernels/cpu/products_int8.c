/* Forward products of weights in blocks of q8_0, q4_0 or mxfp4 with more rows than a few (dots_int8.c). Rows are rounded to eight bits, once for all
 * that a thread does with them, and lie side by side in the lanes of vectors; then a weight is read once, PANEL_ROWS of its rows at a time, and of
 * those every four neighbouring values are multiplied with all lanes at once. In units of real's size, with four values in each,
 *
 *     a block of a panel of LANES rows: (QUADS, LANES) units, (LANES) beginnings of its sums, (LANES) scales; without rows, zero
 *
 * Sums of a block are integers in registers; there are not enough for those of the whole depth, which are needed once in a block. */

enum {
    BLOCK_UNITS = (QUADS + 2) * LANES,
    DEPTH_BLOCKS = 64,   /* of a row at once */
    MOST_TOGETHER = 192, /* rows of x, a multiple of LANES: their panels stay in the second cache */
    MOST_PANELS = 2      /* of them, at once in the micro-kernel */
};

static inline lane_integer as_integer(real unit) {
    lane_integer i;
    memcpy(&i, &unit, sizeof i);
    return i;
}

/* sum + four values of w, plus EXCESS, times four of each lane of x */
#if defined(__AVX512VNNI__) && REAL_BYTES == 4
#define HAS_INT8_DOT
static inline V add_quads(V sum, V w, V x) { /* with the intrinsic, whose sums are of another type, gcc 12 copies each of them at every step */
    __asm__("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(w), "v"(x));
    return sum;
}
static inline __attribute__((always_inline)) V add_quad(V sum, lane_integer w, V x) { return add_quads(sum, (V)((VI){0} + w), x); }
static inline V add_square_quads(V sum, V factor) { return add_quads(sum, factor, factor); }
static double peak_flops_int8(double seconds) { return peak_by(add_square_quads, (V)((VI){0} + 0x01010101), 4, seconds); }
#elif defined(__AVX2__) && REAL_BYTES == 4 && !defined(__AVX512F__)
static inline __attribute__((always_inline)) V add_quad(V sum, lane_integer w, V x) {
    const __m256i four = _mm256_set1_epi32(w), pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(four), _mm256_sign_epi8((__m256i)x, four));
    return (V)_mm256_add_epi32((__m256i)sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
}
#else
static inline __attribute__((always_inline)) V add_quad(V sum, lane_integer w, V x) {
    enum { TOP = 8 * sizeof(real) - 8 };
    VI total = (VI)sum;
    for (int i = 0; i < 4; i++) total += ((VI)x << (TOP - 8 * i) >> TOP) * (lane_integer)(int8_t)(w >> 8 * i);
    return (V)total;
}
#endif

/* What a thread multiplies with: rows of x, and a few of a weight. */
typedef struct {
    real x[MOST_TOGETHER / LANES][DEPTH_BLOCKS * BLOCK_UNITS] __attribute__((aligned(64)));
    uint8_t w[PANEL_ROWS][DEPTH_BLOCKS * STORED_BLOCK + CACHE_LINE] __attribute__((aligned(64))); /* no power of two apart */
    float scale[PANEL_ROWS][DEPTH_BLOCKS];
    ptrdiff_t first, n, k0; /* which rows of the batch, and from which block on; n 0: none */
} int8_factors;

/* ---- packing ----------------------------------------------------------------------------------------------------------------------------- */

/* Units of LANES rows, two blocks of each, change from rows to lanes. */
#if HAS_WIDE_BLOCKS
static inline void turn_pair(real *panel, const int8_t (*value)[2 * STORED_BLOCK]) {
    __m512 row[TURN_BY];
#pragma GCC unroll 16
    for (int i = 0; i < TURN_BY; i++) row[i] = _mm512_loadu_ps(value[i]);
    turn_wide_block(panel, LANES, 2 * LANES, row);
}
#else
static inline void turn_pair(real *panel, const int8_t (*value)[2 * STORED_BLOCK]) {
    for (int i = 0; i < LANES; i++)
        for (int k = 0; k < 2 * QUADS; k++) memcpy(panel + k * LANES + (k >= QUADS) * 2 * LANES + i, value[i] + 4 * k, 4);
}
#endif

static inline void set_panel_beginnings(real *panel) {
    V sum = {0};
    for (int k = 0; k < QUADS; k++) sum = add_quad(sum, 0x01010101, load(panel + k * LANES));
    store(panel + QUADS * LANES, (V)((VI)sum * -EXCESS));
}

/* Of `rows` rows from r on, blocks k0 .. k0 + blocks; if that is odd, one more that is not used. */
static void pack_panel(real *panel, const stored_product *p, ptrdiff_t r, ptrdiff_t rows, ptrdiff_t k0, ptrdiff_t blocks) {
    float scale[LANES][DEPTH_BLOCKS], inverse[LANES][DEPTH_BLOCKS];
    int8_t value[LANES][2 * STORED_BLOCK];
    const real *x[LANES];
    if (rows < LANES) memset(panel, 0, sizeof(real) * (size_t)(blocks * BLOCK_UNITS)), memset(value, 0, sizeof value);
    for (ptrdiff_t i = 0; i < rows; i++) {
        x[i] = product_x(p, r + i) + k0 * STORED_BLOCK;
        find_scales(scale[i], inverse[i], x[i], blocks);
    }
    for (ptrdiff_t b = 0; b < blocks; b += 2, panel += 2 * BLOCK_UNITS) {
        const ptrdiff_t here = smaller(blocks - b, 2);
        for (ptrdiff_t i = 0; i < rows; i++)
            for (ptrdiff_t j = 0; j < here; j++) {
                round_block(value[i] + j * STORED_BLOCK, x[i] + (b + j) * STORED_BLOCK, inverse[i][b + j]);
                panel[j * BLOCK_UNITS + (QUADS + 1) * LANES + i] = (real)scale[i][b + j];
            }
        turn_pair(panel, (const int8_t(*)[2 * STORED_BLOCK]) value);
        for (ptrdiff_t j = 0; j < here; j++) set_panel_beginnings(panel + j * BLOCK_UNITS);
    }
}

static void pack_panels(int8_factors *f, const stored_product *p, ptrdiff_t first, ptrdiff_t n, ptrdiff_t k0, ptrdiff_t blocks) {
    if (f->first == first && f->n == n && f->k0 == k0) return;
    f->first = first, f->n = n, f->k0 = k0;
    for (ptrdiff_t i = 0; i < n; i += LANES) pack_panel(f->x[i / LANES], p, first + i, smaller(n - i, LANES), k0, blocks);
}

/* The bits of scales are collected first: what was stored in pieces cannot be loaded as a whole at once. */
static inline __attribute__((always_inline)) void pack_weight_by(int8_factors *f, const unsigned char *w, ptrdiff_t stride, ptrdiff_t rows,
                                                                 ptrdiff_t blocks, const stored_type type) {
    uint16_t bits[PANEL_ROWS][DEPTH_BLOCKS];
    float ones[DEPTH_BLOCKS];
    for (int b = 0; b < DEPTH_BLOCKS; b++) ones[b] = 1;
    for (ptrdiff_t i = 0; i < rows; i++, w += stride) {
        for (ptrdiff_t b = 0; b < blocks; b++) {
            const block_bytes bytes = bytes_of_block(w + b * size_of_block(type), type);
            memcpy(f->w[i] + b * STORED_BLOCK, &bytes, STORED_BLOCK);
        }
        for (ptrdiff_t b = 0; b < blocks; b++) bits[i][b] = scale_bits(w + b * size_of_block(type), type);
    }
    for (ptrdiff_t i = 0; i < rows; i++) scales_of_bits(f->scale[i], bits[i], ones, blocks, type);
}

static void pack_weight(int8_factors *f, const unsigned char *w, ptrdiff_t stride, ptrdiff_t rows, ptrdiff_t blocks, stored_type type) {
    if (type == STORED_Q8_0) pack_weight_by(f, w, stride, rows, blocks, STORED_Q8_0);
    else if (type == STORED_Q4_0) pack_weight_by(f, w, stride, rows, blocks, STORED_Q4_0);
    else pack_weight_by(f, w, stride, rows, blocks, STORED_MXFP4);
}

/* ---- the micro-kernel -------------------------------------------------------------------------------------------------------------------- */

/* sum (PANEL_ROWS, panels LANES) = the rows of the weight times so many panels from x on. In every block, `step` bytes are fetched. */
static inline __attribute__((always_inline)) void micro_kernel_int8(real *sums, const int8_factors *f, const real *x, ptrdiff_t blocks,
                                                                    const unsigned char *ahead, ptrdiff_t step, const int wide) {
    V sum[PANEL_ROWS][MOST_PANELS], part[PANEL_ROWS][MOST_PANELS];
#pragma GCC unroll 16
    for (int i = 0; i < PANEL_ROWS; i++)
#pragma GCC unroll 2
        for (int j = 0; j < wide; j++) sum[i][j] = (V){0};
    for (ptrdiff_t b = 0; b < blocks; b++, x += BLOCK_UNITS, ahead += step) {
        V lanes[MOST_PANELS];
        fetch_bytes(ahead, step);
#pragma GCC unroll 16
        for (int i = 0; i < PANEL_ROWS; i++)
#pragma GCC unroll 2
            for (int j = 0; j < wide; j++) part[i][j] = load(x + j * DEPTH_BLOCKS * BLOCK_UNITS + QUADS * LANES);
#pragma GCC unroll 8
        for (int k = 0; k < QUADS; k++) {
#pragma GCC unroll 2
            for (int j = 0; j < wide; j++) {
                const real *from = x + j * DEPTH_BLOCKS * BLOCK_UNITS + k * LANES;
                lanes[j] = load(from);
                __builtin_prefetch(from + BLOCK_UNITS);
            }
#pragma GCC unroll 16
            for (int i = 0; i < PANEL_ROWS; i++) {
                int32_t four;
                memcpy(&four, f->w[i] + b * STORED_BLOCK + 4 * k, sizeof four);
#pragma GCC unroll 2
                for (int j = 0; j < wide; j++) part[i][j] = add_quad(part[i][j], four, lanes[j]);
            }
        }
#pragma GCC unroll 2
        for (int j = 0; j < wide; j++) lanes[j] = load(x + j * DEPTH_BLOCKS * BLOCK_UNITS + (QUADS + 1) * LANES);
#pragma GCC unroll 16
        for (int i = 0; i < PANEL_ROWS; i++)
#pragma GCC unroll 2
            for (int j = 0; j < wide; j++) sum[i][j] += __builtin_convertvector((VI)part[i][j], V) * ((real)f->scale[i][b] * lanes[j]);
    }
#pragma GCC unroll 16
    for (int i = 0; i < PANEL_ROWS; i++)
#pragma GCC unroll 2
        for (int j = 0; j < wide; j++) store(sums + (i * MOST_PANELS + j) * LANES, sum[i][j]);
}

/* LANES rows of sums, one after the other in `turned`, from columns of PANEL_ROWS rows. */
enum { MOST_PANEL_ROWS = 16 };
#if HAS_WIDE_BLOCKS
static inline void turn_sums(real *turned, const real *sums) {
    __m512 row[TURN_BY];
#pragma GCC unroll 16
    for (int i = 0; i < TURN_BY; i++) row[i] = i < PANEL_ROWS ? _mm512_loadu_ps(sums + i * MOST_PANELS * LANES) : _mm512_setzero_ps();
    turn_wide_block(turned, MOST_PANEL_ROWS, 0, row);
}
#else
static inline void turn_sums(real *turned, const real *sums) {
    for (int j = 0; j < LANES; j++)
        for (int i = 0; i < PANEL_ROWS; i++) turned[j * MOST_PANEL_ROWS + i] = sums[i * MOST_PANELS * LANES + j];
}
#endif

/* y (n, stride), its columns, (+)= sums (PANEL_ROWS, MOST_PANELS LANES) turned. */
static inline void keep_turned(real *y, ptrdiff_t stride, ptrdiff_t n, ptrdiff_t columns, const real *sums, bool accumulate) {
    real turned[MOST_PANELS * LANES][MOST_PANEL_ROWS] __attribute__((aligned(64)));
    for (ptrdiff_t r = 0; r < n; r += LANES) turn_sums(turned[r], sums + r);
    for (ptrdiff_t r = 0; r < n; r++, y += stride) {
        for (ptrdiff_t i = 0; i < columns && accumulate; i++) turned[r][i] += y[i];
        if (columns == PANEL_ROWS) memcpy(y, turned[r], sizeof(real) * PANEL_ROWS);
        else memcpy(y, turned[r], sizeof(real) * (size_t)columns);
    }
}

/* Columns o .. o + rows of y, of all that f holds. */
static void multiply_held(const stored_product *p, const int8_factors *f, ptrdiff_t o, ptrdiff_t rows, ptrdiff_t blocks, const unsigned char *ahead) {
    real sums[PANEL_ROWS * MOST_PANELS * LANES] __attribute__((aligned(64)));
    const ptrdiff_t all = f->n, wide = ceiling(all, LANES), times = ceiling(wide, MOST_PANELS) * blocks;
    const ptrdiff_t step = ceiling(ceiling(PANEL_ROWS * product_stride(p), times), CACHE_LINE) * CACHE_LINE;
    for (ptrdiff_t j = 0; j < wide; j += MOST_PANELS, ahead += blocks * step) {
        const ptrdiff_t n = smaller(all - j * LANES, MOST_PANELS * LANES);
        real *y = p->y + (f->first + j * LANES) * p->out + o;
        for (ptrdiff_t r = 0; r < n; r++) __builtin_prefetch(y + r * p->out, 1), __builtin_prefetch(y + r * p->out + rows - 1, 1);
        if (wide - j >= MOST_PANELS) micro_kernel_int8(sums, f, f->x[j], blocks, ahead, step, MOST_PANELS);
        else micro_kernel_int8(sums, f, f->x[j], blocks, ahead, step, 1);
        keep_turned(y, p->out, n, rows, sums, f->k0 > 0);
    }
}

/* ---- all groups -------------------------------------------------------------------------------------------------------------------------- */

/* Of a group: some of its rows, and some rows of its weight. */
typedef struct {
    int group;
    ptrdiff_t before; /* tasks of the groups before it */
    ptrdiff_t first, n, o, out;
} int8_task;

static ptrdiff_t batches_of(row_groups g, int e) { return ceiling(g.start[e + 1] - g.start[e], MOST_TOGETHER); }

/* Into how many parts every weight is cut, so that there is enough to do for all threads. */
static ptrdiff_t parts_of_weights(const stored_product *p) {
    enum { TASKS_PER_THREAD = 4 };
    ptrdiff_t batches = 0;
    for (int e = 0; e < p->groups.groups; e++) batches += batches_of(p->groups, e);
    return smaller(ceiling(TASKS_PER_THREAD * omp_get_max_threads(), batches), ceiling(p->out, PANEL_ROWS));
}

/* The task after all that were taken before; *t is what this thread took last, or {0}. */
static bool take_int8_task(int8_task *t, const stored_product *p, ptrdiff_t parts, ptrdiff_t *taken) {
    const row_groups g = p->groups;
    ptrdiff_t mine;
#pragma omp atomic capture
    mine = (*taken)++;
    while (t->group < g.groups && t->before + batches_of(g, t->group) * parts <= mine) t->before += batches_of(g, t->group++) * parts;
    if (t->group == g.groups) return false;
    const ptrdiff_t batch = (mine - t->before) / parts, part = (mine - t->before) % parts, batches = batches_of(g, t->group);
    const ptrdiff_t start = g.start[t->group], rows = g.start[t->group + 1] - start;
    t->first = start + part_start(rows, LANES, batch, batches), t->n = start + part_start(rows, LANES, batch + 1, batches) - t->first;
    t->o = part_start(p->out, PANEL_ROWS, part, parts), t->out = part_start(p->out, PANEL_ROWS, part + 1, parts) - t->o;
    return true;
}

/* What a thread keeps from task to task. */
typedef struct {
    int8_factors factors;
    rounded_rows held;
} int8_room;

_Static_assert(sizeof(int8_room) <= THREAD_ROOM_BYTES, "");

/* A group of few rows is multiplied one by one even where others have many. */
static void multiply_int8_task(const stored_product *p, const int8_task *t, int8_room *r) {
    int8_factors *f = &r->factors;
    const stored_type type = p->w.type;
    const ptrdiff_t all = p->in / STORED_BLOCK, stride = product_stride(p);
    const unsigned char *first = (const unsigned char *)p->w.group[t->group] + t->o * stride;
    if (t->n <= FEW_ROWS) {
        multiply_run_int8(p, &(run){.group = t->group, .w = first, .first = t->o, .n = t->out}, NULL, &r->held);
        return;
    }
    for (ptrdiff_t k0 = 0; k0 < all; k0 += DEPTH_BLOCKS) {
        const ptrdiff_t blocks = smaller(all - k0, DEPTH_BLOCKS);
        const unsigned char *w = first;
        pack_panels(f, p, t->first, t->n, k0, blocks);
        for (ptrdiff_t o = 0; o < t->out; o += PANEL_ROWS, w += PANEL_ROWS * stride) {
            const ptrdiff_t rows = smaller(t->out - o, PANEL_ROWS);
            pack_weight(f, w + stored_row_bytes(type, k0 * STORED_BLOCK), stride, rows, blocks, type);
            multiply_held(p, f, t->o + o, rows, blocks, o + PANEL_ROWS < t->out ? w + PANEL_ROWS * stride : w);
        }
    }
}

static void multiply_rows_int8(const stored_product *p) {
    const ptrdiff_t parts = parts_of_weights(p);
    ptrdiff_t taken = 0;
#pragma omp parallel if (!are_small(p, 1))
    {
        int8_room *r = thread_room_take();
        int8_factors *f = &r->factors;
        int8_task task = {0};
        memset(f->w, 0, sizeof f->w), memset(f->scale, 0, sizeof f->scale); /* rows that a weight lacks are multiplied too */
        memset(r->held.source, 0, sizeof r->held.source);
        f->n = 0;
        while (take_int8_task(&task, p, parts, &taken)) multiply_int8_task(p, &task, r);
        thread_room_return(r);
    }
}

/* Pairs of bytes have no scale that a block of them shares. */
static bool are_in_blocks(const stored_product *each, int n) {
    for (int i = 0; i < n; i++)
        if (stored_formats[each[i].w.type].values == 1) return false;
    return true;
}

static void linear_stored_int8(const stored_product *each, int n) {
    if (have_few_rows(each, n) && are_in_blocks(each, n)) {
        multiply_few_rows_int8(each, n);
        return;
    }
    for (const stored_product *p = each; p < each + n; p++) {
        if (!are_in_blocks(p, 1)) linear_stored(p, 1);
        else if (have_few_rows(p, 1)) multiply_few_rows_int8(p, 1);
        else multiply_rows_int8(p);
    }
}
