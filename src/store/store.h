/*
 * store — the database: SQLite in WAL mode. Knows nothing of what is stored.
 *
 * One connection belongs to one thread. Statements are prepared once for each SQL text (which
 * must be a string literal: its address is the key) and kept.
 *
 * Durability: with STORE_DURABLE each commit is on disk before it returns. Without, a commit
 * survives the death of the program at any moment; a power cut may undo the last ones, never part
 * of one.
 */
#ifndef GLOVEBOX_STORE_H
#define GLOVEBOX_STORE_H

#include "base/base.h"

struct store;

/* Migrations are applied in order; each once, in one transaction. The version of a database is
 * the number of migrations it has seen (PRAGMA user_version). */
struct store_migrations {
    const char *const *scripts;
    int count;
};
enum store_flags { STORE_READ_ONLY = 1, STORE_DURABLE = 2 };

/* Opens or makes the database. ERROR_UNSUPPORTED when it has seen more migrations than we know;
 * ERROR_CORRUPT when it is not a database. */
int store_open(const char *path, const struct store_migrations *migrations, unsigned flags,
               struct store **ret, struct error **err) MUST_CHECK;
void store_close(struct store *store);
void store_cleanup(struct store **store);
#define OWN_STORE CLEANUP(store_cleanup) struct store *

/* Transactions. They do not nest. begin takes the write lock, waiting up to 30 s for others. When
 * one was undone half-way (a full disk), all that follows in it fails, until it is rolled back. */
int store_begin(struct store *store, struct error **err) MUST_CHECK;
int store_commit(struct store *store, struct error **err) MUST_CHECK;
/* What was committed is on disk when it returns, also without STORE_DURABLE. */
int store_sync(struct store *store, struct error **err) MUST_CHECK;
void store_rollback(struct store *store); /* nothing when none is open */
bool store_in_transaction(const struct store *store);

/* Runs one statement. `types` has a letter a parameter: i int64_t, d double, s const char * (may
 * be NULL), b const void * and size_t. */
int store_run(struct store *store, struct error **err, const char *sql, const char *types,
              ...) MUST_CHECK;
/* Runs SQL text that is not a literal, without parameters and results. */
int store_script(struct store *store, const char *sql, struct error **err) MUST_CHECK;
int64_t store_last_id(const struct store *store);
int64_t store_changes(const struct store *store);

/* A query in progress. Only one for each SQL text at a time. Texts are valid until the next step.
 */
struct rows;
struct rows *store_query(struct store *store, struct error **err, const char *sql,
                         const char *types, ...) MUST_CHECK;
/* 1: a row is there; 0: no more; -1: error. */
int rows_next(struct rows *rows, struct error **err) MUST_CHECK;
int64_t rows_integer(struct rows *rows, int column);
double rows_number(struct rows *rows, int column);
const char *rows_text(struct rows *rows, int column); /* NULL for SQL NULL */
const void *rows_bytes(struct rows *rows, int column, size_t *ret_size);
bool rows_null(struct rows *rows, int column);
void rows_close(struct rows *rows);
void rows_cleanup(struct rows **rows);
#define OWN_ROWS CLEANUP(rows_cleanup) struct rows *

/* One integer, or `fallback` when there is no row. */
int store_integer(struct store *store, int64_t fallback, int64_t *ret, struct error **err,
                  const char *sql, const char *types, ...) MUST_CHECK;

#endif
