/* Where a model's values lie does not matter: experts in tensors of their own or all in one, one file or several with an index, values in one and
 * their scales in another. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "formats/safetensors.h"
#include "infer/loaded_model.h"
#include "lamp.h"
#include "models/families/family.h"

enum { FILES = 3, MOST_TENSORS = 512 };

typedef struct {
    char name[TENSOR_NAME_BYTES];
    const char *type;
    int rank;
    int64_t shape[SAFETENSORS_MAX_RANK];
    const void *bytes;
    size_t length;
} piece;

static void write_pieces(const char *path, const piece *p, int n, int first, int step) {
    buffer header = {0}, data = {0}, all = {0};
    for (int i = first; i < n; i += step) {
        char shape[SHAPE_TEXT_BYTES];
        safetensors_shape_to_text(shape, p[i].shape, p[i].rank);
        buffer_printf(&header, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%zu,%zu]}", header.length ? "," : "{", p[i].name, p[i].type,
                      shape, data.length, data.length + p[i].length);
        buffer_append(&data, p[i].bytes, p[i].length);
    }
    buffer_append_byte(&header, '}');
    while (header.length % 8) buffer_append_byte(&header, ' ');
    uint64_t length = header.length;
    buffer_append(&all, &length, sizeof length);
    buffer_append(&all, header.bytes, header.length);
    buffer_append(&all, data.bytes, data.length);
    EXPECT_OK(file_write_whole(path, all.bytes, all.length));
    buffer_release(&header), buffer_release(&data), buffer_release(&all);
}

static void copy_config(const char *to, const char *from) {
    char path[PATH_BYTES];
    buffer text = {0};
    EXPECT_OK(file_join(path, from, "config.json"));
    EXPECT_OK(file_read(&text, path, 1 << 20));
    EXPECT_OK(file_make_folder(to));
    EXPECT_OK(file_join(path, to, "config.json"));
    EXPECT_OK(file_write_whole(path, text.bytes, text.length));
    buffer_release(&text);
}

static void expect_same_values(const char *folder, const char *other) {
    loaded_model a, b;
    EXPECT_OK(loaded_model_open(&a, folder, VALUES_REAL));
    EXPECT_OK(loaded_model_open(&b, other, VALUES_REAL));
    for (int i = 0; a.source && b.source && i < a.model.weights.n; i++) {
        const weight *x = a.model.weights.row[i], *y = b.model.weights.row[i];
        for (ptrdiff_t g = 0; g < x->groups; g++)
            EXPECT(!memcmp(x->value[g], y->value[g], sizeof(real) * (size_t)(x->out * x->in)), "%s of layer %d, group %td", x->kind, x->layer, g);
    }
    loaded_model_close(&a), loaded_model_close(&b);
}

/* ---- experts together ------------------------------------------------------------------------------------------------------------ */

/* Under the last of its names. */
static family_place last_place(const family *f, const weight *w, ptrdiff_t group) {
    family_place place = {.rank = 0}, next;
    for (int nth = 0; family_place_group(&next, f, w, group, nth); nth++) place = next;
    return place;
}

static piece *find_piece(piece *p, int *n, const family_place *place) {
    for (int i = 0; i < *n; i++)
        if (!strcmp(p[i].name, place->name)) return &p[i];
    piece *made = &p[(*n)++];
    *made = (piece){.type = "F32", .rank = place->rank, .length = sizeof(real) * (size_t)family_place_size(place)};
    memcpy(made->name, place->name, sizeof made->name), memcpy(made->shape, place->shape, sizeof place->shape);
    made->bytes = calloc(1, made->length);
    return made;
}

