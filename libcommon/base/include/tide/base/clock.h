/* The two clocks. Cores never call them: time is passed in. */
#ifndef TIDE_BASE_CLOCK_H
#define TIDE_BASE_CLOCK_H

#include <stdint.h>

int64_t tide_clock_wall_ms(void); /* Milliseconds since 1970, UTC. */
int64_t tide_clock_mono_ns(void); /* Monotonic; only differences mean anything. */
static inline int64_t tide_clock_mono_ms(void)
{
    return tide_clock_mono_ns() / 1000000;
}

#endif
