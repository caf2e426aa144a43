/* Showing the tree: text, JSON, CSV and HTML. */
#include "dicom/private-dicom.h"

#include <math.h>

#define SHOWN_BYTES 16 /* of bulk data, in hexadecimal */

struct dump {
    const struct dicom_dump_options *options;
    enum dicom_dump_format format;
    struct buffer *out;
    struct buffer path; /* of nested elements: 0040A730[0]. */
    unsigned depth;
};

static bool is_wanted(const struct dicom_dump_options *options, uint32_t tag) {
    if (!options || !options->tags)
        return true;
    for (size_t i = 0; i < options->tag_count; i++) {
        if (options->tags[i] == tag)
            return true;
    }
    return false;
}

static const char *keyword_of(uint32_t tag) {
    if (dicom_tag_is_private(tag))
        return DICOM_ELEMENT(tag) >= 0x10 && DICOM_ELEMENT(tag) <= 0xff ? "PrivateCreator"
                                                                        : "PrivateTag";
    if (DICOM_ELEMENT(tag) == 0)
        return "GroupLength";
    const struct dicom_attribute *attribute = dicom_attribute(tag);
    return attribute ? attribute->keyword : "UnknownTag";
}

/* ------------------------------------------------------------------ tables */

static void append_bulk(const struct dicom_element *element, struct buffer *out) {
    for (size_t i = 0; i < element->size && i < SHOWN_BYTES; i++)
        buffer_format(out, "%s%02x", i ? "\\" : "", element->bytes[i]);
    if (element->size > SHOWN_BYTES)
        buffer_append(out, "...");
}

static void append_value(const struct dicom_dataset *dataset, const struct dicom_element *element,
                         struct buffer *out) {
    if (element->encapsulated)
        buffer_format(out, "encapsulated, %zu fragments", element->item_count);
    else if (element->vr == DICOM_SQ)
        buffer_format(out, "sequence, %zu items", element->item_count);
    else if (dicom_value_count(element) == 0)
        return;
    else if (dicom_vr_is_text(element->vr) || dicom_vr_width(element->vr) == 0 ||
             (element->vr != DICOM_UN && !dicom_vr_has_long_header(element->vr)))
        dicom_text(dataset, element, out);
    else
        append_bulk(element, out);
}

static void text_line(struct dump *dump, const struct dicom_dataset *dataset,
                      const struct dicom_element *element) {
    OWN_BUFFER value = {0}, line = {0};
    append_value(dataset, element, &value);
    buffer_append_repeat(&line, ' ', 2 * (size_t)dump->depth);
    buffer_format(&line, "(%04x,%04x) %s ", DICOM_GROUP(element->tag), DICOM_ELEMENT(element->tag),
                  dicom_vr_name(element->vr));
    if (element->items || element->vr == DICOM_SQ)
        buffer_format(&line, "(%s)", buffer_text(&value));
    else if (value.size == 0)
        buffer_append(&line, "(no value)");
    else if (dicom_vr_is_text(element->vr))
        buffer_append_char(&line, '[');
    if (!element->items && element->vr != DICOM_SQ && value.size > 0)
        text_append_printable(&line, buffer_text(&value));
    if (value.size > 0 && dicom_vr_is_text(element->vr))
        buffer_append_char(&line, ']');
    if (line.size < 56)
        buffer_append_repeat(&line, ' ', 56 - line.size);
    buffer_format(&line, " # %zu, %zu %s\n", element->size, dicom_value_count(element),
                  keyword_of(element->tag));
    buffer_append(dump->out, buffer_text(&line));
}

static void append_csv(struct buffer *out, const char *text) {
    bool plain = strpbrk(text, ",\"\r\n") == NULL;
    if (!plain)
        buffer_append_char(out, '"');
    for (; *text; text++) {
        if (*text == '"')
            buffer_append_char(out, '"');
        buffer_append_char(out, *text);
    }
    if (!plain)
        buffer_append_char(out, '"');
}

static void append_html(struct buffer *out, const char *text) {
    for (; *text; text++) {
        switch (*text) {
        case '<':
            buffer_append(out, "&lt;");
            break;
        case '>':
            buffer_append(out, "&gt;");
            break;
        case '&':
            buffer_append(out, "&amp;");
            break;
        case '"':
            buffer_append(out, "&quot;");
            break;
        default:
            if ((uint8_t)*text >= 0x20 || *text == '\n' || *text == '\t')
                buffer_append_char(out, *text);
        }
    }
}