/* Returns how many tensors hold experts of more than one. */
static int write_together(const char *to, const char *from) {
    static piece pieces[MOST_TENSORS];
    loaded_model m;
    const family *f = NULL;
    char path[PATH_BYTES];
    int n = 0, fused = 0;
    EXPECT_OK(loaded_model_open(&m, from, VALUES_REAL));
    EXPECT_OK(family_find(&f, m.model.config.family, from));
    for (int i = 0; i < m.model.weights.n; i++) {
        const weight *w = m.model.weights.row[i];
        for (ptrdiff_t g = 0; g < w->groups; g++) {
            const family_place place = last_place(f, w, g);
            const int before = n;
            real *to_values = (real *)(uintptr_t)find_piece(pieces, &n, &place)->bytes;
            fused += place.fused && n > before;
            for (ptrdiff_t o = 0; o < w->out; o++)
                for (ptrdiff_t c = 0; c < w->in; c++)
                    to_values[place.first + o * place.row_step + c * place.column_step] = w->value[g][o * w->in + c];
        }
    }
    copy_config(to, from);
    EXPECT_OK(file_join(path, to, "model.safetensors"));
    write_pieces(path, pieces, n, 0, 1);
    for (int i = 0; i < n; i++) free((void *)(uintptr_t)pieces[i].bytes);
    loaded_model_close(&m);
    return fused;
}

static void experts_lie_alone_or_together(void) {
    static const char *const names[] = {"mixtral", "olmoe", "qwen2_moe", "qwen3_moe", "deepseek_v2", "deepseek_v3"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char folder[PATH_BYTES], together[PATH_BYTES];
        test_row(names[i]);
        EXPECT_OK(file_join(folder, "tests/golden/models", names[i]));
        strcpy(together, test_path(names[i]));
        int fused = write_together(together, folder);
        EXPECT(fused >= 2, "%d tensors hold several experts", fused);
        expect_same_values(folder, together);
    }
}

/* ---- several files --------------------------------------------------------------------------------------------------------------- */

/* Neighbours by name, as values and their scales are, never in one file. */
static void write_apart(const char *to, const char *from) {
    static piece pieces[MOST_TENSORS];
    char path[PATH_BYTES], name[64];
    buffer index = {0};
    safetensors *file = NULL;
    EXPECT_OK(file_join(path, from, "model.safetensors"));
    EXPECT_OK(safetensors_open(&file, path));
    copy_config(to, from);
    buffer_append_text(&index, "{\"metadata\": {}, \"weight_map\": {");
    for (size_t i = 0; i < file->n; i++) {
        const safetensors_entry *e = &file->entry[i];
        pieces[i] = (piece){.type = safetensors_type_name(e), .rank = e->rank, .bytes = e->bytes, .length = (size_t)(e->end - e->begin)};
        snprintf(pieces[i].name, sizeof pieces[i].name, "%s", e->name), memcpy(pieces[i].shape, e->shape, sizeof e->shape);
        buffer_printf(&index, "%s\"%s\": \"part-%zu\"", i ? ", " : "", e->name, i % FILES);
    }
    buffer_append_text(&index, "}}");
    for (int s = 0; s < FILES; s++) {
        snprintf(name, sizeof name, "part-%d", s);
        EXPECT_OK(file_join(path, to, name));
        write_pieces(path, pieces, (int)file->n, s, FILES);
    }
    EXPECT_OK(file_join(path, to, "model.safetensors.index.json"));
    EXPECT_OK(file_write_whole(path, index.bytes, index.length));
    safetensors_close(file), buffer_release(&index);
}

static void values_lie_in_one_file_or_in_several(void) {
    static const char *const names[] = {"llama", "mixtral_fused", "deepseek_v3_fp8", "gpt_oss_mxfp4", "gpt_oss_full", "llama4_full"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        char folder[PATH_BYTES], apart[PATH_BYTES], name[64];
        test_row(names[i]);
        snprintf(name, sizeof name, "%s-apart", names[i]);
        EXPECT_OK(file_join(folder, "tests/golden/models", names[i]));
        strcpy(apart, test_path(name));
        write_apart(apart, folder);
        expect_same_values(folder, apart);
    }
}

static const test_case cases[] = {
    {"experts lie alone or together", experts_lie_alone_or_together},
    {"values lie in one file or in several", values_lie_in_one_file_or_in_several},
};

int main(void) { return test_run("layouts", cases, sizeof cases / sizeof *cases); }
