/* Which program a file was written for, and what rewriting needs. */
#include "pipeline/private-foreign.h"

#include <ctype.h>

struct node *new_mapping(struct loader *loader, const struct node *place) {
    struct node *node = node_new(loader->arena, place, NODE_MAPPING);
    loader->trouble.no_memory = loader->trouble.no_memory || !node;
    return node;
}

struct node *new_list(struct loader *loader, const struct node *place, size_t room) {
    struct node *node = node_new(loader->arena, place, NODE_LIST);
    if (node)
        node->values = loader_allocate(loader, room * sizeof(struct node *));
    loader->trouble.no_memory = loader->trouble.no_memory || !node || !node->values;
    return node && node->values ? node : NULL;
}

struct node *new_text(struct loader *loader, const struct node *place, const char *text) {
    struct node *node = text ? node_new_string(loader->arena, place, text) : NULL;
    loader->trouble.no_memory = loader->trouble.no_memory || (text && !node);
    return node;
}

struct node *new_literal(struct loader *loader, const struct node *place, const char *text) {
    OWN_STRING escaped = text ? template_escape(text) : NULL;
    loader->trouble.no_memory = loader->trouble.no_memory || (text && !escaped);
    return new_text(loader, place, escaped);
}

/* A plain scalar: "true", "12" and the like have their types. */
struct node *new_word(struct loader *loader, const struct node *place, const char *text) {
    struct node *node = new_text(loader, place, text);
    if (node)
        node_set_scalar(node, node->text, node->text_size, true);
    return node;
}

void put(struct loader *loader, struct node **mapping, const char *key, struct node *value) {
    if (!*mapping || !value)
        return;
    *mapping = node_with(loader->arena, *mapping, key, value);
    loader->trouble.no_memory = loader->trouble.no_memory || !*mapping;
}

void put_text(struct loader *loader, struct node **mapping, const char *key,
              const struct node *place, const char *text) {
    put(loader, mapping, key, new_text(loader, place, text));
}

void push(struct node *list, struct node *item) {
    if (!list || !item)
        return;
    list->values[list->count++] = item;
    list->weight += item->weight;
}

/* ------------------------------------------------------------------- shell words */

struct words_reader {
    const char *at;
    struct buffer word;
    bool any; /* quotes make a word, even an empty one */
};

/* One quoted part; false when its end is missing. */
static bool read_quoted(struct words_reader *reader) {
    char quote = *reader->at++;
    reader->any = true;
    for (; *reader->at && *reader->at != quote; reader->at++) {
        bool escape =
            quote == '"' && *reader->at == '\\' && (reader->at[1] == '"' || reader->at[1] == '\\');
        if (escape)
            reader->at++;
        buffer_append_char(&reader->word, *reader->at);
    }
    if (!*reader->at)
        return false;
    reader->at++;
    return true;
}

/* One word; false when the text ends inside quotes. */
static bool read_word(struct words_reader *reader) {
    while (*reader->at && !isspace((unsigned char)*reader->at)) {
        if (*reader->at == '\'' || *reader->at == '"') {
            if (!read_quoted(reader))
                return false;
            continue;
        }
        if (*reader->at == '\\' && !*++reader->at)
            return false;
        buffer_append_char(&reader->word, *reader->at++);
        reader->any = true;
    }
    return true;
}

struct node *split_shell_words(struct loader *loader, const struct node *node) {
    const char *text = scalar_text(loader, node, "command");
    struct node *list = text ? new_list(loader, node, strlen(text) + 1) : NULL;
    struct words_reader reader = {.at = text};
    while (list && *reader.at) {
        reader.at += strspn(reader.at, " \t\r\n");
        reader.any = false;
        buffer_clear(&reader.word);
        if (!read_word(&reader)) {
            node_error(&loader->trouble, node, NULL, "the command ends inside quotes");
            list = NULL;
        } else if (reader.any) {
            push(list, new_text(loader, node, loader_take(loader, &reader.word)));
        }
    }
    buffer_release(&reader.word);
    return list;
}

/* ---------------------------------------------------------------------- which one */

struct node *translate_foreign(struct loader *loader, struct node *document) {
    if (document->kind != NODE_MAPPING)
        return document;
    if (is_container_config(document))
        return translate_container_config(loader, document);
    if (is_chris_pipeline(document))
        return translate_chris_pipeline(loader, document);
    if (is_chris_plugin(document))
        return translate_chris_plugin(loader, document);
    return document;
}
