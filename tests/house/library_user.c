/* A program that knows nothing but lamp.h; tests/house/library.sh builds it as C and as C++ against both libraries and runs it. */
#include "lamp.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VOCABULARY = 4096 };

int main(void) {
    lamp_model *model = NULL;
    int32_t ids[] = {1, 2, 3, 40, 5}, outside = 1 << 20;
    static float once[VOCABULARY], again[VOCABULARY];
    lamp_generate_options options = lamp_generate_defaults();
    if (lamp_model_open(&model, "nowhere") != LAMP_IO || model || !strstr(lamp_error_message(), "nowhere")) return 1;
    if (lamp_model_open(&model, "tests/golden/trained/olmoe") < 0) return fprintf(stderr, "%s\n", lamp_error_message()), 2;
    if (lamp_model_vocabulary_size(model) > VOCABULARY || lamp_model_context_length(model) < 5) return 3;
    if (lamp_logits(model, once, ids, 5) < 0 || lamp_logits(model, again, ids, 5) < 0 || memcmp(once, again, sizeof once)) return 4;
    for (int i = 0; i < lamp_model_vocabulary_size(model); i++)
        if (!isfinite(once[i])) return 5;
    if (lamp_logits(model, once, &outside, 1) != LAMP_INVALID) return 6;
    if (lamp_generate(model, "x", &options, NULL, NULL) != LAMP_CHECKPOINT) return 7; /* this folder has no tokenizer */
    options.top_p = 0;
    if (lamp_generate(model, "x", &options, NULL, NULL) != LAMP_INVALID) return 8;
    lamp_model_close(&model);
    lamp_model_close(&model);
    return model ? 9 : 0;
}
