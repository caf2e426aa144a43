/* Addresses that a request may go to, and what is said of the others. */
#include "net/net.h"
#include "tap.h"

static bool is_good(const char *url) {
    OWN_ERROR problem = NULL;
    bool good = net_check_url(url, &problem) == 0;
    OWN_STRING host = net_host(url);
    CHECK((host != NULL) == good);
    CHECK(good || (problem && problem->code == ERROR_USAGE && problem->hint));
    return good;
}

TEST(addresses_with_tls) {
    CHECK(is_good("https://api.medperf.org"));
    CHECK(is_good("https://api.medperf.org/api/v0/datasets/7/"));
    CHECK(is_good("https://10.0.0.1:8443/x"));
    CHECK(is_good("https://[fd00::1]:8443"));
    CHECK(is_good("https://a/%20b"));
}

TEST(this_machine_may_be_spoken_to_without) {
    CHECK(is_good("http://localhost:8000/api"));
    CHECK(is_good("http://127.0.0.1"));
    CHECK(is_good("http://[::1]:1"));
    CHECK(!is_good("http://localhost.evil.org"));
    CHECK(!is_good("http://127.0.0.1.evil.org"));
    CHECK(!is_good("http://10.0.0.1"));
    CHECK(!is_good("http://api.medperf.org"));
}

TEST(what_is_no_address) {
    static const char *const bad[] = {
        "",
        "https://",
        "https:///x",
        "https://:1",
        "https://a:",
        "https://a:0",
        "https://a:65536",
        "https://a:1x",
        "https://a b",
        "https://a/\r\nX: y",
        "https://[::1",
        "https://[]",
        "ftp://a",
        "file:///etc/shadow",
        "HTTPS://a",
        "https://a/?b",
        "https://a/#b",
        "https://a\\b",
        "https://u@a",
        "https://u:p@a",
        "https://u:1@a",
        "https://localhost@a",
        "https://a/\"",
        "https://a/\xc3\xa4",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK(!is_good(bad[i]));
}

TEST(what_is_too_long) {
    OWN_BUFFER url = {0};
    buffer_append(&url, "https://a/");
    buffer_append_repeat(&url, 'b', NET_URL_MAXIMUM - url.size);
    CHECK(is_good(buffer_text(&url)));
    buffer_append_char(&url, 'b');
    CHECK(!is_good(buffer_text(&url)));
    buffer_clear(&url);
    buffer_append(&url, "https://");
    buffer_append_repeat(&url, 'b', 254);
    CHECK(!is_good(buffer_text(&url)));
}

TEST(a_password_is_not_repeated) {
    OWN_ERROR problem = NULL;
    CHECK(net_check_url("https://me:secret@a", &problem) < 0);
    CHECK(problem && !strstr(problem->message, "secret") && !strstr(problem->hint, "secret"));
}

TEST(hosts) {
    static const char *const pairs[][2] = {{"https://api.medperf.org/x", "api.medperf.org"},
                                           {"https://a:1/x", "a:1"},
                                           {"https://[::1]:8/x", "[::1]:8"}};
    for (size_t i = 0; i < ARRAY_SIZE(pairs); i++) {
        OWN_STRING found = net_host(pairs[i][0]);
        CHECK_TEXT(found, pairs[i][1]);
    }
}

TAP_MAIN
