#include "tensor/weights.h"

#include <string.h>

#include "base/error.h"
#include "base/memory.h"
#include "base/random.h"

void weights_release(weights *table) {
    for (int i = 0; i < table->n; i++) {
        memory_free(table->row[i]->value);
        memory_free(table->row[i]);
    }
    memory_free(table->row);
    memory_free(table->values);
    memory_free(table->gradients);
    *table = (weights){0};
}

int weights_declare(weight **w, weights *table, const char *kind, int layer, weight_role role, ptrdiff_t groups, ptrdiff_t out, ptrdiff_t in,
                    double deviation) {
    weight *row = NULL;
    real **value = NULL;
    int status = LAMP_OK;
    TRY_TO(done, memory_reserve(&table->row, &table->capacity, (size_t)table->n + 1, sizeof *table->row, "the weights table"));
    TRY_TO(done, memory_new(&row, 1, sizeof *row, "a row of the weights table"));
    TRY_TO(done, memory_new(&value, (size_t)groups, sizeof *value, "pointers to experts"));
    *row = (weight){kind, layer, role, groups, out, in, deviation, table->total, value, NULL};
    table->row[table->n++] = row;
    table->total += weight_size(row);
    *w = row;
done:
    if (status < 0) memory_free(row), memory_free(value);
    return status;
}

int weights_allocate_values(weights *table) {
    TRY(memory_new(&table->values, (size_t)table->total, sizeof(real), "weights"));
    for (int i = 0; i < table->n; i++) {
        weight *w = table->row[i];
        for (ptrdiff_t g = 0; g < w->groups; g++) w->value[g] = table->values + w->offset + g * w->out * w->in;
    }
    return LAMP_OK;
}

int weights_allocate_gradients(weights *table) {
    TRY(memory_new(&table->gradients, (size_t)table->total, sizeof(real), "gradients"));
    for (int i = 0; i < table->n; i++) table->row[i]->gradient = table->gradients + table->row[i]->offset;
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

void weights_zero_gradients(weights *table) { memset(table->gradients, 0, sizeof(real) * (size_t)table->total); }
