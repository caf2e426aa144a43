/* What stands beside a model file: how images are prepared for it and what its answers mean. */
#ifndef GLOVEBOX_PRIVATE_MODEL_H
#define GLOVEBOX_PRIVATE_MODEL_H

#include "base/base.h"
#include "dicom/dicom.h"

#define MODEL_MAXIMUM_CLASSES 64
#define MODEL_MAXIMUM_SIDE    4096
#define STAND_IN_NOTICE                                                                            \
    "STAND-IN MODEL, trained on drawn phantoms. Its results mean nothing. NOT FOR CLINICAL USE."

struct model_class {
    char label[64]; /* as in "prediction": COVID-19 */
    char key[64];   /* as the name of its probability: COVID-19, Normal */
};
struct model_description {
    char name[128], version[64], notice[512];
    char digest[SHA256_HEX_SIZE]; /* SHA-256 of the model that it describes; "" when not said */
    bool stand_in;
    bool channels_last; /* NHWC */
    bool softmax;       /* the model gives scores; make probabilities of them */
    unsigned width, height, channels;
    double crop_top; /* share of the height that is cut off at the top */
    bool crop_square;
    double scale, mean[3], deviation[3]; /* (value * scale - mean) / deviation */
    struct model_class classes[MODEL_MAXIMUM_CLASSES];
    size_t class_count;
};
/* Reads the description, a JSON file. The stand-in's notice is never empty. */
int model_describe(const char *path, struct model_description *ret, struct error **err) MUST_CHECK;
/* Crops, resizes by area and scales a picture to the model's input. Caller frees. */
float *model_prepare(const struct model_description *model, const struct picture *picture,
                     size_t *ret_count, struct error **err) MUST_CHECK;

#endif
