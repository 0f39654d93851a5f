/* What backbones share when they declare their weights: initial deviations, and the parts that all of them are made of. Matrices begin with
 * 1 / sqrt(channels read), or as the config says; what writes into the residual stream gets it divided by sqrt(2 L). */
#ifndef DECLARE_H
#define DECLARE_H

#include "models/model.h"

int declare_matrix(weight **w, model *m, const char *kind, int layer, ptrdiff_t out, ptrdiff_t in);
int declare_output(weight **w, model *m, const char *kind, int layer, ptrdiff_t out, ptrdiff_t in); /* writes into the residual stream */
int declare_norm(weight **w, model *m, const char *kind, int layer, ptrdiff_t in);
int declare_bias(weight **w, model *m, const char *kind, int layer, ptrdiff_t groups, ptrdiff_t in);
int declare_embedding(weight **w, model *m, const char *kind, ptrdiff_t rows, ptrdiff_t in);
int declare_head(model *m, weight *embedding); /* which it is itself, if the config ties them */

int declare_dense_mlp(mlp_weights *w, model *m, int layer, bool gated);
int declare_experts(moe_weights *w, model *m, int layer); /* with their router and the shared ones */

/* How many values these are; doubles, so that absurd sizes do not overflow. */
double declared_tables(const model_config *c);        /* embedding and head */
double declared_experts(const model_config *c);       /* of a layer, without a router's smaller parts */
double declared_sparse_layers(const model_config *c); /* of encoder and decoder */
int64_t declared_dense_width(const model_config *c);

#endif
