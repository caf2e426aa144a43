/* A request by libcurl, which is loaded when it is first needed. */
#define CURL_DISABLE_TYPECHECK
#include "net/private-url.h"

#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>

#define TIMEOUT         30000 /* ms */
#define CONNECT_TIMEOUT 10000
#define ANSWER_MAXIMUM  ((size_t)1 << 20)
#define HEADERS_MAXIMUM 32

/* ------------------------------------------------------------------- library */

struct library {
    __typeof__(&curl_global_init) global_init;
    __typeof__(&curl_easy_init) easy_init;
    __typeof__(&curl_easy_setopt) set;
    __typeof__(&curl_easy_perform) perform;
    __typeof__(&curl_easy_getinfo) get;
    __typeof__(&curl_easy_cleanup) easy_cleanup;
    __typeof__(&curl_easy_strerror) explain;
    __typeof__(&curl_slist_append) list_append;
    __typeof__(&curl_slist_free_all) list_free;
};

static int find(void *handle, const char *name, void *function, struct error **err) {
    void *symbol = dlsym(handle, name);
    if (!symbol)
        return error_set(err, ERROR_UNSUPPORTED, "libcurl has no %s: it is too old", name);
    memcpy(function, &symbol, sizeof(symbol));
    return 0;
}

/* It stays loaded, as it asks for. */
static int load(struct library *ret, struct error **err) {
    static const char *const names[] = {"libcurl.so.4", "libcurl-gnutls.so.4"};
    void *handle = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(names) && !handle; i++)
        handle = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!handle) {
        error_set(err, ERROR_UNSUPPORTED, "libcurl is not on this machine: %s", dlerror());
        return error_hint(err, "install it: in Debian, its package is libcurl4");
    }
    if (find(handle, "curl_global_init", &ret->global_init, err) < 0 ||
        find(handle, "curl_easy_init", &ret->easy_init, err) < 0 ||
        find(handle, "curl_easy_setopt", &ret->set, err) < 0 ||
        find(handle, "curl_easy_perform", &ret->perform, err) < 0 ||
        find(handle, "curl_easy_getinfo", &ret->get, err) < 0 ||
        find(handle, "curl_easy_cleanup", &ret->easy_cleanup, err) < 0 ||
        find(handle, "curl_easy_strerror", &ret->explain, err) < 0 ||
        find(handle, "curl_slist_append", &ret->list_append, err) < 0 ||
        find(handle, "curl_slist_free_all", &ret->list_free, err) < 0)
        return -1;
    return ret->global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? 0 : error_set_memory(err);
}

/* ------------------------------------------------------------------- request */

struct call {
    struct library curl;
    CURL *handle;
    struct curl_slist *headers;
    char problem[CURL_ERROR_SIZE];
};

static void call_release(struct call *call) {
    if (call->handle)
        call->curl.easy_cleanup(call->handle);
    if (call->headers)
        call->curl.list_free(call->headers);
}

static int add_header(struct call *call, const char *header, struct error **err) {
    if (strpbrk(header, "\r\n"))
        return error_set(err, ERROR_INVALID, "a header of the request holds a line break");
    struct curl_slist *longer = call->curl.list_append(call->headers, header);
    if (!longer)
        return error_set_memory(err);
    call->headers = longer;
    return 0;
}

static int set_headers(struct call *call, const struct net_request *request, struct error **err) {
    if (request->header_count > HEADERS_MAXIMUM)
        return error_set(err, ERROR_LIMIT, "the request has too many headers");
    for (size_t i = 0; i < request->header_count; i++)
        if (add_header(call, request->headers[i], err) < 0)
            return -1;
    return add_header(call, "Expect:", err); /* no waiting for leave to send the body */
}

/* Returns less than it was given when it has had enough: that ends the request. */
static size_t take_body(char *bytes, size_t one, size_t size, void *context) {
    struct buffer *body = context;
    (void)one;
    buffer_append_bytes(body, bytes, size);
    return body->failed ? 0 : size;
}

#define SET(option, value) (call->curl.set(call->handle, (option), (value)) == CURLE_OK)

