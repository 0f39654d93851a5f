/* The architectures of llama.cpp that we run, as data: what GGUF files call the settings and tensors of a family, and what programs that read
 * them take for granted, which no setting says. An architecture may hold several families (llama: Llama and Mixtral), and is then a row for each.
 *
 * To add one: its row in gguf_architecture.c, its model in tools/golden_gguf.py. */
#ifndef GGUF_ARCHITECTURE_H
#define GGUF_ARCHITECTURE_H

#include "base/options.h"
#include "formats/gguf.h"
#include "formats/gguf_writer.h"
#include "models/families/family.h"
#include "models/model_config.h"
#include "tensor/weights.h"

/* A setting, after the architecture's name and a dot, and the field of the model_config that it is. */
typedef struct {
    const char *key;
    option_type type;
    size_t offset;
    double min, max;
    bool optional;
} gguf_key;

typedef struct {
    const char *name, *family;
    int gating;               /* of the setting expert_gating_func, where it tells families of one architecture apart: 1 softmax, 2 sigmoid */
    bool normalizes;          /* the weights of a token's experts sum to one */
    bool biased;              /* attention may have biases */
    bool paired;              /* rotation turns neighbours: row i and i + head_dim / 2 of a head of queries and keys are its rows 2i and 2i + 1 */
    bool needs_head;          /* has no form with tied embeddings */
    bool stretches;           /* reads a tensor of what RoPE's frequencies are divided by */
    int64_t window;           /* tokens of a chunk of attention, which no setting says; 0: there are none */
    int64_t unnormed_experts; /* with so many, queries and keys have no norm, which no setting says either; 0: they are all alike */
    bool latent;              /* settings of attention are those of latent attention (formats/gguf_latent.h) */
    bool plain;               /* llama.cpp has it only with as many heads for keys as for queries */
    bool needs_biases;        /* llama.cpp has it only with biases in attention */
    const gguf_key *keys;
    int n_keys;
    const family_tensor *names; /* where they differ from the usual ones */
    int n_names;
} gguf_architecture;

/* LAMP_UNSUPPORTED with the word and all that are known. */
int gguf_architecture_of_file(const gguf_architecture **a, const gguf *file);

/* LAMP_UNSUPPORTED with what no architecture says. */
int gguf_architecture_of_model(const gguf_architecture **a, const model_config *config, const char *where);

/* What is so where a file says nothing. */
model_config gguf_defaults(const gguf_architecture *a);
bool gguf_is_normed(const gguf_architecture *a, const model_config *config); /* by its number of experts */

int gguf_read_config(model_config *config, const gguf *file, const gguf_architecture *a);
/* The config alone of a model in a file. */
int gguf_read_config_of(model_config *config, const char *path);

void gguf_write_config(gguf_writer *writer, const model_config *config, const gguf_architecture *a);

/* As family_place_group. */
bool gguf_place_group(family_place *place, const gguf_architecture *a, const weight *w, ptrdiff_t group, int nth);

/* The same place in dimensions, which count from the fastest, and are 1 where there are none. Returns the rank. */
int gguf_dimensions(int64_t dimension[GGUF_MAX_RANK], const family_place *place);

/* As stored_group has it, of w in a file of this architecture. */
ptrdiff_t gguf_pair_head(const gguf_architecture *a, const model_config *c, const weight *w);

#endif
