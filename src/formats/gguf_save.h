/* A model written as a GGUF file, its values taken from where a source found them: nothing is held in memory but the rows on their way. */
#ifndef GGUF_SAVE_H
#define GGUF_SAVE_H

#include "formats/stored_group.h"
#include "models/model_config.h"
#include "tensor/weights.h"
#include "text/tokenizer.h"

/* Parts of a model that may be stored each as another type. Routers and vectors are always reals. */
typedef enum { SAVED_EXPERTS, SAVED_SHARED, SAVED_HEAD, SAVED_EMBEDDING, SAVED_PARTS } saved_part;

saved_part saved_part_of(const weight *w);

/* What a group lost: sums of squares of its values, and of what they changed by. */
typedef struct {
    double size, difference;
} saved_loss;

typedef struct {
    const model_config *config;
    const tokenizer *tokenizer;    /* may be NULL */
    const weights *table;          /* declared */
    const stored_group *groups;    /* of all its weights, in its order */
    stored_type type[SAVED_PARTS]; /* STORED_TYPES: as it is */
    saved_loss *loss;              /* receives that of each group; may be NULL */
} gguf_contents;

/* The type that a weight gets: matrices whose rows are not whole blocks become halves. */
stored_type gguf_type_saved(const gguf_contents *c, const weight *w, const stored_group *groups);

/* Writes and syncs path, which is a temporary name: LAMP_INTERRUPTED may end it. */
int gguf_save(const char *path, const gguf_contents *contents);

#endif
