/* Numbers as a person reads them. */
#ifndef HUMAN_H
#define HUMAN_H

enum { HUMAN_BYTES = 32 };

const char *human_count(char text[HUMAN_BYTES], double number);     /* 1234567 -> "1.23M" */
const char *human_duration(char text[HUMAN_BYTES], double seconds); /* 75 -> "1m15s" */

#endif
