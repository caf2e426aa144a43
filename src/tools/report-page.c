/* The pages of a report, drawn with libharu. */
#include "tools/private-report.h"

#include <hpdf.h>

/* A4 in points. */
#define PAGE_WIDTH  595.0f
#define PAGE_HEIGHT 842.0f
#define MARGIN      48.0f
#define CONTENT     (PAGE_WIDTH - 2 * MARGIN)
#define ROW         18.0f
#define IMAGE_SIDE  340.0f
#define TABLE_TOP   (PAGE_HEIGHT - 190.0f)
#define ROWS_A_PAGE 26
#define FULL        1.0f

struct colour {
    float red, green, blue;
};
static const struct colour black = {0.1f, 0.1f, 0.12f}, grey = {0.45f, 0.45f, 0.48f},
                           faint = {0.9f, 0.9f, 0.92f}, warning = {0.75f, 0.1f, 0.1f},
                           accent = {0.15f, 0.35f, 0.6f}, white = {1, 1, 1};

struct drawing {
    const struct report *report;
    HPDF_Doc pdf;
    HPDF_Page page;
    HPDF_Font latin;      /* Latin-1 in a byte each */
    HPDF_Font wide;       /* UTF-8; made for the first text that needs it, see font_of() */
    const char *typeface; /* libharu's name of the TrueType font, or NULL: then Latin-1 is all */
    HPDF_STATUS failure;  /* libharu's first complaint */
    size_t pages, number;
};

static void on_error(HPDF_STATUS status, HPDF_STATUS detail, void *context) {
    struct drawing *drawing = context;
    (void)detail;
    if (drawing->failure == HPDF_OK)
        drawing->failure = status;
}

/* -------------------------------------------------------------------- texts */

static bool is_latin(const char *text) {
    for (const uint8_t *c = (const uint8_t *)text; *c; c++)
        if (*c > 0xc3)
            return false;
    return true;
}

/* The font for a text. libharu's UTF-8 fonts carry a ToUnicode table that readers complain about,
 * so that it is taken only where nothing else will do. */
static HPDF_Font font_of(struct drawing *drawing, const char *text) {
    if (!drawing->typeface || is_latin(text))
        return drawing->latin;
    if (!drawing->wide) {
        HPDF_UseUTFEncodings(drawing->pdf);
        drawing->wide = HPDF_GetFont(drawing->pdf, drawing->typeface, "UTF-8");
    }
    return drawing->wide ? drawing->wide : drawing->latin;
}

/* Latin-1 of a UTF-8 text. */
static void append_latin(struct buffer *out, const char *text) {
    for (const uint8_t *c = (const uint8_t *)text; *c;) {
        if (*c < 0x80) {
            buffer_append_char(out, (char)*c++);
        } else if ((*c == 0xc2 || *c == 0xc3) && c[1]) {
            buffer_append_char(out, (char)((*c & 3) << 6 | (c[1] & 0x3f)));
            c += 2;
        } else {
            buffer_append_char(out, '?');
            for (c++; (*c & 0xc0) == 0x80;)
                c++;
        }
    }
}

/* Text as the font wants it, cut at a character's end to fit `width`. */
static void fit(struct drawing *drawing, const char *text, float size, float width,
                struct buffer *out) {
    OWN_BUFFER clean = {0};
    text_append_printable(&clean, text);
    HPDF_Font font = font_of(drawing, buffer_text(&clean));
    bool wide = font != drawing->latin;
    if (wide)
        buffer_append(out, buffer_text(&clean));
    else
        append_latin(out, buffer_text(&clean));
    HPDF_Page_SetFontAndSize(drawing->page, font, size);
    while (out->size > 1 && HPDF_Page_TextWidth(drawing->page, buffer_text(out)) > width) {
        size_t end = out->size - 1;
        while (wide && end > 1 && ((uint8_t)out->data[end] & 0xc0) == 0x80)
            end--;
        buffer_truncate(out, end);
    }
}

static void set_fill(struct drawing *drawing, struct colour colour) {
    HPDF_Page_SetRGBFill(drawing->page, colour.red, colour.green, colour.blue);
}

