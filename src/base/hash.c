/* SHA-256 by libcrypto, and hexadecimal. */
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#define SMALL_BLOCK 4096
#define READ_BLOCK  ((size_t)1 << 20)

struct sha256 {
    EVP_MD_CTX *context;
};

struct sha256 *sha256_new(void) {
    struct sha256 *hash = memory_allocate(sizeof(*hash));
    if (!hash)
        return NULL;
    hash->context = EVP_MD_CTX_new();
    if (!hash->context || EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) != 1) {
        sha256_free(hash);
        return NULL;
    }
    return hash;
}

void sha256_free(struct sha256 *hash) {
    if (!hash)
        return;
    EVP_MD_CTX_free(hash->context);
    memory_free(hash);
}

void sha256_cleanup(struct sha256 **hash) {
    sha256_free(*hash);
    *hash = NULL;
}

void sha256_add(struct sha256 *hash, const void *bytes, size_t size) {
    EVP_DigestUpdate(hash->context, bytes, size);
}

void sha256_finish(struct sha256 *hash, uint8_t digest[SHA256_SIZE]) {
    EVP_DigestFinal_ex(hash->context, digest, NULL);
    EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL);
}

void sha256_of(const void *bytes, size_t size, uint8_t digest[SHA256_SIZE]) {
    unsigned length = 0;
    EVP_Digest(bytes, size, digest, &length, EVP_sha256(), NULL);
}

int hmac_sha256_of(const uint8_t key[SECRET_KEY_SIZE], const char *purpose, const void *bytes,
                   size_t size, uint8_t digest[SHA256_SIZE], struct error **err) {
    CLEANUP(sha256_cleanup) struct sha256 *hash = sha256_new();
    uint8_t pad[64];
    if (!hash)
        return error_set_memory(err);
    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] = (i < SECRET_KEY_SIZE ? key[i] : 0) ^ 0x36;
    sha256_add(hash, pad, sizeof(pad));
    sha256_add(hash, purpose, strlen(purpose) + 1);
    sha256_add(hash, bytes, size);
    sha256_finish(hash, digest);
    for (size_t i = 0; i < sizeof(pad); i++)
        pad[i] ^= 0x36 ^ 0x5c;
    sha256_add(hash, pad, sizeof(pad));
    sha256_add(hash, digest, SHA256_SIZE);
    sha256_finish(hash, digest);
    return 0;
}

void hex_encode(const uint8_t *bytes, size_t size, char *text) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < size; i++) {
        text[2 * i] = digits[bytes[i] >> 4];
        text[2 * i + 1] = digits[bytes[i] & 15];
    }
    text[2 * size] = '\0';
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(const char *text, uint8_t *bytes, size_t size, struct error **err) {
    if (strlen(text) != 2 * size)
        return error_set(err, ERROR_INVALID, "expected %zu hexadecimal digits", 2 * size);
    for (size_t i = 0; i < size; i++) {
        int high = hex_value(text[2 * i]), low = hex_value(text[2 * i + 1]);
        if (high < 0 || low < 0)
            return error_set(err, ERROR_INVALID, "not a hexadecimal digit");
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return 0;
}

int sha256_file(int directory, const char *path, uint8_t digest[SHA256_SIZE], uint64_t *ret_size,
                struct error **err) {
    OWN_FD fd = file_open(directory, path, O_RDONLY | O_NOCTTY, 0, err);
    if (fd < 0)
        return -1;
    struct stat status;
    if (fstat(fd, &status) < 0)
        return error_set_errno(err, errno, "cannot read %s", path);
    /* Most files are small: a byte more than they hold sees their end. */
    size_t size = (uint64_t)status.st_size < READ_BLOCK ? (size_t)status.st_size + 1 : READ_BLOCK;
    size = size < SMALL_BLOCK ? SMALL_BLOCK : size;
    CLEANUP(sha256_cleanup) struct sha256 *hash = sha256_new();
    OWN_MEMORY(uint8_t) block = memory_allocate(size);
    if (!hash || !block)
        return error_set_memory(err);
    uint64_t total = 0;
    for (;;) {
        ssize_t got = read(fd, block, size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, errno, "cannot read %s", path);
        if (got == 0)
            break;
        sha256_add(hash, block, (size_t)got);
        total += (uint64_t)got;
    }
    sha256_finish(hash, digest);
    if (ret_size)
        *ret_size = total;
    return 0;
}

int random_bytes(void *bytes, size_t size, struct error **err) {
    for (size_t done = 0; done < size;) {
        ssize_t got = getrandom((char *)bytes + done, size - done, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return error_set_errno(err, errno, "cannot get random bytes");
        done += (size_t)got;
    }
    return 0;
}

bool bytes_equal_constant_time(const void *a, const void *b, size_t size) {
    return CRYPTO_memcmp(a, b, size) == 0;
}
