/* What the keeper reads: launch messages from its socket, and its journal after a death. The first
 * byte says which: l: a message; j: records of a journal, whose sums are made right here. */
#include "compute/keeper/keeper.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* Of main.c. */
int64_t now_wall(void) {
    return 1;
}
int64_t now_monotonic(void) {
    return 1;
}
void keeper_send(struct keeper *keeper, const struct record *record) {
    (void)keeper;
    (void)record;
}

static void read_launch(const uint8_t *bytes, size_t size) {
    static struct keeper keeper; /* too large for the stack */
    union {
        struct launch_message message;
        char bytes[8192];
    } *whole = malloc(sizeof(*whole));
    if (!whole || size > sizeof(*whole) || size < sizeof(whole->message)) {
        free(whole);
        return;
    }
    struct launch_message *message = realloc(whole, size); /* so that reading on is noticed */
    if (!message)
        abort();
    memcpy(message, bytes, size);
    message->header.size = (uint32_t)size;
    if (launch_parse(&keeper, message) == 0) {
        size_t length = 0;
        for (uint32_t i = 0; i < message->argument_count; i++)
            length += strlen(keeper.launch.arguments[i]);
        for (uint32_t i = 0; i < message->mount_count; i++)
            length += strlen(keeper.launch.mounts[i].target);
        if (length > size)
            abort();
    }
    free(message);
}

static void free_journal(struct journal *journal) {
    for (size_t i = 0; i < 16384; i++)
        while (journal->buckets && journal->buckets[i])
            journal_remove(journal, journal->buckets[i]);
    free(journal->buckets);
    free(journal->pending);
    if (journal->fd >= 0)
        close(journal->fd);
}

static void read_journal(const uint8_t *bytes, size_t size) {
    static int directory = -1;
    char folder[] = "/dev/shm/fuzz-keeper-XXXXXX";
    if (directory < 0 && (!mkdtemp(folder) || (directory = open(folder, O_DIRECTORY)) < 0))
        abort();
    int fd = openat(directory, "plain.journal", O_WRONLY | O_CREAT | O_TRUNC, 0600);
    struct record record;
    for (size_t at = 0; at + sizeof(record) <= size; at += sizeof(record)) {
        memcpy(&record, bytes + at, sizeof(record));
        if (record.magic == RECORD_MAGIC)
            record_seal(&record);
        if (write(fd, &record, sizeof(record)) < 0)
            abort();
    }
    if (write(fd, bytes, size % sizeof(record)) < 0) /* a torn tail */
        abort();
    close(fd);
    struct journal journal = {.fd = -1};
    if (journal_open(&journal, directory, false) < 0)
        abort();
    free_journal(&journal);
    if (journal_open(&journal, directory, false) < 0) /* what it rewrote */
        abort();
    free_journal(&journal);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size > 1 && *bytes == 'l')
        read_launch(bytes + 1, size - 1);
    else if (size > 1 && *bytes == 'j')
        read_journal(bytes + 1, size - 1);
    return 0;
}
