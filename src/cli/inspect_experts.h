/* lamp inspect MODEL --experts, and --text: the parts of the verb that run the model. */
#ifndef INSPECT_EXPERTS_H
#define INSPECT_EXPERTS_H

#include "base/json.h"
#include "infer/loaded_model.h"

typedef struct {
    bool experts, ablate, all;
    const char *data, *text, *html; /* paths or NULL; data is only read with experts */
    int64_t layer, tokens;          /* layer -1: the middle one */
    buffer *table;                  /* where experts go as part of a page, or NULL */
} inspect_wishes;

/* w: where the result goes as JSON, or NULL: it is printed. */
int inspect_experts(json_writer *w, loaded_model *m, const inspect_wishes *wishes);

#endif
