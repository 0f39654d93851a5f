/* Trains and runs a mixture of experts with a router of its own: every expert has a price, and a token that likes two experts equally takes
 * the cheaper one.
 *
 *     cc custom_router.c $(pkg-config --cflags --libs lamplighter) -o custom_router
 *     ./custom_router recipe.ini runs/frugal data.path=data train.minutes=5 */
#include <lamp.h>

#include <stdio.h>

typedef struct {
    double step;   /* expert e costs 1 + e step */
    long asked[2]; /* tokens whose best expert was also the one they wanted most; and the others */
} prices;

static int best(const float *value, int n) {
    int found = 0;
    for (int i = 1; i < n; i++)
        if (value[i] > value[found]) found = i;
    return found;
}

/* Only the choice changes: factor stays one, so that what an expert says weighs as much as its score. */
static void choose_by_price(void *context, float *want, float *factor, const float *score, int experts) {
    prices *p = context;
    (void)factor;
    for (int e = 0; e < experts; e++) want[e] = score[e] / (float)(1 + e * p->step);
    p->asked[best(want, experts) != best(score, experts)]++;
}

static void show(void *context, const char *line) { fprintf(context, "%s\n", line); }

static int print(void *context, const char *bytes, size_t length) { return fwrite(bytes, 1, length, context) == length ? 0 : LAMP_IO; }

int main(int argc, char **argv) {
    enum { MOST = 64 };
    prices p = {.step = 0.05};
    const char *settings[MOST] = {"router.kind=frugal"};
    lamp_model *model = NULL;
    lamp_generate_options options = lamp_generate_defaults();
    size_t n = 1;
    if (argc < 3 || argc - 3 >= MOST) {
        fprintf(stderr, "usage: custom_router RECIPE RUN [section.key=value ...]\n");
        return 2;
    }
    for (int i = 3; i < argc; i++) settings[n++] = argv[i];
    int status = lamp_router_add("frugal", choose_by_price, &p);
    if (status >= 0) status = lamp_train(argv[1], settings, n, argv[2], show, stdout);
    if (status >= 0) printf("the price decided for %ld of %ld tokens\n", p.asked[1], p.asked[0] + p.asked[1]);
    if (status >= 0) status = lamp_model_open(&model, argv[2]);
    if (status >= 0) status = lamp_generate(model, "", &options, print, stdout);
    if (status < 0) fprintf(stderr, "custom_router: %s\n", lamp_error_message());
    lamp_model_close(&model);
    return -status;
}
