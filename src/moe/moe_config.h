/* What a layer of experts is: its sizes, the router that chooses and how, what happens to pairs without room, and what keeps loads even.
 * Plain values, as a recipe sets them. */
#ifndef MOE_CONFIG_H
#define MOE_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/options.h"

/* The balance losses; balance_terms has a row for each. */
typedef enum {
    BALANCE_IMPORTANCE, /* CV^2 of the weight each expert receives (Shazeer et al. 2017, equation 7) */
    BALANCE_LOAD,       /* CV^2 of the tokens each may expect (2017, equation 11) */
    BALANCE_SWITCH,     /* shares of tokens times probabilities (Fedus et al. 2021, equation 4) */
    BALANCE_SEQUENCE,   /* the same within each sequence (DeepSeek-V3, equation 17) */
    BALANCE_Z,          /* squared log-sum of the router's logits (Zoph et al. 2022, equation 5) */
    BALANCE_THRESHOLD,  /* teaches the thresholds of the batchwise router (2017, equation 20) */
    BALANCE_LOSSES
} balance_loss;

typedef struct {
    int64_t experts, top_k;       /* E, K; one expert: a dense layer without a router */
    char kind[OPTION_TEXT_BYTES]; /* of the router */
    const struct router *router;  /* the row of that name: router_choose sets it */
    bool normalize;               /* a token's weights are scaled to sum to `scale`; otherwise each score is multiplied by it */
    double scale;
    bool unbiased;                       /* sigmoid: without the bias that moves choices towards even loads (Llama-4) */
    bool weigh_input;                    /* a weight multiplies what its expert reads, not what it says (Llama-4) */
    int64_t groups, top_groups;          /* experts stand in groups of E / groups, and a token takes from top_groups of them; 0: no groups */
    double jitter;                       /* while training the router reads x times U(1 - jitter, 1 + jitter) */
    double capacity, eval_capacity;      /* rows of an expert over its even share N K / E, training and otherwise; 0: as many as come */
    bool drop_by_score;                  /* what finds no room: the least weights; otherwise the last in order */
    bool biases;                         /* the router's logits and the matrices of experts have one each (GPT-OSS) */
    bool relu;                           /* an expert is two matrices with a ReLU between them (2017), not the three of SwiGLU */
    double swiglu_limit, swiglu_alpha;   /* experts of GPT-OSS (swiglu_bounds); limit 0: plain SwiGLU */
    bool recompute;                      /* backward makes the experts' inner values again */
    int64_t shared_experts, shared_size; /* experts that every token takes, and their inner width each; 0: that of the others */
    bool shared_gate;                    /* their output is multiplied by sigmoid(<x, w>), as in Qwen2-MoE */
    double balance[BALANCE_LOSSES];      /* coefficients; 0: the loss is not computed; negative, of Switch: as usual with this router */
    double bias_rate;                    /* of the loss-free bias after each step */
} moe_config;

#endif
