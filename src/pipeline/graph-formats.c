/* The graph for other programs: DOT, Mermaid, JSON. */
#include "pipeline/private-graph.h"

/* ------------------------------------------------------------------------ DOT */

static void dot_quote(struct buffer *out, const char *text) {
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buffer_append_char(out, '\\');
        if (*text == '\n')
            buffer_append(out, "\\n");
        else if ((unsigned char)*text >= ' ')
            buffer_append_char(out, *text);
    }
}

static void label_lines(const struct pipeline *pipeline, const struct step *step,
                        const char *const *states, const char *line_break, struct buffer *out) {
    OWN_BUFFER axis = {0};
    buffer_append(out, step->id);
    buffer_append(out, line_break);
    graph_describe(step, out);
    graph_axis(pipeline, step, &axis);
    if (axis.size)
        buffer_format(out, "%s%s", line_break, buffer_text(&axis));
    if (states && states[step->index])
        buffer_format(out, "%s%s", line_break, states[step->index]);
}

static void dot_node(const struct pipeline *pipeline, const struct step *step,
                     const char *const *states, struct buffer *out) {
    OWN_BUFFER label = {0};
    label_lines(pipeline, step, states, "\n", &label);
    buffer_format(out, "  s%zu [label=\"", step->index);
    dot_quote(out, buffer_text(&label));
    buffer_format(out, "\"%s%s];\n", graph_is_person(step) ? ", shape=diamond" : "",
                  step->axis_count ? ", peripheries=2" : "");
}

static void dot_edges(const struct step *step, struct buffer *out) {
    for (size_t i = 0; i < step->edge_count; i++)
        buffer_format(out, "  s%zu -> s%zu%s;\n", step->edges[i].step, step->index,
                      step->edges[i].kind == EDGE_NEEDS ? " [style=dashed]" : "");
    for (size_t i = 0; i < step->next_count; i++) {
        buffer_format(out, "  s%zu -> s%zu [color=blue", step->index, step->next[i].target);
        const char *condition =
            step->next[i].condition ? step->next[i].condition : step->next[i].function;
        if (condition) {
            buffer_append(out, ", label=\"");
            dot_quote(out, condition);
            buffer_append(out, "\"");
        }
        buffer_append(out, "];\n");
    }
    if (step->on_failure == ON_FAILURE_RUN)
        buffer_format(out, "  s%zu -> s%zu [color=red, style=dotted];\n", step->index,
                      step->on_failure_step);
}

