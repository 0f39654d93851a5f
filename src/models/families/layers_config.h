/* In what layers differ, in config.json: windows of attention and which layers have them, as a list of words ("layer_types") or as the family usually
 * has it; and which have no RoPE. */
#ifndef LAYERS_CONFIG_H
#define LAYERS_CONFIG_H

#include "base/json.h"
#include "models/families/family.h"

int layers_config_read(model_config *c, const json_t *root, const family *f, const char *where);
void layers_config_write(json_writer *w, const model_config *c, const family *f);

#endif
