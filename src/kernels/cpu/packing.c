/* How factors of a product are laid out for the micro-kernel (products.c). What is packed are units of real's size: a number, or two
 * neighbours along the depth as bf16 (products_bf16.c). In blocks of DEPTH units:
 *
 *     B panel: (units, PANEL_COLUMNS), zero-padded
 *     A panel: (PANEL_ROWS, A_STRIDE), rows as they lie, where the source runs along the depth
 *              (units, PANEL_ROWS), zero-padded, where it runs along the panel */

#include <omp.h>

enum {
    PANEL_ROWS = (int)VECTOR_BYTES == 64 ? 12 : (int)VECTOR_BYTES == 32 ? 6 : (int)VECTOR_BYTES == 16 ? 8 : 4,
    PANEL_VECTORS = 2,
    PANEL_COLUMNS = PANEL_VECTORS * LANES,
    DEPTH = 512,                   /* units */
    LINE = 64 / (int)sizeof(real), /* of the caches */
    A_STRIDE = DEPTH + 16,         /* no power of two, or rows would compete for the same sets of the cache */
};

typedef enum {
    ACROSS, /* a panel's rows (of B: columns) are rows of the source     x, dy, w of y = x w^T */
    ALONG   /* the depth runs over rows of the source                    w of dx = dy w; both of dw = dy^T x */
} direction;

typedef struct {
    const real *x;
    const uint16_t *bf16; /* instead, where numbers are rounded already; products_bf16.c alone reads them */
    ptrdiff_t stride;
    const int32_t *row; /* picks source rows; NULL: in order */
    direction lies;
} operand;

static inline operand across(const real *x, ptrdiff_t stride, const int32_t *row) {
    return (operand){.x = x, .stride = stride, .row = row, .lies = ACROSS};
}
static inline operand along(const real *x, ptrdiff_t stride, const int32_t *row) {
    return (operand){.x = x, .stride = stride, .row = row, .lies = ALONG};
}
static inline operand batch(rows_of x, ptrdiff_t width, direction lies) {
    return (operand){.x = x.x, .bf16 = x.bf16, .stride = width, .row = x.row, .lies = lies};
}

/* A factor B as a file stores it: rows of blocks, which lie ACROSS. */
typedef struct {
    const unsigned char *bytes;
    ptrdiff_t stride; /* bytes */
    stored_type type;
} stored_operand;

static inline const real *source_row(const operand *o, ptrdiff_t i) { return o->x + (o->row ? o->row[i] : i) * o->stride; }
static inline const uint16_t *source_row_bf16(const operand *o, ptrdiff_t i) { return o->bf16 + (o->row ? o->row[i] : i) * o->stride; }
/* A thread of many that each work on experts of their own works alone. */
static inline ptrdiff_t threads_here(void) { return omp_in_parallel() ? 1 : omp_get_max_threads(); }

static inline ptrdiff_t ceiling(ptrdiff_t a, ptrdiff_t b) { return (a + b - 1) / b; }
static inline ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
/* Where part i begins when `size` is cut into parts of whole panels that differ by one panel at most. */
static inline ptrdiff_t part_start(ptrdiff_t size, ptrdiff_t panel, ptrdiff_t i, ptrdiff_t parts) {
    return smaller(ceiling(size, panel) * i / parts * panel, size);
}

static inline ptrdiff_t a_panel_units(direction lies, ptrdiff_t units) { return lies == ACROSS ? PANEL_ROWS * A_STRIDE : PANEL_ROWS * units + LANES; }

/* Rows a, b, c, d of four 32-bit values become columns of the panel. */
static inline void turn_block(void *panel, V4 a, V4 b, V4 c, V4 d) {
    float *column = panel;
    V4 ab_low = __builtin_shufflevector(a, b, 0, 4, 1, 5), ab_high = __builtin_shufflevector(a, b, 2, 6, 3, 7);
    V4 cd_low = __builtin_shufflevector(c, d, 0, 4, 1, 5), cd_high = __builtin_shufflevector(c, d, 2, 6, 3, 7);
    store4(column, __builtin_shufflevector(ab_low, cd_low, 0, 1, 4, 5));
    store4(column + PANEL_COLUMNS, __builtin_shufflevector(ab_low, cd_low, 2, 3, 6, 7));
    store4(column + 2 * PANEL_COLUMNS, __builtin_shufflevector(ab_high, cd_high, 0, 1, 4, 5));
    store4(column + 3 * PANEL_COLUMNS, __builtin_shufflevector(ab_high, cd_high, 2, 3, 6, 7));
}

