/* ONNX Runtime, loaded when it is first needed. */
#include "tools/private-onnx.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdlib.h>

/* Version 11 of the interface (ONNX Runtime 1.11, 2022): every later library provides it. */
#define API_VERSION 11

/* Positions in the table of functions. It only grows at its end: version 1's part (0 … 101) can
 * never change. */
enum {
    API_GET_ERROR_MESSAGE = 2,
    API_CREATE_ENVIRONMENT = 3,
    API_CREATE_SESSION_FROM_ARRAY = 8,
    API_RUN = 9,
    API_CREATE_SESSION_OPTIONS = 10,
    API_SET_INTRA_OP_THREADS = 24,
    API_SESSION_GET_INPUT_NAME = 36,
    API_SESSION_GET_OUTPUT_NAME = 37,
    API_CREATE_TENSOR_WITH_DATA = 49,
    API_GET_TENSOR_MUTABLE_DATA = 51,
    API_GET_TENSOR_ELEMENT_TYPE = 60,
    API_GET_TENSOR_SHAPE_ELEMENT_COUNT = 64,
    API_GET_TENSOR_TYPE_AND_SHAPE = 65,
    API_CREATE_CPU_MEMORY_INFO = 69,
    API_ALLOCATOR_FREE = 76,
    API_GET_DEFAULT_ALLOCATOR = 78,
    API_RELEASE_ENVIRONMENT = 92,
    API_RELEASE_STATUS = 93,
    API_RELEASE_MEMORY_INFO = 94,
    API_RELEASE_SESSION = 95,
    API_RELEASE_VALUE = 96,
    API_RELEASE_TENSOR_TYPE_AND_SHAPE = 99,
    API_RELEASE_SESSION_OPTIONS = 100,
};
#define ELEMENT_FLOAT 1 /* ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT */

struct api_base {
    const void *const *(*get_api)(uint32_t version);
    const char *(*get_version)(void);
};

struct onnx {
    void *library;
    const void *const *api;
    const char *version;
    void *environment, *options, *session, *memory, *allocator;
    char *input_name, *output_name; /* of the allocator */
};

/* A row of the table as a function of the given type. */
#define CALL(onnx, index, type) ((type)(uintptr_t)(onnx)->api[index])

static void release(const struct onnx *onnx, size_t index, void *object) {
    if (object)
        CALL(onnx, index, void (*)(void *))(object);
}

/* Turns a status into an error and releases it. NULL is success. */
static int check(const struct onnx *onnx, void *status, const char *what, struct error **err) {
    if (!status)
        return 0;
    const char *message = CALL(onnx, API_GET_ERROR_MESSAGE, const char *(*)(const void *))(status);
    error_set(err, ERROR_INVALID, "ONNX Runtime cannot %s: %s", what, message);
    release(onnx, API_RELEASE_STATUS, status);
    return -1;
}

static void free_name(const struct onnx *onnx, char *name) {
    if (name) {
        void *status =
            CALL(onnx, API_ALLOCATOR_FREE, void *(*)(void *, void *))(onnx->allocator, name);
        release(onnx, API_RELEASE_STATUS, status);
    }
}

void onnx_close(struct onnx *onnx) {
    if (!onnx)
        return;
    if (onnx->api) {
        free_name(onnx, onnx->input_name);
        free_name(onnx, onnx->output_name);
        release(onnx, API_RELEASE_MEMORY_INFO, onnx->memory);
        release(onnx, API_RELEASE_SESSION, onnx->session);
        release(onnx, API_RELEASE_SESSION_OPTIONS, onnx->options);
        release(onnx, API_RELEASE_ENVIRONMENT, onnx->environment);
    }
    /* The library stays loaded: it has thread-local state that outlives its sessions. */
    memory_free(onnx);
}

void onnx_cleanup(struct onnx **onnx) {
    onnx_close(*onnx);
}

const char *onnx_version(const struct onnx *onnx) {
    return onnx->version;
}

/* ------------------------------------------------------------------- finding */

