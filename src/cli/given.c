/* Asking an invocation what was typed. */
#include "cli/private-command.h"

void invocation_release(struct invocation *invocation) {
    memory_free(invocation->options);
    memory_free(invocation->arguments);
    *invocation = (struct invocation){0};
}

bool given_flag(const struct invocation *invocation, const char *option) {
    for (size_t i = 0; i < invocation->option_count; i++)
        if (text_equal(invocation->options[i].option->name, option))
            return true;
    return false;
}

const char *given_value(const struct invocation *invocation, const char *option,
                        const char *fallback) {
    size_t position = 0;
    for (const char *value; (value = given_next(invocation, option, &position));)
        fallback = value;
    return fallback;
}

const char *given_next(const struct invocation *invocation, const char *option, size_t *position) {
    while (*position < invocation->option_count) {
        const struct given_option *given = &invocation->options[(*position)++];
        if (text_equal(given->option->name, option))
            return given->value ? given->value : "";
    }
    return NULL;
}

const char *given_argument(const struct invocation *invocation, size_t number) {
    return number < invocation->argument_count ? invocation->arguments[number] : NULL;
}
