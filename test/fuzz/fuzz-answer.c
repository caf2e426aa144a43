/* What people type and servers answer. The first byte says which: u: an address; a: an answer, its
 * status by the second byte. */
#include "api/private-medperf.h"
#include "fuzz.h"

#define TOKEN "s3cret"

static void read_address(const char *text) {
    OWN_ERROR error = NULL;
    OWN_STRING server = medperf_server(text, &error);
    if (!server) {
        fuzz_check_error(error);
        return;
    }
    OWN_STRING host = net_host(server);
    fuzz_require(host && *host && !strpbrk(server, " \r\n?#\\"));
    fuzz_require(text_starts_with(server, "https://") || text_starts_with(server, "http://"));
}

static void read_answer(uint8_t status, const char *bytes, size_t size) {
    static char server[] = "https://a/api/v0", token_file[] = "/t";
    static const int statuses[] = {200, 301, 400, 401, 403, 404, 503};
    const struct reporting to = {.server = server, .dataset = 7, .token_file = token_file};
    OWN_NET_RESPONSE response = {.status = statuses[status % ARRAY_SIZE(statuses)]};
    OWN_ERROR error = NULL;
    buffer_append_bytes(&response.body, bytes, size);
    if (medperf_judge(&response, &to, TOKEN, &error) == 0)
        return;
    fuzz_check_error(error);
    fuzz_require(strlen(error->message) < 2048 && !strstr(error->message, TOKEN));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    if (size < 2)
        return 0;
    OWN_STRING text = memory_copy_bytes(bytes + 1, size - 1);
    fuzz_require(text);
    if (*bytes == 'u')
        read_address(text);
    else if (*bytes == 'a')
        read_answer(bytes[1], text + 1, size - 2);
    return 0;
}
