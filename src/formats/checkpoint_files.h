/* The files inside one checkpoint (they are listed in formats/checkpoint.h), whatever folder it stands in. Values are streamed: there is
 * never a second copy of the weights in memory. checkpoint_load_moments and checkpoint_load_state are here too, beside what they undo. */
#ifndef CHECKPOINT_FILES_H
#define CHECKPOINT_FILES_H

#include "formats/checkpoint.h"

/* Writes and syncs every file, and the manifest last. */
int checkpoint_write_files(const char *folder, int64_t step, const checkpoint *contents);

#endif
