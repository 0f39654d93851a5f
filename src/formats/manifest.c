#include "formats/manifest.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/error.h"
#include "base/file.h"
#include "formats/safetensors.h"

static const char format[] = "lamplighter checkpoint";
enum { VERSION = 2, ANY_STEP = -1, HASH_DIGITS = HASH_TEXT_BYTES - 1 };

/* How the text ends: the hash of what stands before. */
static const char end_format[] = ",\n  \"hash\": \"%s\"\n}\n";
enum { END_BYTES = sizeof end_format - 1 - (sizeof "%s" - 1) + HASH_DIGITS };

void manifest_begin(manifest *m, int64_t step) {
    *m = (manifest){0};
    m->json = (json_writer){.out = &m->text, .indented = true};
    json_begin_object(&m->json, NULL);
    json_put_text(&m->json, "format", format);
    json_put_integer(&m->json, "version", VERSION);
    json_put_integer(&m->json, "step", step);
    json_begin_array(&m->json, "files");
}

static void put_hash(json_writer *w, const char *key, hash128 hash) {
    char digits[HASH_TEXT_BYTES];
    hash_to_text(digits, hash);
    json_put_text(w, key, digits);
}

void manifest_add(manifest *m, const char *name, int64_t bytes, hash128 hash, const safetensors_writer *tensors) {
    json_begin_object(&m->json, NULL);
    json_put_text(&m->json, "name", name);
    json_put_integer(&m->json, "bytes", bytes);
    put_hash(&m->json, "hash", hash);
    if (tensors) {
        size_t n;
        const safetensors_written *tensor = safetensors_writer_tensors(&n, tensors);
        json_begin_object(&m->json, "tensors");
        for (size_t i = 0; i < n; i++) put_hash(&m->json, tensor[i].name, tensor[i].hash);
        json_end_object(&m->json);
    }
    json_end_object(&m->json);
}

int manifest_write(manifest *m, const char *folder) {
    char path[PATH_BYTES], digits[HASH_TEXT_BYTES];
    json_end_array(&m->json);
    TRY(m->text.status);
    hash_to_text(digits, hash_bytes(m->text.bytes, m->text.length));
    TRY(buffer_printf(&m->text, end_format, digits));
    TRY(file_join(path, folder, "manifest.json"));
    return file_write_whole(path, m->text.bytes, m->text.length);
}

void manifest_release(manifest *m) { buffer_release(&m->text); }

bool manifest_exists(const char *folder) {
    char path[PATH_BYTES];
    return file_join(path, folder, "manifest.json") >= 0 && file_exists(path);
}

enum { DAMAGE_BYTES = 256 };

/* Which of the tensors are not what they were; if all are, it is the header. */
static int compare_tensors(char damage[DAMAGE_BYTES], const safetensors *file, const json_t *tensors, const char *where) {
    const char *name, *expected;
    json_t *value;
    int damaged = 0, written = 0;
    json_object_foreach((json_t *)(uintptr_t)tensors, name, value) {
        char found[HASH_TEXT_BYTES];
        const safetensors_entry *entry = safetensors_find(file, name);
        if (!entry) return LAMP_OK;
        TRY(json_get_word(&expected, tensors, name, where));
        hash_to_text(found, hash_bytes(entry->bytes, (size_t)(entry->end - entry->begin)));
        if (!strcmp(found, expected) || damaged++) continue;
        ptrdiff_t first = entry->bytes - file->map.bytes;
        written = snprintf(damage, DAMAGE_BYTES, "in tensor %.160s (bytes %td to %td)", name, first, first + (entry->end - entry->begin) - 1);
    }
    if (damaged > 1) snprintf(damage + written, (size_t)(DAMAGE_BYTES - written), " and %d more", damaged - 1);
    return LAMP_OK;
}

static int find_damage(char damage[DAMAGE_BYTES], const char *path, const json_t *tensors, const char *where) {
    safetensors *file;
    snprintf(damage, DAMAGE_BYTES, "in its header");
    int status = safetensors_open(&file, path);
    if (status == LAMP_MALFORMED || status == LAMP_UNSUPPORTED) return LAMP_OK;
    TRY(status);
    status = compare_tensors(damage, file, tensors, where);
    safetensors_close(file);
    return status;
}

