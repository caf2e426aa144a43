/* Reading tar archives: ustar, pax, and GNU's long names and large sizes. Nothing is written to
 * where an archive says: entries are content under a name. */
#include "private-image.h"

#define BLOCK             512
#define ENTRIES_MAXIMUM   1000000
#define EXTENSION_MAXIMUM ((size_t)1 << 20)
#define NAME_MAXIMUM      4096
#define READ_SIZE         ((size_t)256 << 10)

struct tar {
    tar_reader read;
    void *context;
    struct tar_entry entry;
    uint64_t left;    /* of the entry's content */
    unsigned padding; /* after it */
    size_t entries;
    bool ended;
    /* of pax and GNU's headers, for the next entry */
    char *name, *link;
    uint64_t size;
    bool has_size;
    uint8_t *buffer;
    size_t begin, end;
};

static void forget(struct tar *tar) {
    memory_free(tar->name);
    memory_free(tar->link);
    tar->name = tar->link = NULL;
    tar->has_size = false;
}

static void entry_release(struct tar_entry *entry) {
    memory_free(entry->name);
    memory_free(entry->link);
    *entry = (struct tar_entry){0};
}

struct tar *tar_open(tar_reader read, void *context) {
    struct tar *tar = memory_allocate(sizeof(*tar));
    if (!tar)
        return NULL;
    tar->read = read;
    tar->context = context;
    tar->buffer = memory_allocate(READ_SIZE);
    if (tar->buffer)
        return tar;
    tar_close(tar);
    return NULL;
}

void tar_close(struct tar *tar) {
    if (!tar)
        return;
    forget(tar);
    entry_release(&tar->entry);
    memory_free(tar->buffer);
    memory_free(tar);
}

void tar_cleanup(struct tar **tar) {
    tar_close(*tar);
    *tar = NULL;
}

static int damaged(const char *why, struct error **err) {
    error_set(err, ERROR_INVALID, "the archive is damaged: %s", why);
    return error_hint(err, "copy it anew and compare its size or digest with the original's");
}

static int no_tar(struct error **err) {
    error_set(err, ERROR_INVALID, "it is neither a tar archive nor a Singularity file");
    return error_hint(err, "what \"docker save\" writes can be loaded; and OCI archives and "
                           "folders, and Singularity files");
}

/* At most `size` bytes; 0 at the end. */
static ssize_t read_some(struct tar *tar, void *bytes, size_t size, struct error **err) {
    if (tar->begin == tar->end && size >= READ_SIZE)
        return tar->read(tar->context, bytes, size, err);
    if (tar->begin == tar->end) {
        ssize_t got = tar->read(tar->context, tar->buffer, READ_SIZE, err);
        if (got <= 0)
            return got;
        tar->begin = 0;
        tar->end = (size_t)got;
    }
    size_t have = tar->end - tar->begin;
    size = size < have ? size : have;
    memcpy(bytes, tar->buffer + tar->begin, size);
    tar->begin += size;
    return (ssize_t)size;
}

/* Exactly `size` bytes: 1; nothing at all: 0. */
static int read_block(struct tar *tar, uint8_t *bytes, size_t size, struct error **err) {
    size_t have = 0;
    while (have < size) {
        ssize_t got = read_some(tar, bytes + have, size - have, err);
        if (got < 0)
            return -1;
        if (got == 0)
            return have ? damaged("it ends too early", err) : 0;
        have += (size_t)got;
    }
    return 1;
}

ssize_t tar_read(struct tar *tar, void *bytes, size_t size, struct error **err) {
    if (tar->left == 0)
        return 0;
    size = size < tar->left ? size : (size_t)tar->left;
    ssize_t got = read_some(tar, bytes, size, err);
    if (got == 0)
        return damaged("it ends too early", err);
    if (got > 0)
        tar->left -= (uint64_t)got;
    return got;
}

