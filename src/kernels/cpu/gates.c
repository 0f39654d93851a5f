/* What a noisy gate does with rows of logits: draws, noise, choices, and the chance of being chosen. Rows are independent. */

enum { DRAWS = 64 /* made together */ };

/* Words 1 and 3 of the blocks of these indices (base/random.c), all lanes at once. */
static void philox_words(uint32_t *word1, uint32_t *word3, random_key key, const uint64_t *index) {
    uint32_t word0[DRAWS], word2[DRAWS], k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
    for (int i = 0; i < DRAWS; i++) {
        word0[i] = (uint32_t)index[i], word1[i] = (uint32_t)(index[i] >> 32);
        word2[i] = (uint32_t)key.stream, word3[i] = (uint32_t)(key.stream >> 32);
    }
    for (int round = 0; round < 10; round++, k0 += 0x9E3779B9u, k1 += 0xBB67AE85u)
        for (int i = 0; i < DRAWS; i++) {
            uint64_t a = (uint64_t)0xD2511F53u * word0[i], b = (uint64_t)0xCD9E8D57u * word2[i];
            word0[i] = (uint32_t)(b >> 32) ^ word1[i] ^ k0, word1[i] = (uint32_t)b;
            word2[i] = (uint32_t)(a >> 32) ^ word3[i] ^ k1, word3[i] = (uint32_t)a;
        }
}

/* log(u) of u = m 2^e, sqrt(1/2) < m <= sqrt(2), is e ln 2 + log(1 + f) with f = m - 1, which for u itself near one is -(1 - u). */
static inline V log_of_uniform(V u, V one_less_u) {
    const int single = sizeof(real) == 4, mantissa = single ? 23 : 52;
    const lane_integer root = single ? 0x3F3504F3 : 0x3FE6A09E667F3BCD; /* the bits of sqrt(1/2) */
    VI exponent = ((VI)u - root) >> mantissa;
    V f = select_lanes(exponent == 0, -one_less_u, (V)((VI)u - (exponent << mantissa)) - 1);
    return __builtin_convertvector(exponent, V) * (real)M_LN2 + log1p_lanes(f);
}

/* sin(2 pi q) for |q| <= 1/4 by its Taylor polynomial, whose first left-out term is below 1e-9. */
static inline V sine_of_turns(V q) {
    static const double factorial[] = {1, 6, 120, 5040, 362880, 39916800, 6227020800.0};
    V x = q * (real)(2 * M_PI), square = x * x, sum = (V){0};
    for (int i = 6; i >= 0; i--) sum = (real)(1 / factorial[i]) - sum * square;
    return x * sum;
}

/* random_normal in float: sqrt(-2 log(u)) cos(2 pi v) needs no more than the upper words of u and v. */
static void normals_single(real *draw, random_key key, const uint64_t *index) {
    uint32_t word1[DRAWS], word3[DRAWS];
    real u[DRAWS], one_less_u[DRAWS], v[DRAWS];
    philox_words(word1, word3, key, index);
    for (int i = 0; i < DRAWS; i++) {
        u[i] = ((real)word1[i] + (real)0.5) * (real)0x1p-32, one_less_u[i] = ((real)~word1[i] + (real)0.5) * (real)0x1p-32;
        v[i] = (real)(int32_t)word3[i] * (real)0x1p-32; /* -1/2 .. 1/2: the cosine has no other turn */
    }
    for (int i = 0; i < DRAWS; i += LANES) {
        V turn = load(v + i);
        store(u + i, -2 * log_of_uniform(load(u + i), load(one_less_u + i))), store(v + i, sine_of_turns((real)0.25 - larger(turn, -turn)));
    }
    for (int i = 0; i < DRAWS; i++) draw[i] = root_of(u[i]) * v[i];
}

