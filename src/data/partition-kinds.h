/* Private to data/: the kinds of fans that need more than a manifest. */
#ifndef GLOVEBOX_DATA_PARTITION_KINDS_H
#define GLOVEBOX_DATA_PARTITION_KINDS_H

#include "data/data.h"

int partition_list_dicom(const struct fan *fan, const char *root, const struct manifest *manifest,
                         struct partition_list *list, struct error **err);
int partition_list_csv(const struct fan *fan, const char *path, struct partition_list *list,
                       struct error **err);

#endif