enum align { LEFT, CENTER, RIGHT };
static void put_text(struct drawing *drawing, float x, float y, float size, float width,
                     enum align align, struct colour colour, const char *text) {
    OWN_BUFFER shown = {0};
    if (!text[0])
        return;
    fit(drawing, text, size, width, &shown);
    float taken = HPDF_Page_TextWidth(drawing->page, buffer_text(&shown));
    if (align == CENTER)
        x += (width - taken) / 2;
    else if (align == RIGHT)
        x += width - taken;
    HPDF_Page_BeginText(drawing->page);
    set_fill(drawing, colour);
    HPDF_Page_TextOut(drawing->page, x, y, buffer_text(&shown));
    HPDF_Page_EndText(drawing->page);
}

static void put_box(struct drawing *drawing, float x, float y, float width, float height,
                    struct colour colour) {
    set_fill(drawing, colour);
    HPDF_Page_Rectangle(drawing->page, x, y, width, height);
    HPDF_Page_Fill(drawing->page);
}

static void put_field(struct drawing *drawing, float y, const char *name, const char *value) {
    put_text(drawing, MARGIN, y, 8, 80, LEFT, grey, name);
    put_text(drawing, MARGIN + 84, y, 8, CONTENT - 84, LEFT, black, value[0] ? value : "-");
}

/* -------------------------------------------------------------------- pages */

/* What every page carries: the notice, the title, the footer. */
static void begin_page(struct drawing *drawing, const char *subtitle) {
    const struct report *report = drawing->report;
    char footer[64];
    drawing->page = HPDF_AddPage(drawing->pdf);
    drawing->number++;
    HPDF_Page_SetWidth(drawing->page, PAGE_WIDTH);
    HPDF_Page_SetHeight(drawing->page, PAGE_HEIGHT);
    if (report->notice[0]) {
        put_box(drawing, 0, PAGE_HEIGHT - 30, PAGE_WIDTH, 30, report->stand_in ? warning : accent);
        put_text(drawing, MARGIN / 2, PAGE_HEIGHT - 19, 10, PAGE_WIDTH - MARGIN, CENTER, white,
                 report->notice);
    }
    put_text(drawing, MARGIN, PAGE_HEIGHT - 66, 17, CONTENT, LEFT, black, report->title);
    put_text(drawing, MARGIN, PAGE_HEIGHT - 86, 10, CONTENT, LEFT, grey, subtitle);
    put_box(drawing, MARGIN, PAGE_HEIGHT - 96, CONTENT, FULL, faint);
    put_box(drawing, MARGIN, 40, CONTENT, FULL, faint);
    snprintf(footer, sizeof(footer), "Page %zu of %zu", drawing->number, drawing->pages);
    put_text(drawing, MARGIN, 26, 8, CONTENT, RIGHT, grey, footer);
    put_text(drawing, MARGIN, 26, 8, CONTENT - 80, LEFT, report->stand_in ? warning : grey,
             report->stand_in ? "Made with a stand-in model: not for clinical use"
                              : "A program's output, not a diagnosis: a physician must judge it");
}

static void put_provenance(struct drawing *drawing, float y) {
    const struct report *report = drawing->report;
    OWN_STRING runtime = memory_format("ONNX Runtime %s", report->runtime);
    put_field(drawing, y, "Model", report->model);
    put_field(drawing, y - 13, "Model SHA-256", report->model_digest);
    put_field(drawing, y - 26, "Ran on", report->runtime[0] && runtime ? runtime : "");
    put_field(drawing, y - 39, "Pipeline", report->pipeline);
    put_field(drawing, y - 52, "Date", report->date);
}

static void percent_text(double share, char text[16]) {
    snprintf(text, 16, "%.1f %%", share * 100);
}