static void normals(real *draw, random_key key, const uint64_t *first, ptrdiff_t rows, ptrdiff_t width) {
    const ptrdiff_t n = rows * width;
#pragma omp parallel for schedule(static) if (n > SMALL)
    for (ptrdiff_t start = 0; start < n; start += DRAWS) {
        const ptrdiff_t count = smaller(n - start, DRAWS);
        uint64_t index[DRAWS] = {0};
        real made[DRAWS];
        for (ptrdiff_t i = 0, r = start / width, at = start % width; i < count; i++) {
            index[i] = first[r] + (uint64_t)at;
            if (++at == width) at = 0, r++;
        }
        if (sizeof(real) == 4) normals_single(made, key, index);
        else
            for (ptrdiff_t i = 0; i < count; i++) made[i] = (real)random_normal(key, index[i]);
        memcpy(draw + start, made, sizeof(real) * (size_t)count);
    }
}

/* softplus(a) = max(a, 0) + log(1 + e^-|a|) and its slope sigmoid(a). */
static inline V softplus_lanes(V a, V *slope) {
    V e = exp_lanes(-larger(a, -a)), one = (V){0} + 1;
    *slope = select_lanes(a > 0, one, e) / (1 + e);
    return larger(a, (V){0}) + log1p_lanes(e);
}

static void noisy(real *y, const real *clean, const real *noise, const real *draw, ptrdiff_t n) {
#pragma omp parallel for schedule(static) if (n > SMALL)
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        V slope, deviation = softplus_lanes(load_left(noise + i, n - i, 0), &slope);
        store_left(y + i, load_left(clean + i, n - i, 0) + load_left(draw + i, n - i, 0) * deviation, n - i);
    }
}

/* y = c + d softplus(a):   dc += dy,   da += d sigmoid(a) dy */
static void noisy_backward(real *dclean, real *dnoise, const real *dy, const real *noise, const real *draw, ptrdiff_t n) {
#pragma omp parallel for schedule(static) if (n > SMALL)
    for (ptrdiff_t i = 0; i < n; i += LANES) {
        V slope, dyi = load_left(dy + i, n - i, 0);
        softplus_lanes(load_left(noise + i, n - i, 0), &slope);
        store_left(dclean + i, load_left(dclean + i, n - i, 0) + dyi, n - i);
        store_left(dnoise + i, load_left(dnoise + i, n - i, 0) + load_left(draw + i, n - i, 0) * slope * dyi, n - i);
    }
}

/* Whole numbers in the order of the numbers whose bits they are; zeros are equal, and what is not a number comes before all. */
static inline VI ordered_lanes(V x) {
    const lane_integer most = (lane_integer)(((uint64_t)1 << (8 * sizeof(real) - 1)) - 1);
    VI bits = (VI)(x + 0), no_number = x != x;
    bits ^= (bits >> (int)(8 * sizeof(real) - 1)) & most;
    return (bits & ~no_number) | ((1 - most) & no_number);
}

/* Each choice is the largest of what comes after the one before, by number and then by place, so nothing is taken twice. */
static void choose_row(int32_t *best, const real *score, ptrdiff_t width, ptrdiff_t K) {
    const lane_integer most = (lane_integer)(((uint64_t)1 << (8 * sizeof(real) - 1)) - 1);
    lane_integer last = most, last_at = -1;
    for (ptrdiff_t k = 0; k < K; k++) {
        VI found = -most - (VI){0}, found_at = {0}, at = counting_lanes(0);
        for (ptrdiff_t i = 0; i < width; i += LANES, at += LANES) {
            VI number = ordered_lanes(load_left(score + i, width - i, 0));
            VI better = (number > found) & ((number < last) | ((number == last) & (at > last_at))) & (at < (lane_integer)width);
            found = (number & better) | (found & ~better), found_at = (at & better) | (found_at & ~better);
        }
        lane_integer largest_found = found[0], place = found_at[0];
        for (int i = 1; i < LANES; i++)
            if (found[i] > largest_found || (found[i] == largest_found && found_at[i] < place)) largest_found = found[i], place = found_at[i];
        last = largest_found, last_at = place, best[k] = (int32_t)place;
    }
}

static void choose(int32_t *best, const real *score, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t K) {
#pragma omp parallel for schedule(static) if (rows * width > SMALL / 4)
    for (ptrdiff_t r = 0; r < rows; r++) choose_row(best + r * K, score + r * width, width, K);
}

/* What a row's entries must exceed to be among its K largest: the K-th largest of the others, which is the (K+1)-th of all for those that are. */
typedef struct {
    const int32_t *best; /* (K + 1) */
    ptrdiff_t K;
    real of_chosen, of_others;
} rivals;

