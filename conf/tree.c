/* The only file that knows libconfuse. Every option is declared as a pointer with a callback, and the callback notes
 * value and line in the tree; libconfuse itself stores nothing. To hear of a section when it begins, each section has a
 * hidden option with a default: libconfuse parses defaults when it opens a section, at the line of the brace. */
#include "conf/tree.h"

#include "base/invariant.h"

#include <confuse.h>
#include <stdio.h>
#include <stdlib.h>

/* No name in a file looks like this: the scan refuses parentheses. */
#define BEGIN_OPTION "(begin)"

/* libconfuse's callbacks carry no argument of ours; conf_load() is for one thread at a time. */
static struct conf_tree *reading;
static struct conf_report *reporting;

/* --- the tree -------------------------------------------------------------------------------------------------- */

static void node_init(struct conf_node *n, const char *section)
{
	*n = (struct conf_node){.section = section};
	list_init(&n->link);
	list_init(&n->all);
	list_init(&n->children);
	list_init(&n->values);
}

static void node_fini(struct conf_node *n)
{
	LIST_EACH (link, &n->values) {
		struct conf_value *v = CONTAINER_OF(link, struct conf_value, link);
		free(v->text);
		free(v);
	}
	free(n->title);
}

void conf_tree_fini(struct conf_tree *tree)
{
	LIST_EACH (link, &tree->all) {
		struct conf_node *n = CONTAINER_OF(link, struct conf_node, all);
		node_fini(n);
		free(n);
	}
	node_fini(&tree->file);
	node_init(&tree->file, "");
	list_init(&tree->all);
}

/* The section that is open now and that holds sections of this kind: sections nest, so it is the latest one. */
static struct conf_node *open_node(struct conf_tree *tree, const char *section)
{
	LIST_EACH (link, &tree->all) {
		struct conf_node *n = CONTAINER_OF(link, struct conf_node, all);
		if (strcmp(n->section, section) == 0)
			return n;
	}
	return &tree->file;
}

/* libconfuse may use the memory of a section again: the latest one counts. */
static struct conf_node *node_of(struct conf_tree *tree, const cfg_t *cfg)
{
	LIST_EACH (link, &tree->all) {
		struct conf_node *n = CONTAINER_OF(link, struct conf_node, all);
		if (n->cfg == cfg)
			return n;
	}
	return &tree->file;
}

static const struct conf_option *section_option(const char *name)
{
	for (size_t i = 0; i < conf_option_count; i++) {
		if (conf_options[i].type == CONF_TYPE_SECTION && strcmp(conf_options[i].name, name) == 0)
			return &conf_options[i];
	}
	return NULL;
}

static bool add_node(struct conf_tree *tree, const cfg_t *cfg)
{
	const struct conf_option *o = section_option(cfg->name);
	INVARIANT(o != NULL);
	struct conf_node *n = malloc(sizeof *n);

	if (!n)
		return false;
	node_init(n, o->opens);
	n->line = (unsigned)cfg->line;
	n->cfg = cfg;
	if (cfg->title && !(n->title = strdup(cfg->title))) {
		free(n);
		return false;
	}
	list_append(&open_node(tree, o->section)->children, &n->link);
	list_prepend(&tree->all, &n->all);
	return true;
}

static bool add_value(struct conf_tree *tree, const cfg_t *cfg, const cfg_opt_t *opt, const char *text)
{
	struct conf_node *n = node_of(tree, cfg);
	const struct conf_option *o = conf_option_find(n->section, view_str(opt->name));
	INVARIANT(o != NULL);
	struct conf_value *v = calloc(1, sizeof *v);

	if (!v)
		return false;
	v->option = o;
	v->line = (unsigned)cfg->line;
	v->first = opt->nvalues <= 1;
	v->text = strdup(text);
	if (!v->text) {
		free(v);
		return false;
	}
	list_append(&n->values, &v->link);
	return true;
}