/* Sixteen rows of sixteen 32-bit values become columns: pairs of rows, of pairs, of fours and of eights change places. The rows that come of it
 * lie `stride` apart, and the last eight `gap` further. */
enum { TURN_BY = 16 };
#if defined(__AVX512F__) && REAL_BYTES == 4
static inline __attribute__((always_inline)) void turn_wide_block(void *to, ptrdiff_t stride, ptrdiff_t gap, __m512 row[TURN_BY]) {
    __m512 turned[TURN_BY];
#pragma GCC unroll 8
    for (int i = 0; i < TURN_BY; i += 2) turned[i] = _mm512_unpacklo_ps(row[i], row[i + 1]), turned[i + 1] = _mm512_unpackhi_ps(row[i], row[i + 1]);
#pragma GCC unroll 4
    for (int i = 0; i < TURN_BY; i += 4)
#pragma GCC unroll 2
        for (int half = 0; half < 2; half++) {
            __m512d a = _mm512_castps_pd(turned[i + half]), b = _mm512_castps_pd(turned[i + half + 2]);
            row[i + 2 * half] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, b)), row[i + 2 * half + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, b));
        }
#pragma GCC unroll 2
    for (int i = 0; i < TURN_BY; i += 8)
#pragma GCC unroll 4
        for (int j = i; j < i + 4; j++)
            turned[j] = _mm512_shuffle_f32x4(row[j], row[j + 4], 0x88), turned[j + 4] = _mm512_shuffle_f32x4(row[j], row[j + 4], 0xDD);
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++) {
        float *column = (float *)to + j * stride;
        _mm512_storeu_ps(column, _mm512_shuffle_f32x4(turned[j], turned[j + 8], 0x88));
        _mm512_storeu_ps(column + 4 * stride, _mm512_shuffle_f32x4(turned[j + 4], turned[j + 12], 0x88));
        _mm512_storeu_ps(column + 8 * stride + gap, _mm512_shuffle_f32x4(turned[j], turned[j + 8], 0xDD));
        _mm512_storeu_ps(column + 12 * stride + gap, _mm512_shuffle_f32x4(turned[j + 4], turned[j + 12], 0xDD));
    }
}

#define HAS_WIDE_BLOCKS 1
#else
#define HAS_WIDE_BLOCKS 0
#endif

/* Some steps of the depth of A that lies ALONG, in the panels whose rows are all there. Returns how many of `rows` those are.
 * Lanes that a mask leaves out are not read. */
enum { PACKED_TOGETHER = 4 };
#if HAS_WIDE_BLOCKS
_Static_assert(PANEL_ROWS * PACKED_TOGETHER == 3 * TURN_BY, "four steps of twelve rows are three vectors");
static ptrdiff_t pack_steps(real *a, ptrdiff_t panel, const real *const step[PACKED_TOGETHER], ptrdiff_t rows) {
    ptrdiff_t i = 0;
    for (; i + PANEL_ROWS <= rows; i += PANEL_ROWS, a += panel) {
        _mm512_storeu_ps(a, _mm512_mask_loadu_ps(_mm512_maskz_loadu_ps(0x0FFF, step[0] + i), 0xF000, step[1] + i - 12));
        _mm512_storeu_ps(a + 16, _mm512_mask_loadu_ps(_mm512_maskz_loadu_ps(0x00FF, step[1] + i + 4), 0xFF00, step[2] + i - 8));
        _mm512_storeu_ps(a + 32, _mm512_mask_loadu_ps(_mm512_maskz_loadu_ps(0x000F, step[2] + i + 8), 0xFFF0, step[3] + i - 4));
    }
    return i;
}
#else
static ptrdiff_t pack_steps(real *a, ptrdiff_t panel, const real *const step[PACKED_TOGETHER], ptrdiff_t rows) {
    return (void)a, (void)panel, (void)step, (void)rows, 0;
}
#endif

/* One step: rows first .. rows */
static void pack_step(real *a, ptrdiff_t panel, const real *step, ptrdiff_t first, ptrdiff_t rows) {
    ptrdiff_t i = first;
    for (; i + PANEL_ROWS <= rows; i += PANEL_ROWS) memcpy(a + i / PANEL_ROWS * panel, step + i, sizeof(real) * PANEL_ROWS);
    if (i == rows) return;
    real *last = a + i / PANEL_ROWS * panel;
    memset(last, 0, sizeof(real) * PANEL_ROWS);
    memcpy(last, step + i, sizeof(real) * (size_t)(rows - i));
}

