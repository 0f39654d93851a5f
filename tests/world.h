/* A world for tests that train: texts of a few invented words, the dataset they make, and a recipe whose model learns them in a moment. */
#ifndef WORLD_H
#define WORLD_H

#include "base/file.h"
#include "data/dataset.h"
#include "train/recipe.h"

/* In the folder of this process; returns path. */
const char *world_path(char path[PATH_BYTES], const char *name);

/* Documents of invented words; a domain's seed decides its words. */
void world_write_domain(const char *name, uint64_t seed, int documents, int words);
void world_build_dataset(const char *out, int n_domains, const char *const *domains, int vocabulary);

/* Two domains, river and stone, of a few thousand tokens; built once. */
const char *world_data(void);
dataset *world_open(const char *path);

/* Of a model that takes twenty steps on them. */
recipe world_recipe(const char *family);

#endif
