/* Reports to a MedPerf server. */
#include "api/private-medperf.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#define INTERFACE     "/api/v0"
#define TOKEN_MAXIMUM ((size_t)16 << 10)
/* The whole dataset comes back, with what its owner and its preparation wrote about it. */
#define TIMEOUT         20000 /* ms */
#define ANSWER_MAXIMUM  ((size_t)8 << 20)
#define TOKEN_IN_HEADER "Authorization: Bearer "
#define CONTENT_TYPE    "Content-Type: application/json"
#define ACCEPT          "Accept: application/json"

char *medperf_server(const char *given, struct error **err) {
    OWN_STRING server = memory_copy_string(given);
    if (!server) {
        error_set_memory(err);
        return NULL;
    }
    if (net_check_url(server, err) < 0)
        return NULL;
    size_t size = strlen(server);
    while (size && server[size - 1] == '/')
        server[--size] = '\0';
    if (text_ends_with(server, INTERFACE))
        return take(&server);
    char *whole = memory_format("%s" INTERFACE, server);
    if (!whole)
        error_set_memory(err);
    return whole;
}

static char *address_of(const struct reporting *to) {
    return memory_format("%s/datasets/%lld/", to->server, (long long)to->dataset);
}

/* --------------------------------------------------------------------- token */

static void token_cleanup(struct buffer *token) {
    if (token->data)
        explicit_bzero(token->data, token->capacity);
    buffer_release(token);
}

static int read_token(const char *path, struct buffer *ret, struct error **err) {
    struct stat status;
    OWN_STRING what = memory_format("the token file %s", path);
    OWN_FD fd = file_open(AT_FDCWD, path, O_RDONLY | O_NONBLOCK, 0, err);
    if (fd < 0)
        return error_wrap(err, "the token file");
    if (!what)
        return error_set_memory(err);
    if (fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "%s", what);
    if (file_check_private(&status, what, err) < 0)
        return -1;
    if (file_read_all(AT_FDCWD, path, TOKEN_MAXIMUM, ret, err) < 0)
        return error_wrap(err, "the token file");
    while (ret->size && strchr(" \t\r\n", ret->data[ret->size - 1]))
        buffer_truncate(ret, ret->size - 1);
    size_t good = strspn(buffer_text(ret), "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                           "0123456789-._~+/=");
    if (good > 0 && good == ret->size)
        return 0;
    error_set(err, ERROR_INVALID, "%s holds no token", what);
    return error_hint(err, "it holds the access token alone, in one line");
}

int medperf_check_token(const char *path, struct error **err) {
    CLEANUP(token_cleanup) struct buffer token = {.maximum = TOKEN_MAXIMUM + 1};
    return read_token(path, &token, err);
}

/* -------------------------------------------------------------------- answer */

static bool is_token_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr("-._~+/=", c));
}

/* Within bounds, and without what looks like a token, ours above all. */
static void append_said(struct buffer *out, const char *text, const char *token) {
    enum { LONGEST_WORD = 31, LONGEST = 200 };
    size_t begin = out->size;
    while (*text && out->size < begin + LONGEST) {
        bool word = is_token_letter(*text);
        size_t size = 1;
        while (text[size] && is_token_letter(text[size]) == word && (word || size < LONGEST))
            size++;
        OWN_STRING part = memory_copy_bytes(text, size);
        if (!part)
            return;
        if (word && (size > LONGEST_WORD || (*token && strstr(part, token))))
            buffer_append(out, "(…)");
        else
            text_append_printable(out, part);
        text += size;
    }
    if (*text)
        buffer_append(out, " (…)");
}

/* Django REST framework says {"detail": "…"}, or {"FIELD": ["…", …], …}. */
static void append_reason(struct buffer *out, const json_t *answer, const char *token) {
    const char *name;
    json_t *said;
    unsigned count = 0;
    json_object_foreach((json_t *)(uintptr_t)answer, name, said) {
        const json_t *first = json_is_array(said) ? json_array_get(said, 0) : said;
        if (!json_is_string(first) || count++ == 3)
            continue;
        buffer_append(out, count == 1 ? ": " : "; ");
        if (!text_equal(name, "detail")) {
            append_said(out, name, token);
            buffer_append(out, ": ");
        }
        append_said(out, json_string_value(first), token);
    }
}

