/* What stands in the file, as a tree: sections and values in their order, each with its line. libconfuse reads the
 * text; what it finds is noted here, because it does not keep the lines. */
#ifndef WEIR_CONF_TREE_H
#define WEIR_CONF_TREE_H

#include "base/list.h"
#include "conf/options.h"
#include "conf/report.h"

struct conf_value {
	struct list link;                 /* in conf_node.values */
	const struct conf_option *option; /* borrowed: a row of the table */
	unsigned line;
	bool first; /* begins an assignment; the others follow in the same list */
	char *text; /* owned */
};

struct conf_node {
	struct list link;     /* in children of the parent */
	struct list all;      /* in conf_tree.all, the latest first */
	struct list children; /* of conf_node */
	struct list values;   /* of conf_value */
	const char *section;  /* what its options call it; "": the file; borrowed from the table */
	unsigned line;        /* of its opening brace */
	char *title;          /* NULL: none; owned */
	const void *cfg;      /* libconfuse's section, to recognise it while it is read */
};

struct conf_tree {
	struct conf_node file;
	struct list all;
	bool no_memory; /* something is missing in the tree */
};

/* Reads `text` into *tree, which must be given to conf_tree_fini() in any case. False after a syntax error, which is
 * in the report; the tree then holds what stood before it. */
MUST_USE bool conf_tree_read(struct conf_tree *tree, const char *text, struct conf_report *report);
void conf_tree_fini(struct conf_tree *tree);

/* The n-th section of that kind in `parent`; NULL when there are fewer. `parent` may be NULL. */
const struct conf_node *conf_tree_child(const struct conf_node *parent, const char *section, size_t n);
size_t conf_tree_count(const struct conf_node *parent, const char *section);

/* The last value given for the option; NULL when it is not given. `node` may be NULL. */
const struct conf_value *conf_tree_value(const struct conf_node *node, const char *name);

#endif