static void csv_line(struct dump *dump, const struct dicom_dataset *dataset,
                     const struct dicom_element *element) {
    OWN_BUFFER value = {0};
    append_value(dataset, element, &value);
    append_csv(dump->out, dump->options && dump->options->label ? dump->options->label : "");
    buffer_format(dump->out, ",%s%08X,%s,%s,", buffer_text(&dump->path), element->tag,
                  keyword_of(element->tag), dicom_vr_name(element->vr));
    append_csv(dump->out, buffer_text(&value));
    buffer_append(dump->out, "\r\n");
}

static void html_line(struct dump *dump, const struct dicom_dataset *dataset,
                      const struct dicom_element *element) {
    OWN_BUFFER value = {0};
    append_value(dataset, element, &value);
    buffer_format(dump->out,
                  "<tr><td style=\"padding-left:%uem\">(%04x,%04x)</td><td>%s</td><td>%s</td><td>",
                  1 + dump->depth * 2, DICOM_GROUP(element->tag), DICOM_ELEMENT(element->tag),
                  keyword_of(element->tag), dicom_vr_name(element->vr));
    append_html(dump->out, buffer_text(&value));
    buffer_append(dump->out, "</td></tr>\n");
}

static void dump_dataset(struct dump *dump, const struct dicom_dataset *dataset) {
    for (const struct dicom_element *element = dataset->first; element && !dump->out->failed;
         element = element->next) {
        if (dump->depth == 0 && DICOM_GROUP(element->tag) != 2 &&
            !is_wanted(dump->options, element->tag))
            continue;
        if (dump->format == DICOM_DUMP_CSV)
            csv_line(dump, dataset, element);
        else if (dump->format == DICOM_DUMP_HTML)
            html_line(dump, dataset, element);
        else
            text_line(dump, dataset, element);
        if (element->encapsulated)
            continue;
        size_t index = 0, length = dump->path.size;
        dump->depth++;
        for (const struct dicom_item *item = element->items; item; item = item->next) {
            buffer_format(&dump->path, "%08X[%zu].", element->tag, index++);
            dump_dataset(dump, &item->dataset);
            buffer_truncate(&dump->path, length);
        }
        dump->depth--;
    }
}

void dicom_dump_head(enum dicom_dump_format format, struct buffer *out) {
    if (format == DICOM_DUMP_CSV)
        buffer_append(out, "file,tag,keyword,vr,value\r\n");
    else if (format == DICOM_DUMP_HTML)
        buffer_append(out,
                      "<!DOCTYPE html>\n<html lang=\"en\"><meta charset=\"utf-8\">\n"
                      "<title>DICOM tags</title>\n<style>\n"
                      "body{font:14px/1.4 sans-serif;margin:2em}table{border-collapse:collapse}\n"
                      "td{border-bottom:1px solid #ddd;padding:2px 8px;vertical-align:top}\n"
                      "td:first-child{font-family:monospace}\n</style>\n");
}

void dicom_dump_tail(enum dicom_dump_format format, struct buffer *out) {
    if (format == DICOM_DUMP_HTML)
        buffer_append(out, "</html>\n");
}

int dicom_dump(const struct dicom_file *file, enum dicom_dump_format format,
               const struct dicom_dump_options *options, struct buffer *out, struct error **err) {
    if (format == DICOM_DUMP_JSON) {
        OWN_JSON json = dicom_json(file, options, err);
        char *text = json ? json_dumps(json, JSON_INDENT(1) | JSON_SORT_KEYS) : NULL;
        if (!text)
            return json ? error_set_memory(err) : -1;
        buffer_append(out, text);
        buffer_append_char(out, '\n');
        free(text);
        return buffer_check(out, err);
    }
    struct dump dump = {.options = options, .format = format, .out = out};
    if (format == DICOM_DUMP_HTML) {
        buffer_append(out, "<h2>");
        append_html(out, options && options->label ? options->label : "");
        buffer_append(out, "</h2>\n<table>\n");
    }
    if (options && options->with_meta)
        dump_dataset(&dump, &file->meta);
    dump_dataset(&dump, &file->dataset);
    if (format == DICOM_DUMP_HTML)
        buffer_append(out, "</table>\n");
    buffer_release(&dump.path);
    return buffer_check(out, err);
}

/* -------------------------------------------------------------------- JSON */

