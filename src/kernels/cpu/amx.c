/* Products of bf16 by matrix units (AMX), whose registers are 16 rows of 64 bytes. Four of them hold sums, 32 rows of 32; two hold rows of A, two
 * units of B as vectors have them too (products_bf16.c), and one instruction multiplies 16 rows with 16 columns over 32 values of the depth.
 * Registers are always full: depths are filled up with zeros, and whatever stands where rows end is multiplied too and thrown away. */

enum {
    AMX_SIDE = 16,
    AMX_DEPTH = 2 * AMX_SIDE, /* values */
    AMX_PANEL = 2 * AMX_SIDE, /* rows, and columns, of sums */
    AMX_DEEP = 256,           /* values in a block of the depth: a panel of A and one of B share the first cache */
    AMX_ROW_BYTES = 64,
    AMX_FETCHES = AMX_SIDE / SEGMENT * FETCHES,
};

_Static_assert((int)AMX_PANEL == (int)PANEL_COLUMNS && (int)AMX_DEPTH == (int)FILLED_DEPTH, "B is packed as for vectors");

/* What registers hold has to be said in every thread that uses them, and unsaid, or the system saves them whenever another thread's turn comes.
 * Static, since compilers take the instruction to read less of it than it does. */
static const struct {
    uint8_t palette, first_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
} amx_shapes = {.palette = 1, .row_bytes = {64, 64, 64, 64, 64, 64, 64, 64}, .rows = {16, 16, 16, 16, 16, 16, 16, 16}};

static void begin_amx(void) { _tile_loadconfig(&amx_shapes); }
static void end_amx(void) { _tile_release(); }

