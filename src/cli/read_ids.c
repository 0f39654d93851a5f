#include "cli/read_ids.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "cli/cli.h"

static int parse(token_list *ids, const char *text, const char *name) {
    long line = 1;
    for (const char *p = text;;) {
        while (isspace((unsigned char)*p)) line += *p++ == '\n';
        if (!*p) return LAMP_OK;
        char *end;
        errno = 0;
        long id = strtol(p, &end, 10);
        int shown = (int)strcspn(p, " \t\r\n");
        if (end == p || (*end && !isspace((unsigned char)*end)) || errno || id < 0 || id > INT32_MAX)
            FAIL(LAMP_MALFORMED, "%s: line %ld: expected a token id, found \"%.*s\"", name, line, shown < 20 ? shown : 20, p);
        TRY(token_list_append(ids, (int32_t)id));
        p = end;
    }
}

int read_ids(token_list *ids, const char *path) {
    buffer text = {0};
    int status = cli_read_all(&text, path);
    if (status >= 0) status = parse(ids, text.bytes, path ? path : "standard input");
    buffer_release(&text);
    return status;
}
