/* Lamplighter: trains, inspects and runs sparse mixture-of-experts models.
 *
 * Every function that can fail returns 0 or a negative lamp_status and leaves a sentence in lamp_error_message(). A result goes through
 * the first pointer. The library never prints and never exits. */
#ifndef LAMP_H
#define LAMP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LAMP_API __attribute__((visibility("default")))

/* The exit code of `lamp` is the status with its sign turned. */
typedef enum lamp_status {
    LAMP_OK = 0,
    LAMP_FAILURE = -1,
    LAMP_INVALID = -2,      /* wrong arguments: usage */
    LAMP_MALFORMED = -3,    /* a file breaks its own format */
    LAMP_UNSUPPORTED = -4,  /* a sound file asks for something this version lacks */
    LAMP_DIVERGED = -5,     /* the loss or the gradient is no longer finite */
    LAMP_NO_MEMORY = -6,
    LAMP_RANK_LOST = -7,
    LAMP_IO = -8,
    LAMP_CHECKPOINT = -9,   /* no usable checkpoint */
    LAMP_INTERRUPTED = -75  /* stopped by a signal; what was asked to be kept is saved */
} lamp_status;

/* The last failure on this thread: what, where, expected, found, what to try. Never NULL. */
LAMP_API const char *lamp_error_message(void);

LAMP_API const char *lamp_version(void);

/* ---- a model ready to run: opaque, used by one thread at a time ---- */

typedef struct lamp_model lamp_model;

/* path: a Hugging Face folder, or a run of `lamp train` (its latest checkpoint). Its weights stay in their files, which are mapped: one that
 * is cut short while the model is open raises SIGBUS in the process. */
LAMP_API int lamp_model_open(lamp_model **model, const char *path);
LAMP_API void lamp_model_close(lamp_model **model); /* *model becomes NULL; NULL is fine */

LAMP_API int lamp_model_vocabulary_size(const lamp_model *model);
LAMP_API int lamp_model_context_length(const lamp_model *model); /* tokens */

/* Writes the ids of length bytes of text, as a prompt: what the tokenizer puts before a text comes first, and the names of special tokens in it
 * are those tokens. *count is how many there are, also when capacity was too small (LAMP_INVALID). */
LAMP_API int lamp_tokenize(const lamp_model *model, int32_t *ids, size_t capacity, size_t *count, const char *text, size_t length);

/* Writes vocabulary_size logits of the token that follows ids. */
LAMP_API int lamp_logits(lamp_model *model, float *logits, const int32_t *ids, size_t count);

typedef struct lamp_generate_options {
    int max_tokens;
    double temperature; /* 0: always the most likely token */
    int top_k;          /* draw from the k most likely tokens; 0: all */
    double top_p;       /* draw from the fewest tokens that together reach p; 1: all */
    uint64_t seed;      /* same seed, same text */
} lamp_generate_options;

LAMP_API lamp_generate_options lamp_generate_defaults(void);

/* Receives text as it is written, in whole characters (bytes that are none, too); a negative result stops and is returned. */
typedef int lamp_piece(void *context, const char *bytes, size_t length);

/* Continues prompt; an empty one starts a document. options must not be NULL. */
LAMP_API int lamp_generate(lamp_model *model, const char *prompt, const lamp_generate_options *options, lamp_piece *piece, void *context);

/* ---- a router of one's own ---- */

/* Routes one token. score (experts) is the softmax of a learned matrix. want and factor (experts) arrive as score and as ones, to be
 * rewritten: the token takes its top_k most wanted experts, ties to the lower index, and the weight of each is factor times score, through
 * which the matrix learns. Tokens come in order, from the thread that trains or generates; a run replays if the same score has the same
 * answer. A factor or a weight that is not finite ends training with LAMP_DIVERGED. */
typedef void lamp_route(void *context, float *want, float *factor, const float *score, int experts);

/* Gives the router a name, for router.kind in a recipe; a model trained with it opens only where the name is known. Lower-case letters, digits
 * and _. Not while anything trains or generates; context must stay until the program ends. */
LAMP_API int lamp_router_add(const char *name, lamp_route *route, void *context);

/* ---- training ---- */

/* Receives what the run says as it goes: settings, validation scores, checkpoints. */
typedef void lamp_line(void *context, const char *line);

/* Trains as `lamp train RECIPE --run RUN --set ...` does, until the budget of the recipe is used up; lamp_model_open(run) then opens the result.
 * settings: n_settings of "section.key=value", which come after the recipe's own. If the folder run holds a run already, that run goes on.
 * said may be NULL. One training at a time. On a machine that is shared, start the program with GOMP_SPINCOUNT=10000 in its environment, as lamp
 * does for itself: threads that spin while they wait take the cores of those they wait for. */
LAMP_API int lamp_train(const char *recipe, const char *const *settings, size_t n_settings, const char *run, lamp_line *said, void *context);

#ifdef __cplusplus
}
#endif
#endif
