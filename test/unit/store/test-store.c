#include "store/store.h"
#include "tap.h"

#include <fcntl.h>
#include <stdlib.h>

static const char *const scripts[] = {
    "CREATE TABLE thing(id INTEGER PRIMARY KEY, name TEXT, weight REAL, bytes BLOB)",
    "CREATE INDEX thing_name ON thing(name)",
};

static char *scratch(void) {
    char *path = memory_copy_string("/tmp/glovebox-test-XXXXXX");
    return path && mkdtemp(path) ? path : NULL;
}

TEST(rows_come_back_as_they_went) {
    OWN_STRING root = scratch();
    OWN_STRING path = path_join(root, "a.db");
    struct store_migrations migrations = {scripts, 2};
    OWN_STORE store = NULL;
    OWN_ERROR error = NULL;
    REQUIRE(store_open(path, &migrations, STORE_DURABLE, &store, &error) == 0);
    CHECK(store_begin(store, NULL) == 0);
    CHECK(store_run(store, NULL, "INSERT INTO thing(name, weight, bytes) VALUES(?, ?, ?)", "sdb",
                    "größe", 1.5, "\0\1", (size_t)2) == 0);
    CHECK(store_run(store, NULL, "INSERT INTO thing(name) VALUES(?)", "s", (char *)NULL) == 0);
    CHECK(store_commit(store, NULL) == 0);
    struct rows *rows = store_query(store, NULL, "SELECT * FROM thing ORDER BY id", "");
    REQUIRE(rows);
    CHECK(rows_next(rows, NULL) == 1);
    CHECK_TEXT(rows_text(rows, 1), "größe");
    CHECK(rows_number(rows, 2) == 1.5);
    size_t size = 0;
    CHECK(memcmp(rows_bytes(rows, 3, &size), "\0\1", 2) == 0 && size == 2);
    CHECK(rows_next(rows, NULL) == 1);
    CHECK(rows_null(rows, 1) && rows_text(rows, 1) == NULL);
    CHECK(rows_next(rows, NULL) == 0);
    rows_close(rows);
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

TEST(a_rolled_back_change_is_gone) {
    OWN_STRING root = scratch();
    OWN_STRING path = path_join(root, "a.db");
    struct store_migrations migrations = {scripts, 2};
    OWN_STORE store = NULL;
    REQUIRE(store_open(path, &migrations, 0, &store, NULL) == 0);
    CHECK(store_begin(store, NULL) == 0);
    CHECK(store_run(store, NULL, "INSERT INTO thing(name) VALUES('x')", "") == 0);
    store_rollback(store);
    int64_t count = -1;
    CHECK(store_integer(store, 0, &count, NULL, "SELECT count(*) FROM thing", "") == 0);
    CHECK_INTEGER(count, 0);
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

TEST(a_newer_database_is_refused) {
    OWN_STRING root = scratch();
    OWN_STRING path = path_join(root, "a.db");
    struct store_migrations newer = {scripts, 2}, older = {scripts, 1};
    struct store *store = NULL;
    OWN_ERROR error = NULL;
    REQUIRE(store_open(path, &newer, 0, &store, NULL) == 0);
    store_close(take(&store));
    CHECK(store_open(path, &older, 0, &store, &error) < 0);
    CHECK(error && error->code == ERROR_UNSUPPORTED && error->hint);
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

TEST(an_older_database_is_brought_up) {
    OWN_STRING root = scratch();
    OWN_STRING path = path_join(root, "a.db");
    struct store_migrations newer = {scripts, 2}, older = {scripts, 1};
    struct store *store = NULL;
    REQUIRE(store_open(path, &older, 0, &store, NULL) == 0);
    store_close(take(&store));
    REQUIRE(store_open(path, &newer, 0, &store, NULL) == 0);
    int64_t count = 0;
    CHECK(store_integer(store, 0, &count, NULL,
                        "SELECT count(*) FROM sqlite_master WHERE name = 'thing_name'", "") == 0);
    CHECK_INTEGER(count, 1);
    store_close(store);
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

TEST(what_is_not_a_database_is_said_so) {
    OWN_STRING root = scratch();
    OWN_STRING path = path_join(root, "a.db");
    struct store_migrations migrations = {scripts, 2};
    char junk[4096];
    memset(junk, 'x', sizeof(junk));
    REQUIRE(file_write_atomic(AT_FDCWD, path, junk, sizeof(junk), 0600, NULL) == 0);
    struct store *store = NULL;
    OWN_ERROR error = NULL;
    CHECK(store_open(path, &migrations, 0, &store, &error) < 0);
    CHECK(error && error->code == ERROR_CORRUPT);
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

/* A full disk in the middle of a transaction: SQLite undoes all of it, and what follows must not
 * be committed alone. */
TEST(half_a_transaction_is_never_committed) {
    OWN_STRING root = scratch();
    OWN_STRING path = path_join(root, "a.db");
    struct store_migrations migrations = {scripts, 2};
    OWN_STORE store = NULL;
    OWN_ERROR error = NULL;
    OWN_STRING large = memory_allocate(1 << 20);
    memset(large, 'x', (1 << 20) - 1);
    int64_t count = 0;
    REQUIRE(store_open(path, &migrations, 0, &store, NULL) == 0);
    REQUIRE(store_script(store, "PRAGMA max_page_count = 30", NULL) == 0);
    REQUIRE(store_begin(store, NULL) == 0);
    CHECK(store_run(store, NULL, "INSERT INTO thing(name) VALUES('first')", "") == 0);
    CHECK(store_run(store, NULL, "INSERT INTO thing(name) VALUES(?)", "s", large) < 0);
    CHECK(store_in_transaction(store));
    CHECK(store_run(store, NULL, "INSERT INTO thing(name) VALUES('last')", "") < 0);
    CHECK(store_commit(store, &error) < 0);
    CHECK(error && error->code == ERROR_IO);
    CHECK(!store_in_transaction(store));
    REQUIRE(store_begin(store, NULL) == 0);
    CHECK(store_run(store, NULL, "INSERT INTO thing(name) VALUES('after')", "") == 0);
    CHECK(store_commit(store, NULL) == 0);
    CHECK(store_integer(store, 0, &count, NULL, "SELECT count(*) FROM thing", "") == 0);
    CHECK_INTEGER(count, 1);
    store_close(take(&store));
    CHECK(tree_remove(AT_FDCWD, root, NULL) == 0);
}

TAP_MAIN
