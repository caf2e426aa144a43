/* UTF-8, printable text, and the nearest of some names. */
#include "base/base.h"

#include <ctype.h>
#include <wchar.h>

bool text_starts_with(const char *text, const char *prefix) {
    return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool text_ends_with(const char *text, const char *suffix) {
    size_t text_size = strlen(text), size = strlen(suffix);
    return text_size >= size && memcmp(text + text_size - size, suffix, size) == 0;
}

/* Length of the UTF-8 character at `text`, 0 when it is not one. *ret is its code point. */
static size_t utf8_decode(const unsigned char *text, size_t size, uint32_t *ret) {
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (!size)
        return 0;
    unsigned char c = text[0];
    size_t length = c < 0x80 ? 1 : c >> 5 == 6 ? 2 : c >> 4 == 14 ? 3 : c >> 3 == 30 ? 4 : 0;
    if (!length || length > size)
        return 0;
    uint32_t point = length == 1 ? c : c & (0xffu >> (length + 1));
    for (size_t i = 1; i < length; i++) {
        if ((text[i] & 0xc0) != 0x80)
            return 0;
        point = point << 6 | (text[i] & 0x3f);
    }
    if (point < least[length] || point > 0x10ffff || (point >= 0xd800 && point < 0xe000))
        return 0;
    *ret = point;
    return length;
}

bool text_is_utf8(const char *text, size_t size) {
    uint32_t point;
    for (size_t at = 0; at < size;) {
        size_t length = utf8_decode((const unsigned char *)text + at, size - at, &point);
        if (!length)
            return false;
        at += length;
    }
    return true;
}

/* Ranges of East Asian wide and emoji characters, coarse: good enough to align columns. */
static size_t point_width(uint32_t point) {
    if (point < 0x20 || (point >= 0x7f && point < 0xa0) || (point >= 0x300 && point < 0x370) ||
        (point >= 0x200b && point <= 0x200f) || (point >= 0xfe00 && point <= 0xfe0f))
        return 0;
    bool wide = (point >= 0x1100 && point <= 0x115f) || (point >= 0x2e80 && point <= 0xa4cf) ||
                (point >= 0xac00 && point <= 0xd7a3) || (point >= 0xf900 && point <= 0xfaff) ||
                (point >= 0xfe30 && point <= 0xfe6f) || (point >= 0xff00 && point <= 0xff60) ||
                (point >= 0x1f300 && point <= 0x1faff) || (point >= 0x20000 && point <= 0x3fffd);
    return wide ? 2 : 1;
}

size_t text_width(const char *text) {
    size_t width = 0, size = strlen(text);
    uint32_t point;
    for (size_t at = 0; at < size;) {
        size_t length = utf8_decode((const unsigned char *)text + at, size - at, &point);
        width += length ? point_width(point) : 1;
        at += length ? length : 1;
    }
    return width;
}

#define NEAREST_MAXIMUM 64

/* Optimal string alignment distance: insert, delete, replace, swap neighbours. */
static size_t distance(const char *a, const char *b) {
    size_t n = strlen(a), m = strlen(b);
    if (n > NEAREST_MAXIMUM || m > NEAREST_MAXIMUM)
        return SIZE_MAX;
    size_t rows[3][NEAREST_MAXIMUM + 1];
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *now = rows[i % 3], *before = rows[(i - 1) % 3], *earlier = rows[(i + 1) % 3];
        now[0] = i;
        for (size_t j = 1; j <= m; j++) {
            char x = (char)tolower((unsigned char)a[i - 1]),
                 y = (char)tolower((unsigned char)b[j - 1]);
            size_t best = before[j - 1] + (x != y);
            if (before[j] + 1 < best)
                best = before[j] + 1;
            if (now[j - 1] + 1 < best)
                best = now[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                earlier[j - 2] + 1 < best)
                best = earlier[j - 2] + 1;
            now[j] = best;
        }
    }
    return rows[n % 3][m];
}

