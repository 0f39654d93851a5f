#include "base/human.h"

#include <stdio.h>

const char *human_count(char text[HUMAN_BYTES], double number) {
    static const char units[] = {0, 'k', 'M', 'G', 'T', 'P'};
    int unit = 0;
    while (number >= 999.5 && unit < 5) number /= 1000, unit++;
    if (unit == 0) snprintf(text, HUMAN_BYTES, "%.0f", number);
    else snprintf(text, HUMAN_BYTES, "%.*f%c", number < 9.995 ? 2 : number < 99.95 ? 1 : 0, number, units[unit]);
    return text;
}

const char *human_duration(char text[HUMAN_BYTES], double seconds) {
    long long s = seconds > 0 ? (long long)(seconds + 0.5) : 0;
    if (s < 60) snprintf(text, HUMAN_BYTES, "%llds", s);
    else if (s < 3600) snprintf(text, HUMAN_BYTES, "%lldm%02llds", s / 60, s % 60);
    else snprintf(text, HUMAN_BYTES, "%lldh%02lldm", s / 3600, s / 60 % 60);
    return text;
}
