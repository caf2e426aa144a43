/* Durations, sizes and numbers as people write them. */
#include "base/base.h"

#include <ctype.h>
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <stdlib.h>
#include <strings.h>

struct unit {
    const char *name;
    double factor;
};

/* "1.5h": a number and a unit from the table; a missing unit is the table's first row. */
static int parse_with_unit(const char *text, const struct unit *units, size_t count,
                           const char *what, double *ret, struct error **err) {
    size_t digits = strspn(text, "0123456789.");
    OWN_STRING number = memory_copy_bytes(text, digits);
    if (!number)
        return error_set_memory(err);
    double value;
    if (!digits || text_parse_number(number, &value, NULL) < 0)
        return error_set(err, ERROR_INVALID, "\"%s\" is not a %s", text, what);
    const char *unit = text + digits;
    while (*unit == ' ')
        unit++;
    for (size_t i = 0; i < count; i++) {
        if (strcasecmp(unit, units[i].name) == 0) {
            *ret = value * units[i].factor;
            return 0;
        }
    }
    return error_set(err, ERROR_INVALID, "\"%s\" is not a %s: unknown unit \"%s\"", text, what,
                     unit);
}

int text_parse_duration(const char *text, int64_t *ret_milliseconds, struct error **err) {
    static const struct unit units[] = {
        {"", 1000},     {"ms", 1},      {"s", 1000},     {"sec", 1000},    {"m", 60000},
        {"min", 60000}, {"h", 3600000}, {"d", 86400000}, {"w", 604800000},
    };
    double value;
    if (parse_with_unit(text, units, ARRAY_SIZE(units), "duration", &value, err) < 0)
        return error_hint(err, "write it like 90s, 15m, 2h or 1d");
    if (value > 1e15)
        return error_set(err, ERROR_INVALID, "\"%s\" is too long a time", text);
    *ret_milliseconds = (int64_t)llround(value);
    return 0;
}

int text_parse_size(const char *text, uint64_t *ret_bytes, struct error **err) {
    static const struct unit units[] = {
        {"", 1},
        {"b", 1},
        {"k", 1024.0},
        {"m", 1048576.0},
        {"g", 1073741824.0},
        {"t", 1099511627776.0},
        {"ki", 1024.0},
        {"mi", 1048576.0},
        {"gi", 1073741824.0},
        {"ti", 1099511627776.0},
        {"kib", 1024.0},
        {"mib", 1048576.0},
        {"gib", 1073741824.0},
        {"tib", 1099511627776.0},
        {"kb", 1e3},
        {"mb", 1e6},
        {"gb", 1e9},
        {"tb", 1e12},
    };
    double value;
    if (parse_with_unit(text, units, ARRAY_SIZE(units), "size", &value, err) < 0)
        return error_hint(err, "write it like 512MiB, 4GiB or 10GB");
    if (value > 1e18)
        return error_set(err, ERROR_INVALID, "\"%s\" is too large", text);
    *ret_bytes = (uint64_t)llround(value);
    return 0;
}

int text_parse_integer(const char *text, int64_t minimum, int64_t maximum, int64_t *ret_value,
                       struct error **err) {
    char *end = NULL;
    errno = 0;
    long long value = strtoll(text, &end, 10);
    if (!isdigit((unsigned char)text[text[0] == '-' || text[0] == '+']) || *end)
        return error_set(err, ERROR_INVALID, "\"%s\" is not a whole number", text);
    if (errno == ERANGE || value < minimum || value > maximum)
        return error_set(err, ERROR_INVALID, "%s is not between %lld and %lld", text,
                         (long long)minimum, (long long)maximum);
    *ret_value = value;
    return 0;
}

int text_parse_number(const char *text, double *ret_value, struct error **err) {
    locale_t plain = newlocale(LC_NUMERIC_MASK, "C", (locale_t)0);
    if (!plain)
        return error_set_memory(err);
    char *end = NULL;
    double value = strtod_l(text, &end, plain);
    freelocale(plain);
    bool odd = !*text || isspace((unsigned char)*text) || strpbrk(text, "xXnN");
    if (odd || *end || !isfinite(value))
        return error_set(err, ERROR_INVALID, "\"%s\" is not a number", text);
    *ret_value = value;
    return 0;
}

void text_format_size(struct buffer *buffer, uint64_t bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double value = (double)bytes;
    size_t unit = 0;
    while (value >= 1024 && unit + 1 < ARRAY_SIZE(units)) {
        value /= 1024;
        unit++;
    }
    buffer_format(buffer, unit ? "%.1f %s" : "%.0f %s", value, units[unit]);
}

void text_format_duration(struct buffer *buffer, int64_t milliseconds) {
    if (milliseconds < 0) /* the clock was set back meanwhile */
        milliseconds = 0;
    int64_t seconds = milliseconds / 1000;
    if (milliseconds < 10000)
        buffer_format(buffer, "%.1fs", (double)milliseconds / 1000);
    else if (seconds < 60)
        buffer_format(buffer, "%llds", (long long)seconds);
    else if (seconds < 3600)
        buffer_format(buffer, "%lldm %02llds", (long long)seconds / 60, (long long)seconds % 60);
    else if (seconds < 86400)
        buffer_format(buffer, "%lldh %02lldm", (long long)seconds / 3600,
                      (long long)seconds / 60 % 60);
    else
        buffer_format(buffer, "%lldd %02lldh", (long long)seconds / 86400,
                      (long long)seconds / 3600 % 24);
}
