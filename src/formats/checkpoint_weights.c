/* One file of all weights, as a family calls and places them: from memory, or from where another file stores them. */
#include "formats/checkpoint_weights.h"

#include <string.h>

#include "base/error.h"
#include "base/interrupt.h"
#include "base/log.h"
#include "base/memory.h"
#include "formats/quantise.h"
#include "models/families/family.h"

static int report_progress(const char *doing, const weight *w, ptrdiff_t group, ptrdiff_t total) {
    log_progress("%s: %.0f %%", doing, 100.0 * (double)(w->offset + group * w->out * w->in) / (double)total);
    return interrupt_check(doing);
}

/* Rows on their way from one file to another. */
typedef struct {
    real *values;
    char *bytes;
} row_room;

static int write_stored_rows(safetensors_writer *writer, const row_room *room, const weight *w, const stored_group *from, stored_type type,
                             ptrdiff_t first, ptrdiff_t n) {
    const ptrdiff_t in = stored_group_width(w);
    if (type == STORED_REAL) {
        TRY(stored_group_read(room->values, from, first, n, in));
        return safetensors_writer_write(writer, room->values, n * in);
    }
    if ((from->bytes || from->copy) && from->type == type) {
        TRY(stored_group_copy(room->bytes, from, first, n, in));
    } else {
        TRY(stored_group_read(room->values, from, first, n, in));
        TRY(quantise(room->bytes, type, room->values, n * in));
    }
    return safetensors_writer_write_bytes(writer, room->bytes, n * stored_row_bytes(type, in));
}

static int write_stored_group(safetensors_writer *writer, const weight *w, const stored_group *from, stored_type type) {
    enum { VALUES_AT_ONCE = 1 << 20 };
    const ptrdiff_t rows = stored_group_rows(w), in = stored_group_width(w), at_once = in < VALUES_AT_ONCE ? VALUES_AT_ONCE / in : 1;
    row_room room = {0};
    int status = LAMP_OK;
    TRY_TO(done, memory_new(&room.values, (size_t)(in * (rows < at_once ? rows : at_once)), sizeof *room.values, "rows to write"));
    TRY_TO(done, memory_new(&room.bytes, (size_t)(in * (rows < at_once ? rows : at_once)), sizeof *room.values, "rows to write"));
    for (ptrdiff_t r = 0; r < rows; r += at_once) {
        TRY_TO(done, interrupt_check("writing"));
        TRY_TO(done, write_stored_rows(writer, &room, w, from, type, r, rows - r < at_once ? rows - r : at_once));
    }
done:
    memory_free(room.bytes), memory_free(room.values);
    return status < 0 ? error_add_context(status, "tensor %s", from->tensor) : status;
}

/* Where a group's values come from; NULL: they are in memory. */
static const stored_group *source_of(const checkpoint *contents, const weight *w, ptrdiff_t g) {
    if (!contents->groups) return NULL;
    for (int i = 0; i < w->index; i++) g += contents->weights->row[i]->groups;
    return &contents->groups[g];
}

static int write_group(safetensors_writer *writer, const checkpoint *contents, const weight *w, ptrdiff_t g) {
    const stored_group *from = source_of(contents, w, g);
    if (from) return write_stored_group(writer, w, from, contents->type[w->index]);
    return safetensors_writer_write(writer, w->value[g], w->out * w->in);
}

/* Of a weight, or of all that lie in its tensor. */
static stored_type type_written(const checkpoint *contents, int i) { return contents->type ? contents->type[i] : STORED_REAL; }

/* Two weights of a layer whose values lie in the same tensors, as those of gate and up. */
static bool lies_with(const weights *table, const family *f, int first, int other) {
    family_place place, same;
    if (other >= table->n || table->row[other]->layer != table->row[first]->layer) return false;
    family_place_group(&place, f, table->row[first], 0, 0);
    family_place_group(&same, f, table->row[other], 0, 0);
    return place.fused && !strcmp(place.name, same.name);
}

int checkpoint_join_types(stored_type *type, const weights *table, const model_config *config) {
    const family *f;
    TRY(family_find(&f, config->family, "the model to save"));
    for (int i = 0; i < table->n; i++) {
        bool alike = true;
        for (int j = i + 1; j < table->n; j++) alike &= !lies_with(table, f, i, j) || type[j] == type[i];
        for (int j = i; j < table->n && !alike; j++)
            if (lies_with(table, f, i, j)) type[j] = STORED_REAL;
    }
    return LAMP_OK;
}

