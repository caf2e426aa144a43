/* What template.c, shell.c and load-text.c share. */
#ifndef GLOVEBOX_PIPELINE_TEMPLATE_H
#define GLOVEBOX_PIPELINE_TEMPLATE_H

#include "pipeline/pipeline.h"

#define TEMPLATE_MAXIMUM_RESULT ((size_t)1 << 20)

/* True for a dotted path: NAME(.NAME)*, which needs no jq. */
bool template_is_path(const char *inside);
/* Calls `literal` for the text between, `use` for each ${…}; either may be NULL. */
struct template_parts {
    int (*literal)(const char *text, size_t size, void *context, struct error **err);
    int (*use)(const char *inside, size_t offset, void *context, struct error **err);
    void *context;
};
int template_walk(const char *text, const struct template_parts *parts,
                  struct error **err) MUST_CHECK;

/* Stands for a ${…} in the text that shell_find_quoted() is given. */
#define SHELL_MARK '\1'
/* Calls `quoted` with the number (from 0) of each mark that stands in single quotes, or in a here
 * document whose end is quoted: the shell would leave it as it is. The text of an inner `sh -c '…'`
 * is passed over, since that shell looks. */
void shell_find_quoted(const char *text, void (*quoted)(size_t mark, void *context), void *context);

#endif