static inline rivals rivals_of(const int32_t *best, const real *noisy, ptrdiff_t K) { return (rivals){best, K, noisy[best[K]], noisy[best[K - 1]]}; }

static inline VI chosen_lanes(const rivals *r, VI at) {
    VI chosen = {0};
    for (ptrdiff_t k = 0; k < r->K; k++) chosen |= at == (lane_integer)r->best[k];
    return chosen;
}

/* z = (c - rival) / softplus(a), not so far out that its square or a product with it leaves the range of real. */
static inline V distance_lanes(V clean, V noise, const rivals *r, VI chosen, V *inverse, V *slope) {
    const V most = (V){0} + 40;
    *inverse = 1 / larger(softplus_lanes(noise, slope), (V){0} + (real)1e-30);
    V z = (clean - select_lanes(chosen, r->of_chosen - (V){0}, r->of_others - (V){0})) * *inverse;
    return -larger(-larger(z, -most), -most);
}

static void chances(real *p, const real *clean, const real *noise, const real *noisy, const int32_t *best, ptrdiff_t K, const real *row_weight,
                    ptrdiff_t rows, ptrdiff_t width) {
#pragma omp parallel for schedule(static) if (rows * width > SMALL)
    for (ptrdiff_t r = 0; r < rows; r++) {
        rivals rival = rivals_of(best + r * (K + 1), noisy + r * width, K);
        VI at = counting_lanes(0);
        if (row_weight[r] == 0) memset(p + r * width, 0, sizeof(real) * (size_t)width);
        for (ptrdiff_t i = 0; i < width && row_weight[r] != 0; i += LANES, at += LANES) {
            V inverse, slope, distribution, c = load_left(clean + r * width + i, width - i, 0), a = load_left(noise + r * width + i, width - i, 0);
            normal_lanes(distance_lanes(c, a, &rival, chosen_lanes(&rival, at), &inverse, &slope), &distribution);
            store_left(p + r * width + i, row_weight[r] * distribution, width - i);
        }
    }
}

/* p_i = w Phi(z_i), z_i = (c_i - h_rival) / s, s = softplus(a_i). With phi the normal density and g = w dp_i phi(z) / s:
 *     dc_i += g,   ds = -g z, so da_i -= g z sigmoid(a_i),   dh_rival -= g */
static void chances_backward(real *dclean, real *dnoise, real *dnoisy, const real *dload, const int32_t *bin, const real *clean, const real *noise,
                             const real *noisy, const int32_t *best, ptrdiff_t K, const real *row_weight, ptrdiff_t rows, ptrdiff_t width) {
#pragma omp parallel for schedule(static) if (rows * width > SMALL)
    for (ptrdiff_t r = 0; r < rows; r++) {
        const int32_t *row_best = best + r * (K + 1);
        rivals rival = rivals_of(row_best, noisy + r * width, K);
        V of_chosen = {0}, of_others = {0};
        VI at = counting_lanes(0);
        for (ptrdiff_t i = 0; i < width && row_weight[r] != 0; i += LANES, at += LANES) {
            real *dc = dclean + r * width + i, *da = dnoise + r * width + i;
            VI chosen = chosen_lanes(&rival, at);
            V inverse, slope, distribution, c = load_left(clean + r * width + i, width - i, 0), a = load_left(noise + r * width + i, width - i, 0);
            V z = distance_lanes(c, a, &rival, chosen, &inverse, &slope);
            V density = normal_lanes(z, &distribution) * (real)(M_2_SQRTPI * M_SQRT1_2 / 2);
            V g = row_weight[r] * load_left(dload + bin[r] * width + i, width - i, 0) * density * inverse;
            store_left(dc, load_left(dc, width - i, 0) + g, width - i);
            store_left(da, load_left(da, width - i, 0) - g * z * slope, width - i);
            of_chosen += select_lanes(chosen, g, (V){0}), of_others += select_lanes(chosen, (V){0}, g);
        }
        dnoisy[r * width + row_best[K]] -= sum_lanes(of_chosen), dnoisy[r * width + row_best[K - 1]] -= sum_lanes(of_others);
    }
}
