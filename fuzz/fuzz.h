/* A harness is one file: LLVMFuzzerTestOneInput gives bytes to one reader and aborts if what it returns breaks a promise. libFuzzer calls
 * it with bytes it invents (`make fuzz`), replay.c with those of fuzz/corpus/HARNESS (`make test`). */
#ifndef FUZZ_H
#define FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* A folder of this process, removed at exit. */
const char *fuzz_folder(void);

/* Writes a file of that folder anew; its path stays valid until the next call. */
const char *fuzz_file(const char *name, const void *bytes, size_t length);

/* Makes that folder a dataset of one domain, "lamp", of 40 tokens to train on and 10 to validate with; fuzz/corpus/dataset/sound is its manifest. */
void fuzz_dataset(void);

#endif
