/* Where a model's values lie does not matter: experts in tensors of their own or all in one, one file or several with an index, values in one and
 * their scales in another. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../test.h"
#include "base/log.h"
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

static char warning[512];

static void keep_warning(void *context, log_level level, const char *text) {
    (void)context;
    if (level == LOG_WARNING) snprintf(warning, sizeof warning, "%s", text);
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

/* All of a file's, as they are. */
static void open_pieces(piece *p, safetensors **file, const char *folder) {
    char path[PATH_BYTES];
    EXPECT_OK(file_join(path, folder, "model.safetensors"));
    EXPECT_OK(safetensors_open(file, path));
    for (size_t i = 0; i < (*file)->n; i++) {
        const safetensors_entry *e = &(*file)->entry[i];
        p[i] = (piece){.type = safetensors_type_name(e), .rank = e->rank, .bytes = e->bytes, .length = (size_t)(e->end - e->begin)};
        snprintf(p[i].name, sizeof p[i].name, "%s", e->name), memcpy(p[i].shape, e->shape, sizeof e->shape);
    }
}

/* Neighbours by name, as values and their scales are, never in one file. */
static void write_apart(const char *to, const char *from) {
    static piece pieces[MOST_TENSORS];
    char path[PATH_BYTES], name[64];
    buffer index = {0};
    safetensors *file = NULL;
    open_pieces(pieces, &file, from);
    copy_config(to, from);
    buffer_append_text(&index, "{\"metadata\": {}, \"weight_map\": {");
    for (size_t i = 0; i < file->n; i++) {
        const safetensors_entry *e = &file->entry[i];
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

/* DeepSeek-V3's files hold one layer more, which only training had a use for. */
static void what_only_training_used_is_ignored(void) {
    static piece pieces[MOST_TENSORS];
    static const real nothing[144];
    static const char *const extra[] = {"model.layers.2.enorm.weight", "model.layers.2.hnorm.weight"};
    char to[PATH_BYTES], path[PATH_BYTES];
    safetensors *file = NULL;
    open_pieces(pieces, &file, "tests/golden/models/deepseek_v3_fp8");
    int n = (int)file->n;
    for (int i = 0; i < 2; i++) {
        pieces[n] = (piece){.type = "F32", .rank = 1, .shape = {144}, .bytes = nothing, .length = sizeof nothing};
        strcpy(pieces[n++].name, extra[i]);
    }
    strcpy(to, test_path("one-more"));
    copy_config(to, "tests/golden/models/deepseek_v3_fp8");
    EXPECT_OK(file_join(path, to, "model.safetensors"));
    write_pieces(path, pieces, n, 0, 1);
    *warning = 0;
    log_set_sink(keep_warning, NULL);
    expect_same_values("tests/golden/models/deepseek_v3_fp8", to);
    log_set_sink(NULL, NULL);
    EXPECT(strstr(warning, "2 tensors that this model has no use for are ignored: model.layers.2.enorm.weight, model.layers.2.hnorm.weight"), "%s",
           warning);
    safetensors_close(file);
}

/* The upper halves of scales, as Qwen's files have them, against scales that are these. */
static void scales_may_be_halves(void) {
    static piece pieces[MOST_TENSORS];
    static uint32_t cut[MOST_TENSORS][4];
    static uint16_t half[MOST_TENSORS][4];
    char to[2][PATH_BYTES], path[PATH_BYTES];
    safetensors *file = NULL;
    for (int halves = 0; halves < 2; halves++) {
        open_pieces(pieces, &file, "tests/golden/models/deepseek_v3_fp8");
        for (size_t i = 0; i < file->n; i++) {
            if (!strstr(pieces[i].name, "_scale_inv")) continue;
            memcpy(cut[i], pieces[i].bytes, pieces[i].length);
            for (size_t j = 0; j < pieces[i].length / 4; j++) cut[i][j] &= 0xFFFF0000u, half[i][j] = (uint16_t)(cut[i][j] >> 16);
            pieces[i].bytes = cut[i];
            if (halves) pieces[i].bytes = half[i], pieces[i].length /= 2, pieces[i].type = "BF16";
        }
        strcpy(to[halves], test_path(halves ? "half-scales" : "cut-scales"));
        copy_config(to[halves], "tests/golden/models/deepseek_v3_fp8");
        EXPECT_OK(file_join(path, to[halves], "model.safetensors"));
        write_pieces(path, pieces, (int)file->n, 0, 1);
        safetensors_close(file);
    }
    expect_same_values(to[0], to[1]);
}

static const test_case cases[] = {
    {"experts lie alone or together", experts_lie_alone_or_together},
    {"values lie in one file or in several", values_lie_in_one_file_or_in_several},
    {"what only training used is ignored", what_only_training_used_is_ignored},
    {"scales may be halves", scales_may_be_halves},
};

int main(void) { return test_run("layouts", cases, sizeof cases / sizeof *cases); }
