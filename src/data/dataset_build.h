/* From text to a dataset: `lamp data build`.
 *
 * The text is read three times (twice, if the tokenizer is there): to hash every document (exact duplicates are dropped, also across domains: the
 * first domain keeps them), to train the tokenizer on an equal share of each domain (one of words, on all), and to tokenise. Which documents are held
 * out for validation follows from their content hashes, so it depends neither on order nor on threads, and no document is on both sides. The same
 * text and options give the same bytes. Standard input can be read once only, so it is first copied into the folder being made. */
#ifndef DATASET_BUILD_H
#define DATASET_BUILD_H

#include "data/dataset.h"

typedef enum {
    BAD_LINES_ERROR,     /* the first ends the build */
    BAD_LINES_SKIP,      /* passed over and counted */
    BAD_LINES_QUARANTINE /* and kept in OUT/quarantine.jsonl (data/quarantine.h) */
} bad_line_policy;

typedef struct {
    const char *out; /* the folder to make; it must not exist */
    int n_domains;
    struct {
        const char *name, *path; /* borrowed; the path is anything corpus_visit takes, or "-" for standard input */
    } domain[DATASET_DOMAINS];
    const char *standard_input_kind; /* what standard input is, as the end of a file's name would say: "txt", "jsonl.zst" */
    const char *field;               /* of .jsonl, that holds the text */
    bad_line_policy bad_lines;
    const char *tokenizer_from; /* as tokenizer_open takes it; NULL: one is made, of this kind and size */
    vocabulary_kind vocabulary;
    int vocabulary_size;      /* at most; a small text has fewer merges to learn, or fewer words */
    int64_t tokenizer_bytes;  /* text that merges are learned from, all domains together; words are counted in all of it */
    double validation_share;  /* of a domain's bytes */
    int64_t validation_bytes; /* at most, per domain */
} dataset_build_options;

void dataset_build_defaults(dataset_build_options *options);

typedef struct {
    int vocabulary_size, n_domains;
    double unknown_share; /* of all tokens: words that are not in the vocabulary */
    domain_summary domain[DATASET_DOMAINS];
} dataset_build_report;

/* All or nothing: on failure or interruption nothing is left at out. */
int dataset_build(const dataset_build_options *options, dataset_build_report *report);

#endif
