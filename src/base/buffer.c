/* Growing byte buffers: an error sticks until buffer_check() asks. */
#include "base/base.h"

void buffer_release(struct buffer *buffer) {
    memory_free(buffer->data);
    size_t maximum = buffer->maximum;
    memset(buffer, 0, sizeof(*buffer));
    buffer->maximum = maximum;
}

void buffer_clear(struct buffer *buffer) {
    buffer_truncate(buffer, 0);
}

static size_t maximum_of(const struct buffer *buffer) {
    return buffer->maximum ? buffer->maximum : BUFFER_DEFAULT_MAXIMUM;
}

/* Makes room for `more` bytes and a NUL. */
static bool reserve(struct buffer *buffer, size_t more) {
    if (buffer->failed)
        return false;
    if (more > maximum_of(buffer) - buffer->size) {
        buffer->failed = true;
        return false;
    }
    size_t wanted = buffer->size + more + 1;
    if (wanted <= buffer->capacity)
        return true;
    size_t capacity = buffer->capacity ? buffer->capacity : 64;
    while (capacity < wanted)
        capacity *= 2;
    char *data = memory_reallocate(buffer->data, capacity);
    if (!data) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void buffer_append_bytes(struct buffer *buffer, const void *bytes, size_t size) {
    if (!reserve(buffer, size))
        return;
    if (size)
        memcpy(buffer->data + buffer->size, bytes, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
}

void buffer_append(struct buffer *buffer, const char *text) {
    buffer_append_bytes(buffer, text, strlen(text));
}

void buffer_append_char(struct buffer *buffer, char c) {
    buffer_append_bytes(buffer, &c, 1);
}

void buffer_append_repeat(struct buffer *buffer, char c, size_t count) {
    if (!reserve(buffer, count))
        return;
    memset(buffer->data + buffer->size, c, count);
    buffer->size += count;
    buffer->data[buffer->size] = '\0';
}

void buffer_format_list(struct buffer *buffer, const char *format, va_list list) {
    va_list again;
    va_copy(again, list);
    char small[256];
    int size = vsnprintf(small, sizeof(small), format, list);
    if (size < 0)
        buffer->failed = true;
    else if ((size_t)size < sizeof(small))
        buffer_append_bytes(buffer, small, (size_t)size);
    else if (reserve(buffer, (size_t)size)) {
        (void)vsnprintf(buffer->data + buffer->size, (size_t)size + 1, format, again);
        buffer->size += (size_t)size;
    }
    va_end(again);
}

void buffer_format(struct buffer *buffer, const char *format, ...) {
    va_list list;
    va_start(list, format);
    buffer_format_list(buffer, format, list);
    va_end(list);
}

void buffer_truncate(struct buffer *buffer, size_t size) {
    if (size >= buffer->size && size)
        return;
    buffer->size = size;
    if (buffer->data)
        buffer->data[size] = '\0';
}

const char *buffer_text(const struct buffer *buffer) {
    return buffer->data ? buffer->data : "";
}

int buffer_check(const struct buffer *buffer, struct error **err) {
    if (!buffer->failed)
        return 0;
    if (buffer->size + 1 < maximum_of(buffer) / 2)
        return error_set_memory(err);
    return error_set(err, ERROR_LIMIT, "text is larger than %zu bytes", maximum_of(buffer));
}

char *buffer_take(struct buffer *buffer, struct error **err) {
    char *data = NULL;
    if (buffer_check(buffer, err) == 0) {
        data = buffer->data ? take(&buffer->data) : memory_copy_string("");
        if (!data)
            error_set_memory(err);
    }
    buffer_release(buffer);
    return data;
}
