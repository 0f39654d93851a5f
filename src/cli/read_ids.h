/* Token ids from a text file: integers separated by white space. */
#ifndef READ_IDS_H
#define READ_IDS_H

#include "text/tokenizer.h"

/* path NULL or "-": standard input. LAMP_MALFORMED names the line of what is not an id. */
int read_ids(token_list *ids, const char *path);

#endif
