/* The journal, and the names that the keeper answers for. */
#include "compute/keeper/keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/*
 * The journal is append-only: LAUNCHED before a job starts, EXITED when it ended, FORGOTTEN when
 * the driver has stored the report. One write() for a batch. It is not fsynced: it has to survive
 * the death of processes; after a power cut the jobs are gone anyway.
 */

enum { BUCKETS = 16384, PENDING_MAXIMUM = 65536, COMPACT_AFTER = 4096 };

static size_t bucket_of(const char *name) {
    uint64_t hash = 14695981039346656037u;
    for (; *name; name++)
        hash = (hash ^ (unsigned char)*name) * 1099511628211u;
    return (size_t)(hash ^ (hash >> 32)) % BUCKETS;
}

struct entry *journal_find(struct journal *journal, const char *name) {
    struct entry *entry = journal->buckets[bucket_of(name)];
    while (entry && strcmp(entry->record.name, name) != 0)
        entry = entry->next;
    return entry;
}

struct entry *journal_add(struct journal *journal, const char *name) {
    if (journal->entry_count >= NAMES_MAXIMUM)
        return NULL;
    struct entry *entry = calloc(1, sizeof(*entry));
    if (!entry)
        return NULL;
    (void)snprintf(entry->record.name, sizeof(entry->record.name), "%s", name);
    struct entry **bucket = &journal->buckets[bucket_of(name)];
    entry->record.boot = journal->boot;
    entry->next = *bucket;
    *bucket = entry;
    journal->entry_count++;
    return entry;
}

void journal_remove(struct journal *journal, struct entry *entry) {
    struct entry **at = &journal->buckets[bucket_of(entry->record.name)];
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    journal->entry_count--;
    free(entry);
}

int journal_append(struct journal *journal, struct record *record) {
    if (journal->pending_count == journal->pending_capacity) {
        size_t capacity = journal->pending_capacity ? journal->pending_capacity * 2 : 64;
        if (capacity > PENDING_MAXIMUM)
            return -1;
        struct record *larger = realloc(journal->pending, capacity * sizeof(*larger));
        if (!larger)
            return -1;
        journal->pending = larger;
        journal->pending_capacity = capacity;
    }
    record_seal(record);
    journal->pending[journal->pending_count++] = *record;
    return 0;
}

/* Writes records to the end of `fd`; a partial write is taken back so that none is ever torn. */
static int write_records(int fd, const struct record *records, size_t count) {
    const char *bytes = (const char *)records;
    size_t size = count * sizeof(*records);
    off_t start = lseek(fd, 0, SEEK_END);
    for (size_t done = 0; done < size;) {
        ssize_t written = write(fd, bytes + done, size - done);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            int number = errno;
            if (ftruncate(fd, start) < 0)
                number = errno;
            errno = number;
            return -1;
        }
        done += (size_t)written;
    }
    return 0;
}

/* A new file with what still counts, renamed over the old one: a driver that reads the old one
 * at this moment keeps reading it whole. */