static json_t *json_name(const char *text) {
    static const char *const groups[] = {"Alphabetic", "Ideographic", "Phonetic"};
    json_t *name = json_object();
    for (size_t i = 0; i < ARRAY_SIZE(groups); i++) {
        size_t length = strcspn(text, "=");
        if (length > 0)
            json_object_set_new(name, groups[i], json_stringn(text, length));
        text += length;
        if (*text++ != '=')
            break;
    }
    return name;
}

/* A number when it is one; writers put nonsense into IS and DS, and that is shown as text. */
static json_t *json_number(const struct dicom_element *element, size_t index, const char *text) {
    double number;
    int64_t integer;
    if (element->vr != DICOM_DS && element->vr != DICOM_FL && element->vr != DICOM_FD &&
        dicom_integer(element, index, &integer))
        return json_integer(integer);
    if (dicom_number(element, index, &number) && isfinite(number)) {
        double exact = number;
        if (element->vr == DICOM_FL) /* 0.1f is 0.1, not 0.10000000149 */
            if (text_parse_number(text, &exact, NULL) != 0)
                exact = number;
        return json_real(exact);
    }
    return json_string(text);
}

static json_t *json_value(const struct dicom_element *element, size_t index, const char *text) {
    switch (element->vr) {
    case DICOM_PN:
        return json_name(text);
    case DICOM_AT: {
        const uint8_t *bytes = element->bytes + index * 4;
        return json_sprintf("%04X%04X", load16(bytes), load16(bytes + 2));
    }
    case DICOM_IS:
    case DICOM_DS:
        return text[0] ? json_number(element, index, text) : json_null();
    case DICOM_FD:
    case DICOM_FL:
    case DICOM_SL:
    case DICOM_SS:
    case DICOM_SV:
    case DICOM_UL:
    case DICOM_US:
    case DICOM_UV:
        return json_number(element, index, text);
    default:
        return text[0] ? json_string(text) : json_null();
    }
}

static json_t *json_dataset(const struct dicom_dataset *dataset,
                            const struct dicom_dump_options *options);

static json_t *json_values(const struct dicom_dataset *dataset,
                           const struct dicom_element *element) {
    json_t *values = json_array();
    if (element->items) {
        for (const struct dicom_item *item = element->items; item; item = item->next)
            json_array_append_new(values, json_dataset(&item->dataset, NULL));
        return values;
    }
    OWN_BUFFER whole = {0};
    dicom_text(dataset, element, &whole); /* decoded once, then split */
    char *text = (char *)(uintptr_t)buffer_text(&whole);
    bool splits = element->vr != DICOM_LT && element->vr != DICOM_ST && element->vr != DICOM_UT &&
                  element->vr != DICOM_UR;
    for (size_t i = 0;; i++) {
        char *end = splits ? strchr(text, '\\') : NULL;
        size_t length = end ? (size_t)(end - text) : strlen(text);
        while (length > 0 && text[length - 1] == ' ')
            length--;
        OWN_STRING piece = memory_copy_bytes(text, length);
        if (!piece || json_array_append_new(values, json_value(element, i, piece)) != 0) {
            json_decref(values);
            return NULL;
        }
        if (!end)
            return values;
        text = end + 1;
    }
}

static json_t *json_dataset(const struct dicom_dataset *dataset,
                            const struct dicom_dump_options *options) {
    json_t *object = json_object();
    for (const struct dicom_element *element = dataset->first; element; element = element->next) {
        if (DICOM_ELEMENT(element->tag) == 0 || !is_wanted(options, element->tag))
            continue;
        char key[9];
        snprintf(key, sizeof(key), "%08X", element->tag);
        json_t *entry = json_pack("{s:s}", "vr", dicom_vr_name(element->vr));
        bool bulk =
            element->encapsulated || element->vr == DICOM_UN ||
            (dicom_vr_has_long_header(element->vr) && element->vr != DICOM_SQ &&
             !dicom_vr_is_text(element->vr) && element->vr != DICOM_SV && element->vr != DICOM_UV);
        if (bulk && element->size > 0)
            json_object_set_new(entry, "bytes", json_integer((json_int_t)element->size));
        else if (!bulk && dicom_value_count(element) > 0)
            json_object_set_new(entry, "Value", json_values(dataset, element));
        json_object_set_new(object, key, entry);
    }
    return object;
}

json_t *dicom_json(const struct dicom_file *file, const struct dicom_dump_options *options,
                   struct error **err) {
    json_t *object = json_dataset(&file->dataset, options);
    if (!object)
        error_set_memory(err);
    if (object && options && options->with_meta) {
        OWN_JSON meta = json_dataset(&file->meta, NULL);
        json_object_update(object, meta);
    }
    return object;
}