int graph_dot(const struct pipeline *pipeline, const char *const *states, struct buffer *out) {
    buffer_append(out, "digraph \"");
    dot_quote(out, pipeline->name);
    buffer_append(out, "\" {\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for (size_t i = 0; i < pipeline->step_count; i++)
        dot_node(pipeline, &pipeline->steps[i], states, out);
    for (size_t i = 0; i < pipeline->step_count; i++)
        dot_edges(&pipeline->steps[i], out);
    buffer_append(out, "}\n");
    return 0;
}

/* -------------------------------------------------------------------- Mermaid */

/* Inside "…" Mermaid reads HTML entities, and nothing else is special. */
static void mermaid_quote(struct buffer *out, const char *text) {
    for (; *text; text++) {
        if (strchr("\"#&<>;`", *text))
            buffer_format(out, "#%d;", *text);
        else if (*text == '\n')
            buffer_append(out, "<br/>");
        else if ((unsigned char)*text >= ' ')
            buffer_append_char(out, *text);
    }
}

static void mermaid_node(const struct pipeline *pipeline, const struct step *step,
                         const char *const *states, struct buffer *out) {
    OWN_BUFFER label = {0};
    bool person = graph_is_person(step);
    label_lines(pipeline, step, states, "\n", &label);
    buffer_format(out, "  s%zu%s\"", step->index, person ? "{{" : (step->axis_count ? "[[" : "["));
    mermaid_quote(out, buffer_text(&label));
    buffer_format(out, "\"%s\n", person ? "}}" : (step->axis_count ? "]]" : "]"));
}

static void mermaid_edges(const struct step *step, struct buffer *out) {
    for (size_t i = 0; i < step->edge_count; i++)
        buffer_format(out, "  s%zu %s s%zu\n", step->edges[i].step,
                      step->edges[i].kind == EDGE_NEEDS ? "-.->" : "-->", step->index);
    for (size_t i = 0; i < step->next_count; i++) {
        const char *condition =
            step->next[i].condition ? step->next[i].condition : step->next[i].function;
        buffer_format(out, "  s%zu ==>", step->index);
        if (condition) {
            buffer_append(out, "|\"");
            mermaid_quote(out, condition);
            buffer_append(out, "\"|");
        }
        buffer_format(out, " s%zu\n", step->next[i].target);
    }
    if (step->on_failure == ON_FAILURE_RUN)
        buffer_format(out, "  s%zu -.->|on failure| s%zu\n", step->index, step->on_failure_step);
}

int graph_mermaid(const struct pipeline *pipeline, const char *const *states, struct buffer *out) {
    buffer_append(out, "flowchart TD\n");
    for (size_t i = 0; i < pipeline->step_count; i++)
        mermaid_node(pipeline, &pipeline->steps[i], states, out);
    for (size_t i = 0; i < pipeline->step_count; i++)
        mermaid_edges(&pipeline->steps[i], out);
    return 0;
}

/* ----------------------------------------------------------------------- JSON */

static const char *const relations[] = {"same", "ancestor", "join"};

static json_t *json_node(const struct pipeline *pipeline, const struct step *step,
                         const char *const *states) {
    OWN_BUFFER text = {0};
    OWN_JSON axis = json_array();
    graph_describe(step, &text);
    for (size_t i = 0; axis && i < step->axis_count; i++)
        json_array_append_new(axis, json_string(pipeline->steps[step->axis[i]].id));
    return json_pack("{s:s, s:s, s:s, s:s, s:O, s:b, s:i, s:s?}", "id", step->id, "title",
                     step->title, "type", step_type_name(step->type), "what", buffer_text(&text),
                     "axis", axis, "person", graph_is_person(step), "line", (int)step->line,
                     "state", states ? states[step->index] : NULL);
}

static int json_edge(json_t *edges, const char *from, const char *to, const char *kind,
                     const char *relation, const char *condition) {
    return json_array_append_new(edges, json_pack("{s:s, s:s, s:s, s:s?, s:s?}", "from", from, "to",
                                                  to, "kind", kind, "relation", relation,
                                                  "condition", condition));
}

static int json_edges(const struct pipeline *pipeline, const struct step *step, json_t *edges) {
    const struct step *steps = pipeline->steps;
    int status = 0;
    for (size_t i = 0; i < step->edge_count; i++)
        status |= json_edge(edges, steps[step->edges[i].step].id, step->id,
                            step->edges[i].kind == EDGE_DATA ? "data" : "needs",
                            relations[step->edges[i].relation], NULL);
    for (size_t i = 0; i < step->next_count; i++)
        status |=
            json_edge(edges, step->id, steps[step->next[i].target].id, "next",
                      relations[step->next[i].relation],
                      step->next[i].condition ? step->next[i].condition : step->next[i].function);
    if (step->on_failure == ON_FAILURE_RUN)
        status |=
            json_edge(edges, step->id, steps[step->on_failure_step].id, "on_failure", NULL, NULL);
    return status;
}

int graph_json(const struct pipeline *pipeline, const char *const *states, struct buffer *out,
               struct error **err) {
    OWN_JSON nodes = json_array();
    OWN_JSON edges = json_array();
    int status = nodes && edges ? 0 : -1;
    for (size_t i = 0; !status && i < pipeline->step_count; i++) {
        const struct step *step = &pipeline->steps[i];
        status = json_array_append_new(nodes, json_node(pipeline, step, states)) |
                 json_edges(pipeline, step, edges);
    }
    OWN_JSON graph = status ? NULL
                            : json_pack("{s:s, s:s, s:O, s:O}", "name", pipeline->name, "version",
                                        pipeline->version, "nodes", nodes, "edges", edges);
    OWN_STRING text = graph ? json_text(graph, JSON_INDENT(2), NULL) : NULL;
    if (!text)
        return error_set_memory(err);
    buffer_append(out, text);
    buffer_append(out, "\n");
    return 0;
}
