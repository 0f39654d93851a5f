/* A dense model becomes a mixture of experts that computes the same function (models/upcycle.c has the construction and why it does). */
#ifndef UPCYCLE_H
#define UPCYCLE_H

#include "models/model.h"

typedef struct {
    int64_t experts, top_k; /* E, K */
    int64_t slices;         /* G that each MLP is cut into; 1: every expert is a whole copy */
    double noise;           /* added to every expert: standard deviation, over the root mean square of the dense matrix */
    uint64_t seed;          /* of the routers and the noise */
} upcycle_options;

/* The config of the mixture; family NULL: the dense family's own with experts. LAMP_INVALID says what does not go together. */
int upcycle_config(model_config *config, const model_config *dense, const char *family, const upcycle_options *options);

typedef struct {
    model model; /* to be run or saved, not trained: its values are borrowed from the dense model where they are the same */
    real *made;  /* owned: the others */
} upcycled_model;

/* config: what upcycle_config made. LAMP_INTERRUPTED leaves nothing. */
int upcycled_model_open(upcycled_model *u, const model *dense, const model_config *config, const upcycle_options *options);
void upcycled_model_close(upcycled_model *u);

#endif
