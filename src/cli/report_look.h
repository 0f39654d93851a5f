/* How a report looks and moves: its style sheet and its script. The page allows this one script, by its hash, and nothing else that acts or
 * loads, so that nothing a run says can become a program. tests/cli/cases/report.txt says which hash is right after a change. */
#ifndef REPORT_LOOK_H
#define REPORT_LOOK_H

extern const char report_style[], report_script[], report_script_hash[];

#endif
