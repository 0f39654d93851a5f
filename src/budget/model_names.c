#include "budget/model_names.h"

#include <stdio.h>
#include <string.h>

/* ---- by a setting ------------------------------------------------------------------------------------------------------------------- */

static bool differs(const option *o, const contestant *a, const contestant *b) {
    char left[OPTION_TEXT_BYTES], right[OPTION_TEXT_BYTES];
    recipe ours = run_record_essence(a->run[0]), theirs = run_record_essence(b->run[0]);
    if (o->type == OPTION_MAP) return memcmp(&ours.mixture, &theirs.mixture, sizeof ours.mixture);
    options_value(left, o, &ours), options_value(right, o, &theirs);
    return strcmp(left, right);
}

/* NULL: there is none, or more than one, or it cannot be said in a word. */
static const option *find_only_difference(const contestant *models, int n) {
    const option *found = NULL;
    for (const option *o = recipe_options.rows; o < recipe_options.rows + recipe_options.n; o++)
        for (int i = 1; i < n; i++) {
            if (!differs(o, &models[0], &models[i])) continue;
            if ((found && found != o) || o->type == OPTION_MAP) return NULL;
            found = o;
        }
    return found;
}

static void name_by_setting(contestant *m, const option *o) {
    char value[OPTION_TEXT_BYTES];
    options_value(value, o, &m->run[0]->recipe);
    snprintf(m->name, sizeof m->name, "%s.%s=%s", o->section, o->name, value);
}

/* ---- by a folder -------------------------------------------------------------------------------------------------------------------- */

static size_t shared_length(const char *a, const char *b) {
    size_t n = 0;
    while (a[n] && a[n] == b[n]) n++;
    return n;
}

/* Of the folders that hold all runs, with the slash at their end. */
static size_t shared_folders(const contestant *models, int n) {
    const char *first = models->run[0]->path;
    size_t length = strlen(first);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < models[i].n; j++) {
            size_t shared = shared_length(first, models[i].run[j]->path);
            if (shared < length) length = shared;
        }
    while (length > 0 && first[length - 1] != '/') length--;
    return length;
}

static size_t without(const char *text, size_t length, const char *characters) {
    while (length > 0 && strchr(characters, text[length - 1])) length--;
    return length;
}

/* "dense/seed-1", "dense-seed1", and "dense-", which runs dense-1 and dense-2 share, are all "dense". */
static size_t without_seed(const char *text, size_t length) {
    size_t end = without(text, without(text, length, "0123456789"), "-_.");
    if (end >= 4 && !memcmp(text + end - 4, "seed", 4)) length = end - 4;
    return without(text, length, "-_./");
}

static void name_by_folder(contestant *m, size_t shared) {
    const char *first = m->run[0]->path;
    size_t length = strlen(first);
    for (int i = 1; i < m->n; i++) {
        size_t both = shared_length(first, m->run[i]->path);
        if (both < length) length = both;
    }
    length = without_seed(first + shared, length - shared);
    if (length > 0) snprintf(m->name, sizeof m->name, "%.*s", (int)length, first + shared);
    else snprintf(m->name, sizeof m->name, "%s", first);
}

void model_names_choose(contestant *models, int n) {
    const option *only = find_only_difference(models, n);
    size_t shared = shared_folders(models, n);
    for (int i = 0; i < n; i++)
        if (only) name_by_setting(&models[i], only);
        else name_by_folder(&models[i], shared);
    for (int i = 0; i < n; i++)
        for (int j = 0; j < i; j++)
            if (!strcmp(models[i].name, models[j].name)) strcpy(models[i].name, models[i].run[0]->path);
}
