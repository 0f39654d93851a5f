/* Time that only moves forward, in seconds. */
#ifndef CLOCK_H
#define CLOCK_H

double clock_seconds(void);

#endif
