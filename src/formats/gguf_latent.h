/* Latent attention in a GGUF file (deepseek2):
 *
 *     ARCHITECTURE.rope.dimension_count                        channels of a head that turn
 *     ARCHITECTURE.attention.key_length, value_length          all of its channels for queries and keys, and those of values; but where there are
 *     ARCHITECTURE.attention.key_length_mla, value_length_mla  these, they are that, and the former speak of the row that a cache holds
 *     blk.N.attn_kv_b.weight                                   {key_rank, heads * (plain + value)}: of each head its keys and then its values; or
 *     blk.N.attn_k_b.weight, blk.N.attn_v_b.weight             {plain, key_rank, heads} and {key_rank, value, heads}: the keys turned
 *
 * We write the first, and read both. */
#ifndef GGUF_LATENT_H
#define GGUF_LATENT_H

#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "formats/stored_group.h"
#include "models/model_config.h"

int gguf_read_latent(model_config *c, const gguf *file, const char *architecture);
void gguf_write_latent(gguf_writer *w, const model_config *c, const char *architecture);
bool gguf_latent_knows(const char *key); /* after the architecture's name and a dot */

/* Heads whose keys and values lie apart. */
typedef struct {
    stored_group key, value; /* of all heads */
    ptrdiff_t plain, value_dim, rank;
} gguf_heads;

/* The group of keys and values together; heads is borrowed. */
stored_group gguf_heads_group(const gguf_heads *heads);

#endif
