/* Our own part of a config.json, for models that no Hugging Face family expresses. */
#ifndef LAMPLIGHTER_H
#define LAMPLIGHTER_H

#include "base/json.h"
#include "models/families/family.h"

static const char LAMPLIGHTER_MODEL_TYPE[] = "lamplighter", LAMPLIGHTER_ARCHITECTURE[] = "LamplighterForCausalLM";

/* Whether a completed config would compute another function, or lose what training needs, if it were saved as the family it is built like. */
bool lamplighter_is_needed(const model_config *config, const family *f);

void lamplighter_write(json_writer *w, const model_config *config);
int lamplighter_read(model_config *config, const json_t *root, const char *where);

#endif
