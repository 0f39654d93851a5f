#include "tensor/state.h"

#include <stdint.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

int state_open(state *s, int layers) {
    *s = (state){.layers = layers};
    return memory_new(&s->rows, (size_t)layers * STATE_KINDS, sizeof *s->rows, "what a model remembers");
}

void state_declare(state *s, int layer, state_kind kind, ptrdiff_t width) { s->rows[layer * STATE_KINDS + kind].width = width; }

static ptrdiff_t rows_of_kind(const state *s, int i) { return state_grows((state_kind)(i % STATE_KINDS)) ? s->capacity : s->sequences; }

int state_allocate(state *s, ptrdiff_t capacity, int sequences) {
    s->capacity = capacity, s->sequences = sequences;
    for (int i = 0; i < s->layers * STATE_KINDS; i++) {
        const size_t values = (size_t)(rows_of_kind(s, i) * s->rows[i].width);
        TRY((state_is_replaced(s, i) ? memory_new_block : memory_new_room)(&s->rows[i].x, values, sizeof(real), "what a model remembers"));
    }
    return LAMP_OK;
}

void state_close(state *s) {
    for (int i = 0; s->rows && i < s->layers * STATE_KINDS; i++) memory_free(s->rows[i].x);
    memory_free(s->rows);
    *s = (state){0};
}

bool state_is_replaced(const state *s, int i) { return !state_grows((state_kind)(i % STATE_KINDS)) && s->rows[i].width > 0; }

const char *state_kind_name(int i) {
    static const char *const names[STATE_KINDS] = {"key", "value", "hidden", "cell"};
    return names[i % STATE_KINDS];
}

void state_forget(state *s, int sequence) {
    for (int i = 0; i < s->layers * STATE_KINDS; i++)
        if (state_is_replaced(s, i)) memset(s->rows[i].x + sequence * s->rows[i].width, 0, sizeof(real) * (size_t)s->rows[i].width);
}

void state_clear(state *s) {
    s->length = 0;
    for (int i = 0; i < s->sequences; i++) state_forget(s, i);
}

bool state_carries(const state *s) {
    bool carries = false;
    for (int i = 0; i < s->layers * STATE_KINDS; i++) carries |= state_is_replaced(s, i);
    return carries;
}

ptrdiff_t state_room(const state *s) { return state_bytes_per_token(s) > 0 ? s->capacity - s->length : PTRDIFF_MAX; }

void state_append_columns(state *s, int layer, state_kind kind, ptrdiff_t first, ptrdiff_t cols, const real *rows, ptrdiff_t n) {
    const ptrdiff_t width = s->rows[layer * STATE_KINDS + kind].width;
    CHECK(s->length + n <= s->capacity && first + cols <= width, "%td tokens after %td in room for %td, columns to %td of %td", n, s->length,
          s->capacity, first + cols, width);
    real *to = state_of(s, layer, kind) + s->length * width + first;
    for (ptrdiff_t r = 0; r < n; r++) memcpy(to + r * width, rows + r * cols, sizeof(real) * (size_t)cols);
}

void state_append(state *s, int layer, state_kind kind, const real *rows, ptrdiff_t n) {
    state_append_columns(s, layer, kind, 0, s->rows[layer * STATE_KINDS + kind].width, rows, n);
}

size_t state_bytes_per_token(const state *s) {
    ptrdiff_t width = 0;
    for (int i = 0; i < s->layers * STATE_KINDS; i++) width += state_grows((state_kind)(i % STATE_KINDS)) ? s->rows[i].width : 0;
    return sizeof(real) * (size_t)width;
}