/* The first libonnxruntime.so* in a folder, by byte order of names. Caller frees. */
static char *library_in(const char *folder) {
    OWN_STRING best = NULL;
    DIR *directory = opendir(folder);
    if (!directory)
        return NULL;
    for (struct dirent *entry; (entry = readdir(directory));) {
        if (!text_starts_with(entry->d_name, "libonnxruntime.so") ||
            (best && strcmp(best, entry->d_name) <= 0))
            continue;
        memory_free(best);
        best = memory_copy_string(entry->d_name);
    }
    closedir(directory);
    return best ? path_join(folder, best) : NULL;
}

static char *find_library(struct error **err) {
    static const char *const beside[] = {"lib/onnxruntime", "../lib/glovebox/onnxruntime"};
    static const char *const system_folders[] = {
        "/usr/local/lib/glovebox/onnxruntime", "/usr/lib/glovebox/onnxruntime", "/usr/local/lib",
        "/usr/lib/x86_64-linux-gnu",           "/usr/lib/aarch64-linux-gnu",    "/usr/lib"};
    OWN_STRING folder = process_executable_directory(err);
    if (!folder)
        return NULL;
    char *found = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(beside) && !found; i++) {
        OWN_STRING place = path_join(folder, beside[i]);
        found = place ? library_in(place) : NULL;
    }
    for (size_t i = 0; i < ARRAY_SIZE(system_folders) && !found; i++)
        found = library_in(system_folders[i]);
    if (!found) {
        error_set(err, ERROR_UNSUPPORTED, "ONNX Runtime's library is not on this machine");
        error_hint(err, "script/fetch-onnxruntime puts it beside the program; or say where it is "
                        "with --runtime or GLOVEBOX_ONNXRUNTIME");
    }
    return found;
}

static int load_library(struct onnx *onnx, const char *path, struct error **err) {
    onnx->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!onnx->library)
        return error_set(err, ERROR_UNSUPPORTED, "cannot load ONNX Runtime: %s", dlerror());
    void *symbol = dlsym(onnx->library, "OrtGetApiBase");
    if (!symbol)
        return error_set(err, ERROR_UNSUPPORTED, "%s is not ONNX Runtime", path);
    const struct api_base *(*get_base)(void);
    memcpy(&get_base, &symbol, sizeof(get_base));
    const struct api_base *base = get_base();
    onnx->version = base ? base->get_version() : "";
    onnx->api = base ? base->get_api(API_VERSION) : NULL;
    if (!onnx->api)
        return error_set(err, ERROR_UNSUPPORTED, "ONNX Runtime %s is too old, 1.11 is needed",
                         onnx->version);
    return 0;
}

struct onnx *onnx_open(const char *path, struct error **err) {
    OWN_ONNX onnx = memory_allocate(sizeof(*onnx));
    OWN_STRING found = NULL;
    if (!onnx) {
        error_set_memory(err);
        return NULL;
    }
    if (!path)
        path = getenv("GLOVEBOX_ONNXRUNTIME");
    if (!path || !path[0]) {
        found = find_library(err);
        if (!found)
            return NULL;
        path = found;
    }
    if (load_library(onnx, path, err) != 0)
        return NULL;
    return take(&onnx);
}

/* ------------------------------------------------------------------- running */

