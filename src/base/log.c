#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>

static log_sink *current_sink;
static void *sink_context;

void log_set_sink(log_sink *sink, void *context) { current_sink = sink, sink_context = context; }

static void log_text(log_level level, const char *format, va_list arguments) {
    char text[4096];
    if (!current_sink) return;
    vsnprintf(text, sizeof text, format, arguments);
    current_sink(sink_context, level, text);
}

void log_info(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    log_text(LOG_INFO, format, arguments);
    va_end(arguments);
}

void log_warning(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    log_text(LOG_WARNING, format, arguments);
    va_end(arguments);
}

void log_progress(const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    log_text(LOG_PROGRESS, format, arguments);
    va_end(arguments);
}