/* Whether an earlier weight has the tensor already. */
static bool is_taken(const weights *table, const family *f, int i) {
    for (int j = i - 1; j >= 0 && table->row[j]->layer == table->row[i]->layer; j--)
        if (lies_with(table, f, i, j)) return true;
    return false;
}

/* Group g of one weight, at its places in a tensor of which `slice` is what belongs to group g. */
static int place_values(real *slice, int64_t slice_first, const family_place *place, const checkpoint *contents, const weight *w, ptrdiff_t g) {
    const stored_group *from = source_of(contents, w, g);
    real *read = NULL;
    if (from) TRY(memory_new(&read, (size_t)(w->out * w->in), sizeof *read, "an expert on its way to a file"));
    int status = from ? stored_group_read(read, from, 0, stored_group_rows(w), stored_group_width(w)) : LAMP_OK;
    const real *values = from ? read : w->value[g];
    for (ptrdiff_t o = 0; o < w->out && status >= 0; o++)
        for (ptrdiff_t i = 0; i < w->in; i++)
            slice[place->first - slice_first + o * place->row_step + i * place->column_step] = values[o * w->in + i];
    memory_free(read);
    return status;
}

static int write_fused_group(safetensors_writer *writer, const row_room *room, const checkpoint *contents, const family *f, int i, ptrdiff_t g,
                             int64_t size) {
    const weights *table = contents->weights;
    const stored_type type = type_written(contents, i);
    for (int j = i; j < table->n; j++) {
        family_place place;
        if (!lies_with(table, f, i, j)) continue;
        CHECK(type_written(contents, j) == type, "%s and %s lie in one tensor", table->row[i]->kind, table->row[j]->kind);
        family_place_group(&place, f, table->row[j], g, 0);
        TRY(place_values(room->values, g * size, &place, contents, table->row[j], g));
    }
    if (type == STORED_REAL) return safetensors_writer_write(writer, room->values, size);
    TRY(quantise(room->bytes, type, room->values, size));
    return safetensors_writer_write_bytes(writer, room->bytes, stored_row_bytes(type, size));
}

/* A tensor that holds all groups of weight i, and perhaps of its neighbours: group by group, so that memory holds only one more of them. */
static int write_fused(safetensors_writer *writer, const checkpoint *contents, const family *f, int i, int64_t size) {
    const weight *w = contents->weights->row[i];
    row_room room = {0};
    int status = LAMP_OK;
    TRY_TO(done, memory_new(&room.values, (size_t)size, sizeof *room.values, "experts on their way to a file"));
    TRY_TO(done, memory_new(&room.bytes, (size_t)size, sizeof *room.values, "experts on their way to a file"));
    for (ptrdiff_t g = 0; g < w->groups; g++) {
        if (contents->interruptible) TRY_TO(done, report_progress(contents->interruptible, w, g, contents->weights->total));
        TRY_TO(done, write_fused_group(writer, &room, contents, f, i, g, size));
    }
done:
    memory_free(room.bytes), memory_free(room.values);
    return status;
}

static int declare_weights(safetensors_writer *writer, const checkpoint *contents, const family *f) {
    const weights *table = contents->weights;
    family_place place;
    for (int i = 0; i < table->n; i++)
        for (ptrdiff_t g = 0; g < table->row[i]->groups; g++) {
            family_place_group(&place, f, table->row[i], g, 0);
            if (place.fused && (g > 0 || is_taken(table, f, i))) break;
            TRY(safetensors_writer_declare_as(writer, type_written(contents, i), place.name, place.rank, place.shape));
        }
    return LAMP_OK;
}

int checkpoint_write_weights(safetensors_writer *writer, const checkpoint *contents) {
    const family *f;
    family_place place;
    TRY(family_find(&f, contents->config->family, "the model to save"));
    const weights *table = contents->weights;
    TRY(declare_weights(writer, contents, f));
    for (int i = 0; i < table->n; i++) {
        const weight *w = table->row[i];
        family_place_group(&place, f, w, 0, 0);
        if (place.fused && is_taken(table, f, i)) continue;
        if (place.fused) TRY(write_fused(writer, contents, f, i, family_place_size(&place) / w->groups));
        for (ptrdiff_t g = 0; g < w->groups && !place.fused; g++) {
            if (contents->interruptible) TRY(report_progress(contents->interruptible, w, g, table->total));
            TRY(write_group(writer, contents, w, g));
        }
    }
    return LAMP_OK;
}