static int rewrite(struct journal *journal) {
    int fd = openat(journal->directory, journal->temporary_name,
                    O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    struct record batch[32];
    size_t count = 0;
    int bad = 0;
    for (size_t i = 0; i < BUCKETS && !bad; i++) {
        for (const struct entry *entry = journal->buckets[i]; entry && !bad; entry = entry->next) {
            batch[count++] = entry->record;
            if (count == 32) {
                bad = write_records(fd, batch, count);
                count = 0;
            }
        }
    }
    if (!bad && count)
        bad = write_records(fd, batch, count);
    if (!bad)
        bad = renameat(journal->directory, journal->temporary_name, journal->directory,
                       journal->name);
    if (bad) {
        close(fd);
        (void)unlinkat(journal->directory, journal->temporary_name, 0);
        return -1;
    }
    if (journal->fd >= 0)
        close(journal->fd);
    journal->fd = fd;
    journal->written = journal->entry_count;
    return 0;
}

int journal_commit(struct journal *journal) {
    if (!journal->pending_count)
        return 0;
    if (write_records(journal->fd, journal->pending, journal->pending_count) < 0)
        return -1;
    journal->written += journal->pending_count;
    journal->pending_count = 0;
    if (journal->written > COMPACT_AFTER && journal->written / 4 > journal->entry_count)
        (void)rewrite(journal); /* the long one serves as well */
    return 0;
}

static void replay_record(struct journal *journal, const struct record *record) {
    struct entry *entry = journal_find(journal, record->name);
    if (record->type == RECORD_FORGOTTEN) {
        if (entry)
            journal_remove(journal, entry);
        return;
    }
    if (!entry)
        entry = journal_add(journal, record->name);
    if (entry)
        entry->record = *record;
}

static int replay(struct journal *journal) {
    int fd = openat(journal->directory, journal->name, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT ? 0 : -1;
    struct record batch[64];
    ssize_t size;
    /* A tail that does not fill a record was being written when the last keeper died. */
    while ((size = read(fd, batch, sizeof(batch))) >= (ssize_t)sizeof(batch[0])) {
        for (size_t i = 0; i < (size_t)size / sizeof(batch[0]); i++) {
            if (record_is_valid(&batch[i]))
                replay_record(journal, &batch[i]);
        }
    }
    close(fd);
    return size < 0 ? -1 : 0;
}

/* True once the process is gone or only waits to be buried. */
static bool is_dead(pid_t pid) {
    char path[64], text[512];
    (void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return true;
    ssize_t size = read(fd, text, sizeof(text) - 1);
    close(fd);
    text[size > 0 ? size : 0] = '\0';
    const char *end = strrchr(text, ')');
    return !end || strncmp(end, ") Z", 3) == 0 || strncmp(end, ") X", 3) == 0;
}

/* The children of a keeper that was killed die with it (PR_SET_PDEATHSIG), but not their
 * children. Those are still in the job's process group. A group whose leader stays alive is
 * another's: the number was used again. */
void journal_end_leftovers(struct journal *journal) {
    struct timespec pause = {.tv_nsec = 5000000};
    int patience = 40; /* for all: a dying leader may take a moment */
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct entry *entry = journal->buckets[i]; entry; entry = entry->next) {
            const struct record *record = &entry->record;
            if (!entry->just_lost || record->pid <= 1)
                continue;
            entry->just_lost = false;
            while (!is_dead(record->pid) && patience-- > 0)
                (void)nanosleep(&pause, NULL);
            if (is_dead(record->pid))
                (void)kill(-record->pid, SIGKILL);
        }
    }
}

static uint64_t read_boot(void) {
    char text[64] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
        text[0] = '\0';
    if (fd >= 0)
        close(fd);
    uint64_t hash = 1;
    for (const char *at = text; *at; at++)
        hash = hash * 31 + (unsigned char)*at;
    return hash;
}

int journal_open(struct journal *journal, int directory, enum keeper_kind kind) {
    journal->directory = directory;
    journal->boot = read_boot();
    journal->fd = -1;
    const char *name = keeper_kind_name(kind);
    (void)snprintf(journal->name, sizeof(journal->name), "%s.journal", name);
    (void)snprintf(journal->temporary_name, sizeof(journal->temporary_name), "%s.journal.new",
                   name);
    journal->buckets = calloc(BUCKETS, sizeof(struct entry *));
    if (!journal->buckets || replay(journal) < 0)
        return -1;
    for (size_t i = 0; i < BUCKETS; i++) {
        for (struct entry *entry = journal->buckets[i]; entry; entry = entry->next) {
            struct record *record = &entry->record;
            if (record->type != RECORD_LAUNCHED)
                continue;
            record->type = RECORD_EXITED;
            record->cause = CAUSE_LOST;
            record->remark = REMARK_KEEPER_DIED;
            record->exit_code = -1;
            int64_t now = now_wall();
            record->ended = now > record->started ? now : record->started;
            record_seal(record);
            entry->just_lost = record->boot == journal->boot;
        }
    }
    return rewrite(journal);
}

void journal_close(struct journal *journal) {
    (void)journal_commit(journal);
    if (journal->entry_count == 0 && journal->pending_count == 0)
        (void)unlinkat(journal->directory, journal->name, 0);
}
