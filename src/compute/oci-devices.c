/* GPUs by the Container Device Interface: what a machine says of its devices, as parts of a
 * configuration. */
#include "compute/private-oci.h"

void oci_devices_release(struct oci_devices *devices) {
    json_decref(devices->nodes);
    json_decref(devices->mounts);
    json_decref(devices->environment);
    json_decref(devices->hooks);
    *devices = (struct oci_devices){0};
}

int oci_find_devices(const char *const *folders, unsigned count, struct oci_devices *ret,
                     struct error **err) {
    return error_set(err, ERROR_UNSUPPORTED, "this compute offers no GPUs");
}
