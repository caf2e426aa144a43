/*
 * ONNX Runtime, loaded when it is needed. Its library is no part of the build: the C interface is
 * one append-only table of functions, of which we declare the few that we call.
 */
#ifndef GLOVEBOX_PRIVATE_ONNX_H
#define GLOVEBOX_PRIVATE_ONNX_H

#include "base/base.h"

struct onnx;
/* Finds and loads the library: `path` when given, else $GLOVEBOX_ONNXRUNTIME, else where
 * script/fetch-onnxruntime and packages put it (lib/onnxruntime beside the executable,
 * ../lib/glovebox/onnxruntime, the system's folders). */
struct onnx *onnx_open(const char *path, struct error **err) MUST_CHECK;
void onnx_close(struct onnx *onnx);
void onnx_cleanup(struct onnx **onnx);
#define OWN_ONNX CLEANUP(onnx_cleanup) struct onnx *
const char *onnx_version(const struct onnx *onnx);
int onnx_load(struct onnx *onnx, const void *model, size_t size, unsigned threads,
              struct error **err) MUST_CHECK;
/* One float input tensor in, one float output tensor out (the first of each). `count` values are
 * expected and copied to `output`. */
int onnx_run(struct onnx *onnx, float *input, size_t input_count, const int64_t *shape,
             size_t dimensions, float *output, size_t count, struct error **err) MUST_CHECK;

#endif