static int skip_rest(struct tar *tar, struct error **err) {
    uint8_t bytes[8192];
    ssize_t got;
    while ((got = tar_read(tar, bytes, sizeof(bytes), err)) > 0)
        continue;
    if (got < 0)
        return -1;
    unsigned padding = tar->padding;
    tar->padding = 0;
    int whole = padding ? read_block(tar, bytes, padding, err) : 1;
    return whole == 0 ? damaged("it ends too early", err) : whole < 0 ? -1 : 0;
}

/* Octal digits, or GNU's binary form with its highest bit set. */
static int read_number(const uint8_t *field, size_t size, uint64_t *ret, struct error **err) {
    uint64_t value = 0;
    if (field[0] & 0x80) {
        for (size_t i = 0; i < size; i++) {
            if (value >> 55)
                return damaged("a size is too large", err);
            value = value << 8 | (i ? field[i] : field[i] & 0x7f);
        }
        *ret = value;
        return 0;
    }
    size_t i = 0;
    while (i < size && field[i] == ' ')
        i++;
    for (; i < size && field[i] >= '0' && field[i] <= '7'; i++)
        value = value << 3 | (uint64_t)(field[i] - '0');
    if (i < size && field[i] != '\0' && field[i] != ' ')
        return damaged("a header has no number where one belongs", err);
    *ret = value;
    return 0;
}