static void put_row(struct drawing *drawing, float y, size_t number,
                    const struct finding *finding) {
    char order[24], percent[16] = "";
    snprintf(order, sizeof(order), "%zu", number);
    if (finding->label)
        percent_text(finding->confidence, percent);
    put_text(drawing, MARGIN, y, 9, 24, LEFT, grey, order);
    put_text(drawing, MARGIN + 28, y, 9, 110, LEFT, black, finding->patient);
    put_text(drawing, MARGIN + 142, y, 9, 30, LEFT, black, finding->modality);
    put_text(drawing, MARGIN + 176, y, 9, 170, LEFT, black, path_base_name(finding->path));
    put_text(drawing, MARGIN + 352, y, 9, 90, LEFT, black,
             finding->label ? finding->label : "no result");
    put_text(drawing, MARGIN + 442, y, 9, CONTENT - 442, RIGHT, black, percent);
    put_box(drawing, MARGIN, y - 6, CONTENT, FULL / 2, faint);
}

static void draw_summary(struct drawing *drawing, size_t from) {
    const struct report *report = drawing->report;
    char subtitle[64];
    snprintf(subtitle, sizeof(subtitle), "Summary of %zu image%s", report->count,
             report->count == 1 ? "" : "s");
    begin_page(drawing, subtitle);
    put_provenance(drawing, PAGE_HEIGHT - 114);
    float y = TABLE_TOP;
    put_text(drawing, MARGIN + 28, y, 8, 110, LEFT, grey, "Patient");
    put_text(drawing, MARGIN + 142, y, 8, 34, LEFT, grey, "Kind");
    put_text(drawing, MARGIN + 176, y, 8, 170, LEFT, grey, "Image");
    put_text(drawing, MARGIN + 352, y, 8, 90, LEFT, grey, "Finding");
    for (size_t i = from; i < report->count && i < from + ROWS_A_PAGE; i++) {
        y -= ROW;
        put_row(drawing, y, i + 1, &report->findings[i]);
    }
}

static int put_picture(struct drawing *drawing, const struct picture *picture, float top,
                       struct error **err) {
    size_t size = (size_t)picture->width * picture->height * picture->channels;
    if (size > UINT32_MAX)
        return error_set(err, ERROR_LIMIT, "the picture is too large for a page");
    HPDF_Image image = HPDF_LoadRawImageFromMem(
        drawing->pdf, picture->pixels, picture->width, picture->height,
        picture->channels == 3 ? HPDF_CS_DEVICE_RGB : HPDF_CS_DEVICE_GRAY, 8);
    float longest = (float)(picture->width > picture->height ? picture->width : picture->height);
    float width = IMAGE_SIDE * (float)picture->width / longest;
    float height = IMAGE_SIDE * (float)picture->height / longest;
    float x = (PAGE_WIDTH - width) / 2, y = top - IMAGE_SIDE + (IMAGE_SIDE - height) / 2;
    put_box(drawing, MARGIN, top - IMAGE_SIDE - 4, CONTENT, IMAGE_SIDE + 8, black);
    if (image)
        HPDF_Page_DrawImage(drawing->page, image, x, y, width, height);
    return 0;
}

static void put_bars(struct drawing *drawing, const struct finding *finding, float y) {
    const char *label;
    json_t *value;
    size_t shown = 0;
    json_object_foreach((json_t *)(uintptr_t)finding->probabilities, label, value) {
        double share = json_number_value(value);
        float length = (float)(share < 0 ? 0 : share > 1 ? 1 : share) * 300;
        char percent[16];
        if (shown++ == 7) /* the page is full; result.json has them all */
            break;
        bool chosen = finding->label && text_equal(label, finding->label);
        percent_text(share, percent);
        put_text(drawing, MARGIN, y, 10, 110, LEFT, chosen ? black : grey, label);
        put_box(drawing, MARGIN + 120, y - 2, 300, 11, faint);
        put_box(drawing, MARGIN + 120, y - 2, length, 11, chosen ? accent : grey);
        put_text(drawing, MARGIN + 430, y, 10, CONTENT - 430, RIGHT, black, percent);
        y -= 17;
    }
}

