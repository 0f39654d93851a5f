/* RoPE in config.json: "rope_scaling" beside "rope_theta", as transformers 4 has it, or all in "rope_parameters", as 5 has it. */
#ifndef ROPE_CONFIG_H
#define ROPE_CONFIG_H

#include "base/json.h"
#include "models/families/family.h"

int rope_config_read(model_config *c, const json_t *root, const char *where);
void rope_config_write(json_writer *w, const model_config *c, const family *f);

#endif
