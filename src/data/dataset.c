#include "data/dataset.h"

#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "base/memory.h"
#include "formats/tokenizer_folder.h"

enum { VERSION = 1 };

int domain_check_name(const char *name) {
    size_t length = strlen(name), valid = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_.-");
    if (length == 0 || length >= DOMAIN_NAME_BYTES || valid < length)
        FAIL(LAMP_INVALID, "domain \"%.80s\": expected a name of 1 to %d characters from a-z 0-9 _ . -", name, DOMAIN_NAME_BYTES - 1);
    return LAMP_OK;
}

int dataset_find_domain(const dataset *d, const char *name) {
    for (int i = 0; i < d->n_domains; i++)
        if (!strcmp(d->domain[i].summary.name, name)) return i;
    return -1;
}

/* ---- the manifest ------------------------------------------------------------------------------------------------------------- */

static void put_shard(json_writer *w, const char *key, const shard *s) {
    char hash[HASH_TEXT_BYTES];
    hash_to_text(hash, hash_bytes(s->map.bytes, s->map.length));
    json_begin_object(w, key);
    json_put_integer(w, "tokens", s->n);
    json_put_integer(w, "file_bytes", (int64_t)s->map.length);
    json_put_text(w, "hash", hash);
    json_end_object(w);
}

int dataset_write_manifest(const dataset *d, const char *folder) {
    char path[PATH_BYTES];
    buffer text = {0};
    json_writer w = {&text, .indented = true};
    json_begin_object(&w, NULL);
    json_put_integer(&w, "version", VERSION);
    json_put_integer(&w, "vocabulary_size", d->vocabulary_size);
    json_put_integer(&w, "token_bytes", shard_token_bytes(d->vocabulary_size));
    json_put_text(&w, "tokenizer_hash", d->tokenizer_hash);
    json_begin_array(&w, "domains");
    for (int i = 0; i < d->n_domains; i++) {
        const domain_summary *summary = &d->domain[i].summary;
        json_begin_object(&w, NULL);
        json_put_text(&w, "name", summary->name);
        json_put_integer(&w, "documents", summary->documents);
        json_put_integer(&w, "bytes", summary->bytes);
        json_put_integer(&w, "duplicates", summary->duplicates);
        json_put_integer(&w, "binary_files", summary->passed_over.binary_files);
        json_put_integer(&w, "empty_documents", summary->passed_over.empty_documents);
        json_put_integer(&w, "bad_lines", summary->passed_over.bad_lines);
        put_shard(&w, "train", &d->domain[i].train);
        put_shard(&w, "validation", &d->domain[i].validation);
        json_end_object(&w);
    }
    json_end_array(&w);
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    int status = text.status;
    if (status == LAMP_OK) status = file_join(path, folder, "manifest.json");
    if (status == LAMP_OK) status = file_write_whole(path, text.bytes, text.length);
    buffer_release(&text);
    return status;
}

typedef struct {
    dataset *d;
    const char *folder, *path; /* of the dataset and of its manifest.json; borrowed */
} manifest_reader;

static int open_shard(const manifest_reader *r, shard *s, const json_t *domain, const char *name, const char *side) {
    char file[DOMAIN_NAME_BYTES + 32], path[PATH_BYTES];
    json_t *entry;
    int64_t n_tokens, file_bytes;
    TRY(json_get_object(&entry, domain, side, r->path));
    TRY(json_get_integer(&n_tokens, entry, "tokens", 0, INT64_MAX, r->path));
    TRY(json_get_integer(&file_bytes, entry, "file_bytes", 0, INT64_MAX, r->path));
    snprintf(file, sizeof file, "%s.%s.tokens", name, side);
    TRY(file_join(path, r->folder, file));
    TRY(shard_open(s, path, r->d->vocabulary_size));
    if (s->n != n_tokens || (int64_t)s->map.length != file_bytes)
        FAIL(LAMP_MALFORMED, "%s: expected %lld tokens in %lld bytes of %s, found %lld in %zu", r->path, (long long)n_tokens, (long long)file_bytes,
             file, (long long)s->n, s->map.length);
    return LAMP_OK;
}

/* Datasets made before this was counted do not have the key. */
static int get_count(int64_t *count, const json_t *domain, const char *key, const char *where) {
    return json_object_get(domain, key) ? json_get_integer(count, domain, key, 0, INT64_MAX, where) : LAMP_OK;
}

