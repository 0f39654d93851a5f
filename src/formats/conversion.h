/* A model goes from one form into another: a Hugging Face folder or a GGUF file becomes one or the other, value by value as it is, or as other
 * types. It is read where it lies and written beside its new name, which it gets when it was read back; what is there already stays. */
#ifndef CONVERSION_H
#define CONVERSION_H

#include "base/file.h"
#include "formats/gguf_save.h"
#include "formats/model_source.h"
#include "models/model.h"

typedef struct {
    const char *from, *to;         /* MODEL; a new folder, or NAME.gguf */
    stored_type type[SAVED_PARTS]; /* STORED_TYPES: as it is. A folder has one type, f32, f16 or bf16 */
} conversion_request;

/* Parts of what was written; routers and vectors are one more. */
enum { CONVERSION_PARTS = SAVED_PARTS + 1 };
extern const char *const conversion_part_name[CONVERSION_PARTS];

typedef struct {
    char path[PATH_BYTES]; /* of what MODEL stands for */
    model_source *source;
    model model;          /* declared */
    tokenizer *tokenizer; /* NULL: it has none */
    int64_t bytes[CONVERSION_PARTS][STORED_TYPES];
    int64_t bytes_before, bytes_after; /* of weights */
    saved_loss *loss;                  /* of each group, in the order of the table */
} conversion;

int conversion_run(conversion *c, const conversion_request *q);
void conversion_close(conversion *c);

/* Of the groups of a part, or of a weight. */
saved_loss conversion_loss_of_part(const conversion *c, int part);
double saved_loss_relative(const saved_loss *loss); /* the square root of what changed over what there was */

#endif
