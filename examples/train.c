/* Trains a mixture of experts from a recipe, and says what the run says.
 *
 *     lamp data build data --domain books=my/books
 *     cc train.c $(pkg-config --cflags --libs lamplighter) -o train
 *     ./train recipe.ini runs/first data.path=data train.minutes=5 */
#include <lamp.h>

#include <stdio.h>

static void show(void *context, const char *line) { fprintf(context, "%s\n", line); }

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: train RECIPE RUN [section.key=value ...]\n");
        return 2;
    }
    const char *const *settings = (const char *const *)argv + 3;
    int status = lamp_train(argv[1], settings, (size_t)argc - 3, argv[2], show, stdout);
    if (status < 0) fprintf(stderr, "train: %s\n", lamp_error_message());
    return -status;
}
