/* What the experts of a layer specialise in, as JSON. */
#ifndef JSON_PROFILES_H
#define JSON_PROFILES_H

#include "base/json.h"
#include "inspect/ablation.h"
#include "inspect/profile.h"

/* Adds the member "specialization" to the object being written, with all experts; without may be NULL. */
int json_put_profiles(json_writer *w, profiles *p, const ablation *without);

#endif
