/* One timeline of text through a model: feed tokens, get the logits of the next one. */
#ifndef SESSION_H
#define SESSION_H

#include "base/buffer.h"
#include "infer/sampling.h"
#include "models/model.h"
#include "text/tokenizer.h"

typedef struct {
    const model *model; /* borrowed */
    tape tape;
    state state;
    sampling_candidate *candidates;
} session;

/* Room for up to `capacity` tokens; for any number, if what the model remembers does not grow. */
int session_open(session *s, const model *m, ptrdiff_t capacity);
void session_close(session *s);
void session_clear(session *s); /* forgets the text */

/* Reads n >= 1 tokens; *logits (V) are those of the token after the last, valid until the next call. LAMP_INVALID for an id outside the
 * vocabulary or more tokens than there is room for. */
int session_feed(session *s, const real **logits, const int32_t *ids, ptrdiff_t n);

/* Continues a prompt by up to n tokens; piece receives text as it comes, in whole characters (bytes that are none, too). An empty prompt
 * starts a document; the end-of-text token ends it. */
typedef int session_piece(void *context, const char *bytes, size_t length);
int session_generate(session *s, const tokenizer *words, const sampling *how, const int32_t *prompt, ptrdiff_t n_prompt, ptrdiff_t n, session_piece *piece,
                     void *context);

#endif