const struct conf_node *conf_tree_child(const struct conf_node *parent, const char *section, size_t n)
{
	if (!parent)
		return NULL;
	for (const struct list *link = parent->children.next; link != &parent->children; link = link->next) {
		const struct conf_node *child = CONTAINER_OF(link, const struct conf_node, link);
		if (strcmp(child->section, section) == 0 && n-- == 0)
			return child;
	}
	return NULL;
}

size_t conf_tree_count(const struct conf_node *parent, const char *section)
{
	size_t n = 0;

	while (conf_tree_child(parent, section, n))
		n++;
	return n;
}

const struct conf_value *conf_tree_value(const struct conf_node *node, const char *name)
{
	if (!node)
		return NULL;
	for (const struct list *link = node->values.prev; link != &node->values; link = link->prev) {
		const struct conf_value *v = CONTAINER_OF(link, const struct conf_value, link);
		if (strcmp(v->option->name, name) == 0)
			return v;
	}
	return NULL;
}

/* --- libconfuse ------------------------------------------------------------------------------------------------ */

static int on_value(cfg_t *cfg, cfg_opt_t *opt, const char *value, void *result)
{
	*(void **)result = NULL;
	if (reading->no_memory) /* what follows may belong to a section that is missing */
		return 0;
	bool begin = strcmp(opt->name, BEGIN_OPTION) == 0;
	if (!(begin ? add_node(reading, cfg) : add_value(reading, cfg, opt, value)))
		reading->no_memory = true;
	return 0;
}

static void on_error(cfg_t *cfg, const char *format, va_list values)
{
	char text[256];

	vsnprintf(text, sizeof text, format, values);
	conf_report_add(reporting, (unsigned)cfg->line, "syntax", NULL, text);
}

static void free_options(cfg_opt_t *options)
{
	for (cfg_opt_t *o = options; o && o->name; o++)
		free_options(o->subopts);
	free(options);
}

static bool declare(cfg_opt_t *to, const struct conf_option *o);

/* The declarations of one section, ended by one without a name; NULL: no memory. */
static cfg_opt_t *declare_section(const char *section)
{
	/* BEGIN_OPTION's default: what it says is of no interest, only that libconfuse parses it. */
	static char begin[] = "begin";
	const cfg_opt_t hidden = CFG_PTR_CB(BEGIN_OPTION, begin, CFGF_NONE, on_value, NULL);
	cfg_opt_t *options = calloc(conf_option_count + 2, sizeof *options);
	size_t count = 0;

	if (!options)
		return NULL;
	if (*section)
		options[count++] = hidden;
	for (size_t i = 0; i < conf_option_count; i++) {
		const struct conf_option *o = &conf_options[i];
		if (strcmp(o->section, section) != 0 || o->type == CONF_TYPE_LATER)
			continue;
		if (!declare(&options[count++], o)) {
			free_options(options);
			return NULL;
		}
	}
	return options;
}

static bool declare(cfg_opt_t *to, const struct conf_option *o)
{
	to->name = o->name;
	if (o->type != CONF_TYPE_SECTION) {
		to->type = CFGT_PTR;
		to->flags = conf_option_is_list(o) ? CFGF_LIST | CFGF_NODEFAULT : CFGF_NODEFAULT;
		to->parsecb = on_value;
		return true;
	}
	to->type = CFGT_SEC;
	to->flags = CFGF_MULTI | (o->title ? CFGF_TITLE : CFGF_NONE);
	to->subopts = declare_section(o->opens);
	return to->subopts != NULL;
}

bool conf_tree_read(struct conf_tree *tree, const char *text, struct conf_report *report)
{
	bool whole = false;

	node_init(&tree->file, "");
	list_init(&tree->all);
	tree->no_memory = false;
	reading = tree;
	reporting = report;
	cfg_opt_t *options = declare_section("");
	cfg_t *cfg = options ? cfg_init(options, CFGF_NONE) : NULL;
	if (cfg) {
		cfg_set_error_function(cfg, on_error);
		whole = cfg_parse_buf(cfg, text) == CFG_SUCCESS;
		cfg_free(cfg);
	} else {
		tree->no_memory = true;
	}
	free_options(options);
	reading = NULL;
	reporting = NULL;
	return whole;
}
