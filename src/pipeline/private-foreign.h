/*
 * Files of other programs, rewritten as documents of our language before anything else looks at
 * them: MedPerf's container_config.yaml (container-config.c), ChRIS's pipelines and plugin
 * descriptors (chris.c, chris-plugin.c). Every node keeps the position it came from.
 */
#ifndef GLOVEBOX_PIPELINE_FOREIGN_H
#define GLOVEBOX_PIPELINE_FOREIGN_H

#include "pipeline/private-load.h"

/* A tree under construction. All of these accept and return NULL when memory ran out (which the
 * loader knows) or when what they are made of was reported. */
struct node *new_mapping(struct loader *loader, const struct node *place);
struct node *new_list(struct loader *loader, const struct node *place, size_t room);
struct node *new_text(struct loader *loader, const struct node *place, const char *text);
/* Of a text that may hold "${", which means nothing there. */
struct node *new_literal(struct loader *loader, const struct node *place, const char *text);
struct node *new_word(struct loader *loader, const struct node *place, const char *text);
void put(struct loader *loader, struct node **mapping, const char *key, struct node *value);
void put_text(struct loader *loader, struct node **mapping, const char *key,
              const struct node *place, const char *text);
/* `room` of new_list() is not exceeded: a bug otherwise. */
void push(struct node *list, struct node *item);

/* The words of a shell command line, as Python's shlex.split() gives them; NULL when it was
 * reported. */
struct node *split_shell_words(struct loader *loader, const struct node *node);

bool is_container_config(const struct node *document);
struct node *translate_container_config(struct loader *loader, const struct node *document);

bool is_chris_pipeline(const struct node *document);
struct node *translate_chris_pipeline(struct loader *loader, const struct node *document);
bool is_chris_plugin(const struct node *document);
struct node *translate_chris_plugin(struct loader *loader, const struct node *document);

#endif
