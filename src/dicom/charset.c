/* Character sets of DICOM (PS3.3 C.12.1.1.2, PS3.5 6.1) to UTF-8, by iconv. */
#include "dicom/private-dicom.h"

#include <errno.h>
#include <iconv.h>

/* Defined terms by their registration number: "ISO_IR 100" and "ISO 2022 IR 100" alike. */
static const struct {
    unsigned number;
    const char *codec;
} terms_by_number[] = {
    {6, "ISO-8859-1"}, /* ASCII by the letter; writers that mean Latin-1 abound */
    {13, "SHIFT_JIS"},    {58, "EUC-CN"},         {87, "ISO-2022-JP-2"}, {100, "ISO-8859-1"},
    {101, "ISO-8859-2"},  {109, "ISO-8859-3"},    {110, "ISO-8859-4"},   {126, "ISO-8859-7"},
    {127, "ISO-8859-6"},  {138, "ISO-8859-8"},    {144, "ISO-8859-5"},   {148, "ISO-8859-9"},
    {149, "EUC-KR"},      {159, "ISO-2022-JP-2"}, {166, "ISO-8859-11"},  {192, "UTF-8"},
    {203, "ISO-8859-15"},
};

/* Escape sequences of code extensions. `keep`: the codec itself understands the sequence. */
static const struct {
    const char *bytes;
    const char *codec; /* NULL: back to the initial one */
    bool keep, two_bytes;
} escapes[] = {
    {"\x1b(B", NULL, false, false},          {"\x1b(J", "SHIFT_JIS", false, false},
    {"\x1b)I", "SHIFT_JIS", false, false},   {"\x1b$B", "ISO-2022-JP-2", true, true},
    {"\x1b$@", "ISO-2022-JP-2", true, true}, {"\x1b$(D", "ISO-2022-JP-2", true, true},
    {"\x1b$)C", "EUC-KR", false, false},     {"\x1b$)A", "EUC-CN", false, false},
    {"\x1b-A", "ISO-8859-1", false, false},  {"\x1b-B", "ISO-8859-2", false, false},
    {"\x1b-C", "ISO-8859-3", false, false},  {"\x1b-D", "ISO-8859-4", false, false},
    {"\x1b-F", "ISO-8859-7", false, false},  {"\x1b-G", "ISO-8859-6", false, false},
    {"\x1b-H", "ISO-8859-8", false, false},  {"\x1b-L", "ISO-8859-5", false, false},
    {"\x1b-M", "ISO-8859-9", false, false},  {"\x1b-T", "ISO-8859-11", false, false},
    {"\x1b-b", "ISO-8859-15", false, false},
};

static void append_replacement(struct buffer *out) {
    buffer_append(out, "\xef\xbf\xbd");
}

static void append_ascii(const uint8_t *bytes, size_t size, struct buffer *out) {
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] < 0x80)
            buffer_append_char(out, (char)bytes[i]);
        else
            append_replacement(out);
    }
}

static void convert(const char *codec, const uint8_t *bytes, size_t size, struct buffer *out) {
    if (size == 0)
        return;
    iconv_t converter = iconv_open("UTF-8", codec);
    if (converter == (iconv_t)-1) { /* a machine without that converter */
        append_ascii(bytes, size, out);
        return;
    }
    char *input = (char *)(uintptr_t)bytes;
    while (size > 0) {
        char block[1024], *output = block;
        size_t room = sizeof(block);
        size_t result = iconv(converter, &input, &size, &output, &room);
        int reason = errno;
        buffer_append_bytes(out, block, sizeof(block) - room);
        if (result == (size_t)-1 && reason != E2BIG && size > 0) {
            append_replacement(out);
            input++;
            size--;
        }
        if (out->failed)
            break;
    }
    iconv_close(converter);
}

/* The codec of the n-th term of a (0008,0005) value; Latin-1 when it is empty or unknown. */
static const char *codec_of(const char *term, size_t size) {
    static const char fallback[] = "ISO-8859-1";
    while (size > 0 && term[size - 1] == ' ')
        size--;
    if ((size == 7 && memcmp(term, "GB18030", 7) == 0) ||
        (size == 3 && memcmp(term, "GBK", 3) == 0))
        return "GB18030";
    unsigned number = 0, scale = 1;
    while (size > 0 && term[size - 1] >= '0' && term[size - 1] <= '9' && scale < 10000) {
        number += scale * (unsigned)(term[size - 1] - '0');
        scale *= 10;
        size--;
    }
    for (size_t i = 0; i < ARRAY_SIZE(terms_by_number); i++) {
        if (terms_by_number[i].number == number)
            return terms_by_number[i].codec;
    }
    return fallback;
}

static bool is_plain(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] >= 0x80 || bytes[i] == 0x1b)
            return false;
    }
    return true;
}

static size_t find_escape(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < ARRAY_SIZE(escapes); i++) {
        size_t length = strlen(escapes[i].bytes);
        if (length <= size && memcmp(bytes, escapes[i].bytes, length) == 0)
            return i;
    }
    return ARRAY_SIZE(escapes);
}

static bool resets(uint8_t c, bool names) {
    return c == '\\' || c == '\r' || c == '\n' || c == '\f' || c == '\t' ||
           (names && (c == '^' || c == '='));
}

static void convert_extended(const char *initial, const uint8_t *bytes, size_t size, bool names,
                             struct buffer *out) {
    const char *codec = initial;
    bool two_bytes = false;
    size_t start = 0;
    for (size_t i = 0; i < size;) {
        if (bytes[i] == 0x1b) {
            convert(codec, bytes + start, i - start, out);
            size_t found = find_escape(bytes + i, size - i);
            if (found == ARRAY_SIZE(escapes)) { /* not one of ours: drop the escape byte */
                start = ++i;
                continue;
            }
            codec = escapes[found].codec ? escapes[found].codec : initial;
            two_bytes = escapes[found].two_bytes;
            start = escapes[found].keep ? i : i + strlen(escapes[found].bytes);
            i += strlen(escapes[found].bytes);
        } else if (!two_bytes && resets(bytes[i], names)) {
            convert(codec, bytes + start, i - start, out);
            buffer_append_char(out, (char)bytes[i]);
            codec = initial;
            start = ++i;
        } else {
            i++;
        }
    }
    convert(codec, bytes + start, size - start, out);
}

void charset_decode(const char *terms, const uint8_t *bytes, size_t size, bool names,
                    struct buffer *out) {
    if (is_plain(bytes, size)) {
        buffer_append_bytes(out, bytes, size);
        return;
    }
    size_t first = strcspn(terms, "\\");
    const char *initial = codec_of(terms, first);
    bool extended = terms[first] == '\\' || strncmp(terms, "ISO 2022", 8) == 0;
    if (extended && !text_equal(initial, "UTF-8") && !text_equal(initial, "GB18030"))
        convert_extended(initial, bytes, size, names, out);
    else
        convert(initial, bytes, size, out);
}
