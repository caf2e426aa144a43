/* Allocation with bounds, and an arena for what lives and dies together. */
#include "base/base.h"

#include <stdlib.h>

/* The test seam. Plain counters: only tests set them, and those are single-threaded. */
static uint64_t allocations, fail_at;

static bool must_fail(void) {
    if (!fail_at) {
        return false;
    }
    allocations++;
    return allocations == fail_at;
}

uint64_t memory_fail_at(uint64_t n) {
    uint64_t made = allocations;
    allocations = 0;
    fail_at = n;
    return made;
}

void *memory_allocate(size_t size) {
    return must_fail() ? NULL : calloc(1, size ? size : 1);
}

void *memory_reallocate(void *pointer, size_t size) {
    return must_fail() ? NULL : realloc(pointer, size ? size : 1);
}

void *memory_array(size_t count, size_t size) {
    return must_fail() ? NULL : calloc(count ? count : 1, size ? size : 1);
}

void memory_free(void *pointer) {
    free(pointer);
}

void memory_free_cleanup(void *pointer_to_pointer) {
    void **pointer = pointer_to_pointer;
    free(*pointer);
    *pointer = NULL;
}

char *memory_copy_string(const char *text) {
    return text ? memory_copy_bytes(text, strlen(text)) : NULL;
}

char *memory_copy_bytes(const void *bytes, size_t size) {
    char *copy = size < SIZE_MAX ? memory_allocate(size + 1) : NULL;
    if (copy && size)
        memcpy(copy, bytes, size);
    return copy;
}

char *memory_format(const char *format, ...) {
    if (must_fail())
        return NULL;
    char *text = NULL;
    va_list list;
    va_start(list, format);
    if (vasprintf(&text, format, list) < 0)
        text = NULL;
    va_end(list);
    return text;
}

int array_reserve(void *items, size_t *capacity, size_t count, size_t item_size, size_t maximum,
                  struct error **err) {
    if (count < *capacity)
        return 0;
    if (count >= maximum)
        return error_set(err, ERROR_LIMIT, "more than %zu items", maximum);
    size_t wanted = *capacity ? *capacity * 2 : 8;
    if (wanted > maximum)
        wanted = maximum;
    void **slot = items;
    void *grown = memory_reallocate(*slot, wanted * item_size);
    if (!grown)
        return error_set_memory(err);
    memset((char *)grown + *capacity * item_size, 0, (wanted - *capacity) * item_size);
    *slot = grown;
    *capacity = wanted;
    return 0;
}

/* An arena is a chain of blocks, newest first. */
#define ARENA_BLOCK     ((size_t)16 << 10)
#define ARENA_ALIGNMENT ((size_t)16)

struct arena_block {
    struct arena_block *previous;
    size_t used, size;
    _Alignas(16) char bytes[];
};
struct arena {
    struct arena_block *blocks;
    size_t total, maximum;
};

struct arena *arena_new(size_t maximum) {
    struct arena *arena = memory_allocate(sizeof(*arena));
    if (arena)
        arena->maximum = maximum;
    return arena;
}

void arena_free(struct arena *arena) {
    if (!arena)
        return;
    while (arena->blocks) {
        struct arena_block *block = arena->blocks;
        arena->blocks = block->previous;
        memory_free(block);
    }
    memory_free(arena);
}

void *arena_allocate(struct arena *arena, size_t size) {
    if (size > arena->maximum)
        return NULL;
    size = (size + ARENA_ALIGNMENT - 1) & ~(ARENA_ALIGNMENT - 1);
    struct arena_block *block = arena->blocks;
    if (!block || block->size - block->used < size) {
        size_t block_size = size > ARENA_BLOCK ? size : ARENA_BLOCK;
        if (arena->total + block_size > arena->maximum)
            block_size = size;
        if (arena->total + block_size > arena->maximum)
            return NULL;
        block = memory_allocate(sizeof(*block) + block_size);
        if (!block)
            return NULL;
        block->size = block_size;
        block->previous = arena->blocks;
        arena->blocks = block;
        arena->total += block_size;
    }
    void *pointer = block->bytes + block->used;
    block->used += size;
    return pointer;
}

char *arena_copy_bytes(struct arena *arena, const void *bytes, size_t size) {
    char *copy = size < SIZE_MAX ? arena_allocate(arena, size + 1) : NULL;
    if (copy && size)
        memcpy(copy, bytes, size);
    return copy;
}

char *arena_copy_string(struct arena *arena, const char *text) {
    return text ? arena_copy_bytes(arena, text, strlen(text)) : NULL;
}

char *arena_format(struct arena *arena, const char *format, ...) {
    char *text = NULL;
    va_list list;
    va_start(list, format);
    int size = vasprintf(&text, format, list);
    va_end(list);
    if (size < 0)
        return NULL;
    char *copy = arena_copy_bytes(arena, text, (size_t)size);
    free(text);
    return copy;
}

size_t arena_size(const struct arena *arena) {
    return arena->total;
}