/* Of the file but for `end` bytes at its end. tensors, where the manifest lists them, say what is damaged. */
static int check_hash(const char *path, size_t end, const char *expected, const json_t *tensors, const char *where) {
    mapped_file map;
    char found[HASH_TEXT_BYTES], damage[DAMAGE_BYTES] = "";
    TRY(file_map(&map, path));
    hash_to_text(found, hash_bytes(map.bytes, map.length > end ? map.length - end : 0));
    file_unmap(&map);
    if (!strcmp(found, expected)) return LAMP_OK;
    if (tensors) TRY(find_damage(damage, path, tensors, where));
    FAIL(LAMP_CHECKPOINT, "%s: damaged since it was saved%s%s: expected hash %.40s, found %s; use an older checkpoint", path, *damage ? ", " : "",
         damage, expected, found);
}

static int check_itself(const json_t *root, const char *path) {
    const char *expected;
    TRY(json_get_word(&expected, root, "hash", path));
    return check_hash(path, END_BYTES, expected, NULL, path);
}

static int check_file(const char *folder, const json_t *file, bool hashes, const char *where) {
    const char *name, *hash;
    int64_t expected, found;
    char path[PATH_BYTES];
    TRY(json_get_word(&name, file, "name", where));
    TRY(json_get_integer(&expected, file, "bytes", 0, INT64_MAX, where));
    TRY(json_get_word(&hash, file, "hash", where));
    if (!*name || *name == '.' || strchr(name, '/'))
        FAIL(LAMP_MALFORMED, "%s: \"name\": expected plain file names inside the folder, found \"%.100s\"", where, name);
    TRY(file_join(path, folder, name));
    if (!file_exists(path)) FAIL(LAMP_CHECKPOINT, "%s: expected this file, as %s says, found nothing", path, where);
    TRY(file_size(&found, path));
    if (found != expected)
        FAIL(LAMP_CHECKPOINT, "%s: expected %" PRId64 " bytes, found %" PRId64 "; use an older checkpoint", path, expected, found);
    return hashes ? check_hash(path, 0, hash, json_object_get(file, "tensors"), where) : LAMP_OK;
}

/* What makes a folder a model: a manifest that leaves it out would vouch for nothing. */
static const char *const essential[] = {"config.json", "model.safetensors"};
enum { N_ESSENTIAL = sizeof essential / sizeof *essential };

static int check_files(const char *folder, const json_t *files, bool hashes, const char *where) {
    const json_t *file;
    size_t i;
    bool listed[N_ESSENTIAL] = {false};
    json_array_foreach(files, i, file) {
        TRY(check_file(folder, file, hashes, where));
        for (int j = 0; j < N_ESSENTIAL; j++) listed[j] |= !strcmp(json_string_value(json_object_get(file, "name")), essential[j]);
    }
    for (int j = 0; j < N_ESSENTIAL; j++)
        if (!listed[j]) FAIL(LAMP_MALFORMED, "%s: \"files\": expected %s among them, found it left out", where, essential[j]);
    return LAMP_OK;
}

static int check(const char *folder, int64_t step, const json_t *root, bool hashes, const char *where) {
    const char *found;
    int64_t version, saved;
    json_t *files;
    TRY(json_get_word(&found, root, "format", where));
    if (strcmp(found, format)) FAIL(LAMP_MALFORMED, "%s: \"format\": expected \"%s\", found \"%.60s\"", where, format, found);
    TRY(json_get_integer(&version, root, "version", 1, INT64_MAX, where));
    if (version > VERSION)
        FAIL(LAMP_UNSUPPORTED, "%s: \"version\": expected at most %d, found %" PRId64 ": of a newer Lamplighter", where, VERSION, version);
    if (hashes && version > 1) TRY(check_itself(root, where));
    TRY(json_get_integer(&saved, root, "step", 0, INT64_MAX, where));
    if (step != ANY_STEP && saved != step)
        FAIL(LAMP_CHECKPOINT, "%s: \"step\": expected %" PRId64 " as the folder is called, found %" PRId64 ": moved by hand?", where, step, saved);
    TRY(json_get_array(&files, root, "files", where));
    return check_files(folder, files, hashes, where);
}

static int check_folder(const char *folder, int64_t step, bool hashes) {
    char path[PATH_BYTES];
    json_t *root;
    TRY(file_join(path, folder, "manifest.json"));
    if (!file_exists(path)) FAIL(LAMP_CHECKPOINT, "%s: expected manifest.json, found none: not a finished checkpoint", folder);
    TRY(json_read_file(&root, path));
    int status = check(folder, step, root, hashes, path);
    json_decref(root);
    return status;
}

int manifest_check(const char *folder, bool hashes) { return check_folder(folder, ANY_STEP, hashes); }

int manifest_check_step(const char *folder, int64_t step, bool hashes) { return check_folder(folder, step, hashes); }
