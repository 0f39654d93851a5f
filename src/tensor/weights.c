#include "tensor/weights.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

void weights_release(weights *table) {
    for (int i = 0; i < table->n; i++) {
        memory_free(table->row[i]->value);
        memory_free(table->row[i]->stored);
        memory_free(table->row[i]->step->rows);
        memory_free(table->row[i]->step);
        memory_free(table->row[i]);
    }
    memory_free(table->row);
    memory_free(table->values);
    memory_free(table->gradients);
    memory_free(table->packed);
    memory_free(table->squares);
    *table = (weights){0};
}

int weights_declare(weight **w, weights *table, const char *kind, int layer, weight_role role, ptrdiff_t groups, ptrdiff_t out, ptrdiff_t in,
                    double deviation) {
    weight *row = NULL;
    weight_step *step = NULL;
    int status = LAMP_OK;
    TRY_TO(done, memory_reserve(&table->row, &table->capacity, (size_t)table->n + 1, sizeof *table->row, "the weights table"));
    TRY_TO(done, memory_new(&row, 1, sizeof *row, "a row of the weights table"));
    TRY_TO(done, memory_new(&step, 1, sizeof *step, "a row of the weights table"));
    *row = (weight){kind, layer, role, groups, out, in, deviation, table->n, table->total, .step = step};
    table->row[table->n++] = row;
    table->total += weight_size(row);
    *w = row;
done:
    if (status < 0) memory_free(row), memory_free(step);
    return status;
}

int weights_allocate_groups(weights *table) {
    for (int i = 0; i < table->n; i++) {
        weight *w = table->row[i];
        if (w->type == STORED_REAL) TRY(memory_new(&w->value, (size_t)w->groups, sizeof *w->value, "pointers to experts"));
        else TRY(memory_new(&w->stored, (size_t)w->groups, sizeof *w->stored, "pointers to experts"));
        TRY(memory_new(&w->step->rows, (size_t)w->groups, sizeof *w->step->rows, "rows that reached experts"));
    }
    return LAMP_OK;
}

int weights_allocate_values(weights *table) {
    TRY(weights_allocate_groups(table));
    TRY(memory_new_block(&table->values, (size_t)table->total, sizeof(real), "weights"));
    for (int i = 0; i < table->n; i++) {
        weight *w = table->row[i];
        for (ptrdiff_t g = 0; g < w->groups; g++) w->value[g] = table->values + w->offset + g * w->out * w->in;
    }
    return LAMP_OK;
}

int weights_allocate_gradients(weights *table) {
    for (int i = 0; i < table->n; i++)
        if (!table->row[i]->step->passing) table->total_gradients += weight_size(table->row[i]);
    TRY(memory_new_block(&table->gradients, (size_t)table->total_gradients, sizeof(real), "gradients"));
    real *gradient = table->gradients;
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        if (!w->step->passing) w->step->gradient = gradient, gradient += weight_size(w);
    }
    return LAMP_OK;
}

void weights_initialize(weights *table, uint64_t seed) {
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        random_key key = random_key_make(seed, RANDOM_INITIAL, 0, (uint64_t)i);
        real *value = table->values + w->offset;
#pragma omp parallel for
        for (ptrdiff_t j = 0; j < weight_size(w); j++)
            value[j] = w->role == ROLE_NORM || w->role == ROLE_THRESHOLD ? 1 : (real)(w->deviation * random_normal(key, (uint64_t)j));
    }
}

/* Those whose gradients leave squares, and that may be packed. The router's precision is its own (weight_products.c), and it is small. */
static bool is_large(const weight *w) { return w->role == ROLE_MATRIX || w->role == ROLE_EXPERT; }

static bool is_packed(const weight *w, const struct products *p, packing chosen) {
    const double rows = w->role == ROLE_EXPERT ? chosen.expert_rows : (double)INFINITY; /* every token meets a matrix */
    return is_large(w) && (chosen.which == PACK_ALL || (chosen.which == PACK_WORTHY && p->worth_packing(w->in, rows)));
}

ptrdiff_t weights_packed_values(const weights *table, const struct products *p, packing chosen) {
    ptrdiff_t values = 0;
    for (int i = 0; i < table->n; i++)
        if (is_packed(table->row[i], p, chosen)) values += table->row[i]->groups * p->packed_size(table->row[i]->in, table->row[i]->out);
    return values;
}

ptrdiff_t weights_square_values(const weights *table, const struct products *p) {
    ptrdiff_t values = 0;
    for (int i = 0; i < table->n; i++)
        if (is_large(table->row[i])) values += table->row[i]->groups * p->squares_size(table->row[i]->in, table->row[i]->out);
    return values;
}

int weights_allocate_packed(weights *table, const struct products *p, packing chosen) {
    table->total_squares = weights_square_values(table, p), table->total_packed = weights_packed_values(table, p, chosen);
    TRY(memory_new_block(&table->squares, (size_t)table->total_squares, sizeof(real), "squares of gradients"));
    TRY(memory_new_block(&table->packed, (size_t)table->total_packed, sizeof(real), "packed weights"));
    real *square = table->squares, *copy = table->packed;
    for (int i = 0; i < table->n; i++) {
        weight *w = table->row[i];
        if (!is_large(w)) continue;
        w->step->squares_size = p->squares_size(w->in, w->out);
        w->step->squares = square, square += w->groups * w->step->squares_size;
        if (is_packed(w, p, chosen)) w->packed = copy, copy += w->groups * p->packed_size(w->in, w->out);
    }
    return LAMP_OK;
}

void weights_pack(weights *table, const struct products *p) {
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        const ptrdiff_t blocks = (w->out + PACKED_ROWS - 1) / PACKED_ROWS;
        if (!w->packed) continue;
#pragma omp parallel for
        for (ptrdiff_t task = 0; task < w->groups * blocks; task++) {
            ptrdiff_t g = task / blocks, first = task % blocks * PACKED_ROWS, rows = w->out - first < PACKED_ROWS ? w->out - first : PACKED_ROWS;
            p->pack_rows(w->packed + g * p->packed_size(w->in, w->out), w->value[g], first, rows, w->in, w->out);
        }
    }
}

void weights_zero_gradients(weights *table) {
    for (int i = 0; i < table->n; i++) {
        weight_step *s = table->row[i]->step;
        s->written = s->ready = s->squared = false;
        s->uses = 0;
        if (s->passing) s->gradient = NULL;
        memset(s->rows, 0, sizeof *s->rows * (size_t)table->row[i]->groups);
    }
}

size_t weights_bytes(const weights *table) {
    ptrdiff_t values = table->values ? table->total : 0;
    return sizeof(real) * (size_t)(values + table->total_gradients + table->total_packed + table->total_squares);
}