const char *text_nearest(const char *text, const char *const *candidates, size_t count) {
    const char *best = NULL;
    size_t limit = strlen(text) / 3 + 1, least = SIZE_MAX;
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(text, candidates[i]);
        if (d <= limit && d < least) {
            least = d;
            best = candidates[i];
        }
    }
    return best;
}

/* Matches one [class] at *pattern against c and moves *pattern behind it. */
static bool match_class(const char **pattern, char c) {
    const char *at = *pattern + 1;
    bool negated = *at == '!' || *at == '^', found = false;
    at += negated;
    for (bool first = true; *at && (first || *at != ']'); first = false) {
        char low = *at++, high = low;
        if (at[0] == '-' && at[1] && at[1] != ']') {
            high = at[1];
            at += 2;
        }
        found |= low <= c && c <= high;
    }
    *pattern = *at ? at + 1 : at;
    return found != negated;
}

/* Backtracking match, bounded by `budget` steps so that no pattern takes exponential time. */
static bool glob(const char *pattern, const char *path, unsigned *budget) {
    while (*pattern) {
        if (!*budget)
            return false;
        --*budget;
        if (pattern[0] == '*' && pattern[1] == '*') {
            const char *rest = pattern + 2;
            if (*rest == '/' && glob(rest + 1, path, budget))
                return true;
            for (const char *at = path;; at++) {
                if (glob(rest, at, budget))
                    return true;
                if (!*at)
                    return false;
            }
        }
        if (*pattern == '*') {
            for (const char *at = path;; at++) {
                if (glob(pattern + 1, at, budget))
                    return true;
                if (!*at || *at == '/')
                    return false;
            }
        }
        if (!*path)
            return false;
        if (*pattern == '[' && strchr(pattern, ']')) {
            if (*path == '/' || !match_class(&pattern, *path))
                return false;
            path++;
            continue;
        }
        if (*pattern == '?' ? *path == '/' : *pattern != *path)
            return false;
        pattern++;
        path++;
    }
    return !*path;
}

bool text_glob_match(const char *pattern, const char *path) {
    unsigned budget = 100000;
    return glob(pattern, path, &budget);
}

char *text_safe_name(const char *name) {
    enum { KEPT = 100 };
    OWN_BUFFER safe = {.maximum = 256};
    size_t size = strlen(name);
    bool changed = size > KEPT || !size || name[0] == '.';
    for (size_t i = 0; i < size && i < KEPT; i++) {
        char c = name[i];
        bool plain = isalnum((unsigned char)c) || c == '-' || c == '_' || (c == '.' && i > 0);
        buffer_append_char(&safe, plain ? c : '_');
        changed |= !plain;
    }
    if (changed) {
        uint8_t digest[SHA256_SIZE];
        char text[17];
        sha256_of(name, size, digest);
        hex_encode(digest, 8, text);
        buffer_format(&safe, "-%s", text);
    }
    return buffer_take(&safe, NULL);
}

void text_append_printable(struct buffer *buffer, const char *text) {
    size_t size = strlen(text);
    uint32_t point;
    for (size_t at = 0; at < size;) {
        size_t length = utf8_decode((const unsigned char *)text + at, size - at, &point);
        bool control = length && (point < 0x20 || (point >= 0x7f && point < 0xa0) ||
                                  (point >= 0x202a && point <= 0x202e) ||
                                  (point >= 0x2066 && point <= 0x2069));
        if (!length)
            buffer_format(buffer, "\\x%02x", (unsigned char)text[at]);
        else if (text[at] == '\n')
            buffer_append(buffer, "\\n");
        else if (text[at] == '\t')
            buffer_append(buffer, "\\t");
        else if (control)
            buffer_format(buffer, point < 0x100 ? "\\x%02x" : "\\u%04x", point);
        else
            buffer_append_bytes(buffer, text + at, length);
        at += length ? length : 1;
    }
}