static int open_domain(const manifest_reader *r, const json_t *domain) {
    const char *name;
    TRY(json_get_text(&name, domain, "name", r->path));
    if (domain_check_name(name) < 0) return error_add_context(LAMP_MALFORMED, "%s", r->path);
    if (dataset_find_domain(r->d, name) >= 0) FAIL(LAMP_MALFORMED, "%s: domain %s stands there twice", r->path, name);
    int i = r->d->n_domains++;
    domain_summary *summary = &r->d->domain[i].summary;
    strcpy(summary->name, name);
    TRY(json_get_integer(&summary->documents, domain, "documents", 0, INT64_MAX, r->path));
    TRY(json_get_integer(&summary->bytes, domain, "bytes", 0, INT64_MAX, r->path));
    TRY(json_get_integer(&summary->duplicates, domain, "duplicates", 0, INT64_MAX, r->path));
    TRY(json_get_integer(&summary->passed_over.binary_files, domain, "binary_files", 0, INT64_MAX, r->path));
    TRY(get_count(&summary->passed_over.empty_documents, domain, "empty_documents", r->path));
    TRY(get_count(&summary->passed_over.bad_lines, domain, "bad_lines", r->path));
    TRY(open_shard(r, &r->d->domain[i].train, domain, name, "train"));
    TRY(open_shard(r, &r->d->domain[i].validation, domain, name, "validation"));
    summary->train_tokens = r->d->domain[i].train.n;
    summary->validation_tokens = r->d->domain[i].validation.n;
    return LAMP_OK;
}

static int open_tokenizer(const manifest_reader *r, const char *expected_hash) {
    char path[PATH_BYTES];
    mapped_file map;
    TRY(file_join(path, r->folder, "tokenizer.json"));
    TRY(file_map(&map, path));
    hash_to_text(r->d->tokenizer_hash, hash_bytes(map.bytes, map.length));
    file_unmap(&map);
    if (strcmp(r->d->tokenizer_hash, expected_hash))
        FAIL(LAMP_MALFORMED, "%s: not the tokenizer this dataset was made with: its content hash differs", path);
    TRY(tokenizer_folder_read(&r->d->tokenizer, r->folder));
    int found = tokenizer_vocabulary_size(r->d->tokenizer);
    if (found != r->d->vocabulary_size)
        FAIL(LAMP_MALFORMED, "%s: expected a vocabulary of %d as in manifest.json, found %d", path, r->d->vocabulary_size, found);
    return LAMP_OK;
}

static int read_manifest(const manifest_reader *r, const json_t *manifest) {
    int64_t version, vocabulary_size;
    const char *tokenizer_hash;
    json_t *domains, *domain;
    size_t i;
    TRY(json_get_integer(&version, manifest, "version", 0, INT64_MAX, r->path));
    if (version != VERSION) FAIL(LAMP_UNSUPPORTED, "%s: version %lld; this program reads version %d", r->path, (long long)version, VERSION);
    TRY(json_get_integer(&vocabulary_size, manifest, "vocabulary_size", 1, INT32_MAX, r->path));
    r->d->vocabulary_size = (int)vocabulary_size;
    TRY(json_get_text(&tokenizer_hash, manifest, "tokenizer_hash", r->path));
    TRY(open_tokenizer(r, tokenizer_hash));
    TRY(json_get_array(&domains, manifest, "domains", r->path));
    if (json_array_size(domains) < 1 || json_array_size(domains) > DATASET_DOMAINS)
        FAIL(LAMP_MALFORMED, "%s: expected 1 to %d domains, found %zu", r->path, DATASET_DOMAINS, json_array_size(domains));
    json_array_foreach(domains, i, domain) TRY(open_domain(r, domain));
    return LAMP_OK;
}

int dataset_open(dataset **d, const char *folder) {
    int status = LAMP_OK;
    char path[PATH_BYTES];
    mapped_file map = {0};
    json_t *manifest = NULL;
    *d = NULL;
    TRY(file_join(path, folder, "manifest.json"));
    if (!file_exists(path)) FAIL(LAMP_IO, "%s: not a dataset: it has no manifest.json; make one with lamp data build", folder);
    TRY_TO(done, file_map(&map, path));
    TRY_TO(done, json_read_bytes(&manifest, map.bytes, map.length, path));
    TRY_TO(done, memory_new(d, 1, sizeof **d, "a dataset"));
    hash_to_text((*d)->hash, hash_bytes(map.bytes, map.length));
    TRY_TO(done, read_manifest(&(manifest_reader){*d, folder, path}, manifest));
done:
    json_decref(manifest);
    file_unmap(&map);
    if (status < 0) dataset_free(*d), *d = NULL;
    return status;
}

void dataset_free(dataset *d) {
    if (!d) return;
    for (int i = 0; i < d->n_domains; i++) shard_release(&d->domain[i].train), shard_release(&d->domain[i].validation);
    tokenizer_free(d->tokenizer);
    memory_free(d);
}

int dataset_check_tokenizer(const dataset *d, const char *tokenizer_path) {
    mapped_file map;
    char hash[HASH_TEXT_BYTES];
    TRY(file_map(&map, tokenizer_path));
    hash_to_text(hash, hash_bytes(map.bytes, map.length));
    file_unmap(&map);
    if (strcmp(hash, d->tokenizer_hash))
        FAIL(LAMP_INVALID, "%s is not the tokenizer of this dataset: the model cannot read its tokens", tokenizer_path);
    return LAMP_OK;
}
