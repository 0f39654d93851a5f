#include "data/quarantine.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/json.h"

enum { KEPT_BYTES = 64 << 10 };

static int quarantine_open(quarantine *q, const char *folder) {
    char path[PATH_BYTES];
    TRY(file_join(path, folder, "quarantine.jsonl"));
    if (!(q->file = fopen(path, "wbe"))) FAIL(LAMP_IO, "%s: cannot create: %s", path, strerror(errno));
    return LAMP_OK;
}

int quarantine_add(quarantine *q, const char *folder, const corpus_bad_line *bad, const char *problem) {
    buffer text = {0};
    json_writer w = {.out = &text};
    if (!q->file) TRY(quarantine_open(q, folder));
    json_begin_object(&w, NULL);
    json_put_text(&w, "file", bad->file);
    json_put_integer(&w, "line", bad->line);
    json_put_text(&w, "problem", problem);
    json_put_bytes(&w, "content", bad->bytes, bad->length < KEPT_BYTES ? bad->length : KEPT_BYTES);
    json_end_object(&w);
    buffer_append_byte(&text, '\n');
    int status = text.status;
    if (status == LAMP_OK && fwrite(text.bytes, 1, text.length, q->file) != text.length)
        status = error_set(LAMP_IO, "quarantine.jsonl: cannot write: %s", strerror(errno));
    buffer_release(&text);
    return status;
}

int quarantine_finish(quarantine *q) {
    if (q->file && (fflush(q->file) || fsync(fileno(q->file)))) FAIL(LAMP_IO, "quarantine.jsonl: cannot write: %s", strerror(errno));
    return LAMP_OK;
}

void quarantine_release(quarantine *q) {
    if (q->file) fclose(q->file);
    *q = (quarantine){0};
}
