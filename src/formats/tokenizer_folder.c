#include "formats/tokenizer_folder.h"

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "formats/checkpoint.h"
#include "formats/gguf.h"
#include "formats/gguf_tokenizer.h"
#include "formats/tokenizer_json.h"
#include "formats/tokenizer_sections.h"

static const char TOKENIZER[] = "tokenizer.json", CONFIG[] = "tokenizer_config.json";

bool tokenizer_folder_has_one(const char *folder) {
    char path[PATH_BYTES];
    return file_join(path, folder, TOKENIZER) >= 0 && file_exists(path);
}

/* The id of the token that root[key] names; -1 if it names none, or one that only the library would add. */
static int read_name(int32_t *id, const tokenizer *t, const json_t *root, const char *key, const char *path) {
    const json_t *value = json_object_get(root, key);
    const char *name;
    *id = -1;
    if (section_lacks(value)) return LAMP_OK;
    if (json_is_object(value)) TRY(json_get_word(&name, value, "content", path));
    else TRY(json_get_word(&name, root, key, path));
    *id = tokenizer_find_name(t, name);
    return LAMP_OK;
}

static int read_config(tokenizer *t, const json_t *root, const char *path) {
    int32_t begin, end;
    bool adds_begin, adds_end;
    if (!json_is_object(root)) FAIL(LAMP_MALFORMED, "%s: expected an object, found something else", path);
    TRY(read_name(&begin, t, root, "bos_token", path));
    TRY(read_name(&end, t, root, "eos_token", path));
    TRY(section_flag(&adds_begin, root, "add_bos_token", false, path));
    TRY(section_flag(&adds_end, root, "add_eos_token", false, path));
    if (end >= 0) t->end_of_text = end;
    if (t->begin.length + t->end.length > 0) return LAMP_OK;
    if (adds_begin && begin >= 0) TRY(token_list_append(&t->begin, begin));
    return adds_end && end >= 0 ? token_list_append(&t->end, end) : LAMP_OK;
}

static int read_config_file(tokenizer *t, const char *path) {
    json_t *root;
    TRY(section_read_source(&root, &t->config_source, path));
    int status = read_config(t, root, path);
    json_decref(root);
    return status;
}

int tokenizer_folder_read(tokenizer **result, const char *folder) {
    char path[PATH_BYTES];
    tokenizer *t = NULL;
    TRY(file_join(path, folder, TOKENIZER));
    TRY(tokenizer_json_read(&t, path));
    int status = file_join(path, folder, CONFIG);
    if (status >= 0 && file_exists(path)) status = read_config_file(t, path);
    if (status < 0) tokenizer_free(t);
    else *result = t;
    return status;
}

int tokenizer_open(tokenizer **t, const char *name) {
    char folder[PATH_BYTES];
    if (gguf_is_named(name)) {
        TRY(gguf_read_tokenizer_of(t, name));
        if (!*t) FAIL(LAMP_CHECKPOINT, "%s: expected a tokenizer, found none", name);
        return LAMP_OK;
    }
    if (!file_is_folder(name)) return tokenizer_json_read(t, name);
    if (tokenizer_folder_has_one(name)) return tokenizer_folder_read(t, name);
    TRY(checkpoint_resolve(folder, name));
    return tokenizer_folder_read(t, folder);
}

int tokenizer_folder_write(const tokenizer *t, const char *folder) {
    char path[PATH_BYTES];
    TRY(file_join(path, folder, TOKENIZER));
    TRY(tokenizer_json_write(t, path));
    if (t->config_source.length == 0) return LAMP_OK;
    TRY(file_join(path, folder, CONFIG));
    return file_write_whole(path, t->config_source.bytes, t->config_source.length);
}
