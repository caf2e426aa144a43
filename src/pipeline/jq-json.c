/* JSON of jansson to that of jq, and back. */
#include "pipeline/private-expression.h"

#define DEPTH_MAXIMUM 500

jv jv_from_json(const json_t *json, unsigned depth) {
    if (depth > DEPTH_MAXIMUM)
        return jv_null();
    switch (json ? json_typeof(json) : JSON_NULL) {
    case JSON_OBJECT: {
        jv object = jv_object();
        const char *key;
        json_t *value;
        json_object_foreach((json_t *)json, key, value) {
            object = jv_object_set(object, jv_string(key), jv_from_json(value, depth + 1));
        }
        return object;
    }
    case JSON_ARRAY: {
        size_t count = json_array_size(json);
        jv array = jv_array_sized((int)count);
        for (size_t i = 0; i < count; i++)
            array = jv_array_set(array, (int)i, jv_from_json(json_array_get(json, i), depth + 1));
        return array;
    }
    case JSON_STRING:
        return jv_string_sized(json_string_value(json), (int)json_string_length(json));
    case JSON_INTEGER:
        return jv_number((double)json_integer_value(json));
    case JSON_REAL:
        return jv_number(json_real_value(json));
    case JSON_TRUE:
        return jv_true();
    case JSON_FALSE:
        return jv_false();
    case JSON_NULL:
        break;
    }
    return jv_null();
}

/* jq has doubles only; whole ones that a double holds exactly are integers again. */
static json_t *number(double value) {
    if (value != value)
        return json_null();
    if (value >= -9007199254740992.0 && value <= 9007199254740992.0 &&
        value == (double)(json_int_t)value)
        return json_integer((json_int_t)value);
    if (value > 1.7976931348623157e308 || value < -1.7976931348623157e308)
        return json_null();
    return json_real(value);
}

static json_t *convert(jv value, size_t *budget, unsigned depth);

static json_t *convert_array(jv value, size_t *budget, unsigned depth) {
    OWN_JSON array = json_array();
    int count = jv_array_length(jv_copy(value));
    for (int i = 0; array && i < count; i++) {
        json_t *item = convert(jv_array_get(jv_copy(value), i), budget, depth + 1);
        if (!item || json_array_append_new(array, item) < 0)
            return NULL;
    }
    return take(&array);
}

static json_t *convert_object(jv value, size_t *budget, unsigned depth) {
    OWN_JSON object = json_object();
    for (int at = jv_object_iter(value); object && jv_object_iter_valid(value, at);
         at = jv_object_iter_next(value, at)) {
        jv key = jv_object_iter_key(value, at);
        json_t *item = convert(jv_object_iter_value(value, at), budget, depth + 1);
        int status = item ? json_object_set_new(object, jv_string_value(key), item) : -1;
        jv_free(key);
        if (status < 0)
            return NULL;
    }
    return take(&object);
}

static json_t *convert(jv value, size_t *budget, unsigned depth) {
    json_t *json = NULL;
    if (!*budget || depth > DEPTH_MAXIMUM) {
        jv_free(value);
        return NULL;
    }
    --*budget;
    switch (jv_get_kind(value)) {
    case JV_KIND_NUMBER:
        json = number(jv_number_value(value));
        break;
    case JV_KIND_STRING:
        json = json_stringn(jv_string_value(value), (size_t)jv_string_length_bytes(jv_copy(value)));
        break;
    case JV_KIND_ARRAY:
        json = convert_array(value, budget, depth);
        break;
    case JV_KIND_OBJECT:
        json = convert_object(value, budget, depth);
        break;
    case JV_KIND_TRUE:
        json = json_true();
        break;
    case JV_KIND_FALSE:
        json = json_false();
        break;
    default:
        json = json_null();
    }
    jv_free(value);
    return json;
}

json_t *jv_to_json(jv value, size_t *budget) {
    return convert(value, budget, 0);
}
