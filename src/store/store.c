/* SQLite: opening, migrations, transactions, statements with their values. */
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#define STATEMENTS_MAXIMUM 512
#define BUSY_MILLISECONDS  30000

/* A kept statement, and the query in progress on it. */
struct rows {
    struct store *store;
    const char *sql;
    sqlite3_stmt *statement;
    bool busy;
};

struct store {
    sqlite3 *database;
    struct rows **kept; /* open-addressed by the address of the SQL text; pointers stay put */
    size_t kept_count;
    bool begun; /* a transaction, and neither committed nor rolled back by us */
};

static int fail(struct store *store, const char *what, struct error **err) {
    int code = sqlite3_errcode(store->database);
    const char *message = sqlite3_errmsg(store->database);
    switch (code & 0xff) {
    case SQLITE_BUSY:
        error_set(err, ERROR_BUSY, "%s: the database is held by another program", what);
        return error_hint(err, "another glovebox may be busy in this home; try again");
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return error_set(err, ERROR_CORRUPT, "%s: %s", what, message);
    case SQLITE_NOMEM:
        return error_set_memory(err);
    case SQLITE_FULL:
        error_set(err, ERROR_IO, "%s: %s", what, message);
        return error_hint(err, "free some space on the file system of the home");
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CANTOPEN:
        error_set(err, ERROR_DENIED, "%s: %s", what, message);
        return error_hint(err, "the home must be writable by you: check its owner and the mount");
    default:
        return error_set(err, ERROR_IO, "%s: %s", what, message);
    }
}

/* ------------------------------------------------------------------- opening */

static int migrate(struct store *store, const struct store_migrations *migrations, bool read_only,
                   struct error **err) {
    int64_t version = 0;
    if (store_integer(store, 0, &version, err, "PRAGMA user_version", "") < 0)
        return -1;
    if (version > migrations->count) {
        error_set(
            err, ERROR_UNSUPPORTED,
            "the database was written by a newer version of glovebox (format %lld, we know %d)",
            (long long)version, migrations->count);
        return error_hint(err, "upgrade glovebox, or use another --home");
    }
    if (version == migrations->count)
        return 0;
    /* Somebody is just making it, or it is older than the statements we would ask it. */
    if (read_only && version == 0)
        return error_set(err, ERROR_NOT_FOUND, "the database has not been made yet");
    if (read_only) {
        error_set(err, ERROR_UNSUPPORTED, "the database was written by an older glovebox");
        return error_hint(err,
                          "any command that writes, such as `glovebox gc`, brings it up to date");
    }
    OWN_STRING pragma = memory_format("PRAGMA user_version = %d", migrations->count);
    if (!pragma)
        return error_set_memory(err);
    if (store_begin(store, err) < 0)
        return -1;
    /* Another program may have done it while we waited for the lock. */
    if (store_integer(store, 0, &version, err, "PRAGMA user_version", "") < 0)
        goto failed;
    for (int next = (int)version; next < migrations->count; next++)
        if (store_script(store, migrations->scripts[next], err) < 0)
            goto failed;
    if (store_script(store, pragma, err) < 0)
        goto failed;
    return store_commit(store, err);
failed:
    store_rollback(store);
    return -1;
}

/* Two programs that make one database at once: SQLite does not wait for the other one when it
 * changes the journal's mode, so we do. */
static int set_up(struct store *store, const char *settings, struct error **err) {
    int64_t until = clock_monotonic() + BUSY_MILLISECONDS;
    for (;;) {
        struct error *problem = NULL;
        if (store_script(store, settings, &problem) == 0)
            return 0;
        if (problem->code != ERROR_BUSY || clock_monotonic() > until)
            return error_move(err, problem);
        error_free(problem);
        usleep(5000);
    }
}

/* A home on a read-only disk can still be read. There is no log beside the database then, nor
 * anybody who writes; SQLite would make files for both, unless it is told. */
static bool is_frozen(const char *path) {
    return access(path, W_OK) < 0 && errno == EROFS;
}

static char *frozen_name(const char *path, struct error **err) {
    OWN_BUFFER name = {.maximum = 16384};
    buffer_append(&name, "file:");
    for (; *path; path++) {
        if (strchr("%?#", *path))
            buffer_format(&name, "%%%02X", (unsigned)(unsigned char)*path);
        else
            buffer_append_char(&name, *path);
    }
    buffer_append(&name, "?immutable=1");
    return buffer_take(&name, err);
}

