/* Text of unknown origin as something that only shows: a control character does nothing, broken UTF-8 becomes U+FFFD. */
#ifndef READABLE_H
#define READABLE_H

#include "base/buffer.h"

/* On one line, line ends and tabs as \n and \t; as the lines it has; or as these within HTML or SVG, attributes included. */
typedef enum { READABLE_LINE, READABLE_LINES, READABLE_MARKUP } readable_form;

void append_readable(buffer *out, readable_form form, const char *text, size_t length);

/* Columns of a terminal, if every character takes one. */
int count_columns(const char *text);

#endif
