/* A text with every token in the colour of its expert, the heaviest where it has several: on a terminal, as a page, or where there are no
 * colours with the expert's number wherever it changes. Eight colours that colour-blind readers can tell apart (Okabe and Ito 2008), in four
 * styles; of more than 32 experts some look alike, and the legend and the page's hints have their numbers. */
#ifndef COLOUR_TEXT_H
#define COLOUR_TEXT_H

#include "base/json.h"
#include "inspect/routed_text.h"

void append_coloured_text(buffer *out, const routed_text *r, const tokenizer *words, bool colours);
void append_coloured_page(buffer *out, const routed_text *r, const tokenizer *words, const char *title); /* needs nothing from elsewhere, and no script */
void json_put_routed_text(json_writer *w, const routed_text *r, const tokenizer *words);

#endif
