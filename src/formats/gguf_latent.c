#include "formats/gguf_latent.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/memory.h"

enum { KEY_BYTES = 160 };

static const char TURNED[] = "rope.dimension_count", KEY[] = "attention.key_length", VALUE[] = "attention.value_length";

bool gguf_latent_knows(const char *key) { return !strcmp(key, "attention.key_length_mla") || !strcmp(key, "attention.value_length_mla"); }

/* ---- settings -------------------------------------------------------------------------------------------------------------------- */

static const char *named(char name[KEY_BYTES], const char *architecture, const char *key, const char *more) {
    snprintf(name, KEY_BYTES, "%s.%s%s", architecture, key, more);
    return name;
}

static int read_length(int64_t *length, const gguf *file, const char *architecture, const char *key) {
    char name[KEY_BYTES];
    if (!gguf_find(file, named(name, architecture, key, "_mla"))) named(name, architecture, key, "");
    return gguf_get_integer(length, file, name, 1, 1 << 13);
}

int gguf_read_latent(model_config *c, const gguf *file, const char *architecture) {
    char name[KEY_BYTES];
    int64_t length;
    TRY(gguf_get_integer(&c->latent.rotary_dim, file, named(name, architecture, TURNED, ""), 2, 1 << 13));
    TRY(read_length(&length, file, architecture, KEY));
    TRY(read_length(&c->latent.value_dim, file, architecture, VALUE));
    if (length <= c->latent.rotary_dim)
        FAIL(LAMP_MALFORMED, "%s: %s: expected less than %" PRId64 ", the channels of a head, found %" PRId64, file->path, name, length,
             c->latent.rotary_dim);
    c->latent.plain_dim = length - c->latent.rotary_dim;
    c->num_key_value_heads = c->num_attention_heads;
    return LAMP_OK;
}

void gguf_write_latent(gguf_writer *w, const model_config *c, const char *architecture) {
    char name[KEY_BYTES];
    gguf_put_integer(w, named(name, architecture, VALUE, ""), (uint32_t)c->latent.value_dim);
    gguf_put_integer(w, named(name, architecture, TURNED, ""), (uint32_t)c->latent.rotary_dim);
}

/* ---- keys and values that lie apart ---------------------------------------------------------------------------------------------- */

/* Rows of head `head`: its keys, whose columns are rows of the file, and its values. */
static int read_head(real *rows, real *turned, const gguf_heads *h, ptrdiff_t head) {
    TRY(stored_group_read(turned, &h->key, head * h->rank, h->rank, h->plain));
    for (ptrdiff_t i = 0; i < h->plain; i++)
        for (ptrdiff_t c = 0; c < h->rank; c++) rows[i * h->rank + c] = turned[c * h->plain + i];
    return stored_group_read(rows + h->plain * h->rank, &h->value, head * h->value_dim, h->value_dim, h->rank);
}

/* Heads that the values touch are made whole. */
static int read_heads(real *values, const stored_group *g, int64_t first, int64_t n) {
    const gguf_heads *h = g->from;
    const int64_t size = (h->plain + h->value_dim) * h->rank, end = first + n;
    real *rows = NULL, *turned = NULL;
    int status = LAMP_OK;
    TRY_TO(done, memory_new(&rows, (size_t)size, sizeof *rows, "keys and values of a head"));
    TRY_TO(done, memory_new(&turned, (size_t)(h->rank * h->plain), sizeof *turned, "keys of a head"));
    for (int64_t at = first; at < end;) {
        const int64_t within = at % size, here = size - within < end - at ? size - within : end - at;
        TRY_TO(done, read_head(rows, turned, h, at / size));
        memcpy(values + (at - first), rows + within, (size_t)here * sizeof *values);
        at += here;
    }
done:
    memory_free(turned), memory_free(rows);
    return status;
}

stored_group gguf_heads_group(const gguf_heads *heads) {
    return (stored_group){.tensor = heads->key.tensor,
                          .type = STORED_TYPES,
                          .read = read_heads,
                          .from = heads,
                          .form = heads->key.form,
                          .value_bytes = heads->key.value_bytes};
}