int store_open(const char *path, const struct store_migrations *migrations, unsigned flags,
               struct store **ret, struct error **err) {
    OWN_STORE store = memory_allocate(sizeof(*store));
    if (!store)
        return error_set_memory(err);
    store->kept = memory_array(STATEMENTS_MAXIMUM, sizeof(*store->kept));
    if (!store->kept)
        return error_set_memory(err);
    bool read_only = flags & STORE_READ_ONLY;
    int open_flags =
        SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE |
        (read_only ? SQLITE_OPEN_READWRITE : SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE);
    int code = sqlite3_open_v2(path, &store->database, open_flags, NULL);
    if (read_only && is_frozen(path)) {
        OWN_STRING frozen = frozen_name(path, err);
        if (!frozen)
            return -1;
        sqlite3_close(store->database);
        store->database = NULL;
        code = sqlite3_open_v2(frozen, &store->database,
                               SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX |
                                   SQLITE_OPEN_EXRESCODE,
                               NULL);
    }
    if (code != SQLITE_OK) {
        if (!store->database)
            return error_set_memory(err);
        fail(store, "cannot open the database", err);
        return error_wrap(err, "%s", path);
    }
    sqlite3_busy_timeout(store->database, BUSY_MILLISECONDS);
    sqlite3_db_config(store->database, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    const char *settings = flags & STORE_DURABLE
                               ? "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;"
                               : "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;";
    if (!read_only && set_up(store, settings, err) < 0)
        return error_wrap(err, "%s", path);
    if (store_script(store,
                     "PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY;"
                     "PRAGMA cache_size = -16384; PRAGMA wal_autocheckpoint = 4000;",
                     err) < 0)
        return error_wrap(err, "%s", path);
    if (migrate(store, migrations, read_only, err) < 0)
        return error_wrap(err, "%s", path);
    *ret = take(&store);
    return 0;
}

void store_close(struct store *store) {
    if (!store)
        return;
    for (size_t i = 0; store->kept && i < STATEMENTS_MAXIMUM; i++) {
        if (store->kept[i]) {
            sqlite3_finalize(store->kept[i]->statement);
            memory_free(store->kept[i]);
        }
    }
    memory_free(store->kept);
    sqlite3_close(store->database);
    memory_free(store);
}

void store_cleanup(struct store **store) {
    store_close(*store);
    *store = NULL;
}

/* ---------------------------------------------------------------- statements */

/* A full disk (or no memory) may make SQLite undo a whole transaction in the middle. What follows
 * must not be committed without what came before. */
static bool is_undone(const struct store *store) {
    return store->begun && sqlite3_get_autocommit(store->database);
}

static int refuse_undone(struct error **err) {
    error_set(err, ERROR_IO, "the database undid a transaction that had failed half-way");
    return error_hint(err, "free some space on the file system of the home");
}

static struct rows *prepare(struct store *store, const char *sql, struct error **err) {
    if (is_undone(store)) {
        refuse_undone(err);
        return NULL;
    }
    size_t slot = ((uintptr_t)sql >> 3) % STATEMENTS_MAXIMUM;
    while (store->kept[slot] && store->kept[slot]->sql != sql)
        slot = (slot + 1) % STATEMENTS_MAXIMUM;
    struct rows *rows = store->kept[slot];
    if (rows && rows->busy) {
        error_set(err, ERROR_INTERNAL, "a query is already in progress: %s", sql);
        return NULL;
    }
    if (!rows) {
        if (store->kept_count + 1 >= STATEMENTS_MAXIMUM) {
            error_set(err, ERROR_INTERNAL, "too many kinds of statements");
            return NULL;
        }
        rows = memory_allocate(sizeof(*rows));
        if (!rows) {
            error_set_memory(err);
            return NULL;
        }
        if (sqlite3_prepare_v3(store->database, sql, -1, SQLITE_PREPARE_PERSISTENT,
                               &rows->statement, NULL) != SQLITE_OK) {
            fail(store, "bad statement", err);
            memory_free(rows);
            return NULL;
        }
        rows->store = store;
        rows->sql = sql;
        store->kept[slot] = rows;
        store->kept_count++;
    }
    rows->busy = true;
    return rows;
}

void rows_close(struct rows *rows) {
    if (!rows)
        return;
    sqlite3_reset(rows->statement);
    sqlite3_clear_bindings(rows->statement);
    rows->busy = false;
}

void rows_cleanup(struct rows **rows) {
    rows_close(*rows);
    *rows = NULL;
}

static void bind_all(struct rows *rows, const char *types, va_list list) {
    for (int index = 1; *types; types++, index++) {
        if (*types == 'i') {
            sqlite3_bind_int64(rows->statement, index, va_arg(list, int64_t));
        } else if (*types == 'd') {
            sqlite3_bind_double(rows->statement, index, va_arg(list, double));
        } else if (*types == 's') {
            sqlite3_bind_text(rows->statement, index, va_arg(list, const char *), -1,
                              SQLITE_TRANSIENT);
        } else {
            const void *bytes = va_arg(list, const void *);
            size_t size = va_arg(list, size_t);
            sqlite3_bind_blob64(rows->statement, index, bytes, size, SQLITE_TRANSIENT);
        }
    }
}

static struct rows *start(struct store *store, const char *sql, const char *types, va_list list,
                          struct error **err) {
    struct rows *rows = prepare(store, sql, err);
    if (rows)
        bind_all(rows, types, list);
    return rows;
}

int store_run(struct store *store, struct error **err, const char *sql, const char *types, ...) {
    va_list list;
    va_start(list, types);
    OWN_ROWS rows = start(store, sql, types, list, err);
    va_end(list);
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0)
        ;
    return more;
}

