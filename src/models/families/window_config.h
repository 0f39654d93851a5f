/* Windows of attention in config.json: their size, and which layers have them, as a list of words ("layer_types") or as the family usually has it. */
#ifndef WINDOW_CONFIG_H
#define WINDOW_CONFIG_H

#include "base/json.h"
#include "models/families/family.h"

int window_config_read(model_config *c, const json_t *root, const family *f, const char *where);
void window_config_write(json_writer *w, const model_config *c, const family *f);

#endif