/* c (16 high, 32), its rows c_stride apart, (+)= A times B. high is a constant. */
static inline __attribute__((always_inline)) void multiply_registers(const panels *p, real *c, const ptrdiff_t c_stride, const int high) {
    const ptrdiff_t c_bytes = c_stride * (ptrdiff_t)sizeof(real), a_bytes = p->a_row * (ptrdiff_t)sizeof(real);
    const real *a = p->a, *b = p->b, *const *fetch = p->fetch;
    real *below = c + AMX_SIDE * c_stride;
    __asm__ volatile("" ::: "memory"); /* the instructions below do not say which memory they read */
    if (p->accumulate) {
        _tile_loadd(0, c, c_bytes);
        _tile_loadd(1, c + AMX_SIDE, c_bytes);
        if (high > 1) _tile_loadd(2, below, c_bytes);
        if (high > 1) _tile_loadd(3, below + AMX_SIDE, c_bytes);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    for (ptrdiff_t left = p->units; left > 0; left -= AMX_SIDE, a += AMX_SIDE, b += AMX_SIDE * PANEL_COLUMNS, fetch += AMX_FETCHES) {
        _tile_loadd(4, a, a_bytes);
        _tile_loadd(6, b, 2 * AMX_ROW_BYTES);
        _tile_loadd(7, b + AMX_SIDE, 2 * AMX_ROW_BYTES);
        if (high > 1) _tile_loadd(5, a + AMX_SIDE * p->a_row, a_bytes);
#pragma GCC unroll 8
        for (int i = 0; i < AMX_FETCHES; i++) __builtin_prefetch(fetch[i], 0, 2);
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
        if (high > 1) _tile_dpbf16ps(2, 5, 6);
        if (high > 1) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, c, c_bytes);
    _tile_stored(1, c + AMX_SIDE, c_bytes);
    if (high > 1) _tile_stored(2, below, c_bytes);
    if (high > 1) _tile_stored(3, below + AMX_SIDE, c_bytes);
}

static void multiply_rows_amx(const panels *p, real *c, ptrdiff_t c_stride) {
    if (p->rows <= AMX_SIDE) multiply_registers(p, c, c_stride, 1);
    else multiply_registers(p, c, c_stride, 2);
}

/* For what registers cannot write: panels that end early, sums whose squares are wanted, and lines that go past the caches. */
static void multiply_part_amx(const panels *p) {
    real sums[AMX_PANEL][AMX_PANEL] __attribute__((aligned(64)));
    V squares = {0};
    for (ptrdiff_t i = 0; p->accumulate && i < p->rows; i++) {
        const real *c = p->c + i * p->stride;
        store(sums[i], load_left(c, p->columns, 0));
        store(sums[i] + LANES, p->columns > LANES ? load_left(c + LANES, p->columns - LANES, 0) : (V){0});
    }
    multiply_rows_amx(p, sums[0], AMX_PANEL);
    for (ptrdiff_t i = 0; i < p->rows; i++) {
        real *c = p->c + i * p->stride;
        squares += keep_sum(c, load(sums[i]), p->columns, false, p->past_caches);
        squares += keep_sum(c + LANES, load(sums[i] + LANES), p->columns - LANES, false, p->past_caches);
    }
    if (p->square) *p->square = sum_lanes(squares);
}

static void multiply_panels_amx(const panels *p) {
    const bool whole = p->columns >= AMX_PANEL && p->rows % AMX_SIDE == 0;
    for (ptrdiff_t i = 0; !p->past_caches && i < p->rows; i++)
        __builtin_prefetch(p->c + i * p->stride, 1), __builtin_prefetch(p->c + i * p->stride + PANEL_COLUMNS - 1, 1);
    if (whole && !p->square && !p->past_caches) multiply_rows_amx(p, p->c, p->stride);
    else multiply_part_amx(p);
}

/* Panels are rows: where A lies ALONG, 16 units of 16 of its columns at a time are turned. */
static void pack_a_amx(real *a, const operand *o, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t k0, ptrdiff_t depth) {
    if (o->lies == ACROSS) {
        pack_a_bf16(a, o, first, rows, k0, depth);
        return;
    }
    for (ptrdiff_t k = 0; k < depth; k += AMX_DEPTH)
        for (ptrdiff_t i = 0; i < rows; i += AMX_SIDE) {
            __m512 unit[TURN_BY];
#pragma GCC unroll 16
            for (int u = 0; u < TURN_BY; u++) unit[u] = (__m512)pairs_at(o, k0 + k + 2 * u, k0 + depth, first + i, rows - i);
            turn_wide_block(a + i * A_STRIDE + k / 2, A_STRIDE, 0, unit);
        }
}

/* Below that, what products lose without packed copies, an update gains that does not write them (docs/performance.md). */
static bool worth_packing_bf16(ptrdiff_t in, double rows) { return (void)in, rows >= ROWS_WORTH_PACKING; }

static const arithmetic pairs = {.values = AMX_DEPTH,
                                 .units = AMX_SIDE,
                                 .deep = AMX_DEEP,
                                 .panel_rows = AMX_PANEL,
                                 .a_in_rows = true,
                                 .reads_rows = AMX_SIDE,
                                 .pack_a = pack_a_amx,
                                 .pack_b = pack_b_bf16,
                                 .multiply = multiply_panels_amx,
                                 .pack_stored = pack_stored_bf16,
                                 .begin = begin_amx,
                                 .end = end_amx};

static double peak_flops_bf16(double seconds) {
    enum { ROUNDS = 1000, PRODUCTS = 4 };
    static const real zeros[AMX_SIDE * AMX_SIDE] __attribute__((aligned(64)));
    double begin = clock_seconds(), now = begin, operations = 0;
    begin_amx();
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
    _tile_loadd(4, zeros, AMX_ROW_BYTES);
    _tile_loadd(5, zeros, AMX_ROW_BYTES);
    while (now - begin < seconds) {
        for (int round = 0; round < ROUNDS; round++) {
            _tile_dpbf16ps(0, 4, 5);
            _tile_dpbf16ps(1, 4, 5);
            _tile_dpbf16ps(2, 4, 5);
            _tile_dpbf16ps(3, 4, 5);
        }
        operations += 2.0 * ROUNDS * PRODUCTS * AMX_SIDE * AMX_SIDE * AMX_DEPTH;
        now = clock_seconds();
    }
    end_amx();
    return operations / (now - begin);
}
