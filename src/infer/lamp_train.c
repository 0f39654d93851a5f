/* The public face of training: include/lamp.h in terms of recipe and train_run. */
#include <string.h>

#include "base/error.h"
#include "lamp.h"
#include "train/train.h"

typedef struct {
    lamp_line *said;
    void *context;
} listener;

static void pass_on(void *context, const char *line) {
    listener *l = context;
    if (l->said) l->said(l->context, line);
}

int lamp_train(const char *path, const char *const *settings, size_t n_settings, const char *run, lamp_line *said, void *context) {
    recipe r;
    train_report report;
    listener l = {said, context};
    memset(&r, 0, sizeof r);
    options_set_defaults(&recipe_options, &r);
    TRY(options_read_file(&recipe_options, &r, path));
    for (size_t i = 0; i < n_settings; i++) TRY(options_assign(&recipe_options, &r, settings[i], "lamp_train"));
    return train_run(&report, &r, run, "lamp_train", &(train_watcher){.context = &l, .said = pass_on});
}
