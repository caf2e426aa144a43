/* PNG by libpng. */
#include "dicom/private-dicom.h"

#include <png.h>
#include <setjmp.h>

static void on_write(png_structp png, png_bytep bytes, size_t size) {
    buffer_append_bytes(png_get_io_ptr(png), bytes, size);
}

static void on_flush(png_structp png) {
    (void)png;
}

static void on_error(png_structp png, png_const_charp message) {
    struct error **err = png_get_error_ptr(png);
    error_set(err, ERROR_INTERNAL, "PNG: %s", message);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp message) {
    (void)png;
    (void)message;
}

static int encode(png_structp png, png_infop info, const struct picture *picture,
                  struct buffer *out) {
    if (setjmp(png_jmpbuf(png)))
        return -1;
    size_t stride = (size_t)picture->width * picture->channels * (picture->depth / 8);
    png_set_write_fn(png, out, on_write, on_flush);
    png_set_IHDR(png, info, picture->width, picture->height, (int)picture->depth,
                 picture->channels == 3 ? PNG_COLOR_TYPE_RGB : PNG_COLOR_TYPE_GRAY,
                 PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_filter(png, PNG_FILTER_TYPE_BASE, PNG_FILTER_UP);
    png_set_compression_level(png, 3);
    png_write_info(png, info);
    if (picture->depth == 16)
        png_set_swap(png); /* PNG is big endian */
    for (uint32_t y = 0; y < picture->height; y++)
        png_write_row(png, (png_const_bytep)picture->pixels + stride * y);
    png_write_end(png, NULL);
    return 0;
}

int png_write(const struct picture *picture, struct buffer *out, struct error **err) {
    png_structp png = png_create_write_struct(PNG_LIBPNG_VER_STRING, err, on_error, on_warning);
    png_infop info = png ? png_create_info_struct(png) : NULL;
    int result = info ? encode(png, info, picture, out) : error_set_memory(err);
    png_destroy_write_struct(&png, &info);
    return result == 0 ? buffer_check(out, err) : -1;
}

int png_read(const void *bytes, size_t size, struct picture *ret, struct error **err) {
    png_image image = {.version = PNG_IMAGE_VERSION};
    OWN_PICTURE picture = {.depth = 8};
    if (!png_image_begin_read_from_memory(&image, bytes, size))
        return error_set(err, ERROR_INVALID, "not a PNG image: %s", image.message);
    image.flags |= PNG_IMAGE_FLAG_16BIT_sRGB;
    bool colour = image.format & PNG_FORMAT_FLAG_COLOR;
    image.format = colour ? PNG_FORMAT_RGB : PNG_FORMAT_GRAY;
    picture.width = image.width;
    picture.height = image.height;
    picture.channels = colour ? 3 : 1;
    if ((uint64_t)image.width * image.height * picture.channels > DICOM_MAXIMUM_PIXELS) {
        png_image_free(&image);
        return error_set(err, ERROR_LIMIT, "the PNG image is too large");
    }
    picture.pixels = memory_array((size_t)image.width * image.height, picture.channels);
    if (!picture.pixels) {
        png_image_free(&image);
        return error_set_memory(err);
    }
    /* Transparency shows black. */
    png_color background = {0, 0, 0};
    if (!png_image_finish_read(&image, &background, picture.pixels, 0, NULL))
        return error_set(err, ERROR_INVALID, "the PNG image is damaged: %s", image.message);
    *ret = picture;
    picture.pixels = NULL;
    return 0;
}
