/* A step of an LSTM, from its gates on, and back. Rows are independent. */

static inline V tanh_lanes(V x) { return 2 * sigmoid_lanes(2 * x) - 1; }

/* The four gates of units u and on: their numbers in a row lie U apart. */
typedef struct {
    V i, f, g, o;
} gate_lanes;

static inline gate_lanes load_gates(const real *row, ptrdiff_t U, ptrdiff_t u) {
    const ptrdiff_t left = U - u;
    row += u;
    return (gate_lanes){load_left(row, left, 0), load_left(row + U, left, 0), load_left(row + 2 * U, left, 0), load_left(row + 3 * U, left, 0)};
}

static inline void store_gates(real *row, ptrdiff_t U, ptrdiff_t u, gate_lanes a) {
    const ptrdiff_t left = U - u;
    row += u;
    store_left(row, a.i, left), store_left(row + U, a.f, left), store_left(row + 2 * U, a.g, left), store_left(row + 3 * U, a.o, left);
}

static void lstm(real *gates, real *cell, real *said, const real *recurrent, const real *bias, const real *before, ptrdiff_t rows, ptrdiff_t U) {
#pragma omp parallel for schedule(static) if (rows * U > SMALL / LSTM_GATES)
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t u = 0; u < U; u += LANES) {
            const ptrdiff_t at = r * U + u, left = U - u;
            gate_lanes a = load_gates(gates + r * LSTM_GATES * U, U, u), h = load_gates(recurrent + r * LSTM_GATES * U, U, u),
                       b = load_gates(bias, U, u);
            a.i = sigmoid_lanes(a.i + h.i + b.i), a.f = sigmoid_lanes(a.f + h.f + b.f + (real)LSTM_FORGET_BIAS);
            a.g = tanh_lanes(a.g + h.g + b.g), a.o = sigmoid_lanes(a.o + h.o + b.o);
            V c = a.f * load_left(before + at, left, 0) + a.i * a.g;
            store_gates(gates + r * LSTM_GATES * U, U, u, a);
            store_left(cell + at, c, left);
            store_left(said + at, a.o * tanh_lanes(c), left);
        }
}

/* c = f c' + i g,  s = o tanh(c), where later steps want dc of c, and c' is the cell before:
 *   do = ds tanh(c),   dc += ds o (1 - tanh(c)^2),   di = dc g,   df = dc c',   dg = dc i,   dc' = dc f
 * and through the gates' own functions, whose slopes are y (1 - y) of a sigmoid and 1 - y^2 of tanh. */
static void lstm_backward(real *gates, real *dcell, const real *dsaid, const real *cell, const real *before, ptrdiff_t rows, ptrdiff_t U) {
#pragma omp parallel for schedule(static) if (rows * U > SMALL / LSTM_GATES)
    for (ptrdiff_t r = 0; r < rows; r++)
        for (ptrdiff_t u = 0; u < U; u += LANES) {
            const ptrdiff_t at = r * U + u, left = U - u;
            gate_lanes y = load_gates(gates + r * LSTM_GATES * U, U, u), d;
            V t = tanh_lanes(load_left(cell + at, left, 0)), ds = load_left(dsaid + at, left, 0);
            V dc = load_left(dcell + at, left, 0) + ds * y.o * (1 - t * t);
            d.i = dc * y.g * y.i * (1 - y.i), d.f = dc * load_left(before + at, left, 0) * y.f * (1 - y.f);
            d.g = dc * y.i * (1 - y.g * y.g), d.o = ds * t * y.o * (1 - y.o);
            store_gates(gates + r * LSTM_GATES * U, U, u, d);
            store_left(dcell + at, dc * y.f, left);
        }
}