int onnx_load(struct onnx *onnx, const void *model, size_t size, unsigned threads,
              struct error **err) {
    enum { LOG_LEVEL_ERROR = 3 };
    typedef void *create_environment(int, const char *, void **);
    typedef void *create_object(void **);
    typedef void *set_threads(void *, int);
    typedef void *create_session(const void *, const void *, size_t, const void *, void **);
    typedef void *create_memory(int, int, void **);
    typedef void *get_name(const void *, size_t, void *, char **);
    if (check(onnx,
              CALL(onnx, API_CREATE_ENVIRONMENT, create_environment *)(LOG_LEVEL_ERROR, "glovebox",
                                                                       &onnx->environment),
              "start", err) != 0 ||
        check(onnx, CALL(onnx, API_CREATE_SESSION_OPTIONS, create_object *)(&onnx->options),
              "start", err) != 0 ||
        check(onnx,
              CALL(onnx, API_SET_INTRA_OP_THREADS, set_threads *)(onnx->options, (int)threads),
              "set its threads", err) != 0 ||
        check(onnx,
              CALL(onnx, API_CREATE_SESSION_FROM_ARRAY,
                   create_session *)(onnx->environment, model, size, onnx->options, &onnx->session),
              "load the model", err) != 0)
        return -1;
    enum { ALLOCATOR_DEVICE = 0, MEMORY_DEFAULT = 0 };
    if (check(onnx,
              CALL(onnx, API_CREATE_CPU_MEMORY_INFO,
                   create_memory *)(ALLOCATOR_DEVICE, MEMORY_DEFAULT, &onnx->memory),
              "describe memory", err) != 0 ||
        check(onnx, CALL(onnx, API_GET_DEFAULT_ALLOCATOR, create_object *)(&onnx->allocator),
              "give an allocator", err) != 0 ||
        check(onnx,
              CALL(onnx, API_SESSION_GET_INPUT_NAME, get_name *)(onnx->session, 0, onnx->allocator,
                                                                 &onnx->input_name),
              "find the model's input", err) != 0)
        return -1;
    return check(onnx,
                 CALL(onnx, API_SESSION_GET_OUTPUT_NAME,
                      get_name *)(onnx->session, 0, onnx->allocator, &onnx->output_name),
                 "find the model's output", err);
}

/* The output must be `count` floats; anything else would be read as rubbish. */
static int copy_output(const struct onnx *onnx, void *value, float *output, size_t count,
                       struct error **err) {
    typedef void *get_shape(const void *, void **);
    typedef void *get_type(const void *, int *);
    typedef void *get_count(const void *, size_t *);
    typedef void *get_data(void *, void **);
    void *shape = NULL, *data = NULL;
    int type = 0;
    size_t got = 0;
    if (check(onnx, CALL(onnx, API_GET_TENSOR_TYPE_AND_SHAPE, get_shape *)(value, &shape),
              "tell the output's shape", err) != 0)
        return -1;
    int result = check(onnx, CALL(onnx, API_GET_TENSOR_ELEMENT_TYPE, get_type *)(shape, &type),
                       "tell the output's type", err);
    if (result == 0)
        result =
            check(onnx, CALL(onnx, API_GET_TENSOR_SHAPE_ELEMENT_COUNT, get_count *)(shape, &got),
                  "tell the output's size", err);
    release(onnx, API_RELEASE_TENSOR_TYPE_AND_SHAPE, shape);
    if (result != 0)
        return -1;
    if (type != ELEMENT_FLOAT || got != count)
        return error_set(err, ERROR_INVALID,
                         "the model gives %zu values of type %d, %zu floats are expected", got,
                         type, count);
    if (check(onnx, CALL(onnx, API_GET_TENSOR_MUTABLE_DATA, get_data *)(value, &data),
              "give the output", err) != 0)
        return -1;
    memcpy(output, data, count * sizeof(float));
    return 0;
}

int onnx_run(struct onnx *onnx, float *input, size_t input_count, const int64_t *shape,
             size_t dimensions, float *output, size_t count, struct error **err) {
    typedef void *create_tensor(const void *, void *, size_t, const int64_t *, size_t, int,
                                void **);
    typedef void *run(void *, const void *, const char *const *, const void *const *, size_t,
                      const char *const *, size_t, void **);
    void *tensor = NULL, *value = NULL;
    if (check(onnx,
              CALL(onnx, API_CREATE_TENSOR_WITH_DATA,
                   create_tensor *)(onnx->memory, input, input_count * sizeof(float), shape,
                                    dimensions, ELEMENT_FLOAT, &tensor),
              "take the image", err) != 0)
        return -1;
    const char *input_name = onnx->input_name, *output_name = onnx->output_name;
    const void *inputs[1] = {tensor};
    int result = check(onnx,
                       CALL(onnx, API_RUN, run *)(onnx->session, NULL, &input_name, inputs, 1,
                                                  &output_name, 1, &value),
                       "run the model", err);
    if (result == 0)
        result = copy_output(onnx, value, output, count, err);
    release(onnx, API_RELEASE_VALUE, value);
    release(onnx, API_RELEASE_VALUE, tensor);
    return result;
}
