/* A report as one HTML page that needs nothing else: pictures, numbers and text of a run. */
#ifndef REPORT_PAGE_H
#define REPORT_PAGE_H

#include "base/buffer.h"
#include "cli/report_facts.h"

/* experts: a table made by append_profiles_table, or NULL. LAMP_MALFORMED, if a file of the run cannot be read. */
int report_page(buffer *out, const report_facts *f, const buffer *experts);

/* Its parts about health (report_findings.c) and routing (report_routing.c). */
void put_verdict(buffer *out, const report_facts *f);
int put_time_line(buffer *out, const report_facts *f);
void put_routing_sections(buffer *out, const report_facts *f);

#endif