static int draw_image(struct drawing *drawing, const struct finding *finding, report_picture load,
                      void *context, struct error **err) {
    OWN_PICTURE picture = {0};
    OWN_STRING subtitle = memory_format(
        "Patient %s%s%s - %s", finding->patient[0] ? finding->patient : "not specified",
        finding->modality[0] ? " - " : "", finding->modality, path_base_name(finding->path));
    if (!subtitle)
        return error_set_memory(err);
    begin_page(drawing, subtitle);
    float top = PAGE_HEIGHT - 116;
    OWN_ERROR problem = NULL;
    if (load(finding, context, &picture, &problem) == 0) {
        if (put_picture(drawing, &picture, top, err) != 0)
            return -1;
    } else if (problem && problem->code == ERROR_MEMORY) {
        return error_move(err, take(&problem));
    } else {
        put_text(drawing, MARGIN, top - 20, 11, CONTENT, LEFT, warning,
                 "The image cannot be shown: it is damaged");
    }
    float y = top - IMAGE_SIDE - 36;
    OWN_STRING headline =
        finding->label ? memory_format("%s: %.1f %%", finding->label, finding->confidence * 100)
                       : memory_copy_string("No result for this image");
    if (!headline)
        return error_set_memory(err);
    put_text(drawing, MARGIN, y, 15, CONTENT, LEFT, black, headline);
    if (finding->probabilities)
        put_bars(drawing, finding, y - 28);
    put_provenance(drawing, 110);
    return 0;
}

/* ---------------------------------------------------------------- document */

static void choose_font(struct drawing *drawing, const char *path) {
    static const char encoding[] = "WinAnsiEncoding";
    if (path)
        drawing->typeface = HPDF_LoadTTFontFromFile(drawing->pdf, path, HPDF_TRUE);
    if (drawing->typeface)
        drawing->latin = HPDF_GetFont(drawing->pdf, drawing->typeface, encoding);
    if (drawing->latin)
        return;
    drawing->typeface = NULL;
    HPDF_ResetError(drawing->pdf);
    drawing->failure = HPDF_OK;
    drawing->latin = HPDF_GetFont(drawing->pdf, "Helvetica", encoding);
}

static int save(struct drawing *drawing, struct buffer *out, struct error **err) {
    if (drawing->failure == HPDF_OK)
        HPDF_SaveToStream(drawing->pdf);
    if (drawing->failure != HPDF_OK)
        return error_set(err, ERROR_INTERNAL, "the PDF library failed (0x%04lx)",
                         (unsigned long)drawing->failure);
    HPDF_ResetStream(drawing->pdf);
    for (;;) {
        HPDF_BYTE block[65536];
        HPDF_UINT32 size = sizeof(block);
        HPDF_STATUS status = HPDF_ReadFromStream(drawing->pdf, block, &size);
        buffer_append_bytes(out, block, size);
        if (status != HPDF_OK || size == 0)
            break;
    }
    return buffer_check(out, err);
}

static int draw(struct drawing *drawing, const char *font, report_picture load, void *context,
                struct error **err) {
    const struct report *report = drawing->report;
    size_t summaries = (report->count + ROWS_A_PAGE - 1) / ROWS_A_PAGE;
    drawing->pages = summaries + report->count;
    HPDF_SetCompressionMode(drawing->pdf, HPDF_COMP_ALL);
    HPDF_SetInfoAttr(drawing->pdf, HPDF_INFO_CREATOR, "Glovebox");
    if (report->stand_in)
        HPDF_SetInfoAttr(drawing->pdf, HPDF_INFO_SUBJECT, "Stand-in model: not for clinical use");
    choose_font(drawing, font);
    for (size_t i = 0; i < summaries; i++)
        draw_summary(drawing, i * ROWS_A_PAGE);
    for (size_t i = 0; i < report->count && drawing->failure == HPDF_OK; i++) {
        if (draw_image(drawing, &report->findings[i], load, context, err) != 0)
            return -1;
    }
    return 0;
}

int report_draw(const struct report *report, const char *font, report_picture load, void *context,
                struct buffer *out, size_t *ret_pages, struct error **err) {
    struct drawing drawing = {.report = report};
    drawing.pdf = HPDF_New(on_error, &drawing);
    if (!drawing.pdf)
        return error_set_memory(err);
    int result = draw(&drawing, font, load, context, err);
    if (result == 0)
        result = save(&drawing, out, err);
    HPDF_Free(drawing.pdf);
    *ret_pages = drawing.pages;
    return result;
}
