#include "formats/checkpoint.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/log.h"
#include "base/memory.h"
#include "formats/checkpoint_files.h"
#include "formats/manifest.h"

enum { STEP_NAME_BYTES = 32 };

static void step_name(char name[STEP_NAME_BYTES], int64_t step) { snprintf(name, STEP_NAME_BYTES, "step-%08" PRId64, step); }

/* -1 unless name is what step_name writes. */
static int64_t step_of_name(const char *name) {
    char again[STEP_NAME_BYTES];
    if (strncmp(name, "step-", 5)) return -1;
    int64_t step = strtoll(name + 5, NULL, 10);
    step_name(again, step);
    return step >= 0 && !strcmp(again, name) ? step : -1;
}

/* ---- the folder of checkpoints ----------------------------------------------------------------------------------------------- */

typedef struct {
    int64_t *step; /* newest first */
    size_t n, capacity;
} step_list;

static int compare_steps(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x < y) - (x > y);
}

static int list_steps(step_list *list, const char *checkpoints) {
    int status = LAMP_OK;
    *list = (step_list){0};
    DIR *folder = opendir(checkpoints);
    if (!folder) FAIL(LAMP_IO, "%s: cannot open this folder: %s", checkpoints, strerror(errno));
    for (struct dirent *entry; (entry = readdir(folder));) {
        int64_t step = step_of_name(entry->d_name);
        if (step < 0) continue;
        TRY_TO(done, memory_reserve(&list->step, &list->capacity, list->n + 1, sizeof *list->step, "a list of checkpoints"));
        list->step[list->n++] = step;
    }
    if (list->n) qsort(list->step, list->n, sizeof *list->step, compare_steps);
done:
    closedir(folder);
    if (status < 0) memory_free(list->step);
    return status;
}

static int step_path(char path[PATH_BYTES], const char *checkpoints, int64_t step) {
    char name[STEP_NAME_BYTES];
    step_name(name, step);
    return file_join(path, checkpoints, name);
}

static int move_latest(const char *checkpoints, int64_t step) {
    char beside[PATH_BYTES], latest[PATH_BYTES], name[STEP_NAME_BYTES];
    step_name(name, step);
    TRY(file_join(beside, checkpoints, ".latest"));
    TRY(file_join(latest, checkpoints, "latest"));
    TRY(file_remove_folder(beside)); /* of a crash */
    if (symlink(name, beside) < 0) FAIL(LAMP_IO, "%s: cannot make a symbolic link: %s", beside, strerror(errno));
    return file_rename(beside, latest);
}

/* Steps after this one stay: they are what a resume from an older checkpoint has passed over, and not ours to judge. */
static int remove_old(const char *checkpoints, int64_t step, int keep) {
    step_list list;
    int status = LAMP_OK, kept = 0;
    TRY(list_steps(&list, checkpoints));
    for (size_t i = 0; i < list.n; i++) {
        char path[PATH_BYTES];
        if (list.step[i] > step || kept++ < (keep < 1 ? 1 : keep)) continue;
        TRY_TO(done, step_path(path, checkpoints, list.step[i]));
        TRY_TO(done, file_remove_folder(path));
    }
done:
    memory_free(list.step);
    return status;
}

static int save_new(const char *checkpoints, const char *final, int64_t step, const checkpoint *contents) {
    char partial[PATH_BYTES];
    TRY(file_join(partial, checkpoints, ".partial"));
    TRY(file_remove_folder(partial));
    TRY(file_make_folder(partial));
    TRY(checkpoint_write_files(partial, step, contents));
    TRY(manifest_check_step(partial, step, true));
    TRY(file_remove_folder(final)); /* a damaged one of the same step */
    return file_rename(partial, final);
}

int checkpoint_save(const char *run, int64_t step, const checkpoint *contents, int keep) {
    char checkpoints[PATH_BYTES], final[PATH_BYTES];
    TRY(file_join(checkpoints, run, "checkpoints"));
    TRY(file_make_folder(checkpoints));
    TRY(step_path(final, checkpoints, step));
    if (manifest_exists(final) && manifest_check_step(final, step, true) == LAMP_OK) log_info("%s: saved before, and whole: kept as it is", final);
    else TRY(save_new(checkpoints, final, step, contents));
    TRY(move_latest(checkpoints, step));
    return remove_old(checkpoints, step, keep);
}

int checkpoint_tidy(const char *run, int64_t step, int keep) {
    char checkpoints[PATH_BYTES], partial[PATH_BYTES];
    TRY(file_join(checkpoints, run, "checkpoints"));
    TRY(file_join(partial, checkpoints, ".partial"));
    TRY(file_remove_folder(partial));
    return remove_old(checkpoints, step, keep);
}

/* ---- opening ----------------------------------------------------------------------------------------------------------------- */

static int resolve_latest(char path[PATH_BYTES], const char *checkpoints) {
    char link[PATH_BYTES], name[STEP_NAME_BYTES];
    TRY(file_join(link, checkpoints, "latest"));
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0) FAIL(LAMP_CHECKPOINT, "%s: cannot read this symbolic link: %s", link, strerror(errno));
    name[length] = 0;
    if (step_of_name(name) < 0) FAIL(LAMP_CHECKPOINT, "%s: expected a link to step-NNNNNNNN, found one to \"%s\"", link, name);
    TRY(file_join(path, checkpoints, name));
    return manifest_check_step(path, step_of_name(name), false);
}

static int resolve_newest(char path[PATH_BYTES], const char *checkpoints) {
    step_list list;
    TRY(list_steps(&list, checkpoints));
    int status = error_set(LAMP_CHECKPOINT, "%s: expected a whole checkpoint step-NNNNNNNN, found none", checkpoints);
    for (size_t i = 0; i < list.n && status < 0; i++) {
        status = step_path(path, checkpoints, list.step[i]);
        if (status >= 0) status = manifest_check_step(path, list.step[i], false);
    }
    memory_free(list.step);
    return status;
}

int checkpoint_resolve(char path[PATH_BYTES], const char *model) {
    char inside[PATH_BYTES];
    TRY(file_join(inside, model, "config.json"));
    if (!file_exists(model)) FAIL(LAMP_IO, "%s: expected a model folder, a run folder or a GGUF file, found nothing", model);
    if (file_exists(inside) || !file_is_folder(model)) {
        snprintf(path, PATH_BYTES, "%s", model);
        return LAMP_OK;
    }
    TRY(file_join(inside, model, "checkpoints"));
    if (!file_is_folder(inside))
        FAIL(LAMP_CHECKPOINT, "%s: expected a folder with config.json, or a run folder with checkpoints/, found neither", model);
    if (resolve_latest(path, inside) == LAMP_OK) return LAMP_OK;
    char reason[512];
    snprintf(reason, sizeof reason, "%s", lamp_error_message());
    TRY(resolve_newest(path, inside));
    log_warning("%s; using %s", reason, path);
    return LAMP_OK;
}

int checkpoint_verify(const char *folder) { return manifest_exists(folder) ? manifest_check(folder, true) : LAMP_OK; }
