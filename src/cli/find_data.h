/* The dataset to try a model on: the one that is named, or the one that the run was trained on, from its recipe.ini. */
#ifndef FIND_DATA_H
#define FIND_DATA_H

#include "data/dataset.h"
#include "infer/loaded_model.h"

/* LAMP_INVALID says to give --data when MODEL is no run or its dataset is gone. */
int find_data_of_run(char path[PATH_BYTES], const char *run);

/* LAMP_INVALID unless the dataset was tokenised with the model's tokenizer. */
int open_data_for(dataset **data, const char *path, const loaded_model *m);

#endif