struct rows *store_query(struct store *store, struct error **err, const char *sql,
                         const char *types, ...) {
    va_list list;
    va_start(list, types);
    struct rows *rows = start(store, sql, types, list, err);
    va_end(list);
    return rows;
}

int rows_next(struct rows *rows, struct error **err) {
    int code = sqlite3_step(rows->statement);
    if (code == SQLITE_ROW)
        return 1;
    if (code == SQLITE_DONE)
        return 0;
    return fail(rows->store, "database", err);
}

int64_t rows_integer(struct rows *rows, int column) {
    return sqlite3_column_int64(rows->statement, column);
}

double rows_number(struct rows *rows, int column) {
    return sqlite3_column_double(rows->statement, column);
}

const char *rows_text(struct rows *rows, int column) {
    return (const char *)sqlite3_column_text(rows->statement, column);
}

const void *rows_bytes(struct rows *rows, int column, size_t *ret_size) {
    const void *bytes = sqlite3_column_blob(rows->statement, column);
    *ret_size = (size_t)sqlite3_column_bytes(rows->statement, column);
    return bytes;
}

bool rows_null(struct rows *rows, int column) {
    return sqlite3_column_type(rows->statement, column) == SQLITE_NULL;
}

int store_integer(struct store *store, int64_t fallback, int64_t *ret, struct error **err,
                  const char *sql, const char *types, ...) {
    va_list list;
    va_start(list, types);
    OWN_ROWS rows = start(store, sql, types, list, err);
    va_end(list);
    if (!rows)
        return -1;
    int more = rows_next(rows, err);
    if (more < 0)
        return -1;
    *ret = more ? rows_integer(rows, 0) : fallback;
    return 0;
}

int store_script(struct store *store, const char *sql, struct error **err) {
    if (is_undone(store))
        return refuse_undone(err);
    if (sqlite3_exec(store->database, sql, NULL, NULL, NULL) != SQLITE_OK)
        return fail(store, "database", err);
    return 0;
}

int64_t store_last_id(const struct store *store) {
    return sqlite3_last_insert_rowid(store->database);
}

int64_t store_changes(const struct store *store) {
    return sqlite3_changes64(store->database);
}

/* -------------------------------------------------------------- transactions */

int store_begin(struct store *store, struct error **err) {
    if (store_run(store, err, "BEGIN IMMEDIATE", "") < 0)
        return -1;
    store->begun = true;
    return 0;
}

int store_commit(struct store *store, struct error **err) {
    if (store_run(store, err, "COMMIT", "") == 0) {
        store->begun = false;
        return 0;
    }
    store_rollback(store);
    return -1;
}

bool store_in_transaction(const struct store *store) {
    return store->begun;
}

int store_sync(struct store *store, struct error **err) {
    const char *path = sqlite3_filename_wal(sqlite3_db_filename(store->database, "main"));
    OWN_FD fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return 0; /* all of it is in the database itself, and was synced with it */
    return fd >= 0 && fdatasync(fd) == 0 ? 0
                                         : error_set_errno(err, errno, "cannot sync the database");
}

void store_rollback(struct store *store) {
    bool open = store->begun && !is_undone(store);
    store->begun = false;
    if (open && store_run(store, NULL, "ROLLBACK", "") < 0)
        log_message(LOG_ERROR, "a transaction could not be rolled back");
}
