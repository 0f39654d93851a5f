#include "cli/find_data.h"

#include <string.h>

#include "base/error.h"
#include "train/recipe.h"

int open_data_for(dataset **data, const char *path, const loaded_model *m) {
    TRY(loaded_model_need_tokenizer(m));
    TRY(dataset_open(data, path));
    if (!tokenizer_equals(m->tokenizer, (*data)->tokenizer))
        FAIL(LAMP_INVALID, "%s: %s has not the tokenizer of this dataset: the model cannot read its tokens; --data FILE takes any text", path,
             m->path);
    return LAMP_OK;
}

int find_data_of_run(char path[PATH_BYTES], const char *run) {
    recipe r;
    memset(&r, 0, sizeof r);
    TRY(file_join(path, run, "recipe.ini"));
    if (!file_exists(path)) FAIL(LAMP_INVALID, "%s is not a run folder, so its data is not known; give --data DATASET or --data FILE", run);
    options_set_defaults(&recipe_options, &r);
    TRY(options_read_file(&recipe_options, &r, path));
    if (!file_exists(r.data_path))
        FAIL(LAMP_INVALID, "%s: data.path = %s, which is not there; give --data DATASET or --data FILE", path, r.data_path);
    strcpy(path, r.data_path);
    return LAMP_OK;
}