static int hint_of(int status, const struct reporting *to, const char *reason, struct error **err) {
    if (strstr(reason, "Operation mode"))
        return error_hint(err, "the dataset is operational and takes no reports any more: "
                               "`glovebox report RUN --stop`");
    if (status == 401)
        return error_hint(err,
                          "the token has expired, or is not for this server: put a new one "
                          "into %s; the report is kept",
                          to->token_file);
    if (status == 403)
        return error_hint(err,
                          "only the owner of dataset %lld may report on it, and one that is not "
                          "there has none: whose token is it?",
                          (long long)to->dataset);
    if (status == 404)
        return error_hint(err, "is there a dataset %lld, and is the address right?",
                          (long long)to->dataset);
    if (status >= 300 && status < 400)
        return error_hint(err, "it says that it is elsewhere now, and the token goes to nobody who "
                               "was not named: give the new address");
    return error_hint(err, "the report is kept and sent later");
}

static int refuse(int status, const struct reporting *to, const json_t *answer, const char *token,
                  struct error **err) {
    enum error_code code = status == 401 || status == 403  ? ERROR_DENIED
                           : status == 404                 ? ERROR_NOT_FOUND
                           : status >= 400 && status < 500 ? ERROR_INVALID
                                                           : ERROR_IO;
    OWN_BUFFER reason = {.maximum = 4096};
    OWN_STRING host = net_host(to->server);
    append_reason(&reason, answer, token);
    error_set(err, code, "%s refused the report with status %d%s", host ? host : "the server",
              status, buffer_text(&reason));
    return hint_of(status, to, buffer_text(&reason), err);
}

/* A page of a proxy or a wrong address may say 200 as well: only the dataset itself is a yes. */
static int check_dataset(const json_t *answer, const struct reporting *to, struct error **err) {
    if (json_is_object(answer) && json_get_integer(answer, "id", -1) == to->dataset)
        return 0;
    OWN_STRING host = net_host(to->server);
    error_set(err, ERROR_INVALID, "%s did not answer as a MedPerf server does",
              host ? host : "the server");
    return error_hint(err, "is %s its address, and nothing in between that answers for it?",
                      to->server);
}

int medperf_judge(const struct net_response *response, const struct reporting *to,
                  const char *token, struct error **err) {
    OWN_JSON answer = json_parse(buffer_text(&response->body), response->body.size, NULL);
    return response->status == 200 ? check_dataset(answer, to, err)
                                   : refuse(response->status, to, answer, token, err);
}

/* ------------------------------------------------------------------- sending */

json_t *medperf_preview(const struct reporting *to, const char *body, struct error **err) {
    OWN_STRING address = address_of(to);
    OWN_STRING token = memory_format(TOKEN_IN_HEADER "(what %s holds)",
                                     to->token_file ? to->token_file : "the token file");
    json_t *preview = address && token
                          ? json_pack("{s:s, s:s, s:[s, s, s], s:s}", "method", "PUT", "url",
                                      address, "headers", token, CONTENT_TYPE, ACCEPT, "body", body)
                          : NULL;
    if (!preview)
        error_set_memory(err);
    return preview;
}

int medperf_send(const struct report *report, struct error **err) {
    CLEANUP(token_cleanup) struct buffer token = {.maximum = TOKEN_MAXIMUM + 1};
    CLEANUP(token_cleanup) struct buffer header = {.maximum = 2 * TOKEN_MAXIMUM};
    OWN_NET_RESPONSE response = {0};
    OWN_STRING address = address_of(&report->to);
    if (!address)
        return error_set_memory(err);
    if (read_token(report->to.token_file, &token, err) < 0)
        return -1;
    buffer_format(&header, TOKEN_IN_HEADER "%s", buffer_text(&token));
    if (buffer_check(&header, err) < 0)
        return -1;
    const char *headers[] = {buffer_text(&header), CONTENT_TYPE, ACCEPT};
    struct net_request request = {.method = "PUT",
                                  .url = address,
                                  .headers = headers,
                                  .header_count = ARRAY_SIZE(headers),
                                  .body = report->body,
                                  .body_size = strlen(report->body),
                                  .ca_file = report->to.ca_file,
                                  .timeout = TIMEOUT,
                                  .maximum = ANSWER_MAXIMUM};
    if (net_request(&request, &response, err) < 0)
        return -1;
    return medperf_judge(&response, &report->to, buffer_text(&token), err);
}
