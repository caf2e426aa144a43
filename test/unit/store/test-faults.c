/* Every allocation and every system call of the store, made to fail in turn. */
#include "faults.h"
#include "store/store.h"
#include "tap.h"

static const char *const scripts[] = {
    "CREATE TABLE thing(id INTEGER PRIMARY KEY, name TEXT, weight REAL, bytes BLOB)",
    "CREATE INDEX thing_name ON thing(name)",
};
static const struct store_migrations migrations = {scripts, 2};

static int add(struct store *store, const char *name, struct error **err) {
    return store_run(store, err, "INSERT INTO thing(name, weight, bytes) VALUES(?, ?, ?)", "sdb",
                     name, 1.5, "bytes", (size_t)5);
}

static int tell(struct store *store, struct buffer *out, struct error **err) {
    OWN_ROWS rows =
        store_query(store, err, "SELECT id, name, weight, bytes FROM thing ORDER BY id", "");
    if (!rows)
        return -1;
    int more;
    while ((more = rows_next(rows, err)) > 0) {
        size_t size = 0;
        const void *bytes = rows_bytes(rows, 3, &size);
        const char *name = rows_text(rows, 1);
        if (!name || !bytes)
            return error_set_memory(err);
        buffer_format(out, "%lld %s %g %.*s\n", (long long)rows_integer(rows, 0), name,
                      rows_number(rows, 2), (int)size, (const char *)bytes);
    }
    return more < 0 ? -1 : buffer_check(out, err);
}

static int write_all(struct store *store, struct error **err) {
    if (store_begin(store, err) < 0)
        return -1;
    if (add(store, "one", err) < 0 || add(store, "two", err) < 0 ||
        store_script(store, "UPDATE thing SET weight = 2 WHERE name = 'two'", err) < 0) {
        store_rollback(store);
        return -1;
    }
    return store_commit(store, err);
}

static int use(const char *scratch, unsigned flags, struct buffer *out, struct error **err) {
    OWN_STRING path = path_join(scratch, "a.db");
    OWN_STORE store = NULL;
    if (!path)
        return error_set_memory(err);
    if (store_open(path, &migrations, flags, &store, err) < 0 || write_all(store, err) < 0)
        return -1;
    store_close(take(&store)); /* what is in the log goes into the database */
    int64_t count = 0;
    if (store_open(path, &migrations, flags, &store, err) < 0 || tell(store, out, err) < 0 ||
        store_integer(store, 0, &count, err, "SELECT count(*) FROM thing", "") < 0)
        return -1;
    buffer_format(out, "%lld", (long long)count);
    return buffer_check(out, err);
}

static int use_plainly(const char *scratch, struct buffer *out, struct error **err) {
    return use(scratch, 0, out, err);
}

static int use_durably(const char *scratch, struct buffer *out, struct error **err) {
    return use(scratch, STORE_DURABLE, out, err);
}

TEST(what_was_committed_is_there_and_all_else_is_an_error) {
    CHECK(faults_try("store", use_plainly) > 200);
}

TEST(what_was_committed_durably) {
    CHECK(faults_try("durable store", use_durably) > 200);
}

TAP_MAIN
