/* Routers. A router scores every expert for every token and chooses pairs (token, expert, weight); everything behind it (capacity, plan,
 * dispatch, experts, combine, balance) reads a `routing` and knows no router.
 *
 * To add one: a file route_NAME.c with its formula, its route function and the row that describes it; its name here, and in the
 * table and the kinds of route.c; a row in tests/moe/routers.h, through which all laws and gradient checks reach it. */
#ifndef ROUTE_H
#define ROUTE_H

#include "moe/moe_config.h"
#include "tensor/tape.h"
#include "tensor/token_batch.h"
#include "tensor/weight_products.h"

typedef struct {
    weight *gate, *up, *down; /* (E, F, D), (E, F, D), (E, D, F); one group: a dense MLP; gate NULL: ReLU instead of SwiGLU */
    weight *gate_bias, *up_bias, *down_bias; /* (E, 1, F), (E, 1, F), (E, 1, D) or NULL */
    swiglu_bounds bounds;                    /* of what gate and up say; limit 0: none */
} mlp_weights;

typedef struct {
    weight *router;       /* (1, E, D); NULL where nothing is learned */
    weight *noise;        /* (1, E, D) noisy_top_k, hierarchical */
    weight *group_router; /* (1, groups, D) hierarchical */
    weight *group_noise;  /* (1, groups, D) hierarchical */
    weight *bias;         /* (1, 1, E) sigmoid: added for the choice only, moved after each step, never by the optimiser */
    weight *logit_bias;   /* (1, 1, E) or NULL: learned, part of the logits */
    weight *threshold;    /* (1, 1, E) batchwise: in units of 1 / E */
    mlp_weights expert;
    mlp_weights shared;  /* NULL without shared experts; one MLP, as wide as all of them */
    weight *shared_gate; /* (1, 1, D) or NULL */
} moe_weights;

/* One layer of a model and the tokens it is to route. */
typedef struct {
    const moe_weights *w;
    const moe_config *c;
    const token_batch *batch;
    int layer;
} moe_layer;

/* What a router decided. Pairs are ordered by token, and a token's in the order of choice. */
typedef struct {
    ptrdiff_t tokens, pairs, experts;
    tensor *logits;         /* (N, M) of the M experts that the router looked at for each token; where it takes_shares all of them, in their order */
    tensor *probabilities;  /* (N, M), rows sum to one. NULL, like logits: the router has none, and the z-loss has nothing to say */
    tensor *load;           /* (1, E) expected pairs, smooth in the weights; NULL: only counts */
    tensor *weights;        /* (P, 1) */
    bool fixed;             /* the weights are constants */
    int32_t *expert;        /* (P) */
    int32_t *token;         /* (P) */
    ptrdiff_t *token_start; /* (N + 1): token n owns pairs token_start[n] .. token_start[n + 1] */
    int64_t *chosen;        /* (E) what balance counts: choices of tokens that are not padding, before any is dropped (Switch, T2T) */
} routing;

typedef enum { NORMALIZE_IF_ASKED, NORMALIZE_ALWAYS, NORMALIZE_NEVER } normalization;

struct router {
    const char *name;
    /* Adds the router's own weights for tokens of width D; deviation: of matrices that do not begin at zero. NULL: it has none. */
    int (*declare)(moe_weights *w, weights *table, const moe_config *c, ptrdiff_t D, int layer, double deviation);
    /* Leaves `chosen` NULL unless balance counts something else than the pairs. */
    routing (*route)(tape *t, tensor *x, const moe_layer *l);
    normalization normalize;
    int64_t top_k;                             /* the only one it knows; 0: any */
    bool takes_groups, needs_groups;           /* what router.groups may say */
    bool takes_bias, takes_jitter, takes_drop; /* balance.bias_rate, router.jitter, router.capacity */
    bool takes_shares;                         /* balance.switch, balance.sequence: it has a probability of every expert */
    bool normalizes_kept;                      /* weights are normalised over the pairs that found room */
    bool looks_ahead;                          /* while training, a token's experts depend on tokens after it */
    bool serves_as_softmax;                    /* without training it is the softmax router: Hugging Face families express it */
};

extern const struct router router_softmax, router_switch, router_gshard, router_sigmoid, router_noisy_top_k, router_hierarchical, router_batchwise,
    router_expert_choice, router_hash, router_random;

/* The names of all of them, "a|b|c": the choices of router.kind. */
extern char router_kinds[];

/* One more, of a name shorter than OPTION_NAME_BYTES that is not taken; it stays where it is. */
int router_add(const struct router *added);

/* All of them; returns how many. */
int router_table(const struct router *const **table);

const struct router *router_find(const char *name); /* NULL: there is none */

/* Sets c->router from c->kind and what the router itself decides; refuses what does not go together. where names the source. */
int router_choose(moe_config *c, const char *where);

/* Whether balance may have this loss. */
bool router_takes_loss(const struct router *r, balance_loss loss);

/* ---- what routers share ---- */

/* (N, E) = x W_r^T, and a bias where the layer has one */
tensor *router_logits(tape *t, tensor *x, const moe_layer *l);

/* Room for pairs that are still to be chosen; token_start[0] is 0. */
routing routing_make(tape *t, ptrdiff_t tokens, ptrdiff_t pairs, ptrdiff_t experts);

/* Each token takes its K best by score (N, E), ties to the lower expert; with groups, only from its top_groups best groups, a group being
 * as good as the sum of its `group_best` best scores. */
routing routing_choose(tape *t, const real *score, ptrdiff_t N, const moe_config *c, int group_best);

/* Each expert takes its `room` best tokens by score (N, E), ties to the earlier token. A token's pairs are ordered by expert. */
routing routing_choose_tokens(tape *t, const real *score, ptrdiff_t N, ptrdiff_t E, ptrdiff_t room);

/* Pairs of a mask (N, E). */
routing routing_of_mask(tape *t, const bool *mask, ptrdiff_t N, ptrdiff_t E);

typedef struct {
    real score;
    int32_t index;
} scored;
void scored_sort(scored *list, size_t n); /* largest first, ties to the lower index */

/* Rows per expert if factor times the pairs of N tokens were spread evenly: factor N K / E, rounded up, 1 to N. */
ptrdiff_t even_share(ptrdiff_t N, const moe_config *c, double factor);

/* Weights of all pairs: from scores (N, E), normalised or not as the config says. */
tensor *routing_weigh(tape *t, const routing *r, tensor *score, const moe_config *c);

/* y[i] = factor x[row[i], col[i]], (n, 1) */
tensor *pick(tape *t, tensor *x, const int32_t *row, const int32_t *col, ptrdiff_t n, double factor);

/* Segments of x (P, 1) are scaled to sum to total: segment s is start[s] .. start[s + 1]. */
tensor *normalize(tape *t, tensor *x, const ptrdiff_t *start, ptrdiff_t segments, double total);

#endif
