#include "tensor/tape.h"

#include <string.h>

#include "base/error.h"
#include "base/memory.h"

enum { MAX_ENTRIES = 1 << 16, MAX_USES = 1 << 16, MAX_BLOCKS = 1 << 12 };

int tape_open(tape *t, const struct kernels *k) {
    *t = (tape){.k = k, .products = &k->products, .router_products = &k->products, .loss_scale = 1};
    int status = LAMP_OK;
    size_t bytes = arena_reservable_bytes();
    TRY_TO(done, arena_reserve(&t->kept, "kept activations", bytes));
    TRY_TO(done, arena_reserve(&t->passing, "passing gradients", bytes));
    TRY_TO(done, memory_new(&t->entry, MAX_ENTRIES, sizeof *t->entry, "the tape"));
    TRY_TO(done, memory_new(&t->use, MAX_USES, sizeof *t->use, "the tape's uses of weights"));
    TRY_TO(done, memory_new(&t->block, MAX_BLOCKS, sizeof *t->block, "the tape's free list"));
done:
    if (status < 0) tape_close(t);
    return status;
}

void tape_close(tape *t) {
    arena_release(&t->kept);
    arena_release(&t->passing);
    memory_free(t->entry);
    memory_free(t->use);
    memory_free(t->block);
    *t = (tape){0};
}

void tape_reset(tape *t) {
    t->n_entries = 0, t->n_uses = 0, t->n_losses = 0, t->n_blocks = 0, t->random.first_token = 0;
    arena_rewind(&t->kept, 0);
    arena_rewind(&t->passing, 0);
}

random_key tape_random_key(const tape *t, random_use use, int layer) {
    bool training = t->training;
    return random_key_make(training ? t->random.seed : 0, use, training ? t->random.step : 0, (uint64_t)layer);
}

void *tape_keep(tape *t, size_t bytes) { return arena_take(&t->kept, bytes); }

tensor *tape_tensor(tape *t, ptrdiff_t rows, ptrdiff_t cols) {
    tensor *a = tape_keep(t, sizeof *a);
    *a = (tensor){.x = tape_keep(t, sizeof(real) * (size_t)(rows * cols)), .rows = rows, .cols = cols};
    return a;
}

/* The smallest free block that fits without wasting more than half of it; sizes repeat from layer to layer, so it nearly always exists. */
real *tape_borrow(tape *t, ptrdiff_t n) {
    size_t bytes = sizeof(real) * (size_t)(n > 0 ? n : 1);
    passing_block *best = NULL;
    for (int i = 0; i < t->n_blocks; i++) {
        passing_block *b = &t->block[i];
        if (!b->taken && b->size >= bytes && b->size / 2 <= bytes && (!best || b->size < best->size)) best = b;
    }
    if (!best) {
        CHECK(t->n_blocks < MAX_BLOCKS, "%d blocks in the free list", t->n_blocks);
        best = &t->block[t->n_blocks++];
        *best = (passing_block){arena_take(&t->passing, bytes), bytes, false};
    }
    best->taken = true;
    return (real *)(void *)best->bytes;
}

void tape_return(tape *t, const real *borrowed) {
    if (!borrowed) return;
    for (int i = 0; i < t->n_blocks; i++)
        if (t->block[i].bytes == (const char *)borrowed) {
            CHECK(t->block[i].taken, "block %d of %zu bytes was returned twice", i, t->block[i].size);
            t->block[i].taken = false;
            return;
        }
    CHECK(false, "%p was never borrowed", (const void *)borrowed);
}

void tape_record(tape *t, tensor *output, backward_function *backward, const void *saved, size_t bytes) {
    if (!t->training) return;
    CHECK(t->n_entries < MAX_ENTRIES, "%d operations recorded", t->n_entries);
    void *copy = memcpy(tape_keep(t, bytes), saved, bytes);
    t->entry[t->n_entries++] = (tape_entry){backward, copy, output, t->kept.used, t->n_uses};
}

static size_t bytes_of(const tensor *a) { return sizeof(real) * (size_t)(a->rows * a->cols); }

real *tape_gradient_place(tape *t, tensor *a, bool *adds) {
    *adds = a->dx;
    if (!a->dx) a->dx = tape_borrow(t, a->rows * a->cols);
    return a->dx;
}

real *tape_gradient(tape *t, tensor *a) {
    bool adds;
    real *dx = tape_gradient_place(t, a, &adds);
    if (!adds) memory_clear(dx, bytes_of(a));
    return dx;
}

