/* How RoPE is scaled, in a GGUF file:
 *
 *     ARCHITECTURE.rope.scaling.type                      none, linear or yarn
 *     ARCHITECTURE.rope.scaling.factor                    linear, yarn
 *     ARCHITECTURE.rope.scaling.original_context_length   yarn
 *     ARCHITECTURE.rope.scaling.yarn_beta_fast, _slow     yarn (32, 1)
 *     ARCHITECTURE.rope.scaling.attn_factor               yarn: what queries and keys are multiplied with beyond what follows from the factor (1)
 *     ARCHITECTURE.rope.scaling.yarn_log_multiplier       yarn of latent attention: a tenth of mscale and mscale_all_dim, which are one
 *     tensor rope_freqs.weight                            llama3: {head_dim / 2}, F32: by what each frequency is divided */
#ifndef GGUF_ROPE_H
#define GGUF_ROPE_H

#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "models/model_config.h"

#define GGUF_ROPE_TENSOR "rope_freqs.weight"

/* Of a config that has its sizes. LAMP_UNSUPPORTED by name for a scaling that we do not know, and for divisors that are not llama3's. */
int gguf_read_rope(model_config *c, const gguf *file, const char *architecture);
bool gguf_rope_knows(const char *key); /* after the architecture's name and a dot */

void gguf_write_rope(gguf_writer *w, const model_config *c, const char *architecture);

/* Whether c needs the tensor, and its values, (head_dim / 2). */
bool gguf_rope_has_divisors(const model_config *c);
int gguf_rope_divisors(float *divisor, const model_config *c);

#endif