/* rows first .. first + rows of A, depth k0 .. k0 + depth */
static void pack_a(real *a, const operand *o, ptrdiff_t first, ptrdiff_t rows, ptrdiff_t k0, ptrdiff_t depth) {
    if (o->lies == ACROSS) {
        for (ptrdiff_t i = 0; i < rows; i++, a += A_STRIDE) memcpy(a, source_row(o, first + i) + k0, sizeof(real) * (size_t)depth);
        return;
    }
    const ptrdiff_t panel = a_panel_units(ALONG, depth);
    for (ptrdiff_t k = 0; k < depth; k += PACKED_TOGETHER) {
        const ptrdiff_t together = smaller(depth - k, PACKED_TOGETHER);
        const real *step[PACKED_TOGETHER] = {0};
        for (ptrdiff_t i = 0; i < together; i++) step[i] = source_row(o, k0 + k + i) + first;
        const ptrdiff_t done = together == PACKED_TOGETHER ? pack_steps(a, panel, step, rows) : 0;
        for (ptrdiff_t i = 0; i < together; i++, a += PANEL_ROWS) pack_step(a, panel, step[i], done, rows);
    }
}

/* Four columns of a B panel, from k on, from four source rows, NULL where there is none; floats in blocks of 4 x 4 that are turned in registers. */
static inline void pack_four_columns(real *panel, const real *const source[4], ptrdiff_t k, ptrdiff_t depth) {
    for (; sizeof(real) == sizeof(float) && PANEL_COLUMNS >= 4 && source[3] && k + 4 <= depth; k += 4)
        turn_block(panel + k * PANEL_COLUMNS, load4(source[0] + k), load4(source[1] + k), load4(source[2] + k), load4(source[3] + k));
    for (; k < depth; k++)
        for (int i = 0; i < 4 && i < PANEL_COLUMNS; i++) panel[k * PANEL_COLUMNS + i] = source[i] ? source[i][k] : 0;
}

/* Sixteen columns of a B panel, which all are there; as much of the depth as comes in whole blocks. Returns how much. */
#if HAS_WIDE_BLOCKS
static ptrdiff_t pack_wide_columns(real *panel, const operand *o, ptrdiff_t first, ptrdiff_t k0, ptrdiff_t depth) {
    ptrdiff_t k = 0;
    for (; k + TURN_BY <= depth; k += TURN_BY) {
        __m512 row[TURN_BY];
#pragma GCC unroll 16
        for (int i = 0; i < TURN_BY; i++) row[i] = _mm512_loadu_ps(source_row(o, first + i) + k0 + k);
        turn_wide_block(panel + k * PANEL_COLUMNS, PANEL_COLUMNS, 0, row);
    }
    return k;
}
#else
static ptrdiff_t pack_wide_columns(real *panel, const operand *o, ptrdiff_t first, ptrdiff_t k0, ptrdiff_t depth) {
    return (void)panel, (void)o, (void)first, (void)k0, (void)depth, 0;
}
#endif

/* columns first .. first + columns of B, depth k0 .. k0 + depth; panels lie panel_units apart */
static void pack_b(real *b, ptrdiff_t panel_units, const operand *o, ptrdiff_t first, ptrdiff_t columns, ptrdiff_t k0, ptrdiff_t depth) {
    for (ptrdiff_t j = 0; j < columns; j += PANEL_COLUMNS, b += panel_units) {
        const ptrdiff_t there = smaller(columns - j, PANEL_COLUMNS);
        if (o->lies == ALONG) {
            for (ptrdiff_t k = 0; k < depth; k++) {
                const real *unit = source_row(o, k0 + k) + first + j;
                store(b + k * PANEL_COLUMNS, there >= LANES ? load(unit) : load_part(unit, there, 0));
                store(b + k * PANEL_COLUMNS + LANES, there >= 2 * LANES ? load(unit + LANES) : load_part(unit + LANES, there > LANES ? there - LANES : 0, 0));
            }
            continue;
        }
        ptrdiff_t done = 0;
        for (ptrdiff_t column = 0; column < PANEL_COLUMNS; column += 4) {
            const real *source[4];
            if (column % TURN_BY == 0) done = column + TURN_BY <= there ? pack_wide_columns(b + column, o, first + j + column, k0, depth) : 0;
            for (ptrdiff_t i = 0; i < 4; i++) source[i] = column + i < there ? source_row(o, first + j + column + i) + k0 : NULL;
            pack_four_columns(b + column, source, done, depth);
        }
    }
}
