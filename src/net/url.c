/* Addresses: which ones a request may go to. */
#include "net/private-url.h"

#include <string.h>

#define HOST_MAXIMUM ((size_t)253)

static bool is_one_of(char c, const char *others) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           (c && strchr(others, c));
}

static size_t span(const char *text, const char *others) {
    size_t size = 0;
    while (is_one_of(text[size], others))
        size++;
    return size;
}

/* "HOST" or "[IPv6]"; 0 when it is none. */
static size_t host_size(const char *text) {
    if (*text != '[')
        return span(text, "-._");
    size_t size = span(text + 1, ":.") + 1;
    return size > 1 && text[size] == ']' ? size + 1 : 0;
}

static bool is_here(const char *host, size_t size) {
    static const char *const names[] = {"localhost", "127.0.0.1", "[::1]"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strlen(names[i]) == size && strncmp(names[i], host, size) == 0)
            return true;
    return false;
}

/* What is wrong with it, or NULL. */
static const char *parse(const char *url, struct url *ret) {
    *ret = (struct url){.secure = text_starts_with(url, "https://")};
    if (strnlen(url, NET_URL_MAXIMUM + 1) > NET_URL_MAXIMUM)
        return "it is too long";
    if (!ret->secure && !text_starts_with(url, "http://"))
        return "it begins neither with https:// nor with http://";
    ret->host = url + (ret->secure ? 8 : 7);
    ret->host_size = host_size(ret->host);
    if (ret->host_size == 0 || ret->host_size > HOST_MAXIMUM)
        return "it names no host";
    const char *at = ret->host + ret->host_size;
    if (*at == ':') {
        size_t digits = strspn(at + 1, "0123456789");
        OWN_STRING port = memory_copy_bytes(at + 1, digits < 6 ? digits : 6);
        int64_t number;
        if (!port || text_parse_integer(port, 1, 65535, &number, NULL) < 0)
            return strchr(at, '@') ? "a user has no place in it" : "its port is none";
        at += 1 + digits;
    }
    ret->authority_size = (size_t)(at - ret->host);
    if (*at == '@')
        return "a user has no place in it";
    if (*at && *at != '/')
        return "its host is none";
    size_t path = span(at, "/-._~%!$&'()*+,;=:@");
    if (at[path] == '?' || at[path] == '#')
        return "a query or a fragment has no place in it";
    if (at[path])
        return "it holds a character that must be escaped";
    ret->here = is_here(ret->host, ret->host_size);
    return !ret->secure && !ret->here ? "what goes there must be encrypted" : NULL;
}

int url_parse(const char *url, struct url *ret, struct error **err) {
    const char *wrong = parse(url, ret);
    if (!wrong)
        return 0;
    /* Not repeated: somebody may have put a password into it. */
    error_set(err, ERROR_USAGE, "the address of the server cannot be used: %s", wrong);
    return error_hint(err, "give it as https://HOST[:PORT][/PATH]");
}

int net_check_url(const char *url, struct error **err) {
    struct url parts;
    return url_parse(url, &parts, err);
}

char *net_host(const char *url) {
    struct url parts;
    return url_parse(url, &parts, NULL) < 0 ? NULL
                                            : memory_copy_bytes(parts.host, parts.authority_size);
}
