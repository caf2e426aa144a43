/* Where results lie: HOME/results/ab/abcd…/{output/, manifest}, by the digest of the recipe. */
#include "private.h"

#include <fcntl.h>
#include <sys/stat.h>

char *result_folder(const struct engine *engine, const uint8_t key[SHA256_SIZE]) {
    char text[SHA256_HEX_SIZE];
    hex_encode(key, SHA256_SIZE, text);
    return home_path(engine, "results/%.2s/%s", text, text);
}

char *result_inside(const struct task *task, const char *path, struct error **err) {
    OWN_STRING root = result_path(task, "");
    OWN_STRING inside = root ? path_resolve_beneath(root, path, err) : NULL;
    return inside ? path_join(root, inside) : NULL;
}

char *result_path(const struct task *task, const char *path) {
    const struct engine *engine = task->step->run->engine;
    if (!task_has_data(task) || !task->has_output)
        return home_path(engine, "empty");
    OWN_STRING folder = result_folder(engine, task->key);
    OWN_STRING output = folder ? path_join(folder, "output") : NULL;
    return output ? path_join(output, path) : NULL;
}

int result_read(const char *folder, size_t maximum, char **ret, struct error **err) {
    OWN_STRING path = path_join(folder, "result.json");
    struct stat status;
    if (!path)
        return error_set_memory(err);
    if (lstat(path, &status) < 0 || !S_ISREG(status.st_mode))
        return 0;
    OWN_FD place = file_open(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY, 0, err);
    OWN_JSON result = place < 0 ? NULL : json_read_file(place, "result.json", maximum, err);
    if (!result)
        return -1;
    if (!json_is_object(result))
        return error_set(err, ERROR_INVALID, "result.json is not an object");
    *ret = json_canonical(result, err);
    return *ret ? 0 : -1;
}
