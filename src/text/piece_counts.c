#include "text/piece_counts.h"

#include "base/error.h"
#include "base/hash.h"
#include "base/memory.h"

void piece_counts_release(piece_counts *c) {
    index_map_release(&c->piece_of_hash);
    memory_free(c->pieces);
    buffer_release(&c->text);
    *c = (piece_counts){0};
}

int piece_counts_add(piece_counts *c, const char *bytes, size_t length) {
    uint64_t hash = hash_bytes(bytes, length).low;
    int64_t known = index_map_find(&c->piece_of_hash, hash);
    if (known >= 0) {
        c->pieces[known].count++;
        return LAMP_OK;
    }
    TRY(memory_reserve(&c->pieces, &c->capacity, c->n + 1, sizeof *c->pieces, "counted pieces"));
    TRY(index_map_set(&c->piece_of_hash, hash, (int64_t)c->n));
    c->pieces[c->n++] = (counted_piece){c->text.length, length, 1};
    return buffer_append(&c->text, bytes, length);
}
