/* Streams settings and tensors into a GGUF file (its layout: formats/gguf.h): put every setting, declare every tensor, then write the bytes of
 * all in the same order, in runs of any length.
 *
 * finish syncs the file; the caller gives it its name. */
#ifndef GGUF_WRITER_H
#define GGUF_WRITER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "formats/gguf.h"

typedef struct gguf_writer gguf_writer;

int gguf_writer_new(gguf_writer **writer, const char *path);
void gguf_writer_free(gguf_writer *writer);

/* A failure is remembered: the first write returns it. */
void gguf_put_integer(gguf_writer *writer, const char *key, uint32_t value);
void gguf_put_number(gguf_writer *writer, const char *key, double value); /* as f32 */
void gguf_put_bool(gguf_writer *writer, const char *key, bool value);
void gguf_put_text(gguf_writer *writer, const char *key, const char *bytes, size_t length);

/* An array, and then its n items. */
void gguf_begin_array(gguf_writer *writer, const char *key, gguf_setting_type item, uint64_t n);
void gguf_put_item_text(gguf_writer *writer, const char *bytes, size_t length);
void gguf_put_item(gguf_writer *writer, const void *value); /* of the item's type */

int gguf_declare(gguf_writer *writer, const char *tensor, int number, int rank, const int64_t *dimension);
int gguf_write(gguf_writer *writer, const void *bytes, size_t n);
int gguf_finish(gguf_writer *writer);

#endif
