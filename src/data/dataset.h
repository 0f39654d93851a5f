/* A dataset: a folder of tokenised text, cut into domains, each split into training and validation documents.
 *
 *     manifest.json              what is here: sizes, counts and content hashes; equal for equal input
 *     tokenizer.json             how the text became ids
 *     NAME.train.tokens          the ids of domain NAME (data/shards.h has the layout)
 *     NAME.validation.tokens
 *
 * Opening maps everything and checks every size against the manifest; dataset_build.h makes one. */
#ifndef DATASET_H
#define DATASET_H

#include <stdint.h>

#include "base/hash.h"
#include "base/options.h"
#include "data/corpus.h"
#include "data/shards.h"
#include "text/tokenizer.h"

enum { DATASET_DOMAINS = OPTION_MAP_ROWS, DOMAIN_NAME_BYTES = OPTION_NAME_BYTES };

typedef struct {
    char name[DOMAIN_NAME_BYTES]; /* a-z 0-9 _ . - */
    int64_t documents, bytes;     /* of text, without duplicates */
    int64_t duplicates;
    corpus_counts passed_over;
    int64_t train_tokens, validation_tokens;
} domain_summary;

/* To be read, not changed. */
typedef struct {
    char hash[HASH_TEXT_BYTES]; /* of the manifest: the identity of the data a model was trained on */
    tokenizer *tokenizer;
    char tokenizer_hash[HASH_TEXT_BYTES];
    int vocabulary_size;
    int n_domains;
    struct {
        domain_summary summary;
        shard train, validation;
    } domain[DATASET_DOMAINS];
} dataset;

int dataset_open(dataset **d, const char *folder);
void dataset_free(dataset *d);

/* LAMP_INVALID unless this tokenizer.json is the one the text became tokens with. */
int dataset_check_tokenizer(const dataset *d, const char *tokenizer_path);

/* The number of the domain with this name, or -1. */
int dataset_find_domain(const dataset *d, const char *name);

int domain_check_name(const char *name);

/* Writes folder/manifest.json for a dataset whose shards are open. */
int dataset_write_manifest(const dataset *d, const char *folder);

#endif
