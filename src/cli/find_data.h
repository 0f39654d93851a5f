/* The dataset that a run was trained on, from its recipe.ini. */
#ifndef FIND_DATA_H
#define FIND_DATA_H

#include "base/file.h"

/* LAMP_INVALID says to give --data when MODEL is no run or its dataset is gone. */
int find_data_of_run(char path[PATH_BYTES], const char *model);

#endif
