#include "base/problems.h"

#include "base/error.h"

void problems_add(problem_list *p, int status) {
    if (status >= 0) return;
    if (p->n == 0) p->status = status;
    if (p->n++ < PROBLEMS_LISTED) buffer_printf(&p->text, "%s%s", p->n > 1 ? "\n" : "", lamp_error_message());
}

int problems_end(problem_list *p) {
    int status = p->status;
    if (p->n > PROBLEMS_LISTED) buffer_printf(&p->text, "\nand %d more", p->n - PROBLEMS_LISTED);
    if (p->n > 0) status = p->text.status < 0 ? p->text.status : error_set(p->status, "%s", p->text.bytes);
    buffer_release(&p->text);
    *p = (problem_list){0};
    return status;
}
