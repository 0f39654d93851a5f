/* Lamplighter: trains, inspects and runs sparse mixture-of-experts models.
 *
 * Every function that can fail returns 0 or a negative lamp_status and leaves a sentence in lamp_error_message(). A result goes through
 * the first pointer. The library never prints and never exits. */
#ifndef LAMP_H
#define LAMP_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LAMP_API __attribute__((visibility("default")))

/* The exit code of `lamp` is the status with its sign turned. */
typedef enum lamp_status {
    LAMP_OK = 0,
    LAMP_FAILURE = -1,
    LAMP_INVALID = -2,      /* wrong arguments: usage */
    LAMP_MALFORMED = -3,    /* a file breaks its own format */
    LAMP_UNSUPPORTED = -4,  /* a sound file asks for something this version lacks */
    LAMP_DIVERGED = -5,     /* the loss or the gradient is no longer finite */
    LAMP_NO_MEMORY = -6,
    LAMP_RANK_LOST = -7,
    LAMP_IO = -8,
    LAMP_CHECKPOINT = -9,   /* no usable checkpoint */
    LAMP_INTERRUPTED = -75  /* stopped by a signal; what was asked to be kept is saved */
} lamp_status;

/* The last failure on this thread: what, where, expected, found, what to try. Never NULL. */
LAMP_API const char *lamp_error_message(void);

LAMP_API const char *lamp_version(void);

#ifdef __cplusplus
}
#endif
#endif