static bool set_up(struct call *call, const struct net_request *request, const struct url *url,
                   struct net_response *ret) {
    long timeout = (long)(request->timeout ? request->timeout : TIMEOUT);
    ret->body.maximum = request->maximum ? request->maximum : ANSWER_MAXIMUM;
    bool well =
        SET(CURLOPT_URL, request->url) && SET(CURLOPT_ERRORBUFFER, call->problem) &&
        SET(CURLOPT_PROTOCOLS_STR, url->secure ? "https" : "http") &&
        SET(CURLOPT_CUSTOMREQUEST, request->method) && SET(CURLOPT_HTTPHEADER, call->headers) &&
        SET(CURLOPT_FOLLOWLOCATION, 0L) && SET(CURLOPT_NOSIGNAL, 1L) &&
        SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1) &&
        SET(CURLOPT_USERAGENT, "glovebox/" GLOVEBOX_VERSION) &&
        SET(CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2) && SET(CURLOPT_SSL_VERIFYPEER, 1L) &&
        SET(CURLOPT_SSL_VERIFYHOST, 2L) && SET(CURLOPT_TIMEOUT_MS, timeout) &&
        SET(CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_TIMEOUT) &&
        SET(CURLOPT_WRITEFUNCTION, take_body) && SET(CURLOPT_WRITEDATA, &ret->body);
    if (well && url->here) /* nobody else's machine stands between */
        well = SET(CURLOPT_PROXY, "");
    if (well && request->body)
        well = SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_size) &&
               SET(CURLOPT_POSTFIELDS, request->body);
    if (well && request->ca_file)
        well = SET(CURLOPT_CAINFO, request->ca_file) && SET(CURLOPT_CAPATH, NULL);
    return well;
}

/* -------------------------------------------------------------------- trouble */

static int unreachable(const struct call *call, const char *host, struct error **err) {
    long number = 0;
    call->curl.get(call->handle, CURLINFO_OS_ERRNO, &number);
    if (number == 0 || number == EINPROGRESS)
        error_set(err, ERROR_IO, "%s cannot be reached", host);
    else
        error_set_errno(err, (int)number, "%s cannot be reached", host);
    return error_hint(err, "does the server run, and may this machine speak to it? https_proxy "
                           "names a proxy where one is needed");
}

static int untrusted(const struct call *call, const char *host, const char *ca_file,
                     struct error **err) {
    OWN_BUFFER why = {.maximum = 2 * CURL_ERROR_SIZE};
    text_append_printable(&why, call->problem);
    error_set(err, ERROR_DENIED, "the certificate of %s cannot be trusted: %s", host,
              buffer_text(&why));
    if (ca_file)
        return error_hint(err, "is %s the certificate of the authority that signed the server's?",
                          ca_file);
    return error_hint(err, "for an authority of your own, name the file of its certificate "
                           "(--ca FILE)");
}

static int failed(const struct call *call, const struct net_request *request, const char *host,
                  CURLcode code, const struct buffer *body, struct error **err) {
    switch (code) {
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        error_set(err, ERROR_NOT_FOUND, "there is no host %s",
                  code == CURLE_COULDNT_RESOLVE_HOST ? host : "of the name that https_proxy has");
        return error_hint(err, "is its name right, and does this machine resolve names?");
    case CURLE_COULDNT_CONNECT:
        return unreachable(call, host, err);
    case CURLE_OPERATION_TIMEDOUT:
        error_set(err, ERROR_LIMIT, "%s did not answer in time", host);
        return error_hint(err, "the server is busy or hangs, or something between drops what is "
                               "sent");
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_ISSUER_ERROR:
        return untrusted(call, host, request->ca_file, err);
    case CURLE_WRITE_ERROR:
        return error_set(err, ERROR_LIMIT, "%s answered more than %zu bytes", host, body->maximum);
    case CURLE_OUT_OF_MEMORY:
        return error_set_memory(err);
    default:
        break;
    }
    OWN_BUFFER why = {.maximum = 2 * CURL_ERROR_SIZE};
    text_append_printable(&why, *call->problem ? call->problem : call->curl.explain(code));
    error_set(err, ERROR_IO, "no answer from %s: %s", host, buffer_text(&why));
    return error_hint(err, "is it the address of a web server that speaks https?");
}

int net_request(const struct net_request *request, struct net_response *ret, struct error **err) {
    CLEANUP(call_release) struct call call = {0};
    OWN_NET_RESPONSE response = {0};
    struct url url;
    if (url_parse(request->url, &url, err) < 0)
        return -1;
    OWN_STRING host = net_host(request->url);
    if (!host)
        return error_set_memory(err);
    if (load(&call.curl, err) < 0)
        return -1;
    call.handle = call.curl.easy_init();
    if (!call.handle)
        return error_set_memory(err);
    if (set_headers(&call, request, err) < 0)
        return -1;
    if (!set_up(&call, request, &url, &response))
        return error_set(err, ERROR_UNSUPPORTED, "this libcurl cannot do what is asked of it");
    CURLcode code = call.curl.perform(call.handle);
    if (code != CURLE_OK)
        return failed(&call, request, host, code, &response.body, err);
    long status = 0;
    call.curl.get(call.handle, CURLINFO_RESPONSE_CODE, &status);
    response.status = (int)status;
    *ret = response;
    response = (struct net_response){0};
    return 0;
}

void net_response_release(struct net_response *response) {
    buffer_release(&response->body);
}
