/* Bad lines, kept to be looked at and mended: FOLDER/quarantine.jsonl, made when the first one comes. Each is one object:
 *
 *     {"file": "a.jsonl", "line": 7, "problem": "what is wrong with it", "content": "the line, of a long one its first 64 KiB"}
 *
 * Bytes that are not UTF-8 are U+FFFD in the content; file and line say where the original stands. Zero-initialise it. */
#ifndef QUARANTINE_H
#define QUARANTINE_H

#include <stdio.h>

#include "data/corpus.h"

typedef struct {
    FILE *file; /* NULL: no bad line has come */
} quarantine;

int quarantine_add(quarantine *q, const char *folder, const corpus_bad_line *bad, const char *problem);
int quarantine_finish(quarantine *q); /* what was added is on the disk */
void quarantine_release(quarantine *q);

#endif