void tape_add_gradient(tape *t, tensor *a, const real *dy) {
    bool adds;
    real *dx = tape_gradient_place(t, a, &adds);
    if (adds) t->k->add(dx, dx, dy, a->rows * a->cols);
    else memory_copy(dx, dy, bytes_of(a));
}

void tape_pass_gradient(tape *t, tensor *a, tensor *y) {
    if (a->dx) tape_add_gradient(t, a, y->dx);
    else a->dx = y->dx, y->dx = NULL;
}

real *tape_weight_gradient_place(tape *t, const weight *w) {
    weight_step *s = w->step;
    CHECK(!s->ready, "%s of layer %d is used after its gradient was taken", w->kind, w->layer);
    if (!s->gradient) s->gradient = tape_borrow(t, weight_size(w));
    return s->gradient;
}

static void complete(tape *t, const weight *w) {
    if (!w->step->written) memory_clear(tape_weight_gradient_place(t, w), sizeof(real) * (size_t)weight_size(w));
    w->step->written = true;
}

real *tape_weight_gradient(tape *t, const weight *w) {
    complete(t, w);
    w->step->squared = false;
    return tape_weight_gradient_place(t, w);
}

static void make_ready(tape *t, const weight *w) {
    weight_step *s = w->step;
    if (!t->gradient_ready || s->ready) return;
    complete(t, w);
    s->ready = true;
    t->gradient_ready(t->ready_context, w, &(gradient_part){.groups = w->groups, .gradient = s->gradient, .squares = s->squared ? s->squares : NULL});
    if (s->passing) tape_return(t, s->gradient), s->gradient = NULL;
}

bool tape_takes_parts(const tape *t, const weight *w) { return t->gradient_ready && w->step->passing && w->step->uses == 1 && !w->step->written; }

void tape_hand_over(tape *t, const weight *w, const gradient_part *part) {
    for (ptrdiff_t e = 0; e < part->groups; e++) w->step->rows[part->first + e] += part->rows.start[e + 1] - part->rows.start[e];
    t->gradient_ready(t->ready_context, w, part);
}

void tape_end_use_in_parts(tape *t, const weight *w) {
    w->step->ready = true;
    tape_end_use(t, w);
}

void tape_use(tape *t, const weight *w) {
    if (!t->training) return;
    CHECK(t->n_uses < MAX_USES, "%d uses of weights recorded", t->n_uses);
    t->use[t->n_uses++] = w;
    w->step->uses++;
}

static void end_use(tape *t, int i) {
    const weight *w = t->use[i];
    t->use[i] = NULL;
    if (w && --w->step->uses == 0) make_ready(t, w);
}

void tape_end_use(tape *t, const weight *w) {
    int i = t->entry[t->n_entries].first_use; /* of the entry whose backward is running */
    while (i < t->n_uses && t->use[i] != w) i++;
    CHECK(i < t->n_uses, "%s of layer %d is not in use here", w->kind, w->layer);
    end_use(t, i);
}

void tape_complete_gradients(tape *t, const weights *table) {
    for (int i = 0; i < table->n; i++)
        if (!table->row[i]->step->ready) complete(t, table->row[i]), make_ready(t, table->row[i]);
}

void tape_backward(tape *t) {
    while (t->n_entries > 0) {
        tape_entry *e = &t->entry[--t->n_entries];
        if (!e->output || e->output->dx) e->backward(t, e->saved);
        while (t->n_uses > e->first_use) end_use(t, --t->n_uses);
        if (e->output) tape_return(t, e->output->dx), e->output->dx = NULL;
        if (t->n_entries > 0) arena_rewind(&t->kept, t->entry[t->n_entries - 1].kept_after);
    }
}

void tape_add_loss(tape *t, const char *name, double value) {
    int i = 0;
    while (i < t->n_losses && strcmp(t->loss[i].name, name)) i++;
    CHECK(i < TAPE_LOSSES, "%d kinds of losses", i);
    if (i == t->n_losses) t->loss[t->n_losses++].name = name, t->loss[i].value = 0;
    t->loss[i].value += value;
}

double tape_loss(const tape *t, const char *name) {
    for (int i = 0; i < t->n_losses; i++)
        if (!strcmp(t->loss[i].name, name)) return t->loss[i].value;
    return 0;
}

size_t tape_bytes(const tape *t) { return t->kept.peak + t->passing.peak; }