static bool checksum_is_right(const uint8_t *block) {
    uint64_t said = 0;
    if (read_number(block + 148, 8, &said, NULL) < 0)
        return false;
    uint64_t sum = 0;
    for (size_t i = 0; i < BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : block[i];
    return sum == said;
}

/* The content of an extension's entry. */
static char *read_extension(struct tar *tar, size_t *ret_size, struct error **err) {
    if (tar->left > EXTENSION_MAXIMUM) {
        damaged("a header is too large", err);
        return NULL;
    }
    size_t size = (size_t)tar->left, have = 0;
    OWN_STRING text = memory_allocate(size + 1);
    if (!text) {
        error_set_memory(err);
        return NULL;
    }
    while (have < size) {
        ssize_t got = tar_read(tar, text + have, size - have, err);
        if (got < 0)
            return NULL;
        have += (size_t)got;
    }
    *ret_size = size;
    return skip_rest(tar, err) < 0 ? NULL : take(&text);
}

static int keep(char **slot, const char *text, size_t size, struct error **err) {
    if (size > NAME_MAXIMUM || memchr(text, '\0', size))
        return damaged("a name is too long", err);
    memory_free(*slot);
    *slot = memory_copy_bytes(text, size);
    return *slot ? 0 : error_set_memory(err);
}

/* "LENGTH KEY=VALUE\n", again and again. */
static int read_pax(struct tar *tar, const char *text, size_t size, struct error **err) {
    while (size) {
        size_t length = 0, digits = 0;
        while (digits < size && digits < 7 && text[digits] >= '0' && text[digits] <= '9')
            length = length * 10 + (size_t)(text[digits++] - '0');
        if (digits == 0 || digits >= size || text[digits] != ' ' || length > size ||
            length < digits + 2 || text[length - 1] != '\n')
            return damaged("a pax header is not well formed", err);
        const char *key = text + digits + 1;
        const char *equals = memchr(key, '=', length - digits - 2);
        if (!equals)
            return damaged("a pax header is not well formed", err);
        const char *value = equals + 1;
        size_t value_size = (size_t)(text + length - 1 - value), key_size = (size_t)(equals - key);
        if (key_size == 4 && memcmp(key, "path", 4) == 0) {
            if (keep(&tar->name, value, value_size, err) < 0)
                return -1;
        } else if (key_size == 8 && memcmp(key, "linkpath", 8) == 0) {
            if (keep(&tar->link, value, value_size, err) < 0)
                return -1;
        } else if (key_size == 4 && memcmp(key, "size", 4) == 0) {
            OWN_STRING number = memory_copy_bytes(value, value_size);
            int64_t bytes = 0;
            if (!number || text_parse_integer(number, 0, INT64_MAX / 2, &bytes, NULL) < 0)
                return damaged("a pax header has a size that is no number", err);
            tar->size = (uint64_t)bytes;
            tar->has_size = true;
        }
        text += length;
        size -= length;
    }
    return 0;
}

static int extend(struct tar *tar, char type, struct error **err) {
    size_t size = 0;
    OWN_STRING text = read_extension(tar, &size, err);
    if (!text)
        return -1;
    if (type == 'x')
        return read_pax(tar, text, size, err);
    if (type == 'L' || type == 'K')
        return keep(type == 'L' ? &tar->name : &tar->link, text, strlen(text), err);
    return 0; /* 'g' speaks of all entries, and of nothing that we need */
}

static char *header_name(const uint8_t *block) {
    size_t size = strnlen((const char *)block, 100);
    bool ustar = memcmp(block + 257, "ustar\0", 6) == 0; /* GNU's own has times there */
    size_t prefix = ustar ? strnlen((const char *)block + 345, 155) : 0;
    return memory_format("%.*s%s%.*s", (int)prefix, (const char *)block + 345, prefix ? "/" : "",
                         (int)size, (const char *)block);
}

static int make_entry(struct tar *tar, const uint8_t *block, char type, struct error **err) {
    struct tar_entry *entry = &tar->entry;
    OWN_STRING name = tar->name ? take(&tar->name) : header_name(block);
    const char *begin = name ? name : "";
    while (begin[0] == '.' && begin[1] == '/')
        begin += 2;
    entry->name = memory_copy_string(begin);
    entry->link = tar->link
                      ? take(&tar->link)
                      : memory_copy_bytes(block + 157, strnlen((const char *)block + 157, 100));
    entry->type = type == '\0' || type == '7' ? '0' : type;
    entry->size = tar->left;
    forget(tar);
    return name && entry->name && entry->link ? 1 : error_set_memory(err);
}

static int drain(struct tar *tar, struct error **err) {
    uint8_t bytes[8192];
    ssize_t got;
    while ((got = read_some(tar, bytes, sizeof(bytes), err)) > 0)
        continue;
    return (int)got;
}

int tar_next(struct tar *tar, struct tar_entry *ret, struct error **err) {
    uint8_t block[BLOCK];
    entry_release(&tar->entry);
    for (;;) {
        if (skip_rest(tar, err) < 0)
            return -1;
        if (tar->ended)
            return 0;
        int got = read_block(tar, block, BLOCK, err);
        if (got < 0)
            return -1;
        if (got == 0)
            return tar->entries ? damaged("its end is missing", err) : 0;
        if (block[0] == '\0' && checksum_is_right(block) == false) {
            /* a block of zeros ends it; what follows is read to know that the file is whole */
            tar->ended = true;
            return drain(tar, err);
        }
        if (!checksum_is_right(block))
            return tar->entries ? damaged("a header's checksum is wrong", err) : no_tar(err);
        if (++tar->entries > ENTRIES_MAXIMUM)
            return error_set(err, ERROR_LIMIT, "the archive has more than %d entries",
                             ENTRIES_MAXIMUM);
        char type = (char)block[156];
        uint64_t size = 0;
        if (read_number(block + 124, 12, &size, err) < 0)
            return -1;
        if (tar->has_size && type != 'x' && type != 'g' && type != 'L' && type != 'K')
            size = tar->size;
        if (type >= '1' && type <= '6')
            size = 0;
        tar->left = size;
        tar->padding = (unsigned)((BLOCK - size % BLOCK) % BLOCK);
        if (!strchr("xgLK", type) || type == '\0') {
            int made = make_entry(tar, block, type, err);
            *ret = tar->entry;
            return made;
        }
        if (extend(tar, type, err) < 0)
            return -1;
    }
}
