/* The library talks through one callback; without one it is silent. Only cli/ installs a callback and prints. */
#ifndef LOG_H
#define LOG_H

#include <stdint.h>

typedef enum { LOG_INFO, LOG_WARNING, LOG_PROGRESS } log_level;

typedef void log_sink(void *context, log_level level, const char *text);

void log_set_sink(log_sink *sink, void *context);

/* One line, without its newline. */
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* A state of long work that replaces the one before ("tokenizer: 40 %"): the sink decides how often it is shown. */
void log_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
