/* Continues a prompt, and says how likely the model found the prompt's last token.
 *
 *     cc generate.c $(pkg-config --cflags --libs lamplighter) -lm -o generate
 *     ./generate runs/first "Once upon a time" */
#include <lamp.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int print(void *context, const char *bytes, size_t length) {
    return fwrite(bytes, 1, length, context) == length ? 0 : LAMP_IO; /* a negative result would end the text */
}

/* log p(last id | the ids before it) */
static int score(lamp_model *model, const char *prompt) {
    enum { MOST = 512 };
    int32_t ids[MOST];
    size_t n;
    int status = lamp_tokenize(model, ids, MOST, &n, prompt, strlen(prompt)), vocabulary = lamp_model_vocabulary_size(model);
    if (status < 0 || n < 2) return status;
    float *logits = malloc(sizeof *logits * (size_t)vocabulary);
    if (!logits) return LAMP_NO_MEMORY;
    status = lamp_logits(model, logits, ids, n - 1);
    if (status >= 0) {
        double sum = 0;
        for (int i = 0; i < vocabulary; i++) sum += exp(logits[i] - logits[ids[n - 1]]);
        printf("log p of the last of %zu tokens: %.4f\n", n, -log(sum));
    }
    free(logits);
    return status;
}

int main(int argc, char **argv) {
    lamp_model *model = NULL;
    lamp_generate_options options = lamp_generate_defaults();
    if (argc != 3) {
        fprintf(stderr, "usage: generate MODEL PROMPT\n");
        return 2;
    }
    int status = lamp_model_open(&model, argv[1]);
    if (status >= 0) status = score(model, argv[2]);
    if (status >= 0) status = lamp_generate(model, argv[2], &options, print, stdout);
    putchar('\n');
    if (status < 0) fprintf(stderr, "generate: %s\n", lamp_error_message());
    lamp_model_close(&model);
    return -status;
}
