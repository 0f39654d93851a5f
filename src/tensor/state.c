#include "tensor/state.h"

#include <string.h>

#include "base/error.h"
#include "base/memory.h"

int state_open(state *s, int layers, ptrdiff_t capacity, ptrdiff_t width) {
    *s = (state){layers, capacity, width, 0, NULL, NULL};
    int status = LAMP_OK;
    TRY_TO(done, memory_new(&s->key, (size_t)layers, sizeof *s->key, "the key cache"));
    TRY_TO(done, memory_new(&s->value, (size_t)layers, sizeof *s->value, "the value cache"));
    for (int l = 0; l < layers; l++) {
        TRY_TO(done, memory_new(&s->key[l], (size_t)(capacity * width), sizeof(real), "the key cache"));
        TRY_TO(done, memory_new(&s->value[l], (size_t)(capacity * width), sizeof(real), "the value cache"));
    }
done:
    if (status < 0) state_close(s);
    return status;
}

void state_close(state *s) {
    for (int l = 0; l < s->layers; l++) {
        if (s->key) memory_free(s->key[l]);
        if (s->value) memory_free(s->value[l]);
    }
    memory_free(s->key);
    memory_free(s->value);
    *s = (state){0};
}

void state_append(state *s, int layer, const real *key, const real *value, ptrdiff_t n) {
    CHECK(s->length + n <= s->capacity, "%td tokens after %td in room for %td", n, s->length, s->capacity);
    memcpy(s->key[layer] + s->length * s->width, key, sizeof(real) * (size_t)(n * s->width));
    memcpy(s->value[layer] + s->length * s->width, value, sizeof(real) * (size_t)(n * s->width));
}
