/* Every allocation on the way of a report, made to fail in turn. */
#include "api/private-medperf.h"
#include "faults.h"
#include "tap.h"

#include <fcntl.h>

static char token_file[] = "/t";

static int refuse(const char *scratch, struct buffer *out, struct error **err) {
    (void)scratch;
    OWN_STRING server = medperf_server("https://api.medperf.org/", err);
    if (!server)
        return -1;
    struct reporting to = {.server = server, .dataset = 7, .token_file = token_file};
    OWN_JSON preview = medperf_preview(&to, "{}", err);
    OWN_STRING text = preview ? json_canonical(preview, err) : NULL;
    if (!text)
        return -1;
    OWN_NET_RESPONSE response = {.status = 200};
    buffer_append(&response.body, "{\"id\": 7}");
    if (buffer_check(&response.body, err) < 0 || medperf_judge(&response, &to, "token", err) < 0)
        return -1;
    buffer_append(out, text);
    return buffer_check(out, err);
}

static int read_token(const char *scratch, struct buffer *out, struct error **err) {
    OWN_STRING path = path_join(scratch, "token");
    if (!path)
        return error_set_memory(err);
    if (file_write_atomic(AT_FDCWD, path, "abc\n", 4, 0600, err) < 0 ||
        medperf_check_token(path, err) < 0)
        return -1;
    buffer_append(out, "good");
    return buffer_check(out, err);
}

TEST(answers) {
    CHECK(faults_try("answers", refuse) > 5);
}

TEST(tokens) {
    CHECK(faults_try("tokens", read_token) > 5);
}

TAP_MAIN
