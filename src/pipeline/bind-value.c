/* One given value against its declared type and bounds. */
#include "pipeline/private-load.h"

#include <regex.h>

static json_t *refuse(char **ret_problem, const char *format, ...) PRINTF_LIKE(2, 3);
static json_t *refuse(char **ret_problem, const char *format, ...) {
    OWN_BUFFER raw = {0};
    OWN_BUFFER text = {0};
    va_list list;
    va_start(list, format);
    buffer_format_list(&raw, format, list);
    va_end(list);
    text_append_printable(&text, buffer_text(&raw));
    *ret_problem = buffer_take(&text, NULL);
    return NULL;
}

static const char *json_kind(const json_t *json) {
    static const char *const names[] = {
        [JSON_OBJECT] = "a mapping", [JSON_ARRAY] = "a list",       [JSON_STRING] = "a text",
        [JSON_INTEGER] = "a number", [JSON_REAL] = "a number",      [JSON_TRUE] = "true",
        [JSON_FALSE] = "false",      [JSON_NULL] = "nothing (null)"};
    return names[json_typeof(json)];
}

static bool has_text(const json_t *given) {
    return !json_is_array(given) && !json_is_object(given) && !json_is_null(given);
}

/* A scalar as the text that a person would type for it. NULL when there is no memory. */
static char *as_text(const json_t *given) {
    if (json_is_string(given))
        return memory_copy_string(json_string_value(given));
    return json_text(given, JSON_ENCODE_ANY | JSON_REAL_PRECISION(17), NULL);
}

static json_t *whole_number(const struct parameter *parameter, const char *text,
                            char **ret_problem) {
    int64_t value = 0;
    (void)parameter;
    if (text_parse_integer(text, INT64_MIN, INT64_MAX, &value, NULL) < 0)
        return refuse(ret_problem, "`%.100s` is not a whole number", text);
    return json_integer(value);
}

static json_t *boolean(const char *text, char **ret_problem) {
    static const char *const yes[] = {"true", "yes", "on", "1"};
    static const char *const no[] = {"false", "no", "off", "0"};
    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (text_equal(text, yes[i]))
            return json_true();
        if (text_equal(text, no[i]))
            return json_false();
    }
    return refuse(ret_problem, "`%.100s` is not true or false", text);
}

/* "a,b,c" on the command line; a list in YAML. */
static json_t *list(const json_t *given, char **ret_problem) {
    OWN_JSON items = json_array();
    for (size_t i = 0; items && json_is_array(given) && i < json_array_size(given); i++) {
        const json_t *item = json_array_get(given, i);
        if (!has_text(item))
            return refuse(ret_problem, "a list holds texts, not %s", json_kind(item));
        OWN_STRING text = as_text(item);
        if (!text || json_array_append_new(items, json_string(text)) < 0)
            return NULL;
    }
    if (json_is_array(given) || !items)
        return take(&items);
    OWN_STRING text = as_text(given);
    if (!text)
        return NULL;
    for (const char *at = text; *at;) {
        size_t size = strcspn(at, ",");
        if (json_array_append_new(items, json_stringn(at, size)) < 0)
            return NULL;
        at += size + (at[size] == ',');
    }
    return take(&items);
}

static json_t *convert(const struct parameter *parameter, const json_t *given, char **ret_problem) {
    if (parameter->type == VALUE_LIST && (json_is_array(given) || json_is_string(given)))
        return list(given, ret_problem);
    double value = 0;
    if (!has_text(given))
        return refuse(ret_problem, "%s is not a %s", json_kind(given),
                      value_type_name(parameter->type));
    OWN_STRING text = as_text(given);
    if (!text)
        return NULL;
    switch (parameter->type) {
    case VALUE_INTEGER:
        return whole_number(parameter, text, ret_problem);
    case VALUE_NUMBER:
        if (json_is_integer(given))
            return json_copy((json_t *)given);
        if (text_parse_number(text, &value, NULL) < 0)
            return refuse(ret_problem, "`%.100s` is not a number", text);
        return value == (double)(json_int_t)value && !strpbrk(text, ".eE")
                   ? json_integer((json_int_t)value)
                   : json_real(value);
    case VALUE_BOOLEAN:
        return boolean(text, ret_problem);
    case VALUE_LIST:
        return list(given, ret_problem);
    case VALUE_FILE:
    case VALUE_DIRECTORY:
        if (!*text)
            return refuse(ret_problem, "an empty path");
        break;
    case VALUE_STRING:
        break;
    }
    return json_string(text);
}

static bool check_bounds(const struct parameter *parameter, const json_t *value,
                         char **ret_problem) {
    double number = json_number_value(value);
    if (parameter->has_minimum && number < parameter->minimum)
        refuse(ret_problem, "%g is below the minimum, %g", number, parameter->minimum);
    else if (parameter->has_maximum && number > parameter->maximum)
        refuse(ret_problem, "%g is above the maximum, %g", number, parameter->maximum);
    else
        return true;
    return false;
}

static bool check_choices(const struct parameter *parameter, const json_t *value,
                          char **ret_problem) {
    OWN_BUFFER names = {0};
    for (size_t i = 0; i < json_array_size(parameter->choices); i++) {
        const json_t *choice = json_array_get(parameter->choices, i);
        if (json_equal(choice, value))
            return true;
        OWN_STRING text = as_text(choice);
        buffer_format(&names, "%s%s", i ? ", " : "", text ? text : "?");
    }
    OWN_STRING text = as_text(value);
    refuse(ret_problem, "`%.100s` is not one of: %s", text ? text : "?", buffer_text(&names));
    return false;
}

/* The whole text, as if the pattern stood between ^ and $. */
static bool check_pattern(const struct parameter *parameter, const char *text, char **ret_problem) {
    OWN_STRING whole = memory_format("^(%s)$", parameter->pattern);
    regex_t compiled;
    if (!whole || regcomp(&compiled, whole, REG_EXTENDED | REG_NOSUB) != 0)
        return false;
    int status = regexec(&compiled, text, 0, NULL, 0);
    regfree(&compiled);
    if (status == 0)
        return true;
    refuse(ret_problem, "`%.100s` does not match the pattern %s", text, parameter->pattern);
    return false;
}

static bool check_list(const struct parameter *parameter, const json_t *value, char **ret_problem) {
    for (size_t i = 0; i < json_array_size(value); i++)
        if (parameter->pattern &&
            !check_pattern(parameter, json_string_value(json_array_get(value, i)), ret_problem))
            return false;
    return true;
}

json_t *parameter_value(const struct parameter *parameter, const json_t *given,
                        char **ret_problem) {
    OWN_JSON value = convert(parameter, given, ret_problem);
    if (!value)
        return NULL;
    if (json_is_number(value) && !check_bounds(parameter, value, ret_problem))
        return NULL;
    if (json_is_array(value) && !check_list(parameter, value, ret_problem))
        return NULL;
    if (parameter->choices && !check_choices(parameter, value, ret_problem))
        return NULL;
    if (json_is_string(value) && parameter->pattern &&
        !check_pattern(parameter, json_string_value(value), ret_problem))
        return NULL;
    return take(&value);
}
